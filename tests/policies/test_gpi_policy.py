"""Generalised policy improvement where every value is exact."""

import equinox as eqx
import jax
import jax.numpy as jnp
from hypothesis import given, settings, strategies as st

from floqzoo.policies import GPIPolicy
from floqzoo.tasks import Ring


CELLS = 7


class ExactCritic(eqx.Module):
    """The exact value of a reward for each cell of a ring."""

    ring: Ring
    pay: jax.Array

    def value(self, observation, action, key):
        return self.ring.value(observation, action, self.pay)

    def score(self, observation, action):
        return self.ring.value(observation, action, self.pay)

    def critic_loss(self, batch, agent, key):
        return jnp.zeros(()), None


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31 - 1), drifts=st.tuples(*[st.floats(-1, 1)] * 3), discount=st.floats(0.1, 0.95))
def test_the_improved_policy_is_nowhere_worse_than_the_best_of_them(seed, drifts, discount):
    """Theorem 1 of GPI, exactly: values on a ring of cells, of any reward, by inverting a matrix."""
    pay = jax.random.normal(jax.random.key(seed), (CELLS,))
    improved, own = values(jnp.asarray(drifts), jnp.asarray(discount), pay)
    assert jnp.all(improved >= jnp.max(own, axis=0) - 1e-4 / (1 - discount))


@jax.jit
def values(drifts, discount, pay):
    """The value at every cell of the improved policy, and of each of the policies."""
    rings = [Ring(cells=CELLS, drift=drift, discount=discount) for drift in drifts]
    improved = GPIPolicy(tuple(ring.policy for ring in rings), tuple(ExactCritic(ring, pay) for ring in rings))
    actions = jax.vmap(lambda centre: improved.act(centre, None, jax.random.key(0)))(rings[0].centres)
    matrix = jax.vmap(rings[0].transition_matrix)(actions)[jnp.arange(CELLS), jnp.arange(CELLS)]
    value = jnp.linalg.solve(jnp.eye(CELLS) - discount * matrix, matrix @ pay)
    return value, jnp.stack([own_values(ring, pay) for ring in rings])


def own_values(ring, pay):
    return jax.vmap(lambda centre: ring.value(centre, ring.policy_action(centre), pay))(ring.centres)
