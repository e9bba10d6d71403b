"""Evaluates the agents of a run, in the training process or in worker processes during training."""

import threading
import time
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from floqzoo.learner.batch_sources import UniformBatches
from floqzoo.learner.pytree_utils import named_leaves, split_arrays
from floqzoo.learner.seeds import SeedUse, agent_of, seed_key
from floqzoo.protocols import BatchSource, Diagnosable
from floqzoo.records import ActorCritic
from floqzoo.rollout.environment_worker import require_picklable
from floqzoo.rollout.evaluation import NORMALISED, Evaluation, Evaluator
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.run_store import RETURN_METRIC, AwaitedEvaluation, ReadOnlyStore, RunStore, Stopwatch
from floqzoo.tasks.layouts import counted
from floqzoo.training.interruption import interrupt_held
from floqzoo.training.progress import ProgressReport
from floqzoo.typing import Key
from floqzoo.update_rules import copied


TRANSITIONS = 256
"""The number of transitions on which a critic is diagnosed."""


def diagnosis(
    parts: ActorCritic, dataset: PyTree, seed: int, batches: BatchSource | Any = UniformBatches()
) -> dict[str, float]:
    """Computes the diagnostics of a critic, by name (`diagnostics/NAME`); empty if the critic is not `Diagnosable`.

    All diagnoses of a seed use the same transitions and noise samples, so their results differ only because of the
    critic.

    - `parts`: The critic and its normaliser; the policy is not used.
    - `dataset`: The dataset that `batches` samples from.
    - `seed`: The seed of the agent, which determines the transitions and the noise samples.
    - `batches`: The batch source of the updates, so that the critic is diagnosed on batches of the same kind as in
      training, such as batches of action chunks.
    """
    if not isinstance(parts.critic, Diagnosable):
        return {}
    parts = ActorCritic(parts.critic, None, parts.normaliser)
    found = _diagnose(parts, dataset, batches, seed_key(seed, SeedUse.DIAGNOSIS))
    return {f"diagnostics/{name}": float(value) for name, value in named_leaves(found).items()}


@eqx.filter_jit
def _diagnose(parts: ActorCritic, dataset: PyTree, batches: BatchSource, key: Key) -> PyTree:
    batch_key, noise_key = jax.random.split(key)
    batch = batches.draw_batch(dataset, None, jnp.asarray(0), batch_key, TRANSITIONS)
    return parts.critic.diagnose(batch.with_observations(jax.vmap(parts.normalised)), noise_key)


def behaviour_of(parts: ActorCritic) -> ActorCritic | None:
    """Returns the parts with the policy replaced by its behaviour policy (see `HasBehaviour`); None if it is missing."""
    # Not by `isinstance`: a wrapper policy finds out only on access, and then raises `AttributeError`.
    behaviour = getattr(parts.policy, "behaviour", None)
    return None if behaviour is None else ActorCritic(parts.critic, behaviour, parts.normaliser)


def diagnostic_names(parts: ActorCritic, dataset: PyTree, batches: BatchSource | Any) -> list[str]:
    """Returns the names of a critic's diagnostics, `diagnostics/NAME`, without computing the diagnostics.

    - `parts`: The critic and its normaliser; arrays may be `jax.ShapeDtypeStruct`s.
    """
    if not isinstance(parts.critic, Diagnosable):
        return []
    parts = ActorCritic(parts.critic, None, parts.normaliser)
    found = eqx.filter_eval_shape(_diagnose, parts, dataset, batches, jax.random.key(0))
    return [f"diagnostics/{name}" for name in named_leaves(found)]


def require_environment(config: RunConfig, make_environment: Callable[[], Any] | None) -> None:
    """Checks that the task of a run has an environment for evaluations, and that worker processes can create it.

    Does nothing for a run without evaluations.

    **Raises** `ValueError` if `make_environment` is None, or if it cannot be pickled although `config.eval_workers`
    requires it.
    """
    if not config.eval_episodes:
        return
    if make_environment is None:
        raise ValueError(
            f"`eval_episodes` must be 0 on {config.env_name}, which has no environment; got {config.eval_episodes}."
        )
    if config.eval_workers:
        require_picklable(make_environment)


def _no_environment() -> Any:
    raise RuntimeError("the task has no environment.")


class StepEvaluation:
    """The evaluation of all seeds at one step of a run: plays their policies, and diagnoses their critics.

    - `step`: The step of the run.
    - `parts`: The critics and policies of all seeds, with the seeds as the first axis of every array.
    - `seeds`: The seed numbers, which also seed the episodes.
    - `episodes`: The number of episodes per policy.
    - `dataset`, `batches`: The source of the batches on which the critics are diagnosed.
    - `last`: Whether this is the final evaluation of the run, in which the behaviour flows are also played.

    Attributes, which are filled seed by seed: `evaluations`, the results of the policies; `baselines`, the results of
    the behaviour flows; `rows`, the metrics; `played`, the number of finished episodes; `seconds`, the total time.
    """

    def __init__(
        self,
        step: int,
        parts: ActorCritic,
        *,
        seeds: Sequence[int],
        episodes: int,
        dataset: PyTree,
        batches: BatchSource,
        last: bool,
    ):
        self.step, self.parts, self.seeds = step, parts, tuple(seeds)
        self.episodes, self.dataset, self.batches, self.last = episodes, dataset, batches, last
        self.evaluations: dict[int, Evaluation] = {}
        self.baselines: dict[int, Evaluation] = {}
        self.rows: dict[int, dict[str, float]] = {}
        self.played, self.seconds = 0, 0.0

    @property
    def note(self) -> str:
        """The progress of the evaluation as text for the progress bar."""
        flows = 2 if self.last and behaviour_of(self.parts) else 1
        return f"evaluating {self.played}/{flows * len(self.seeds) * self.episodes}"

    def keep(self) -> None:
        """Copies the arrays of the agents, so that training can continue and overwrite the originals."""
        arrays, rest = split_arrays(self.parts)
        self.parts = eqx.combine(copied(arrays), rest)

    def play(self, evaluator: Evaluator, progress: Callable[[], None] | None = None) -> None:
        """Plays the episodes and diagnoses the critics.

        The time that the environments need to start is not counted in `seconds`.

        - `evaluator`: The environments to play in.
        - `progress`: Called after each episode.
        """
        evaluator.prepare(self.episodes)
        for index, seed in enumerate(self.seeds):
            start = time.monotonic()
            parts = agent_of(self.parts, index)
            self.evaluations[seed] = self._played(parts, seed, evaluator, progress)
            row = self.rows[seed] = self.evaluations[seed].metrics("evaluation")
            row |= diagnosis(parts, self.dataset, seed, self.batches)
            behaviour = behaviour_of(parts) if self.last else None
            if behaviour is not None:
                self.baselines[seed] = self._played(behaviour, seed, evaluator, progress)
                row |= self.baselines[seed].metrics("behaviour")
            row["time/evaluation_time"] = time.monotonic() - start
            self.seconds += row["time/evaluation_time"]

    def _played(
        self, parts: ActorCritic, seed: int, evaluator: Evaluator, progress: Callable[[], None] | None
    ) -> Evaluation:
        before = self.played

        def finished(count: int) -> None:
            self.played = before + count
            if progress is not None:
                progress()

        return evaluator.evaluate(parts, episodes=self.episodes, seed=seed, progress=finished)


class BackgroundEvaluation:
    """Runs the evaluation of one step in a background thread, with copies of the agents.

    The thread only computes the results; the caller gets them from `result` and writes them.

    - `evaluation`: The evaluation to run.
    - `evaluator`: The environments, which must not be used elsewhere while the evaluation is running.
    """

    def __init__(self, evaluation: StepEvaluation, evaluator: Evaluator):
        evaluation.keep()
        self.evaluation, self._evaluator = evaluation, evaluator
        self._error: BaseException | None = None
        self._done = threading.Event()
        # A daemon thread, so that Python does not wait for it at exit; `give_up` stops it.
        threading.Thread(target=self._play, name="evaluation", daemon=True).start()

    def over(self, within: float = 0.0) -> bool:
        """Returns whether the evaluation has finished or failed, after waiting up to `within` seconds for its end."""
        return self._done.wait(within)

    def result(self) -> StepEvaluation:
        """Waits for the evaluation to finish, and returns it.

        **Raises** the error of the thread, if any.
        """
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self.evaluation

    def give_up(self) -> None:
        """Stops the evaluation at its next environment step; the evaluator cannot be used afterwards."""
        self._evaluator.stop()
        self._done.wait()

    def _play(self) -> None:
        try:
            self.evaluation.play(self._evaluator)
        except BaseException as error:  # `result` raises it in the calling thread
            self._error = error
        finally:
            self._done.set()


class RunEvaluations:
    """Runs the evaluations of a run on request, and logs the results under the step of the evaluated agents.

    With worker processes, evaluations run in the background during training, one at a time, with copies of the agents.
    Their results are written by `look` and `finish`, in the thread that calls these methods.

    - `make_environment`: A function that creates an environment of the task; None if the task has no environment.
    - `config`: The settings of the run.
    - `store`: The store that receives the rows.
    - `progress`: Shows the progress and the results of an evaluation.
    - `seconds`: Measures the time of the evaluations, and the time that training spends waiting for them.
    - `clock`: A function that returns the total time of the run in seconds.
    - `batches`: The batch source of the updates.
    - `check_stop`: Called at least once a second while training waits for a background evaluation, and after each
      episode if the evaluation runs in the training process. It raises an exception to stop the run, like the
      function that [`stoppable`][floqzoo.training.interruption.stoppable] yields.
    - `reference_returns`: The returns that correspond to 0 and 1 in the metric `evaluation/episode.return_normalised`;
      if None, the metric is not logged.

    Attributes: `evaluations` and `baselines`, the latest evaluation of each seed's policy and of its behaviour flow.

    **Raises** the same errors as `require_environment`.
    """

    def __init__(
        self,
        make_environment: Callable[[], Any] | None,
        config: RunConfig,
        store: RunStore | ReadOnlyStore,
        progress: ProgressReport,
        seconds: Stopwatch,
        clock: Callable[[], float],
        batches: BatchSource,
        *,
        check_stop: Callable[[], None] = lambda: None,
        reference_returns: tuple[float, float] | None = None,
    ):
        require_environment(config, make_environment)
        make_environment = make_environment or _no_environment
        self.reference_returns = reference_returns
        self.evaluator = Evaluator(make_environment, workers=config.eval_workers if config.eval_episodes else 0)
        self.config, self.store, self.progress, self.seconds, self.clock = config, store, progress, seconds, clock
        self.batches, self.check_stop = batches, check_stop
        self.evaluations: dict[int, Evaluation] = {}
        self.baselines: dict[int, Evaluation] = {}
        self._pending: BackgroundEvaluation | None = None

    @property
    def note(self) -> str | None:
        """The progress of the running evaluation, if any."""
        return self._pending.evaluation.note if self._pending else None

    def awaited(self, step: int) -> AwaitedEvaluation | None:
        """Returns the running evaluation if it belongs to a step before `step`, or else None."""
        if self._pending is None or self._pending.evaluation.step == step:
            return None
        evaluation = self._pending.evaluation
        return AwaitedEvaluation(evaluation.step, evaluation.parts)

    def begin(self, step: int, parts: ActorCritic, dataset: PyTree) -> None:
        """Waits for the running evaluation, if any, then runs the next one; with worker processes, starts it in the
        background and returns.

        - `step`: The step of the agents.
        - `parts`: The critics and policies of all seeds.
        - `dataset`: The dataset on which the critics are diagnosed.

        **Raises** the same errors as `finish`, and any error that an environment raises. An error of an environment in
        a background evaluation is raised later, by `look` or `finish`.
        """
        self.finish(step)
        evaluation = StepEvaluation(
            step,
            parts,
            seeds=self.config.seed_numbers,
            episodes=self.config.eval_episodes,
            dataset=dataset,
            batches=self.batches,
            last=step == self.config.total_steps,
        )
        if self.config.eval_workers:
            with interrupt_held():  # an evaluation that is not in `_pending` could not be cancelled
                self._pending = BackgroundEvaluation(evaluation, self.evaluator)
                self.store.awaited = step
        else:
            self._play_here(evaluation)

    def look(self, step: int) -> None:
        """Writes the results of the background evaluation if it has finished; `step` is the current step of training.

        **Raises** the error of the evaluation, if any.
        """
        if self._pending is not None and self._pending.over():
            self.finish(step)

    def finish(self, step: int) -> None:
        """Waits for the running evaluation, if any, and writes its results; `step` is the current step of training.

        **Raises** the error of the evaluation, if any, and any error that `check_stop` raises.
        """
        if self._pending is None:
            return
        waited = not self._pending.over()
        with self.seconds.measure("waiting"):
            while not self._pending.over(within=1.0):
                self._wait(self._pending.evaluation, step)
        with interrupt_held():
            evaluation = self._pending.result()
            self._pending = None
            self._record(evaluation, step)
        if waited:
            self.progress.restart_clock(step)

    def close(self) -> None:
        """Cancels the running evaluation, if any, and reports this in a message; closes the environments."""
        if self._pending is not None:
            self._pending.give_up()
            step = self._pending.evaluation.step
            self.progress.say(
                f"the evaluation after {step:,} {self.config.unit} was cancelled; it is played again when the run resumes"
            )
            self._pending = None
        self.evaluator.close()

    def _play_here(self, evaluation: StepEvaluation) -> None:
        try:
            with self.seconds.measure("waiting"):
                evaluation.play(self.evaluator, progress=lambda: self._wait(evaluation, evaluation.step))
        finally:  # also after an interrupted evaluation
            if evaluation.rows:
                self._record(evaluation, evaluation.step)
            self.progress.restart_clock(evaluation.step)

    def _record(self, evaluation: StepEvaluation, step: int) -> None:
        times = {"time/total_time": self.clock()}
        if self.reference_returns is not None:
            low, high = self.reference_returns
            for row in evaluation.rows.values():
                row[f"evaluation/{NORMALISED}"] = (row[RETURN_METRIC] - low) / (high - low)
        self.store.awaited = None
        self.store.write_evaluation(evaluation.step, {seed: row | times for seed, row in evaluation.rows.items()})
        self.seconds.evaluation += evaluation.seconds
        self.evaluations |= evaluation.evaluations
        self.baselines |= evaluation.baselines
        self._say(evaluation)
        results = evaluation.evaluations.values()
        if all(result.reports_success for result in results):
            self._show(step, f"success {100 * fmean(result.success_rate for result in results):.0f} %")
        else:
            self._show(step, f"return {fmean(result.mean_return for result in results):.4g}")

    def _say(self, evaluation: StepEvaluation) -> None:
        every = {"policy": evaluation.evaluations, "behaviour flow": evaluation.baselines}
        for name, results in every.items():
            for seed, result in results.items():
                whose = name if len(evaluation.seeds) == 1 else f"{name} of seed {seed}"
                did = f"succeeds in {result} of" if result.reports_success else f"has a return of {result}, mean of"
                played = counted(evaluation.episodes, "episode")
                self.progress.say(f"after {evaluation.step:,} {self.config.unit} the {whose} {did} {played}")

    def _wait(self, evaluation: StepEvaluation, step: int) -> None:
        self._show(step, evaluation.note)
        self.check_stop()

    def _show(self, step: int, note: str) -> None:
        self.progress.update(step, self.config.total_steps, note)
