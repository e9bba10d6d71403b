"""The compiled update, and its batch sources, seeds and devices."""

from floqzoo.learner.batch_sources import (
    ActionChunks as ActionChunks,
    BalancedReplay as BalancedReplay,
    GeometricFuture as GeometricFuture,
    NStep as NStep,
    SeededReplay as SeededReplay,
    UniformBatches as UniformBatches,
)
from floqzoo.learner.compilation_cache import use_compilation_cache as use_compilation_cache
from floqzoo.learner.devices import join_processes as join_processes, mesh_for as mesh_for
from floqzoo.learner.metric_mean import NonFiniteError as NonFiniteError
from floqzoo.learner.random_crop import RandomCrop as RandomCrop
from floqzoo.learner.reward_noise import RewardNoise as RewardNoise
from floqzoo.learner.scanned_update import ChunkMetrics as ChunkMetrics, ScannedUpdate as ScannedUpdate
from floqzoo.learner.seeds import agent_of as agent_of, build_agents as build_agents, update_keys as update_keys
