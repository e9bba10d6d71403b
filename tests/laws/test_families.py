"""Every member of every family keeps every law of its kind."""

import re

import pytest

from floqzoo import testing
from floqzoo.flow.fixed_step import FixedStepSolver
from floqzoo.flow.path import AffinePath
from floqzoo.protocols import (
    Aggregation,
    Backup,
    Critic,
    LinearLayer,
    Network,
    NoiseCoupling,
    NoisePrior,
    ODESolver,
    PointEmbedding,
    Policy,
    ProbabilityPath,
    TimeDistribution,
    TimeEmbedding,
    VelocityField,
)
from floqzoo.testing import LAWS, assert_holds


FAMILIES = {
    NoisePrior: testing.every_prior,
    ProbabilityPath: testing.every_path,
    AffinePath: testing.every_path,
    ODESolver: testing.every_solver,
    FixedStepSolver: testing.every_solver[:3],
    VelocityField: testing.every_field,
    LinearLayer: testing.every_layer,
    Network: testing.every_network,
    TimeEmbedding: testing.every_time_embedding,
    PointEmbedding: testing.every_point_embedding,
    TimeDistribution: testing.every_time_distribution,
    Aggregation: testing.every_aggregation,
    Backup: testing.every_backup,
    NoiseCoupling: testing.every_noise_coupling,
    Critic: testing.every_critic,
    Policy: testing.every_policy,
}
CASES = [
    pytest.param(law, member, id=f"{law.__name__}-{re.split(r'[(),]', repr(member))[1]}{index}")
    for kind, family in FAMILIES.items()
    for index, member in enumerate(family)
    for law in LAWS[kind]
]


@pytest.mark.parametrize(("law", "member"), CASES)
def test_member_keeps_law(law, member):
    assert_holds(law, member)
