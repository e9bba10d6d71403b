"""An ensemble of networks from observation and action to a value."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.networks.ensemble import Ensemble
from floqzoo.networks.mlp import MLP
from floqzoo.protocols import Network
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class QEnsemble(eqx.Module):
    r"""$Q_1, \dots, Q_E : (s, a) \mapsto \mathbb R$, with separate parameters.

    - `observation_dim`, `action_dim`: Sizes, at least 1.
    - `size`: The number $E$ of members, at least 1; the papers use 2.
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
        """The value of each member."""
        x = jnp.concatenate([observation, action])
        return self.networks.each(lambda network: network(x)[0])

    def batch_values(
        self, observations: Float[Array, "batch observation"], actions: Float[Array, "batch action"]
    ) -> Float[Array, "members batch"]:
        """The same for a batch, with the ensemble as the outer `vmap`."""
        x = jnp.concatenate([observations, actions], axis=1)
        return self.networks.each(lambda network: jax.vmap(network)(x)[:, 0])

    def mean(self, observation: Observation, action: Action) -> Scalar:
        """The mean over members."""
        return jnp.mean(self.values(observation, action))
