"""Training: one run, from its beginning or its latest checkpoint to its end."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Array, PyTree

from floqzoo.training.configuration import RunConfig
from floqzoo.training.interruption import signal_of, stoppable
from floqzoo.training.metric_writer import open_writers
from floqzoo.training.processes import agreed, is_first
from floqzoo.training.progress import ProgressReport
from floqzoo.training.run_lock import run_locked
from floqzoo.training.run_state import RunState
from floqzoo.training.run_under_way import RunUnderWay
from floqzoo.training.training_result import TrainingResult


def train(
    build: Callable[[Array], PyTree],
    task: Any,
    config: RunConfig,
    run_directory: Path,
    *,
    resumed: bool = False,
    begin_with: Callable[[RunState], RunState] | None = None,
) -> TrainingResult:
    """Trains the agents of all seeds of a run on a task; metrics and checkpoints go to `run_directory`.

    Each seed has the parameters, batches, noise and episodes that it has when it is trained alone. Ctrl-C and SIGTERM end
    the run after the updates in flight, with metrics and a checkpoint as at its end.

    - `build`: Makes an untrained agent from a key. It has `update(batch, key)`, `critic`, `target_critic` and `policy`,
      as `floqzoo.Agent` has.
    - `task`: Has `dataset` and `make_environment()`, as what `floqzoo.tasks.load` returns. Where `config.eval_workers` are to
      play, `task.make_environment` is pickled.
    - `config`: How long, how often what, and which seeds; `config.agent.batch_size` is the size of a batch.
    - `resumed`: Whether the run in the folder goes on from its latest whole checkpoint, or from its beginning where it
      has none. On a CPU it then ends with the same metrics, times aside, and parameters, bit for bit, as if it had never
      ended.
    - `begin_with`: From untrained agents and their keys those that a new run begins with, such as a finished run's agents.

    **Raises** `FileExistsError` if the folder holds a run already that is not to be resumed; `BlockingIOError` while
    another process trains in it; `NonFiniteError` if a metric or a parameter becomes NaN or infinite, and the
    checkpoints until then stay; `OSError` if something cannot be written, and the run can be resumed; `ValueError` if
    what is to be resumed is damaged, or if `task.make_environment` is to be pickled and cannot.
    """
    stopped_by = None
    with ExitStack() as stack:
        if is_first():
            stack.enter_context(run_locked(run_directory))
        progress = stack.enter_context(ProgressReport("training", config.unit, quiet=not is_first()))
        check_stop = stack.enter_context(stoppable(agreed if jax.process_count() > 1 else None))
        writers = open_writers(
            run_directory,
            seeds=config.seed_numbers,
            settings=asdict(config),
            tensorboard=config.tensorboard and is_first(),
            wandb=config.wandb and is_first(),
        )
        for writer in writers:
            stack.callback(writer.close_writer)
        run = RunUnderWay(build, task, config, run_directory, progress, resumed, begin_with, writers)
        stack.callback(run.close)
        with run.errors_explained():
            try:
                run.train(check_stop)
            except KeyboardInterrupt as interrupt:
                if not run.whole:
                    raise
                stopped_by = signal_of(interrupt)
                run.stop_early()
    return TrainingResult(
        run.seeds,
        run.agents,
        run.step,
        run.updates,
        run.evaluations.evaluations,
        run.evaluations.baselines,
        run.speed,
        run.seconds,
        stopped_by,
    )
