"""The methods of TD-Flow by name; each combines a target rule with a flow or a diffusion model."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from floqzoo.flow.ddim import DDIM
from floqzoo.flow.fixed_step import Midpoint
from floqzoo.flow.flow import Flow
from floqzoo.flow.noise_prediction import NoisePrediction
from floqzoo.flow.path import AffinePath, LinearPath, VariancePreservingPath
from floqzoo.flow.time_distribution import UniformTimeUntil
from floqzoo.protocols import ODESolver, ProbabilityPath, SuccessorTarget, VelocityField
from floqzoo.successor.flow_successor import FlowSuccessor
from floqzoo.successor.targets import CoupledTDTarget, MonteCarloTarget, TD2Target, TDTarget
from floqzoo.successor.velocity_error import NoiseError


def flow_measure(
    target_rule: SuccessorTarget,
    field: VelocityField,
    dim: int,
    *,
    path: ProbabilityPath = LinearPath(),
    solver: ODESolver = Midpoint(10),
    **parts: Any,
) -> FlowSuccessor:
    """Builds a successor measure that is trained by flow matching.

    - `target_rule`: The target for futures beyond the next state, such as `TD2Target()`.
    - `field`: The velocity field, conditioned on observation and action.
    - `dim`: The number of coordinates of an observation.
    - `path`, `solver`: The probability path and the ODE solver. The defaults are those of TD-Flow, whose curved variant
      uses `TrigonometricPath()`. With a `TD2Target`, the path affects only the one-step term.
    - `parts`: Further fields of [`FlowSuccessor`][floqzoo.successor.FlowSuccessor].
    """
    return FlowSuccessor(Flow(field, dim, path=path, solver=solver), target_rule, **parts)


def diffusion_measure(
    target_rule: SuccessorTarget,
    field: VelocityField,
    dim: int,
    *,
    path: AffinePath = VariancePreservingPath(),
    steps: int = 20,
    **parts: Any,
) -> FlowSuccessor:
    """Builds a successor measure that is a diffusion model: a network learns to predict noise, and DDIM draws samples.

    TD-Flow uses 1000 discrete noise levels, of which DDIM visits 20. Here, time is continuous down to the lowest of
    these levels, and DDIM takes `steps` equal steps over any interval. The probability-flow ODE is the same, so
    log-densities are also available.

    - `field`: The network $\\epsilon_\\theta$, with the methods of a velocity field; its `velocity` returns the
      predicted noise.
    - `path`: The noise schedule. By default, noise rates range from 0.1 to 20, as in TD-Flow.
    - `steps`: The number of DDIM steps, at least 1.
    - `target_rule`, `dim`, `parts`: As in [`flow_measure`][floqzoo.successor.flow_measure].
    """
    flow = Flow(NoisePrediction(field, path), dim, path=path, solver=DDIM(steps, path=path))
    return FlowSuccessor(flow, target_rule, times=UniformTimeUntil(), velocity_error=NoiseError(), **parts)


METHODS: Mapping[str, Callable[..., FlowSuccessor]] = MappingProxyType(
    {
        "mc-cfm": partial(flow_measure, MonteCarloTarget()),
        "td-cfm": partial(flow_measure, TDTarget()),
        "td-cfm-c": partial(flow_measure, CoupledTDTarget()),
        "td2-cfm": partial(flow_measure, TD2Target()),
        "td-dd": partial(diffusion_measure, TDTarget()),
        "td2-dd": partial(diffusion_measure, TD2Target()),
    }
)
"""For each method name, a function that builds a measure from a velocity field and the number of coordinates."""
