"""The base class of policies whose actions in evaluations are a deterministic function of the observation."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.protocols import Critic
from floqzoo.typing import Action, Array, Key, Observation


class PolicyWithMode(eqx.Module):
    """The base class of policies that act with their mode, which depends only on the observation.

    A subclass defines the method `mode`. The class satisfies the protocol `ActsFromNoise` with empty noise samples.
    """

    @abc.abstractmethod
    def mode(self, observation: Observation) -> Action:
        """Returns the action without noise."""

    def act(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Returns the mode; the critic and the key are not used."""
        del critic, key
        return self.mode(observation)

    @property
    def noise_prior(self) -> None:
        """None, because the policy acts without noise."""

    def draw_noise(self, key: Key) -> Float[Array, "0"]:
        """Returns an empty array, because the policy acts without noise."""
        del key
        return jnp.zeros(0)

    def act_from_noise(self, observation: Observation, critic: Critic | None, noise: Float[Array, "0"]) -> Action:
        """Returns the mode; the critic and the noise are not used."""
        del critic, noise
        return self.mode(observation)
