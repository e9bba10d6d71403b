"""Successor measures as flows over observations, and the values computed from them."""

from floqzoo.critics.next_action import DataNextAction as DataNextAction, PolicyNextAction as PolicyNextAction
from floqzoo.successor.flow_successor import FlowSuccessor as FlowSuccessor, SuccessorMetrics as SuccessorMetrics
from floqzoo.successor.methods import (
    METHODS as METHODS,
    diffusion_measure as diffusion_measure,
    flow_measure as flow_measure,
)
from floqzoo.successor.reward_model import KnownReward as KnownReward, LearntReward as LearntReward
from floqzoo.successor.successor_critic import (
    SuccessorCritic as SuccessorCritic,
    SuccessorCriticMetrics as SuccessorCriticMetrics,
    ValueEstimate as ValueEstimate,
)
from floqzoo.successor.targets import (
    CoupledTDTarget as CoupledTDTarget,
    MonteCarloTarget as MonteCarloTarget,
    TD2Target as TD2Target,
    TDTarget as TDTarget,
)
from floqzoo.successor.velocity_error import NoiseError as NoiseError, VelocityError as VelocityError
