"""What every probability path promises, and what those of the form alpha x1 + beta x0 promise beyond."""

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from floqzoo.flow.path import AffinePath
from floqzoo.protocols import ProbabilityPath
from floqzoo.testing.closeness import assert_close, assert_rows_are_mapped
from floqzoo.testing.examples import Example
from floqzoo.typing import Point, Scalar, Time


def starts_at_its_noise(path: ProbabilityPath, example: Example) -> None:
    r"""$x_{t=0} = x_0$, up to the share of the other end that the path states as its `end_error`."""
    _assert_reaches(path, example, 0.0, example.x0)


def ends_at_its_data(path: ProbabilityPath, example: Example) -> None:
    r"""$x_{t=1} = x_1$, up to the share of the other end that the path states as its `end_error`."""
    _assert_reaches(path, example, 1.0, example.x1)


def velocity_is_the_rate_of_change(path: ProbabilityPath, example: Example) -> None:
    r"""$\dot x_t = \frac{d}{dt} x_t$."""
    point, rate = _along_time(lambda t: path.at(t, example.x0, example.x1).x, example.t)
    assert point.shape == example.x0.shape, f"shape {point.shape} instead of {example.x0.shape}"
    assert_close(path.at(example.t, example.x0, example.x1).velocity, rate)


def marginal_velocity_is_the_mean_conditional_velocity(path: ProbabilityPath, example: Example) -> None:
    r"""$u_t(x | x_1) = \mathbb E[\dot x_t \mid x_t = x, x_1]$.

    Given the data end, the point at time $t$ tells the noise that it came from, so the mean is over one path:
    $u_t(x_t | x_1) = \dot x_t$.
    """
    point = path.at(example.t, example.x0, example.x1)
    # The velocity is found from a difference of points, whose rounding is magnified as the ends come near.
    scale = jnp.max(jnp.abs(jax.jacfwd(lambda x: path.marginal_velocity(example.t, x, example.x1))(point.x)))
    assert_close(path.marginal_velocity(example.t, point.x, example.x1), point.velocity, scale=scale * _size(example))


def conditional_density_obeys_the_continuity_equation(path: ProbabilityPath, example: Example) -> None:
    r"""$\frac{d}{dt} \log \left| \det \frac{\partial x_t}{\partial x_0} \right| = \nabla \cdot u_t(x_t | x_1)$.

    The continuity equation $\partial_t p_t + \nabla \cdot (p_t u_t) = 0$ for the density of $x_t$ given $x_1$,
    written along the path, whatever the density of the noise.
    """

    def log_volume(t: Time) -> Scalar:
        return jnp.linalg.slogdet(jax.jacfwd(lambda x0: path.at(t, x0, example.x1).x)(example.x0))[1]

    _, growth = _along_time(log_volume, example.t)
    point = path.at(example.t, example.x0, example.x1)
    jacobian = jax.jacfwd(lambda x: path.marginal_velocity(example.t, x, example.x1))(point.x)
    assert_close(jnp.trace(jacobian), growth)


def a_batch_of_paths_is_its_rows(path: ProbabilityPath, example: Example) -> None:
    """`jax.vmap` over noises is the paths one by one."""
    rows = jnp.stack([example.x0, example.x1, -example.x0])
    assert_rows_are_mapped(_place_and_velocity, rows, path, example.t, example.x1)
    assert_rows_are_mapped(_marginal_velocity, rows, path, example.t, example.x1)


def marginal_density_obeys_the_continuity_equation(path: AffinePath, example: Example) -> None:
    r"""$\partial_t \log p_t + u_t \, \partial_x \log p_t + \partial_x u_t = 0$ for data $x_1 \sim N(m, s^2)$.

    In one dimension and for unit noise, where $p_t = N(\alpha_t m, \alpha_t^2 s^2 + \beta_t^2)$; the marginal velocity
    $\mathbb E[u_t(x | x_1) \mid x_t = x]$ is $u_t(x | \mathbb E[x_1 | x])$, since $u_t(x | x_1)$ is affine in $x_1$.
    """
    mean, deviation = example.x1[:1], 0.25 + jnp.abs(example.x1[-1])

    def moments(t: Time) -> tuple[Float[Array, "1"], Scalar, Scalar]:
        c = path.coefficients(t)
        return c.alpha * mean, c.alpha * deviation**2, (c.alpha * deviation) ** 2 + c.beta**2

    def log_density(t: Time, x: Float[Array, "1"]) -> Scalar:
        centre, _, variance = moments(t)
        return norm.logpdf(x[0], centre[0], jnp.sqrt(variance))

    def velocity(x: Float[Array, "1"]) -> Scalar:
        centre, covariance, variance = moments(example.t)
        return path.marginal_velocity(example.t, x, mean + covariance / variance * (x - centre))[0]

    x = example.x0[:1]
    _, change = _along_time(lambda t: log_density(t, x), example.t)
    transport = velocity(x) * jax.grad(log_density, argnums=1)(example.t, x)[0]
    expansion = jax.grad(velocity)(x)[0]
    assert_close(change + transport + expansion, 0.0, scale=_largest(change, transport, expansion))


def noise_gives_way_to_data(path: AffinePath, example: Example) -> None:
    r"""$\alpha_t$ grows and $\beta_t$ shrinks, both above 0 between the ends."""
    early, late = sorted((example.s, example.t))
    before, after = path.coefficients(early), path.coefficients(late)
    assert 0 < before.alpha < after.alpha, f"alpha goes from {before.alpha} to {after.alpha}"
    assert before.beta > after.beta > 0, f"beta goes from {before.beta} to {after.beta}"


def _place_and_velocity(x0, path: ProbabilityPath, t, x1):
    point = path.at(t, x0, x1)
    return jnp.stack([point.x, point.velocity])


def _marginal_velocity(x, path: ProbabilityPath, t, x1):
    return path.marginal_velocity(t, x, x1)


def ends_are_recovered_from_point_and_velocity(path: AffinePath, example: Example) -> None:
    r"""`ends_of` inverts `at`: $(x_t, \dot x_t)$ gives back $(x_0, x_1)$."""
    point = path.at(example.t, example.x0, example.x1)
    ends = path.ends_of(example.t, point.x, point.velocity)
    assert_close(jnp.stack([ends.x0, ends.x1]), jnp.stack([example.x0, example.x1]), scale=_conditioning(path, example))


def the_noise_of_a_point_tells_its_velocity(path: AffinePath, example: Example) -> None:
    r"""`velocity_of_noise` at $x_t$ and $x_0$ is $\dot x_t$."""
    point = path.at(example.t, example.x0, example.x1)
    velocity = path.velocity_of_noise(example.t, point.x, example.x0)
    assert_close(velocity, point.velocity, scale=_conditioning(path, example))


def errors_of_noise_are_weighed_errors_of_velocity(path: AffinePath, example: Example) -> None:
    r"""Where two velocities at one point differ by $e$, their noises differ by $e'$ with $e'^2 = w_t e^2$."""
    first = path.velocity_of_noise(example.t, example.x1, example.x0)
    second = path.velocity_of_noise(example.t, example.x1, example.x0 + 1)
    weight = path.noise_error_weight(example.t)
    assert_close(weight * (first - second) ** 2, jnp.ones_like(first), scale=_conditioning(path, example))


def _conditioning(path: AffinePath, example: Example) -> Scalar:
    """How much the conversions between noise, data and velocity magnify a rounding."""
    c = path.coefficients(example.t)
    numbers = [jnp.abs(jnp.asarray(x, dtype=float)) for x in (c.alpha, c.beta, c.alpha_rate, c.beta_rate)]
    return _size(example) * (1 + jnp.max(jnp.stack(numbers))) ** 2 / jnp.min(jnp.stack(numbers[:2]))


def _assert_reaches(path: ProbabilityPath, example: Example, time: float, end: Point) -> None:
    error = getattr(path, "end_error", 0.0)
    distance = jnp.max(jnp.abs(path.at(time, example.x0, example.x1).x - end))
    rounding = 8 * jnp.finfo(end.dtype).eps
    assert distance <= (error + rounding) * _size(example), f"distance {distance} from the end at time {time}"


def _along_time(function, t: Scalar):
    """A function of time and its rate of change."""
    return jax.jvp(function, (t,), (jnp.ones_like(t),))


def _size(example: Example) -> Scalar:
    return jnp.max(jnp.abs(example.x0)) + jnp.max(jnp.abs(example.x1)) + 1


def _largest(*terms: Scalar) -> Scalar:
    return jnp.max(jnp.abs(jnp.stack(terms)))


path_laws = (
    starts_at_its_noise,
    ends_at_its_data,
    velocity_is_the_rate_of_change,
    marginal_velocity_is_the_mean_conditional_velocity,
    conditional_density_obeys_the_continuity_equation,
    a_batch_of_paths_is_its_rows,
)

affine_path_laws = (
    marginal_density_obeys_the_continuity_equation,
    noise_gives_way_to_data,
    ends_are_recovered_from_point_and_velocity,
    the_noise_of_a_point_tells_its_velocity,
    errors_of_noise_are_weighed_errors_of_velocity,
)
