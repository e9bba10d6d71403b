"""An environment that can be brought to where it was."""

import numpy as np
from jaxtyping import Float

from floqzoo.training.environment_worker import EnvironmentWorker
from floqzoo.training.episode_player import EpisodePlayer, StepOutcome


class RepeatableEnvironment:
    """Plays the episodes of one seed, and keeps the actions of the one under way.

    An episode depends on its number, its seed and its actions alone. So where a run goes on, another process takes the
    same actions again, and is in the same place.

    - `player`: Plays the episodes, here or in a process of its own.
    - `seed`: The seed of all episodes.

    Attributes: `episode`, the number of the one under way; `actions`, those that it took so far; `observation`, what it
    shows now; `episode_return`, the sum of its rewards; `success`, whether its latest step reported success.
    """

    def __init__(self, player: EpisodePlayer | EnvironmentWorker, seed: int):
        self.player, self.seed = player, seed
        self.episode = -1
        self.actions: list[Float[np.ndarray, " action"]] = []
        self.observation = np.zeros(0)
        self.episode_return, self.success = 0.0, 0.0

    def begin(self, episode: int) -> None:
        """Asks for an episode; `receive_start` waits for it."""
        self.episode, self.actions, self.episode_return, self.success = episode, [], 0.0, 0.0
        self.player.begin(episode, self.seed)

    def receive_start(self) -> None:
        """Waits until the episode has begun.

        **Raises** what the environment raises, and `WorkerCrashedError` if its process is lost again and again.
        """
        self.observation = self.player.receive_start()

    def step(self, action: Float[np.ndarray, " action"]) -> None:
        """Asks for a step; `receive_step` waits for it.

        **Raises** `ValueError` if the action is NaN or outside the action space.
        """
        space = self.player.action_space
        if not ((action >= space.low) & (action <= space.high)).all():
            raise ValueError(
                f"the policy must draw finite actions between {space.low} and {space.high}; "
                f"in step {len(self.actions)} of episode {self.episode} of seed {self.seed} it drew {action}."
            )
        self.actions.append(action)
        self.player.step(action)

    def receive_step(self) -> StepOutcome:
        """Waits for what comes of the step.

        **Raises** what the environment raises, and `WorkerCrashedError` if its process is lost again and again.
        """
        outcome = self.player.receive_step()
        self.observation, self.success = outcome.observation, outcome.success
        self.episode_return += outcome.reward
        return outcome

    def close(self) -> None:
        """Closes the environment, and ends its process if it has one."""
        self.player.close()
