"""Networks that predict the quantile of the return at any level."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.networks.dense import Dense
from floqzoo.networks.ensemble import Ensemble
from floqzoo.networks.mlp import MLP
from floqzoo.networks.time_embedding import FourierTime
from floqzoo.protocols import Network, TimeEmbedding, require_protocol
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class LevelProduct(eqx.Module):
    r"""Combines the condition $(s, a)$ and the level $\tau$ by an elementwise product of their features,
    $(W_c \, (s, a) + b_c) \odot (W_\tau \, \phi(\tau) + b_\tau)$.

    - `condition_features`: The total number of coordinates of an observation and an action, at least 1.
    - `width`: The number of features, at least 1; 512 in Value Flows' experiments.
    - `embedding`: The embedding $\phi$ of the level, any [`TimeEmbedding`][floqzoo.protocols.TimeEmbedding]. IQN uses
      $(\cos \pi \tau, \dots, \cos 64 \pi \tau)$.

    Source: IQN (arXiv 1806.06923), equation 4, with a linear layer for each factor as in the official code of Value
    Flows (arXiv 2510.07650).
    """

    condition: Dense
    level: Dense
    embedding: TimeEmbedding | Any

    def __init__(
        self, condition_features: int, width: int = 512, *, embedding: TimeEmbedding | Any = FourierTime(), key: Key
    ):
        require_protocol("embedding", embedding, TimeEmbedding)
        condition_key, level_key = jax.random.split(key)
        self.condition = Dense(condition_features, width, key=condition_key)
        self.level = Dense(embedding.time_features, width, key=level_key)
        self.embedding = embedding

    @property
    def num_features(self) -> int:
        """The size of the vector that `features` returns."""
        return self.condition.bias.shape[-1]

    def features(self, condition: Float[Array, " condition"], level: Scalar) -> Float[Array, " features"]:
        """Returns the features of a condition and a level in [0, 1]."""
        return self.condition(condition) * self.level(self.embedding.embed_time(level))


class LevelConcatenation(eqx.Module):
    r"""Concatenates the condition $(s, a)$ and the embedding of the level $\tau$: $(s, a, \phi(\tau))$.

    - `condition_features`: The total number of coordinates of an observation and an action, at least 1.
    - `embedding`: The embedding $\phi$ of the level, as in `LevelProduct`.

    **Raises** `ValueError` if `condition_features` is below 1.

    Source: the IQN critic in the official code of floq (arXiv 2509.06863).
    """

    condition_features: int = eqx.field(static=True)
    embedding: TimeEmbedding | Any = FourierTime()

    def __check_init__(self):
        require_protocol("embedding", self.embedding, TimeEmbedding)
        if self.condition_features < 1:
            raise ValueError(f"`condition_features` must be at least 1; got {self.condition_features}.")

    @property
    def num_features(self) -> int:
        """The size of the vector that `features` returns."""
        return self.condition_features + self.embedding.time_features

    def features(self, condition: Float[Array, " condition"], level: Scalar) -> Float[Array, " features"]:
        """Returns the features of a condition and a level in [0, 1]."""
        return jnp.concatenate([condition, self.embedding.embed_time(level)])


class QuantileEnsemble(eqx.Module):
    r"""An ensemble of quantile functions of the return, $Z_1, \dots, Z_E : (s, a, \tau) \mapsto \mathbb R$.

    - `level_features`: Combines condition and level: a `LevelProduct` or a `LevelConcatenation`, shared by all members.
    - `size`: The number $E$ of members, at least 1; 2 in Value Flows' and floq's experiments.
    - `build`: Builds one network, called as `build(in_features, out_features, key=key)`.

    Source: IQN (arXiv 1806.06923).
    """

    level_features: LevelProduct | LevelConcatenation | Any
    networks: Ensemble[Network]

    def __init__(
        self,
        level_features: LevelProduct | LevelConcatenation | Any,
        *,
        size: int = 2,
        build: Callable[..., Network] = MLP,
        key: Key,
    ):
        self.level_features = level_features
        self.networks = Ensemble.build(lambda key: build(level_features.num_features, 1, key=key), size, key=key)

    def quantiles(
        self, observation: Observation, action: Action, levels: Float[Array, " levels"]
    ) -> Float[Array, "members levels"]:
        """Returns the quantiles of each member at the given levels."""
        return self.batch_quantiles(observation[None], action[None], levels[None])[:, 0]

    def batch_quantiles(
        self,
        observations: Float[Array, "batch observation"],
        actions: Float[Array, "batch action"],
        levels: Float[Array, "batch levels"],
    ) -> Float[Array, "members batch levels"]:
        """Returns the quantiles of each member for each (s, a) pair of a batch, at separate levels for each pair."""
        conditions = jnp.concatenate([observations, actions], axis=1)
        of_levels = jax.vmap(self.level_features.features, (None, 0))
        features = jax.vmap(of_levels)(conditions, levels)
        return self.networks.each(lambda network: jax.vmap(jax.vmap(network))(features)[..., 0])
