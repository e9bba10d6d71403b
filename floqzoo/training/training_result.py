"""What a run came to."""

from dataclasses import dataclass
from signal import Signals

from jaxtyping import PyTree

from floqzoo.training.evaluation import Evaluation
from floqzoo.training.seeds import agent_of
from floqzoo.training.stopwatch import Stopwatch


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
