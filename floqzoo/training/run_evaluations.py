"""All evaluations of a run: one after another in the loop, or beside it."""

from collections.abc import Callable
from statistics import fmean
from typing import Any

from jaxtyping import PyTree

from floqzoo.training.background_evaluation import BackgroundEvaluation
from floqzoo.training.configuration import RunConfig
from floqzoo.training.evaluation import Evaluation, Evaluator
from floqzoo.training.interruption import interrupt_held
from floqzoo.training.progress import ProgressReport
from floqzoo.training.read_only_store import ReadOnlyStore
from floqzoo.training.run_state import AwaitedEvaluation
from floqzoo.training.run_store import RunStore
from floqzoo.training.step_evaluation import StepEvaluation
from floqzoo.training.stopwatch import Stopwatch


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

    Attributes: `evaluations` and `baselines`, the latest of each seed, of its policy and of its behaviour flow.
    """

    def __init__(
        self,
        make_environment: Callable[[], Any],
        config: RunConfig,
        store: RunStore | ReadOnlyStore,
        progress: ProgressReport,
        seconds: Stopwatch,
        clock: Callable[[], float],
    ):
        self.evaluator = Evaluator(make_environment, workers=config.eval_workers if config.eval_episodes else 0)
        self.config, self.store, self.progress, self.seconds, self.clock = config, store, progress, seconds, clock
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
        return AwaitedEvaluation(evaluation.step, evaluation.policies, evaluation.critics)

    def begin(self, step: int, policies: PyTree, critics: PyTree, dataset: PyTree) -> None:
        """Evaluates, or begins to, once the evaluation under way is finished.

        - `step`: How far the agents were trained.
        - `policies`, `critics`: Those of all seeds.
        - `dataset`: The critics are diagnosed on it.

        **Raises** what an environment raises; an evaluation that is played beside training raises it later.
        """
        self.finish(step)
        evaluation = StepEvaluation(
            step,
            policies,
            critics,
            seeds=self.config.seed_numbers,
            episodes=self.config.eval_episodes,
            dataset=dataset,
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
        self.store.awaited = None
        self.store.write_evaluation(evaluation.step, {seed: row | times for seed, row in evaluation.rows.items()})
        self.seconds.evaluation += evaluation.seconds
        self.evaluations |= evaluation.evaluations
        self.baselines |= evaluation.baselines
        self._say(evaluation)
        rates = [result.success_rate for result in evaluation.evaluations.values()]
        self._show(step, f"success {100 * fmean(rates):.0f} %")

    def _say(self, evaluation: StepEvaluation) -> None:
        every = {"policy": evaluation.evaluations, "behaviour flow": evaluation.baselines}
        for name, results in every.items():
            for seed, result in results.items():
                whose = name if len(evaluation.seeds) == 1 else f"{name} of seed {seed}"
                self.progress.say(
                    f"after {evaluation.step:,} {self.config.unit} the {whose} succeeds in {result} of "
                    f"{evaluation.episodes} episodes"
                )

    def _show(self, step: int, note: str) -> None:
        self.progress.update(step, self.config.total_steps, note)
