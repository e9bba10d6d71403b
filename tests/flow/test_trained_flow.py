"""A small flow, trained in seconds, draws what it was shown."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

import floqzoo as fz
from floqzoo.hyperparameter import partition_trainable


DRAWS = 2048
# Two samples of one distribution lie further apart than this once in a million times (Smirnov).
BOUND = np.sqrt(np.log(2e6) / 2) * np.sqrt(2 / DRAWS)


def target(key, shape, condition):
    """Two narrow heaps around -1 and 1; a condition of 1 moves them by 2 and makes the right one the higher."""
    share = 0.3 + 0.4 * condition
    heap_key, noise_key = jax.random.split(key)
    heap = jnp.where(jax.random.bernoulli(heap_key, share, shape), 1.0, -1.0)
    return heap + 2 * condition + 0.3 * jax.random.normal(noise_key, shape)


@eqx.filter_jit
def train(flow, steps, key):
    parameters, rest = partition_trainable(flow)
    optimiser = optax.adam(optax.cosine_decay_schedule(1e-2, steps))

    def loss(parameters, key):
        flow = eqx.combine(parameters, rest)
        keys = jax.random.split(key, 4)
        t, x0 = jax.random.uniform(keys[0], (256,)), flow.prior.sample(keys[1], (256, 1))
        condition = jax.random.bernoulli(keys[2], shape=(256, 1)).astype(float)
        x1 = target(keys[3], (256, 1), condition)
        losses = jax.vmap(lambda t, x0, x1, c: flow.matching_loss(t, x0, x1, flow.encode(c)))(t, x0, x1, condition)
        return jnp.mean(losses)

    def update(carry, key):
        parameters, state = carry
        with jax.numpy_dtype_promotion("standard"):
            steps, state = optimiser.update(jax.grad(loss)(parameters, key), state)
        return (optax.apply_updates(parameters, steps), state), None

    (parameters, _), _ = jax.lax.scan(update, (parameters, optimiser.init(parameters)), jax.random.split(key, steps))
    return eqx.combine(parameters, rest)


@eqx.filter_jit
def draw(flow, key, condition):
    return jax.vmap(lambda key: flow.sample(key, flow.encode(condition))[0])(jax.random.split(key, DRAWS))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "prior"),
    [(fz.LinearPath(), fz.GaussianPrior()), (fz.TrigonometricPath(), fz.UniformPrior(-1.0, 2.0))],
    ids=["LinearPath", "TrigonometricPath"],
)
def test_samples_pass_a_two_sample_test_against_their_target(path, prior, getkey):
    field = fz.ConditionalField(1, 1, build=partial(fz.MLP, hidden=(64, 64)), key=getkey())
    untrained = fz.Flow(field, 1, prior, path, fz.Midpoint(20))
    trained = train(untrained, 4000, getkey())
    for condition in (0.0, 1.0):
        truth = np.asarray(target(getkey(), (DRAWS,), condition))

        def distance(flow, given, truth=truth):
            return stats.ks_2samp(truth, np.asarray(draw(flow, getkey(), jnp.array([given])))).statistic

        assert distance(trained, condition) < BOUND
        assert distance(untrained, condition) > 2 * BOUND
        assert distance(trained, 1 - condition) > 2 * BOUND
