"""A modular zoo of flow-matching reinforcement learning in JAX and Equinox.

Shapes and types of every call are checked while JAX traces it, so a compiled run pays nothing;
the environment variable `JAXTYPING_DISABLE=1` switches the checks off.
"""

from jaxtyping import install_import_hook as _install_import_hook


_install_import_hook("floqzoo", "beartype.beartype")

from floqzoo._version import __version__ as __version__  # noqa: E402
from floqzoo.agent import Agent as Agent  # noqa: E402
from floqzoo.citations import citation as citation  # noqa: E402
from floqzoo.critics import (  # noqa: E402
    DistributionalBackup as DistributionalBackup,
    ExpectedBackup as ExpectedBackup,
    FlowCritic as FlowCritic,
    IndependentNoise as IndependentNoise,
    MeanOverEnsemble as MeanOverEnsemble,
    MinOverEnsemble as MinOverEnsemble,
    MonolithicCritic as MonolithicCritic,
    NoCritic as NoCritic,
    QEnsemble as QEnsemble,
    SharedNoise as SharedNoise,
)
from floqzoo.flow import (  # noqa: E402
    DDIM as DDIM,
    Diffrax as Diffrax,
    Euler as Euler,
    ExactDivergence as ExactDivergence,
    Flow as Flow,
    Gaussian as Gaussian,
    Heun as Heun,
    HutchinsonDivergence as HutchinsonDivergence,
    Linear as Linear,
    Midpoint as Midpoint,
    NoisePrediction as NoisePrediction,
    OptimalTransport as OptimalTransport,
    Trigonometric as Trigonometric,
    Uniform as Uniform,
    UniformTime as UniformTime,
    VariancePreserving as VariancePreserving,
    ZeroTime as ZeroTime,
    path_curvature as path_curvature,
)
from floqzoo.hyperparameter import Hyperparameter as Hyperparameter  # noqa: E402
from floqzoo.networks import (  # noqa: E402
    MLP as MLP,
    ConditionalField as ConditionalField,
    CosineTime as CosineTime,
    Dense as Dense,
    Ensemble as Ensemble,
    FourierTime as FourierTime,
    HLGauss as HLGauss,
    LayerNorm as LayerNorm,
    NormalisedValue as NormalisedValue,
    RawPoint as RawPoint,
    RawTime as RawTime,
    ResidualMLP as ResidualMLP,
    SinusoidalTime as SinusoidalTime,
    UNetField as UNetField,
)
from floqzoo.policies import (  # noqa: E402
    BehaviourFlow as BehaviourFlow,
    DistilledFlowPolicy as DistilledFlowPolicy,
    FixedPolicy as FixedPolicy,
    FunctionPolicy as FunctionPolicy,
    GPIPolicy as GPIPolicy,
)
from floqzoo.records import (  # noqa: E402
    FutureTransition as FutureTransition,
    PathPoint as PathPoint,
    Trajectory as Trajectory,
    Transition as Transition,
    UpdateMetrics as UpdateMetrics,
)
from floqzoo.successor import (  # noqa: E402
    TD as TD,
    TD2 as TD2,
    CoupledTD as CoupledTD,
    FlowSuccessor as FlowSuccessor,
    FromData as FromData,
    FromPolicy as FromPolicy,
    KnownReward as KnownReward,
    LearntReward as LearntReward,
    MonteCarlo as MonteCarlo,
    Normaliser as Normaliser,
    SuccessorCritic as SuccessorCritic,
)
