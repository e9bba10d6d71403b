"""One configuration of a sweep, with the seeds that one process trains."""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from floqzoo.results.run_list import seed_range
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.recipe import Recipe
from floqzoo.sweeps.fields import as_words
from floqzoo.tasks.own_task import is_reference, task_label
from floqzoo.training.resumption import IMMATERIAL


PROGRAM = "floqzoo.sweeps.run_trial"
"""The module that runs a trial as a separate program."""
# The fingerprint of the data is only known once they are loaded, so these settings identify the data.
_INCIDENTAL = {*IMMATERIAL} - {"dataset_path", "dataset_dir", "collect_episodes"}


@dataclass(frozen=True, eq=False)
class Trial:
    """One configuration of a sweep, with the seeds that one process trains.

    - `recipe`: The recipe of the run.
    - `source`: The name of the recipe, or the path of a recipe file.
    - `preset`: The name of the preset.
    - `fields`: The settings that the sweep overrides, by dotted name.
    - `config`: All settings of the run.
    - `method`: The display name: the recipe, its preset, and the values that the sweep changes.
    - `folder`: The folder of the sweep.
    """

    recipe: Recipe
    source: str
    preset: str
    fields: Mapping[str, Any]
    config: RunConfig
    method: str
    folder: Path

    @property
    def identity(self) -> str:
        """The first eight hexadecimal digits of a hash of all settings that affect the trial's results."""
        settings = {name: value for name, value in asdict(self.config).items() if name not in _INCIDENTAL}
        text = json.dumps({"recipe": self.recipe.name, **settings}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def directory(self) -> Path:
        """The folder of the trial's run, which is the same whenever the sweep is started again."""
        first, last = self.config.seed_numbers[0], self.config.seed_numbers[-1]
        seeds = f"sd{first:03d}" if first == last else f"sd{first:03d}-{last:03d}"
        task = self.config.env_name
        task = task.rpartition(":")[2] if is_reference(task) else task  # without a path
        return self.folder / f"{self.recipe.name}_{self.preset}_{task}_{seeds}_{self.identity}"

    @property
    def words(self) -> list[str]:
        """The arguments of `python -m floqzoo.sweeps.run_trial`."""
        config = self.config
        settings = {"env_name": config.env_name, "seed": config.seed, "seeds": config.seeds, **self.fields}
        places = {"save_dir": config.save_dir, "run_group": config.run_group}
        head = [f"--run_directory={self.directory}", f"--recipe={self.source}", f"--preset={self.preset}"]
        return head + [word for name, value in {**settings, **places}.items() for word in as_words(name, value)]

    @property
    def command(self) -> list[str]:
        """The command that starts or resumes the trial; it does nothing if the trial is finished."""
        return [sys.executable, "-m", PROGRAM, *self.words]

    def __str__(self) -> str:
        return f"{self.method} on {task_label(self.config.env_name)}, seeds {seed_range(self.config.seed_numbers)}"
