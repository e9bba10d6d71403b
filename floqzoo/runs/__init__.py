"""Run configuration, recipes, and run files (checkpoints and logs)."""

from floqzoo.runs.checkpoint import (
    Checkpoint as Checkpoint,
    DamagedError as DamagedError,
    checkpoint_steps as checkpoint_steps,
    restore_checkpoint as restore_checkpoint,
    save_checkpoint as save_checkpoint,
)
from floqzoo.runs.configuration import (
    RunConfig as RunConfig,
    published_settings as published_settings,
    small_run as small_run,
)
from floqzoo.runs.metric_log import MetricLog as MetricLog, read_metrics as read_metrics
from floqzoo.runs.recipe import (
    Preset as Preset,
    Recipe as Recipe,
    buildable as buildable,
    find_recipe as find_recipe,
    load_recipe as load_recipe,
    standard_batches as standard_batches,
)
from floqzoo.runs.run_directory import new_run_directory as new_run_directory
from floqzoo.runs.run_store import RunState as RunState
from floqzoo.runs.setting_types import convert_settings as convert_settings
from floqzoo.runs.stored_run import (
    StoredRun as StoredRun,
    named_task as named_task,
    trained_policy as trained_policy,
)
