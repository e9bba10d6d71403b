"""The episodes of a collection: recorded here or in worker processes, each into a file of its own."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from floqzoo.protocols import DatasetScript, EpisodeRecorder
from floqzoo.tasks.episodes import save_episode
from floqzoo.tasks.worker_process import follow_parent


TRAIN, VALIDATION = 0, 1


@dataclass(frozen=True)
class EpisodeJob:
    """One episode to record: which it is, and where it goes."""

    seed: int
    split: int
    index: int
    path: Path

    def seeds(self) -> np.random.SeedSequence:
        """The episode's own seeds: the same whatever the number of episodes or of workers."""
        return np.random.SeedSequence(self.seed, spawn_key=(self.split, self.index))

    def run(self, recorder: EpisodeRecorder) -> None:
        """Records the episode and writes its file."""
        save_episode(self.path, recorder.record(self.seeds()))


def record_all(
    script: DatasetScript, jobs: Sequence[EpisodeJob], workers: int, finished_one: Callable[[], None]
) -> None:
    """Records every job, in this process for one worker and else in that many processes of their own.

    **Raises** `RuntimeError` if a worker process dies. On any error, Ctrl-C included, what is finished stays.
    """
    if not jobs:
        return
    if workers == 1:
        recorder = script.recorder()
        for job in jobs:
            job.run(recorder)
            finished_one()
        return
    pool = ProcessPoolExecutor(
        max_workers=min(workers, len(jobs)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(script,),
    )
    try:
        for future in as_completed([pool.submit(_run_in_worker, job) for job in jobs]):
            future.result()
            finished_one()
    except BrokenProcessPool as error:
        raise RuntimeError(
            f"a worker process that recorded {script.name!r} died: out of memory, killed, or started from a script "
            'without `if __name__ == "__main__":`. Finished episodes are kept; call again to go on from there.'
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_recorder: EpisodeRecorder | None = None


def _start_worker(script: DatasetScript) -> None:
    """Makes a worker process ready: it leaves Ctrl-C to its parent, and ends when its parent does."""
    global _recorder
    follow_parent()
    _recorder = script.recorder()


def _run_in_worker(job: EpisodeJob) -> None:
    if _recorder is None:
        raise RuntimeError("the worker process has no recorder.")
    job.run(_recorder)
