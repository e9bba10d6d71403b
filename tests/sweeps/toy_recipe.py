"""The toy run as a recipe in a file of one's own: its task is loaded in no time, whatever its name."""

import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from toy_run import TOY_RECIPE, toy_task

from floqzoo.training import prepared_run


prepared_run.load_task = lambda config: toy_task()
RECIPE = TOY_RECIPE
