"""The exact measure is where learning comes to rest."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.hyperparameter import partition_trainable
from floqzoo.successor import METHODS, flow_measure
from floqzoo.successor.targets import StraightTD2Target, TD2Target, TDTarget
from floqzoo.tasks import LinearGaussian
from tests.successor.known_measures import Correctable, ExactNoise, exact_field


pytestmark = pytest.mark.slow


COUNT = 6_000
WITHOUT_NAME = {"straight td2-cfm": partial(flow_measure, StraightTD2Target())}


def gradients_at_the_truth(name, chain, path, key, shift=0.0, count=COUNT):
    """One gradient for each transition, by the correction of the exact field, with the exact measure as the target."""
    field = exact_field(chain, path)
    if name.endswith("-dd"):
        make, online = METHODS[name], Correctable.of(ExactNoise(field), 2, 4)
        settings = {"path": path, "steps": 60}
    else:
        make, online = WITHOUT_NAME.get(name) or METHODS[name], Correctable.of(field, 2, 4)
        settings = {"path": path, "solver": fz.Midpoint(20)}
    online = eqx.tree_at(lambda field: field.correction, online, online.correction + shift)
    measure = make(online, 2, discount=chain.discount, **settings)
    target = make(ExactNoise(field) if name.endswith("-dd") else field, 2, discount=chain.discount, **settings)

    @eqx.filter_jit
    def run(measure, target, key):
        batch_key, time_key, loss_key = jax.random.split(key, 3)
        batch = chain.sample(batch_key, count)
        times = 0.98 * jax.random.uniform(time_key, (count,))
        trainable, rest = partition_trainable(measure)
        gamma = chain.discount.value

        def gradient(step, t, key):
            def loss(trainable):
                losses = eqx.combine(trainable, rest).transition_losses(target, step, step.next_action, t, key)
                return (1 - gamma) * losses[0] + gamma * losses[1]

            return jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(jax.grad(loss)(trainable))])

        return jax.lax.map(
            lambda row: gradient(*row), (batch, times, jax.random.split(loss_key, count)), batch_size=500
        )

    return np.asarray(run(measure, target, key), np.float64)


def standard_scores(gradients):
    return gradients.mean(axis=0) / (gradients.std(axis=0) / len(gradients) ** 0.5)


# Six standard errors, where each entry of the gradient is a mean over transitions. The tail that the series leaves out
# is worth 1e-4, the solvers' error less than a standard error.
@pytest.mark.parametrize("name", ["mc-cfm", "td-cfm", "td2-cfm"])
def test_the_expected_gradient_vanishes_at_the_exact_measure(name, getkey):
    chain = LinearGaussian.spiral(0.6, tolerance=1e-4)
    scores = standard_scores(gradients_at_the_truth(name, chain, fz.LinearPath(), getkey()))
    assert np.abs(scores).max() < 6, scores


@pytest.mark.parametrize("name", ["td-dd", "td2-dd"])
def test_it_does_so_for_diffusions(name, getkey):
    chain = LinearGaussian.spiral(0.6, tolerance=1e-4)
    scores = standard_scores(gradients_at_the_truth(name, chain, fz.VariancePreservingPath(), getkey()))
    assert np.abs(scores).max() < 6, scores


@pytest.mark.parametrize("name", ["td-cfm-c", "straight td2-cfm"])
def test_targets_on_straight_lines_rest_elsewhere(name, getkey):
    """Their points lie on straight lines between the ends of a flow that bends, so they have another law on the way."""
    chain = LinearGaussian.spiral(0.6, tolerance=1e-4)
    scores = standard_scores(gradients_at_the_truth(name, chain, fz.LinearPath(), getkey(), count=4 * COUNT))
    assert np.abs(scores).max() > 8  # six would be agreement


@pytest.mark.parametrize("name", ["mc-cfm", "td-cfm", "td2-cfm"])
def test_a_wrong_field_has_a_gradient(name, getkey):
    """So that the test above could fail: a correction of 0.2 is seen."""
    chain = LinearGaussian.spiral(0.6, tolerance=1e-4)
    scores = standard_scores(gradients_at_the_truth(name, chain, fz.LinearPath(), getkey(), shift=0.2))
    assert np.abs(scores).max() > 12


def test_targets_of_the_exact_model_have_the_law_of_the_exact_path(getkey):
    r"""TD's and TD²'s points at time $t$ have the moments of $t X_1 + (1 - t) X_0$ with $X_1 \sim m(\cdot \mid s', a')$."""
    chain, t, count = LinearGaussian.spiral(0.6, tolerance=1e-4), 0.6, 20_000
    state = jnp.array([1.0, 0.5])
    action = chain.gain.value @ state
    flow = flow_measure(TDTarget(), exact_field(chain), 2, solver=fz.Midpoint(20)).flow
    step = jax.tree.map(lambda leaf: leaf[0], chain.sample(getkey(), 1))
    moments = chain.moments(state, action)
    for rule in (TDTarget(), TD2Target()):
        draw = eqx.filter_jit(jax.vmap(lambda k, rule=rule: rule.regression(flow, (state, action), step, t, k)))
        points = draw(jax.random.split(getkey(), count))
        x = np.asarray(points.x, np.float64)
        assert np.all(np.abs(x.mean(axis=0) - t * moments.mean) < 6 * x.std(axis=0) / count**0.5 + 2e-3)
        covariance = t**2 * moments.covariance + (1 - t) ** 2 * jnp.eye(2)
        spread = np.outer(x.std(axis=0), x.std(axis=0)) * (2 / count) ** 0.5
        assert np.all(np.abs(np.cov(x.T) - covariance) < 6 * spread + 4e-3)
