"""The methods of TD-Flow by name: each combines a target rule with a flow or a diffusion."""

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

    - `target_rule`: The target for futures beyond the next state.
    - `field`: The velocity field, conditioned on observation and action.
    - `dim`: The number of coordinates of an observation.
    - `path`, `solver`: By default those of TD-Flow, whose curved variant has the path `TrigonometricPath()`; with a
      `TD2Target`, the path only affects the one-step term.
    - `parts`: Other parts of [`FlowSuccessor`][floqzoo.successor.FlowSuccessor].
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
    """Builds a successor measure as a diffusion: a network is trained to predict noise, and DDIM draws samples.

    TD-Flow has 1000 discrete noise levels, of which DDIM visits 20. Here, time is continuous, down to the lowest of
    these levels, and DDIM takes `steps` equal steps over any interval. The probability flow is the same, so
    log-densities are available too.

    - `field`: The network $\\epsilon_\\theta$, with the methods of a velocity field.
    - `path`: The noise schedule; that of TD-Flow has noise rates from 0.1 to 20.
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
"""A constructor of measures for each method name; it takes a velocity field and the number of coordinates."""
