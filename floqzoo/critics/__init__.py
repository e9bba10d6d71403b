"""Critics: what estimates the return of an action, and how its targets are formed."""

from floqzoo.critics.aggregation import MeanOverEnsemble as MeanOverEnsemble, MinOverEnsemble as MinOverEnsemble
from floqzoo.critics.backup import DistributionalBackup as DistributionalBackup, ExpectedBackup as ExpectedBackup
from floqzoo.critics.flow_critic import FlowCritic as FlowCritic
from floqzoo.critics.monolithic_critic import MonolithicCritic as MonolithicCritic
from floqzoo.critics.no_critic import NoCritic as NoCritic
from floqzoo.critics.noise_coupling import IndependentNoise as IndependentNoise, SharedNoise as SharedNoise
from floqzoo.critics.q_ensemble import QEnsemble as QEnsemble
