r"""The recipes that learn distributions, on tasks whose answers are known: small networks, 1,000 updates, three seeds.

Imitation: at $s = \pm 1$ the data act by $0.6 s$ in nine cases of ten and by $-0.6 s$ in the tenth. Futures: two states,
$-1$ and $1$, change places at every step, so that from either the other has the mass
$(1 - \gamma)(1 + \gamma^2 + \dots) = 1 / (1 + \gamma)$, and the mean future is $\mp (1 - \gamma) / (1 + \gamma)$.
The tolerances are about twice the largest error over eight seeds: 0.062 and 0.017 for imitation, 0.046 and 0.010 for
futures, 0.15 for their value, of which 0.06 is a standard error of its samples.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import floqzoo as fz
from floqzoo.records import FutureTransition
from recipes.bc import BCConfig, bc
from recipes.td2_cfm import TD2Config, td2_cfm


SEEDS, UPDATES, BATCH, DRAWS, DISCOUNT = 3, 1000, 64, 512, 0.5
ENDS = np.array([-1.0, 1.0])
OPTIMISER = optax.adam(optax.cosine_decay_schedule(0.01, UPDATES))
READOUT = fz.successor.KnownReward(lambda x: x[0])  # being at x pays x
IDLE = fz.FunctionPolicy(lambda state: state)
SIZES = {"observation_dim": 1, "action_dim": 1, "reward_range": (-1.0, 1.0)}


def imitation(key):
    """A draw of the data to be imitated."""
    side_key, turn_key = jax.random.split(key)
    states = jax.random.rademacher(side_key, (BATCH, 1), float)
    turned = jnp.where(jax.random.bernoulli(turn_key, 0.1, (BATCH, 1)), -0.6, 0.6)
    rest = jnp.zeros(BATCH)
    return fz.Transition(states, turned * states, rest, rest + 1, states)


def changing_places(key):
    """A draw of the two states that change places; actions do nothing, and no true future is told."""
    states = jax.random.rademacher(key, (BATCH, 1), float)
    rest = jnp.zeros(BATCH)
    idle = jnp.zeros((BATCH, 1))
    return FutureTransition(states, idle, rest, rest + 1, -states, idle, jnp.full((BATCH, 1), jnp.nan))


def imitator(key):
    agent = bc(**SIZES, config=BCConfig(actor_hidden_dims=(32, 32)), key=key)
    return fz.Agent(critic=agent.critic, policy=agent.policy, optimiser=OPTIMISER)


def forecaster(key):
    config = TD2Config(network="mlp", hidden_dims=(32, 32), discount=DISCOUNT)
    agent = td2_cfm(**SIZES, config=config, policy=IDLE, reward=READOUT, key=key)
    return fz.Agent(critic=agent.critic, policy=agent.policy, optimiser=OPTIMISER, tau=0.05)


@functools.cache
def trained(make, sample):
    """The agents of all seeds after training, and what they share."""
    agents = [make(key) for key in jax.random.split(jax.random.key(0), SEEDS)]
    arrays, (rest, *_) = zip(*(eqx.partition(agent, eqx.is_array) for agent in agents), strict=True)
    arrays = jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrays)

    def update(arrays, key):
        data_key, update_key = jax.random.split(key)
        return eqx.filter(eqx.combine(arrays, rest).update(sample(data_key), update_key)[0], eqx.is_array)

    @jax.jit
    def train(arrays, keys):
        return jax.lax.scan(lambda arrays, keys: (jax.vmap(update)(arrays, keys), None), arrays, keys)[0]

    return train(arrays, jax.random.split(jax.random.key(1), (UPDATES, SEEDS))), rest


def over_seeds(learnt, function):
    """`function(agent, state)` for each seed and each of the two states."""
    arrays, rest = learnt
    states = jnp.asarray(ENDS, dtype=float)[:, None]
    of_agent = jax.vmap(lambda arrays, state: function(eqx.combine(arrays, rest), state), (None, 0))
    return np.asarray(jax.jit(jax.vmap(of_agent, (0, None)))(arrays, states))


def test_imitation_acts_as_the_data_do_and_as_often():
    def actions(agent, state):
        return jax.vmap(agent.policy.act, (None, 0))(state, jax.random.split(jax.random.key(2), DRAWS))[:, 0]

    found = over_seeds(trained(imitator, imitation), actions) * ENDS[:, None]
    np.testing.assert_allclose(np.mean(found < 0, axis=2), 0.1, atol=0.12)
    np.testing.assert_allclose(np.median(found, axis=2), 0.6, atol=0.04)


def test_futures_of_states_that_change_places_have_their_share():
    def futures(agent, state):
        return agent.critic.measure.sample_futures(state, jnp.zeros(1), DRAWS, jax.random.key(3))[:, 0]

    other = over_seeds(trained(forecaster, changing_places), futures) * -ENDS[:, None]
    np.testing.assert_allclose(np.mean(other > 0, axis=2), 1 / (1 + DISCOUNT), atol=0.1)
    np.testing.assert_allclose(np.median(np.abs(other), axis=2), 1.0, atol=0.02)


def test_their_value_is_the_mean_future_over_one_minus_the_discount():
    def values(agent, state):
        keys = jax.random.split(jax.random.key(4), 8)
        return jnp.mean(jax.vmap(lambda key: agent.critic.value(state, jnp.zeros(1), key))(keys))

    found = over_seeds(trained(forecaster, changing_places), values)
    wanted = -ENDS * (1 - DISCOUNT) / (1 + DISCOUNT) / (1 - DISCOUNT)
    assert wanted == pytest.approx([2 / 3, -2 / 3])
    np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), atol=0.3)
