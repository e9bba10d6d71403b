"""Every member of every family keeps every law of its kind; a new member joins in `floqzoo/testing/families.py`."""

import re

import pytest

from floqzoo import protocols
from floqzoo.testing import FAMILIES, LAWS, assert_holds


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


def test_every_socket_has_laws_and_members():
    sockets = {member for member in vars(protocols).values() if getattr(member, "_is_protocol", False)}
    assert sockets - {protocols.Protocol} <= LAWS.keys()
    assert LAWS.keys() == FAMILIES.keys()


def test_every_law_is_stated():
    laws = [law for laws in LAWS.values() for law in laws]
    assert len({law.__name__ for law in laws}) == len(laws)
    assert all(law.__doc__.strip().endswith((".", "$")) for law in laws)
