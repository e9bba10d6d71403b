r"""The parts of what a small agent may be off by: all are derived but the fit, which is measured.

Networks of 16 units do not reach the minimum of their loss in 1,000 updates, and no theory says by how much they miss it.
So each test module has a table `FIT` of what is left of the errors after the derived parts, over `SEEDS` seeds; the tests
train the first of them. `PYTHONPATH=. python tests/recipes/test_probe_tasks.py` measures it anew.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from floqzoo.protocols import ODESolver


SEEDS, SIGMAS = 24, 4


@dataclass(frozen=True)
class Misses:
    """What answers miss the known ones by, one row a seed, and the derived parts of it by their names."""

    errors: np.ndarray
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def largest(self) -> np.ndarray:
        """The largest error of each seed."""
        assert np.isfinite(self.errors).all()
        return np.abs(self.errors).reshape(len(self.errors), -1).max(axis=1)

    def assert_within(self, fit: float) -> None:
        """No error is larger than its parts and the fit.

        **Raises** `AssertionError` otherwise.
        """
        parts = {**self.parts, "fit": fit}
        told = " + ".join(f"{value:.4f} ({name})" for name, value in parts.items())
        assert self.largest.max() <= sum(parts.values()), f"an error of {self.largest.max():.4f}, with {told}"


def lag(first_error: float, discount: float, tau: float, updates: int) -> float:
    r"""What a target has not yet forgotten of its first error: $e_n = (1 - \tau (1 - \gamma))^n e_0$.

    If the critic is always at its targets, $\bar Q \leftarrow (1 - \tau) \bar Q + \tau (r + \gamma \bar Q)$.
    """
    return first_error * (1 - tau * (1 - discount)) ** updates


def standard_errors(spread: float, draws: int) -> float:
    """`SIGMAS` standard errors of a mean of some draws."""
    return SIGMAS * spread / draws**0.5


def spread_of_share(share: float) -> float:
    """The standard deviation of what is 1 with this chance, and else 0."""
    return (share * (1 - share)) ** 0.5


def exact_ends(solver: ODESolver, atoms: Mapping[float, float], count: int = 20_001) -> np.ndarray:
    """Where a solver ends that follows the exact field from a Gaussian to some points, from each of its quantiles.

    - `atoms`: The points, each with its chance.
    """
    points, logs = np.array(list(atoms)), np.log(list(atoms.values()))

    def velocity(t, x):
        mass = jax.nn.softmax(logs - (x[:, None] - t * points) ** 2 / (2 * (1 - t) ** 2))
        return (mass @ points - x) / (1 - t)

    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        return np.asarray(solver.solve(velocity, jnp.asarray(norm.ppf((np.arange(count) + 0.5) / count))))


def fits(measured: Mapping[str, Callable[[int], Misses]]) -> Iterator[str]:
    """The lines of a table `FIT`, each with the mean, standard deviation and maximum over seeds of their largest error.

    The fit is by what mean and `SIGMAS` standard deviations exceed the derived parts.
    """
    for name, ask in measured.items():
        misses = ask(SEEDS)
        mean, deviation, most = (float(f(misses.largest)) for f in (np.mean, partial(np.std, ddof=1), np.max))
        fit = max(mean + SIGMAS * deviation - sum(misses.parts.values()), 0.0)
        yield f'    "{name}": {fit:.2g},  # {mean:.2g} ± {deviation:.2g}, at most {most:.2g}'
