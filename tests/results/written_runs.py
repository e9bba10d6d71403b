"""Runs as they lie on the disk, written without training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from floqzoo.runs.metric_log import MetricLog
from floqzoo.runs.run_directory import FORMAT
from floqzoo.tasks.files import write_json


TASK = "cube-single-play-singletask-task1-v0"
OTHER = "scene-play-singletask-task1-v0"


def write_run(
    directory: Path,
    *,
    recipe: str = "floq",
    task: str = TASK,
    agent: Mapping[str, object] | None = None,
    success: Mapping[int, Sequence[float]],
    interval: int = 10,
    planned: int | None = None,
    timing: str = "pre",
    fingerprint: str = "a" * 64,
    started: str = "2026-11-20T08:00:00+00:00",
    normalised: bool | None = None,
) -> Path:
    """A run whose seeds have these success rates, one for each `interval` updates.

    One of an earlier version does not say whether observations are normalised.
    """
    directory.mkdir(parents=True)
    seeds, count = sorted(success), max(map(len, success.values()), default=0)
    flags = {
        "recipe": recipe,
        "env_name": task,
        "seed": seeds[0],
        "seeds": len(seeds),
        "offline_steps": count * interval if planned is None else planned,
        "online_steps": 0,
        "success_timing": timing,
        "agent": dict(agent or {"alpha": 10.0}),
    }
    if normalised is not None:
        flags["normalize_observations"] = normalised
    write_json(directory / "flags.json", flags)
    write_json(directory / "data.json", {"env_name": task, "fingerprint": fingerprint, "success_timing": timing})
    write_json(directory / "machine.json", {"started": started, "floqzoo": "0.1.0", "format": FORMAT})
    train, evaluations = MetricLog(directory / "train.csv"), MetricLog(directory / "eval.csv")
    for index in range(count):
        step, rates = (
            (index + 1) * interval,
            {seed: values[index] for seed, values in success.items() if index < len(values)},
        )
        train.write(step, {seed: {"training/critic/critic_loss": 1.0 / step} for seed in rates})
        evaluations.write(step, {seed: _row(rate) for seed, rate in rates.items()})
    return directory


def _row(rate: float) -> dict[str, float]:
    return {"evaluation/success": rate, "evaluation/success_standard_error": float(np.sqrt(rate * (1 - rate) / 50))}
