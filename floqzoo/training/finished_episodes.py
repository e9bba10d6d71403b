"""What is logged of the episodes of exploration."""

import numpy as np
from jaxtyping import Float


class FinishedEpisodes:
    """Sums over the episodes that were finished since the last row of the log.

    - `sums`: For each seed their number, and the sums of their returns, lengths and successes.
    """

    def __init__(self, sums: Float[np.ndarray, "seeds 4"]):
        self.sums = sums

    @staticmethod
    def none(seeds: int) -> "FinishedEpisodes":
        """Nothing is finished yet."""
        return FinishedEpisodes(np.zeros((seeds, 4)))

    def add(self, place: int, *, episode_return: float, length: int, success: float) -> None:
        """Adds an episode of the seed at a place on the axis."""
        self.sums[place] += (1, episode_return, length, success)

    def take(self) -> list[dict[str, float]]:
        """The metrics of each seed since the last call of this method; without an episode only that there was none."""
        sums, self.sums = self.sums, np.zeros_like(self.sums)
        return [_metrics(*(float(number) for number in row)) for row in sums]


def _metrics(episodes: float, episode_return: float, length: float, success: float) -> dict[str, float]:
    metrics = {"exploration/episodes": episodes}
    if episodes:
        metrics |= {
            "exploration/episode.return": episode_return / episodes,
            "exploration/episode.length": length / episodes,
            "exploration/success": success / episodes,
        }
    return metrics
