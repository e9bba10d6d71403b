"""Training, evaluation, and what a run leaves behind."""

from floqzoo.training.checkpoint import (
    checkpoint_steps as checkpoint_steps,
    restore_checkpoint as restore_checkpoint,
    save_checkpoint as save_checkpoint,
)
from floqzoo.training.configuration import RunConfig as RunConfig, require_choices as require_choices
from floqzoo.training.data import load_task as load_task
from floqzoo.training.evaluation import Evaluation as Evaluation, Evaluator as Evaluator, evaluate as evaluate
from floqzoo.training.learning_curve import plot_learning_curve as plot_learning_curve
from floqzoo.training.loop import TrainingResult as TrainingResult, train as train
from floqzoo.training.metric_log import MetricLog as MetricLog, read_metrics as read_metrics
from floqzoo.training.metric_mean import NonFiniteError as NonFiniteError
from floqzoo.training.published import published_settings as published_settings
from floqzoo.training.recipe import Recipe as Recipe
from floqzoo.training.recipe_main import run_recipe as run_recipe
from floqzoo.training.run_directory import new_run_directory as new_run_directory
from floqzoo.training.scanned_update import ChunkMetrics as ChunkMetrics, ScannedUpdate as ScannedUpdate
