"""Each target against a transcription of TD-Flow's algorithm 1, and the laws that hold for all of them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.hyperparameter import partition_trainable
from floqzoo.networks import Normaliser
from floqzoo.protocols import SuccessorTarget
from floqzoo.records import Transition
from floqzoo.successor import (
    METHODS,
    CoupledTDTarget,
    DataNextAction,
    MonteCarloTarget,
    StraightTD2Target,
    TD2Target,
    TDTarget,
    flow_measure,
)
from floqzoo.tasks import LinearGaussian
from floqzoo.testing import assert_close
from floqzoo.testing.policy_laws import frozen_agent
from tests.successor.known_measures import small_field


RULES = (MonteCarloTarget(), TDTarget(), CoupledTDTarget(), TD2Target(), StraightTD2Target())
NAMES = [type(rule).__name__ for rule in RULES]


def target_flow(key, path=fz.LinearPath()):
    return fz.Flow(small_field(key), 2, path=path, solver=fz.Midpoint(10))


def transition(key):
    return jax.tree.map(lambda leaf: leaf[0], LinearGaussian.spiral(0.9).sample(key, 1))


def repeatable(key):
    """Gives out one key many times: two transcriptions of one draw are no reuse."""
    return lambda: jax.random.clone(key)


def midpoint(velocity, x, end, steps=10):
    """Ten equal steps of the midpoint rule from 0 to `end`, in NumPy."""
    h = end / steps
    for k in range(steps):
        x = x + h * velocity(k * h + h / 2, x + h / 2 * velocity(k * h, x))
    return x


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_every_rule_satisfies_its_protocol(rule):
    assert isinstance(rule, SuccessorTarget)


@pytest.mark.parametrize("path", [fz.LinearPath(), fz.TrigonometricPath()], ids=["straight", "curved"])
@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_a_target_is_its_line_of_the_table(rule, path, getkey):
    flow, step, t, key = target_flow(getkey(), path), transition(getkey()), 0.4, repeatable(getkey())
    code = flow.encode(step.next_observation, step.next_action)
    point = rule.regression(flow, code, step, t, key())

    def velocity(time, x):
        return np.asarray(flow.field.velocity(float(time), jnp.asarray(x, dtype=float), code), np.float64)

    if path == fz.LinearPath():
        alpha, beta, alpha_rate, beta_rate = t, 1 - t, 1.0, -1.0
    else:
        angle = np.pi * t / 2
        alpha, beta, alpha_rate, beta_rate = (
            np.sin(angle), np.cos(angle), np.pi / 2 * np.cos(angle), -np.pi / 2 * np.sin(angle)
        )  # fmt: skip

    def joined(noise, end):
        return alpha * end + beta * noise, alpha_rate * end + beta_rate * noise

    match rule:
        case MonteCarloTarget():
            x, label = joined(np.asarray(jax.random.normal(key(), (2,))), np.asarray(step.future))
        case TDTarget():
            keys = jax.random.split(key())
            end = midpoint(velocity, np.asarray(jax.random.normal(keys[0], (2,))), 1.0)
            x, label = joined(np.asarray(jax.random.normal(keys[1], (2,))), end)
        case CoupledTDTarget():
            noise = np.asarray(jax.random.normal(key(), (2,)))
            x, label = joined(noise, midpoint(velocity, noise, 1.0))
        case TD2Target():
            x = midpoint(velocity, np.asarray(jax.random.normal(key(), (2,))), t)
            label = velocity(t, x)
        case StraightTD2Target():
            noise = np.asarray(jax.random.normal(key(), (2,)))
            x, _ = joined(noise, midpoint(velocity, noise, 1.0))
            label = velocity(t, x)
    np.testing.assert_allclose(point.x, x, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(point.velocity, label, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_the_loss_is_the_weighted_sum_of_its_terms(name, getkey):
    chain = LinearGaussian.spiral(0.7)
    measure = METHODS[name](small_field(getkey()), 2, discount=0.7)
    target = METHODS[name](small_field(getkey()), 2, discount=0.7)
    batch, key = chain.sample(getkey(), 4), repeatable(getkey())
    loss, metrics = eqx.filter_jit(measure.successor_loss)(batch, target, frozen_agent(None, chain.policy), key())
    assert_close(loss, 0.3 * metrics.one_step_loss + 0.7 * metrics.bootstrap_loss)

    _, time_key, noise_key = jax.random.split(key(), 3)
    times, keys = measure.times.sample_times(time_key, (4,)), jax.random.split(noise_key, 4)
    path, is_diffusion = measure.flow.path, name.endswith("-dd")
    one_step, bootstrap = [], []
    for i in range(4):
        step = jax.tree.map(lambda leaf, i=i: leaf[i], batch)
        code = measure.flow.encode(step.observation, step.action)
        next_code = target.flow.encode(step.next_observation, chain.gain.value @ step.next_observation)
        first_key, second_key = jax.random.split(keys[i])
        points = (
            path.at(times[i], jax.random.normal(first_key, (2,)), step.next_observation),
            measure.target_rule.regression(target.flow, next_code, step, times[i], second_key),
        )
        for terms, point in zip((one_step, bootstrap), points, strict=True):
            velocity = measure.flow.field.velocity(times[i], point.x, code)
            if is_diffusion:  # what the network said, against the noise of the label
                noises = [path.ends_of(times[i], point.x, v).x0 for v in (velocity, point.velocity)]
                terms.append(np.mean((np.asarray(noises[0]) - np.asarray(noises[1])) ** 2))
            else:
                terms.append(np.mean((np.asarray(velocity) - np.asarray(point.velocity)) ** 2))
    tolerance = 2e-2 if is_diffusion else 1e-4  # the transcription subtracts large velocities
    np.testing.assert_allclose(metrics.one_step_loss, np.mean(one_step), rtol=tolerance)
    np.testing.assert_allclose(metrics.bootstrap_loss, np.mean(bootstrap), rtol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_without_a_discount_every_target_is_flow_matching_on_the_next_state(name, getkey):
    chain = LinearGaussian.spiral(0.0)
    measure = METHODS[name](small_field(getkey()), 2, discount=0.0)
    target = METHODS[name](small_field(getkey()), 2, discount=0.0)
    batch, key = chain.sample(getkey(), 8), repeatable(getkey())
    _, time_key, noise_key = jax.random.split(key(), 3)
    times = measure.times.sample_times(time_key, (8,))
    noise = jax.vmap(lambda k: jax.random.normal(jax.random.split(k)[0], (2,)))(jax.random.split(noise_key, 8))
    trainable, rest = partition_trainable(measure)

    def successor_loss(trainable):
        return eqx.combine(trainable, rest).successor_loss(batch, target, frozen_agent(None, chain.policy), key())[0]

    def flow_matching(trainable):
        flow = eqx.combine(trainable, rest).flow

        def of_example(s, a, x1, t, x0):
            weight = flow.path.noise_error_weight(t) if name.endswith("-dd") else 1.0
            return weight * flow.matching_loss(t, x0, x1, flow.encode(s, a))

        return jnp.mean(jax.vmap(of_example)(batch.observation, batch.action, batch.next_observation, times, noise))

    for mine, theirs in zip(
        *(jax.tree.leaves(jax.grad(f)(trainable)) for f in (successor_loss, flow_matching)), strict=True
    ):
        assert_close(mine, theirs)


def test_where_paths_are_straight_and_never_cross_coupled_td_is_td2(getkey):
    r"""The field $v = (x_1 - x) / (1 - t)$ of a state that is never left: both take $x_t$ and $x_1 - x_0$ from one noise."""

    class Absorbed:
        def encode(self, observation, action):
            return observation

        def velocity(self, t, x, code):
            return (code - x) / (1 - t)

    flow = fz.Flow(Absorbed(), 2, solver=fz.Midpoint(10))
    step, key = transition(getkey()), repeatable(getkey())
    code = flow.encode(step.next_observation, step.next_action)
    for t in (0.1, 0.5, 0.9):
        coupled, squared = (rule.regression(flow, code, step, t, key()) for rule in (CoupledTDTarget(), TD2Target()))
        np.testing.assert_allclose(coupled.x, squared.x, atol=1e-3)
        np.testing.assert_allclose(coupled.velocity, squared.velocity, rtol=1e-3, atol=1e-3)


def test_a_curved_path_changes_the_one_step_term_of_td2_alone(getkey):
    step, key, field = transition(getkey()), repeatable(getkey()), small_field(getkey())
    points = []
    for path in (fz.LinearPath(), fz.TrigonometricPath()):
        flow = fz.Flow(field, 2, path=path, solver=fz.Midpoint(10))
        points.append(
            TD2Target().regression(flow, flow.encode(step.next_observation, step.next_action), step, 0.3, key())
        )
    assert_close(points[0].x, points[1].x)
    assert_close(points[0].velocity, points[1].velocity)


@pytest.mark.slow
def test_normalised_coordinates_are_another_name_for_the_same_measure(getkey):
    """A measure with a normaliser has the loss of one without, on data that were normalised beforehand."""
    normaliser, field, other = (
        Normaliser(np.array([1.0, -2.0]), np.array([0.5, 3.0])),
        small_field(getkey()),
        small_field(getkey()),
    )
    batch, key = LinearGaussian.spiral(0.9).sample(getkey(), 4), repeatable(getkey())
    plain = eqx.tree_at(
        lambda b: (b.observation, b.next_observation, b.future),
        batch,
        tuple(jax.vmap(normaliser.normalise)(x) for x in (batch.observation, batch.next_observation, batch.future)),
    )
    policy = frozen_agent(None, fz.FunctionPolicy(lambda observation: observation))
    for rule in RULES:
        inside, outside = (
            [flow_measure(rule, f, 2, next_action=DataNextAction(), normaliser=n) for f in (field, other)]
            for n in (normaliser, Normaliser())
        )
        assert_close(
            inside[0].successor_loss(batch, inside[1], policy, key())[0],
            outside[0].successor_loss(plain, outside[1], policy, key())[0],
        )


def test_true_futures_must_be_in_the_batch(getkey):
    batch = LinearGaussian.spiral(0.9).sample(getkey(), 4)
    plain = Transition(batch.observation, batch.action, batch.reward, batch.discount, batch.next_observation)
    policy = frozen_agent(None, LinearGaussian.spiral(0.9).policy)
    measure = METHODS["mc-cfm"](small_field(getkey()), 2)
    with pytest.raises(ValueError, match="MonteCarloTarget needs `future` in its batches; choose a batch source"):
        measure.successor_loss(plain, measure, policy, getkey())
    of_data = METHODS["td2-cfm"](small_field(getkey()), 2, next_action=DataNextAction())
    with pytest.raises(ValueError, match="DataNextAction needs `next_action` in its batches; choose a batch source"):
        of_data.successor_loss(plain, of_data, policy, getkey())
