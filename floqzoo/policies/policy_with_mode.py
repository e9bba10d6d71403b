"""The base class of policies that act without noise."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.protocols import Critic
from floqzoo.typing import Action, Array, Key, Observation


class PolicyWithMode(eqx.Module):
    """Acts with the action that `mode`, defined by a subclass, computes from the observation alone.

    It satisfies the protocol `ActsFromNoise` with noise that has no coordinates.
    """

    @abc.abstractmethod
    def mode(self, observation: Observation) -> Action:
        """The action, without noise."""

    def act(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """The mode; critic and key are not used."""
        del critic, key
        return self.mode(observation)

    @property
    def noise_prior(self) -> None:
        """None: the policy acts without noise."""

    def draw_noise(self, key: Key) -> Float[Array, "0"]:
        """An empty array."""
        del key
        return jnp.zeros(0)

    def act_from_noise(self, observation: Observation, critic: Critic | None, noise: Float[Array, "0"]) -> Action:
        """The mode; critic and noise are not used."""
        del critic, noise
        return self.mode(observation)
