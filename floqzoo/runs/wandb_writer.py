"""Writes metrics to Weights & Biases."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb


class WandbWriter:
    """A metric writer for Weights & Biases, with one run per seed in the project "floqzoo", grouped by `run_group`.

    If the environment variable `WANDB_MODE` is set to `offline`, everything stays in the folder of the run until you
    call `wandb sync`. A resumed run continues the same runs of Weights & Biases.

    - `directory`: The folder of the run, whose name is the prefix of the run IDs.
    - `seeds`: The seeds of the run.
    - `settings`: The settings of the run by name, which are stored with each run.
    """

    def __init__(self, directory: Path, seeds: Sequence[int], settings: Mapping[str, Any]):
        self._runs = {
            seed: wandb.init(
                project="floqzoo",
                group=str(settings["run_group"]),
                name=f"{directory.name}_seed{seed}",
                id=f"{directory.name}_seed{seed}",
                resume="allow",
                dir=str(directory),
                config={**settings, "seed": seed},
                reinit="create_new",
            )
            for seed in seeds
        }

    def write_metrics(self, step: int, seed: int, metrics: Mapping[str, float]) -> None:
        """Logs the metrics of a step except those that are NaN; several calls may log metrics of the same step."""
        self._runs[seed].log({name: value for name, value in metrics.items() if not math.isnan(value)}, step=step)

    def close_writer(self) -> None:
        """Finishes the runs, and waits until all metrics are sent or stored."""
        for run in self._runs.values():
            run.finish()
