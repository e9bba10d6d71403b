"""Every member of every family, as strategies of hypothesis: a new member is one line here, and is tested at once.

A family is a tuple with one strategy for each member, which draws the numbers of that member too;
`st.one_of(every_path)` draws from all of them. Members with sizes of their own are built for `Sizes()`.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import diffrax
import jax
from hypothesis import strategies as st

from floqzoo.critics.aggregation import MeanOverEnsemble, MinOverEnsemble
from floqzoo.critics.backup import DistributionalBackup, ExpectedBackup
from floqzoo.critics.flow_critic import FlowCritic
from floqzoo.critics.monolithic_critic import MonolithicCritic
from floqzoo.critics.no_critic import NoCritic
from floqzoo.critics.noise_coupling import IndependentNoise, SharedNoise
from floqzoo.critics.q_ensemble import QEnsemble
from floqzoo.flow.diffrax_solver import Diffrax
from floqzoo.flow.fixed_step import Euler, Heun, Midpoint
from floqzoo.flow.flow import accurate_solver
from floqzoo.flow.path import Linear, OptimalTransport, Trigonometric, VariancePreserving
from floqzoo.flow.prior import Gaussian, Uniform
from floqzoo.flow.time_distribution import UniformTime, ZeroTime
from floqzoo.networks.conditional_field import ConditionalField
from floqzoo.networks.dense import Dense
from floqzoo.networks.ensemble import Ensemble
from floqzoo.networks.mlp import MLP
from floqzoo.networks.point_embedding import HLGauss, NormalisedValue, RawPoint
from floqzoo.networks.residual_mlp import ResidualMLP
from floqzoo.networks.time_embedding import CosineTime, FourierTime, RawTime
from floqzoo.policies.behaviour_flow import BehaviourFlow
from floqzoo.policies.distilled_flow_policy import DistilledFlowPolicy
from floqzoo.testing.examples import Sizes, leave_random_alone, sixteenths
from floqzoo.typing import Key


sizes = Sizes()
steps = st.sampled_from((1, 4))  # each number compiles anew
narrow = partial(MLP, hidden=(8, 8))
narrow_residual = partial(ResidualMLP, width=8, blocks=1, block_depth=2)


def seeded(make: Callable[..., Any]) -> st.SearchStrategy:
    """A part whose parameters come from `make(key=key)`, for one of two keys; each is made once."""
    cached = lru_cache(lambda seed: make(key=jax.random.key(seed)))

    @leave_random_alone()
    def member(seed: int) -> Any:
        return cached(seed)

    member.__name__ = getattr(make, "func", make).__name__
    return st.builds(member, st.sampled_from((0, 1)))


def flow_critic(key: Key, **parts: Any) -> FlowCritic:
    """A small floq critic, with some parts exchanged."""
    field_key, readout_key = jax.random.split(key)
    condition = sizes.observation + sizes.action
    fields = Ensemble.build(lambda key: ConditionalField(1, condition, build=narrow, key=key), 2, key=field_key)
    readout = QEnsemble(sizes.observation, sizes.action, build=narrow, key=readout_key)
    return FlowCritic(fields, readout, Uniform(-1.0, 0.0), solver=Euler(2), copies=3, **parts)


def monolithic_critic(key: Key, **parts: Any) -> MonolithicCritic:
    """A small critic, with some parts exchanged."""
    return MonolithicCritic(QEnsemble(sizes.observation, sizes.action, build=narrow, key=key), **parts)


every_prior = (
    st.builds(Uniform, low=sixteenths(-8, -1), high=sixteenths(0, 8)),
    st.builds(Gaussian, mean=sixteenths(-2, 2), scale=sixteenths(1, 4)),
)
every_path = (
    st.builds(Linear),
    st.builds(OptimalTransport, sigma_min=st.integers(1, 99).map(lambda percent: percent / 100)),
    st.builds(Trigonometric),
    st.builds(VariancePreserving, low=st.integers(1, 10).map(lambda tenths: tenths / 10), high=sixteenths(2, 24)),
)
every_solver = (
    st.builds(Euler, steps),
    st.builds(Midpoint, steps),
    st.builds(Heun, steps),
    st.builds(Diffrax, st.just(diffrax.Tsit5()), st.just(4)),
    st.builds(Diffrax, st.just(diffrax.Bosh3()), st.just(2)),
    st.builds(accurate_solver),
)
every_time_distribution = (st.builds(UniformTime), st.builds(ZeroTime))
every_time_embedding = (
    st.builds(RawTime),
    st.builds(CosineTime),
    st.builds(FourierTime, st.sampled_from((1, 64))),
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
    seeded(partial(ConditionalField, sizes.point, sum(sizes.condition), build=narrow)),
    seeded(partial(ConditionalField, sizes.point, sum(sizes.condition), build=narrow_residual)),
    seeded(
        partial(
            ConditionalField,
            sizes.point,
            sum(sizes.condition),
            build=narrow,
            time_embedding=FourierTime(),
            point_embedding=HLGauss(-3.0, 3.0),
        )
    ),
)
every_aggregation = (st.builds(MeanOverEnsemble), st.builds(MinOverEnsemble))
every_backup = (st.builds(ExpectedBackup), st.builds(DistributionalBackup))
every_noise_coupling = (st.builds(IndependentNoise), st.builds(SharedNoise))
every_critic = (
    seeded(monolithic_critic),
    seeded(partial(monolithic_critic, aggregation=MinOverEnsemble())),
    seeded(flow_critic),
    seeded(partial(flow_critic, backup=DistributionalBackup(), coupling=SharedNoise(), times=ZeroTime())),
    st.builds(NoCritic),
)
every_policy = (
    seeded(partial(BehaviourFlow.build, sizes.observation, sizes.action, network=narrow, flow_steps=2)),
    seeded(partial(DistilledFlowPolicy.build, sizes.observation, sizes.action, network=narrow, flow_steps=2)),
)
