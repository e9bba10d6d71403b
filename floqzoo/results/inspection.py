"""Diagnostics of a flow critic, computed for `inspect_run`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from floqzoo.results.played_returns import PlayedReturns
from floqzoo.studies.critic_inside import CriticInside


@dataclass(frozen=True)
class Inspection:
    r"""Diagnostics of a flow critic on a batch of the run's data and on played episodes; Q is in units of reward.

    - `seed`, `step`: The seed and the step of the agent.
    - `q`: The output of the flows, averaged over the batch, the members and the noise samples.
    - `q_noise_variance`: The variance of the flows' output over noise samples, averaged over the batch and the members,
      in squared units of reward.
    - `path_curvature`: The curvature of the value trajectories $z_t$, i.e. the mean squared deviation of their velocity
      from a constant velocity, $\int_0^1 (\dot z_t - (z_1 - z_0))^2 dt$, in squared units of reward.
    - `feature_norm`, `effective_rank`: The norm and the effective rank of the features, which are the inputs of the
      members' last linear layers. Both are averaged over the members, and the norm also over the batch.
    - `feature_width`: The number of features, which is an upper bound on the effective rank.
    - `success`: The fraction of played episodes that reached the goal; NaN in a task that reports no success.
    - `return_correlation`: The correlation between Q and the return, over all played steps whose return is known; NaN
      if undefined.
    - `return_bias`: The mean difference between Q and the return (Q minus return) over the same steps; NaN if there are
      none.
    """

    seed: int
    step: int
    q: float
    q_noise_variance: float
    path_curvature: float
    feature_norm: float
    effective_rank: float
    feature_width: int
    success: float
    return_correlation: float
    return_bias: float


@dataclass(frozen=True)
class ReturnRow:
    """A step of a played episode, with the critic's value `q` and the actual return; see `PlayedReturns`."""

    episode: int
    q: float
    episode_return: float
    unknown: float
    success: float


def inspection_of(
    inside: CriticInside, played: PlayedReturns, q: Float[np.ndarray, " steps"], *, seed: int, step: int
) -> Inspection:
    """Computes the diagnostics of an inspection.

    - `inside`: The values, curvatures and features of the critic on a batch.
    - `played`: The played episodes.
    - `q`: The critic's value at each played step.
    - `seed`, `step`: The seed and the step of the agent.
    """
    known = played.known()
    errors = (q - played.returns)[known]
    firsts = np.unique(played.episode, return_index=True)[1]
    return Inspection(
        seed=seed,
        step=step,
        q=float(inside.ends.mean()),
        q_noise_variance=float(inside.ends.var(axis=2).mean()),
        path_curvature=float(inside.curvature.mean()),
        feature_norm=float(np.linalg.norm(inside.features, axis=2).mean()),
        effective_rank=float(inside.ranks.mean()),
        feature_width=inside.features.shape[2],
        success=float(played.success[firsts].mean()),
        return_correlation=_correlation(q[known], played.returns[known]),
        return_bias=float(errors.mean()) if errors.size else float("nan"),
    )


def return_rows(played: PlayedReturns, q: Float[np.ndarray, " steps"]) -> list[ReturnRow]:
    """Returns a row for each played step; `q` contains the critic's value at each of these steps."""
    columns = (played.episode, q, played.returns, played.unknown, played.success)
    return [ReturnRow(int(e), float(v), float(g), float(u), float(s)) for e, v, g, u, s in zip(*columns, strict=True)]


def described(found: Inspection) -> Sequence[tuple[str, str]]:
    """Returns the diagnostics as pairs of a label and a formatted value.

    The success rate is included only if the task reports success.
    """
    success = [] if math.isnan(found.success) else [("success rate of played episodes", f"{100 * found.success:.0f} %")]
    return (
        ("Q of the data's actions", f"{found.q:.4g}"),
        ("variance of Q over noise", f"{found.q_noise_variance:.3g}"),
        ("curvature of value trajectories", f"{found.path_curvature:.3g}"),
        ("norm of the last features", f"{found.feature_norm:.3g}"),
        ("effective rank of these features", f"{found.effective_rank:.3g} of {found.feature_width}"),
        *success,
        ("correlation of Q with the return", f"{found.return_correlation:.2f}"),
        ("Q minus the return", f"{found.return_bias:.3g}"),
    )


def _correlation(a: Float[np.ndarray, " known"], b: Float[np.ndarray, " known"]) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 1 and a.std() > 0 and b.std() > 0 else float("nan")
