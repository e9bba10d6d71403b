"""An evaluation that is played while training goes on."""

import threading

from floqzoo.training.evaluation import Evaluator
from floqzoo.training.step_evaluation import StepEvaluation


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
