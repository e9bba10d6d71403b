"""Successor measures: where a policy will be, as a flow over observations, and the values that follow from it."""

from floqzoo.successor.flow_successor import FlowSuccessor as FlowSuccessor, SuccessorMetrics as SuccessorMetrics
from floqzoo.successor.methods import (
    METHODS as METHODS,
    diffusion_measure as diffusion_measure,
    flow_measure as flow_measure,
)
from floqzoo.successor.next_action import FromData as FromData, FromPolicy as FromPolicy
from floqzoo.successor.normaliser import Normaliser as Normaliser
from floqzoo.successor.reward_model import KnownReward as KnownReward, LearntReward as LearntReward
from floqzoo.successor.successor_critic import (
    SuccessorCritic as SuccessorCritic,
    SuccessorCriticMetrics as SuccessorCriticMetrics,
    ValueEstimate as ValueEstimate,
)
from floqzoo.successor.targets import TD as TD, TD2 as TD2, CoupledTD as CoupledTD, MonteCarlo as MonteCarlo
from floqzoo.successor.velocity_error import NoiseError as NoiseError, VelocityError as VelocityError
