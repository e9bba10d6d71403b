"""Resumes a toy run, and ends itself in a round of its exploration: `stopped_online.py DIRECTORY ROUND SIGNAL`.

SIGKILL and SIGTERM come once, SIGINT twice. Prints how far the run came.
"""

import os
import signal
import sys
from pathlib import Path

from toy_run import TOY_RECIPE, toy_task

from floqzoo.rollout import Exploration
from floqzoo.training import prepared_run
from floqzoo.training.prepared_run import run_and_report
from floqzoo.training.resumption import prepare_resumed


rounds = 0
explored_step = Exploration.step


def ending_step(exploration, actions):
    """During a round: the updates are under way, and the environments have not stepped."""
    global rounds
    rounds += 1
    if rounds == int(sys.argv[2]):
        ending = signal.Signals[sys.argv[3]]
        for _ in range(2 if ending is signal.SIGINT else 1):
            os.kill(os.getpid(), ending)
    return explored_step(exploration, actions)


if __name__ == "__main__":
    prepared_run.load_task = lambda config: toy_task()
    Exploration.step = ending_step
    run = prepare_resumed(Path(sys.argv[1]), recipe=TOY_RECIPE)
    if sys.argv[3] == "SIGINT":
        run_and_report(run)
    print(run.train().steps)
