"""The laws of every protocol, and the additional laws of some classes."""

from collections.abc import Mapping
from types import MappingProxyType

import equinox as eqx

from floqzoo import protocols
from floqzoo.flow.fixed_step import FixedStepSolver
from floqzoo.flow.path import AffinePath
from floqzoo.phased_update import PhasedUpdate
from floqzoo.testing.backup_laws import aggregation_laws, backup_laws, noise_coupling_laws
from floqzoo.testing.batch_source_laws import batch_source_laws, reader_laws
from floqzoo.testing.critic_laws import (
    advantage_laws,
    critic_laws,
    diagnosable_laws,
    noisy_critic_laws,
    scores_for_latent_laws,
)
from floqzoo.testing.embedding_laws import point_embedding_laws, time_embedding_laws
from floqzoo.testing.field_laws import field_laws
from floqzoo.testing.hyperparameter_laws import hyperparameter_laws
from floqzoo.testing.network_laws import layer_laws, network_laws
from floqzoo.testing.path_laws import affine_path_laws, path_laws
from floqzoo.testing.policy_laws import (
    acts_for_latent_laws,
    acts_from_noise_laws,
    density_laws,
    exploring_laws,
    policy_laws,
)
from floqzoo.testing.prior_laws import prior_laws
from floqzoo.testing.solver_laws import fixed_step_laws, solver_laws
from floqzoo.testing.successor_laws import (
    next_action_laws,
    reward_model_laws,
    successor_measure_laws,
    successor_target_laws,
)
from floqzoo.testing.time_distribution_laws import time_distribution_laws
from floqzoo.testing.update_laws import (
    alternating_update_laws,
    joint_update_laws,
    phased_update_laws,
    polyak_laws,
    sequential_update_laws,
    target_update_laws,
    update_rule_laws,
)
from floqzoo.update_rules import AlternatingUpdate, JointUpdate, PolyakAveraging, SequentialUpdate


LAWS: Mapping[type, tuple] = MappingProxyType(
    {
        protocols.NoisePrior: prior_laws,
        protocols.ProbabilityPath: path_laws,
        AffinePath: affine_path_laws,
        protocols.ODESolver: solver_laws,
        FixedStepSolver: fixed_step_laws,
        protocols.VelocityField: field_laws,
        protocols.LinearLayer: layer_laws,
        protocols.Network: network_laws,
        protocols.TimeEmbedding: time_embedding_laws,
        protocols.PointEmbedding: point_embedding_laws,
        protocols.TimeDistribution: time_distribution_laws,
        protocols.Aggregation: aggregation_laws,
        protocols.Backup: backup_laws,
        protocols.NoiseCoupling: noise_coupling_laws,
        protocols.Critic: critic_laws,
        protocols.NoisyCritic: noisy_critic_laws,
        protocols.Diagnosable: diagnosable_laws,
        protocols.HasAdvantage: advantage_laws,
        protocols.ScoresForLatent: scores_for_latent_laws,
        protocols.Policy: policy_laws,
        protocols.Exploring: exploring_laws,
        protocols.HasDensity: density_laws,
        protocols.ActsFromNoise: acts_from_noise_laws,
        protocols.ActsForLatent: acts_for_latent_laws,
        protocols.UpdateRule: update_rule_laws,
        JointUpdate: joint_update_laws,
        AlternatingUpdate: alternating_update_laws,
        SequentialUpdate: sequential_update_laws,
        PhasedUpdate: phased_update_laws,
        protocols.TargetUpdate: target_update_laws,
        PolyakAveraging: polyak_laws,
        protocols.TransitionReader: reader_laws,
        protocols.SuccessorMeasure: successor_measure_laws,
        protocols.SuccessorTarget: successor_target_laws,
        protocols.NextAction: next_action_laws,
        protocols.RewardModel: reward_model_laws,
        protocols.BatchSource: batch_source_laws,
        eqx.Module: hyperparameter_laws,
    }
)
