"""A number of samples, such as floq's noise samples, is the number of independent draws: no draw is shared by several."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import equinox as eqx
import jax
import pytest
from jax.extend import core
from test_families import example_of

from floqzoo import protocols
from floqzoo.testing import FAMILIES, Sizes, examples
from floqzoo.testing.hyperparameter_laws import OUTPUTS, Numbers


# Parts are built when a test asks for them: every process of the tests imports this file.
@cache
def example():
    return example_of(examples(Sizes()))


# What one sample of one row draws: numbers, of which a state has 3 and an action 2. None: the samples are quantiles.
DRAWS = {
    ("FlowCritic", "num_noise_samples"): 1 + 1 + 1 + 2,  # z, z', t and a'
    ("SuccessorCritic", "num_samples"): 3,
    ("SuccessorCritic", "num_score_samples"): 3,
    ("QuantileCritic", "num_levels"): 1,
    ("QuantileCritic", "num_target_levels"): 1,
    ("ConservativeCritic", "num_actions"): 2 + 2,  # a uniform action, and one of the policy
    ("ReturnFlowCritic", "num_score_samples"): None,
    ("EVORCritic", "num_score_samples"): None,
    ("IntentionCritic", "num_futures"): 3,
    ("GeometricGPIPolicy", "num_samples"): 3 + 3,  # the states of both stages
    ("BestOfNPolicy", "num_samples"): 2,
    ("SoftBestOfNPolicy", "num_samples"): 2,
}
# They divide an interval or a range, or use some of the samples of another field.
NO_SAMPLES = {"num_steps", "num_atoms", "num_distillation_samples"}


def numbers_of_samples(part) -> Iterator[str]:
    names = [field.name for field in dataclasses.fields(part)]
    yield from (name for name in names if name.startswith("num_") and name not in NO_SAMPLES)


@cache
def parts():
    return {
        (type(part).__name__, name): part
        for kind in (protocols.Critic, protocols.Policy)
        for part in map(example_of, reversed(FAMILIES[kind]))  # so that the first of a class is kept
        for name in numbers_of_samples(part)
    }


def drawn(jaxpr) -> int:
    """How many random numbers a traced program draws."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "random_bits":
            total += sum(math.prod(output.aval.shape) for output in equation.outvars)
        inner = [
            x for value in equation.params.values() for x in (value if isinstance(value, tuple | list) else [value])
        ]
        programs = [getattr(x, "jaxpr", x) for x in inner if isinstance(x, core.ClosedJaxpr | core.Jaxpr)]
        total += equation.params.get("length", 1) * sum(map(drawn, programs))
    return total


def drawn_by(part, output) -> int:
    arrays, rest = eqx.partition(Numbers.of(example()), eqx.is_array)
    return drawn(jax.make_jaxpr(lambda arrays: output(part, eqx.combine(arrays, rest)))(arrays).jaxpr)


def score(critic, x):
    return critic.score(x.observation, x.action)


def critic_loss(critic, x):
    return critic.critic_loss(x.batch, x.agent(critic), x.key)[0]


def act(policy, x):
    return policy.act(x.observation, x.agent(policy).critic, x.key)


def test_every_number_of_samples_is_listed():
    assert parts().keys() == DRAWS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("case", DRAWS, ids=".".join)
def test_each_sample_of_each_row_has_its_own_draws(case):
    part, (_, name) = parts()[case], case
    uses = [
        (protocols.Critic, critic_loss, len(example().batch.reward)),
        (protocols.Critic, score, 1),
        (protocols.NoisyCritic, OUTPUTS[protocols.NoisyCritic], 1),
        (protocols.Policy, act, 1),
    ]
    found = set()
    for kind, output, rows in uses:
        if isinstance(part, kind):
            few, more, most = (drawn_by(replace(part, **{name: count}), output) for count in (2, 3, 4))
            assert more - few == most - more
            found.add((more - few) / rows)
    assert found - {0} == ({DRAWS[case]} - {None})
