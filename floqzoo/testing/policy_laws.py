"""Laws of policies."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.hyperparameter import partition_trainable
from floqzoo.protocols import ActsForLatent, ActsFromNoise, Critic, Exploring, HasDensity, Policy
from floqzoo.records import ActionDraw, ActorCritic, FrozenAgent, Transition
from floqzoo.testing.closeness import assert_rows_are_mapped, compiled, mapped
from floqzoo.testing.examples import Example
from floqzoo.testing.independent_rows import assert_rows_draw_independently
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class UniformPolicy(eqx.Module):
    """A policy without parameters that draws uniform actions from $[-1, 1]^d$.

    It is a stand-in for a real policy in the laws of other parts.

    - `dim`: The number $d$ of action coordinates.
    """

    dim: int = eqx.field(static=True)

    def act(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Draws a uniform action."""
        del observation, critic
        return jax.random.uniform(key, (self.dim,), minval=-1, maxval=1)

    def act_with_log_prob(self, observation: Observation, key: Key) -> ActionDraw:
        """Draws a uniform action, and returns it with its log-density, $-d \\log 2$."""
        action = self.act(observation, None, key)
        return ActionDraw(action, jnp.full((), -self.dim * np.log(2), action.dtype))

    def act_for(self, observation: Observation, latent: Float[Array, " latent"]) -> Action:
        """Returns the zero action for every z; this action is the mean of the actions that `act` draws."""
        del latent
        return jnp.zeros(self.dim, jnp.result_type(observation))

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, None]:
        """Returns a loss of 0, and no metrics."""
        del batch, agent, key
        return jnp.zeros(()), None


class SumCritic(eqx.Module):
    """A critic whose Q and advantage are the sum of the action's coordinates.

    Q for a task z is the same sum. The critic is a stand-in for a real critic in the laws of other parts.

    - `latent`: The dimension of z.
    """

    latent: int = eqx.field(static=True, default=5)

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns the sum of the action's coordinates."""
        del observation
        return jnp.sum(action)

    def advantage(self, observation: Observation, action: Action) -> Scalar:
        """Returns the sum of the action's coordinates."""
        return self.score(observation, action)

    def score_for(self, observation: Observation, action: Action, latent: Float[Array, " latent"]) -> Scalar:
        """Returns the sum of the action's coordinates."""
        del latent
        return self.score(observation, action)

    def sample_latents(self, observations: Float[Array, "batch observation"], key: Key) -> Float[Array, "batch latent"]:
        """Draws one z from $N(0, I)$ for each observation."""
        return jax.random.normal(key, (len(observations), self.latent), jnp.result_type(observations))

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, None]:
        """Returns a loss of 0, and no metrics."""
        del batch, agent, key
        return jnp.zeros(()), None


def frozen_agent(critic: Any, policy: Any, target: ActorCritic | None = None) -> FrozenAgent:
    """Returns a frozen agent at step 0, to pass to a loss; by default, both parts are their own targets."""
    return FrozenAgent(
        critic, policy, ActorCritic(critic, policy) if target is None else target, jnp.zeros((), jnp.int32)
    )


def actions_lie_in_their_box(policy: Policy, example: Example) -> None:
    """Every action has the shape of the data's actions, and every coordinate lies in [-1, 1]."""
    actions = mapped(_action, jax.random.split(example.key, 64), policy, example.observation)
    assert actions.shape[1:] == example.action.shape, f"shape {actions.shape[1:]} instead of {example.action.shape}"
    assert np.all(np.abs(actions) <= 1), f"actions from {actions.min()} to {actions.max()}"


def a_key_decides_the_action(policy: Policy, example: Example) -> None:
    """The same observation and key give the same action, both in a single call and with `jax.vmap`."""
    assert_rows_are_mapped(_action_from, jnp.arange(2) + example.seed, policy, example.observation)


def policy_loss_is_a_number_with_a_gradient(policy: Policy, example: Example) -> None:
    """`policy_loss` returns a finite scalar with a finite gradient, and is deterministic given its key."""
    size = example.inputs.size
    loss, gradient = compiled(_loss_and_gradient, example.key, policy, example.batch, size)
    again, _ = compiled(_loss_and_gradient, example.key, policy, example.batch, size)
    assert loss.shape == (), f"shape {loss.shape}"
    assert np.isfinite(loss) and loss == again, f"losses {loss} and {again} from one key"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def policy_loss_draws_for_each_row(policy: Policy, example: Example) -> None:
    """The random draws of `policy_loss` are independent across the rows of the batch, and no two use one key.

    The variance over keys of the loss and of its gradient is inversely proportional to the number of rows. JAX's check
    for reused keys passes.
    """
    assert_rows_draw_independently(_loss_and_gradient, policy, example, example.inputs.size)


def explored_actions_lie_in_their_box(policy: Exploring, example: Example) -> None:
    """Every exploration action has the shape of the data's actions, and every coordinate lies in [-1, 1]."""
    actions = mapped(_explored, jax.random.split(example.key, 64), policy, example.observation)
    assert actions.shape[1:] == example.action.shape, f"shape {actions.shape[1:]} instead of {example.action.shape}"
    assert np.all(np.abs(actions) <= 1), f"actions from {actions.min()} to {actions.max()}"


def a_draw_has_a_log_density(policy: HasDensity, example: Example) -> None:
    """`act_with_log_prob` returns an action in [-1, 1] with the shape of the data's actions, and its log-density, which
    is a finite scalar.

    Both are deterministic given the key.
    """
    draw, again = (compiled(_draw, policy, example.observation, example.key) for _ in range(2))
    assert draw.action.shape == example.action.shape and np.all(np.abs(draw.action) <= 1), f"action {draw.action}"
    assert draw.log_prob.shape == () and np.isfinite(draw.log_prob), f"log-density {draw.log_prob}"
    assert np.array_equal(draw.action, again.action) and draw.log_prob == again.log_prob, f"{draw} and {again}"


def actions_for_latents_lie_in_their_box(policy: ActsForLatent, example: Example) -> None:
    """`act_for` returns actions in [-1, 1] with the shape of the data's actions, for a latent z of any norm."""
    for latent in (example.inputs, 100 * example.inputs):
        action = compiled(_action_for, latent, policy, example.observation)
        assert action.shape == example.action.shape, f"shape {action.shape} instead of {example.action.shape}"
        assert np.all(np.abs(action) <= 1), f"action {action}"


def actions_for_latents_are_rows(policy: ActsForLatent, example: Example) -> None:
    """`jax.vmap` over z gives the same actions as computing them one by one, and the gradient of an action with respect
    to z is finite."""
    assert_rows_are_mapped(_action_for, jnp.stack([example.inputs, -example.inputs]), policy, example.observation)
    gradient = compiled(_gradient_by_latent, policy, example.observation, example.inputs)
    assert np.isfinite(gradient).all(), f"gradient {gradient}"


def _action_for(latent, policy: ActsForLatent, observation):
    return policy.act_for(observation, latent)


def _gradient_by_latent(policy: ActsForLatent, observation, latent):
    return jax.grad(lambda latent: jnp.sum(policy.act_for(observation, latent)))(latent)


def _draw(policy: HasDensity, observation, key):
    return policy.act_with_log_prob(observation, key)


def noise_decides_the_action(policy: ActsFromNoise, example: Example) -> None:
    """For any key, `act` returns bitwise the same action as `act_from_noise` with the noise that `draw_noise` draws
    from this key."""
    keys = jax.random.split(example.key, 8)
    drawn = mapped(_action, keys, policy, example.observation)
    np.testing.assert_array_equal(
        mapped(_action_of_drawn_noise, jax.random.clone(keys), policy, example.observation), drawn
    )


def noise_follows_its_prior(policy: ActsFromNoise, example: Example) -> None:
    """Noise samples are finite and have a finite log-density under `noise_prior`; a policy without a prior draws no
    noise."""
    noise = policy.draw_noise(example.key)
    if policy.noise_prior is None:
        assert noise.size == 0, f"noise of shape {noise.shape} without a prior"
    else:
        assert noise.size > 0, "no noise, but a prior"
        assert np.isfinite(noise).all() and np.isfinite(policy.noise_prior.log_prob(noise.reshape(-1)))


def actions_of_any_noise_lie_in_their_box(policy: ActsFromNoise, example: Example) -> None:
    """Noise of any magnitude, even outside the support of its prior, gives an action in [-1, 1]."""
    noise = 100 * policy.draw_noise(example.key)
    action = policy.act_from_noise(example.observation, SumCritic(), noise)
    assert action.shape == example.action.shape and np.all(np.abs(action) <= 1), f"action {action}"


def _action_of_drawn_noise(key, policy: ActsFromNoise, observation):
    return policy.act_from_noise(observation, SumCritic(), policy.draw_noise(key))


def _explored(key, policy: Exploring, observation):
    return policy.explore(observation, SumCritic(), key)


def _action(key, policy: Policy, observation):
    return policy.act(observation, SumCritic(), key)


def _action_from(seed, policy: Policy, observation):
    return policy.act(observation, SumCritic(), jax.random.key(seed))


def _loss_and_gradient(key, policy: Policy, batch: Transition, latent: int):
    trainable, rest = partition_trainable(policy)
    agent = frozen_agent(SumCritic(latent), policy)

    def loss(trainable):
        return eqx.combine(trainable, rest).policy_loss(batch, agent, key)[0]

    return jax.value_and_grad(loss)(trainable)


density_laws = (a_draw_has_a_log_density,)
acts_for_latent_laws = (actions_for_latents_lie_in_their_box, actions_for_latents_are_rows)
acts_from_noise_laws = (noise_decides_the_action, noise_follows_its_prior, actions_of_any_noise_lie_in_their_box)

exploring_laws = (explored_actions_lie_in_their_box,)

policy_laws = (
    actions_lie_in_their_box,
    a_key_decides_the_action,
    policy_loss_is_a_number_with_a_gradient,
    policy_loss_draws_for_each_row,
)
