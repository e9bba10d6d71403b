"""Critics: what estimates the return of an action, and how its targets are formed."""

from floqzoo.critics.aggregation import MeanOverEnsemble as MeanOverEnsemble, MinOverEnsemble as MinOverEnsemble
from floqzoo.critics.backup import DistributionalBackup as DistributionalBackup, ExpectedBackup as ExpectedBackup
from floqzoo.critics.flow_critic import FlowCritic as FlowCritic
from floqzoo.critics.iql_critic import IQLCritic as IQLCritic
from floqzoo.critics.monolithic_critic import MonolithicCritic as MonolithicCritic
from floqzoo.critics.noise_coupling import IndependentNoise as IndependentNoise, SharedNoise as SharedNoise
from floqzoo.critics.null_critic import NullCritic as NullCritic
from floqzoo.critics.q_ensemble import QEnsemble as QEnsemble
from floqzoo.critics.rebrac_critic import ReBRACCritic as ReBRACCritic, SmoothingNoise as SmoothingNoise
