"""The page of the protocols: methods, laws, parts, and the recipes that use each part."""

import inspect

from part_lists import part_table

from floqzoo import protocols
from floqzoo.testing import LAWS


INTRODUCTION = """# Protocols and arrays

<!-- Written by docs/generate.py. -->

This page describes every protocol of floqzoo: its methods, its *laws* (the properties that every implementation must have), its
*parts* (the public classes that implement it), and the recipes that use each part.

To write your own part, define a class with the methods of the protocol in a file of your own. The class does not have to
inherit from any floqzoo class. `floqzoo.testing.assert_obeys(part)` checks all laws listed here; see [check a part of your
own](../guides/laws.md). Methods take a single example, and the caller adds `jax.vmap`. Losses take a batch, with the batch axis
first.

A recipe is listed for a part if any preset of the recipe builds that part. With its flags, a recipe may use other parts as
well.
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
    "Agent": (protocols.UpdateRule, protocols.TargetUpdate, protocols.TrainableAgent),
    "Optional capabilities": (
        protocols.NoisyCritic,
        protocols.HasAdvantage,
        protocols.Diagnosable,
        protocols.FlowValued,
        protocols.HasBehaviour,
        protocols.Exploring,
        protocols.ActsInChunks,
        protocols.ActsInSteps,
        protocols.ScoresInSteps,
        protocols.HasDensity,
        protocols.ActsFromNoise,
        protocols.ActsForLatent,
        protocols.ScoresForLatent,
        protocols.PredictsFutures,
        protocols.HasFutureKind,
        protocols.HasQuantiles,
        protocols.HasTemperature,
        protocols.HasPhases,
        protocols.HasFeatures,
    ),
    "Successor measures": (
        protocols.SuccessorMeasure,
        protocols.SuccessorTarget,
        protocols.NextAction,
        protocols.RewardModel,
    ),
    "Batches": (
        protocols.BatchSource,
        protocols.TransitionReader,
        protocols.EpisodeStore,
        protocols.EpisodeDataset,
        protocols.HasReplay,
    ),
    "Tasks": (
        protocols.Task,
        protocols.OfflineDataset,
        protocols.DatasetScript,
        protocols.EpisodeRecorder,
    ),
    "Runs and sweeps": (protocols.MetricWriter, protocols.Launcher),
}


def protocols_page() -> str:
    """The page, in Markdown."""
    parts = [INTRODUCTION]
    for group, members in GROUPS.items():
        parts += [f"## {group}\n", *(_protocol(protocol) for protocol in members)]
    return "\n".join([*parts, ARRAYS])


def _protocol(protocol: type) -> str:
    """The methods, as mkdocstrings shows them, the laws, each with a link to its statement, and the parts."""
    options = "    options:\n      heading_level: 3\n      show_root_heading: true\n      show_root_toc_entry: true\n"
    text = f"::: floqzoo.protocols.{protocol.__name__}\n{options}"
    if protocol in LAWS:
        text += "\n**Laws**\n\n" + "\n".join(_law(law) for law in LAWS[protocol]) + "\n"
    if table := part_table(protocol):
        text += f"\n**Parts**\n\n{table}\n"
    return text


def _law(law) -> str:
    statement = " ".join((inspect.getdoc(law) or "").split("\n\n")[0].split())
    return f"- [`{law.__name__}`][{law.__module__}.{law.__name__}]: {statement}"
