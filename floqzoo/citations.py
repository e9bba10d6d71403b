"""Citations of the papers and programs that the parts of an agent are based on."""

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import diffrax
import equinox as eqx
import optax

from floqzoo import bibliography as bib, critics, flow, networks, policies, successor
from floqzoo.agent import Agent
from floqzoo.bibliography import Reference
from floqzoo.hyperparameter import Hyperparameter, State
from floqzoo.phased_update import Phase, PhasedUpdate
from floqzoo.tasks.load import OGBenchTask
from floqzoo.update_rules import AlternatingUpdate, JointUpdate, PolyakAveraging, SequentialUpdate


SOURCES: Mapping[type, tuple[Reference, ...]] = MappingProxyType(
    {
        # networks
        networks.CosineTime: (bib.FLOQ,),
        networks.SinusoidalTime: (bib.DDPM,),
        networks.HLGauss: (bib.HL_GAUSS, bib.FLOQ),
        networks.FiLM: (bib.FILM,),
        networks.ImpalaEncoder: (bib.IMPALA,),
        networks.UNetField: (bib.TD_FLOW, bib.FILM),
        # flow
        flow.Flow: (bib.FLOW_MATCHING,),
        flow.LinearPath: (bib.RECTIFIED_FLOW,),
        flow.OptimalTransportPath: (bib.FLOW_MATCHING,),
        flow.TrigonometricPath: (bib.STOCHASTIC_INTERPOLANTS,),
        flow.VariancePreservingPath: (bib.SCORE_SDE,),
        flow.NoisePrediction: (bib.DDPM, bib.SCORE_SDE),
        flow.DDIM: (bib.DDIM_PAPER,),
        flow.ExactDivergence: (bib.NEURAL_ODES,),
        flow.HutchinsonDivergence: (bib.FFJORD,),
        flow.ZeroTime: (bib.FLOQ,),
        flow.ClippedEuler: (bib.VALUE_FLOWS,),
        # critics
        critics.FlowCritic: (bib.FLOQ, bib.FLOW_MATCHING),
        critics.MonolithicCritic: (bib.FQL,),
        critics.IQLCritic: (bib.IQL,),
        critics.ReBRACCritic: (bib.REBRAC,),
        critics.SACCritic: (bib.SAC, bib.RLPD),
        critics.QuantileCritic: (bib.IQN,),
        critics.QuantileEnsemble: (bib.IQN,),
        critics.LevelProduct: (bib.IQN, bib.VALUE_FLOWS),
        critics.LevelConcatenation: (bib.FLOQ,),
        critics.HuberQuantileLoss: (bib.QR_DQN,),
        critics.ExpectileLoss: (bib.FLOQ,),
        critics.ConservativeCritic: (bib.CODAC,),
        critics.CategoricalCritic: (bib.C51,),
        critics.UniformSupport: (bib.C51,),
        critics.ReturnFlowCritic: (bib.VALUE_FLOWS, bib.FLOW_MATCHING),
        critics.EVORCritic: (bib.EVOR,),
        critics.StepConditionedCritic: (bib.SORL,),
        critics.SmoothingNoise: (bib.TD3,),
        critics.MinOverEnsemble: (bib.TD3,),
        critics.ExpectedBackup: (bib.FLOQ,),
        critics.DistributionalBackup: (bib.FLOW_MATCHING_IN_TD, bib.VALUE_FLOWS),
        critics.IndependentNoise: (bib.FLOQ,),
        critics.SharedNoise: (bib.VALUE_FLOWS,),
        # policies
        policies.BehaviourFlow: (bib.FQL,),
        policies.DistilledFlowPolicy: (bib.FQL,),
        policies.AWRPolicy: (bib.AWR, bib.IQL),
        policies.BestOfNPolicy: (bib.IDQL, bib.FQL),
        policies.SoftBestOfNPolicy: (bib.EVOR,),
        policies.BestOfNNextAction: (bib.VALUE_FLOWS,),
        policies.ChunkedPolicy: (bib.QC,),
        policies.DeterministicPolicy: (bib.TD3, bib.TD3_BC, bib.REBRAC),
        policies.DDPGBCPolicy: (bib.TD3_BC, bib.INFOM),
        policies.TanhGaussianPolicy: (bib.SAC,),
        policies.ShortcutPolicy: (bib.SORL, bib.SHORTCUT_MODELS),
        policies.GPIPolicy: (bib.SUCCESSOR_FEATURES, bib.TD_FLOW),
        policies.FamilyGPIPolicy: (bib.SUCCESSOR_FEATURES, bib.TD_FLOW),
        # update rules
        AlternatingUpdate: (bib.TD3,),
        SequentialUpdate: (bib.SORL,),
        # successor measures
        successor.FlowSuccessor: (bib.TD_FLOW,),
        successor.DiscountRangeSuccessor: (bib.TD_FLOW,),
        successor.FamilySuccessor: (bib.TD_FLOW,),
        successor.FamilyValue: (bib.TD_FLOW,),
        successor.GeometricGPIPolicy: (bib.GEOMETRIC_GPI, bib.SUCCESSOR_FEATURES),
        successor.SuccessorCritic: (bib.TD_FLOW,),
        successor.MonteCarloTarget: (bib.TD_FLOW,),
        successor.TDTarget: (bib.TD_FLOW,),
        successor.CoupledTDTarget: (bib.TD_FLOW,),
        successor.TD2Target: (bib.TD_FLOW,),
        successor.NoiseError: (bib.DDPM,),
        successor.ForwardBackward: (bib.FB, bib.ZERO_SHOT),
        successor.LatentPolicy: (bib.FB, bib.TD3),
        successor.StraightTD2Target: (bib.INFOM,),
        successor.IntentionEncoder: (bib.INFOM,),
        successor.IntentionSuccessor: (bib.INFOM,),
        successor.IntentionCritic: (bib.INFOM,),
        # tasks
        OGBenchTask: (bib.OGBENCH,),
        eqx.Module: (bib.EQUINOX, bib.JAX),
        diffrax.AbstractSolver: (bib.DIFFRAX,),
        optax.GradientTransformation: (bib.OPTAX,),
    }
)
"""The references of each class; a subclass also has the references of its base classes."""

PROGRAMS = (eqx.Module, diffrax.AbstractSolver, optax.GradientTransformation)
"""The classes in `SOURCES` whose references are programs, which `citation` lists after the papers."""

WITHOUT_SOURCE: frozenset[type] = frozenset(
    {
        Agent,
        Hyperparameter,
        JointUpdate,
        Phase,
        PhasedUpdate,
        PolyakAveraging,
        State,
        networks.ConditionalField,
        networks.Convolution,
        networks.Dense,
        networks.EmbeddingNetwork,
        networks.Ensemble,
        networks.FourierTime,
        networks.LayerNorm,
        networks.MLP,
        networks.NormalisedValue,
        networks.Normaliser,
        networks.RawPoint,
        networks.RawTime,
        networks.PixelNetwork,
        networks.ResidualMLP,
        networks.Shared,
        flow.DiffraxSolver,  # the wrapped solver has one
        flow.Euler,
        flow.GaussianPrior,
        flow.Heun,
        flow.Midpoint,
        flow.UniformPrior,
        flow.UniformTime,
        flow.UniformTimeUntil,
        critics.MeanOverEnsemble,
        critics.NullCritic,
        critics.QEnsemble,
        policies.FixedPolicy,
        policies.FunctionPolicy,
        successor.DataNextAction,
        successor.PolicyNextAction,
        successor.Intention,
        successor.KnownReward,
        successor.LatentDraws,
        successor.LatentMixture,
        successor.LearntReward,
        successor.VelocityError,
    }
)
"""Parts without a reference, because they are common knowledge or original to floqzoo."""


def citation(*parts: Any) -> str:
    """Returns the BibTeX entries of the works that the given parts are based on, each work once.

        print(fz.citation(agent))
        print(fz.citation(agent, task))

    Papers come first; a comment above each entry names the parts that cite the paper. Programs follow: JAX and Equinox
    for every module, and optax and diffrax if they are used. An `OGBenchTask` adds OGBench. Your own parts have no
    entries, but the floqzoo parts inside them do. To cite floqzoo itself, see `CITATION.cff`.

    - `parts`: Agents, tasks, or any other objects that contain parts.
    """
    cited: dict[Reference, list[str]] = {}
    for part in _all_parts(parts):
        for kind in type(part).__mro__:
            for reference in SOURCES.get(kind, ()):
                names = cited.setdefault(reference, [])
                if kind.__name__ not in names:
                    names.append(kind.__name__)
    programs = {reference: None for kind in PROGRAMS for reference in SOURCES[kind] if reference in cited}
    papers = [reference for reference in cited if reference not in programs]
    entries = [f"% {', '.join(cited[reference])}\n{reference.bibtex()}" for reference in papers]
    return "\n\n".join([*entries, *(reference.bibtex() for reference in programs)])


def _all_parts(part: Any) -> Iterator[Any]:
    """A part and all nested parts, in pre-order."""
    yield part
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        inner = [getattr(part, field.name) for field in dataclasses.fields(part) if hasattr(part, field.name)]
    elif isinstance(part, (tuple, list)) and not isinstance(part, optax.GradientTransformation):
        inner = list(part)
    elif isinstance(part, dict):
        inner = list(part.values())
    else:
        inner = []
    for each in inner:
        yield from _all_parts(each)
