"""The training loop: the updates, metrics, evaluations and checkpoints of one run."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from floqzoo.hyperparameter import partition_trainable
from floqzoo.protocols import Policy
from floqzoo.training.call_length import updates_in_a_call
from floqzoo.training.configuration import RunConfig
from floqzoo.training.diagnosis import diagnosis
from floqzoo.training.evaluation import Evaluation, Evaluator
from floqzoo.training.interruption import interrupt_held, signal_of, stoppable
from floqzoo.training.metric_mean import MetricMean, NonFiniteError, require_finite
from floqzoo.training.metric_writer import MetricWriter, open_writers
from floqzoo.training.progress import ProgressReport
from floqzoo.training.run_lock import run_locked
from floqzoo.training.run_state import RunState
from floqzoo.training.run_store import RunStore
from floqzoo.training.scanned_update import ScannedUpdate, devices_for
from floqzoo.training.seeds import agent_of, build_agents, in_precision, update_keys
from floqzoo.training.stopwatch import Stopwatch
from floqzoo.training.training_result import TrainingResult


def train(
    build: Callable[[Array], PyTree], task: Any, config: RunConfig, run_directory: Path, *, resumed: bool = False
) -> TrainingResult:
    """Trains the agents of all seeds of a run on a task; metrics and checkpoints go to `run_directory`.

    Each seed has the parameters, batches, noise and episodes that it has when it is trained alone. Ctrl-C and SIGTERM end
    the run after the updates in flight, with metrics and a checkpoint as at its end.

    - `build`: Makes an untrained agent from a key. It has `update(batch, key)`, `critic`, `target_critic` and `policy`,
      as `floqzoo.Agent` has.
    - `task`: Has `dataset` and `make_environment()`, as what `floqzoo.tasks.load` returns.
    - `config`: How long, how often what, and which seeds; `config.agent.batch_size` is the size of a batch.
    - `resumed`: Whether the run in the folder goes on from its latest whole checkpoint, or from its beginning where it
      has none. On a CPU it then ends with the same metrics, times aside, and parameters, bit for bit, as if it had never
      ended.

    **Raises** `FileExistsError` if the folder holds a run already that is not to be resumed; `BlockingIOError` while
    another process trains in it; `NonFiniteError` if a metric or a parameter becomes NaN or infinite, and the
    checkpoints until then stay; `OSError` if something cannot be written, and the run can be resumed; `ValueError` if
    what is to be resumed is damaged.
    """
    stopped_by = None
    with ExitStack() as stack:
        stack.enter_context(run_locked(run_directory))
        progress = stack.enter_context(ProgressReport("training", "updates"))
        check_stop = stack.enter_context(stoppable())
        writers = open_writers(
            run_directory,
            seeds=config.seed_numbers,
            settings=asdict(config),
            tensorboard=config.tensorboard,
            wandb=config.wandb,
        )
        for writer in writers:
            stack.callback(writer.close_writer)
        run = _Run(build, task, config, run_directory, progress, resumed, writers)
        stack.callback(run.evaluator.close)
        with run.errors_explained():
            try:
                run.train(check_stop)
            except KeyboardInterrupt as interrupt:
                stopped_by = signal_of(interrupt)
                run.stop_early()
    return TrainingResult(
        run.seeds, run.agents, run.step, run.evaluations, run.baselines, run.speed, run.seconds, stopped_by
    )


class _Run:
    """A run under way. Whatever must not be broken off by a signal stands under `interrupt_held`."""

    def __init__(
        self,
        build: Callable[[Array], PyTree],
        task: Any,
        config: RunConfig,
        directory: Path,
        progress: ProgressReport,
        resumed: bool,
        writers: Sequence[MetricWriter],
    ):
        self.store = RunStore(directory, config.keep_checkpoints, resumed, writers)
        self.config, self.progress, self.seeds = config, progress, config.seed_numbers
        self.step, self.mean, self.seconds = 0, MetricMean(), Stopwatch()
        state = RunState(build_agents(in_precision(build, config.precision), self.seeds), update_keys(self.seeds))
        if resumed and (stored := self.store.restore(state)):
            state, self.step, self.mean, self.seconds = stored
            progress.say(f"goes on after {self.step:,} updates")
        self.store.require_space(state)
        self.update = ScannedUpdate(
            state.agents, config.agent.batch_size, updates_in_a_call(config), devices=devices_for(config.seeds)
        )
        self.arrays, self.keys = self.update.arrays(state.agents), self.update.spread(state.keys)
        self.dataset = self.update.everywhere(task.dataset)
        self.evaluator = Evaluator(task.make_environment)
        self.evaluations: dict[int, Evaluation] = {}
        self.baselines: dict[int, Evaluation] = {}
        self.first_step, self.earlier = self.step, self.seconds.updates
        self.started = time.monotonic() - self.seconds.total
        self.logged_seconds = self.seconds.updates

    @property
    def agents(self) -> PyTree:
        return self.update.agents(jax.device_put(self.arrays, jax.devices()[0]))

    @property
    def speed(self) -> float:
        spent = self.seconds.updates - self.earlier
        return (self.step - self.first_step) / spent if spent else math.nan

    def train(self, check_stop: Callable[[], None]) -> None:
        self.compile()
        self.look_up()
        while self.step < self.config.offline_steps:
            check_stop()
            self.run_updates()
            self.look_up()

    @contextmanager
    def errors_explained(self) -> Iterator[None]:
        """Adds to an error what is left of the run, and what to do."""
        try:
            yield
        except NonFiniteError as error:
            self.log()
            advice = "A smaller learning rate is the first thing to try."
            raise NonFiniteError(f"{error} {self.what_is_left()} {advice}") from None
        except OSError as error:
            advice = "Once that is put right, `floqzoo resume` goes on with it."
            raise OSError(f"{error} {self.what_is_left()} {advice}") from error

    def look_up(self) -> None:
        """All that is due after a call. A checkpoint comes before the evaluation, which a resumed run plays again."""
        if self.due(self.config.log_interval):
            self.log()
        if self.due(self.config.save_interval):
            self.save()
        if self.due(self.config.eval_interval) and self.config.eval_episodes:
            self.evaluate()

    def due(self, interval: int) -> bool:
        end = self.step == self.config.offline_steps
        return end or (interval > 0 and self.step > 0 and self.step % interval == 0)

    def compile(self) -> None:
        self.show("compiling")
        with self.seconds.measure("compilation"):
            self.update.compile(self.arrays, self.dataset, self.keys, 0)
        self.progress.restart_clock(self.step)
        self.show("")

    def run_updates(self) -> None:
        count = self.update.updates
        with interrupt_held():
            with self.seconds.measure("updates"):
                self.arrays, metrics = self.update(self.arrays, self.dataset, self.keys, self.step)
                jax.block_until_ready(metrics)
            self.step += count
            self.mean.add(metrics, count)
            require_finite(metrics, self.seeds, self.step - count, count)
        self.show()

    def log(self) -> None:
        if not self.mean.updates:
            return
        with interrupt_held():
            spent = self.seconds.updates - self.logged_seconds
            self.logged_seconds = self.seconds.updates
            times = {"time/epoch_time": spent / self.mean.updates, "time/total_time": self.total_seconds()}
            means = self.mean.take()
            rows = {
                seed: {f"training/{name}": float(mean[index]) for name, mean in means.items()} | times
                for index, seed in enumerate(self.seeds)
            }
            self.store.write_training(self.step, rows)

    def save(self) -> None:
        with interrupt_held():
            self.seconds.total = self.total_seconds()
            self.require_finite_parameters(self.agents)
            self.store.save(RunState(self.agents, self.keys), self.step, self.mean, self.seconds)

    def evaluate(self) -> None:
        rows: dict[int, dict[str, float]] = {}
        agents = self.agents
        try:
            for index, seed in enumerate(self.seeds):
                agent = agent_of(agents, index)
                policy = agent.policy
                self.evaluations[seed] = self.play(policy, seed, "policy")
                rows[seed] = self.evaluations[seed].metrics("evaluation")
                diagnostics = diagnosis(agent.critic, self.dataset, seed)
                rows[seed] |= {f"diagnostics/{name}": value for name, value in diagnostics.items()}
                if self.step == self.config.offline_steps and hasattr(policy, "behaviour"):
                    self.baselines[seed] = self.play(policy.behaviour, seed, "behaviour flow")
                    rows[seed] |= self.baselines[seed].metrics("behaviour")
        finally:
            if rows:
                times = {"time/total_time": self.total_seconds()}
                self.store.write_evaluation(self.step, {seed: row | times for seed, row in rows.items()})

    def play(self, policy: Policy, seed: int, name: str) -> Evaluation:
        episodes = self.config.eval_episodes
        self.require_finite_parameters(policy)
        with self.seconds.measure("evaluation"):
            evaluation = self.evaluator.evaluate(
                policy, episodes=episodes, seed=seed, progress=lambda done: self.show(f"evaluating {done}/{episodes}")
            )
        self.progress.restart_clock(self.step)
        self.show(f"success {evaluation}")
        whose = name if len(self.seeds) == 1 else f"{name} of seed {seed}"
        self.progress.say(f"after {self.step:,} updates the {whose} succeeds in {evaluation} of {episodes} episodes")
        return evaluation

    def show(self, note: str | None = None) -> None:
        self.progress.update(self.step, self.config.offline_steps, note)

    def total_seconds(self) -> float:
        return time.monotonic() - self.started

    def stop_early(self) -> None:
        # In this order: the row of a broken interval is not part of the run that goes on from the checkpoint.
        self.save()
        self.log()

    def require_finite_parameters(self, tree: PyTree) -> None:
        leaves = jax.tree.leaves(partition_trainable(tree)[0])
        if not all(bool(finite) for finite in jax.device_get([jnp.all(jnp.isfinite(leaf)) for leaf in leaves])):
            raise NonFiniteError(f"a parameter became NaN or infinite within the {self.step:,} updates.")

    def what_is_left(self) -> str:
        steps = self.store.checkpoint_steps
        kept = f"Step {steps[-1]:,} is kept in {self.store.checkpoints}." if steps else "No checkpoint was due before."
        return f"The run is stopped. {kept}"
