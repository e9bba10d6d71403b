"""Runs on a task of no depth."""

import pytest
from toy_run import TOY_RECIPE, new_run, toy_task

from floqzoo.training import prepared_run, resume


@pytest.fixture
def toy_data(monkeypatch):
    monkeypatch.setattr(prepared_run, "load_task", lambda config: toy_task())


@pytest.fixture(scope="module")
def whole(request, tmp_path_factory):
    """A run with the module's settings that was never interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared_run, "load_task", lambda config: toy_task())
        directory = new_run(tmp_path_factory.mktemp("runs") / "whole", **request.module.LIVELY)
        resume(directory, recipe=TOY_RECIPE)
    return directory
