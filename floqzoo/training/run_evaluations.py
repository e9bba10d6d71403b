"""The evaluations of a run: in the training process, or in worker processes beside it."""

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
from floqzoo.rollout.evaluation import Evaluation, Evaluator
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.run_store import RETURN_METRIC, AwaitedEvaluation, ReadOnlyStore, RunStore, Stopwatch
from floqzoo.training.interruption import interrupt_held
from floqzoo.training.progress import ProgressReport
from floqzoo.typing import Key
from floqzoo.update_rules import copied


TRANSITIONS = 256
"""Transitions that a diagnosis looks at."""


def diagnosis(
    critic: Any, dataset: PyTree, seed: int, batches: BatchSource | Any = UniformBatches()
) -> dict[str, float]:
    """The diagnostics of a critic by name; empty for a critic that is not `Diagnosable`.

    All diagnoses of a seed use the same transitions and noise samples, so that only the critic differs.

    - `dataset`: What `batches` draws from.
    - `batches`: The batch source of the updates on it: the critic is diagnosed on what it is trained on, such as chunks.
    """
    if not isinstance(critic, Diagnosable):
        return {}
    found = _diagnose(critic, dataset, batches, seed_key(seed, SeedUse.DIAGNOSIS))
    return {name: float(value) for name, value in named_leaves(found).items()}


@eqx.filter_jit
def _diagnose(critic: Diagnosable, dataset: PyTree, batches: BatchSource, key: Key) -> PyTree:
    batch_key, noise_key = jax.random.split(key)
    return critic.diagnose(batches.draw_batch(dataset, None, jnp.asarray(0), batch_key, TRANSITIONS), noise_key)


def behaviour_of(parts: ActorCritic) -> ActorCritic | None:
    """The behaviour policy of a policy that has one (`HasBehaviour`), with its critic."""
    # Not by `isinstance`: a policy that holds another one knows only when it is asked, and raises an `AttributeError`.
    behaviour = getattr(parts.policy, "behaviour", None)
    return None if behaviour is None else ActorCritic(parts.critic, behaviour)


def _no_environment() -> Any:
    raise RuntimeError("the task has no environment.")


class StepEvaluation:
    """Plays the policies of all seeds, and diagnoses their critics.

    - `step`: How far the run is.
    - `parts`: Critics and policies of all seeds, with the seeds as the first axis of every array.
    - `seeds`: Their numbers, which seed their episodes.
    - `episodes`: How many each policy plays.
    - `dataset`, `batches`: The critics are diagnosed on batches of it.
    - `last`: Whether behaviour flows play too.

    Attributes, filled seed by seed: `evaluations`; `baselines`, those of the behaviour flows; `rows`, the metrics; `played`,
    the number of episodes that are finished; `seconds`, the time that all took.
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
        """How far it is."""
        flows = 2 if self.last and behaviour_of(self.parts) else 1
        return f"evaluating {self.played}/{flows * len(self.seeds) * self.episodes}"

    def keep(self) -> None:
        """Copies the arrays, so that training may go on and overwrite its own."""
        arrays, rest = split_arrays(self.parts)
        self.parts = eqx.combine(copied(arrays), rest)

    def play(self, evaluator: Evaluator, progress: Callable[[], None] | None = None) -> None:
        """Plays and diagnoses. The time that the environments need to get ready is left out of what it took.

        - `progress`: Called after each episode.
        """
        evaluator.prepare(self.episodes)
        for index, seed in enumerate(self.seeds):
            start = time.monotonic()
            parts = agent_of(self.parts, index)
            self.evaluations[seed] = self._played(parts, seed, evaluator, progress)
            row = self.rows[seed] = self.evaluations[seed].metrics("evaluation")
            diagnostics = diagnosis(parts.critic, self.dataset, seed, self.batches)
            row |= {f"diagnostics/{name}": value for name, value in diagnostics.items()}
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
    """Plays the evaluation of one step in a thread of its own, on copies of the agents.

    The thread plays and counts, and nothing else: what came out is written by whoever asks for it.

    - `evaluation`: What is played.
    - `evaluator`: Its environments, which nobody else may use meanwhile.
    """

    def __init__(self, evaluation: StepEvaluation, evaluator: Evaluator):
        evaluation.keep()
        self.evaluation, self._evaluator = evaluation, evaluator
        self._error: BaseException | None = None
        self._done = threading.Event()
        # Not one that Python waits for at its end: whoever gives the evaluation up stops it.
        threading.Thread(target=self._play, name="evaluation", daemon=True).start()

    def over(self, within: float = 0.0) -> bool:
        """Whether it is over, well or not, or will be `within` so many seconds."""
        return self._done.wait(within)

    def result(self) -> StepEvaluation:
        """The evaluation, played; waits for that.

        **Raises** what happened in the thread.
        """
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self.evaluation

    def give_up(self) -> None:
        """Stops it at its next step, for good: its evaluator plays no more."""
        self._evaluator.stop()
        self._done.wait()

    def _play(self) -> None:
        try:
            self.evaluation.play(self._evaluator)
        except BaseException as error:  # Whatever it is, it is for the thread that asks.
            self._error = error
        finally:
            self._done.set()


class RunEvaluations:
    """Evaluates the agents of a run whenever it is told to, and writes what came out under the step of those agents.

    With worker processes an evaluation is played while training goes on: at most one at a time, of copies of the agents.
    What comes out is written by the thread that trains, when it looks.

    - `make_environment`: Makes an environment of the task.
    - `config`: The run.
    - `store`: Takes the rows.
    - `progress`: Shows how far an evaluation is, and what came out.
    - `seconds`: Counts the time of the evaluations, and the time that training waited for them.
    - `clock`: The time since the run began.
    - `batches`: The batch source of the updates on the dataset.
    - `reference_returns`: Returns that count as 0 and 1 in `evaluation/episode.return_normalised`; without them it is not logged.

    Attributes: `evaluations` and `baselines`, the latest of each seed, of its policy and of its behaviour flow.
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
        reference_returns: tuple[float, float] | None = None,
    ):
        if make_environment is None:
            make_environment = _no_environment
            if config.eval_episodes:
                raise ValueError(
                    f"`eval_episodes` must be 0 on {config.env_name}, which has no environment; got {config.eval_episodes}."
                )
        self.reference_returns = reference_returns
        self.evaluator = Evaluator(make_environment, workers=config.eval_workers if config.eval_episodes else 0)
        self.config, self.store, self.progress, self.seconds, self.clock = config, store, progress, seconds, clock
        self.batches = batches
        self.evaluations: dict[int, Evaluation] = {}
        self.baselines: dict[int, Evaluation] = {}
        self._pending: BackgroundEvaluation | None = None

    @property
    def note(self) -> str | None:
        """How far an evaluation is that is under way."""
        return self._pending.evaluation.note if self._pending else None

    def awaited(self, step: int) -> AwaitedEvaluation | None:
        """The evaluation under way, where it is of an earlier step than `step`."""
        if self._pending is None or self._pending.evaluation.step == step:
            return None
        evaluation = self._pending.evaluation
        return AwaitedEvaluation(evaluation.step, evaluation.parts)

    def begin(self, step: int, parts: ActorCritic, dataset: PyTree) -> None:
        """Evaluates, or begins to, once the evaluation under way is finished.

        - `step`: How far the agents were trained.
        - `parts`: Critics and policies of all seeds.
        - `dataset`: The critics are diagnosed on it.

        **Raises** what an environment raises; an evaluation that is played beside training raises it later.
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
            self._pending = BackgroundEvaluation(evaluation, self.evaluator)
            self.store.awaited = step
        else:
            self._play_here(evaluation)

    def look(self, step: int) -> None:
        """Writes what came out, if an evaluation is finished; `step` is how far training is.

        **Raises** what happened in the evaluation.
        """
        if self._pending is not None and self._pending.over():
            self.finish(step)

    def finish(self, step: int) -> None:
        """Waits for the evaluation under way, if there is one, and writes what came out.

        **Raises** what happened in the evaluation.
        """
        if self._pending is None:
            return
        waited = not self._pending.over()
        with self.seconds.measure("waiting"):
            while not self._pending.over(within=1.0):
                self._show(step, self._pending.evaluation.note)
        with interrupt_held():
            evaluation = self._pending.result()
            self._pending = None
            self._record(evaluation, step)
        if waited:
            self.progress.restart_clock(step)

    def close(self) -> None:
        """Gives up the evaluation under way, says so, and closes the environments."""
        if self._pending is not None:
            self._pending.give_up()
            step = self._pending.evaluation.step
            self.progress.say(
                f"the evaluation after {step:,} {self.config.unit} was given up; it is played when the run goes on"
            )
            self._pending = None
        self.evaluator.close()

    def _play_here(self, evaluation: StepEvaluation) -> None:
        try:
            with self.seconds.measure("waiting"):
                evaluation.play(self.evaluator, progress=lambda: self._show(evaluation.step, evaluation.note))
        finally:  # Of an evaluation that was broken off, too.
            if evaluation.rows:
                self._record(evaluation, evaluation.step)
            self.progress.restart_clock(evaluation.step)

    def _record(self, evaluation: StepEvaluation, step: int) -> None:
        times = {"time/total_time": self.clock()}
        if self.reference_returns is not None:
            low, high = self.reference_returns
            for row in evaluation.rows.values():
                row[f"{RETURN_METRIC}_normalised"] = (row[RETURN_METRIC] - low) / (high - low)
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
                self.progress.say(
                    f"after {evaluation.step:,} {self.config.unit} the {whose} {did} {evaluation.episodes} episodes"
                )

    def _show(self, step: int, note: str) -> None:
        self.progress.update(step, self.config.total_steps, note)
