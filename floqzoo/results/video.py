"""Records videos of episodes."""

import operator
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np

from floqzoo.learner.seeds import require_seed
from floqzoo.protocols import Task
from floqzoo.results.environment import environment_of, require_states
from floqzoo.results.film import write_film
from floqzoo.results.play import play
from floqzoo.results.run_evaluation import actor_of, checkpoint_step, chosen_seeds
from floqzoo.rollout.batched_policy import BatchedPolicy
from floqzoo.rollout.episode_player import EpisodePlayer, numpy_state_kept
from floqzoo.runs.recipe import Recipe
from floqzoo.runs.stored_run import StoredRun


SIZE, FRAMES_PER_SECOND, PAUSE = 320, 30, 15
"""The width and height of a frame in pixels, the frames per second, and the number of frames for which the end of an
episode is shown."""
LONGEST = 300
"""The maximum number of frames per episode, not counting the frames that show its end. In environments with longer
episodes, only every n-th step is recorded. Without a GPU, each frame takes about 0.1 s to render."""


def record_video(
    actor: Any, make_environment: Callable[[], Any], path: str | Path, *, episodes: SupportsIndex, seed: SupportsIndex
) -> Path:
    """Records the first episodes of an evaluation as an `.mp4` file, which is written atomically; returns its path.

    - `actor`: An agent, or its `ActorCritic`.
    - `make_environment`: A function that creates an environment whose `render()` returns an image; `require_video`
      selects the renderer.
    - `path`: The path of the file, which must end in `.mp4`.
    - `episodes`: The number of episodes, at least 1.
    - `seed`: The seed of the evaluation.

    **Raises** `ValueError` if `path` does not end in `.mp4`, if `episodes` is below 1, or if `render()` does not return
    an image; `OSError` if ffmpeg cannot write the file.
    """
    path = Path(path)
    if path.suffix != ".mp4":
        raise ValueError(f"`video` must end in .mp4; got {path}.")
    episodes, seed = operator.index(episodes), operator.index(seed)
    if episodes < 1:
        raise ValueError(f"`episodes` must be at least 1; got {episodes}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    player, policy = EpisodePlayer.of(make_environment), BatchedPolicy(actor, seed)
    try:
        with numpy_state_kept():
            return write_film(_pictures(player, policy, episodes, seed), path, frames_per_second=FRAMES_PER_SECOND)
    finally:
        _close(player.environment)


def film_run(
    directory: str | Path,
    path: str | Path,
    *,
    episodes: SupportsIndex = 3,
    seed: SupportsIndex | None = None,
    step: SupportsIndex | None = None,
    episode_seed: SupportsIndex | None = None,
    recipe: Recipe | None = None,
    task: Task | str | None = None,
) -> Path:
    """Records a video of the first episodes that `evaluate_run` plays for one seed of a run; returns its path.

    Call `require_video` before MuJoCo is imported.

    - `path`, `episodes`: As in `record_video`.
    - `seed`: A seed of the run; by default the first.
    - `directory`, `step`, `episode_seed`, `recipe`, `task`: As in `evaluate_run`.

    **Raises** the same errors as `evaluate_run` and `record_video`, and `ValueError` if the run was trained on pixels.
    """
    if episode_seed is not None:
        episode_seed = operator.index(episode_seed)
        require_seed("episode_seed", episode_seed)
    run = StoredRun(Path(directory))
    require_states(run, "a video")
    seed = chosen_seeds(run, seed)[0]
    actor = actor_of(run, seed, checkpoint_step(run, step), recipe)
    # For your own task, the settings of its environment determine the rendering.
    size = {} if task is not None else {"width": SIZE, "height": SIZE}
    make_environment = environment_of(run, task, **size)
    own_seed = seed if episode_seed is None else episode_seed
    return record_video(actor, make_environment, path, episodes=episodes, seed=own_seed)


def _pictures(player: EpisodePlayer, actor: BatchedPolicy, episodes: int, seed: int) -> Iterator[np.ndarray]:
    limit = getattr(player.environment.spec, "max_episode_steps", None) or LONGEST
    every = -(-limit // LONGEST)
    for episode in range(episodes):
        for number, step in enumerate(play(player, actor, episode=episode, seed=seed)):
            if step.last:
                yield from [_picture(player.environment)] * PAUSE
            elif number % every == 0:
                yield _picture(player.environment)


def _picture(environment: Any) -> np.ndarray:
    try:
        picture = environment.render()
    except NotImplementedError:
        picture = None
    if not isinstance(picture, np.ndarray) or picture.ndim != 3:
        raise ValueError(
            f"a video must be of an environment whose `render()` returns a picture; that of {type(environment.unwrapped).__name__} "
            f"returns {type(picture).__name__}. Make the environment with render_mode='rgb_array'."
        )
    return picture


def _close(environment: Any) -> None:
    for name in (
        "custom_renderer",
        "_renderer",
    ):  # of a maze, and of an arm: a renderer of OSMesa must be closed before Python exits
        renderer = getattr(environment.unwrapped, name, None)
        if renderer is not None:
            renderer.close()
    environment.close()
