"""Metric writers beside the tables of the run: TensorBoard, Weights & Biases, or a user's own."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from floqzoo.protocols import MetricWriter


def open_writers(
    directory: Path, *, seeds: Sequence[int], settings: Mapping[str, Any], tensorboard: bool, wandb: bool
) -> list[MetricWriter]:
    """The writers that a run asks for; an empty list where it asks for none.

    - `directory`: The run's folder, which a resumed run has again: then its curves go on.
    - `settings`: What `flags.json` holds.

    **Raises** `ModuleNotFoundError`, with the command that helps, where the library is not installed.
    """
    require_writers(tensorboard=tensorboard, wandb=wandb)
    writers: list[MetricWriter] = []
    if tensorboard:
        from floqzoo.runs.tensorboard_writer import TensorBoardWriter

        writers.append(TensorBoardWriter(directory / "tensorboard", seeds))
    if wandb:
        from floqzoo.runs.wandb_writer import WandbWriter

        writers.append(WandbWriter(directory, seeds, settings))
    return writers


def require_writers(*, tensorboard: bool, wandb: bool) -> None:
    """Checks that what a run asks for is installed, before it begins.

    **Raises** `ModuleNotFoundError`, with the command that helps.
    """
    for asked, module, extra in ((tensorboard, "tensorboardX", "tensorboard"), (wandb, "wandb", "wandb")):
        if asked and importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(
                f"--{extra} needs {module}, which is not installed: pip install 'floqzoo[{extra}]'."
            )
