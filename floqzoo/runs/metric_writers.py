"""Opens the optional metric writers: TensorBoard and Weights & Biases."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from floqzoo.protocols import MetricWriter
from floqzoo.runs.run_directory import CannotStartError


def open_writers(
    directory: Path, *, seeds: Sequence[int], settings: Mapping[str, Any], tensorboard: bool, wandb: bool
) -> list[MetricWriter]:
    """Opens the metric writers requested by a run's settings; returns an empty list if none are requested.

    - `directory`: The folder of the run. A resumed run uses the same folder, so its curves are continued.
    - `seeds`: The seeds of the run.
    - `settings`: The settings of the run by name, which are stored in Weights & Biases.
    - `tensorboard`, `wandb`: Whether to open each of the writers.

    **Raises** `ModuleNotFoundError` if a required library is not installed (the message gives the command that installs
    it); `CannotStartError` if Weights & Biases cannot be used, for example because there is no login or no network.
    """
    require_writers(tensorboard=tensorboard, wandb=wandb)
    writers: list[MetricWriter] = []
    if tensorboard:
        from floqzoo.runs.tensorboard_writer import TensorBoardWriter

        writers.append(TensorBoardWriter(directory / "tensorboard", seeds))
    if wandb:
        from floqzoo.runs.wandb_writer import WandbWriter

        try:
            writers.append(WandbWriter(directory, seeds, settings))
        except Exception as error:  # the library has many kinds of errors
            reason = str(error).splitlines()[0].partition(". ")[0]
            raise CannotStartError(
                f"--wandb cannot be used: {reason}. Log in with `wandb login`, or set WANDB_MODE=offline to keep the metrics "
                "on this machine."
            ) from error
    return writers


def require_writers(*, tensorboard: bool, wandb: bool) -> None:
    """Checks that the libraries of the requested metric writers are installed.

    **Raises** `ModuleNotFoundError` if one of them is not installed; the message gives the command that installs it.
    """
    for asked, module, extra in ((tensorboard, "tensorboardX", "tensorboard"), (wandb, "wandb", "wandb")):
        if asked and importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(
                f"--{extra} needs {module}, which is not installed: pip install 'floqzoo[{extra}]'."
            )
