"""The names of `floqzoo` and the modules that define them; `__init__.py` reads this file, and imports each at its first use."""

from ._version import __version__ as __version__
from .agent import Agent as Agent
from .citations import citation as citation
from .critics import (
    CategoricalCritic as CategoricalCritic,
    ConservativeCritic as ConservativeCritic,
    DistributionalBackup as DistributionalBackup,
    EVORCritic as EVORCritic,
    ExpectedBackup as ExpectedBackup,
    ExpectileLoss as ExpectileLoss,
    FlowCritic as FlowCritic,
    HuberQuantileLoss as HuberQuantileLoss,
    IndependentNoise as IndependentNoise,
    IQLCritic as IQLCritic,
    LevelConcatenation as LevelConcatenation,
    LevelProduct as LevelProduct,
    MeanOverEnsemble as MeanOverEnsemble,
    MinOverEnsemble as MinOverEnsemble,
    MonolithicCritic as MonolithicCritic,
    NullCritic as NullCritic,
    QEnsemble as QEnsemble,
    QuantileCritic as QuantileCritic,
    QuantileEnsemble as QuantileEnsemble,
    ReBRACCritic as ReBRACCritic,
    ReturnFlowCritic as ReturnFlowCritic,
    SACCritic as SACCritic,
    SharedNoise as SharedNoise,
    SmoothingNoise as SmoothingNoise,
    StepConditionedCritic as StepConditionedCritic,
    UniformSupport as UniformSupport,
)
from .export import export_policy as export_policy, export_run as export_run, load_agent as load_agent
from .flow import (
    DDIM as DDIM,
    ClippedEuler as ClippedEuler,
    DiffraxSolver as DiffraxSolver,
    Euler as Euler,
    ExactDivergence as ExactDivergence,
    Flow as Flow,
    GaussianPrior as GaussianPrior,
    Heun as Heun,
    HutchinsonDivergence as HutchinsonDivergence,
    LinearPath as LinearPath,
    Midpoint as Midpoint,
    NoisePrediction as NoisePrediction,
    OptimalTransportPath as OptimalTransportPath,
    TrigonometricPath as TrigonometricPath,
    UniformPrior as UniformPrior,
    UniformTime as UniformTime,
    VariancePreservingPath as VariancePreservingPath,
    ZeroTime as ZeroTime,
    path_curvature as path_curvature,
)
from .hyperparameter import (
    Hyperparameter as Hyperparameter,
    State as State,
    partition_trainable as partition_trainable,
)
from .learner import (
    BalancedReplay as BalancedReplay,
    GeometricFuture as GeometricFuture,
    NStep as NStep,
    SeededReplay as SeededReplay,
    UniformBatches as UniformBatches,
)
from .networks import (
    MLP as MLP,
    ConditionalField as ConditionalField,
    CosineTime as CosineTime,
    Dense as Dense,
    EmbeddingNetwork as EmbeddingNetwork,
    Ensemble as Ensemble,
    FourierTime as FourierTime,
    HLGauss as HLGauss,
    LayerNorm as LayerNorm,
    NormalisedValue as NormalisedValue,
    Normaliser as Normaliser,
    RawPoint as RawPoint,
    RawTime as RawTime,
    ResidualMLP as ResidualMLP,
    SinusoidalTime as SinusoidalTime,
    UNetField as UNetField,
)
from .phased_update import Phase as Phase, PhasedUpdate as PhasedUpdate
from .policies import (
    AWRPolicy as AWRPolicy,
    BehaviourFlow as BehaviourFlow,
    BestOfNNextAction as BestOfNNextAction,
    BestOfNPolicy as BestOfNPolicy,
    ChunkedPolicy as ChunkedPolicy,
    DDPGBCPolicy as DDPGBCPolicy,
    DeterministicPolicy as DeterministicPolicy,
    DistilledFlowPolicy as DistilledFlowPolicy,
    FixedPolicy as FixedPolicy,
    FunctionPolicy as FunctionPolicy,
    GPIPolicy as GPIPolicy,
    ShortcutPolicy as ShortcutPolicy,
    SoftBestOfNPolicy as SoftBestOfNPolicy,
    TanhGaussianPolicy as TanhGaussianPolicy,
)
from .records import (
    ActionDraw as ActionDraw,
    ActorCritic as ActorCritic,
    FrozenAgent as FrozenAgent,
    Occasional as Occasional,
    PathPoint as PathPoint,
    Stateful as Stateful,
    StepCount as StepCount,
    Trajectory as Trajectory,
    Transition as Transition,
    UpdateMetrics as UpdateMetrics,
)
from .rollout import Evaluation as Evaluation, evaluate as evaluate
from .runs import Recipe as Recipe, RunConfig as RunConfig, StoredRun as StoredRun
from .scopes import update_step as update_step
from .successor import (
    CoupledTDTarget as CoupledTDTarget,
    DataNextAction as DataNextAction,
    FlowSuccessor as FlowSuccessor,
    ForwardBackward as ForwardBackward,
    IntentionCritic as IntentionCritic,
    IntentionEncoder as IntentionEncoder,
    IntentionSuccessor as IntentionSuccessor,
    KnownReward as KnownReward,
    LatentMixture as LatentMixture,
    LatentPolicy as LatentPolicy,
    LearntReward as LearntReward,
    MonteCarloTarget as MonteCarloTarget,
    PolicyNextAction as PolicyNextAction,
    StraightTD2Target as StraightTD2Target,
    SuccessorCritic as SuccessorCritic,
    TD2Target as TD2Target,
    TDTarget as TDTarget,
    infer_goal as infer_goal,
    infer_task as infer_task,
)
from .tasks import (
    Dataset as Dataset,
    Task as Task,
    collect as collect,
    load as load,
    make_dataset as make_dataset,
)
from .training import resume as resume, run_recipe as run_recipe, train as train
from .update_rules import (
    AlternatingUpdate as AlternatingUpdate,
    JointUpdate as JointUpdate,
    PolyakAveraging as PolyakAveraging,
    SequentialUpdate as SequentialUpdate,
    gradient_step as gradient_step,
    optimiser_per_field as optimiser_per_field,
)
