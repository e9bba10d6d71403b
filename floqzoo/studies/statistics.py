"""Statistics for small numbers of seeds: robust means, bootstrap intervals, and probabilities of improvement.

The scores of a method are a list with one array per task. The last axis of each array indexes the seeds, whose number
may differ between tasks; leading axes, if any, index bootstrap resamples. Source of the definitions: Agarwal et al.,
*Deep reinforcement learning at the edge of the statistical precipice* (arXiv 2108.13264), and the paper's library,
rliable.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float


Scores = Float[np.ndarray, "*resamples _"]
"""The scores of a method on one task: one number for each seed."""
Statistic = Float[np.ndarray | np.generic, "*resamples"]


@dataclass(frozen=True)
class Estimate:
    """A statistic and the bounds of its confidence interval; the bounds are NaN if a task has a single seed."""

    value: float
    low: float
    high: float


def mean_score(tasks: Sequence[Scores]) -> Statistic:
    """Averages scores over the seeds of each task, and then over tasks.

    **Raises** `ValueError` if there are no tasks, or if a task has no seeds.
    """
    return np.mean([scores.mean(axis=-1) for scores in _some(tasks)], axis=0)


def interquartile_mean(tasks: Sequence[Scores]) -> Statistic:
    r"""Computes the mean of the middle half of the $n$ scores of all tasks.

    The $\lfloor n / 4 \rfloor$ lowest and the $\lfloor n / 4 \rfloor$ highest scores are dropped.

    The interquartile mean is less sensitive to outliers than the mean, and uses more of the data than the median.

    **Raises** `ValueError` if there are no tasks, or if a task has no seeds.
    """
    scores = np.sort(np.concatenate(_some(tasks), axis=-1), axis=-1)
    count = scores.shape[-1]
    return scores[..., count // 4 : count - count // 4].mean(axis=-1)


def probability_of_improvement(tasks: Sequence[Scores], others: Sequence[Scores]) -> Statistic:
    r"""Computes the probability $P(X > Y)$ that one method has a higher score than another, averaged over tasks.

    $X$ is the score of a random seed in `tasks`, and $Y$ the score of a random seed in `others`. A tie, $X = Y$, counts
    as one half. For a single task, this is the Mann-Whitney statistic divided by the number of pairs.

    **Raises** `ValueError` if the methods have different numbers of tasks or no tasks, or if a task has no seeds.
    """
    if len(tasks) != len(others):
        raise ValueError(f"`others` must have as many tasks as `tasks`, {len(tasks)}; got {len(others)}.")
    pairs = zip(_some(tasks), _some(others), strict=True)
    signs = [np.sign(mine[..., :, None] - theirs[..., None, :]).mean(axis=(-2, -1)) for mine, theirs in pairs]
    return (1 + np.mean(signs, axis=0)) / 2


def bootstrap_interval(
    statistic: Callable[..., Any],
    *methods: Sequence[Scores],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    r"""Computes a statistic of one or two methods, and its stratified percentile bootstrap interval.

    Each resample draws seeds with replacement within each task, so that the weight of a task does not change. With very
    few seeds, the interval is too narrow; see the guide on results for its coverage.

    - `statistic`: A statistic of this module, or another function that takes one argument for each method: its scores.
    - `methods`: The scores of each method.
    - `confidence`: The confidence level, in (0, 1).
    - `resamples`: The number of resamples, at least 1.

    **Raises** `ValueError` if `confidence` or `resamples` is out of range, and any error that `statistic` raises.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must lie in (0, 1); got {confidence}.")
    if resamples < 1:
        raise ValueError(f"`resamples` must be at least 1; got {resamples}.")
    value = float(statistic(*methods))
    if any(len(scores) < 2 for tasks in methods for scores in tasks):
        return Estimate(value, float("nan"), float("nan"))
    random = np.random.default_rng(seed)
    drawn = statistic(*([random.choice(scores, (resamples, len(scores))) for scores in tasks] for tasks in methods))
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(value, float(low), float(high))


def _some(tasks: Sequence[np.ndarray]) -> list[np.ndarray]:
    if not tasks or any(scores.shape[-1] == 0 for scores in tasks):
        raise ValueError(
            f"there must be scores of at least one task, and of at least one seed per task; got {list(tasks)}."
        )
    return list(tasks)
