"""Writes metrics for TensorBoard."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tensorboardX import SummaryWriter


class TensorBoardWriter:
    """A metric writer for TensorBoard. Each seed has a folder of event files, and is shown as a separate curve.

    - `directory`: The output folder, such as `tensorboard/` in the folder of a run. If it already contains curves, they
      are continued.
    - `seeds`: The seeds of the run.
    """

    def __init__(self, directory: Path, seeds: Sequence[int]):
        self._writers = {seed: _opened(directory / f"sd{seed:03d}") for seed in seeds}

    def write_metrics(self, step: int, seed: int, metrics: Mapping[str, float]) -> None:
        """Writes each metric as a scalar; metrics that are NaN are omitted."""
        for name, value in metrics.items():
            if not math.isnan(value):
                self._writers[seed].add_scalar(name, value, step)

    def close_writer(self) -> None:
        """Flushes and closes the files."""
        for writer in self._writers.values():
            writer.close()


def _opened(folder: Path) -> SummaryWriter:
    # File names have a resolution of one second, and a file of the same second would be overwritten.
    number = len(list(folder.glob("events.out.tfevents.*")))
    return SummaryWriter(str(folder), filename_suffix=f".{number}")
