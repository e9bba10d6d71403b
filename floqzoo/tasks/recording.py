"""Records each episode of a collection to a separate file, in this process or in worker processes."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from floqzoo.protocols import DatasetScript, EpisodeRecorder
from floqzoo.tasks.episodes import save_episode
from floqzoo.tasks.renderer import LIMIT
from floqzoo.tasks.worker_process import follow_parent


TRAIN, VALIDATION = 0, 1


@dataclass(frozen=True)
class EpisodeJob:
    """A job that records one episode and writes it to the file `path`.

    The random seeds of the episode are determined by `seed`, `split` (0 for training, 1 for validation) and `index`.
    """

    seed: int
    split: int
    index: int
    path: Path

    def seeds(self) -> np.random.SeedSequence:
        """Returns the random seeds of the episode, which do not depend on the number of episodes or workers."""
        return np.random.SeedSequence(self.seed, spawn_key=(self.split, self.index))

    def run(self, recorder: EpisodeRecorder) -> None:
        """Records the episode, and writes it to its file."""
        save_episode(self.path, recorder.record(self.seeds()))


def record_all(
    script: DatasetScript, jobs: Sequence[EpisodeJob], workers: int, finished_one: Callable[[], None]
) -> None:
    """Runs all jobs, and calls `finished_one` after each job.

    The jobs run in this process if `workers` is 1, and in worker processes otherwise. If the script renders images, they
    run in exactly one worker process, whatever `workers` is. Because a renderer can hang, the environments of pixel tasks
    end the worker process if a step takes longer than `floqzoo.tasks.renderer.LIMIT` seconds; see `make`.

    **Raises** `RuntimeError` if a worker process dies. On any error, including Ctrl-C, finished episodes are kept.
    """
    if not jobs:
        return
    renders = getattr(script, "renders", False)
    if workers == 1 and not renders:
        recorder = script.recorder()
        for job in jobs:
            job.run(recorder)
            finished_one()
        return
    pool = ProcessPoolExecutor(
        max_workers=1 if renders else min(workers, len(jobs)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(script,),
    )
    try:
        for future in as_completed([pool.submit(_run_in_worker, job) for job in jobs]):
            future.result()
            finished_one()
    except BrokenProcessPool as error:
        hung = f", a renderer that took more than {LIMIT:.0f} s for a step" if renders else ""
        raise RuntimeError(
            f"a worker process that recorded {script.name!r} died. Possible causes: too little memory, a signal{hung}, or "
            'a script without `if __name__ == "__main__":`. Finished episodes are kept; call again to continue.'
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_recorder: EpisodeRecorder | None = None


def _start_worker(script: DatasetScript) -> None:
    """Initialises a worker process, which ignores Ctrl-C and ends when its parent ends."""
    global _recorder
    follow_parent()
    _recorder = script.recorder()


def _run_in_worker(job: EpisodeJob) -> None:
    if _recorder is None:
        raise RuntimeError("the worker process has no recorder.")
    job.run(_recorder)
