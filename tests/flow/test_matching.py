"""Conditional and marginal flow matching, exactly, on distributions of a few points."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from jax.scipy.stats import norm

import floqzoo as fz
from floqzoo.testing.families import narrow


POINTS = np.array([-1.0, 0.0, 1.0])
# Times at which both ends weigh the same, so that different pairs meet at one point: there the marginal velocity is a
# true mean.
MEETINGS = [(fz.LinearPath, 0.5), (lambda: fz.OptimalTransportPath(0.5), 2 / 3), (fz.TrigonometricPath, 0.5)]
over_meetings = pytest.mark.parametrize(
    ("make", "t"), MEETINGS, ids=["LinearPath", "OptimalTransportPath", "TrigonometricPath"]
)
couplings = st.lists(st.integers(1, 9), min_size=9, max_size=9).map(lambda w: np.array(w).reshape(3, 3) / sum(w))


class Table(eqx.Module):
    """A field that knows nothing but its value at each of some points."""

    points: jax.Array
    values: jax.Array

    def encode(self, *condition):
        return None

    def velocity(self, t, x, code):
        return self.values[jnp.argmin(jnp.abs(self.points - x))][None]


def flow_of(field, path):
    return fz.Flow(field, 1, path=path)


def pairs(path, t):
    """Where each pair of noise and data is at time t, and how fast."""
    points = [[path.at(t, jnp.asarray([x0]), jnp.asarray([x1])) for x1 in POINTS] for x0 in POINTS]
    return np.array([[[p.x[0], p.velocity[0]] for p in row] for row in points]).transpose(2, 0, 1)


def marginal(path, t, coupling):
    """Every place where the path may be, its probability, and the mean velocity there."""
    x, velocity = (values.ravel() for values in pairs(path, t))
    places, which = np.unique(np.round(x, 9), return_inverse=True)
    mass = np.bincount(which, coupling.ravel())
    return places, mass, np.bincount(which, coupling.ravel() * velocity) / mass


@eqx.filter_jit
def conditional_loss(flow, t, coupling, code):
    def of_pair(x0, x1):
        return flow.matching_loss(t, x0[None], x1[None], code)

    points = jnp.asarray(POINTS)
    losses = jax.vmap(lambda x0: jax.vmap(lambda x1: of_pair(x0, x1))(points))(points)
    return jnp.sum(coupling * losses)


@eqx.filter_jit
def marginal_loss(flow, t, places, mass, velocities, code):
    found = jax.vmap(lambda x: flow.field.velocity(t, x[None], code)[0])(places)
    return jnp.sum(mass * (found - velocities) ** 2)


@pytest.fixture(scope="module")
def network():
    with jax.enable_x64(True):
        yield fz.ConditionalField(1, 1, build=narrow, key=jax.random.key(0))


@pytest.mark.usefixtures("double")
@over_meetings
@given(couplings)
def test_both_losses_have_one_gradient(network, make, t, coupling):
    r"""$\nabla_\theta \mathbb E (v_\theta(x_t) - \dot x_t)^2 = \nabla_\theta \mathbb E (v_\theta(x_t) - u_t(x_t))^2$.

    For any coupling of three noise samples and three data points, independent or not.
    """
    path, condition = make(), jnp.array([0.3])
    places, mass, velocities = marginal(path, t, coupling)

    def conditional(field):
        return conditional_loss(flow_of(field, path), t, coupling, field.encode(condition))

    def of_marginal(field):
        return marginal_loss(flow_of(field, path), t, places, mass, velocities, field.encode(condition))

    ours, theirs = eqx.filter_grad(conditional)(network), eqx.filter_grad(of_marginal)(network)
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-10)


@pytest.mark.usefixtures("double")
@over_meetings
@given(couplings, st.lists(st.integers(-8, 8), min_size=9, max_size=9))
def test_the_best_field_is_the_conditional_expectation(make, t, coupling, detour):
    r"""$\mathcal L(v) - \mathcal L(u) = \mathbb E (v(x_t) - u_t(x_t))^2$ for any $v$: $u$ is the one minimiser."""
    path = make()
    places, mass, best = marginal(path, t, coupling)
    other = best + np.array(detour[: len(best)]) / 8

    def loss(values):
        return conditional_loss(flow_of(Table(jnp.asarray(places), jnp.asarray(values)), path), t, coupling, None)

    np.testing.assert_allclose(loss(other) - loss(best), np.sum(mass * (other - best) ** 2), atol=1e-12)
    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(best)), 0, atol=1e-12)


def test_the_pairs_meet():
    """Else the two tests above would say nothing."""
    for make, t in MEETINGS:
        places, _, _ = marginal(make(), t, np.full((3, 3), 1 / 9))
        assert len(places) < 9


@pytest.mark.parametrize("dim", [1, 3])
def test_the_loss_is_a_mean_over_coordinates(dim, getkey):
    x0, x1, gap = (jax.random.normal(getkey(), (dim,)) for _ in range(3))

    class Constant(eqx.Module):
        def encode(self, *condition):
            return None

        def velocity(self, t, x, code):
            return x1 - x0 + gap

    loss = fz.Flow(Constant(), dim).matching_loss(0.25, x0, x1, None)
    np.testing.assert_allclose(loss, np.mean(np.square(gap)), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("make", [path for path, _ in MEETINGS] + [fz.VariancePreservingPath])
@given(st.floats(0.1, 0.9), st.floats(0.05, 0.95), st.floats(-2, 2))
def test_a_mixture_is_carried_by_the_mixture_of_its_fields(make, share, t, x):
    r"""$\sum_k \lambda_k p_k u_k / p$ obeys the continuity equation of $p = \sum_k \lambda_k p_k$."""
    path, shares, data = make(), jnp.array([share, 1 - share]), jnp.array([-1.5, 0.5])

    def log_densities(t, x):
        c = path.coefficients(t)
        return norm.logpdf(x, c.alpha * data, c.beta)

    def log_density(t, x):
        return jax.nn.logsumexp(log_densities(t, x) + jnp.log(shares))

    def velocity(x):
        weights = jax.nn.softmax(log_densities(t, x) + jnp.log(shares))
        each = jnp.stack([path.conditional_velocity(t, x[None], end[None])[0] for end in data])
        return jnp.sum(weights * each)

    x, t = jnp.asarray(x), jnp.asarray(t)
    change, slope = jax.grad(log_density, (0, 1))(t, x)
    terms = jnp.stack([change, velocity(x) * slope, jax.grad(velocity)(x)])
    assert abs(jnp.sum(terms)) < 1e-9 * (1 + jnp.max(jnp.abs(terms)))
