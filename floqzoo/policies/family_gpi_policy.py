"""Generalised policy improvement (GPI) over a family of policies, one for each task vector z."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.policies.fixed_policy import FixedPolicy
from floqzoo.protocols import ActsForLatent, Critic
from floqzoo.records import FrozenAgent, Transition
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class FamilyGPIPolicy(eqx.Module):
    r"""At every step, chooses the policy of a family whose action has the highest value, and takes this action.

    $$\pi(s) = \pi_{z^*}(s), \qquad z^* = \operatorname*{arg\,max}_{z \in Z} Q^{\pi_z}(s, \pi_z(s)).$$

    $Z$ contains the task vector $z_r$ and random vectors $c \, z_r + \sqrt{1 - c^2} \, \epsilon$, scaled to the length
    of $z_r$, where $\epsilon$ is uniform on the sphere through $z_r$. The random vectors are drawn again at every step.
    The values of all z are estimated with the same noise samples, which reduces the variance of their differences.

    - `family`: A [`FixedPolicy`][floqzoo.policies.FixedPolicy] whose policy
      [acts for any z][floqzoo.protocols.ActsForLatent].
    - `value_for`: A function of an observation, an action, a z and a key, which returns the value $Q^{\pi_z}$ for the
      task's reward, such as a [`FamilyValue`][floqzoo.successor.FamilyValue].
    - `latent`: The task vector $z_r$, not 0.
    - `count`: The number of vectors in $Z$, at least 1; with 1, the policy is $\pi_{z_r}$. TD-Flow uses 256.
    - `cosine`: $c$ in [0, 1], which determines how close the random vectors are to $z_r$: with 0, they are uniform on
      the whole sphere; with 1, they equal $z_r$.

    **Raises** `ValueError` if a number is out of range, or the policy of `family` is not an `ActsForLatent`.

    Source: TD-Flow (arXiv 2503.09817), section 5, which draws from the whole sphere or around $z_r$. The distribution
    around $z_r$ and the shared noise samples are our choice.
    """

    family: FixedPolicy
    value_for: Callable[[Observation, Action, Float[Array, " latent"], Key], Scalar]
    latent: Hyperparameter = eqx.field(converter=hyperparameter)
    count: int = eqx.field(static=True, default=256)
    cosine: Hyperparameter = eqx.field(converter=hyperparameter, default=0.0)

    def __check_init__(self):
        if not isinstance(self.family.parts.policy, ActsForLatent):
            raise ValueError(
                "`family` must be a FixedPolicy with a policy for each z, such as that of FB; got "
                f"{type(self.family.parts.policy).__name__}."
            )
        if self.count < 1:
            raise ValueError(f"`count` must be at least 1; got {self.count}.")
        require("latent", self.latent, lambda value: np.isfinite(value) & np.any(value != 0), "finite and not 0")
        require("cosine", self.cosine, lambda value: (value >= 0) & (value <= 1), "in [0, 1]")

    def act(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Returns the action with the highest value; the critic of the agent is not used."""
        del critic
        _, actions, values = self.candidates(observation, key)
        return actions[jnp.argmax(values)]

    def candidates(
        self, observation: Observation, key: Key
    ) -> tuple[Float[Array, "count latent"], Float[Array, "count action"], Float[Array, " count"]]:
        """Draws the vectors $z$ and returns them with the actions of their policies and the values of these actions.

        The first vector is $z_r$. `act`, called with the same key, returns the action with the highest value.
        """
        latent_key, value_key = jax.random.split(key)
        own = self.family.parts
        latents = self._latents(latent_key)
        actions = jax.vmap(own.policy.act_for, in_axes=(None, 0))(own.normalised(observation), latents)
        values = jax.vmap(lambda action, z: self.value_for(observation, action, z, value_key))(actions, latents)
        return latents, actions, values

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, None]:
        """Returns a loss of 0, and None in place of metrics, because policies and values are trained elsewhere."""
        del batch, agent, key
        return jnp.zeros(()), None

    def _latents(self, key: Key) -> Float[Array, "count latent"]:
        task = jnp.asarray(self.latent.value)
        length = jnp.linalg.norm(task)
        directions = jax.random.normal(key, (self.count - 1, *task.shape), task.dtype)
        directions *= length / jnp.linalg.norm(directions, axis=1, keepdims=True)
        cosine = self.cosine.value
        draws = cosine * task[None] + jnp.sqrt(1 - cosine**2) * directions
        draws *= length / jnp.linalg.norm(draws, axis=1, keepdims=True)
        return jnp.concatenate([task[None], draws])
