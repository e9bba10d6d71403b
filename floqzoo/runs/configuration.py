"""The settings of a run: task, data, duration, evaluation."""

import dataclasses
import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from floqzoo.learner.seeds import MOST_SEEDS, MOST_UPDATES, SEEDS
from floqzoo.rollout.evaluation import NORMALISED, RETURN, SUCCESS
from floqzoo.runs.setting_types import convert_settings, unhooked


def usable_cores() -> int:
    """Returns the number of cores that this process may use; the environment variable `NPROC` caps it, as in JAX."""
    affinity = getattr(os, "sched_getaffinity", None)  # exists on Linux only
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    reserved = os.environ.get("NPROC", "")
    return min(cores, int(reserved)) if reserved.isdecimal() else cores


AgentConfig = TypeVar("AgentConfig")


@unhooked
@dataclass(frozen=True, kw_only=True)
class RunConfig(Generic[AgentConfig]):
    """All settings of a run; those that also exist in FQL's official code have the same names there.

    **Raises** `ValueError` if a setting is of the wrong type, out of range or incompatible with another one; the message
    names it.
    """

    agent: AgentConfig
    """The settings of the method."""
    env_name: str
    """A task of OGBench, such as cube-single-play-singletask-task2-v0, or your own task as FILE.py:NAME or MODULE:NAME.
    Alias: `--task`."""
    seed: int = 0
    """Seeds the parameters, the batches and the evaluation episodes."""
    seeds: int = 1
    """Number of seeds to train at once, starting from `seed`; each gives the same result as when trained alone."""
    run_group: str = "debug"
    """A folder for runs that belong together."""
    save_dir: str = "exp"
    """The folder of all runs."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of matrix products in networks; parameters, optimiser and layer norms stay float32."""
    normalize_observations: bool = False
    """Whether to normalise observations by the dataset's mean and standard deviation, which are stored in the agent."""
    frame_stack: int = 1
    """On pixel tasks, the number of frames in an observation; 3 in the papers."""
    p_aug: float = 0.0
    """On pixel tasks, the probability that the images of a batch are cropped at random; 0.5 in the papers."""
    offline_steps: int = 1_000_000
    """Updates on the dataset, before any online steps."""
    online_steps: int = 0
    """Environment steps after the offline updates, with `utd_ratio` updates per step."""
    online_environments: int = 1
    """Environments per seed that step in parallel online; `online_steps` counts the steps of all of them."""
    online_processes: bool = False
    """Whether each environment of online training runs in its own process."""
    online_start: int = 0
    """Online steps before the first online update."""
    utd_ratio: int = 1
    """Updates for each online step."""
    balanced_sampling: bool = False
    """Whether online batches are half dataset, half new transitions; otherwise the replay buffer is initialised with
    the dataset."""
    buffer_size: int = 2_000_000
    """Maximum number of transitions in the replay buffer."""
    start_from: str = ""
    """The folder of a run whose latest agents are the initial agents of this run."""
    log_interval: int = 5_000
    """Steps between two rows of train.csv."""
    eval_interval: int = 100_000
    """Steps between two evaluations; if 0, the run is only evaluated at the end of each phase."""
    save_interval: int = 1_000_000
    """Steps between two checkpoints; if 0, one is only saved at the end of each phase."""
    keep_checkpoints: int = 3
    """Number of latest checkpoints to keep; the best one by `best_metric` is kept as well."""
    best_metric: str | None = None
    """The evaluation metric whose maximum defines the best checkpoint; None for evaluation/success, or for
    evaluation/episode.return in a task that reports no success."""
    eval_episodes: int = 50
    """Episodes per evaluation; 0 disables evaluation."""
    # Two cores are left free, for the training thread and the thread that draws actions. There is no upper bound: more
    # workers finish an evaluation sooner without adding work.
    eval_workers: int = field(default_factory=lambda: max(0, usable_cores() - 2))
    """Worker processes that play evaluation episodes during training, at most one per episode; if 0, training waits for
    evaluations."""
    dataset_path: str | None = None
    """A dataset file (npz) to train on, or a folder of such files; validation files, whose names end in -val.npz,
    must be in the same folder."""
    dataset_replace_interval: int | None = None
    """Updates on each file of a dataset folder before the next file replaces it; None for 1000, or 4000 on
    humanoidmaze."""
    dataset_episodes: int | None = None
    """Number of episodes of the dataset to train on, from the first one; None for all."""
    dataset_dir: str = "~/.ogbench/data"
    """The folder of the official datasets; missing ones are downloaded to it."""
    success_timing: Literal["pre", "post"] = "pre"
    """Whether reward and success are computed from the state before a step ("pre", OGBench 1.2.0 and later) or after it
    ("post", earlier versions)."""
    sparse_rewards: bool = False
    """Whether OGBench's reward is -1 until all parts of the goal are met, as in QC on scene and puzzle-3x3; otherwise it is
    minus the number of parts that are not met."""
    collect_episodes: int = 0
    """Episodes to collect if `dataset_path` is None and the official file is not in `dataset_dir`; later runs reuse
    them. If 0, a missing official file is downloaded."""
    collect_workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Number of processes that collect in parallel; the data do not depend on it."""

    compilation_cache: str = "auto"
    """The cache of compiled programs: a folder, "off", or "auto" for the folder set in JAX, or else one in
    ~/.cache/floqzoo."""
    tensorboard: bool = False
    """Whether metrics are also logged to TensorBoard."""
    wandb: bool = False
    """Whether metrics are also logged to Weights & Biases."""

    def __post_init__(self):
        convert_settings(self)
        least = {
            "seed": 0,
            "seeds": 1,
            "frame_stack": 1,
            "offline_steps": 0,
            "online_steps": 0,
            "online_environments": 1,
            "online_start": 0,
            "utd_ratio": 1,
            "log_interval": 1,
            "eval_interval": 0,
            "save_interval": 0,
            "keep_checkpoints": 1,
            "eval_episodes": 0,
            "eval_workers": 0,
            "collect_episodes": 0,
            "collect_workers": 1,
        }
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"`{name}` must be at least {bound}; got {getattr(self, name)}.")
        if not 0 <= self.p_aug <= 1:
            raise ValueError(f"`p_aug` must be in [0, 1]; got {self.p_aug}.")
        if self.dataset_replace_interval is not None and self.dataset_replace_interval < 1:
            raise ValueError(f"`dataset_replace_interval` must be at least 1; got {self.dataset_replace_interval}.")
        if self.dataset_episodes is not None and self.dataset_episodes < 1:
            raise ValueError(f"`dataset_episodes` must be at least 1, or None for all; got {self.dataset_episodes}.")
        batch_size = getattr(self.agent, "batch_size", 1)
        if batch_size < 1:
            raise ValueError(f"`agent.batch_size` must be at least 1; got {batch_size}.")
        lr = getattr(self.agent, "lr", 1.0)
        if isinstance(lr, float | int) and not 0 < lr < math.inf:
            raise ValueError(f"`agent.lr` must be above 0 and finite; got {lr}.")
        if self.seeds > MOST_SEEDS:
            raise ValueError(f"`seeds` must be at most {MOST_SEEDS}; got {self.seeds}.")
        if self.seed + self.seeds > SEEDS:
            raise ValueError(f"`seed` + `seeds` must be at most 2^32; got {self.seed} + {self.seeds}.")
        for name in ("env_name", "run_group", "save_dir"):
            if not getattr(self, name):
                raise ValueError(f"`{name}` must not be empty.")
        if Path(self.run_group).is_absolute() or ".." in Path(self.run_group).parts:
            raise ValueError(
                f"`run_group` must be a folder within `save_dir`, without '..'; got {self.run_group!r}. Set `save_dir` to "
                "keep runs elsewhere."
            )
        known = self.best_metric is None or self.best_metric in _SCORES or self.best_metric.startswith("diagnostics/")
        if not known:
            raise ValueError(
                f"`best_metric` must be one of {', '.join(_SCORES)}, or a diagnostic of the critic, as diagnostics/NAME; "
                f"got {self.best_metric!r}."
            )
        if not self.total_steps:
            raise ValueError("`offline_steps` and `online_steps` must not both be 0.")
        updates = self.offline_steps + self.online_steps * self.utd_ratio
        if updates >= MOST_UPDATES:
            raise ValueError(
                f"`offline_steps` + `online_steps` * `utd_ratio`, the number of updates, must be less than 2^30; got {updates}."
            )
        if self.online_steps:
            self._require_possible_online(batch_size)
        else:
            self._require_nothing_online()

    @property
    def total_steps(self) -> int:
        """The number of steps of the run: offline updates, then environment steps."""
        return self.offline_steps + self.online_steps

    @property
    def replace_interval(self) -> int:
        """The number of updates on each shard of a sharded dataset.

        Source of the default: the official code of SHARSA ("Horizon Reduction Makes RL Scalable").
        """
        return self.dataset_replace_interval or (4_000 if self.env_name.startswith("humanoidmaze-") else 1_000)

    @property
    def unit(self) -> str:
        """What messages call the steps of the run: "steps" if it has online steps, otherwise "updates"."""
        return "steps" if self.online_steps else "updates"

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds of the run."""
        return tuple(range(self.seed, self.seed + self.seeds))

    def _require_possible_online(self, batch_size: int) -> None:
        for name in ("offline_steps", "online_steps", "log_interval", "eval_interval", "save_interval"):
            if getattr(self, name) % self.online_environments:
                raise ValueError(
                    f"`{name}` must be a multiple of `online_environments` ({self.online_environments}), which step "
                    f"together; got {getattr(self, name)}."
                )
        if self.buffer_size < max(batch_size, self.online_environments):
            raise ValueError(
                f"`buffer_size` must be at least `agent.batch_size` ({batch_size}) and `online_environments` "
                f"({self.online_environments}); got {self.buffer_size}."
            )
        if self.balanced_sampling and batch_size % 2:
            raise ValueError(f"`agent.batch_size` must be even for `balanced_sampling`; got {batch_size}.")
        last_round = self.online_steps - self.online_environments
        if self.online_start > last_round:
            raise ValueError(
                f"`online_start` must be at most {last_round}, `online_steps` ({self.online_steps}) minus "
                f"`online_environments` ({self.online_environments}), so that at least one round of steps has updates; got "
                f"{self.online_start}."
            )

    def _require_nothing_online(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in _ONLINE and value != one.default:
                raise ValueError(
                    f"`{one.name}` must be {one.default} if `online_steps` is 0, since it only affects online training; got "
                    f"{value}."
                )


_SCORES = tuple(f"evaluation/{name}" for name in (SUCCESS, RETURN, NORMALISED, "episode.length"))
_ONLINE = (
    "online_environments",
    "online_processes",
    "online_start",
    "utd_ratio",
    "balanced_sampling",
    "buffer_size",
)


def small_run(env_name: str | None, agent: Any) -> RunConfig:
    """Returns the settings of a short run, with 45,000 updates.

    If the official dataset is not on this machine, data are collected rather than downloaded.

    - `env_name`: The environment; None for a task of cube-single.
    - `agent`: The settings of the method.
    """
    return RunConfig(
        env_name=env_name or "cube-single-play-singletask-task1-v0",
        agent=agent,
        run_group="quickstart",
        offline_steps=45_000,
        log_interval=1_000,
        eval_interval=15_000,
        save_interval=15_000,
        collect_episodes=150,
    )


Settings = TypeVar("Settings")


def published_settings(env_name: str, table: Mapping[str, Mapping[str, Any]], defaults: Settings) -> Settings:
    """Returns the settings that a paper published for an environment, which apply to all its datasets and tasks.

    - `env_name`: An environment name, such as "cube-double-play-singletask-task1-v0".
    - `table`: For each environment, such as "cube-double", the published values of fields. A field that is left out
      keeps its default.
    - `defaults`: The default settings of the method. For an environment that is not in the table, they are returned
      with a warning.
    """
    for environment, changes in table.items():
        if env_name.startswith(f"{environment}-"):
            return dataclasses.replace(defaults, **changes)  # pyright: ignore[reportArgumentType]
    warnings.warn(
        f"no settings are published for {env_name}, so the defaults of the method are used; tune them first "
        f"(published: {', '.join(table)}).",
        stacklevel=2,
    )
    return defaults
