"""The `floqzoo export` command."""

from pathlib import Path
from typing import Annotated

import tyro


def export(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    *,
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")],
    seed: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    step: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    episodes: int = 20,
    critic: bool = False,
    hub_layout: bool = False,
    recipe: Annotated[Path | None, tyro.conf.arg(metavar="FILE.py")] = None,
    task: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME")] = None,
) -> None:
    """Writes the policy of a run's checkpoint as ONNX, StableHLO and a PyTorch module, with a report of their parity.

    Actions are in the units of the run's environment. Needs the extra floqzoo[export]. The extra floqzoo[onnx], which
    does not install PyTorch, is enough if the PyTorch module need not be compared with the policy.

    Args:
        run: The folder of the run.
        out: The folder to write to, which must be new or empty.
        seed: A seed of the run; by default the first one.
        step: The step of the checkpoint; by default the best one, or the last one if none was evaluated.
        episodes: The number of episodes to play with the ONNX policy, and with the JAX policy on the same seeds; 0 for
            a task without an environment.
        critic: Whether to also export the critic, as critic.onnx.
        hub_layout: Whether to lay out the folder as a Hugging Face Hub repository, whose README starts with the
            metadata of a model card. Nothing is uploaded.
        recipe: The file of your own recipe, which is executed; by default the floqzoo recipe of the run.
        task: Your own task, whose code is executed; by default the OGBench task of the run.
    """
    from floqzoo.export import export_run
    from floqzoo.export.parity_table import parity_text
    from floqzoo.runs.recipe import load_recipe
    from floqzoo.tasks.own_task import own_task
    from floqzoo.training.progress import ProgressReport

    with ProgressReport("evaluating", "episodes") as progress:
        exported = export_run(
            run,
            out,
            seed=seed,
            step=step,
            episodes=episodes,
            critic=critic,
            hub_layout=hub_layout,
            recipe=recipe and load_recipe(recipe),
            task=task and own_task(task),
            progress=progress.update,
        )
    print(parity_text(exported), end="")
    print(f"exported: {exported.folder}")
