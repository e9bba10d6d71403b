"""Hypothesis strategies for every family of parts, such as all critics. To test a new member, add a line to this file.

A family is a tuple with one strategy for each member. The strategy also draws the member's hyperparameters. To draw
from a whole family, use `st.one_of`, as in `st.one_of(every_path)`. Members with fixed sizes are built for the default
`Sizes()`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from hypothesis import strategies as st

from floqzoo import protocols
from floqzoo.critics.categorical_critic import CategoricalCritic
from floqzoo.critics.conservative_critic import ConservativeCritic
from floqzoo.critics.evor_critic import EVORCritic
from floqzoo.critics.flow_critic import FlowCritic
from floqzoo.critics.iql_critic import IQLCritic
from floqzoo.critics.level_loss import ExpectileLoss, HuberQuantileLoss
from floqzoo.critics.monolithic_critic import MonolithicCritic
from floqzoo.critics.next_action import DataNextAction, PolicyNextAction
from floqzoo.critics.null_critic import NullCritic
from floqzoo.critics.q_ensemble import QEnsemble
from floqzoo.critics.quantile_critic import QuantileCritic
from floqzoo.critics.quantile_ensemble import LevelConcatenation, LevelProduct, QuantileEnsemble
from floqzoo.critics.rebrac_critic import ReBRACCritic
from floqzoo.critics.return_flow_critic import ReturnFlowCritic
from floqzoo.critics.sac_critic import SACCritic
from floqzoo.critics.step_conditioned_critic import StepConditionedCritic
from floqzoo.critics.td_targets import (
    DistributionalBackup,
    ExpectedBackup,
    IndependentNoise,
    MeanOverEnsemble,
    MinOverEnsemble,
    SharedNoise,
)
from floqzoo.critics.uniform_support import UniformSupport
from floqzoo.flow.clipped_euler import ClippedEuler
from floqzoo.flow.ddim import DDIM
from floqzoo.flow.diffrax_solver import DiffraxSolver
from floqzoo.flow.fixed_step import Euler, FixedStepSolver, Heun, Midpoint
from floqzoo.flow.flow import Flow, accurate_solver
from floqzoo.flow.noise_prediction import NoisePrediction
from floqzoo.flow.path import AffinePath, LinearPath, OptimalTransportPath, TrigonometricPath, VariancePreservingPath
from floqzoo.flow.prior import GaussianPrior, UniformPrior
from floqzoo.flow.time_distribution import UniformTime, UniformTimeUntil, ZeroTime
from floqzoo.learner.batch_sources import (
    ActionChunks,
    BalancedReplay,
    GeometricFuture,
    NStep,
    SeededReplay,
    UniformBatches,
)
from floqzoo.learner.random_crop import RandomCrop
from floqzoo.learner.reward_noise import RewardNoise
from floqzoo.networks.conditional_field import ConditionalField
from floqzoo.networks.dense import Dense
from floqzoo.networks.embedding_network import EmbeddingNetwork
from floqzoo.networks.ensemble import Ensemble
from floqzoo.networks.mlp import MLP
from floqzoo.networks.point_embedding import HLGauss, NormalisedValue, RawPoint
from floqzoo.networks.residual_mlp import ResidualMLP
from floqzoo.networks.sinusoidal_time import SinusoidalTime
from floqzoo.networks.time_embedding import CosineTime, FourierTime, RawTime
from floqzoo.networks.unet_field import UNetField
from floqzoo.phased_update import Phase, PhasedUpdate
from floqzoo.policies.awr_policy import AWRPolicy
from floqzoo.policies.behaviour_flow import BehaviourFlow
from floqzoo.policies.best_of_n_next_action import BestOfNNextAction
from floqzoo.policies.best_of_n_policy import BestOfNPolicy
from floqzoo.policies.chunked_policy import ChunkedPolicy
from floqzoo.policies.ddpg_bc_policy import DDPGBCPolicy
from floqzoo.policies.deterministic_policy import DeterministicPolicy
from floqzoo.policies.distilled_flow_policy import DistilledFlowPolicy
from floqzoo.policies.family_gpi_policy import FamilyGPIPolicy
from floqzoo.policies.fixed_policy import FixedPolicy
from floqzoo.policies.function_policy import FunctionPolicy
from floqzoo.policies.gpi_policy import GPIPolicy
from floqzoo.policies.shortcut_policy import ShortcutPolicy
from floqzoo.policies.soft_best_of_n_policy import SoftBestOfNPolicy
from floqzoo.policies.tanh_gaussian_policy import TanhGaussianPolicy
from floqzoo.successor.discount_range import DiscountRangeSuccessor
from floqzoo.successor.family_successor import FamilySuccessor, FamilyValue
from floqzoo.successor.flow_successor import FlowSuccessor
from floqzoo.successor.forward_backward import ForwardBackward
from floqzoo.successor.geometric_gpi_policy import GeometricGPIPolicy
from floqzoo.successor.intention_critic import IntentionCritic
from floqzoo.successor.intentions import IntentionEncoder, IntentionSuccessor
from floqzoo.successor.latent_policy import LatentPolicy
from floqzoo.successor.methods import diffusion_measure, flow_measure
from floqzoo.successor.reward_model import KnownReward, LearntReward
from floqzoo.successor.successor_critic import SuccessorCritic
from floqzoo.successor.targets import CoupledTDTarget, MonteCarloTarget, StraightTD2Target, TD2Target, TDTarget
from floqzoo.testing.examples import Sizes, leave_random_alone, sixteenths
from floqzoo.typing import Key
from floqzoo.update_rules import AlternatingUpdate, JointUpdate, PolyakAveraging, SequentialUpdate


sizes = Sizes()
steps = st.sampled_from((1, 4))  # each number needs a compilation
narrow = partial(MLP, hidden=(8, 8))
narrow_residual = partial(ResidualMLP, width=8, blocks=1, block_depth=2)


def seeded(make: Callable[..., Any]) -> st.SearchStrategy:
    """A Hypothesis strategy that draws `make(key=key)` for one of two keys; the two results are cached."""
    cached = lru_cache(lambda seed: make(key=jax.random.key(seed)))

    @leave_random_alone()
    def member(seed: int) -> Any:
        return cached(seed)

    member.__name__ = getattr(make, "func", make).__name__
    return st.builds(member, st.sampled_from((0, 1)))


def field(dim: int = sizes.point, condition: int = sum(sizes.condition), *, key: Key, **parts: Any) -> ConditionalField:
    """Builds a small velocity field; `parts` are passed on to `ConditionalField`."""
    return ConditionalField(dim, condition, key=key, **{"build": narrow, **parts})


def noise_prediction(*, key: Key) -> NoisePrediction:
    """Builds a velocity field from a small network that predicts noise."""
    return NoisePrediction(field(key=key))


def critic(*, key: Key, **parts: Any) -> MonolithicCritic:
    """Builds a small monolithic critic; `parts` are passed on to `MonolithicCritic`."""
    return MonolithicCritic(QEnsemble(sizes.observation, sizes.action, build=narrow, key=key), **parts)


def flow_critic(*, key: Key, **parts: Any) -> FlowCritic:
    """Builds a small floq critic; `parts` are passed on to `FlowCritic`."""
    field_key, distilled_key = jax.random.split(key)
    fields = Ensemble.build(lambda key: field(1, sizes.observation + sizes.action, key=key), 2, key=field_key)
    distilled = QEnsemble(sizes.observation, sizes.action, build=narrow, key=distilled_key)
    return FlowCritic(fields, distilled, UniformPrior(-1.0, 0.0), solver=Euler(2), num_noise_samples=3, **parts)


def policy(kind: Any = BehaviourFlow, *, key: Key) -> Any:
    """Builds a small flow policy of class `kind`."""
    return kind.build(sizes.observation, sizes.action, network=narrow, flow_steps=2, key=key)


def fixed_policy(*, key: Key) -> FixedPolicy:
    """Builds a small policy with fixed parameters."""
    return FixedPolicy(policy(key=key))


def best_of_two(*, key: Key) -> GPIPolicy:
    """Builds a GPI policy that chooses between the actions of two small policies."""
    keys = jax.random.split(key, 4)
    return GPIPolicy(tuple(policy(key=k) for k in keys[:2]), tuple(critic(key=k) for k in keys[2:]))


def measure(rule: Any, make: Callable[..., FlowSuccessor] = flow_measure, *, key: Key, **parts: Any) -> FlowSuccessor:
    """Builds a small successor measure that is trained with the target `rule`; `parts` are passed on to `make`."""
    dim, condition = sizes.observation, sizes.observation + sizes.action
    return make(rule, field(dim, condition, key=key), dim, **parts)


def discount_range(*, key: Key) -> DiscountRangeSuccessor:
    """Builds a small successor measure for a range of discounts."""
    dim, condition = sizes.observation, sizes.observation + sizes.action + 1
    return DiscountRangeSuccessor(flow_measure(TD2Target(), field(dim, condition, key=key), dim, discount=0.9))


def successor_critic(*, key: Key) -> SuccessorCritic:
    """Builds a critic from a small successor measure; the reward of a state is the sum of its coordinates."""
    return SuccessorCritic(measure(TD2Target(), key=key), jnp.sum, num_samples=4, num_score_samples=2)


def iql_critic(*, key: Key) -> IQLCritic:
    """Builds a small IQL critic."""
    q_key, v_key = jax.random.split(key)
    networks = QEnsemble(sizes.observation, sizes.action, build=narrow, key=q_key)
    return IQLCritic(networks, narrow(sizes.observation, 1, key=v_key))


def rebrac_critic(*, key: Key) -> ReBRACCritic:
    """Builds a small ReBRAC critic."""
    return ReBRACCritic(QEnsemble(sizes.observation, sizes.action, build=narrow, key=key))


def sac_critic(*, key: Key, **parts: Any) -> SACCritic:
    """Builds a small SAC critic; `parts` are passed on to `SACCritic`."""
    return SACCritic(QEnsemble(sizes.observation, sizes.action, build=narrow, key=key), **parts)


def step_conditioned_critic(*, key: Key) -> StepConditionedCritic:
    """Builds a small SORL critic."""
    networks = QEnsemble(sizes.observation + 1, sizes.action, build=narrow, key=key)
    return StepConditionedCritic(MonolithicCritic(networks), 2, 4)


def quantile_critic(loss: HuberQuantileLoss = HuberQuantileLoss(0.5), *, key: Key) -> QuantileCritic:
    """Builds a small IQN critic."""
    features_key, key = jax.random.split(key)
    features = LevelProduct(sizes.observation + sizes.action, 8, embedding=FourierTime(4), key=features_key)
    return QuantileCritic(
        QuantileEnsemble(features, build=narrow, key=key), loss=loss, num_levels=3, num_target_levels=4
    )


def expectile_critic(*, key: Key) -> QuantileCritic:
    """Builds a small FQL-IQN critic."""
    features = LevelConcatenation(sizes.observation + sizes.action, FourierTime(4))
    networks = QuantileEnsemble(features, build=narrow, key=key)
    return QuantileCritic(networks, loss=ExpectileLoss(), num_levels=3, aggregation=MinOverEnsemble())


def conservative_critic(*, key: Key) -> ConservativeCritic:
    """Builds a small CODAC critic."""
    return ConservativeCritic(quantile_critic(key=key), num_actions=3)


def categorical_critic(*, key: Key) -> CategoricalCritic:
    """Builds a small C51 critic."""
    networks = Ensemble.build(lambda key: narrow(sizes.observation + sizes.action, 5, key=key), 2, key=key)
    return CategoricalCritic(networks, UniformSupport(-3.0, 3.0, 5))


def return_flow_critic(*, key: Key, **parts: Any) -> ReturnFlowCritic:
    """Builds a small Value Flows critic; `parts` are passed on to `ReturnFlowCritic`."""
    fields = Ensemble.build(lambda key: field(1, sizes.observation + sizes.action, key=key), 2, key=key)
    return ReturnFlowCritic(fields, ClippedEuler(2, low=-3.0, high=3.0), **parts)


def evor_critic(*, key: Key, **parts: Any) -> EVORCritic:
    """Builds a small EVOR critic; `parts` are passed on to `EVORCritic`."""
    fields = Ensemble.build(lambda key: field(1, sizes.observation + sizes.action, key=key), 2, key=key)
    return EVORCritic(fields, ClippedEuler(2, low=-3.0, high=3.0), return_temperature=0.5, num_score_samples=3, **parts)


def soft_best_of_n(*, key: Key) -> SoftBestOfNPolicy:
    """Builds a policy that samples one of three actions of a small behaviour flow from a softmax of their scores."""
    return SoftBestOfNPolicy(policy(key=key), 3, temperature=0.5)


def shortcut_policy(*, key: Key, **numbers: Any) -> ShortcutPolicy:
    """Builds a small SORL policy; `numbers` are passed on to `ShortcutPolicy.build`."""
    numbers = {"num_steps": 2, "max_steps": 4, "max_value_steps": 4, **numbers}
    return ShortcutPolicy.build(sizes.observation, sizes.action, network=narrow, key=key, **numbers)


def best_of_n(*, key: Key) -> BestOfNPolicy:
    """Builds a policy that selects the best of three actions of a small behaviour flow."""
    return BestOfNPolicy(policy(key=key), 3)


def chunked_policy(*, key: Key) -> ChunkedPolicy:
    """Builds a small policy that draws chunks of two one-dimensional actions, and executes the first action of each."""
    return ChunkedPolicy(actor(AWRPolicy, key=key), sizes.action, 1)


def chunked_best_of_n(*, key: Key) -> ChunkedPolicy:
    """Builds a policy that selects the best of three chunks of a small behaviour flow, and executes it entirely."""
    return ChunkedPolicy(best_of_n(key=key), sizes.action)


def actor(kind: Any, *, key: Key) -> Any:
    """Builds a small policy of class `kind`, with one network that maps observations to actions."""
    return kind(narrow(sizes.observation, sizes.action, key=key))


def tanh_gaussian(*, key: Key) -> TanhGaussianPolicy:
    """Builds a small SAC policy."""
    return TanhGaussianPolicy(narrow(sizes.observation, 2 * sizes.action, key=key), alpha_bc=0.5)


def latent_network(groups: tuple[int, ...], out_features: int, *, key: Key, **parts: Any) -> EmbeddingNetwork:
    """Builds a small embedding network; `parts` are passed on to `EmbeddingNetwork`."""
    return EmbeddingNetwork(groups, out_features, width=8, embedding=4, key=key, **parts)


def forward_backward(*, key: Key, **parts: Any) -> ForwardBackward:
    """Builds a small FB critic; `parts` are passed on to `ForwardBackward`."""
    forward_key, backward_key, task_key = jax.random.split(key, 3)
    with_latent, with_action = sizes.observation + sizes.inputs, sizes.observation + sizes.action
    forward = Ensemble.build(
        lambda key: latent_network((with_latent, with_action), sizes.inputs, key=key), 2, key=forward_key
    )
    backward = latent_network((sizes.observation,), sizes.inputs, trunk_layers=0, key=backward_key)
    return ForwardBackward(forward, backward, jax.random.normal(task_key, (sizes.inputs,)), **parts)


def latent_policy(*, key: Key) -> LatentPolicy:
    """Builds a small policy that is conditioned on the latent z of a task."""
    network_key, task_key = jax.random.split(key)
    groups = sizes.observation + sizes.inputs, sizes.observation
    network = latent_network(groups, sizes.action, key=network_key)
    return LatentPolicy(network, jax.random.normal(task_key, (sizes.inputs,)), alpha=0.5)


def family(*, key: Key) -> FixedPolicy:
    """Builds a small family of policies with its FB critic, both with fixed parameters."""
    policy_key, critic_key = jax.random.split(key)
    return FixedPolicy(latent_policy(key=policy_key), forward_backward(key=critic_key))


def family_successor(*, key: Key) -> FamilySuccessor:
    """Builds a small successor measure of a family of policies."""
    family_key, field_key, latent_key = jax.random.split(key, 3)
    dim, condition = sizes.observation, sizes.observation + sizes.action + sizes.inputs
    measure = flow_measure(TD2Target(), field(dim, condition, key=field_key), dim, discount=0.9)
    return FamilySuccessor(measure, family(key=family_key), jax.random.normal(latent_key, (sizes.inputs,)))


def family_for_discounts(*, key: Key) -> FamilySuccessor:
    """Builds a small successor measure of a family of policies, for a range of discounts."""
    family_key, field_key, latent_key = jax.random.split(key, 3)
    dim, condition = sizes.observation, sizes.observation + sizes.action + sizes.inputs + 1
    measure = flow_measure(TD2Target(), field(dim, condition, key=field_key), dim, discount=0.9)
    latent = jax.random.normal(latent_key, (sizes.inputs,))
    return FamilySuccessor(DiscountRangeSuccessor(measure), family(key=family_key), latent)


def family_gpi(*, key: Key) -> FamilyGPIPolicy:
    """Builds a policy that chooses among the policies of a small family by their values."""
    measure = family_successor(key=key)
    value = FamilyValue(SuccessorCritic(measure, jnp.sum, num_samples=2))
    return FamilyGPIPolicy(measure.family, value, measure.latent, count=3, cosine=0.5)


def geometric_gpi(*, key: Key) -> GeometricGPIPolicy:
    """Builds a policy that plans with two policies of a small family."""
    measure_key, subgoal_key = jax.random.split(key)
    measures = family_for_discounts(key=measure_key)
    assert isinstance(measures.measure, DiscountRangeSuccessor)
    first = replace(measures, measure=measures.measure.at(0.75))
    subgoals = jax.random.normal(subgoal_key, (2, sizes.inputs))
    return GeometricGPIPolicy(first, measures, jnp.sum, subgoals, num_samples=2)


def intention_critic(*, key: Key) -> IntentionCritic:
    """Builds a small InFOM critic."""
    q_key, field_key, encoder_key, reward_key = jax.random.split(key, 4)
    both = sizes.observation + sizes.action
    flow = Flow(field(sizes.observation, both + sizes.inputs, key=field_key), sizes.observation, solver=Euler(2))
    measure = FlowSuccessor(flow, StraightTD2Target(), next_action=DataNextAction(), from_current=True)
    encoder = IntentionEncoder(narrow(both, 2 * sizes.inputs, key=encoder_key), sizes.inputs)
    networks = QEnsemble(sizes.observation, sizes.action, build=narrow, key=q_key)
    return IntentionCritic(networks, IntentionSuccessor(measure, encoder), learnt_reward(key=reward_key), num_futures=3)


def learnt_reward(*, key: Key) -> LearntReward:
    """Builds a small learnt reward model."""
    return LearntReward(narrow(sizes.observation, 1, key=key))


every_prior = (
    st.builds(UniformPrior, low=sixteenths(-8, -1), high=sixteenths(0, 8)),
    st.builds(GaussianPrior, mean=sixteenths(-2, 2), scale=sixteenths(1, 4)),
)
every_path = (
    st.builds(LinearPath),
    st.builds(OptimalTransportPath, sigma_min=st.integers(1, 99).map(lambda percent: percent / 100)),
    st.builds(TrigonometricPath),
    st.builds(VariancePreservingPath, low=st.integers(1, 10).map(lambda tenths: tenths / 10), high=sixteenths(2, 24)),
)
every_fixed_step_solver = (
    st.builds(Euler, steps),
    st.builds(Midpoint, steps),
    st.builds(Heun, steps),
    st.builds(DDIM, steps, st.just(LinearPath())),  # with another path it is exact for other fields
    st.builds(ClippedEuler, steps, st.just(-64.0), st.just(64.0)),  # no trajectory of the laws is clipped
)
every_solver = (
    *every_fixed_step_solver,
    st.builds(DiffraxSolver, st.just(diffrax.Tsit5()), st.just(4)),
    st.builds(accurate_solver),
)
every_time_distribution = (st.builds(UniformTime), st.builds(UniformTimeUntil), st.builds(ZeroTime))
every_time_embedding = (
    st.builds(RawTime),
    st.builds(CosineTime),
    st.builds(FourierTime, st.sampled_from((1, 64))),
    st.builds(SinusoidalTime, st.sampled_from((4, 64))),
)
every_point_embedding = (
    st.builds(RawPoint),
    st.builds(NormalisedValue, low=sixteenths(-8, -1), high=sixteenths(0, 8)),
    st.builds(HLGauss, low=sixteenths(-8, -3), high=sixteenths(3, 8)),
)
every_layer = (seeded(partial(Dense, sizes.inputs, 8)),)
every_network = (
    seeded(partial(narrow, sizes.inputs, 3)),
    seeded(partial(narrow, sizes.inputs, 3, layer_norm=True)),
    seeded(partial(narrow_residual, sizes.inputs, 3)),
)
every_field = (
    seeded(field),
    seeded(partial(field, build=narrow_residual)),
    seeded(partial(field, time_embedding=FourierTime(), point_embedding=HLGauss(-3.0, 3.0))),
    seeded(partial(UNetField, sizes.point, sum(sizes.condition), widths=(8, 4), embedding=4)),
    seeded(noise_prediction),
)
every_aggregation = (st.builds(MeanOverEnsemble), st.builds(MinOverEnsemble))
every_backup = (st.builds(ExpectedBackup), st.builds(DistributionalBackup))
every_noise_coupling = (st.builds(IndependentNoise), st.builds(SharedNoise))
every_successor_target = (
    st.builds(MonteCarloTarget),
    st.builds(TDTarget),
    st.builds(CoupledTDTarget),
    st.builds(TD2Target),
    st.builds(StraightTD2Target),
)
every_next_action = (
    st.builds(PolicyNextAction),
    st.builds(DataNextAction),
    st.builds(BestOfNNextAction, st.sampled_from((1, 3))),
)
every_reward_model = (
    st.builds(KnownReward, st.just(jnp.sum)),
    seeded(learnt_reward),
)
every_successor_measure = (
    seeded(partial(measure, TD2Target())),
    seeded(partial(measure, MonteCarloTarget(), path=TrigonometricPath(), next_action=DataNextAction())),
    seeded(partial(measure, StraightTD2Target(), next_action=DataNextAction(), from_current=True)),
    seeded(partial(measure, TDTarget(), diffusion_measure, path=VariancePreservingPath(0.1, 4.0), steps=4)),
    seeded(discount_range),
    seeded(family_successor),
    seeded(family_for_discounts),
)
every_critic = (
    st.builds(NullCritic),
    seeded(critic),
    seeded(partial(critic, aggregation=MinOverEnsemble())),
    seeded(flow_critic),
    seeded(partial(flow_critic, backup=DistributionalBackup(), coupling=SharedNoise(), times=ZeroTime())),
    seeded(successor_critic),
    seeded(iql_critic),
    seeded(rebrac_critic),
    seeded(step_conditioned_critic),
    seeded(quantile_critic),
    seeded(expectile_critic),
    seeded(conservative_critic),
    seeded(categorical_critic),
    seeded(return_flow_critic),
    seeded(
        partial(
            return_flow_critic, aggregation=MinOverEnsemble(), num_score_samples=1, next_action=BestOfNNextAction(2)
        )
    ),
    seeded(evor_critic),
    seeded(partial(evor_critic, aggregation=MinOverEnsemble(), next_action=BestOfNNextAction(1))),
    seeded(sac_critic),
    seeded(partial(sac_critic, aggregation=MeanOverEnsemble(), score_aggregation=MinOverEnsemble())),
    seeded(forward_backward),
    seeded(partial(forward_backward, aggregation=MeanOverEnsemble())),
    seeded(intention_critic),
)
every_noisy_critic = (seeded(flow_critic), seeded(successor_critic), seeded(return_flow_critic), seeded(evor_critic))
every_diagnosable = (seeded(flow_critic), seeded(return_flow_critic), seeded(evor_critic))
every_critic_with_advantage = (seeded(iql_critic), st.builds(NullCritic))
every_critic_for_latents = (seeded(forward_backward),)
every_policy = (
    seeded(policy),
    seeded(partial(policy, DistilledFlowPolicy)),
    seeded(fixed_policy),
    seeded(best_of_two),
    seeded(family_gpi),
    seeded(geometric_gpi),
    seeded(best_of_n),
    seeded(soft_best_of_n),
    seeded(shortcut_policy),
    seeded(partial(shortcut_policy, max_steps=2, max_value_steps=1)),
    seeded(partial(actor, AWRPolicy)),
    seeded(partial(actor, DeterministicPolicy)),
    seeded(partial(actor, DDPGBCPolicy)),
    st.builds(FunctionPolicy, st.just(lambda observation: jnp.tanh(observation[: sizes.action]))),
    seeded(chunked_policy),
    seeded(tanh_gaussian),
    seeded(latent_policy),
)
every_exploring_policy = (
    seeded(partial(actor, AWRPolicy)),
    seeded(partial(actor, DeterministicPolicy)),
    seeded(partial(actor, DDPGBCPolicy)),
    seeded(chunked_policy),
    seeded(tanh_gaussian),
    seeded(latent_policy),
)
every_policy_with_density = (seeded(policy), seeded(tanh_gaussian))
every_policy_for_latents = (seeded(latent_policy),)
every_policy_from_noise = (
    seeded(policy),
    seeded(partial(policy, DistilledFlowPolicy)),
    seeded(best_of_n),
    seeded(soft_best_of_n),
    seeded(shortcut_policy),
    seeded(partial(actor, AWRPolicy)),
    seeded(partial(actor, DeterministicPolicy)),
    seeded(partial(actor, DDPGBCPolicy)),
    seeded(chunked_policy),
    seeded(chunked_best_of_n),
    seeded(tanh_gaussian),
    seeded(latent_policy),
)


def _of_vectors(tree: Any) -> Any:
    """A mask of the arrays that are not scalars."""
    return jax.tree.map(lambda leaf: leaf.ndim > 0, tree)


def _scaled_by_loss(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple:
    """Scales the updates by a factor that increases with the loss."""
    del params
    return jax.tree.map(lambda update: (1.5 + jnp.tanh(extra["value"])) * update, updates), state


by_loss = optax.chain(
    optax.sgd(0.1), optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), _scaled_by_loss)
)
masked = optax.chain(optax.masked(optax.scale(0.5), _of_vectors), optax.adamw(0.1, weight_decay=0.1, mask=_of_vectors))
every_joint_update = tuple(
    st.builds(JointUpdate, st.just(optimiser), st.just(policy_every))
    for optimiser, policy_every in (
        (optax.adam(0.1), 1),
        (optax.adam(0.1), 2),
        (optax.adamw(0.1, weight_decay=0.1), 1),
        (optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.1)), 1),
        (optax.sgd(optax.linear_schedule(0.1, 0.01, 3)), 1),
        (masked, 1),
        (by_loss, 1),
        (by_loss, 2),
    )
)
every_alternating_update = (
    st.builds(AlternatingUpdate, *map(st.just, (optax.adam(0.1), optax.sgd(0.1)))),
    st.builds(
        AlternatingUpdate,
        st.just(optax.adamw(0.1, weight_decay=0.1)),
        st.just(optax.sgd(optax.linear_schedule(0.1, 0.01, 3))),
        st.just(2),
        st.sampled_from((1, 3)),
    ),
    st.builds(AlternatingUpdate, st.just(by_loss), st.just(masked)),
    st.builds(AlternatingUpdate, st.just(masked), st.just(by_loss), st.just(2), st.just(3)),
)
every_sequential_update = tuple(
    st.builds(SequentialUpdate, st.just(optimiser))
    for optimiser in (
        optax.chain(optax.clip_by_global_norm(0.1), optax.adam(0.1)),
        optax.sgd(optax.linear_schedule(0.1, 0.01, 3)),
        masked,
        by_loss,
    )
)
every_phased_update = (
    st.builds(
        PhasedUpdate,
        st.just(Phase("first", JointUpdate(optax.adam(0.1)), 1)),
        st.just(Phase("second", JointUpdate(optax.adam(0.02), policy_every=2), 2)),
        st.just(Phase("third", SequentialUpdate(optax.adam(0.1)))),
    ),
    st.builds(
        PhasedUpdate,
        st.just(Phase("first", AlternatingUpdate(optax.sgd(0.1), optax.sgd(0.1), 2), 3)),
        st.just(Phase("second", AlternatingUpdate(optax.sgd(0.1), optax.sgd(0.2)))),
    ),
)
every_update_rule = (*every_joint_update, *every_alternating_update, *every_sequential_update, *every_phased_update)
every_target_update = (
    st.builds(PolyakAveraging, st.sampled_from((0.0, 0.25, 1.0))),
    st.builds(PolyakAveraging, st.just(0.5), st.just(0.25), st.just(2), st.booleans()),
    st.builds(PolyakAveraging, st.just(0.5), st.just(0.25), st.just(2), st.booleans(), st.sampled_from((2, 3))),
)
every_reader = (
    st.builds(NStep),
    st.builds(NStep, st.sampled_from((2, 3)), st.just(0.5), st.booleans(), st.booleans()),
    st.builds(GeometricFuture, st.just(0.5)),
    st.builds(ActionChunks, st.sampled_from((1, 3)), st.just(0.5)),
)
every_batch_source = (
    st.builds(UniformBatches),
    st.builds(UniformBatches, st.just(GeometricFuture(0.5))),
    st.builds(SeededReplay, st.just(10)),
    st.builds(SeededReplay, st.just(10), st.just(NStep(3, 0.5))),
    st.builds(BalancedReplay),
    st.builds(BalancedReplay, st.just(NStep(2, 0.5, next_action=True))),
    st.builds(BalancedReplay, st.just(GeometricFuture(0.5))),
    st.builds(SeededReplay, st.just(10), st.just(ActionChunks(3, 0.5))),
    st.builds(RandomCrop, st.just(UniformBatches()), st.just(0.5), st.just((1, 1, 1))),  # observations are one number
    st.builds(RewardNoise, st.just(UniformBatches()), st.just(0.0)),  # a law is about the rewards of the data
)
every_module = (
    *every_prior,
    *every_path,
    *every_solver,
    *every_time_distribution,
    *every_time_embedding,
    *every_point_embedding,
    *every_layer,
    *every_network,
    *every_field,
    *every_aggregation,
    *every_backup,
    *every_noise_coupling,
    *every_successor_target,
    *every_next_action,
    *every_reward_model,
    *every_successor_measure,
    *every_critic,
    *every_policy,
    *every_update_rule,
    *every_target_update,
    *every_reader,
    *every_batch_source,
)

FAMILIES: Mapping[type, tuple[st.SearchStrategy, ...]] = MappingProxyType(
    {
        protocols.NoisePrior: every_prior,
        protocols.ProbabilityPath: every_path,
        AffinePath: every_path,
        protocols.ODESolver: every_solver,
        FixedStepSolver: every_fixed_step_solver,
        protocols.VelocityField: every_field,
        protocols.LinearLayer: every_layer,
        protocols.Network: every_network,
        protocols.TimeEmbedding: every_time_embedding,
        protocols.PointEmbedding: every_point_embedding,
        protocols.TimeDistribution: every_time_distribution,
        protocols.Aggregation: every_aggregation,
        protocols.Backup: every_backup,
        protocols.NoiseCoupling: every_noise_coupling,
        protocols.Critic: every_critic,
        protocols.NoisyCritic: every_noisy_critic,
        protocols.Diagnosable: every_diagnosable,
        protocols.HasAdvantage: every_critic_with_advantage,
        protocols.ScoresForLatent: every_critic_for_latents,
        protocols.Policy: every_policy,
        protocols.Exploring: every_exploring_policy,
        protocols.HasDensity: every_policy_with_density,
        protocols.ActsFromNoise: every_policy_from_noise,
        protocols.ActsForLatent: every_policy_for_latents,
        protocols.UpdateRule: every_update_rule,
        JointUpdate: every_joint_update,
        AlternatingUpdate: every_alternating_update,
        SequentialUpdate: every_sequential_update,
        PhasedUpdate: every_phased_update,
        protocols.TargetUpdate: every_target_update,
        PolyakAveraging: every_target_update,
        protocols.TransitionReader: every_reader,
        protocols.SuccessorMeasure: every_successor_measure,
        protocols.SuccessorTarget: every_successor_target,
        protocols.NextAction: every_next_action,
        protocols.RewardModel: every_reward_model,
        protocols.BatchSource: every_batch_source,
        eqx.Module: every_module,
    }
)
