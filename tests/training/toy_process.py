"""Runs the toy recipe, or resumes a run of it, whose settings may have changed: the words are those of the command
line.

Started several times with the same words, the processes find each other by what their environment says.
"""

import os
import sys
from pathlib import Path

from toy_run import TOY_RECIPE, toy_task

from floqzoo.learner.devices import join_processes
from floqzoo.training import prepared_run
from floqzoo.training.command_line import run_recipe
from floqzoo.training.resumption import prepare_resumed


if __name__ == "__main__":
    # What Gloo's threads print from C++, within each other's lines, joins the errors.
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    prepared_run.load_task = lambda config: toy_task()
    if sys.argv[1] == "resume":
        join_processes()
        run = prepare_resumed(Path(sys.argv[2]), recipe=TOY_RECIPE, allow_changes=True)
        prepared_run.run_and_report(run)
    else:
        run_recipe(TOY_RECIPE)
