"""`floqzoo evaluate`."""

from pathlib import Path
from typing import Annotated

import tyro


def evaluate(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    *,
    episodes: int = 50,
    seed: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    step: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    episode_seed: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    video: Annotated[Path | None, tyro.conf.arg(metavar="FILE.mp4")] = None,
    video_episodes: int = 3,
    recipe: Annotated[Path | None, tyro.conf.arg(metavar="FILE.py")] = None,
    task: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME")] = None,
) -> None:
    """Plays the policy of a run's checkpoint, and prints its success rate beside the one that the run logged.

    With as many episodes as in the run they are the same episodes, so both rates agree.

    Args:
        run: The run's folder.
        episodes: How many to play.
        seed: Which seed of the run; without it every one.
        step: The updates of the checkpoint; without it the last one.
        episode_seed: Seeds the episodes, for ones that the run has not met; without it the run's own seed does.
        video: Also films the first episodes, of the first seed. Needs no screen, but EGL or OSMesa and the extra
            floqzoo[video].
        video_episodes: How many to film.
        recipe: The file of a recipe of your own, which is executed; without it the recipe of floqzoo that the run names.
        task: A task of your own, whose code is executed; without it the task of OGBench that the run names.
    """
    from floqzoo.results.evaluation_table import evaluation_text
    from floqzoo.results.renderer import require_video
    from floqzoo.results.run_evaluation import evaluate_run
    from floqzoo.results.video import film_run
    from floqzoo.runs.recipe import load_recipe
    from floqzoo.tasks.own_task import own_task
    from floqzoo.training.progress import ProgressReport

    if video is not None:
        require_video()
    chosen = {
        "seed": seed,
        "step": step,
        "episode_seed": episode_seed,
        "recipe": recipe and load_recipe(recipe),
        "task": task and own_task(task),
    }
    with ProgressReport("evaluating", "episodes") as progress:
        results = evaluate_run(run, episodes=episodes, progress=progress.update, **chosen)
    print(evaluation_text(run, results), end="")
    if video is not None:
        print(f"video: {film_run(run, video, episodes=video_episodes, **chosen)}")
