"""The `floqzoo watch` command."""

from pathlib import Path
from typing import Annotated

import tyro


def watch(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    *,
    out: Annotated[Path, tyro.conf.arg(metavar="FILE.mp4")] = Path("watch.mp4"),
    episodes: int = 3,
    seed: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    step: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    episode_seed: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    recipe: Annotated[Path | None, tyro.conf.arg(metavar="FILE.py")] = None,
    task: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME")] = None,
) -> None:
    """Records a video of the policy of a run's checkpoint in its environment.

    Needs EGL or OSMesa and the extra floqzoo[video], but no display.

    Args:
        run: The folder of the run.
        out: The .mp4 file to write.
        episodes: The number of episodes to record.
        seed: A seed of the run; by default the first one.
        step: The step of the checkpoint; by default the last one.
        episode_seed: The seed of the episodes, to play episodes that the run has not evaluated; by default the same
            as `seed`.
        recipe: The file of your own recipe, which is executed; by default the floqzoo recipe of the run.
        task: Your own task, whose code is executed; by default the OGBench task of the run.
    """
    from floqzoo.results.renderer import require_video
    from floqzoo.results.video import film_run
    from floqzoo.runs.recipe import load_recipe
    from floqzoo.tasks.own_task import own_task

    require_video()
    film = film_run(
        run,
        out,
        episodes=episodes,
        seed=seed,
        step=step,
        episode_seed=episode_seed,
        recipe=recipe and load_recipe(recipe),
        task=task and own_task(task),
    )
    print(f"video: {film}")
