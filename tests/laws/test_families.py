"""Every member of every family keeps every law of its kind; a new member joins in `floqzoo/testing/families.py`."""

import ast
import re
from pathlib import Path

import pytest

from floqzoo import protocols
from floqzoo.testing import FAMILIES, LAWS, assert_holds


ROOT = Path(__file__).parents[2]


def name_of(member) -> str:
    """The name of the class or function that a strategy builds its parts with."""
    return re.search(r"\((\w+|lambda)", repr(member))[1]


CASES = [
    pytest.param(law, member, id=f"{law.__name__}-{name_of(member)}-{index}")
    for kind, family in FAMILIES.items()
    for index, member in enumerate(family)
    for law in LAWS[kind]
]


@pytest.mark.parametrize(("law", "member"), CASES)
def test_a_member_keeps_a_law(law, member):
    assert_holds(law, member)


# Protocols that no law of this kind can be asked of, and where their members are tested.
WITHOUT_LAWS = {
    "Launcher": "internal: a sweep chooses among its own, tests/sweeps/test_drive.py, test_on_ray.py, test_on_slurm.py",
    "MetricWriter": "it takes, and gives nothing back: tests/training/test_metric_writer.py",
    "Recorder": "an episode of a simulator, seconds long: tests/tasks/test_recorders.py",
    "Script": "what builds a recorder: tests/tasks/test_collect.py",
}


def defined_protocols() -> set[str]:
    """The names of all protocols of the package."""
    trees = [ast.parse(path.read_text()) for path in ROOT.glob("floqzoo/**/*.py")]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {node.name for node in classes if any("Protocol" in ast.unparse(base) for base in node.bases)}


def test_every_socket_has_laws_and_members():
    sockets = {member for member in vars(protocols).values() if getattr(member, "_is_protocol", False)}
    assert sockets - {protocols.Protocol} <= LAWS.keys()
    assert LAWS.keys() == FAMILIES.keys()


def test_every_protocol_has_laws_or_is_said_to_have_none():
    with_laws = {kind.__name__ for kind in LAWS if getattr(kind, "_is_protocol", False)}
    assert defined_protocols() - with_laws == WITHOUT_LAWS.keys()
    tests = {name for reason in WITHOUT_LAWS.values() for name in re.findall(r"test_\w+\.py", reason)}
    assert tests <= {path.name for path in ROOT.glob("tests/**/*.py")}


def test_every_law_is_stated():
    laws = [law for laws in LAWS.values() for law in laws]
    assert len({law.__name__ for law in laws}) == len(laws)
    assert all(law.__doc__.strip().endswith((".", "$")) for law in laws)
