"""The examples of tasks of one's own, from raw rollouts to the comparison of a sweep, with fewer updates."""

import shutil
from pathlib import Path

import pytest
import yaml
from test_sweep_command import Here

from floqzoo.results import compare_runs
from floqzoo.sweeps import launcher


pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "metric", "method"), [("pendulum", "episode.return", "fql"), ("point", "success", "floq")]
)
def test_the_sweep_of_an_example_compares_its_seeds(run, tmp_path, monkeypatch, name, metric, method):
    monkeypatch.setattr(launcher, "RayLauncher", Here)
    shutil.copy(EXAMPLES / f"{name}.py", tmp_path)
    sweep = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    sweep["recipes"] = [entry for entry in sweep["recipes"] if entry["recipe"] == method]  # one of the two is enough
    sweep["fields"] |= {"offline_steps": 40, "log_interval": 20, "eval_interval": 20, "save_interval": 20}
    sweep["fields"] |= {"eval_episodes": 2, "eval_workers": 0}
    (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(sweep | {"name": name}))
    status, out, _ = run("sweep", tmp_path / f"{name}.yaml", "--save_dir", tmp_path / "exp")
    assert status == 0, out
    folder = tmp_path / "exp" / "floqzoo" / name
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    comparison = compare_runs([folder])
    assert comparison.metric == f"evaluation/{metric}"
    assert [(row.method, row.seeds) for row in comparison.of("mean")] == [(method, 3)]
