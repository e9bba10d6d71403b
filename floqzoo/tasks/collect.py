"""Collects an OGBench dataset on this machine, with OGBench's own scripted oracles."""

import importlib.metadata
import json
import operator
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, SupportsIndex

from floqzoo.protocols import DatasetScript
from floqzoo.tasks.episodes import join_episodes
from floqzoo.tasks.files import read_json, sha256_of, write_json
from floqzoo.tasks.flat import flat
from floqzoo.tasks.folder_lock import folder_locked
from floqzoo.tasks.recording import TRAIN, VALIDATION, EpisodeJob, record_all
from floqzoo.tasks.scripts import find_script
from floqzoo.tasks.simulator import require_ogbench


DEFAULT_DIRECTORY = "~/.floqzoo/collected"
OGBENCH_DIRECTORY = "~/.ogbench"

Progress = Callable[[int, int, int], Any]


def collect(
    name: str,
    *,
    episodes: SupportsIndex | None = None,
    seed: SupportsIndex = 0,
    workers: SupportsIndex = 1,
    directory: str | Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Generates one of OGBench's datasets with OGBench's scripted oracles, and returns the path of the training file.

    - `name`: The name of a dataset, such as "cube-single-play-v0".
    - `episodes`: The number of training episodes; by default, as many as in the published dataset. The number of
      validation episodes is a tenth of this number, rounded down, but at least 1.
    - `seed`: The seed, at least 0. Each episode depends only on the seed, the dataset and its own index.
    - `workers`: The number of processes that record episodes in parallel. It does not affect the contents of the files.
    - `directory`: The output folder, by default "~/.floqzoo/collected". It must not be inside "~/.ogbench".
    - `progress`: Called as `progress(episodes_done, episodes_in_all, steps_done)`, at the start and after each episode.

    An interrupted collection resumes where it stopped, and a finished one is not repeated. The folder also contains a
    validation file ("-val.npz") and a JSON file that records how the data were collected.

    **Raises** `ValueError` for an invalid argument, or if existing files have the wrong size or were collected
    with different settings; `FileExistsError` if the training file exists but its origin is unknown;
    `BlockingIOError` while another process collects the same dataset; `ModuleNotFoundError` if OGBench is not
    installed; and `RuntimeError` if a worker process dies.
    """
    script = find_script(name)
    return collect_script(
        script,
        episodes=operator.index(script.episodes if episodes is None else episodes),
        seed=operator.index(seed),
        workers=operator.index(workers),
        directory=Path(DEFAULT_DIRECTORY if directory is None else directory),
        progress=progress,
    )


def collect_script(
    script: DatasetScript, *, episodes: int, seed: int, workers: int, directory: Path, progress: Progress | None = None
) -> Path:
    """Generates a dataset as `collect` does, but with your own script.

    **Raises** the errors of `collect`, such as `ValueError` if a value is out of range.
    """
    for argument, value, least in (("episodes", episodes, 1), ("workers", workers, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"`{argument}` must be at least {least}; got {value}.")
    require_ogbench()
    collection = Collection(script, episodes, seed, _checked_directory(directory))
    if collection.is_finished():
        shutil.rmtree(collection.partial, ignore_errors=True)  # left behind by a process that was killed at the end
        return collection.train
    with folder_locked(collection.partial, "collecting into"):
        if not collection.is_finished():  # another process may have finished while this one waited for the lock
            collection.begin()
            collection.record(workers, progress)
            collection.join()
        shutil.rmtree(collection.partial, ignore_errors=True)
    return collection.train


@dataclass(frozen=True)
class Collection:
    """The files of one collected dataset, and the steps that create them."""

    script: DatasetScript
    episodes: int
    seed: int
    directory: Path

    @property
    def train(self) -> Path:
        """The path of the training file, whose name differs from the names of all published files."""
        return self.directory / f"{self.script.name}-collected-{self.episodes}ep-seed{self.seed}.npz"

    @property
    def validation(self) -> Path:
        """The path of the validation file, which is where OGBench expects it."""
        return self.train.with_name(f"{self.train.stem}-val.npz")

    @property
    def sidecar(self) -> Path:
        """The path of the JSON file that records how the data were collected.

        It is written last, so its existence marks the collection as finished.
        """
        return self.train.with_suffix(".json")

    @property
    def partial(self) -> Path:
        """The folder that contains the episodes recorded so far, until the collection is finished."""
        return self.train.with_name(f"{self.train.name}.partial")

    @property
    def validation_episodes(self) -> int:
        """The number of validation episodes."""
        return max(1, self.episodes // 10)

    def settings(self) -> dict[str, Any]:
        """Returns all settings that the data depend on, except the versions of packages."""
        return {
            "script": json.loads(json.dumps(asdict(self.script))),
            "episodes": self.episodes,
            "validation_episodes": self.validation_episodes,
            "seed": self.seed,
        }

    def jobs(self) -> list[EpisodeJob]:
        """Returns the jobs that record all episodes, with the training episodes first."""
        return [
            EpisodeJob(self.seed, split, index, self.partial / f"{label}-{index:06d}.npz")
            for split, label, count in ((TRAIN, "train", self.episodes), (VALIDATION, "val", self.validation_episodes))
            for index in range(count)
        ]

    def is_finished(self) -> bool:
        """Returns whether the collection is finished.

        If it is, its settings and the sizes of its files are checked against the JSON file `sidecar`.

        **Raises** `ValueError` if settings or sizes differ or a file is missing, `FileExistsError` if there is a
        training file of unknown origin.
        """
        if not self.sidecar.exists():
            if self.train.exists() and not self.partial.exists():
                raise FileExistsError(
                    f"{self.train} exists without {self.sidecar.name}, so its origin is unknown. Move or remove it, or choose "
                    "another `directory`."
                )
            return False
        record = read_json(self.sidecar)
        _refuse_difference(self.sidecar, {"settings": record.get("settings")}, {"settings": self.settings()})
        for path in (self.train, self.validation):
            expected = record["files"][path.name]["bytes"]
            size = path.stat().st_size if path.exists() else None
            if size != expected:
                found = "is missing" if size is None else f"has {size}"
                raise ValueError(
                    f"{path} must have {expected} bytes according to {self.sidecar.name}; it {found}. Remove "
                    f"{self.train.name}, {self.validation.name} and {self.sidecar.name}, and collect again."
                )
        return True

    def begin(self) -> None:
        """Writes the settings and package versions to the folder `partial`.

        If the folder already contains settings and versions, they are not replaced, but compared with the current ones.

        **Raises** `ValueError` if they differ.
        """
        manifest = self.partial / "manifest.json"
        wanted = {"settings": self.settings(), "versions": _versions()}
        if manifest.exists():
            _refuse_difference(self.partial, read_json(manifest), wanted)
        else:
            write_json(manifest, wanted)

    def record(self, workers: int, progress: Progress | None) -> None:
        """Records the missing episodes, and calls `progress` in the way described for `collect`."""
        jobs = self.jobs()
        missing = [job for job in jobs if not job.path.exists()]
        done = len(jobs) - len(missing)

        def report() -> None:
            if progress is not None:
                progress(done, len(jobs), done * self.script.steps)

        def finished_one() -> None:
            nonlocal done
            done += 1
            report()

        report()
        record_all(self.script, missing, workers, finished_one)

    def join(self) -> None:
        """Joins the episodes into the training and validation files, and writes the JSON file `sidecar`."""
        jobs = self.jobs()
        files = {}
        for path, split in ((self.train, TRAIN), (self.validation, VALIDATION)):
            join_episodes([job.path for job in jobs if job.split == split], path)
            files[path.name] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
        write_json(self.sidecar, {"settings": self.settings(), "versions": _versions(), "files": files})


def _refuse_difference(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    found, wanted = flat(found), flat(wanted)
    differences = [
        f"{key} is {found.get(key)!r} there and {wanted.get(key)!r} here"
        for key in sorted({*found, *wanted})
        if found.get(key) != wanted.get(key)
    ]
    if differences:
        raise ValueError(
            f"{path} was made with different settings: {'; '.join(differences)}. Remove it, or choose another `directory`."
        )


def _checked_directory(directory: Path) -> Path:
    resolved = directory.expanduser().resolve()
    official = Path(OGBENCH_DIRECTORY).expanduser().resolve()
    if resolved.is_relative_to(official):
        raise ValueError(
            f"`directory` must be outside of {official}, where collected data could be mistaken for official data; got "
            f"{directory}."
        )
    return resolved


def _versions() -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in ("ogbench", "mujoco", "numpy")}
