"""The training loop: the updates, metrics, evaluations and checkpoints of one run."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from floqzoo.hyperparameter import partition_trainable
from floqzoo.protocols import Policy
from floqzoo.training.checkpoint import checkpoint_steps, save_checkpoint
from floqzoo.training.configuration import RunConfig
from floqzoo.training.evaluation import Evaluation, Evaluator
from floqzoo.training.interruption import interrupt_held
from floqzoo.training.metric_log import MetricLog
from floqzoo.training.metric_mean import MetricMean, NonFiniteError, require_finite
from floqzoo.training.progress import ProgressReport
from floqzoo.training.scanned_update import ScannedUpdate
from floqzoo.training.stopwatch import Stopwatch


CPU_CALL, ACCELERATOR_CALL = 10, 100
"""The most updates in one compiled call. On a CPU it is so short that Ctrl-C and the progress bar need not wait
for it, on an accelerator so long that Python costs it nothing."""


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to.

    - `agent`: The agent after the last update.
    - `steps`: The updates made.
    - `evaluation`: The last evaluation of the policy; None where there was none.
    - `baseline`: The same of the policy's behaviour flow, at the end, where the policy has one.
    - `seconds`: The time spent.
    - `interrupted`: Whether Ctrl-C ended the run early.
    """

    agent: PyTree
    steps: int
    evaluation: Evaluation | None
    baseline: Evaluation | None
    seconds: Stopwatch
    interrupted: bool

    @property
    def updates_per_second(self) -> float:
        """The speed of the updates alone."""
        return self.steps / self.seconds.updates if self.seconds.updates else math.nan


def train(agent: PyTree, task: Any, config: RunConfig, run_directory: Path) -> TrainingResult:
    """Trains an agent on a task; metrics and checkpoints go to `run_directory`.

    Ctrl-C ends the run after the updates in flight, with metrics and a checkpoint as at its end.

    - `agent`: Has `update(batch, key)`, `critic`, `target_critic` and `policy`, as `floqzoo.Agent` has.
    - `task`: Has `dataset` and `make_environment()`, as what `floqzoo.tasks.load` returns.
    - `config`: How long, and how often what; `config.agent.batch_size` is the size of a batch.

    **Raises** `FileExistsError` if the folder holds a run already; `NonFiniteError` if a metric or a parameter
    becomes NaN or infinite, and the checkpoints until then stay.
    """
    with ProgressReport("training", "updates") as progress:
        run = _Run(agent, task, config, run_directory, progress)
        interrupted = False
        try:
            run.train()
        except KeyboardInterrupt:
            interrupted = True
            run.stop_early()
        finally:
            run.evaluator.close()
    return TrainingResult(run.agent, run.step, run.evaluation, run.baseline, run.seconds, interrupted)


def update_key(seed: int) -> jax.Array:
    """The key of all updates of a run; its other use of the seed, the parameters, folds in 0."""
    return jax.random.fold_in(jax.random.key(seed), 1)


def updates_in_a_call(config: RunConfig, at_most: int) -> int:
    """The most updates, up to a limit, that divide every interval of a run."""
    common = math.gcd(config.offline_steps, config.log_interval, config.eval_interval, config.save_interval)
    return max(count for count in range(1, at_most + 1) if common % count == 0)


class _Run:
    """A run under way. Whatever must not be broken off by Ctrl-C stands under `interrupt_held`."""

    def __init__(self, agent: PyTree, task: Any, config: RunConfig, directory: Path, progress: ProgressReport):
        _refuse_used(directory)
        self.config, self.progress = config, progress
        self.dataset = jax.device_put(task.dataset)
        self.key = update_key(config.seed)
        at_most = CPU_CALL if jax.default_backend() == "cpu" else ACCELERATOR_CALL
        self.update = ScannedUpdate(agent, config.agent.batch_size, updates_in_a_call(config, at_most))
        self.arrays = self.update.arrays(agent)
        self.step = 0
        self.evaluator = Evaluator(task.make_environment)
        self.evaluation: Evaluation | None = None
        self.baseline: Evaluation | None = None
        self.checkpoints = directory / "checkpoints"
        self.train_log = MetricLog(directory / "train.csv")
        self.eval_log = MetricLog(directory / "eval.csv")
        self.mean = MetricMean()
        self.seconds = Stopwatch()
        self.started = time.monotonic()
        self.logged_seconds = 0.0

    @property
    def agent(self) -> PyTree:
        return self.update.agent(self.arrays)

    def train(self) -> None:
        self.compile()
        try:
            while self.step < self.config.offline_steps:
                self.run_updates()
                if self.due(self.config.log_interval):
                    self.log()
                if self.due(self.config.save_interval):
                    self.save()
                if self.due(self.config.eval_interval) and self.config.eval_episodes:
                    self.evaluate()
        except NonFiniteError as error:
            self.log()
            raise NonFiniteError(f"{error} {self.what_is_left()}") from None

    def due(self, interval: int) -> bool:
        return self.step == self.config.offline_steps or (interval > 0 and self.step % interval == 0)

    def compile(self) -> None:
        self.show("compiling")
        with self.seconds.measure("compilation"):
            self.update.compile(self.arrays, self.dataset, self.key, 0)
        self.progress.restart_clock(0)
        self.show("")

    def run_updates(self) -> None:
        count = self.update.updates
        with interrupt_held():
            with self.seconds.measure("updates"):
                self.arrays, metrics = self.update(self.arrays, self.dataset, self.key, self.step)
                jax.block_until_ready(metrics)
            self.step += count
            self.mean.add(metrics, count)
            require_finite(metrics, self.step - count, count)
        self.show()

    def log(self) -> None:
        if not self.mean.updates:
            return
        with interrupt_held():
            spent = self.seconds.updates - self.logged_seconds
            self.logged_seconds = self.seconds.updates
            times = {"epoch_time": spent / self.mean.updates, "total_time": time.monotonic() - self.started}
            metrics = {f"training/{name}": mean for name, mean in self.mean.take().items()}
            self.train_log.write(self.step, metrics | {f"time/{name}": value for name, value in times.items()})

    def save(self) -> None:
        with interrupt_held():
            agent = self.agent
            _require_finite_parameters(agent, self.step)
            save_checkpoint(self.checkpoints, agent, self.step)

    def evaluate(self) -> None:
        policy = self.agent.policy
        metrics: dict[str, float] = {}
        try:
            self.evaluation = self.play(policy, "policy")
            metrics = _described("evaluation", self.evaluation)
            if self.step == self.config.offline_steps and hasattr(policy, "behaviour"):
                self.baseline = self.play(policy.behaviour, "behaviour flow")
                metrics |= _described("behaviour", self.baseline)
        finally:
            if metrics:
                self.eval_log.write(self.step, metrics | {"time/total_time": time.monotonic() - self.started})

    def play(self, policy: Policy, name: str) -> Evaluation:
        episodes = self.config.eval_episodes
        _require_finite_parameters(policy, self.step)
        with self.seconds.measure("evaluation"):
            evaluation = self.evaluator.evaluate(
                policy,
                episodes=episodes,
                seed=self.config.seed,
                progress=lambda done: self.show(f"evaluating {done}/{episodes}"),
            )
        self.progress.restart_clock(self.step)
        self.show(f"success {evaluation}")
        self.progress.say(f"after {self.step:,} updates the {name} succeeds in {evaluation} of {episodes} episodes")
        return evaluation

    def show(self, note: str | None = None) -> None:
        self.progress.update(self.step, self.config.offline_steps, note)

    def stop_early(self) -> None:
        self.log()
        self.save()

    def what_is_left(self) -> str:
        steps = checkpoint_steps(self.checkpoints)
        kept = f"Step {steps[-1]:,} is kept in {self.checkpoints}." if steps else "No checkpoint was due before."
        return f"The run is stopped. {kept} A smaller learning rate is the first thing to try."


def _refuse_used(directory: Path) -> None:
    for name in ("train.csv", "eval.csv", "checkpoints"):
        if (directory / name).exists():
            raise FileExistsError(f"a run is never written over another: {directory} has a {name} already.")


def _require_finite_parameters(tree: PyTree, step: int) -> None:
    leaves = jax.tree.leaves(partition_trainable(tree)[0])
    if not all(bool(finite) for finite in jax.device_get([jnp.all(jnp.isfinite(leaf)) for leaf in leaves])):
        raise NonFiniteError(f"a parameter became NaN or infinite within the {step:,} updates.")


def _described(prefix: str, evaluation: Evaluation) -> dict[str, float]:
    return {
        f"{prefix}/success": evaluation.success_rate,
        f"{prefix}/success_standard_error": evaluation.standard_error,
        f"{prefix}/episode.return": float(evaluation.episode_return.mean()),
        f"{prefix}/episode.length": float(evaluation.length.mean()),
    }
