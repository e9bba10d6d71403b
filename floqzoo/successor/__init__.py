"""Successor measures, mostly as flows over observations, and the values computed from them."""

from floqzoo.critics.next_action import DataNextAction as DataNextAction, PolicyNextAction as PolicyNextAction
from floqzoo.successor.discount_range import DiscountRangeSuccessor as DiscountRangeSuccessor
from floqzoo.successor.family_successor import FamilySuccessor as FamilySuccessor, FamilyValue as FamilyValue
from floqzoo.successor.flow_successor import FlowSuccessor as FlowSuccessor, SuccessorMetrics as SuccessorMetrics
from floqzoo.successor.forward_backward import (
    ForwardBackward as ForwardBackward,
    ForwardBackwardMetrics as ForwardBackwardMetrics,
)
from floqzoo.successor.geometric_gpi_policy import GeometricGPIPolicy as GeometricGPIPolicy
from floqzoo.successor.intention_critic import (
    IntentionCritic as IntentionCritic,
    IntentionCriticMetrics as IntentionCriticMetrics,
    PretrainingMetrics as PretrainingMetrics,
)
from floqzoo.successor.intentions import (
    Intention as Intention,
    IntentionEncoder as IntentionEncoder,
    IntentionMetrics as IntentionMetrics,
    IntentionSuccessor as IntentionSuccessor,
)
from floqzoo.successor.latent_policy import LatentPolicy as LatentPolicy, LatentPolicyMetrics as LatentPolicyMetrics
from floqzoo.successor.latents import (
    LatentDraws as LatentDraws,
    LatentMixture as LatentMixture,
    infer_goal as infer_goal,
    infer_task as infer_task,
    on_sphere as on_sphere,
    with_reward_vector as with_reward_vector,
)
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
    StraightTD2Target as StraightTD2Target,
    TD2Target as TD2Target,
    TDTarget as TDTarget,
)
from floqzoo.successor.velocity_error import NoiseError as NoiseError, VelocityError as VelocityError
