"""Runs sweeps over recipes x tasks x seeds x settings, on Ray or Slurm, and compares the results.

Importing this package imports neither Ray nor submitit nor PyYAML.
"""

from floqzoo.sweeps.launcher import run_sweep as run_sweep, unfinished_trials as unfinished_trials
from floqzoo.sweeps.scheduler import Failure as Failure
from floqzoo.sweeps.slurm_launcher import submit as submit
from floqzoo.sweeps.sweep import Resources as Resources, Sweep as Sweep
from floqzoo.sweeps.sweep_file import published_sweeps as published_sweeps, read_sweep as read_sweep
from floqzoo.sweeps.trial import Trial as Trial
