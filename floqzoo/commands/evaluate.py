"""The `floqzoo evaluate` command."""

from pathlib import Path
from typing import Annotated

import tyro


def evaluate(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    *,
    episodes: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    seed: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    step: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    episode_seed: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    video: Annotated[Path | None, tyro.conf.arg(metavar="FILE.mp4")] = None,
    video_episodes: int = 3,
    recipe: Annotated[Path | None, tyro.conf.arg(metavar="FILE.py")] = None,
    task: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME")] = None,
) -> None:
    """Evaluates the policy of a run's checkpoint, and prints its success rate next to the one that the run logged.

    If neither episodes nor episode_seed is given, the run's own evaluation episodes are repeated, so both rates agree.

    Args:
        run: The folder of the run.
        episodes: The number of episodes to play; by default as many as in the run's own evaluations, or 50 if it had
            none.
        seed: A seed of the run; by default all seeds.
        step: The step of the checkpoint; by default the last one.
        episode_seed: The seed of the episodes, to play episodes that the run has not evaluated; by default each policy
            is evaluated with its own seed.
        video: The .mp4 file for a video of the first episodes of the first seed. Needs EGL or OSMesa and the extra
            floqzoo[video], but no display.
        video_episodes: The number of episodes in the video.
        recipe: The file of your own recipe, which is executed; by default the floqzoo recipe of the run.
        task: Your own task, whose code is executed; by default the OGBench task of the run.
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
