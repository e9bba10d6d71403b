"""The training loop, which starts or resumes a run and trains until its end."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import Signals
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from floqzoo.hyperparameter import partition_trainable
from floqzoo.learner.devices import agreed, first_alone, is_first, local, mesh_for
from floqzoo.learner.metric_mean import MetricMean, NonFiniteError, cause_in_data, require_finite
from floqzoo.learner.pytree_utils import named_leaves
from floqzoo.learner.seeds import agent_of, build_agents, in_precision, update_keys
from floqzoo.protocols import BatchSource, MetricWriter, TrainableAgent, require_protocol
from floqzoo.rollout.evaluation import Evaluation
from floqzoo.runs.checkpoint import checkpoint_steps
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.metric_writers import open_writers
from floqzoo.runs.recipe import standard_batches
from floqzoo.runs.run_command import run_command
from floqzoo.runs.run_directory import record_phases, run_locked
from floqzoo.runs.run_store import AwaitedEvaluation, ReadOnlyStore, RunState, RunStore, Stopwatch
from floqzoo.tasks.dataset import Dataset
from floqzoo.tasks.layouts import summarise
from floqzoo.tasks.own_task import task_label
from floqzoo.tasks.read_ahead import ShardError
from floqzoo.tasks.sharded_dataset import ShardedDataset
from floqzoo.training.interruption import interrupt_held, signal_of, stoppable
from floqzoo.training.normalisation import normalising
from floqzoo.training.phases import OfflinePhase, OnlinePhase
from floqzoo.training.progress import ProgressReport
from floqzoo.training.run_evaluations import RunEvaluations, diagnosis
from floqzoo.typing import Array


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training run.

    - `seeds`: The seeds.
    - `agents`: The agents after the last update, every array with the seeds as its first axis.
    - `steps`: The number of steps so far, which are offline updates followed by environment steps.
    - `updates`: The number of updates of each seed.
    - `evaluations`: The last evaluation of each seed's policy; empty if there was none.
    - `baselines`: The final evaluation of the behaviour flow of each seed's policy; empty if there was none.
    - `updates_per_second`: The number of updates divided by the seconds spent on them; an update of all seeds counts as
      one update.
    - `seconds`: The time spent on each part of the run, including the time before a run was resumed.
    - `stopped_by`: The signal that ended the run early: SIGINT for Ctrl-C, or SIGTERM; None otherwise.
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
        """Returns the agent of one seed."""
        return agent_of(self.agents, self.seeds.index(seed))


def checkpoint_message(directory: Path) -> str:
    """Returns a sentence that says where the latest checkpoint of a run is, or that there is none."""
    steps = checkpoint_steps(directory / "checkpoints")
    if not steps:
        return "There is no checkpoint yet."
    return f"Its latest checkpoint, of step {steps[-1]:,}, is in {directory / 'checkpoints'}."


class Trainer:
    """The training loop of `train`. Code that a signal must not interrupt runs inside `interrupt_held`.

    - `build`, `config`, `directory`, `resumed`, `begin_with`: As in `floqzoo.training.train`.
    - `task`: A task with `dataset` and `make_environment`.
    - `progress`: Shows the progress of training.
    - `writers`: Metric writers that receive every logged metric.
    - `batch_source`, `to_task`: As in `floqzoo.training.train`.
    - `check_stop`: A function that raises an exception if the run has received a signal to stop.

    Attributes: `step`, the current step; `seeds`; `seconds`, the time spent on each part of the run; `evaluations`;
    `whole`, whether agents, step and environments are consistent, which they are except while `advance` runs.
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
        to_task: Callable[[PyTree], PyTree] | None,
        check_stop: Callable[[], None],
    ):
        first = is_first()
        self.to_task = None if to_task is None else eqx.filter_vmap(to_task)
        self.check_stop = check_stop
        self.store = (
            RunStore(directory, config.keep_checkpoints, resumed, writers, config.best_metric)
            if first
            else ReadOnlyStore(directory)
        )
        self.config, self.directory, self.progress, self.seeds = config, directory, progress, config.seed_numbers
        self.step, self.mean, self.seconds = 0, MetricMean(), Stopwatch()
        build = in_precision(normalising(build, config, task), config.precision)
        state = RunState(build_agents(build, self.seeds), update_keys(self.seeds))
        require_protocol("agent", state.agents, TrainableAgent)
        self.awaited: AwaitedEvaluation | None = None
        with first_alone():
            stored = self.store.restore(state) if resumed else None
        if stored:
            state, self.step, self.mean, self.seconds = stored
            self.awaited = self.store.restore_awaited(self.step, state.agents)
            progress.say(f"resumes after {self.step:,} {config.unit}")
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
        make_environment = getattr(task, "make_environment", None)
        self.evaluations = RunEvaluations(
            make_environment,
            config,
            self.store,
            progress,
            self.seconds,
            self.total_seconds,
            offline_batches,
            # Several processes must call it equally often, and only one of them evaluates.
            check_stop=check_stop if jax.process_count() == 1 else lambda: None,
            reference_returns=getattr(task, "reference_returns", None),
        )
        if is_first():
            record_phases(directory, self.offline.starts)
        self.whole = True
        self.entered: OfflinePhase | OnlinePhase | None = None
        self.first_update, self.earlier = self.updates, self.seconds.updates
        self.started = time.monotonic() - self.seconds.total
        self.logged_seconds = self.seconds.updates

    @property
    def agents(self) -> PyTree:
        """The agents on one device, ready to act. With several processes, all of them must access this property."""
        agents = self.update.agents(self.update.gathered(self.arrays))
        return agents if self.to_task is None else self.to_task(agents)

    @property
    def phase(self) -> OfflinePhase | OnlinePhase:
        """The phase to which the next step belongs."""
        return self.online if self.online and self.step >= self.config.offline_steps else self.offline

    @property
    def explored(self) -> OnlinePhase | None:
        """The online phase; None before the first environment step."""
        return self.online if self.step > self.config.offline_steps else None

    @property
    def ready(self) -> bool:
        """Whether the environments of a resumed run have been restored; True if it has no environments to restore."""
        return self.explored is None or self.explored is self.entered

    @property
    def updates(self) -> int:
        """The number of updates of each seed so far."""
        return self.phase.updates_until(self.step)

    @property
    def speed(self) -> float:
        """The number of updates of this process, divided by the seconds spent on them; NaN before the first update."""
        spent = self.seconds.updates - self.earlier
        return (self.updates - self.first_update) / spent if spent else math.nan

    def train(self) -> None:
        """Trains until the end of the run, unless `check_stop` raises an exception."""
        self.check_stop()
        self.enter(self.phase)
        awaited, self.awaited = self.awaited, None
        if awaited is not None and self.config.eval_episodes:
            self.evaluations.begin(awaited.step, awaited.parts, local(self.dataset))
        self.look_up()
        while self.step < self.config.total_steps:
            self.check_stop()
            if self.phase is not self.entered:
                self.enter(self.phase)
            self.advance()
            self.look_up()
        self.evaluations.finish(self.step)

    def close(self) -> None:
        """Cancels the running evaluation, if any, and closes the environments and the reader of shards."""
        self.evaluations.close()
        self.offline.close()
        if self.online:
            self.online.close()

    @contextmanager
    def errors_explained(self) -> Iterator[None]:
        """A context manager that adds the location of the latest checkpoint and advice on how to continue to any error.

        If the error comes from an environment or from reading a shard, a checkpoint is saved first.
        """
        try:
            yield
        except NonFiniteError as error:
            self.log()
            self.evaluations.finish(self.step)
            advice = "Try a smaller learning rate first."
            if error.update is not None and error.update <= 2:  # a gradient of the first shows in the second
                advice = f"The first updates were not finite. {cause_in_data(local(self.dataset))}"
            raise NonFiniteError(f"{error} {self.stopped_message()} {advice}", error.update) from None
        except ShardError as error:
            self.save_despite(error)
            raise ShardError(f"{str(error).rstrip('.')}. {self.stopped_message()} {self.to_continue()}") from error
        except OSError as error:
            raise OSError(f"{str(error).rstrip('.')}. {self.stopped_message()} {self.to_continue()}") from error
        except Exception as error:
            # An environment may raise any error, and the updates so far are complete.
            self.save_despite(error)
            error.add_note(f"{self.stopped_message()} {self.to_continue()}")
            raise

    def save_despite(self, error: Exception) -> None:
        """Saves a checkpoint after an error outside the updates, provided that the state of the run is consistent."""
        if self.whole and self.ready and self.step and jax.process_count() == 1:
            try:
                self.save()
            except Exception as other:
                error.add_note(f"No checkpoint could be written: {other}")

    def look_up(self) -> None:
        """Does everything that is due at this step: writes finished evaluations, logs metrics, saves and evaluates.

        A checkpoint is saved before the evaluation of its step starts. If the evaluation of an earlier step is still
        running, the checkpoint also contains the agents of that evaluation. A resumed run therefore repeats both
        evaluations.
        """
        self.evaluations.look(self.step)
        for name, start in self.offline.starts.items():
            if start == self.step:
                self.progress.say(f"phase {name}, after {self.step:,} {self.config.unit}")
        if self.due(self.config.log_interval):
            self.log()
        if self.due(self.config.save_interval):
            self.save()
        if self.due(self.config.eval_interval) and self.config.eval_episodes:
            self.evaluate()

    def due(self, interval: int) -> bool:
        """Returns whether an event with this interval is due at this step; every event is due at the end of a phase."""
        ends = (self.config.offline_steps, self.config.total_steps, *filter(None, self.offline.starts.values()))
        end = self.step in ends
        return end or (interval > 0 and self.step > 0 and self.step % interval == 0)

    def enter(self, phase: OfflinePhase | OnlinePhase) -> None:
        """Starts a phase, or restores it from the checkpoint of a resumed run, and compiles its functions."""
        self.show("compiling")
        phase.begin(self.store.restore_online(self.step) if self.explored else None)
        with self.seconds.measure("compilation"):
            phase.compile(self.arrays, self.keys)
        self.entered = phase
        self.progress.restart_clock(self.step)
        self.show("")

    def advance(self) -> None:
        """Runs the next compiled call of the offline phase, or the next round of the online phase."""
        first, count = self.updates, self.phase.update.updates
        with self.seconds.measure("reading"):
            self.phase.prepare(self.step)
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
        """Writes a row with the mean of each metric since the last row; does nothing if there were no updates."""
        if not self.mean.updates:
            return
        with interrupt_held():
            spent = self.seconds.updates - self.logged_seconds
            self.logged_seconds = self.seconds.updates
            times = {"time/epoch_time": spent / self.mean.updates, "time/total_time": self.total_seconds()}
            means = self.mean.take()
            further = self.explored.metrics(self.step) if self.explored else self.diagnostics()
            rows = {
                seed: {f"training/{name}": float(mean[index]) for name, mean in means.items()} | further[index] | times
                for index, seed in enumerate(self.seeds)
            }
            self.store.write_training(self.step, rows)

    def diagnostics(self) -> list[dict[str, float]]:
        """Computes the diagnostics of each seed's critic; empty if the run has evaluations, which log them."""
        if self.config.eval_episodes:
            return [{} for _ in self.seeds]
        parts, dataset = self.agents.parts, local(self.dataset)
        rows = [
            diagnosis(agent_of(parts, index), dataset, seed, self.evaluations.batches)
            for index, seed in enumerate(self.seeds)
        ]
        self.progress.restart_clock(self.step)
        return rows

    def save(self) -> None:
        """Saves a checkpoint.

        **Raises** `NonFiniteError` if a parameter is NaN or infinite.
        """
        with interrupt_held():
            self.seconds.total = self.total_seconds()
            state = RunState(self.agents, self.update.gathered(self.keys))
            self.require_finite_parameters(state.agents)
            online = self.explored.state() if self.explored else None
            awaited = self.evaluations.awaited(self.step)
            self.store.save(state, self.step, self.mean, self.seconds, online=online, awaited=awaited)

    def evaluate(self) -> None:
        """Evaluates the agents, in the background if there are worker processes.

        **Raises** `NonFiniteError` if a parameter of a policy is NaN or infinite.
        """
        agents = self.agents
        if is_first():
            self.require_finite_parameters(agents.policy)
            self.evaluations.begin(self.step, agents.parts, local(self.dataset))

    def show(self, note: str | None = None) -> None:
        """Updates the progress bar; `note` is by default the progress of the running evaluation."""
        self.progress.update(self.step, self.config.total_steps, self.evaluations.note if note is None else note)

    def total_seconds(self) -> float:
        """Returns the total time of the run in seconds, not counting the time between interruption and resumption."""
        return time.monotonic() - self.started

    def stop_early(self) -> None:
        """Ends a run after a stop signal: saves a checkpoint, logs a last row of metrics, and closes evaluations.

        If `ready` is False, nothing is saved or logged, and only the evaluations are closed.
        """
        if self.ready:
            # In this order: the row of an incomplete interval is not part of the run that resumes from the checkpoint.
            self.save()
            self.log()
        self.evaluations.close()

    def require_finite_parameters(self, tree: PyTree) -> None:
        """Checks that all parameters in a tree are finite.

        **Raises** `NonFiniteError` if a parameter is NaN or infinite.
        """
        # On the host and not on the device: a program for each shape takes a second to compile.
        for name, leaf in jax.device_get(named_leaves(partition_trainable(tree)[0])).items():
            if not np.isfinite(leaf).all():
                raise NonFiniteError(f"the parameter {name} became NaN or infinite within {self.updates:,} updates.")

    def stopped_message(self) -> str:
        """Returns a message that says that the run has stopped, and where its latest checkpoint is."""
        return f"The run has stopped. {checkpoint_message(self.directory)}"

    def to_continue(self) -> str:
        """Returns advice on how to continue after an error whose cause can be removed."""
        # The command reads the settings of a run that `run_recipe` has started.
        has_settings = (self.directory / "flags.json").exists()
        how = f"`{run_command('resume', self.directory)}`" if has_settings else "the same call and `resumed=True`"
        return f"Fix the problem, then continue with {how}."


def train(
    build: Callable[[Array], PyTree],
    task: Any,
    config: RunConfig,
    run_directory: str | Path,
    *,
    resumed: bool = False,
    begin_with: Callable[[RunState], RunState] | None = None,
    batch_source: Callable[[RunConfig, bool], BatchSource] = standard_batches,
    to_task: Callable[[PyTree], PyTree] | None = None,
) -> TrainingResult:
    """Trains the agents of all seeds of a run on a task, and writes metrics and checkpoints to `run_directory`.

    Training starts by printing a summary of the data to standard error. Each seed gets the same parameters, batches,
    noise and episodes as if it were trained alone. Ctrl-C and SIGTERM end the run after the current updates; metrics and
    a checkpoint are then saved, as at the normal end of a run.

    - `build`: Builds an untrained agent, a [`TrainableAgent`][floqzoo.protocols.TrainableAgent], from a key.
    - `task`: A [`Task`][floqzoo.protocols.Task], or any object with a `dataset` and `make_environment` as in `Task`.
      With `config.eval_workers` or `config.online_processes`, `make_environment` is pickled.
    - `config`: The settings of the run; `config.agent.batch_size` is the batch size. If
      `config.normalize_observations` is set, the agents get a normaliser that is fitted to the task's dataset, unless
      they already have one.
    - `run_directory`: The folder of the run, which is created if it does not exist.
    - `resumed`: Whether to resume the run in the folder from its latest intact checkpoint, or from the beginning if it
      has no checkpoint. On a CPU the metrics (except times) and the parameters are bitwise identical to those of an
      uninterrupted run.
    - `begin_with`: A function that receives the `RunState` of a new run, i.e. its untrained agents and update keys, and
      returns the `RunState` that the run starts with, for example with the agents of a finished run.
    - `batch_source`: A function that returns the batch source of the updates, given the settings and whether the batch
      source is for the online phase. For a recipe, pass `recipe.batch_source`.
    - `to_task`: A function that prepares the agent of one seed to act on the task. The agents that it returns are used
      in evaluations, in checkpoints and in the result; training continues with the original agents.

    **Raises** `FileExistsError` if the folder already contains a run and `resumed` is False; `BlockingIOError` if
    another process is already training in it; `NonFiniteError` if a metric, an action or a parameter becomes NaN or
    infinite (earlier checkpoints are kept); `ShardError` if a shard of the dataset cannot be read, or `OSError` if a
    file cannot be written (in both cases the run can be resumed); `ValueError` if the run to resume is damaged, or if
    the settings do not fit the task, for example because `make_environment` cannot be pickled although the settings
    require it; and any error that an environment raises.
    """
    stopped_by, run_directory = None, Path(run_directory)
    with ExitStack() as stack:
        if is_first():
            stack.enter_context(run_locked(run_directory))
        progress = stack.enter_context(ProgressReport("training", config.unit, quiet=not is_first()))
        if isinstance(task.dataset, ShardedDataset):
            progress.say(f"{task.dataset}, for {config.replace_interval:,} updates")
        elif isinstance(task.dataset, Dataset):
            progress.say(f"{task_label(config.env_name)}\n{summarise(task.dataset)}")
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
        run = Trainer(
            build,
            task,
            config,
            run_directory,
            progress,
            resumed,
            begin_with,
            writers,
            batch_source,
            to_task,
            check_stop,
        )
        stack.callback(run.close)
        with run.errors_explained():
            try:
                run.train()
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
