"""Flow matching, independent of reinforcement learning: noise priors, probability paths, ODE solvers and `Flow`."""

from typing import TYPE_CHECKING, Any

from floqzoo.flow.clipped_euler import ClippedEuler as ClippedEuler
from floqzoo.flow.curvature import path_curvature as path_curvature
from floqzoo.flow.ddim import DDIM as DDIM
from floqzoo.flow.divergence import ExactDivergence as ExactDivergence, HutchinsonDivergence as HutchinsonDivergence
from floqzoo.flow.fixed_step import Euler as Euler, Heun as Heun, Midpoint as Midpoint
from floqzoo.flow.flow import Flow as Flow, accurate_solver as accurate_solver
from floqzoo.flow.noise_prediction import NoisePrediction as NoisePrediction
from floqzoo.flow.path import (
    LinearPath as LinearPath,
    OptimalTransportPath as OptimalTransportPath,
    TrigonometricPath as TrigonometricPath,
    VariancePreservingPath as VariancePreservingPath,
)
from floqzoo.flow.prior import GaussianPrior as GaussianPrior, UniformPrior as UniformPrior
from floqzoo.flow.time_distribution import (
    UniformTime as UniformTime,
    UniformTimeUntil as UniformTimeUntil,
    ZeroTime as ZeroTime,
)


if TYPE_CHECKING:
    from floqzoo.flow.diffrax_solver import DiffraxSolver as DiffraxSolver


def __getattr__(name: str) -> Any:
    # diffrax is imported lazily with its solver, since this takes as long as importing JAX.
    if name == "DiffraxSolver":
        from floqzoo.flow.diffrax_solver import DiffraxSolver

        return DiffraxSolver
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
