"""Flow matching, which knows no reinforcement learning: priors, paths, solvers and the `Flow` itself."""

from floqzoo.flow.curvature import path_curvature as path_curvature
from floqzoo.flow.ddim import DDIM as DDIM
from floqzoo.flow.diffrax_solver import Diffrax as Diffrax
from floqzoo.flow.divergence import ExactDivergence as ExactDivergence, HutchinsonDivergence as HutchinsonDivergence
from floqzoo.flow.fixed_step import Euler as Euler, Heun as Heun, Midpoint as Midpoint
from floqzoo.flow.flow import Flow as Flow, accurate_solver as accurate_solver
from floqzoo.flow.noise_prediction import NoisePrediction as NoisePrediction
from floqzoo.flow.path import (
    Linear as Linear,
    OptimalTransport as OptimalTransport,
    Trigonometric as Trigonometric,
    VariancePreserving as VariancePreserving,
)
from floqzoo.flow.prior import Gaussian as Gaussian, Uniform as Uniform
from floqzoo.flow.time_distribution import (
    UniformTime as UniformTime,
    UniformTimeUntil as UniformTimeUntil,
    ZeroTime as ZeroTime,
)
