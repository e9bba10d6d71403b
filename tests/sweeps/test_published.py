"""The sweeps that come with floqzoo are the tables that were published."""

import subprocess
import sys
import warnings
from dataclasses import replace

import pytest

from floqzoo.sweeps import published_sweeps, read_sweep
from recipes.floq import FloqConfig
from recipes.fql import FQLConfig
from recipes.published import floq, fql


pytest.importorskip("yaml")
pytest.importorskip("ogbench")
TABLES = {"floq-def": floq.DEFAULT, "floq-best": floq.BEST, "fql": fql.BASELINE_OF_FLOQ}
DEFAULTS = {"floq-def": FloqConfig(), "floq-best": FloqConfig(), "fql": FQLConfig()}


def test_all_of_them_are_read():
    with warnings.catch_warnings(action="error"):  # Each task has published settings.
        sweeps = {name: read_sweep(name) for name in published_sweeps()}
    assert {*sweeps} == {*TABLES, "small", "chunks", "comparison"}
    chunks = [(trial.config.agent.chunk_length, type(trial.config.agent)) for trial in sweeps["chunks"].trials]
    assert sorted(chunks, key=str) == sorted(((h, c) for h in (1, 5, 10) for c in (FloqConfig, FQLConfig)), key=str)
    assert len(sweeps["small"].trials) == 4


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_fifty_tasks_with_the_published_settings(name):
    trials = read_sweep(name).trials
    assert len(trials) == len({trial.config.env_name for trial in trials}) == 50
    for trial in trials:
        (environment,) = [key for key in TABLES[name] if trial.config.env_name.startswith(f"{key}-")]
        assert trial.config.agent == replace(DEFAULTS[name], **TABLES[name][environment])
        assert (trial.config.offline_steps, trial.config.seed_numbers) == (2_000_000, (0, 1, 2))
        assert (trial.config.success_timing, trial.config.eval_episodes) == ("post", 50)
    assert {sum(trial.config.env_name.startswith(f"{key}-") for trial in trials) for key in TABLES[name]} == {5}


@pytest.mark.slow
def test_to_read_a_sweep_opens_no_device():
    """Its trials will have them: the process that starts them would hold three quarters of a GPU's memory."""
    code = (
        "from jax._src.xla_bridge import backends_are_initialized\n"
        "from floqzoo.sweeps import read_sweep\n"
        "print([(len(read_sweep(name).trials), backends_are_initialized()) for name in ('small', 'floq-def')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "[(4, False), (50, False)]", run.stderr
