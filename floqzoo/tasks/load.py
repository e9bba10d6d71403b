r"""Loads OGBench tasks: the environment, and the dataset on the device."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from floqzoo.tasks.datafile import read_datafile, validation_path
from floqzoo.tasks.dataset import Dataset, make_dataset
from floqzoo.tasks.download import official_file
from floqzoo.tasks.episodes import Episode
from floqzoo.tasks.goal_dataset import GoalDataset
from floqzoo.tasks.names import TaskName, task_name
from floqzoo.tasks.pixel_dataset import PixelDataset, flat_frames
from floqzoo.tasks.renderer import select_renderer
from floqzoo.tasks.shard_download import SHARDS
from floqzoo.tasks.sharded_dataset import ShardedDataset, shard_paths
from floqzoo.tasks.simulator import make, make_pixels, make_with_goals, ogbench_module, sparse


DEFAULT_DATASET_DIR = "~/.ogbench/data"


@dataclass(frozen=True)
class OGBenchTask:
    """A task of OGBench, with its data and their provenance.

    - `name`: The parsed name of the task.
    - `dataset`, `validation`: The training data and the validation data.
    - `success_timing`: The state that determines the environment's reward and success: "pre" for the state before the
      action, "post" for the state after it.
    - `reward_timing`: The state that determines the rewards and masks in `dataset`, also "pre" or "post".
    - `action_limit`: The magnitude to which the coordinates of the actions in the data are clipped.
    - `provenance`: "official" for data loaded without `dataset_path`, "collected" for a file made by `collect`, and
      "file" for any other.
    - `path`: The training file, or the folder of shards.
    - `frame_stack`: The number of frames in a pixel observation.
    - `sparse_rewards`: Whether rewards are sparse, in the data and in the environment.
    """

    name: TaskName
    dataset: Dataset | GoalDataset | PixelDataset | ShardedDataset
    validation: Dataset | GoalDataset | PixelDataset | ShardedDataset
    success_timing: str
    reward_timing: str
    action_limit: float
    provenance: str
    path: Path
    frame_stack: int = 1
    sparse_rewards: bool = False

    @property
    def reward_range(self) -> tuple[float, float]:
        """The minimum and the maximum reward of the training data.

        For shards, these are the minimum and the maximum reward that the task can give.
        """
        return self.dataset.reward_range

    @property
    def observation_dim(self) -> int:
        """The number of coordinates of an observation."""
        return self.dataset.observation_dim

    @property
    def action_dim(self) -> int:
        """The number of coordinates of an action."""
        return self.dataset.action_dim

    @property
    def make_environment(self) -> Callable[[], Any]:
        """A function that creates a new environment of the task; it can be pickled, and does not contain the data."""
        settings = {"success_timing": self.success_timing, "sparse_rewards": self.sparse_rewards}
        return environment_maker(self.name, self.frame_stack, **settings)

    def describe(self) -> dict[str, str | float | None]:
        """Returns JSON-serialisable values that identify the data, to store with the results."""
        return {
            "env_name": self.name.full,
            "dataset": self.name.dataset,
            "provenance": self.provenance,
            "path": str(self.path),
            "fingerprint": self.dataset.fingerprint(),
            "success_timing": self.success_timing,
            "reward_timing": self.reward_timing,
            "action_limit": self.action_limit,
            "sparse_rewards": self.sparse_rewards,
            "goal_discount": self.dataset.discount if isinstance(self.dataset, GoalDataset) else None,
        }


def environment_maker(name: TaskName, frame_stack: int, **settings: Any) -> Callable[[], Any]:
    """Returns a function that creates a new environment of a task; it can be pickled.

    - `frame_stack`: The number of frames in a pixel observation.
    - `settings`: The other arguments of [`make`][floqzoo.tasks.simulator.make].
    """
    if name.pixels:
        return partial(make_pixels, name.environment, frame_stack, **settings)
    return partial(make_with_goals if name.goal_conditioned else make, name.environment, **settings)


def load(
    env_name: str,
    *,
    dataset_path: str | Path | None = None,
    dataset_dir: str | Path = DEFAULT_DATASET_DIR,
    success_timing: str = "pre",
    reward_timing: str = "pre",
    action_limit: float = 1 - 1e-5,
    frame_stack: int = 1,
    sparse_rewards: bool = False,
    dataset_episodes: int | None = None,
    goal_discount: float | None = None,
) -> OGBenchTask:
    r"""Loads a task with its data, from `dataset_path` or, if that is None, from OGBench's own file in `dataset_dir`.

    - `env_name`: The name of a single task, such as "cube-single-play-singletask-v0" or
      "scene-play-singletask-task1-v0", or of a goal-conditioned task with oracle representations of goals, such as
      "cube-single-play-oraclerep-v0", whose data are a [`GoalDataset`][floqzoo.tasks.GoalDataset].
    - `dataset_path`: A training file, with its validation file ("-val.npz") in the same folder. Alternatively, a folder
      of several such pairs, which are the shards of a [`ShardedDataset`][floqzoo.tasks.ShardedDataset] and are used in
      the order of their names. A task with pixels or goals needs a single pair.
    - `dataset_dir`: The folder that contains OGBench's own files. Missing files are downloaded to this folder.
    - `success_timing`: The state that determines the environment's reward and success: "pre" for $r(s)$, as in OGBench
      1.2 and later; "post" for $r(s')$, as in earlier versions and in the scores published with version 1.1.
    - `reward_timing`: The state that determines the rewards and masks of the data: "pre" labels a transition with
      $r(s)$, as in all versions of OGBench; "post" labels it with $r(s')$, to match an environment with this timing.
      Only "pre" for a goal-conditioned task.
    - `action_limit`: The magnitude, in (0, 1], to which the coordinates of the data's actions are clipped, as in the
      code of FQL and floq. The reason is that some policies, such as those that end in a tanh, cannot output exactly -1
      or 1.
    - `frame_stack`: For a pixel task, the number of frames in an observation; 3 in the papers.
    - `sparse_rewards`: Whether a reward is -1 unless all parts of the goal are met, in the data and in the environment.
      By default, it is minus the number of parts that are not met. The rewards of a goal-conditioned task are always
      sparse, so the argument must be False.
    - `dataset_episodes`: The number of training episodes to use, the first ones of the file; None for all. Only for a
      single file without pixels.
    - `goal_discount`: The `discount` of the [`GoalDataset`][floqzoo.tasks.GoalDataset] of a goal-conditioned task; a run
      passes the discount of its method, as OGBench's reference implementations do. None for the default of the dataset.

    **Raises** `ValueError` for an invalid argument or invalid data, `FileNotFoundError` for a missing file,
    `ConnectionError` if the download fails (the message suggests other ways to get the data), `BlockingIOError` while
    another process downloads the same data, and `ModuleNotFoundError` if OGBench is not installed.
    """
    for argument, value in (("success_timing", success_timing), ("reward_timing", reward_timing)):
        if value not in ("pre", "post"):
            raise ValueError(f"`{argument}` must be 'pre' or 'post'; got {value!r}.")
    if not 0.0 < action_limit <= 1.0:
        raise ValueError(f"`action_limit` must be in (0, 1]; got {action_limit}.")
    name = task_name(env_name)
    if name.pixels:
        select_renderer()  # before MuJoCo is imported; the environment reports that there is none
    elif frame_stack != 1:
        raise ValueError(
            f"`frame_stack` must be 1 for {name.full}, whose observations are not frames; got {frame_stack}."
        )
    if name.goal_conditioned and (reward_timing, sparse_rewards) != ("pre", False):
        raise ValueError(
            "`reward_timing` must be 'pre' and `sparse_rewards` must be False for "
            f"{name.full}, whose rewards depend on sampled goals; got {reward_timing!r} and {sparse_rewards}."
        )
    if goal_discount is not None and not name.goal_conditioned:
        raise ValueError(f"`goal_discount` must be None for {name.full}, which samples no goals; got {goal_discount}.")
    if dataset_path is None:
        path, provenance = official_file(name, Path(dataset_dir).expanduser()), "official"
    else:
        path = Path(dataset_path).expanduser()
        if path.name in SHARDS and not path.exists():
            raise FileNotFoundError(f"there is no folder {path}; `floqzoo download {path.name}` downloads it.")
        provenance = "collected" if path.with_suffix(".json").exists() else "file"
    if (name.pixels or name.goal_conditioned) and path.is_dir():
        raise ValueError(
            "`dataset_path` must be a file for a task with pixels or goals, since frames are not stacked, and goals not "
            f"sampled, across shards; got the folder {path}."
        )
    if dataset_episodes is not None and (name.pixels or path.is_dir()):
        raise ValueError(
            f"`dataset_episodes` must be None for {env_name}, since it applies only to a single file of OGBench "
            f"without pixels; got {dataset_episodes}."
        )
    reader = TaskReader(name, reward_timing, action_limit, sparse_rewards)
    try:
        if name.pixels:
            train, validation = (PixelDataset.of(frames, frame_stack) for frames in _files(path, reader))
        elif name.goal_conditioned:
            settings = {} if goal_discount is None else {"discount": goal_discount}
            train, validation = (
                GoalDataset(states, states.observation_dim - reader.state_dim, **settings)
                for states in _files(path, reader)
            )
        else:
            train, validation = _shards(path, reader) if path.is_dir() else _files(path, reader)
    finally:
        reader.close()
    if dataset_episodes is not None:
        assert isinstance(train, Dataset | GoalDataset)  # a single file without pixels
        try:
            train = train.first_episodes(dataset_episodes)
        except ValueError as error:
            raise ValueError(str(error).replace("`count`", "`dataset_episodes`")) from error
    return OGBenchTask(
        name,
        train,
        validation,
        success_timing,
        reward_timing,
        action_limit,
        provenance,
        path,
        frame_stack,
        sparse_rewards,
    )


class TaskReader:
    """Reads files in OGBench's format as datasets of a task. Instances can be pickled.

    - `name`: The parsed name of the task.
    - `reward_timing`, `action_limit`, `sparse_rewards`: As in `load`.
    """

    def __init__(self, name: TaskName, reward_timing: str, action_limit: float, sparse_rewards: bool = False):
        self._name, self._timing, self._limit, self._sparse = name, reward_timing, action_limit, sparse_rewards
        self._environment: Any = None

    def __reduce__(self):
        return TaskReader, (self._name, self._timing, self._limit, self._sparse)

    def __call__(self, path: Path) -> Dataset:
        """Reads a file as a dataset, with the rewards of the task, and places it on the device.

        **Raises** `FileNotFoundError` if there is no such file, `ValueError` for invalid data or data from another
        environment.
        """
        arrays = labelled_arrays(path, self._name, self._open())
        rewards, masks = sparse(arrays["rewards"]) if self._sparse else arrays["rewards"], arrays["masks"]
        if self._timing == "post":
            rewards, masks = of_next_state(rewards), of_next_state(masks)
        try:
            return make_dataset(
                observations=flat_frames(arrays["observations"]) if self._name.pixels else arrays["observations"],
                actions=_clipped(arrays["actions"], self._limit),
                rewards=rewards,
                masks=masks,
                terminals=arrays["terminals"],
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @property
    def state_dim(self) -> int:
        """The number of coordinates of an observation, without those of a goal."""
        return self._open().observation_space.shape[0]

    @property
    def reward_range(self) -> tuple[float, float]:
        """The minimum and the maximum reward that the task can give.

        The maximum is 0. The minimum is minus the number of parts of the goal, or -1 if rewards are sparse. The number of
        parts is computed from the reward that OGBench gives in a state that is far from all goals and in which all
        buttons have an invalid value.
        """
        environment = self._open()
        environment.reset()  # there is no model before
        simulator = environment.unwrapped
        nowhere = {
            "qpos": np.full((1, simulator.model.nq), 1e6, np.float32),
            "button_states": np.full((1, getattr(simulator, "_num_buttons", 0)), -1),
        }
        ogbench_module("ogbench.relabel_utils").relabel_dataset(self._name.labels, environment, nowhere)
        rewards = sparse(nowhere["rewards"]) if self._sparse else nowhere["rewards"]
        return float(rewards[0]), 0.0

    def close(self) -> None:
        """Closes the environment that is used to label the data. Reading another file opens a new environment."""
        if self._environment is not None:
            self._environment.close()
            self._environment = None

    def _open(self) -> Any:
        if self._environment is None:
            self._environment = make(self._name.labels)
        return self._environment


def _files(path: Path, reader: TaskReader) -> tuple[Dataset, Dataset]:
    train, validation = (reader(file) for file in (path, validation_path(path)))
    return train, validation


def _shards(folder: Path, reader: TaskReader) -> tuple[ShardedDataset, ShardedDataset]:
    paths, bounds = shard_paths(folder), reader.reward_range
    train, validation = (
        ShardedDataset(files, reader, reward_range=bounds) for files in (paths, [*map(validation_path, paths)])
    )
    return train, validation


def labelled_arrays(path: Path, name: TaskName, environment: Any) -> Episode:
    """Reads the arrays of a file in OGBench's format, one row per state, and adds the rewards and masks of a task.

    For a goal-conditioned task, they are those of a goal that is not reached, and the oracle representation of each
    state is appended to its observation.

    **Raises** `FileNotFoundError` if there is no such file, `ValueError` for invalid data or data from another
    environment.
    """
    arrays = read_datafile(path, needs_buttons=name.family in ("scene", "puzzle"), pixels=name.pixels)
    _check_widths(path, arrays, environment)
    relabel = ogbench_module("ogbench.relabel_utils")
    if not name.goal_conditioned:
        relabel.relabel_dataset(name.labels, environment, arrays)
        return arrays
    relabel.add_oracle_reps(name.labels, environment, arrays)
    ones = np.ones(len(arrays["observations"]), np.float32)
    observations = np.concatenate([arrays["observations"], arrays["oracle_reps"]], axis=1)
    return arrays | {"observations": observations, "rewards": -ones, "masks": ones}


def of_next_state(values: np.ndarray) -> np.ndarray:
    """Returns, for each state, the value of the next state.

    The very last state keeps its own value, since no transition starts there.
    """
    return np.concatenate([values[1:], values[-1:]])


def _clipped(actions: np.ndarray, limit: float) -> np.ndarray:
    if np.abs(actions).max(initial=0.0) > 1.0:
        raise ValueError(f"`actions` reach {np.abs(actions).max()}; they must lie in [-1, 1].")
    return np.clip(actions, -limit, limit)


def _check_widths(path: Path, arrays: Episode, environment: Any) -> None:
    """Raises `ValueError` for data of another environment."""
    simulator = environment.unwrapped
    environment.reset()
    widths = {
        "observations": environment.observation_space.shape[0],
        "actions": environment.action_space.shape[0],
        "qpos": simulator.model.nq,
        "button_states": getattr(simulator, "_num_buttons", 0),
    }
    for key, array in arrays.items():
        if key in widths and array.ndim == 2 and array.shape[1] != widths[key]:
            raise ValueError(
                f"{path}: `{key}` must have {widths[key]} columns for {environment.spec.id}; got {array.shape[1]}. "
                "The data are from another environment."
            )
