"""The data of a run: OGBench's own file, a given file, or a local collection."""

from pathlib import Path

from floqzoo.tasks.collect import collect
from floqzoo.tasks.load import Task, load
from floqzoo.tasks.names import task_name
from floqzoo.training.configuration import RunConfig
from floqzoo.training.progress import ProgressReport


def load_task(config: RunConfig) -> Task:
    """Loads the task of a run, and collects its data where the config says so and no official file is at hand.

    **Raises** what `floqzoo.tasks.load` and `floqzoo.tasks.collect` raise.
    """
    path = config.dataset_path
    if path is None and config.collect_episodes > 0:
        dataset = task_name(config.env_name).dataset
        if not (Path(config.dataset_dir).expanduser() / f"{dataset}.npz").exists():
            path = collect_visibly(dataset, episodes=config.collect_episodes, workers=config.collect_workers)
    return load(
        config.env_name,
        dataset_path=path,
        dataset_dir=config.dataset_dir,
        success_timing=config.success_timing,
    )


def collect_visibly(
    name: str, *, episodes: int | None, seed: int = 0, workers: int = 1, directory: str | None = None
) -> Path:
    """`floqzoo.tasks.collect` with a progress bar."""
    with ProgressReport("collecting", "episodes") as progress:
        return collect(
            name,
            episodes=episodes,
            seed=seed,
            workers=workers,
            directory=directory,
            progress=lambda done, total, steps: progress.update(done, total, f"{steps:,} steps"),
        )
