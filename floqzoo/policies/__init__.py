"""Policies: what draws actions, and learns to."""

from floqzoo.policies.behaviour_flow import BehaviourFlow as BehaviourFlow
from floqzoo.policies.distilled_flow_policy import DistilledFlowPolicy as DistilledFlowPolicy
