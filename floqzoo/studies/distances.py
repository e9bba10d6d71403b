"""Distances between two sets of samples."""

import importlib.util

import numpy as np
from jaxtyping import Float


def earth_movers_distance(
    x: Float[np.ndarray, "first dim"], y: Float[np.ndarray, "second dim"], *, squared: bool = False
) -> float:
    r"""Computes the exact earth mover's distance between two sets of samples, with the POT library.

    This is the minimum mean cost of moving one set onto the other: $W_1$ if the cost is the Euclidean distance, or
    $W_2^2$ if it is the squared distance. The text of TD-Flow describes $W_1$, but its formula defines $W_2^2$.

    - `squared`: Whether the cost is the squared distance.

    **Raises** `ModuleNotFoundError` if POT is not installed; `ValueError` if a sample is not finite.

    Source: TD-Flow (arXiv 2503.09817), section 5; POT (pythonot.github.io).
    """
    if importlib.util.find_spec("ot") is None:
        raise ModuleNotFoundError("POT is not installed: pip install 'floqzoo[successor]'.")
    import ot

    x, y = _finite("x", x), _finite("y", y)
    cost = ot.dist(x, y, metric="sqeuclidean" if squared else "euclidean")
    return float(ot.emd2(np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y)), cost))  # pyright: ignore[reportArgumentType]


def maximum_mean_discrepancy(
    x: Float[np.ndarray, "first dim"], y: Float[np.ndarray, "second dim"], *, bandwidth: float
) -> float:
    r"""Estimates $\mathrm{MMD}^2$ with the kernel $\exp(-\lVert x - y \rVert^2 / 2 h^2)$.

    The estimator is unbiased, so the estimate may be negative.

    - `bandwidth`: $h$, above 0, in the units of the samples.

    **Raises** `ValueError` if the bandwidth is not above 0, if `x` or `y` has fewer than 2 samples, or if a sample is
    not finite.

    Source: Gretton et al., *A kernel two-sample test* (JMLR 13, 2012), lemma 6.
    """
    if not bandwidth > 0:
        raise ValueError(f"`bandwidth` must be above 0; got {bandwidth}.")
    x, y = _finite("x", x), _finite("y", y)
    if min(len(x), len(y)) < 2:
        raise ValueError(f"`x` and `y` must have at least 2 samples each; got {len(x)} and {len(y)}.")

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squared = np.sum((a[:, None] - b[None, :]) ** 2, axis=2)
        return np.exp(-squared / (2 * bandwidth**2))

    def within(a: np.ndarray) -> float:
        return (kernel(a, a).sum() - len(a)) / (len(a) * (len(a) - 1))

    return float(within(x) + within(y) - 2 * kernel(x, y).mean())


def _finite(name: str, samples: np.ndarray) -> np.ndarray:
    if not np.isfinite(samples).all():
        row = int(np.argwhere(~np.isfinite(samples))[0][0])
        raise ValueError(f"`{name}` has a NaN or an infinity, first in row {row}; every sample must be finite.")
    return np.asarray(samples, dtype=np.float64)
