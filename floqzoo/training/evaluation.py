"""How often a policy reaches its goal."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from floqzoo.protocols import Policy
from floqzoo.training.batched_policy import ROWS, BatchedPolicy
from floqzoo.training.episode_player import EpisodePlayer, numpy_state_kept


class Evaluation(eqx.Module):
    """What a policy did in some episodes, one entry an episode.

    - `success`: 1 where the episode's last step reported success, else 0: OGBench's rule and fql's.
    - `episode_return`: The sum of the rewards.
    - `length`: The number of steps.
    """

    success: Float[np.ndarray, " episodes"]
    episode_return: Float[np.ndarray, " episodes"]
    length: Int[np.ndarray, " episodes"]

    @property
    def episodes(self) -> int:
        """The number of episodes."""
        return self.success.size

    @property
    def success_rate(self) -> float:
        """The share p of episodes that ended in success."""
        return float(np.mean(self.success))

    @property
    def standard_error(self) -> float:
        r"""The standard error of the success rate, $\sqrt{p(1 - p)/n}$."""
        return float(np.sqrt(self.success_rate * (1 - self.success_rate) / self.episodes))

    def metrics(self, prefix: str) -> dict[str, float]:
        """The numbers that are logged, such as `<prefix>/success`."""
        return {
            f"{prefix}/success": self.success_rate,
            f"{prefix}/success_standard_error": self.standard_error,
            f"{prefix}/episode.return": float(self.episode_return.mean()),
            f"{prefix}/episode.length": float(self.length.mean()),
        }

    def __str__(self) -> str:
        """The success rate and its standard error, in per cent."""
        return f"{100 * self.success_rate:.0f} ± {100 * self.standard_error:.0f} %"


class Evaluator:
    """Evaluates policies in environments that it makes once and keeps.

    Several environments advance in lockstep in this process, and one compiled call draws all their actions.
    What an episode does depends on the seed and its number alone, not on how many environments there are.

    - `make_environment`: Makes a Gymnasium environment that reports `info["success"]`.
    - `environments`: How many advance together, 1 to 8.

    **Raises** `ValueError` if `environments` is out of range.
    """

    def __init__(self, make_environment: Callable[[], Any], *, environments: int = 4):
        if not 1 <= environments <= ROWS:
            raise ValueError(f"`environments` must lie in [1, {ROWS}]; got {environments}.")
        self._make_environment = make_environment
        self._environments = environments
        self._players: list[EpisodePlayer] = []

    def evaluate(
        self, policy: Policy, *, episodes: int, seed: int, progress: Callable[[int], None] | None = None
    ) -> Evaluation:
        """Plays `episodes` episodes.

        - `progress`: Called after each finished episode with their number so far.

        **Raises** `ValueError` if `episodes` or `seed` is out of range, if an action is NaN or outside the
        action space, or if the environment reports no success.
        """
        if episodes < 1:
            raise ValueError(f"`episodes` must be at least 1; got {episodes}.")
        if seed < 0:
            raise ValueError(f"`seed` must not be negative; got {seed}.")
        while len(self._players) < min(self._environments, episodes):
            self._players.append(EpisodePlayer(self._make_environment()))
        with numpy_state_kept():
            return self._play(BatchedPolicy(policy, seed), episodes, seed, progress or (lambda finished: None))

    def close(self) -> None:
        """Closes the environments."""
        while self._players:
            self._players.pop().environment.close()

    def _play(self, policy: BatchedPolicy, episodes: int, seed: int, progress: Callable[[int], None]) -> Evaluation:
        result = Evaluation(np.zeros(episodes), np.zeros(episodes), np.zeros(episodes, int))
        active = self._players[:episodes]
        for episode, player in enumerate(active):
            player.begin(episode, seed)
        begun, finished = len(active), 0
        while active:
            for player in _advance(active, policy):
                _record(player, result)
                finished += 1
                progress(finished)
                if begun < episodes:
                    player.begin(begun, seed)
                    begun += 1
                else:
                    active.remove(player)
        return result


def evaluate(
    policy: Policy, make_environment: Callable[[], Any], *, episodes: int, seed: int, environments: int = 4
) -> Evaluation:
    """Plays `episodes` episodes in environments made for the purpose; see `Evaluator`."""
    evaluator = Evaluator(make_environment, environments=environments)
    try:
        return evaluator.evaluate(policy, episodes=episodes, seed=seed)
    finally:
        evaluator.close()


def _advance(active: list[EpisodePlayer], policy: BatchedPolicy) -> list[EpisodePlayer]:
    """One step of every active player; returns those whose episode ended with it."""
    actions = policy.actions(
        np.stack([player.observation for player in active]),
        np.array([player.episode for player in active]),
        np.array([player.length for player in active]),
    )
    _check_actions(actions, active)
    return [player for player, action in zip(active, actions, strict=True) if player.step(action)]


def _check_actions(actions: Float[np.ndarray, "players action"], active: list[EpisodePlayer]) -> None:
    space = active[0].action_space
    # Written so that NaN fails it too.
    good = (actions >= space.low) & (actions <= space.high)
    if good.all():
        return
    row = int(np.argmin(good.all(axis=1)))
    raise ValueError(
        f"the policy must draw finite actions between {space.low} and {space.high}; "
        f"in step {active[row].length} of episode {active[row].episode} it drew {actions[row]}."
    )


def _record(player: EpisodePlayer, result: Evaluation) -> None:
    result.success[player.episode] = player.success
    result.episode_return[player.episode] = player.episode_return
    result.length[player.episode] = player.length
