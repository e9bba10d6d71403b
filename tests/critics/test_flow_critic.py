"""The flow critic's readouts and losses, with fields whose flows have a closed form."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from doubles import (
    ACTION,
    OBSERVATION,
    AlternatingPrior,
    LinearNetwork,
    SteadyPolicy,
    frozen_agent,
    linear_fields,
    linear_q,
    transitions,
)

import floqzoo as fz
from floqzoo.testing import assert_close


INPUTS = OBSERVATION + ACTION
DRAW = np.random.default_rng(0)
WEIGHT, BIAS = DRAW.normal(size=(2, INPUTS)), np.array([-1.0, 0.5])


def floating(values):
    return jnp.asarray(values, dtype=float)


def critic(spread=(0.5, 2.0), bias=BIAS, weight=WEIGHT, distilled=None, **parts):
    """Flows that end in `weight . (s, a) + bias + spread * noise`, and the distilled critic of the same values without noise."""
    weight, bias, spread = floating(weight), floating(bias), floating(spread)
    parts = {"prior": fz.UniformPrior(-1.0, 0.0), "solver": fz.Euler(3), "num_noise_samples": 4, **parts}
    distilled = linear_q(weight, bias) if distilled is None else distilled
    return fz.FlowCritic(linear_fields(weight, bias, spread), distilled, **parts)


def settled(reward, discount, **parts):
    """A critic that is right about a constant reward: everything ends in reward / (1 - discount)."""
    value = [reward / (1 - discount)] * 2
    return critic([0.0, 0.0], value, np.zeros((2, INPUTS)), discount=discount, **parts)


def endless(reward, size=4):
    batch = transitions(size=size)
    return fz.Transition(
        batch.observation, batch.action, jnp.full(size, reward), jnp.ones(size), batch.next_observation
    )


def loss(critic, batch, target=None, seed=0):
    return metrics(critic, batch, critic if target is None else target, jax.random.key(seed))


@eqx.filter_jit
def metrics(critic, batch, target, key):
    return critic.critic_loss(batch, frozen_agent(critic, SteadyPolicy(), target), key)[1]


# Readouts


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_return_is_where_the_flow_ends(steps):
    batch, noise = transitions(), jnp.array([-0.3])
    found = critic(solver=fz.Euler(steps)).returns(batch.observation[0], batch.action[0], noise)
    inputs = np.concatenate([batch.observation[0], batch.action[0]])
    assert_close(found, (WEIGHT @ inputs + BIAS + np.array([0.5, 2.0]) * -0.3))


def test_returns_of_a_batch_are_the_returns_of_its_rows(getkey):
    part, batch = critic(), transitions()
    noise = jax.random.uniform(getkey(), (4, 3, 1))
    rows = jax.vmap(jax.vmap(part.returns, (None, None, 0)))(batch.observation, batch.action, noise)
    assert_close(part.batch_returns(batch, noise), jnp.moveaxis(rows, 2, 0))


@pytest.mark.parametrize(("backend", "num_distillation_samples"), [("gpu", None), ("cpu", None), ("gpu", 2)])
def test_target_and_online_outputs_are_those_of_each_alone(backend, num_distillation_samples, getkey, monkeypatch):
    """An accelerator integrates both as one ensemble, a CPU one after the other."""
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    target, batch = critic(), transitions()
    online = critic([1.5, -1.0], [3.0, 4.0], -WEIGHT, num_distillation_samples=num_distillation_samples)
    noise, next_noise = jax.random.uniform(getkey(), (2, 4, 4, 1))
    agent = frozen_agent(online, SteadyPolicy(), target)
    td_target, flow_q = online.targets_and_outputs(batch, agent, noise, next_noise, getkey())
    next_action = jnp.tanh(batch.next_observation[:, :ACTION])
    at_next = dataclasses.replace(batch, observation=batch.next_observation, action=next_action)
    next_q = jnp.mean(target.batch_returns(at_next, next_noise), axis=(0, 2))
    assert_close(
        td_target, jnp.broadcast_to((batch.reward + 0.99 * batch.discount * next_q)[:, None], (4, 4)), scale=5.0
    )
    assert_close(flow_q, online.batch_returns(batch, noise[:, :num_distillation_samples]))


@pytest.mark.parametrize(("aggregation", "reduce"), [(fz.MeanOverEnsemble(), np.mean), (fz.MinOverEnsemble(), np.min)])
def test_the_value_aggregates_the_members_ends_from_one_noise(aggregation, reduce):
    batch, part = transitions(), critic(prior=fz.GaussianPrior(-0.7, 1e-9), aggregation=aggregation)
    found = part.value(batch.observation[0], batch.action[0], jax.random.key(0))
    ends = part.returns(batch.observation[0], batch.action[0], jnp.array([-0.7]))
    assert_close(found, jnp.asarray(reduce(ends)))


def test_the_score_is_the_mean_of_the_readout_and_needs_no_flow():
    batch = transitions()
    readout = linear_q(floating(-WEIGHT), floating(BIAS))
    found = critic(distilled=readout).score(batch.observation[0], batch.action[0])
    inputs = np.concatenate([batch.observation[0], batch.action[0]])
    assert_close(found, float(np.mean(-WEIGHT @ inputs + BIAS)), scale=5.0)


# Losses


def test_at_the_fixed_point_nothing_is_left_to_learn():
    """Where everything ends in the right value, from everywhere on the way, both losses are 0."""
    found = loss(settled(-1.0, 0.9), endless(-1.0))
    assert_close(found.critic_loss, 0.0, scale=100.0, roundings=100)
    assert_close(found.q_mean, -10.0)
    assert_close(found.flow_q_mean, -10.0)


def test_the_flow_loss_of_a_constant_offset_is_its_square_for_each_copy():
    """Fields that head for 3 too much are wrong by 3 / (1 - t): at t = 0 that costs 9 a copy."""
    online = settled(-1.0, 0.9, times=fz.ZeroTime())
    wrong = critic([0.0, 0.0], [-7.0, -7.0], np.zeros((2, INPUTS)), times=fz.ZeroTime(), num_noise_samples=5)
    assert_close(loss(wrong, endless(-1.0), target=online).flow_loss, 5 * 9.0)


def test_single_time_training_asks_for_the_way_from_noise_to_target_in_one_step():
    """One Euler step from t = 0 and training at t = 0 only: what the flow loss asks for is what the step does."""
    parts = {"times": fz.ZeroTime(), "solver": fz.Euler(1), "prior": AlternatingPrior(), "num_noise_samples": 2}
    online, target = critic(**parts), settled(-1.0, 0.9, **parts)
    batch, noise = endless(-1.0), jnp.broadcast_to(jnp.array([-1.0, 1.0])[None, :, None], (4, 2, 1))
    errors = online.batch_returns(batch, noise) + 10.0
    assert_close(loss(online, batch, target).flow_loss, float(np.mean(np.sum(np.square(errors), axis=2))))


def test_the_readout_regresses_to_the_mean_end_over_copies_and_members():
    batch, part = transitions(), critic(prior=AlternatingPrior())
    inputs = np.concatenate([batch.observation, batch.action], axis=1)
    values = inputs @ WEIGHT.T + BIAS
    wanted = np.mean((values - values.mean(axis=1, keepdims=True)) ** 2)
    assert_close(loss(part, batch).distill_loss, float(wanted))


@pytest.mark.parametrize(("copies", "shift"), [(1, -1.25), (2, 0.0), (3, -1.25 / 3), (4, 0.0), (None, 0.0)])
def test_the_readout_is_learnt_from_the_first_of_the_noises(copies, shift):
    """Noise samples -1, 1, -1, 1 end 0.5 and 2 times as far from the value: their mean is off by 1.25 times the mean noise."""
    batch, part = transitions(), critic(prior=AlternatingPrior(), num_distillation_samples=copies)
    values = np.concatenate([batch.observation, batch.action], axis=1) @ WEIGHT.T + BIAS
    wanted = np.mean((values - values.mean(axis=1, keepdims=True) - shift) ** 2)
    found = loss(part, batch)
    assert_close(found.distill_loss, float(wanted), scale=5.0)
    assert_close(found.flow_q_mean, float(values.mean()) + shift, scale=5.0)
    assert found.flow_loss == loss(critic(prior=AlternatingPrior()), batch).flow_loss


def test_metrics_say_what_they_are_called():
    batch, part = transitions(), critic(prior=AlternatingPrior())
    found = loss(part, batch)
    values = np.concatenate([batch.observation, batch.action], axis=1) @ WEIGHT.T + BIAS
    assert_close(found.critic_loss, found.flow_loss + found.distill_loss)
    for name, wanted in (
        ("q_mean", values.mean()),
        ("q_max", values.max()),
        ("q_min", values.min()),
        ("flow_q_mean", values.mean()),
        ("q_noise_variance", np.mean([0.5**2, 2.0**2])),
    ):
        assert_close(getattr(found, name), float(wanted), scale=5.0)


def test_shared_noise_is_the_regressions_own_and_independent_noise_is_not():
    """With reward 0 and no value but the noise's, y_j = discount * z'_j: a field that shrinks z by the discount
    is right about it where z' is z, and only there."""
    parts = {"times": fz.ZeroTime(), "backup": fz.DistributionalBackup(), "discount": 0.5}
    parts["weight"] = np.zeros((2, INPUTS))
    losses = {}
    for coupling in (fz.SharedNoise(), fz.IndependentNoise()):
        online = critic([0.5, 0.5], [0.0, 0.0], coupling=coupling, **parts)
        target = critic([1.0, 1.0], [0.0, 0.0], **parts)
        losses[type(coupling)] = loss(online, endless(0.0, size=64), target).flow_loss
    assert_close(losses[fz.SharedNoise], 0.0)
    # Each copy is wrong by discount * (z' - z), of variance discount^2 * 2 / 12 for noise on [-1, 0].
    assert losses[fz.IndependentNoise] == pytest.approx(4 * 0.25 / 6, rel=0.2)


def test_keys_decide_the_loss(getkey):
    part, batch = critic(), transitions()
    with jax.debug_key_reuse(True):
        same = [loss(part, batch, seed=1).flow_loss for _ in range(2)]
    assert same[0] == same[1]
    assert loss(part, batch, seed=2).flow_loss != same[0]


# Bad input


@pytest.mark.parametrize("discount", [-0.1, 1.0, 2.0, float("nan")])
def test_a_discount_outside_its_range_is_refused(discount):
    with pytest.raises(ValueError, match=rf"`discount` must be in \[0, 1\); got {discount}"):
        critic(discount=discount)


@pytest.mark.parametrize("copies", [0, -1])
def test_a_critic_without_noise_copies_is_refused(copies):
    with pytest.raises(ValueError, match=f"`num_noise_samples` must be at least 1; got {copies}"):
        critic(num_noise_samples=copies)


@pytest.mark.parametrize("copies", [0, 5])
def test_a_readout_from_no_noise_or_from_more_than_there_are_is_refused(copies):
    with pytest.raises(
        ValueError, match=rf"`num_distillation_samples` must be in \[1, 4\], or None for all; got {copies}"
    ):
        critic(num_distillation_samples=copies)


def test_an_ensemble_without_members_is_refused():
    with pytest.raises(ValueError, match="`size` of an ensemble must be at least 1; got 0"):
        fz.QEnsemble(OBSERVATION, ACTION, size=0, build=LinearNetwork, key=jax.random.key(0))


@pytest.mark.parametrize("part", ["prior", "path", "solver", "aggregation", "backup", "coupling", "times"])
def test_a_part_that_does_not_fit_is_refused_with_what_it_lacks(part):
    with pytest.raises(TypeError, match=f"`{part}` must be a .*; got object, which lacks "):
        critic(**{part: object()})


def test_a_readout_of_another_class_is_refused_by_name():
    with pytest.raises(TypeError, match="'distilled'"):
        critic(distilled=object())
