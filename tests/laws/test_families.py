"""Every member of every family keeps every law of its kind; a new member joins in `floqzoo/testing/families.py`."""

import ast
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import pytest
from hypothesis import Phase, given, settings

from floqzoo import protocols
from floqzoo.protocols import ActsFromNoise, Diagnosable, Exploring, HasAdvantage, NoisyCritic
from floqzoo.testing import FAMILIES, LAWS, assert_holds
from floqzoo.testing.batch_source_laws import (
    a_chunk_holds_the_actions_of_one_episode,
    a_key_decides_the_batch,
    examples_come_from_the_data,
)
from floqzoo.testing.critic_laws import critic_loss_draws_for_each_row
from floqzoo.testing.hyperparameter_laws import no_gradient_reaches_a_number_that_is_not_learnt
from floqzoo.testing.policy_laws import policy_loss_draws_for_each_row
from floqzoo.testing.successor_laws import successor_loss_draws_for_each_row


ROOT = Path(__file__).parents[2]


def name_of(member) -> str:
    """The name of the class or function that a strategy builds its parts with."""
    return re.search(r"\((\w+|lambda)", repr(member))[1]


def example_of(member) -> Any:
    """The simplest part that a strategy builds."""
    found = []

    @settings(max_examples=1, phases=[Phase.generate], database=None)
    @given(member)
    def take(part):
        found.append(part)

    take()
    return found[0]


# They compile programs of every member, and hold whatever the numbers are.
SLOW = {
    a_chunk_holds_the_actions_of_one_episode,
    a_key_decides_the_batch,
    critic_loss_draws_for_each_row,
    examples_come_from_the_data,
    no_gradient_reaches_a_number_that_is_not_learnt,
    policy_loss_draws_for_each_row,
    successor_loss_draws_for_each_row,
}
# The first member of a family stands for it in a quick run, with all examples of the profile.
QUICK = 1
# Every example is a program to compile. Which numbers receive a gradient depends on the class, so one example shows it; so
# does one for a builder that is in the family before, with other settings.
FEW, ONE = 2, {no_gradient_reaches_a_number_that_is_not_learnt}


def is_repeated(family, index) -> bool:
    """Whether the same function builds a member before."""
    return name_of(family[index]) in map(name_of, family[:index])


CASES = [
    pytest.param(
        law,
        member,
        (1 if law in ONE or is_repeated(family, index) else FEW) if law in SLOW or index >= QUICK else None,
        id=f"{law.__name__}-{name_of(member)}-{index}",
        marks=[pytest.mark.slow] * (law in SLOW or index >= QUICK),
    )
    for kind, family in FAMILIES.items()
    for index, member in enumerate(family)
    for law in LAWS[kind]
]


@pytest.mark.parametrize(("law", "member", "examples"), CASES)
def test_a_member_keeps_a_law(law, member, examples, fewer_examples):
    with fewer_examples(examples) if examples else nullcontext():
        assert_holds(law, member)


MEMBERS = [pytest.param(member, id=f"{name_of(member)}-{index}") for index, member in enumerate(FAMILIES[eqx.Module])]


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_satisfies_no_protocol_by_accident(member):
    """Methods of protocols have names of their own, so whatever satisfies a protocol was meant to, and is in its family."""
    meant = {kind for kind, family in FAMILIES.items() if any(repr(each) == repr(member) for each in family)}
    fits = {kind for kind in FAMILIES if isinstance(example_of(member), kind)}
    optional = {
        NoisyCritic,
        Diagnosable,
        HasAdvantage,
        Exploring,
        ActsFromNoise,
    }  # each has its members, but not all variants of them
    assert fits - optional <= meant


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_is_arrays_and_what_its_program_is_built_from(member):
    """A Python number among the leaves would be traced as an array, or differentiated: it belongs into a static field."""

    def is_foreign(node):
        return isinstance(node, eqx.Module) and not type(node).__module__.startswith("floqzoo")

    leaves = jax.tree.leaves(example_of(member), is_leaf=is_foreign)
    assert not [leaf for leaf in leaves if isinstance(leaf, bool | int | float | str)]


# Protocols that no law of this kind can be asked of, and where their members are tested.
WITHOUT_LAWS = {
    "ActsInChunks": "a note to whatever acts in an environment: tests/training/test_open_loop.py",
    "ActsInSteps": "numbers of steps of one policy: tests/policies/test_shortcut_policy.py",
    "DatasetScript": "builds a recorder: tests/tasks/test_collect.py",
    "EpisodeRecorder": "an episode of a simulator, seconds long: tests/tasks/test_recorders.py",
    "EpisodeDataset": "data in episodes: tests/tasks/test_dataset.py, and users' own, tests/test_users_own_parts.py",
    "EpisodeStore": "what readers read: tests/tasks/test_dataset.py, test_replay_buffer.py, test_future_replay.py",
    "FlowValued": "the inside of a flow critic: tests/critics/test_flow_diagnostics.py",
    "HasBehaviour": "a policy of its own: tests/training/test_loop.py",
    "HasFeatures": "the inside of a network: tests/networks/test_conditional_field.py",
    "HasFutureKind": "says what futures are of: tests/studies/test_future_model.py",
    "HasQuantiles": "quantiles of a prior: tests/flow/test_priors.py",
    "HasReplay": "makes a replay buffer: tests/tasks/test_replay_buffer.py",
    "HasTemperature": "a number of a policy: tests/policies/test_tanh_gaussian_policy.py",
    "HasPhases": "starts of phases: tests/training/test_phases_of_agents.py",
    "Launcher": "internal: tests/sweeps/test_scheduler.py, test_ray_launcher.py",
    "MetricWriter": "it takes, and gives nothing back: tests/training/test_metric_writer.py",
    "OfflineDataset": "data on the device: tests/tasks/test_dataset.py",
    "PredictsFutures": "futures of a critic, in the units of its inputs: tests/studies/test_future_model.py",
    "ScoresInSteps": "numbers of steps of one critic: tests/policies/test_shortcut_policy.py",
    "Task": "a dataset and an environment: tests/tasks/test_load.py",
    "TrainableAgent": "one class, tests/test_agent.py, and users' own, tests/test_users_own_parts.py",
}


def defined_protocols() -> set[str]:
    """The names of all protocols of the package."""
    trees = [ast.parse(path.read_text()) for path in ROOT.glob("floqzoo/**/*.py")]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {node.name for node in classes if any("Protocol" in ast.unparse(base) for base in node.bases)}


def test_every_kind_with_laws_has_members():
    assert LAWS.keys() == FAMILIES.keys()


def test_every_protocol_is_in_one_file():
    named = {member.__name__ for member in vars(protocols).values() if getattr(member, "_is_protocol", False)}
    assert defined_protocols() == named - {"Protocol"}


def test_every_protocol_has_laws_or_is_said_to_have_none():
    with_laws = {kind.__name__ for kind in LAWS if getattr(kind, "_is_protocol", False)}
    assert defined_protocols() - with_laws == WITHOUT_LAWS.keys()
    tests = {name for reason in WITHOUT_LAWS.values() for name in re.findall(r"test_\w+\.py", reason)}
    assert tests <= {path.name for path in ROOT.glob("tests/**/*.py")}


def test_every_law_is_stated():
    laws = [law for laws in LAWS.values() for law in laws]
    assert len({law.__name__ for law in laws}) == len(laws)
    assert all(law.__doc__.strip().endswith((".", "$")) for law in laws)
