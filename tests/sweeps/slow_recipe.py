"""The toy run in an environment that takes its time, so that there is some to kill a node in."""

import time

from toy_recipe import RECIPE as RECIPE
from toy_run import Line, ToyTask, toy_task

from floqzoo.training import prepared_run


class SlowLine(Line):
    def step(self, action):
        time.sleep(0.02)
        return super().step(action)


prepared_run.load_task = lambda config: ToyTask(toy_task().dataset, make_environment=SlowLine)
