"""Laws of noise priors."""

import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.protocols import NoisePrior
from floqzoo.testing.closeness import assert_close, compiled
from floqzoo.testing.examples import Example, magnitudes


DRAWS = 2**14
FALSE_ALARM = 1e-9


def draws_have_the_requested_shape(prior: NoisePrior, example: Example) -> None:
    """The sample returned by `sample(key, shape)` has the requested shape, and is finite."""
    for shape in ((), (3,), (2, 3)):
        sample = compiled(_draw, prior, example.key, shape)
        assert sample.shape == shape, f"shape {sample.shape} instead of {shape}"
        assert np.isfinite(sample).all()


def a_key_decides_the_draw(prior: NoisePrior, example: Example) -> None:
    """The same key gives the same draws, and a different key gives different ones."""
    draw, again = (compiled(_draw, prior, example.key, (8,)) for _ in range(2))
    other = compiled(_draw, prior, jax.random.key(example.seed + 1), (8,))
    np.testing.assert_array_equal(draw, again)
    assert not np.array_equal(draw, other), "two keys gave the same draws"


def log_density_sums_over_coordinates(prior: NoisePrior, example: Example) -> None:
    r"""The coordinates are independent: $\log p(x) = \sum_i \log p(x_i)$, and this scalar is finite for every draw."""
    whole, parts = compiled(_log_prob_and_parts, prior, example.key)
    assert_close(whole, np.sum(parts))


def every_point_has_a_log_density(prior: NoisePrior, example: Example) -> None:
    r"""$\log p(x)$ is below infinity and has a finite gradient at every finite point, from 0 to the largest
    representable numbers.

    Where the density is 0, $\log p(x)$ is $-\infty$, with a gradient of 0.
    """
    for size in magnitudes(example.x0.dtype):
        for x in (size, -size):
            density, gradient = compiled(_log_prob_and_gradient, prior, jnp.full_like(example.x0, x))
            assert density < np.inf and np.isfinite(gradient).all(), (
                f"log-density {density}, gradient {gradient} at {x}"
            )


def density_integrates_to_one(prior: NoisePrior, example: Example) -> None:
    r"""$\int p(x) \, dx = 1$ in one dimension."""
    grid, density = _density(prior, example)
    # A jump of the density costs the trapezoid rule at most a cell.
    tolerance = 2 * float(grid[1] - grid[0]) * float(density.max()) + 1e-4
    assert abs(np.trapezoid(density, grid) - 1) < tolerance, f"integral {np.trapezoid(density, grid)}"


def draws_follow_the_density(prior: NoisePrior, example: Example) -> None:
    r"""$\sup_x |F_n(x) - F(x)| \le \sqrt{\ln(2 / \alpha) / 2n}$, where $F_n$ is the empirical distribution function of
    $n$ draws, and $F$ is the integral of the density.

    This is the Dvoretzky-Kiefer-Wolfowitz bound, with a false-alarm rate of $\alpha = 10^{-9}$.
    """
    grid, density = _density(prior, example)
    cells = np.diff(grid) * (density[1:] + density[:-1]) / 2
    draws = np.sort(np.asarray(compiled(_draw, prior, example.key, (DRAWS,)), dtype=np.float64))
    cumulative = np.interp(draws, grid, np.append(0.0, np.cumsum(cells)))
    rank = np.arange(DRAWS + 1) / DRAWS
    distance = max(np.max(rank[1:] - cumulative), np.max(cumulative - rank[:-1]))
    bound = np.sqrt(np.log(2 / FALSE_ALARM) / (2 * DRAWS)) + cells.max()
    assert distance < bound, f"distance {distance}, above {bound}"


def coordinates_are_drawn_independently(prior: NoisePrior, example: Example) -> None:
    r"""The coordinates of a draw are uncorrelated: over $n$ draws, the sample correlation $\hat\rho$ satisfies
    $|\hat\rho| \le 6 / \sqrt n$, which is six standard errors."""
    x = np.asarray(compiled(_draw, prior, example.key, (DRAWS, 2)), dtype=np.float64)
    correlation = np.asarray(np.corrcoef(x.T))[0, 1]
    assert abs(correlation) < 6 / np.sqrt(DRAWS), f"correlation {correlation}"


def _density(prior: NoisePrior, example: Example) -> tuple[np.ndarray, np.ndarray]:
    """A grid, and the density on it, in one dimension; the grid extends beyond the draws by three times their range on
    either side."""
    grid, density = compiled(_grid_and_density, prior, jax.random.key(example.seed + 1))
    return np.asarray(grid, dtype=np.float64), np.asarray(density, dtype=np.float64)


def _draw(prior: NoisePrior, key, shape):
    return prior.sample(key, shape)


def _log_prob_and_parts(prior: NoisePrior, key):
    x = prior.sample(key, (3,))
    return prior.log_prob(x), jnp.stack([prior.log_prob(x[i : i + 1]) for i in range(3)])


def _log_prob_and_gradient(prior: NoisePrior, x):
    return jax.value_and_grad(prior.log_prob)(x)


def _grid_and_density(prior: NoisePrior, key):
    draws = prior.sample(key, (DRAWS,))
    width = jnp.ptp(draws)
    grid = jnp.linspace(jnp.min(draws) - 3 * width, jnp.max(draws) + 3 * width, DRAWS)
    return grid, jnp.exp(jax.vmap(prior.log_prob)(grid[:, None]))


prior_laws = (
    draws_have_the_requested_shape,
    a_key_decides_the_draw,
    log_density_sums_over_coordinates,
    every_point_has_a_log_density,
    density_integrates_to_one,
    draws_follow_the_density,
    coordinates_are_drawn_independently,
)
