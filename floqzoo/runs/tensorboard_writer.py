"""Metrics for TensorBoard."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tensorboardX import SummaryWriter


class TensorBoardWriter:
    """Writes TensorBoard's event files: a folder for each seed, which TensorBoard shows as a curve of its own.

    - `directory`: Where they go, such as `tensorboard/` in a run's folder; files that are there are continued.
    - `seeds`: The run's.
    """

    def __init__(self, directory: Path, seeds: Sequence[int]):
        self._writers = {seed: _opened(directory / f"sd{seed:03d}") for seed in seeds}

    def write_metrics(self, step: int, seed: int, metrics: Mapping[str, float]) -> None:
        """Writes each metric as a scalar."""
        for name, value in metrics.items():
            if not math.isnan(value):
                self._writers[seed].add_scalar(name, value, step)

    def close_writer(self) -> None:
        """Writes what is held back, and closes the files."""
        for writer in self._writers.values():
            writer.close()


def _opened(folder: Path) -> SummaryWriter:
    # Its files are named by the second, and one of the same second would be written over.
    number = len(list(folder.glob("events.out.tfevents.*")))
    return SummaryWriter(str(folder), filename_suffix=f".{number}")
