"""Log-densities of flows against closed forms, integrals and changes of variables."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import floqzoo as fz
from floqzoo.testing.families import narrow


MEAN, DEVIATION = 0.7, 0.4
PATHS = [fz.LinearPath, lambda: fz.OptimalTransportPath(0.3), fz.TrigonometricPath, fz.VariancePreservingPath]
over_paths = pytest.mark.parametrize(
    "make", PATHS, ids=["LinearPath", "OptimalTransportPath", "TrigonometricPath", "VariancePreservingPath"]
)

pytestmark = pytest.mark.usefixtures("double")


class ExactGaussian(eqx.Module):
    r"""$\dot\mu_t + \frac{\dot\sigma_t}{\sigma_t} (x - \mu_t)$: the marginal field of $N(m + c, s^2)$ given $c$."""

    path: fz.flow.path.AffinePath

    def encode(self, *condition):
        return jnp.concatenate(condition)[0]

    def velocity(self, t, x, code):
        # A step before the end, where a coefficient of the diffusion's path has no rate of change.
        c = self.path.coefficients(jnp.minimum(t, 1 - 1e-9))
        variance = (c.alpha * DEVIATION) ** 2 + c.beta**2
        rate = (c.alpha * c.alpha_rate * DEVIATION**2 + c.beta * c.beta_rate) / variance
        return c.alpha_rate * (MEAN + code) + rate * (x - c.alpha * (MEAN + code))


def gaussian_flow(path, shift):
    """The flow from its exact start, which for a diffusion is not quite the unit Gaussian, and its exact end."""
    starts, ends = (path.coefficients(t) for t in (0.0, 1.0))
    start, end = ((c.alpha * (MEAN + shift), np.hypot(c.alpha * DEVIATION, c.beta)) for c in (starts, ends))
    prior = fz.GaussianPrior(float(start[0]), float(start[1]))
    return fz.Flow(ExactGaussian(path), 2, prior, path), stats.norm(float(end[0]), float(end[1]))


@pytest.mark.slow
@over_paths
def test_gaussian_data_has_its_own_density(make):
    flow, target = gaussian_flow(make(), 0.25)
    points = np.array([[0.9, 1.1], [0.2, 0.3], [2.0, -0.5]])
    log_probs = jax.jit(jax.vmap(lambda x: flow.log_prob(x, flow.encode(jnp.array([0.25])))))(points)
    np.testing.assert_allclose(log_probs, target.logpdf(points).sum(axis=1), rtol=1e-4, atol=1e-4)


@over_paths
def test_a_draw_has_the_density_of_the_point_that_was_drawn(make):
    """And Hutchinson's estimate has it too, since the divergence of this field does not depend on the signs."""
    flow, target = gaussian_flow(make(), 0.25)
    flow = replace(flow, solver=fz.Midpoint(256))
    code, noise = flow.encode(jnp.array([0.25])), jnp.array([0.3, -1.1])
    exact = jax.jit(lambda x0: flow.push_forward_with_log_prob(x0, code))(noise)
    np.testing.assert_allclose(exact.log_prob, target.logpdf(exact.x).sum(), rtol=1e-3)
    np.testing.assert_allclose(exact.x, jax.jit(lambda x0: flow.push_forward(x0, code))(noise), rtol=1e-9)
    estimate = jax.jit(
        lambda x0, key: flow.push_forward_with_log_prob(x0, code, divergence=fz.HutchinsonDivergence(), key=key)
    )(noise, jax.random.key(0))
    np.testing.assert_allclose(estimate.log_prob, exact.log_prob, rtol=1e-9)


@pytest.mark.slow
@over_paths
def test_gaussian_noise_is_carried_to_gaussian_data(make):
    """Quantile by quantile, since a flow on the line keeps their order."""
    flow, target = gaussian_flow(make(), -0.5)
    start = stats.norm(float(flow.prior.mean.value), float(flow.prior.scale.value))
    shares = np.array([0.02, 0.3, 0.5, 0.9])
    code = flow.encode(jnp.array([-0.5]))
    accurate = eqx.tree_at(lambda flow: flow.solver, flow, fz.flow.accurate_solver())
    ends = jax.jit(jax.vmap(lambda x: accurate.push_forward(x[None], code)[0]))(start.ppf(shares))
    np.testing.assert_allclose(ends, target.ppf(shares), atol=2e-4)


class Stretch(eqx.Module):
    """Carries [0, 1] onto [2, 5] in a straight line at constant speed."""

    def encode(self, *condition):
        return None

    def velocity(self, t, x, code):
        return 2 + 2 * (x - 2 * t) / (1 + 2 * t)


def test_uniform_noise_becomes_uniform_data():
    flow = fz.Flow(Stretch(), 1, fz.UniformPrior(0.0, 1.0))
    log_probs = jax.jit(jax.vmap(lambda x: flow.log_prob(x[None], flow.encode())))(jnp.array([2.5, 4.9, 1.9, 5.1]))
    np.testing.assert_allclose(log_probs, [-np.log(3), -np.log(3), -np.inf, -np.inf], rtol=1e-5)


@pytest.fixture
def bent_flow():
    """A flow on the line or in the plane whose field is a network with large weights, so that it bends."""

    def make(dim):
        field = fz.ConditionalField(dim, 1, build=narrow, key=jax.random.key(1))
        return fz.Flow(jax.tree.map(lambda w: 2 * w, field), dim, fz.GaussianPrior(0.2, 0.8), solver=fz.Midpoint(64))

    return make


@pytest.mark.slow
def test_a_density_integrates_to_one(bent_flow):
    flow, grid = bent_flow(1), jnp.linspace(-30, 30, 2001)
    density = jnp.exp(jax.jit(jax.vmap(lambda x: flow.log_prob(x[None], flow.encode(jnp.array([0.5])))))(grid))
    assert np.std(density[density > 1e-3]) > 0.01  # a density with a shape, not one that is flat or off the grid
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_a_density_is_the_change_of_variables(bent_flow):
    r"""$\log p_1(\psi(x_0)) + \log \lvert \det \partial \psi / \partial x_0 \rvert = \log p_0(x_0)$."""
    flow, condition, x0 = bent_flow(2), jnp.array([0.5]), jnp.array([0.3, -1.1])
    code = flow.encode(condition)
    volume = jnp.linalg.slogdet(jax.jacfwd(lambda x: flow.push_forward(x, code))(x0))[1]
    log_prob = flow.log_prob(flow.push_forward(x0, code), code)
    assert abs(volume) > 0.05
    np.testing.assert_allclose(log_prob + volume, flow.prior.log_prob(x0), atol=1e-3)


@pytest.mark.slow
def test_hutchinson_estimates_the_density_without_bias(bent_flow):
    flow, condition, x = bent_flow(2), jnp.array([0.5]), jnp.array([0.4, -0.2])
    exact = flow.log_prob(x, flow.encode(condition), solver=fz.Midpoint(8))

    def estimate(key):
        return flow.log_prob(
            x, flow.encode(condition), divergence=fz.HutchinsonDivergence(), solver=fz.Midpoint(8), key=key
        )

    draws = jax.jit(jax.vmap(estimate))(jax.random.split(jax.random.key(0), 1024))
    assert np.std(draws) > 0
    assert abs(np.mean(draws) - exact) < 6 * np.std(draws) / np.sqrt(1024)
    with pytest.raises(ValueError, match="`key` must be given"):
        flow.log_prob(x, flow.encode(condition), divergence=fz.HutchinsonDivergence())


def test_a_sample_is_pushed_forward_noise(bent_flow):
    flow, condition = bent_flow(2), jnp.array([0.5])
    noise = flow.prior.sample(jax.random.key(3), (2,))
    np.testing.assert_array_equal(
        flow.sample(jax.random.key(3), flow.encode(condition)), flow.push_forward(noise, flow.encode(condition))
    )


def test_the_curvature_of_a_flow_is_that_of_its_way(bent_flow):
    flow, x0 = bent_flow(2), jnp.array([0.3, -1.1])
    code = flow.encode(jnp.array([0.5]))
    assert flow.curvature(x0, code) == fz.path_curvature(flow.trajectory(x0, code)) > 0


def test_a_flow_without_coordinates_is_refused():
    with pytest.raises(ValueError, match="`dim` must be at least 1; got 0"):
        fz.Flow(Stretch(), 0)


@pytest.mark.slow
def test_one_bad_point_of_a_batch_of_densities_is_bad_alone(getkey):
    """By the default solver, whose steps adapt."""
    flow = fz.Flow(fz.ConditionalField(2, 1, build=narrow, key=getkey()), 2)
    good, bad = jnp.array([[0.5, -1.0], [2.0, 0.0]]), jnp.array([[jnp.nan, 0.0], [jnp.inf, 1.0]])
    log_probs = jax.jit(jax.vmap(lambda x: flow.log_prob(x, flow.encode(jnp.array([0.25])))))
    found = log_probs(jnp.concatenate([good, bad]))
    np.testing.assert_allclose(found[:2], log_probs(good), rtol=1e-5)
    assert not np.isfinite(found[2:]).any()
