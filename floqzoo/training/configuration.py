"""What a run is: its task, its data, how long, and how it is measured."""

import os
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints


AgentConfig = TypeVar("AgentConfig")


@dataclass(frozen=True, kw_only=True)
class RunConfig(Generic[AgentConfig]):
    """Everything that can be set for a run, spelt as in the official code of FQL where that has it.

    **Raises** `ValueError` for a number out of its range, naming it.
    """

    agent: AgentConfig
    """The settings of the method."""
    env_name: str
    """OGBench's single task, such as cube-single-play-singletask-task2-v0."""
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
    """Updates in all."""
    log_interval: int = 5_000
    """Updates between two rows of train.csv."""
    eval_interval: int = 100_000
    """Updates between two evaluations; 0 evaluates at the end only."""
    save_interval: int = 1_000_000
    """Updates between two checkpoints; 0 saves at the end only."""
    keep_checkpoints: int = 3
    """The latest checkpoints that are kept; the best, by the success rate of its evaluation, is kept beside them."""
    eval_episodes: int = 50
    """Episodes in an evaluation; 0 does not evaluate."""
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

    tensorboard: bool = False
    """Whether metrics go to TensorBoard too."""
    wandb: bool = False
    """Whether metrics go to Weights & Biases too."""

    def __post_init__(self):
        least = {
            "seed": 0,
            "seeds": 1,
            "offline_steps": 1,
            "log_interval": 1,
            "eval_interval": 0,
            "save_interval": 0,
            "keep_checkpoints": 1,
            "eval_episodes": 0,
            "collect_episodes": 0,
            "collect_workers": 1,
        }
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"`{name}` must be at least {bound}; got {getattr(self, name)}.")
        batch_size = getattr(self.agent, "batch_size", 1)
        if batch_size < 1:
            raise ValueError(f"`agent.batch_size` must be at least 1; got {batch_size}.")
        for name in ("env_name", "run_group", "save_dir"):
            if not getattr(self, name):
                raise ValueError(f"`{name}` must not be empty.")

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds of the run."""
        return tuple(range(self.seed, self.seed + self.seeds))


def require_choices(settings: Any) -> None:
    """Checks every field of a dataclass that is a choice between words, annotated as a `Literal`.

    **Raises** `ValueError`, naming the field, its value and the choices.
    """
    for name, kind in get_type_hints(type(settings)).items():
        choices, value = get_args(kind), getattr(settings, name)
        if get_origin(kind) is Literal and value not in choices:
            raise ValueError(f"`{name}` must be one of {', '.join(choices)}; got {value!r}.")
