"""Many runs: recipes x tasks x seeds x settings, on Ray or Slurm, and how they compare.

Importing this package imports neither Ray nor submitit nor PyYAML.
"""

from floqzoo.sweeps.carry_out import carry_out_sweep as carry_out_sweep, unfinished_trials as unfinished_trials
from floqzoo.sweeps.drive import Failure as Failure
from floqzoo.sweeps.on_slurm import submit as submit
from floqzoo.sweeps.sweep import Resources as Resources, Sweep as Sweep
from floqzoo.sweeps.sweep_file import published_sweeps as published_sweeps, read_sweep as read_sweep
from floqzoo.sweeps.trial import Trial as Trial
