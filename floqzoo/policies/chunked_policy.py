"""A policy over action chunks."""

from typing import Any

import equinox as eqx
from jaxtyping import Float

from floqzoo.protocols import Critic, NoisePrior, Policy, require_protocol
from floqzoo.records import FrozenAgent, Stateful, Transition
from floqzoo.typing import Action, Array, Key, Metrics, Observation, Scalar


class ChunkedPolicy(eqx.Module):
    r"""A policy that draws chunks of $h$ actions, $(a_t, \dots, a_{t+h-1})$, as flat vectors.

    Evaluation and exploration execute the first `execution_horizon` actions of a chunk open loop, and then draw the
    next chunk. If the episode ends during a chunk, the remaining actions of the chunk are dropped. Critics always score
    complete chunks.

    - `policy`: A policy with $h \cdot d$ action coordinates, where $d$ is the number of action coordinates of the
      environment.
    - `chunk_length`: The number $h$ of actions in a chunk, at least 1.
    - `execution_horizon`: The number of actions of a chunk that are executed, from 1 to $h$; None for all $h$.

    **Raises** `TypeError` if `policy` is not a policy, `ValueError` if a number is out of range.

    Source: QC (arXiv 2507.07969), which executes complete chunks.
    """

    policy: Any
    chunk_length: int = eqx.field(static=True)
    execution_horizon: int = eqx.field(static=True)

    def __init__(self, policy: Policy | Any, chunk_length: int, execution_horizon: int | None = None):
        require_protocol("policy", policy, Policy)
        self.policy = policy
        self.chunk_length = chunk_length
        self.execution_horizon = require_chunks(chunk_length, execution_horizon)

    def act(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Draws a chunk, as a flat vector."""
        return self.policy.act(observation, critic, key)

    def explore(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Draws a chunk for exploration, with the inner policy's `explore` if it has one, else with its `act`."""
        return getattr(self.policy, "explore", self.policy.act)(observation, critic, key)

    @property
    def noise_prior(self) -> NoisePrior | None:
        """The noise prior of the inner policy, if it [acts from noise][floqzoo.protocols.ActsFromNoise]."""
        return self.policy.noise_prior

    def draw_noise(self, key: Key) -> Float[Array, "*noise"]:
        """Draws the noise sample for one chunk."""
        return self.policy.draw_noise(key)

    def act_from_noise(self, observation: Observation, critic: Critic | None, noise: Float[Array, "*noise"]) -> Action:
        """Returns the chunk for a given noise sample, as a flat vector."""
        return self.policy.act_from_noise(observation, critic, noise)

    @property
    def behaviour(self) -> "ChunkedPolicy":
        """The behaviour policy of the inner policy, with the same chunk length and execution horizon.

        **Raises** `AttributeError` if the inner policy has no behaviour policy.
        """
        return ChunkedPolicy(self.policy.behaviour, self.chunk_length, self.execution_horizon)

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, Metrics | Stateful]:
        """Returns the loss of the inner policy on a batch of chunks, and its metrics."""
        inside = agent.with_policies(lambda policy: policy.policy if isinstance(policy, ChunkedPolicy) else policy)
        loss, metrics = self.policy.policy_loss(batch, inside, key)
        if isinstance(metrics, Stateful):
            metrics = Stateful(metrics.metrics, eqx.tree_at(lambda policy: policy.policy, self, metrics.part))
        return loss, metrics


def require_chunks(chunk_length: int, execution_horizon: int | None) -> int:
    """Validates both lengths, and returns the execution horizon (`chunk_length` if `execution_horizon` is None).

    **Raises** `ValueError` if either length is out of range.
    """
    if chunk_length < 1:
        raise ValueError(f"`chunk_length` must be at least 1; got {chunk_length}.")
    horizon = chunk_length if execution_horizon is None else execution_horizon
    if not 1 <= horizon <= chunk_length:
        raise ValueError(
            f"`execution_horizon` must lie in [1, {chunk_length}], the steps of a chunk (`chunk_length`); got {horizon}."
        )
    return horizon
