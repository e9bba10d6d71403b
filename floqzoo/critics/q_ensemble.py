"""An ensemble of networks that map an observation and an action to a value."""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float, Real

from floqzoo.networks.ensemble import Ensemble
from floqzoo.networks.input_parts import of_parts
from floqzoo.networks.mlp import MLP
from floqzoo.protocols import Network
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class QEnsemble(eqx.Module):
    r"""An ensemble of Q-functions $Q_1, \dots, Q_E : (s, a) \mapsto \mathbb R$, with separate parameters.

    - `observation_dim`, `action_dim`: The number of coordinates of an observation and of an action, at least 1.
    - `size`: The number $E$ of members, at least 1; 2 in FQL's and floq's experiments.
    - `build`: Builds one network, called as `build(in_features, out_features, key=key)`.
    """

    networks: Ensemble[Network]

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        *,
        size: int = 2,
        build: Callable[..., Network] = MLP,
        key: Key,
    ):
        self.networks = Ensemble.build(lambda key: build(observation_dim + action_dim, 1, key=key), size, key=key)

    def values(self, observation: Observation, action: Action) -> Float[Array, " members"]:
        """Returns Q(s, a) of each member."""
        return self.networks.each(lambda network: of_parts(network, observation, action)[0])

    def batch_values(
        self, observations: Real[Array, "batch observation"], actions: Float[Array, "batch action"]
    ) -> Float[Array, "members batch"]:
        """Returns Q(s, a) of each member for each (s, a) pair of a batch; the outer `vmap` is over the ensemble."""
        return self.networks.each(lambda network: jax.vmap(partial(of_parts, network))(observations, actions)[:, 0])

    def mean(self, observation: Observation, action: Action) -> Scalar:
        """Returns the mean of Q(s, a) over the members."""
        return jnp.mean(self.values(observation, action))
