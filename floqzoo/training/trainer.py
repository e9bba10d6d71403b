"""Training: a run from its start or its latest checkpoint to its end."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import Signals
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree

from floqzoo.hyperparameter import partition_trainable
from floqzoo.learner.devices import agreed, first_alone, is_first, local, mesh_for
from floqzoo.learner.metric_mean import MetricMean, NonFiniteError, require_finite
from floqzoo.learner.seeds import agent_of, build_agents, in_precision, update_keys
from floqzoo.protocols import BatchSource, MetricWriter, TrainableAgent, require_protocol
from floqzoo.rollout.evaluation import Evaluation
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.metric_writers import open_writers
from floqzoo.runs.recipe import standard_batches
from floqzoo.runs.run_directory import run_locked
from floqzoo.runs.run_store import AwaitedEvaluation, ReadOnlyStore, RunState, RunStore, Stopwatch
from floqzoo.training.interruption import interrupt_held, signal_of, stoppable
from floqzoo.training.phases import OfflinePhase, OnlinePhase
from floqzoo.training.progress import ProgressReport
from floqzoo.training.run_evaluations import RunEvaluations


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to.

    - `seeds`: The seeds.
    - `agents`: The agents after the last update, every array with the seeds as its first axis.
    - `steps`: The steps of the run: updates offline, then steps in the environment.
    - `updates`: The updates of each seed.
    - `evaluations`: The last evaluation of each seed's policy; empty where there was none.
    - `baselines`: The same of the policies' behaviour flows, at the end, where they have one.
    - `updates_per_second`: The speed of the updates alone, all seeds counted as one.
    - `seconds`: The time spent, a resumed run's earlier time too.
    - `stopped_by`: The signal that ended the run early: SIGINT for Ctrl-C, or SIGTERM; None where none did.
    """

    seeds: tuple[int, ...]
    agents: PyTree
    steps: int
    updates: int
    evaluations: dict[int, Evaluation]
    baselines: dict[int, Evaluation]
    updates_per_second: float
    seconds: Stopwatch
    stopped_by: Signals | None

    def agent(self, seed: int) -> PyTree:
        """The agent of one seed."""
        return agent_of(self.agents, self.seeds.index(seed))


TO_GO_ON = "Once that is put right, `floqzoo resume` goes on with it."


class Trainer:
    """What `train` trains: whatever must not be broken off by a signal stands under `interrupt_held`.

    - `build`, `config`, `directory`, `resumed`, `begin_with`: As `floqzoo.training.train` takes them.
    - `task`: Has `dataset` and `make_environment`.
    - `progress`: Shows how far it is.
    - `writers`: Take every metric that the logs take.

    Attributes: `step`, how far it is; `seeds`; `seconds`, where the time went; `evaluations`; `whole`, whether agents, step
    and environments belong together, as they do not in the midst of a call.
    """

    def __init__(
        self,
        build: Callable[[Array], PyTree],
        task: Any,
        config: RunConfig,
        directory: Path,
        progress: ProgressReport,
        resumed: bool,
        begin_with: Callable[[RunState], RunState] | None,
        writers: Sequence[MetricWriter],
        batch_source: Callable[[RunConfig, bool], BatchSource],
    ):
        first = is_first()
        self.store = (
            RunStore(directory, config.keep_checkpoints, resumed, writers, config.best_metric)
            if first
            else ReadOnlyStore(directory)
        )
        self.config, self.progress, self.seeds = config, progress, config.seed_numbers
        self.step, self.mean, self.seconds = 0, MetricMean(), Stopwatch()
        state = RunState(build_agents(in_precision(build, config.precision), self.seeds), update_keys(self.seeds))
        require_protocol("agent", state.agents, TrainableAgent)
        self.awaited: AwaitedEvaluation | None = None
        with first_alone():
            stored = self.store.restore(state) if resumed else None
        if stored:
            state, self.step, self.mean, self.seconds = stored
            self.awaited = self.store.restore_awaited(self.step, state.agents)
            progress.say(f"goes on after {self.step:,} {config.unit}")
        elif begin_with is not None:
            state = begin_with(state)
        mesh = mesh_for(config.seeds, config.agent.batch_size)
        offline_batches, online_batches = batch_source(config, False), batch_source(config, True)
        self.offline, self.online = (
            OfflinePhase(config, self.step, state.agents, task.dataset, offline_batches, mesh),
            None,
        )
        self.update, self.dataset = self.offline.update, self.offline.dataset
        if config.online_steps:
            self.online = OnlinePhase(config, state, task, self.dataset, online_batches, mesh)
        awaited = state.evaluated_bytes if config.eval_workers else 0
        self.store.require_space(state.bytes + awaited + (self.online.bytes if self.online else 0))
        self.arrays, self.keys = self.update.arrays(state.agents), self.update.spread(state.keys)
        self.evaluations = RunEvaluations(
            getattr(task, "make_environment", None),
            config,
            self.store,
            progress,
            self.seconds,
            self.total_seconds,
            offline_batches,
            reference_returns=getattr(task, "reference_returns", None),
        )
        self.whole = True
        self.entered: OfflinePhase | OnlinePhase | None = None
        self.first_update, self.earlier = self.updates, self.seconds.updates
        self.started = time.monotonic() - self.seconds.total
        self.logged_seconds = self.seconds.updates

    @property
    def agents(self) -> PyTree:
        """On one device; where there are several processes, each must ask for them."""
        return self.update.agents(self.update.gathered(self.arrays))

    @property
    def phase(self) -> OfflinePhase | OnlinePhase:
        """That of the next step."""
        return self.online if self.online and self.step >= self.config.offline_steps else self.offline

    @property
    def explored(self) -> OnlinePhase | None:
        """The online phase, once there were steps in the environment."""
        return self.online if self.step > self.config.offline_steps else None

    @property
    def ready(self) -> bool:
        """Whether environments that were explored before are where the latest checkpoint has them, or further."""
        return self.explored is None or self.explored is self.entered

    @property
    def updates(self) -> int:
        """The updates of each seed until here."""
        return self.phase.updates_until(self.step)

    @property
    def speed(self) -> float:
        """Updates a second, from where this process began."""
        spent = self.seconds.updates - self.earlier
        return (self.updates - self.first_update) / spent if spent else math.nan

    def train(self, check_stop: Callable[[], None]) -> None:
        """Goes on to the end, unless `check_stop` raises."""
        self.enter(self.phase)
        awaited, self.awaited = self.awaited, None
        if awaited is not None and self.config.eval_episodes:
            self.evaluations.begin(awaited.step, awaited.parts, local(self.dataset))
        self.look_up()
        while self.step < self.config.total_steps:
            check_stop()
            if self.phase is not self.entered:
                self.enter(self.phase)
            self.advance()
            self.look_up()
        self.evaluations.finish(self.step)

    def close(self) -> None:
        """Gives up what is under way beside training, and closes the environments."""
        self.evaluations.close()
        if self.online:
            self.online.close()

    @contextmanager
    def errors_explained(self) -> Iterator[None]:
        """Adds to an error what is left of the run, and what to do."""
        try:
            yield
        except NonFiniteError as error:
            self.log()
            self.evaluations.finish(self.step)
            advice = "A smaller learning rate is the first thing to try."
            raise NonFiniteError(f"{error} {self.what_is_left()} {advice}") from None
        except OSError as error:
            raise OSError(f"{error} {self.what_is_left()} {TO_GO_ON}") from error
        except Exception as error:
            # An environment may raise anything, and the updates until here are whole.
            if self.whole and self.ready and self.step and jax.process_count() == 1:
                try:
                    self.save()
                except Exception as other:
                    error.add_note(f"No checkpoint could be written: {other}")
            error.add_note(f"{self.what_is_left()} {TO_GO_ON}")
            raise

    def look_up(self) -> None:
        """All that is due after a call. A checkpoint comes before the evaluation of its step, and holds the agents of an
        earlier one that is under way: a resumed run plays both again."""
        self.evaluations.look(self.step)
        if self.due(self.config.log_interval):
            self.log()
        if self.due(self.config.save_interval):
            self.save()
        if self.due(self.config.eval_interval) and self.config.eval_episodes:
            self.evaluate()

    def due(self, interval: int) -> bool:
        """Whether something is due at this step."""
        end = self.step in (self.config.offline_steps, self.config.total_steps)
        return end or (interval > 0 and self.step > 0 and self.step % interval == 0)

    def enter(self, phase: OfflinePhase | OnlinePhase) -> None:
        """Begins a phase, and compiles it."""
        self.show("compiling")
        phase.begin(self.store.restore_online(self.step) if self.explored else None)
        with self.seconds.measure("compilation"):
            phase.compile(self.arrays, self.keys)
        self.entered = phase
        self.progress.restart_clock(self.step)
        self.show("")

    def advance(self) -> None:
        """The next call offline, or the next round online."""
        first, count = self.updates, self.phase.update.updates
        with interrupt_held():
            self.whole = False
            with self.seconds.measure("updates"):
                self.arrays, calls = self.phase.advance(self.arrays, self.keys, self.step)
                jax.block_until_ready(calls)
            self.step += self.phase.steps
            self.whole = True
            for number, metrics in enumerate(calls):
                self.mean.add(metrics, count)
                require_finite(metrics, self.seeds, first + number * count, count)
        self.show()

    def log(self) -> None:
        """Writes the means since the row before; no row where there were no updates."""
        if not self.mean.updates:
            return
        with interrupt_held():
            spent = self.seconds.updates - self.logged_seconds
            self.logged_seconds = self.seconds.updates
            times = {"time/epoch_time": spent / self.mean.updates, "time/total_time": self.total_seconds()}
            means = self.mean.take()
            explored = self.explored.metrics(self.step) if self.explored else [{} for _ in self.seeds]
            rows = {
                seed: {f"training/{name}": float(mean[index]) for name, mean in means.items()} | explored[index] | times
                for index, seed in enumerate(self.seeds)
            }
            self.store.write_training(self.step, rows)

    def save(self) -> None:
        """Writes a checkpoint."""
        with interrupt_held():
            self.seconds.total = self.total_seconds()
            state = RunState(self.agents, self.update.gathered(self.keys))
            self.require_finite_parameters(state.agents)
            online = self.explored.state() if self.explored else None
            awaited = self.evaluations.awaited(self.step)
            self.store.save(state, self.step, self.mean, self.seconds, online=online, awaited=awaited)

    def evaluate(self) -> None:
        """Evaluates the agents, or begins to."""
        agents = self.agents
        if is_first():
            self.require_finite_parameters(agents.policy)
            self.evaluations.begin(self.step, agents.parts, local(self.dataset))

    def show(self, note: str | None = None) -> None:
        """Moves the progress bar."""
        self.progress.update(self.step, self.config.total_steps, self.evaluations.note if note is None else note)

    def total_seconds(self) -> float:
        """Seconds since the run began to train, without pauses until it was resumed."""
        return time.monotonic() - self.started

    def stop_early(self) -> None:
        """What a signal leaves time for."""
        if self.ready:
            # In this order: the row of a broken interval is not part of the run that goes on from the checkpoint.
            self.save()
            self.log()
        self.evaluations.close()

    def require_finite_parameters(self, tree: PyTree) -> None:
        """**Raises** `NonFiniteError` if a parameter is NaN or infinite."""
        # Here, and not on the device: a program for each shape takes a second to compile.
        leaves = jax.device_get(jax.tree.leaves(partition_trainable(tree)[0]))
        if not all(np.isfinite(leaf).all() for leaf in leaves):
            raise NonFiniteError(f"a parameter became NaN or infinite within the {self.updates:,} updates.")

    def what_is_left(self) -> str:
        """What to go on with, in words."""
        steps = self.store.checkpoint_steps
        kept = f"Step {steps[-1]:,} is kept in {self.store.checkpoints}." if steps else "No checkpoint was due before."
        return f"The run is stopped. {kept}"


def train(
    build: Callable[[Array], PyTree],
    task: Any,
    config: RunConfig,
    run_directory: str | Path,
    *,
    resumed: bool = False,
    begin_with: Callable[[RunState], RunState] | None = None,
    batch_source: Callable[[RunConfig, bool], BatchSource] = standard_batches,
) -> TrainingResult:
    """Trains the agents of all seeds of a run on a task; metrics and checkpoints go to `run_directory`.

    Each seed has the parameters, batches, noise and episodes that it has when it is trained alone. Ctrl-C and SIGTERM end
    the run after the updates in flight, with metrics and a checkpoint as at its end.

    - `build`: Makes an untrained agent from a key, a [`TrainableAgent`][floqzoo.protocols.TrainableAgent].
    - `task`: Has `dataset` and `make_environment`, as a [`Task`][floqzoo.protocols.Task]. Where `config.eval_workers` play,
      `task.make_environment` is pickled.
    - `config`: How long, how often what, and which seeds; `config.agent.batch_size` is the size of a batch.
    - `resumed`: Whether the run in the folder goes on from its latest whole checkpoint, or from its beginning where it
      has none. On a CPU it then ends with the same metrics, times aside, and parameters, bit for bit, as if it had never
      ended.
    - `begin_with`: From untrained agents and their keys those that a new run begins with, such as a finished run's agents.

    - `batch_source`: From the settings, and whether the run is online yet, the batch source of its updates; that of a
      recipe is `recipe.batch_source`.

    **Raises** `FileExistsError` if the folder holds a run already that is not to be resumed; `BlockingIOError` while
    another process trains in it; `NonFiniteError` if a metric or a parameter becomes NaN or infinite, and the
    checkpoints until then stay; `OSError` if something cannot be written, and the run can be resumed; `ValueError` if
    what is to be resumed is damaged, or if `task.make_environment` is to be pickled and cannot.
    """
    stopped_by, run_directory = None, Path(run_directory)
    with ExitStack() as stack:
        if is_first():
            run_directory.mkdir(parents=True, exist_ok=True)
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
        run = Trainer(build, task, config, run_directory, progress, resumed, begin_with, writers, batch_source)
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
