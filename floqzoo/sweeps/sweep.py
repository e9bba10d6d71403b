"""A sweep: its trials, and the resources of each trial."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from floqzoo.sweeps.fields import field_values
from floqzoo.sweeps.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The resources of each trial of a sweep.

    - `cpu`: The number of CPU cores, at least 1; the trial uses the same number of threads.
    - `gpu`: The number of GPUs: 0, a fraction (such as 0.25, so that four trials share a GPU), or a whole number.
    - `memory_gb`: The main memory to reserve, in units of 10⁹ bytes; Ray does not enforce this limit. None reserves no
      memory.

    **Raises** `ValueError` if a value is out of range.
    """

    cpu: int = 1
    gpu: float = 0.0
    memory_gb: float | None = None

    def __post_init__(self):
        if self.cpu < 1:
            raise ValueError(f"`resources.cpu` must be at least 1; got {self.cpu}.")
        if self.gpu < 0 or (self.gpu > 1 and self.gpu != int(self.gpu)):
            raise ValueError(f"`resources.gpu` must be 0, a fraction of one, or a whole number; got {self.gpu}.")
        if self.memory_gb is not None and self.memory_gb <= 0:
            raise ValueError(f"`resources.memory_gb` must be above 0; got {self.memory_gb}.")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The validated contents of a sweep file.

    - `name`: The name of the sweep and of its folder.
    - `folder`: The folder `<save_dir>/floqzoo/<name>`, which contains the comparison table, the learning curves, and a
      folder for each run.
    - `trials`: The trials, in the order in which they start.
    - `resources`: The resources of each trial.
    - `restarts`: The maximum number of restarts of a trial that was preempted or crashed.
    - `slurm`: Additional parameters of Slurm jobs, with the names that submitit uses.
    """

    name: str
    folder: Path
    trials: tuple[Trial, ...]
    resources: Resources
    restarts: int
    slurm: Mapping[str, Any]

    @property
    def distinguishing(self) -> tuple[str, ...]:
        """The names of the run settings in which trials of the same recipe on the same task differ, except for the
        seeds and the agent's settings."""
        seen: dict[tuple[str, str, str], set[str]] = {}
        for trial in self.trials:
            for name, value in field_values(trial.config).items():
                if name not in ("seed", "seeds") and not name.startswith("agent."):
                    seen.setdefault((trial.recipe.name, trial.config.env_name, name), set()).add(repr(value))
        return tuple(dict.fromkeys(name for (_, _, name), values in seen.items() if len(values) > 1))
