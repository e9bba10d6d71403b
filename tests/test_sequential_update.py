"""Two steps of one Adam: what a learning rate means there."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from doubles import transitions

import floqzoo as fz


class Falling(eqx.Module):
    """A critic or policy whose loss is its own parameter, so that its gradient is always 1."""

    parameter: jax.Array

    def score(self, observation, action):
        return jnp.zeros(())

    def act(self, observation, critic, key):
        return jnp.zeros(2)

    def critic_loss(self, batch, agent, key):
        return self.parameter, self.parameter

    def policy_loss(self, batch, agent, key):
        return self.parameter, self.parameter


def moved(rule, updates):
    """How far critic and policy move in some updates."""
    start = fz.ActorCritic(Falling(jnp.zeros(())), Falling(jnp.zeros(())))
    batch = transitions()

    def one(carry, step):
        parts, state = carry
        agent = fz.FrozenAgent(parts.critic, parts.policy, parts, step)
        parts, state, _ = rule.update_parts(parts, state, agent, batch, jax.random.key(0))
        return (parts, state), None

    steps = jnp.arange(updates, dtype=jnp.int32)
    parts, _ = jax.jit(lambda: jax.lax.scan(one, (start, rule.init_optimisers(start)), steps)[0])()
    return np.array([parts.critic.parameter, parts.policy.parameter])


def test_with_a_steady_gradient_an_update_is_root_two_steps_of_a_separate_adam():
    """Half of the gradients of each part are 0: m is g / 2 on average, and the root of v is g / sqrt 2, in both steps."""
    rate, updates = 1e-3, 4000
    shared = moved(fz.SequentialUpdate(optax.adam(rate)), updates)
    separate = moved(fz.AlternatingUpdate(optax.adam(rate), optax.adam(rate)), updates)
    np.testing.assert_allclose(separate, -rate * updates, rtol=1e-3)
    np.testing.assert_allclose(shared / separate, np.sqrt(2), rtol=1e-2)
