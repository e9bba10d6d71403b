"""Which checkpoints are kept."""

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from floqzoo.training.checkpoint import checkpoint_folder, checkpoint_steps


def steps_to_keep(steps: Sequence[int], success: Mapping[int, float], latest: int) -> set[int]:
    """The `latest` last steps and the best.

    - `steps`: The steps of the checkpoints there are.
    - `success`: The success rate at those steps where there was an evaluation. The best has the highest; of several
      the last.
    """
    evaluated = [step for step in steps if not math.isnan(success.get(step, math.nan))]
    best = max(evaluated, key=lambda step: (success[step], step), default=None)
    return {*sorted(steps)[-latest:], *([] if best is None else [best])}


def remove_others(directory: Path, keep: set[int]) -> None:
    """Removes the checkpoints of all other steps, each as a whole, and what a kill left of writing or removing one."""
    for step in checkpoint_steps(directory):
        if step not in keep:
            folder = checkpoint_folder(directory, step)
            # Under another name first: a removal that is broken off leaves nothing that looks like a checkpoint.
            folder.rename(folder.with_name(f".{folder.name}.removed"))
    for left in [*directory.glob(".step_*.removed"), *directory.glob(".step_*.partial")]:
        shutil.rmtree(left)
