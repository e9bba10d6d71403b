"""What was found inside a critic, as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from floqzoo.results.played_returns import PlayedReturns
from floqzoo.studies.critic_inside import CriticInside


@dataclass(frozen=True)
class Inspection:
    r"""What was found inside a flow critic; values in units of reward, averaged over a batch of the run's data.

    - `seed`, `step`: Which of the run's agents.
    - `q`: Where the flows end: the mean over members and noises.
    - `q_noise_variance`: The variance of that end over noises, averaged over members.
    - `path_curvature`: How far value paths are from constant speed, $\int_0^1 (\dot z_t - (z_1 - z_0))^2 dt$.
    - `feature_norm`, `effective_rank`: Of what the last linear layers read, averaged over members.
    - `feature_width`: The number of these features, which bounds their rank.
    - `success`: The share of the episodes played that reached the goal.
    - `return_correlation`: Of Q with the return, over the steps whose return is known; NaN where it is not defined.
    - `return_bias`: Q minus that return, averaged over them.
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
    """A step of a played episode: what the critic said of it, and what came of it."""

    episode: int
    q: float
    episode_return: float
    unknown: float
    succeeded: bool


def inspection_of(
    inside: CriticInside, played: PlayedReturns, q: Float[np.ndarray, " steps"], *, seed: int, step: int
) -> Inspection:
    """The numbers of an inspection; `q` has the value of each step played."""
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
        success=float(played.succeeded[firsts].mean()),
        return_correlation=_correlation(q[known], played.returns[known]),
        return_bias=float(errors.mean()) if errors.size else float("nan"),
    )


def return_rows(played: PlayedReturns, q: Float[np.ndarray, " steps"]) -> list[ReturnRow]:
    """Each step played, for a table."""
    columns = (played.episode, q, played.returns, played.unknown, played.succeeded)
    return [ReturnRow(int(e), float(v), float(g), float(u), bool(s)) for e, v, g, u, s in zip(*columns, strict=True)]


def described(found: Inspection) -> Sequence[tuple[str, str]]:
    """The numbers with their names, for a reader."""
    return (
        ("Q of the data's actions", f"{found.q:.4g}"),
        ("variance of Q over noise", f"{found.q_noise_variance:.3g}"),
        ("curvature of the value paths", f"{found.path_curvature:.3g}"),
        ("norm of the last features", f"{found.feature_norm:.3g}"),
        ("their effective rank", f"{found.effective_rank:.3g} of {found.feature_width}"),
        ("success of the episodes played", f"{100 * found.success:.0f} %"),
        ("correlation of Q with the return", f"{found.return_correlation:.2f}"),
        ("Q minus the return", f"{found.return_bias:.3g}"),
    )


def _correlation(a: Float[np.ndarray, " known"], b: Float[np.ndarray, " known"]) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 1 and a.std() > 0 and b.std() > 0 else float("nan")
