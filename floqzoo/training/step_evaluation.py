"""The evaluation of all seeds of a run as they are after some number of updates."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
from jaxtyping import PyTree

from floqzoo.protocols import Policy
from floqzoo.training.diagnosis import diagnosis
from floqzoo.training.evaluation import Evaluation, Evaluator
from floqzoo.training.leaves import own_arrays, split_arrays
from floqzoo.training.seeds import agent_of


class StepEvaluation:
    """Plays the policies of all seeds, and diagnoses their critics.

    - `step`: How far the run is.
    - `policies`, `critics`: Those of all seeds, with the seeds as the first axis of every array.
    - `seeds`: Their numbers, which seed their episodes.
    - `episodes`: How many each policy plays.
    - `dataset`: The critics are diagnosed on it.
    - `last`: Whether behaviour flows play too.

    Attributes, filled seed by seed: `evaluations`; `baselines`, those of the behaviour flows; `rows`, the metrics; `played`,
    the number of episodes that are finished; `seconds`, the time that all took.
    """

    def __init__(
        self,
        step: int,
        policies: PyTree,
        critics: PyTree,
        *,
        seeds: Sequence[int],
        episodes: int,
        dataset: PyTree,
        last: bool,
    ):
        self.step, self.policies, self.critics, self.seeds = step, policies, critics, tuple(seeds)
        self.episodes, self.dataset, self.last = episodes, dataset, last
        self.evaluations: dict[int, Evaluation] = {}
        self.baselines: dict[int, Evaluation] = {}
        self.rows: dict[int, dict[str, float]] = {}
        self.played, self.seconds = 0, 0.0

    @property
    def note(self) -> str:
        """How far it is."""
        flows = 2 if self.last and hasattr(self.policies, "behaviour") else 1
        return f"evaluating {self.played}/{flows * len(self.seeds) * self.episodes}"

    def keep(self) -> None:
        """Copies the arrays, so that training may go on and overwrite its own."""
        self.policies, self.critics = _copied(self.policies), _copied(self.critics)

    def play(self, evaluator: Evaluator, progress: Callable[[], None] | None = None) -> None:
        """Plays and diagnoses. The time that the environments need to get ready is left out of what it took.

        - `progress`: Called after each episode.
        """
        evaluator.prepare(self.episodes)
        for index, seed in enumerate(self.seeds):
            start = time.monotonic()
            policy = agent_of(self.policies, index)
            self.evaluations[seed] = self._played(policy, seed, evaluator, progress)
            row = self.rows[seed] = self.evaluations[seed].metrics("evaluation")
            diagnostics = diagnosis(agent_of(self.critics, index), self.dataset, seed)
            row |= {f"diagnostics/{name}": value for name, value in diagnostics.items()}
            if self.last and hasattr(policy, "behaviour"):
                self.baselines[seed] = self._played(policy.behaviour, seed, evaluator, progress)
                row |= self.baselines[seed].metrics("behaviour")
            row["time/evaluation_time"] = time.monotonic() - start
            self.seconds += row["time/evaluation_time"]

    def _played(
        self, policy: Policy, seed: int, evaluator: Evaluator, progress: Callable[[], None] | None
    ) -> Evaluation:
        before = self.played

        def finished(count: int) -> None:
            self.played = before + count
            if progress is not None:
                progress()

        return evaluator.evaluate(policy, episodes=self.episodes, seed=seed, progress=finished)


def _copied(tree: Any) -> Any:
    arrays, rest = split_arrays(tree)
    return eqx.combine(own_arrays(arrays), rest)
