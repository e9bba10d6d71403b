"""Critics, which estimate returns, and the parts from which their TD targets are built."""

from floqzoo.critics.categorical_critic import CategoricalCritic as CategoricalCritic
from floqzoo.critics.conservative_critic import ConservativeCritic as ConservativeCritic
from floqzoo.critics.evor_critic import EVORCritic as EVORCritic
from floqzoo.critics.flow_critic import FlowCritic as FlowCritic
from floqzoo.critics.iql_critic import IQLCritic as IQLCritic
from floqzoo.critics.level_loss import ExpectileLoss as ExpectileLoss, HuberQuantileLoss as HuberQuantileLoss
from floqzoo.critics.monolithic_critic import MonolithicCritic as MonolithicCritic
from floqzoo.critics.null_critic import NullCritic as NullCritic
from floqzoo.critics.q_ensemble import QEnsemble as QEnsemble
from floqzoo.critics.quantile_critic import QuantileCritic as QuantileCritic
from floqzoo.critics.quantile_ensemble import (
    LevelConcatenation as LevelConcatenation,
    LevelProduct as LevelProduct,
    QuantileEnsemble as QuantileEnsemble,
)
from floqzoo.critics.rebrac_critic import ReBRACCritic as ReBRACCritic, SmoothingNoise as SmoothingNoise
from floqzoo.critics.return_flow_critic import ReturnFlowCritic as ReturnFlowCritic
from floqzoo.critics.sac_critic import SACCritic as SACCritic
from floqzoo.critics.step_conditioned_critic import StepConditionedCritic as StepConditionedCritic
from floqzoo.critics.td_targets import (
    DistributionalBackup as DistributionalBackup,
    ExpectedBackup as ExpectedBackup,
    IndependentNoise as IndependentNoise,
    MeanOverEnsemble as MeanOverEnsemble,
    MinOverEnsemble as MinOverEnsemble,
    SharedNoise as SharedNoise,
)
from floqzoo.critics.uniform_support import UniformSupport as UniformSupport
