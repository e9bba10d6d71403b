"""What a few seeds say: robust means, their intervals, and how often one method beats another.

What a method scored is a list with one array for each task, whose last axis has the seeds; tasks may differ in their
number of seeds. Axes before it are resamples, which every function treats alike. Source of the definitions: Agarwal and
others, *Deep reinforcement learning at the edge of the statistical precipice* (arXiv 2108.13264), and its library rliable.
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
    """A statistic, and the ends of its interval; these are NaN where one seed says nothing of the next."""

    value: float
    low: float
    high: float


def mean_score(tasks: Sequence[Scores]) -> Statistic:
    """The mean over tasks of the mean over seeds.

    **Raises** `ValueError` if there is no task, or a task has no seed.
    """
    return np.mean([scores.mean(axis=-1) for scores in _some(tasks)], axis=0)


def interquartile_mean(tasks: Sequence[Scores]) -> Statistic:
    r"""The mean of the middle half of all seeds of all tasks: $\lfloor n / 4 \rfloor$ are left out at each end.

    An outlier moves it less than a mean, and unlike a median it uses half of what was measured.

    **Raises** `ValueError` if there is no task, or a task has no seed.
    """
    scores = np.sort(np.concatenate(_some(tasks), axis=-1), axis=-1)
    count = scores.shape[-1]
    return scores[..., count // 4 : count - count // 4].mean(axis=-1)


def probability_of_improvement(tasks: Sequence[Scores], others: Sequence[Scores]) -> Statistic:
    r"""$P(X > Y)$ for a random seed of each, where $X = Y$ counts one half; the mean over tasks.

    For one task it is the Mann-Whitney statistic divided by the number of pairs.

    **Raises** `ValueError` if both do not have the same number of tasks, at least one, each with a seed.
    """
    if len(tasks) != len(others):
        raise ValueError(f"both methods must have the same tasks; got {len(tasks)} and {len(others)}.")
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
    r"""A statistic of one method or of two, and its stratified percentile bootstrap interval.

    Each resample draws, with replacement, as many seeds of each task as there are, so that tasks keep their weight.
    With very few seeds such an interval is too narrow: see the guide on results for what it covers.

    - `statistic`: One of the functions above, or another of as many lists of scores as there are `methods`.
    - `confidence`: The share of the resamples inside, in (0, 1).
    - `resamples`: At least 1.

    **Raises** `ValueError` for a number out of its range, and what `statistic` raises.
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
        raise ValueError(f"there must be scores of at least one task, each of one seed or more; got {list(tasks)}.")
    return list(tasks)
