"""Laws of probability paths, and additional laws of affine paths, alpha x1 + beta x0."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from floqzoo.flow.path import AffinePath
from floqzoo.protocols import ProbabilityPath
from floqzoo.testing.closeness import assert_close, assert_rows_are_mapped, compiled, mapped
from floqzoo.testing.examples import Example, magnitudes
from floqzoo.typing import Point


def starts_at_its_noise(path: ProbabilityPath, example: Example) -> None:
    r"""$x_{t=0} = x_0$, up to the path's `end_error`."""
    _assert_reaches(path, example, 0.0, example.x0)


def ends_at_its_data(path: ProbabilityPath, example: Example) -> None:
    r"""$x_{t=1} = x_1$, up to the path's `end_error`."""
    _assert_reaches(path, example, 1.0, example.x1)


def velocity_is_the_rate_of_change(path: ProbabilityPath, example: Example) -> None:
    r"""The velocity that the path returns is the time derivative of its point: $\dot x_t = \frac{d}{dt} x_t$."""
    velocity, rate = compiled(_velocity_and_rate, path, example.t, example.x0, example.x1)
    assert_close(velocity, rate)


def conditional_velocity_is_the_rate_given_the_data_end(path: ProbabilityPath, example: Example) -> None:
    r"""$u_t(x | x_1) = \mathbb E[\dot x_t \mid x_t = x, x_1]$.

    Given $x_1$, the point $x_t$ determines the noise, so the expectation is over a single path and equals its
    velocity: $u_t(x_t | x_1) = \dot x_t$.
    """
    marginal, slope, velocity = compiled(_marginal_velocity_and_slope, path, example.t, example.x0, example.x1)
    # The velocity is found from a difference of points, whose rounding the slope magnifies.
    assert_close(marginal, velocity, scale=np.abs(slope).max() * _size(example))


def conditional_density_obeys_the_continuity_equation(path: ProbabilityPath, example: Example) -> None:
    r"""$\frac{d}{dt} \log \left| \det \frac{\partial x_t}{\partial x_0} \right| = \nabla \cdot u_t(x_t | x_1)$.

    This is the continuity equation $\partial_t p_t + \nabla \cdot (p_t u_t) = 0$ for the density $p_t$ of $x_t$ given
    $x_1$, evaluated along the path. It holds for any density of the noise.
    """
    expansion, growth = compiled(_expansion_and_growth, path, example.t, example.x0, example.x1)
    assert_close(expansion, growth)


def distant_ends_stay_finite(path: ProbabilityPath, example: Example) -> None:
    r"""For endpoints of up to $1 / 128$ of the largest representable number, the point, the velocity and their
    gradients with respect to the endpoints are finite.

    In float32, this limit is $2.6 \times 10^{36}$. For larger endpoints, a path that does not clip them may overflow: the
    velocity $x_1 - x_0$ of a straight path can be twice as large as its endpoints, and other paths have larger
    coefficients. An `AffinePath` clips its endpoints, and stays finite for all of them, as another law requires.
    """
    far = float(jnp.finfo(example.x0.dtype).max) / 128
    for x0, x1 in ((far, -far), (-far, 0.0), (0.0, far), (far, far)):
        ends = jnp.full_like(example.x0, x0), jnp.full_like(example.x1, x1)
        found = compiled(_point_and_gradients, path, example.t, *ends)
        assert all(np.isfinite(leaf).all() for leaf in found), f"{found} between {x0} and {x1}"


def a_batch_of_paths_is_its_rows(path: ProbabilityPath, example: Example) -> None:
    """`jax.vmap` over noise samples gives the same paths as computing them one by one."""
    rows = jnp.stack([example.x0, example.x1])
    assert_rows_are_mapped(_point_velocity_and_marginal, rows, path, example.t, example.x1)


def marginal_density_obeys_the_continuity_equation(path: AffinePath, example: Example) -> None:
    r"""$\partial_t \log p_t + u_t \, \partial_x \log p_t + \partial_x u_t = 0$ for data $x_1 \sim N(m, s^2)$.

    This is checked in one dimension with noise $x_0 \sim N(0, 1)$, so the density is
    $p_t = N(\alpha_t m, \alpha_t^2 s^2 + \beta_t^2)$. The marginal velocity
    $u_t(x) = \mathbb E[u_t(x | x_1) \mid x_t = x]$ equals $u_t(x | \mathbb E[x_1 | x_t = x])$, because
    $u_t(x | x_1)$ is affine in $x_1$.
    """
    terms = compiled(_continuity_of_gaussian_data, path, example.t, example.x0[0], example.x1[0], example.x1[1])
    # If all three terms are small, as at the start of a diffusion, they are differences of large rates.
    rates = compiled(_coefficients, path, example.t)
    assert_close(jnp.sum(terms), 0.0, scale=np.stack([*np.asarray(terms), *(np.asarray(rate) for rate in rates)]))


def the_ends_of_time_are_finite(path: AffinePath, example: Example) -> None:
    r"""At $t = 0$ and $t = 1$, the results of all methods, and their derivatives with respect to the time and both
    points, are finite for every finite pair of points, up to the largest representable numbers.

    The methods are `at`, `conditional_velocity`, `velocity_of_noise`, `ends_of` and `noise_error_weight`. Near a
    singularity, values may be large, such as $(x_1 - x) / (1 - t)$ just below $t = 1$, but must be finite.
    """
    _assert_finite(path, 0.0, example)
    _assert_finite(path, 1.0, example)


def nothing_overflows_between_the_ends(path: AffinePath, example: Example) -> None:
    """For $0 < t < 1$, the results of all methods and their derivatives are finite for every finite pair of points, as
    they are at the ends."""
    _assert_finite(path, float(example.t), example)


def a_path_scales_with_its_points(path: AffinePath, example: Example) -> None:
    r"""If both points are multiplied by a number, so are the results of `at`, `conditional_velocity`,
    `velocity_of_noise` and `ends_of`.

    The number is $2^{60}$, about $10^{18}$. Points must not be clipped below this size.
    """
    far = 2.0**60
    found = compiled(_of_all_methods, path, example.t, far * example.x0, far * example.x1)
    expected = compiled(_of_all_methods, path, example.t, example.x0, example.x1)
    assert_close(found / far, expected, scale=_conditioning(path, example))


def noise_shrinks_as_data_grow(path: AffinePath, example: Example) -> None:
    r"""$\alpha_t$ increases and $\beta_t$ decreases, and both are positive for $0 < t < 1$."""
    early, late = sorted((example.s, example.t))
    (alpha, beta, *_), (later_alpha, later_beta, *_) = (compiled(_coefficients, path, t) for t in (early, late))
    assert 0 < alpha < later_alpha, f"alpha goes from {alpha} to {later_alpha}"
    assert beta > later_beta > 0, f"beta goes from {beta} to {later_beta}"


def the_end_error_is_what_is_left_of_the_other_end(path: AffinePath, example: Example) -> None:
    r"""$\max(\alpha_0, \beta_1)$ is the path's `end_error`, or 0 if the path has no such attribute."""
    (alpha, *_), (_, beta, *_) = (compiled(_coefficients, path, jnp.full_like(example.t, end)) for end in (0.0, 1.0))
    assert_close(np.maximum(alpha, beta), float(getattr(path, "end_error", 0.0)))


def ends_are_recovered_from_point_and_velocity(path: AffinePath, example: Example) -> None:
    r"""`ends_of` inverts `at`: it recovers $(x_0, x_1)$ from $(x_t, \dot x_t)$."""
    recovered = compiled(_recovered_ends, path, example.t, example.x0, example.x1)
    assert_close(recovered, np.stack([example.x0, example.x1]), scale=_conditioning(path, example))


def the_noise_of_a_point_determines_its_velocity(path: AffinePath, example: Example) -> None:
    r"""`velocity_of_noise` returns $\dot x_t$, given the point $x_t$ and its noise $x_0$."""
    found, velocity = compiled(_velocity_of_noise, path, example.t, example.x0, example.x1)
    assert_close(found, velocity, scale=_conditioning(path, example))


def noise_errors_are_weighted_velocity_errors(path: AffinePath, example: Example) -> None:
    r"""If two velocities at the same point differ by $e$, the corresponding noise predictions differ by $e'$ with
    $e'^2 = w_t e^2$, where $w_t$ is the path's `noise_error_weight`."""
    weight, difference = compiled(_weight_and_difference, path, example.t, example.x0, example.x1)
    assert_close(weight * difference**2, np.ones_like(difference), scale=_conditioning(path, example))


def _assert_reaches(path: ProbabilityPath, example: Example, time: float, end: Point) -> None:
    error = float(getattr(path, "end_error", 0.0)) + 8 * float(jnp.finfo(end.dtype).eps)
    x = compiled(_place, path, jnp.full_like(example.t, time), example.x0, example.x1)
    distance = np.abs(x - end).max()
    assert distance <= error * _size(example), f"distance {distance} from the end at time {time}"


def _assert_finite(path: AffinePath, time: float, example: Example) -> None:
    """Checks all methods and their derivatives, at one time, for pairs of points of all magnitudes and signs."""
    dtype = example.x0.dtype
    numbers = [sign * size for size in magnitudes(dtype) for sign in (1, -1)]
    pairs = np.asarray([(x, y) for x in numbers for y in numbers], dtype)
    x0, x1 = (jnp.asarray(np.repeat(column[:, None], example.x0.size, 1)) for column in pairs.T)
    found = mapped(_all_and_gradients, (jnp.full(len(pairs), time, example.t.dtype), x0, x1), path)
    for leaf in map(np.asarray, found):
        wrong = ~np.isfinite(leaf).reshape(len(pairs), -1).all(1)
        assert not wrong.any(), f"{leaf[wrong][0]} at time {time} for the points {pairs[wrong][0]}"


def _size(example: Example) -> float:
    return 1 + float(np.abs(example.x0).max() + np.abs(example.x1).max())


def _conditioning(path: AffinePath, example: Example) -> float:
    """The factor by which conversions between noise, data and velocity amplify rounding errors."""
    alpha, beta, *rates = (abs(float(number)) for number in compiled(_coefficients, path, example.t))
    return _size(example) * (1 + max(alpha, beta, *rates)) ** 2 / min(alpha, beta)


def _place(path: ProbabilityPath, t, x0, x1):
    return path.at(t, x0, x1).x


def _velocity_and_rate(path: ProbabilityPath, t, x0, x1):
    return path.at(t, x0, x1).velocity, jax.jvp(lambda t: path.at(t, x0, x1).x, (t,), (jnp.ones_like(t),))[1]


def _marginal_velocity_and_slope(path: ProbabilityPath, t, x0, x1):
    point = path.at(t, x0, x1)
    slope = jax.jacfwd(lambda x: path.conditional_velocity(t, x, x1))(point.x)
    return path.conditional_velocity(t, point.x, x1), slope, point.velocity


def _expansion_and_growth(path: ProbabilityPath, t, x0, x1):
    def log_volume(t):
        return jnp.linalg.slogdet(jax.jacfwd(lambda x0: path.at(t, x0, x1).x)(x0))[1]

    jacobian = jax.jacfwd(lambda x: path.conditional_velocity(t, x, x1))(path.at(t, x0, x1).x)
    return jnp.trace(jacobian), jax.jvp(log_volume, (t,), (jnp.ones_like(t),))[1]


def _both(path: ProbabilityPath, t, x0, x1):
    point = path.at(t, x0, x1)
    return jnp.concatenate([point.x, point.velocity])


def _point_and_gradients(path: ProbabilityPath, t, x0, x1):
    return _both(path, t, x0, x1), *jax.jacrev(_both, (2, 3))(path, t, x0, x1)


def _point_velocity_and_marginal(x0, path: ProbabilityPath, t, x1):
    point = path.at(t, x0, x1)
    return jnp.stack([point.x, point.velocity, path.conditional_velocity(t, x0, x1)])


def _continuity_of_gaussian_data(path: AffinePath, t, x, mean, number):
    """The three terms of the continuity equation, for data with standard deviation 1/4 + |number|."""
    deviation = 0.25 + jnp.abs(number)

    def moments(t):
        c = path.coefficients(t)
        return c.alpha * mean, c.alpha * deviation**2, (c.alpha * deviation) ** 2 + c.beta**2

    def log_density(t, x):
        centre, _, variance = moments(t)
        return norm.logpdf(x, centre, jnp.sqrt(variance))

    def velocity(x):
        centre, covariance, variance = moments(t)
        data = mean + covariance / variance * (x - centre)
        return path.conditional_velocity(t, x[None], data[None])[0]

    change, slope = jax.grad(log_density, (0, 1))(t, x)
    return jnp.stack([change, velocity(x) * slope, jax.grad(velocity)(x)])


def _of_all_methods(path: AffinePath, t, x, y):
    ends = path.ends_of(t, x, y)
    velocities = path.conditional_velocity(t, x, y), path.velocity_of_noise(t, x, y)
    return jnp.concatenate([_both(path, t, x, y), *velocities, ends.x0, ends.x1])


def _all_and_gradients(row, path: AffinePath):
    def all_of(t, x, y):
        return jnp.append(_of_all_methods(path, t, x, y), path.noise_error_weight(t))

    # Gradients of a sum would add what is finite to infinity.
    return all_of(*row), *jax.jacrev(all_of, (0, 1, 2))(*row)


def _coefficients(path: AffinePath, t):
    c = path.coefficients(t)
    return [jnp.asarray(number, dtype=float) for number in (c.alpha, c.beta, c.alpha_rate, c.beta_rate)]


def _recovered_ends(path: AffinePath, t, x0, x1):
    point = path.at(t, x0, x1)
    ends = path.ends_of(t, point.x, point.velocity)
    return jnp.stack([ends.x0, ends.x1])


def _velocity_of_noise(path: AffinePath, t, x0, x1):
    point = path.at(t, x0, x1)
    return path.velocity_of_noise(t, point.x, x0), point.velocity


def _weight_and_difference(path: AffinePath, t, x0, x1):
    difference = path.velocity_of_noise(t, x1, x0) - path.velocity_of_noise(t, x1, x0 + 1)
    return path.noise_error_weight(t), difference


path_laws = (
    starts_at_its_noise,
    ends_at_its_data,
    velocity_is_the_rate_of_change,
    conditional_velocity_is_the_rate_given_the_data_end,
    conditional_density_obeys_the_continuity_equation,
    distant_ends_stay_finite,
    a_batch_of_paths_is_its_rows,
)

affine_path_laws = (
    the_ends_of_time_are_finite,
    nothing_overflows_between_the_ends,
    a_path_scales_with_its_points,
    marginal_density_obeys_the_continuity_equation,
    noise_shrinks_as_data_grow,
    the_end_error_is_what_is_left_of_the_other_end,
    ends_are_recovered_from_point_and_velocity,
    the_noise_of_a_point_determines_its_velocity,
    noise_errors_are_weighted_velocity_errors,
)
