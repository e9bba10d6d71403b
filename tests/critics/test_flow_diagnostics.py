"""The diagnostics of a flow critic, where the answers are known."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from doubles import ACTION, OBSERVATION, LinearReturn, linear_fields, linear_q, transitions
from hypothesis import given, strategies as st

import floqzoo as fz
from floqzoo.critics.flow_diagnostics import (
    batch_curvature,
    batch_features,
    effective_rank,
    flow_diagnostics,
    q_by_steps,
    value_paths,
    with_steps,
)
from floqzoo.flow.flow import accurate_solver
from floqzoo.networks.precision import with_compute_dtype
from floqzoo.testing import assert_close


pytestmark = pytest.mark.slow


INPUTS = OBSERVATION + ACTION
SPREAD, BIAS = jnp.array([0.5, 2.0]), jnp.array([-1.0, 0.5])
WEIGHT = jnp.asarray(np.random.default_rng(0).normal(size=(2, INPUTS)), dtype=float)


def straight(steps=3):
    """Ends in `weight . (s, a) + bias + spread * noise`, at constant speed."""
    fields = linear_fields(WEIGHT, BIAS, SPREAD)
    return fz.FlowCritic(fields, linear_q(WEIGHT, BIAS), fz.UniformPrior(-1.0, 0.0), solver=fz.Euler(steps))


class TellingReturn(LinearReturn):
    """The same, with its one feature."""

    def last_features(self, t, x, code):
        return code


def learnt(hidden=(16, 8), steps=4):
    field_key, readout_key = jax.random.split(jax.random.key(0))
    build = partial(fz.ConditionalField, 1, INPUTS, build=partial(fz.MLP, hidden=hidden))
    fields = fz.Ensemble.build(lambda key: build(key=key), 2, key=field_key)
    readout = fz.QEnsemble(OBSERVATION, ACTION, build=partial(fz.MLP, hidden=(4,)), key=readout_key)
    return fz.FlowCritic(fields, readout, fz.UniformPrior(-1.0, 0.0), solver=fz.Euler(steps))


def noises(size=4, num_noise_samples=64, seed=1):
    return jax.random.uniform(jax.random.key(seed), (size, num_noise_samples, 1), minval=-1.0, maxval=0.0)


def test_a_straight_flow_has_straight_paths_whatever_the_number_of_steps():
    batch, noise = transitions(), noises(num_noise_samples=5)
    assert_close(batch_curvature(straight(7), batch, noise), jnp.zeros((4, 2, 5)))
    values = q_by_steps(straight(), batch, noise, (1, 2, 8))
    assert_close(values, jnp.broadcast_to(values[0], values.shape))


def test_value_paths_lead_from_the_noise_to_the_returns():
    critic, batch, noise = learnt(), transitions(size=1), noises(1, 6)
    paths = value_paths(critic, batch.observation[0], batch.action[0], noise[0])
    assert paths.t.shape == (5,)
    assert_close(paths.z[:, :, 0], jnp.broadcast_to(noise[0, :, 0], (2, 6)))
    assert_close(paths.z[:, :, -1], critic.batch_returns(batch, noise)[:, 0])


def test_the_variance_over_noise_is_that_of_the_spread():
    batch = transitions()
    telling = fz.Ensemble(TellingReturn(WEIGHT, BIAS, SPREAD), 2)
    found = flow_diagnostics(
        dataclasses.replace(straight(), fields=telling), batch, jax.random.key(0), num_noise_samples=4096
    )
    np.testing.assert_allclose(found.q_noise_variance, jnp.mean(SPREAD**2) / 12, rtol=0.05)
    assert_close(found.q, found.q_one_step)
    assert_close(found.path_curvature, jnp.zeros(()))


def test_q_in_one_step_is_that_of_the_same_noise_in_one_step():
    critic, batch, key = learnt(steps=4), transitions(), jax.random.key(0)
    found = flow_diagnostics(critic, batch, key, num_noise_samples=8)
    noise = critic.prior.sample(jax.random.split(jax.random.clone(key))[0], (4, 8, 1))
    one, four = jnp.mean(q_by_steps(critic, batch, noise, (1, 4)), axis=1)
    assert_close(found.q_one_step, one)
    assert_close(found.q, four)
    assert abs(one - four) > 1e-3


def test_features_are_what_the_last_layer_reads():
    critic, batch, noise = learnt(), transitions(), noises(num_noise_samples=1)
    times = jnp.zeros(4)
    features = batch_features(critic, batch, noise[:, 0], times)
    network = critic.fields.members.network
    last = jnp.einsum("ebw,ewo->ebo", features, network.layers[-1].weight) + network.layers[-1].bias[:, None]

    def velocities(field):
        flow = critic.flow(field)
        return jax.vmap(lambda s, a, z: field.velocity(0.0, z, flow.encode(s, a)))(
            batch.observation, batch.action, noise[:, 0]
        )

    assert_close(last, critic.fields.each(velocities))


@given(st.integers(1, 6), st.integers(6, 12), st.integers(0, 100))
def test_equal_singular_values_are_counted(rank, width, seed):
    random = np.random.default_rng(seed)
    left, right = (np.linalg.qr(random.normal(size=(size, size)))[0] for size in (20, width))
    matrix = jnp.asarray(left[:, :rank] @ right[:rank], dtype=float)
    assert int(effective_rank(matrix)) == rank


@given(st.integers(1, 6), st.integers(0, 100))
def test_the_effective_rank_is_at_most_the_rank_and_knows_no_scale(rank, seed):
    random = np.random.default_rng(seed)
    matrix = jnp.asarray(random.normal(size=(20, rank)) @ random.normal(size=(rank, 9)), dtype=float)
    assert 1 <= int(effective_rank(matrix)) <= rank
    assert int(effective_rank(1000 * matrix)) == int(effective_rank(matrix))


def test_diagnostics_can_be_compiled_and_mapped_over_seeds():
    critic, batch = learnt(), transitions(size=16)
    keys = jax.random.split(jax.random.key(3), 2)
    found = jax.jit(jax.vmap(lambda key: flow_diagnostics(critic, batch, key)))(keys)
    assert all(np.isfinite(leaf).all() and leaf.shape == (2,) for leaf in jax.tree.leaves(found))
    assert (found.effective_rank <= 8).all()


def test_a_critic_that_computes_in_bfloat16_has_them_too():
    """Features of half the width, of which no singular values can be had, and diagnostics within a few of its roundings."""
    critic, batch = learnt(), transitions(size=16)
    half = with_compute_dtype(critic, "bfloat16")
    with jax.numpy_dtype_promotion("standard"):
        found, wanted = (flow_diagnostics(one, batch, jax.random.key(3)) for one in (half, critic))
    assert found.feature_norm.dtype == wanted.feature_norm.dtype
    for name in ("q", "feature_norm"):
        assert float(getattr(found, name)) == pytest.approx(float(getattr(wanted, name)), abs=0.05)
    assert abs(float(found.effective_rank) - float(wanted.effective_rank)) <= 1


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="must be a fixed-step solver"):
        with_steps(dataclasses.replace(straight(), solver=accurate_solver()), 2)
    with pytest.raises(ValueError, match="`num_noise_samples`"):
        flow_diagnostics(learnt(), transitions(), jax.random.key(0), num_noise_samples=1)
