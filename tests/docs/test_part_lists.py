"""The tables of parts on the page of the protocols agree with the families and with the recipes."""

import pytest
from hypothesis import Phase, given, settings
from part_lists import members_of, part_table, parts_of, public_classes, recipes_using, title_of

import floqzoo as fz
from floqzoo import protocols
from floqzoo.testing import FAMILIES
from recipes import NAMES


KINDS = [kind for kind in FAMILIES if getattr(kind, "_is_protocol", False)]


def classes_in(kind: type) -> set[type]:
    """The classes of a family, from the simplest part of each member."""
    found = set()
    for member in FAMILIES[kind]:

        @settings(max_examples=1, phases=[Phase.generate], database=None)
        @given(member)
        def take(part):
            found.add(type(part))

        take()
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_listed_parts_are_the_members_of_the_family(kind):
    listed, family = set(parts_of(kind).values()), classes_in(kind)
    assert family <= listed
    # The exact answer of an analytic task, and a network of bytes, of which the laws of networks ask nothing.
    assert {part.__name__ for part in listed - family} <= {"ExactField", "PixelNetwork"}


def test_a_class_with_all_methods_but_one_is_not_listed():
    assert members_of(protocols.NoisyCritic) == {"value"}
    assert fz.MonolithicCritic not in parts_of(protocols.NoisyCritic).values()
    assert fz.FlowCritic in parts_of(protocols.NoisyCritic).values()


def test_recipes_are_listed_beside_the_parts_that_they_build():
    using = recipes_using()
    assert "floq" in using[fz.FlowCritic] and "fql" not in using[fz.FlowCritic]
    assert "rebrac" in using[fz.AlternatingUpdate] and "rebrac" not in using[fz.JointUpdate]
    assert set(using[fz.ChunkedPolicy]) >= {"floq", "fql", "qc"}  # by presets other than the default
    assert using[fz.Agent] == NAMES
    assert "floq" in using[fz.MinOverEnsemble]  # by the published settings of one environment


def test_the_table_links_to_parts_and_recipes():
    rows = part_table(protocols.Critic).splitlines()
    (row,) = (row for row in rows if row.startswith("| [`FlowCritic`][floqzoo.critics.FlowCritic] |"))
    assert "[floq](../recipes/floq.md)" in row
    (row,) = (row for row in part_table(protocols.UpdateRule).splitlines() if "`JointUpdate`" in row)
    assert "all but" in row and title_of("rebrac") == "ReBRAC" and "[ReBRAC](../recipes/rebrac.md)" in row
    assert part_table(protocols.DatasetScript) == ""
    assert len(public_classes()) > 60
