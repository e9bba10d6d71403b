"""Policies."""

from floqzoo.policies.awr_policy import AWRPolicy as AWRPolicy
from floqzoo.policies.behaviour_flow import BehaviourFlow as BehaviourFlow
from floqzoo.policies.best_of_n_next_action import BestOfNNextAction as BestOfNNextAction
from floqzoo.policies.best_of_n_policy import BestOfNPolicy as BestOfNPolicy
from floqzoo.policies.chunked_policy import ChunkedPolicy as ChunkedPolicy
from floqzoo.policies.ddpg_bc_policy import DDPGBCPolicy as DDPGBCPolicy
from floqzoo.policies.deterministic_policy import DeterministicPolicy as DeterministicPolicy
from floqzoo.policies.distilled_flow_policy import DistilledFlowPolicy as DistilledFlowPolicy
from floqzoo.policies.family_gpi_policy import FamilyGPIPolicy as FamilyGPIPolicy
from floqzoo.policies.fixed_policy import FixedPolicy as FixedPolicy
from floqzoo.policies.function_policy import FunctionPolicy as FunctionPolicy
from floqzoo.policies.gpi_policy import GPIPolicy as GPIPolicy
from floqzoo.policies.shortcut_policy import ShortcutPolicy as ShortcutPolicy
from floqzoo.policies.soft_best_of_n_policy import SoftBestOfNPolicy as SoftBestOfNPolicy
from floqzoo.policies.tanh_gaussian_policy import TanhGaussianPolicy as TanhGaussianPolicy
