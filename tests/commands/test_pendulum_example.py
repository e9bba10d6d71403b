"""The example of a task of one's own, from raw rollouts to the comparison of a sweep, with fewer updates."""

import shutil
from pathlib import Path

import pytest
import yaml

from floqzoo.results import compare_runs


pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(r"ignore:os.fork\(\) was called:RuntimeWarning")]

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_sweep_of_the_example_compares_both_methods(run, tmp_path):
    pytest.importorskip("ray")
    shutil.copy(EXAMPLES / "pendulum.py", tmp_path)
    sweep = yaml.safe_load((EXAMPLES / "pendulum.yaml").read_text())
    sweep["fields"] |= {"offline_steps": 40, "log_interval": 20, "eval_interval": 20, "save_interval": 20}
    sweep["fields"] |= {"eval_episodes": 2, "eval_workers": 0}
    (tmp_path / "pendulum.yaml").write_text(yaml.safe_dump(sweep | {"name": "pendulum"}))
    status, out, _ = run("sweep", tmp_path / "pendulum.yaml", "--save_dir", tmp_path / "exp")
    assert status == 0, out
    folder = tmp_path / "exp" / "floqzoo" / "pendulum"
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    comparison = compare_runs([folder])
    assert comparison.metric == "evaluation/episode.return"
    assert {(row.method, row.seeds) for row in comparison.of("mean")} == {("floq", 3), ("fql", 3)}
