"""The settings of a run: task, data, duration, evaluation."""

import dataclasses
import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from floqzoo.learner.seeds import MOST_UPDATES, SEEDS


def usable_cores() -> int:
    """How many cores this process may run on, and no more than the environment variable `NPROC` says, as JAX counts them."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it.
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    reserved = os.environ.get("NPROC", "")
    return min(cores, int(reserved)) if reserved.isdecimal() else cores


AgentConfig = TypeVar("AgentConfig")


@dataclass(frozen=True, kw_only=True)
class RunConfig(Generic[AgentConfig]):
    """Everything that can be set for a run, spelt as in the official code of FQL where that has it.

    **Raises** `ValueError` for a number out of its range, naming it.
    """

    agent: AgentConfig
    """The settings of the method."""
    env_name: str
    """OGBench's single task, such as cube-single-play-singletask-task2-v0; or FILE.py:NAME or MODULE:NAME, a task of your own."""
    seed: int = 0
    """Seeds the parameters, the batches and the evaluation episodes."""
    seeds: int = 1
    """Seeds that are trained at once, from `seed` on; each as if it were alone."""
    run_group: str = "debug"
    """A folder for runs that belong together."""
    save_dir: str = "exp"
    """The folder of all runs."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What networks compute their products in; parameters, optimiser and layer norms stay float32."""
    offline_steps: int = 1_000_000
    """Updates on the data; the steps of the run until then."""
    online_steps: int = 0
    """Steps in the environment after that, each with `utd_ratio` updates; the further steps of the run."""
    online_environments: int = 1
    """Environments that each seed steps at once online; they share the online steps."""
    online_processes: bool = False
    """Whether each of these environments has a process of its own."""
    online_start: int = 0
    """Online steps before the first online update."""
    utd_ratio: int = 1
    """Updates for each online step."""
    balanced_sampling: bool = False
    """Whether online batches are half data, half new transitions; else the replay buffer begins as the data."""
    buffer_size: int = 2_000_000
    """The most transitions in the replay buffer."""
    start_from: str = ""
    """The folder of a run, with whose latest agents this one begins."""
    log_interval: int = 5_000
    """Steps between two rows of train.csv."""
    eval_interval: int = 100_000
    """Steps between two evaluations; 0 evaluates at the end only."""
    save_interval: int = 1_000_000
    """Steps between two checkpoints; 0 saves at the end only."""
    keep_checkpoints: int = 3
    """The latest checkpoints that are kept; the best, by `best_metric` of its evaluation, is kept beside them."""
    best_metric: str | None = None
    """The evaluation's metric whose highest value is best; None: evaluation/success, or evaluation/episode.return without it."""
    eval_episodes: int = 50
    """Episodes in an evaluation; 0 does not evaluate."""
    # Two cores are left, for the thread that trains and the one that draws the actions. There is no upper bound: the work
    # of an evaluation does not grow with its workers, it only ends earlier.
    eval_workers: int = field(default_factory=lambda: max(0, usable_cores() - 2))
    """Processes that play an evaluation during training, at most one for each episode; 0: training waits for evaluations."""
    dataset_path: str | None = None
    """A dataset file (npz) to train on; its validation file, with -val in its name, lies beside it."""
    dataset_dir: str = "~/.ogbench/data"
    """Where the official datasets are, or are downloaded to."""
    success_timing: Literal["pre", "post"] = "pre"
    """Whether reward and success look at the state before a step (OGBench from 1.2.0) or after it (before that)."""
    collect_episodes: int = 0
    """Episodes to collect on this machine where there is no official file; they are kept for the next run. 0: none."""
    collect_workers: int = os.cpu_count() or 1
    """Processes that collect at once; the data do not depend on it."""

    compilation_cache: str = "auto"
    """Where compiled programs are kept for the next start: a folder, "off", or "auto": ~/.cache/floqzoo, unless JAX is told."""
    tensorboard: bool = False
    """Whether metrics go to TensorBoard too."""
    wandb: bool = False
    """Whether metrics go to Weights & Biases too."""

    def __post_init__(self):
        least = {
            "seed": 0,
            "seeds": 1,
            "offline_steps": 0,
            "online_steps": 0,
            "online_environments": 1,
            "online_start": 0,
            "utd_ratio": 1,
            "buffer_size": 1,
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
        batch_size = getattr(self.agent, "batch_size", 1)
        if batch_size < 1:
            raise ValueError(f"`agent.batch_size` must be at least 1; got {batch_size}.")
        lr = getattr(self.agent, "lr", 1.0)
        if isinstance(lr, float | int) and not 0 < lr < math.inf:
            raise ValueError(f"`agent.lr` must be above 0 and finite; got {lr}.")
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
        if not self.total_steps:
            raise ValueError("`offline_steps` and `online_steps` must not both be 0.")
        updates = self.offline_steps + self.online_steps * self.utd_ratio
        if updates >= MOST_UPDATES:
            raise ValueError(
                f"`offline_steps` and `online_steps` times `utd_ratio` must be less than 2^30 updates in all; got "
                f"{updates}."
            )
        if self.online_steps:
            self._require_possible_online(batch_size)
        else:
            self._require_nothing_online()

    @property
    def total_steps(self) -> int:
        """The steps of the run: updates offline, then steps in the environment."""
        return self.offline_steps + self.online_steps

    @property
    def unit(self) -> str:
        """What the steps of the run are called."""
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
                f"`online_start` must be at most {last_round}, so that a round of `online_steps` ({self.online_steps}) is "
                f"left for updates; got {self.online_start}."
            )

    def _require_nothing_online(self) -> None:
        for one in fields(self):
            if one.name in _ONLINE and getattr(self, one.name) != one.default:
                raise ValueError(f"`{one.name}` is for online training; set `online_steps`, or leave it out.")


_ONLINE = (
    "online_environments",
    "online_processes",
    "online_start",
    "utd_ratio",
    "balanced_sampling",
    "buffer_size",
)


def require_choices(settings: Any) -> None:
    """Checks every field of a dataclass that is a choice between words, annotated as a `Literal`.

    **Raises** `ValueError`, naming the field, its value and the choices.
    """
    for name, kind in get_type_hints(type(settings)).items():
        choices, value = get_args(kind), getattr(settings, name)
        if get_origin(kind) is Literal and value not in choices:
            raise ValueError(f"`{name}` must be one of {', '.join(choices)}; got {value!r}.")


def small_run(env_name: str | None, agent: Any) -> RunConfig:
    """45,000 updates of a small agent, on data collected on this machine where there are none; cube-single unless
    `env_name` says otherwise."""
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
    """The settings that a paper published for an environment, whatever its dataset and task.

    - `env_name`: Such as "cube-double-play-singletask-task1-v0".
    - `table`: For each environment, such as "cube-double", the fields that differ from the defaults.
    - `defaults`: The settings of the method; used as they are, with a warning, for an environment that the table lacks.
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
