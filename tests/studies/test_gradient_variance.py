"""TD-Flow's theorem on variances, on the chain, where everything in it can be computed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floqzoo.hyperparameter import partition_trainable
from floqzoo.studies.gradient_variance import (
    GradientVarianceConfig,
    chain_gradients,
    draw,
    exact_target,
    gradient_variance,
    untrained,
)
from floqzoo.studies.report import read_rows, write_rows
from floqzoo.successor import METHODS
from floqzoo.tasks import LinearGaussian
from floqzoo.typing import Point


pytestmark = pytest.mark.slow


COUNT = 8192
CHAIN = LinearGaussian.spiral(0.8, tolerance=1e-4)


@pytest.fixture(scope="module")
def gradients():
    """Single gradients at the same parameters, with the exact measure as the target network."""

    def of(name, seed):
        measure = untrained(METHODS[name], CHAIN, jax.random.key(0))
        return np.asarray(chain_gradients(measure, CHAIN, COUNT, jax.random.key(seed)), np.float64)

    return {name: of(name, seed) for seed, name in enumerate(("td-cfm", "td2-cfm"), start=1)}


def trace(gradients):
    """The trace of the covariance, and its standard error."""
    squares = np.sum((gradients - gradients.mean(axis=0)) ** 2, axis=1)
    return squares.mean(), squares.std() / len(squares) ** 0.5


def test_expected_gradients_agree(gradients):
    """Entry by entry, to six standard errors of the difference."""
    means = [rows.mean(axis=0) for rows in gradients.values()]
    errors = [rows.var(axis=0) / COUNT for rows in gradients.values()]
    assert np.all(np.abs(means[0] - means[1]) < 6 * np.sqrt(errors[0] + errors[1]) + 1e-6)


def test_td_varies_more_than_td2(gradients):
    (td, td_error), (td2, td2_error) = (trace(gradients[name]) for name in ("td-cfm", "td2-cfm"))
    assert td - td2 > 6 * np.hypot(td_error, td2_error)


def test_the_difference_is_the_one_that_the_theorem_says(gradients):
    r"""$\gamma^2 \frac{4}{d^2} \, \mathbb E \operatorname{tr} \operatorname{Cov}_{X_1 | X_t}(\nabla v^\top u_t(X_t | X_1))$, computed apart.

    The spread of $u_t(X_t | X_1) = (X_1 - X_t) / (1 - t)$ given $X_t$ is that of the conditional velocity about the exact
    field, so the term is the mean of $\lVert \nabla v^\top (u - \bar v) \rVert^2$ over TD's own points.
    """
    measure, target = untrained(METHODS["td-cfm"], CHAIN, jax.random.key(0)), exact_target(CHAIN)

    @eqx.filter_jit
    def extra(key):
        batch_key, time_key, rule_key = jax.random.split(key, 3)
        batch, times = CHAIN.sample(batch_key, COUNT), jax.random.uniform(time_key, (COUNT,))
        trainable, rest = partition_trainable(measure)

        def spread(step, t, key):
            code = target.flow.encode(step.next_observation, step.next_action)
            point = measure.target_rule.regression(target.flow, code, step, t, key)
            error: Point = point.velocity - target.flow.field.velocity(t, point.x, code)

            def projected(trainable):
                flow = eqx.combine(trainable, rest).flow
                velocity = flow.field.velocity(t, point.x, flow.encode(step.observation, step.action))
                return velocity @ error

            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(jax.grad(projected)(trainable)))

        rows = (batch, times, jax.random.split(rule_key, COUNT))
        return jax.lax.map(lambda row: spread(*row), rows, batch_size=512)

    squares = np.asarray(extra(jax.random.key(9)), np.float64) * 0.8**2 * 4 / 2**2
    (td, td_error), (td2, td2_error) = (trace(gradients[name]) for name in ("td-cfm", "td2-cfm"))
    error = np.sqrt(td_error**2 + td2_error**2 + squares.var() / COUNT)
    assert abs(td - td2 - squares.mean()) < 6 * error
    assert squares.mean() > 6 * error  # so that the line above says something


def test_the_study_writes_its_table_and_figure(tmp_path):
    config = GradientVarianceConfig(directory=tmp_path, horizons=(2,), transitions=64)
    rows = gradient_variance(config)
    assert [row.method for row in rows] == ["td-cfm", "td-cfm-c", "td2-cfm"]
    assert len(read_rows(write_rows(rows, tmp_path / "rows.csv"))) == 3
    assert draw(rows, tmp_path / "figure.png").stat().st_size > 0
