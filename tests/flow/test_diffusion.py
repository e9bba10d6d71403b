"""Diffusion as a flow: noise predictions, their errors, and DDIM."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import floqzoo as fz
from floqzoo.flow import DDIM, NoisePrediction, UniformTimeUntil
from floqzoo.testing import Sizes, assert_close, every_path, examples


BENT = (fz.VariancePreservingPath(), fz.TrigonometricPath())


@pytest.mark.parametrize("path", BENT, ids=lambda path: type(path).__name__)
@given(example=examples(Sizes()))
def test_a_point_and_its_velocity_tell_the_ends(path, example):
    point = path.at(example.t, example.x0, example.x1)
    ends = path.ends_of(example.t, point.x, point.velocity)
    c = path.coefficients(example.t)
    condition = 1 / abs(c.alpha_rate * c.beta - c.alpha * c.beta_rate)
    size = float(condition * (jnp.abs(point.x).max() * abs(c.alpha_rate) + jnp.abs(point.velocity).max()))
    assert_close(ends.x0, example.x0, scale=size)
    assert_close(ends.x1, example.x1, scale=size + float(condition * abs(c.beta_rate) * jnp.abs(point.x).max()))


@pytest.mark.parametrize("path", BENT, ids=lambda path: type(path).__name__)
@given(example=examples(Sizes()))
def test_the_noise_of_a_point_gives_its_velocity(path, example):
    point = path.at(example.t, example.x0, example.x1)
    c = path.coefficients(example.t)
    scale = float(c.alpha_rate / c.alpha * (jnp.abs(point.x).max() + 1))
    assert_close(path.velocity_of_noise(example.t, point.x, example.x0), point.velocity, scale=scale)


@pytest.mark.parametrize("path", BENT, ids=lambda path: type(path).__name__)
@given(example=examples(Sizes()))
def test_the_weight_turns_errors_of_velocity_into_errors_of_noise(path, example):
    x = example.x0
    first, second = (path.velocity_of_noise(example.t, x, noise) for noise in (example.x0, example.x1))
    error = path.noise_error_weight(example.t) * jnp.sum((first - second) ** 2)
    # Both velocities have the point's own share, whose rounding the weight magnifies.
    shared = float(path.noise_error_weight(example.t) * jnp.max(jnp.abs(first)) * jnp.max(jnp.abs(first - second)))
    assert_close(error, jnp.sum((example.x0 - example.x1) ** 2), scale=shared + 1)


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("path", [fz.LinearPath(), *BENT], ids=lambda path: type(path).__name__)
def test_ddim_follows_a_path_to_its_end_in_any_number_of_steps(path, steps):
    start, end = jnp.array([0.5, -1.0]), jnp.array([2.0, 1.0])

    def velocity(t, x):
        del x
        return path.at(t, start, end).velocity

    arrived = DDIM(steps, path).solve(velocity, path.at(0.0, start, end).x)
    np.testing.assert_allclose(arrived, end, atol=1e-3)


def test_on_the_straight_path_ddim_is_euler(getkey):
    x0 = jax.random.normal(getkey(), (3,))

    def velocity(t, x):
        return jnp.sin(3 * x) * t

    assert_close(DDIM(5, fz.LinearPath()).solve(velocity, x0), fz.Euler(5).solve(velocity, x0))


def test_a_field_that_knows_the_noise_is_a_diffusion(getkey):
    r"""For data $N(m, s^2)$ the best prediction is $\beta (x - \alpha m) / (\alpha^2 s^2 + \beta^2)$, and DDIM draws the data."""
    path, mean, deviation = fz.VariancePreservingPath(), 1.5, 0.4

    class Oracle:
        def encode(self, *condition):
            return jnp.zeros(())

        def velocity(self, t, x, code):
            c = path.coefficients(t)
            return c.beta * (x - c.alpha * mean) / (c.alpha**2 * deviation**2 + c.beta**2)

    flow = fz.Flow(NoisePrediction(Oracle(), path), 1, path=path, solver=DDIM(400, path))
    noise = jnp.linspace(-2, 2, 9)[:, None]
    ends = jax.jit(jax.vmap(lambda x: flow.push_forward(x, flow.encode())))(noise)
    # The flow of a Gaussian is affine: noise z ends in mean + deviation * z, up to the steps' error and alpha at 0.
    np.testing.assert_allclose(ends[:, 0], mean + deviation * noise[:, 0], atol=0.02)
    log_prob = eqx.filter_jit(flow.log_prob)(jnp.array([mean]), flow.encode())
    np.testing.assert_allclose(log_prob, -np.log(deviation * np.sqrt(2 * np.pi)), atol=0.02)


def test_the_last_noise_level_is_kept_from_the_singularity():
    times = UniformTimeUntil(0.999).sample_times(jax.random.key(0), (4096,))
    assert 0 <= times.min() < 0.01 < 0.99 < times.max() < 0.999


@pytest.mark.parametrize("end", [0.0, 1.5, np.nan])
def test_an_end_outside_of_the_unit_interval_is_refused(end):
    with pytest.raises(ValueError, match="`end` must be in"):
        UniformTimeUntil(end)


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_a_diffusion_ends_before_its_singularity(end):
    with pytest.raises(ValueError, match="`end` must be in"):
        NoisePrediction(fz.ConditionalField(1, 1, key=jax.random.key(0)), end=end)


def test_every_path_has_been_asked():
    assert len(every_path) == 4  # a new path belongs above
