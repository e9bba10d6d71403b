"""The page of the sockets: what a part must have, and which laws it must obey."""

import inspect

from floqzoo import protocols
from floqzoo.testing import LAWS


INTRODUCTION = """# Protocols and arrays

<!-- Written by docs/generate.py. -->

Every socket of the zoo. A part of your own is a class in your own file with the methods of its socket; it inherits from
nothing. `floqzoo.testing.assert_obeys(part)` tries every law below on it, see [the laws of a part](../guides/laws.md).
Methods speak of one example, and their caller adds `jax.vmap`; the three losses speak of a batch, whose axis comes first.
"""
ARRAYS = """## Arrays and records

::: floqzoo.typing
    options:
      heading_level: 3

::: floqzoo.records
    options:
      heading_level: 3
"""
GROUPS = {
    "Flow": (
        protocols.NoisePrior,
        protocols.ProbabilityPath,
        protocols.ODESolver,
        protocols.VelocityField,
        protocols.TimeDistribution,
    ),
    "Networks": (protocols.Network, protocols.LinearLayer, protocols.TimeEmbedding, protocols.PointEmbedding),
    "Critics": (protocols.Critic, protocols.Aggregation, protocols.Backup, protocols.NoiseCoupling),
    "Policies": (protocols.Policy,),
    "Successor measures": (
        protocols.SuccessorMeasure,
        protocols.SuccessorTarget,
        protocols.NextAction,
        protocols.RewardModel,
    ),
    "Training": (protocols.BatchSource,),
}


def protocols_page() -> str:
    """The page, in Markdown."""
    parts = [INTRODUCTION]
    for group, sockets in GROUPS.items():
        parts += [f"## {group}\n", *(_socket(socket) for socket in sockets)]
    return "\n".join([*parts, ARRAYS])


def _socket(socket: type) -> str:
    """What a part must have, as mkdocstrings shows it, and its laws, each with a link to its statement."""
    options = "    options:\n      heading_level: 3\n      show_root_heading: true\n      show_root_toc_entry: true\n"
    laws = "\n".join(_law(law) for law in LAWS[socket])
    return f"::: floqzoo.protocols.{socket.__name__}\n{options}\n**It must obey**\n\n{laws}\n"


def _law(law) -> str:
    statement = " ".join((inspect.getdoc(law) or "").split("\n\n")[0].split())
    return f"- [`{law.__name__}`][{law.__module__}.{law.__name__}]: {statement}"
