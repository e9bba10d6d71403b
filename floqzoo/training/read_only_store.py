"""What a process has in place of the files of a run that another process writes."""

from pathlib import Path
from typing import Any

from floqzoo.training.checkpoint import checkpoint_steps, restore_beside, restore_checkpoint
from floqzoo.training.metric_mean import MetricMean
from floqzoo.training.run_state import RunState, read_progress
from floqzoo.training.stopwatch import Stopwatch


class ReadOnlyStore:
    """Reads the checkpoints of a run, and writes nothing: to be used as a `RunStore`.

    - `directory`: The folder of the run, which all processes of it must see where it is resumed.
    """

    def __init__(self, directory: Path):
        self.checkpoints = directory / "checkpoints"
        self.awaited: int | None = None

    @property
    def checkpoint_steps(self) -> list[int]:
        """The steps of the checkpoints, ascending."""
        return checkpoint_steps(self.checkpoints)

    def restore(self, like: RunState) -> tuple[RunState, int, MetricMean, Stopwatch] | None:
        """The run as the latest whole checkpoint has it; None if there is none."""
        if not self.checkpoint_steps:
            return None
        checkpoint = restore_checkpoint(self.checkpoints, like)
        mean, _, seconds = read_progress(checkpoint.progress, len(like.keys))
        return checkpoint.tree, checkpoint.step, mean, seconds

    def restore_online(self, step: int) -> dict[str, Any]:
        """The arrays of the online phase in the checkpoint of a step, by name."""
        return restore_beside(self.checkpoints, step)

    def _nothing(self, *arguments: Any, **named: Any) -> None:
        """Another process does it."""

    require_space = write_training = write_evaluation = save = restore_awaited = _nothing
