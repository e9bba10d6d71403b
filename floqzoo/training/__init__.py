"""Training, evaluation, and what a run leaves behind."""

from floqzoo.training.batch_source import (
    BalancedReplay as BalancedReplay,
    FromDataset as FromDataset,
    SeededReplay as SeededReplay,
)
from floqzoo.training.checkpoint import (
    Checkpoint as Checkpoint,
    checkpoint_steps as checkpoint_steps,
    restore_checkpoint as restore_checkpoint,
    save_checkpoint as save_checkpoint,
)
from floqzoo.training.configuration import RunConfig as RunConfig, require_choices as require_choices
from floqzoo.training.data import load_task as load_task
from floqzoo.training.device_mesh import mesh_for as mesh_for
from floqzoo.training.environment_process import WorkerCrashedError as WorkerCrashedError
from floqzoo.training.environment_worker import EnvironmentWorker as EnvironmentWorker
from floqzoo.training.episode_player import EpisodePlayer as EpisodePlayer, StepOutcome as StepOutcome
from floqzoo.training.evaluation import (
    Evaluation as Evaluation,
    EvaluationStoppedError as EvaluationStoppedError,
    Evaluator as Evaluator,
    evaluate as evaluate,
)
from floqzoo.training.exploration import Exploration as Exploration
from floqzoo.training.find_recipe import find_recipe as find_recipe, load_recipe as load_recipe
from floqzoo.training.learning_curve import plot_learning_curve as plot_learning_curve
from floqzoo.training.loop import train as train
from floqzoo.training.manifest import DamagedError as DamagedError
from floqzoo.training.metric_log import MetricLog as MetricLog, read_metrics as read_metrics
from floqzoo.training.metric_mean import NonFiniteError as NonFiniteError
from floqzoo.training.processes import join_processes as join_processes
from floqzoo.training.published import published_settings as published_settings
from floqzoo.training.recipe import Recipe as Recipe, buildable as buildable
from floqzoo.training.recipe_main import run_recipe as run_recipe
from floqzoo.training.resumption import resume as resume
from floqzoo.training.run_directory import new_run_directory as new_run_directory
from floqzoo.training.run_state import RunState as RunState
from floqzoo.training.scanned_update import ChunkMetrics as ChunkMetrics, ScannedUpdate as ScannedUpdate
from floqzoo.training.seeds import agent_of as agent_of, build_agents as build_agents, update_keys as update_keys
from floqzoo.training.small_run import small_run as small_run
from floqzoo.training.stored_run import StoredRun as StoredRun
from floqzoo.training.trained_policy import trained_policy as trained_policy
from floqzoo.training.training_result import TrainingResult as TrainingResult
