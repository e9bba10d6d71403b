"""Training of agents: the trainer and its phases, resuming of runs, and the command line of recipes."""

from floqzoo.training.command_line import run_recipe as run_recipe
from floqzoo.training.prepared_run import load_task as load_task
from floqzoo.training.profile import (
    StepTime as StepTime,
    UpdateProfile as UpdateProfile,
    profile_run as profile_run,
)
from floqzoo.training.report import plot_learning_curve as plot_learning_curve
from floqzoo.training.resumption import resume as resume
from floqzoo.training.trainer import TrainingResult as TrainingResult, train as train
