"""The task vectors z of forward-backward representations."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Bool, Float, Int

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.typing import Array, Key


def on_sphere(x: Float[Array, " latent"]) -> Float[Array, " latent"]:
    r"""Projects $x \in \mathbb R^d$ onto the sphere of radius $\sqrt d$.

    The result is $\sqrt d \, x / \lVert x \rVert$, or 0 if $x = 0$.
    """
    square = jnp.sum(x**2)
    # Where x is 0, as after ReLUs that are all 0, another divisor keeps its gradient finite.
    return x * jnp.sqrt(x.shape[0] / jnp.where(square > 1e-24, square, 1.0))


class LatentDraws(eqx.Module):
    """The random numbers that a `LatentMixture` needs for a batch: Gaussian directions, a permutation of the goals,
    and, for each row, whether its z is a goal."""

    normal: Float[Array, "batch latent"]
    order: Int[Array, " batch"]
    is_goal: Bool[Array, " batch"]


class LatentMixture(eqx.Module):
    r"""The distribution from which each z is drawn in training: with probability $p$, z is the representation $B(s)$ of
    a random state of the batch, and otherwise it is uniform on the sphere of radius $\sqrt d$.

    - `goal_ratio`: The probability $p$, in [0, 1]; 0.5 in the code of both sources.

    Source: metamotivo and InFOM's FB.
    """

    goal_ratio: Hyperparameter = eqx.field(converter=hyperparameter, default=0.5)

    def __check_init__(self):
        require("goal_ratio", self.goal_ratio, lambda value: (value >= 0) & (value <= 1), "in [0, 1]")

    def draws(self, batch_size: int, dim: int, key: Key) -> LatentDraws:
        """Draws the random numbers for a batch of `batch_size` rows, with z of dimension `dim`."""
        normal_key, order_key, choice_key = jax.random.split(key, 3)
        return LatentDraws(
            jax.random.normal(normal_key, (batch_size, dim)),
            jax.random.permutation(order_key, batch_size),
            jax.random.uniform(choice_key, (batch_size,)) < self.goal_ratio.value,
        )

    def latents(self, goals: Float[Array, "batch latent"], draws: LatentDraws) -> Float[Array, "batch latent"]:
        """Returns one z per row of a batch, without a gradient; `goals` contains B(s) for every state in the batch."""
        directions = jax.vmap(on_sphere)(draws.normal.astype(jnp.result_type(goals)))
        return jax.lax.stop_gradient(jnp.where(draws.is_goal[:, None], goals[draws.order], directions))


def infer_task(
    agent: Any,
    observations: Float[Array | np.ndarray, "count observation"],
    rewards: Float[Array | np.ndarray, " rewards"],
) -> Any:
    r"""Returns a copy of the agent for the task that the given rewards define; no training is needed.

    The task is represented by the vector $w = \frac1n \sum_i r_i B(s_i)$. The policy acts with
    $z = \sqrt d \, w / \lVert w \rVert$, and the critic's score is $F(s, a, z)^\top w$, in units of reward.

    - `agent`: An agent with a `ForwardBackward` critic and a `LatentPolicy`, or the `parts` of such an agent.
    - `observations`: Unnormalised states $s_i$ from the data on which the agent was pre-trained; $w$ estimates an
      expectation over these data.
    - `rewards`: The reward $r_i$ of each state. It may be any function of the state, such as 1 near a goal and 0
      elsewhere. The policy does not depend on the scale of the rewards, but adding a constant to all of them changes
      it, so it is better to shift rewards of -1 and 0 to 0 and 1.

    **Raises** `ValueError` if there are no states, if the numbers of states and rewards differ, if a number is not
    finite, or if $w$ is 0, for which no policy is defined (for example, if all rewards are 0). Inside a JAX trace, only
    the shapes are checked.

    Source: Touati and Ollivier (arXiv 2103.07945) and metamotivo.
    """
    if len(observations) != len(rewards) or not len(rewards):
        raise ValueError(
            "`observations` and `rewards` must have the same number of rows, at least 1; "
            f"got {len(observations)} and {len(rewards)}."
        )
    represented = jax.vmap(lambda s: agent.critic.represent(agent.normalised(s)))(jnp.asarray(observations))
    vector = jnp.mean(jnp.asarray(rewards)[:, None] * represented, axis=0)
    if not isinstance(vector, Tracer):
        if not np.isfinite(vector).all():
            raise ValueError("`observations` and `rewards` must be finite; the mean of r B(s) is not.")
        if not np.any(vector):
            raise ValueError("`rewards` must not all be 0: the mean of r B(s) is 0, for which no policy is defined.")
    return with_reward_vector(agent, vector)


def infer_goal(agent: Any, goal: Float[Array | np.ndarray, " observation"]) -> Any:
    r"""Returns a copy of the agent whose task is to reach a state $g$ and to stay there.

    The task is represented by $w = B(g)$, which corresponds to a reward that is a point mass at $g$.

    - `agent`: As in `infer_task`.
    - `goal`: The state $g$, as a complete, unnormalised observation.

    Source: Touati and Ollivier (arXiv 2103.07945), section 4.
    """
    return with_reward_vector(agent, agent.critic.represent(agent.normalised(jnp.asarray(goal))))


def with_reward_vector(agent: Any, vector: Float[Array, " latent"]) -> Any:
    """Returns a copy of the agent for the task that the vector $w$ represents.

    The critic and its target network store $w$, and the policy stores the projection of $w$ onto the sphere.

    - `agent`: As in `infer_task`.
    - `vector`: The vector $w$.
    """

    def places(agent: Any) -> list[Hyperparameter]:
        critics = [agent.critic, agent.target.critic] if hasattr(agent, "target") else [agent.critic]
        return [agent.policy.latent, *(critic.reward_vector for critic in critics)]

    count = len(places(agent)) - 1
    return eqx.tree_at(places, agent, [Hyperparameter(on_sphere(vector)), *[Hyperparameter(vector)] * count])
