"""Environments that do what one should not, in a module that a process of their own can import."""

import os
import signal
import time
from pathlib import Path

import gymnasium
import numpy as np
from toy_run import Line


class Deadly(Line):
    """Kills its process in the third step of an episode, as often as there are lives to take in a file."""

    def __init__(self, lives: Path, number: int = signal.SIGKILL):
        super().__init__()
        self.lives, self.number = lives, number

    def step(self, action):
        left = int(self.lives.read_text())
        if self.t == 2 and left > 0:
            self.lives.write_text(str(left - 1))
            os.kill(os.getpid(), self.number)
            time.sleep(1000)
        return super().step(action)


class Stillborn(Line):
    """Ends its process before it is ready."""

    def __init__(self):
        os._exit(7)


class Gated(Line):
    """Waits in its first step until there is a file `open`; a file `waiting` shows that it waits."""

    def __init__(self, directory: Path):
        super().__init__()
        self.directory = directory

    def step(self, action):
        (self.directory / "waiting").touch()
        while not (self.directory / "open").exists():
            time.sleep(0.01)
        return super().step(action)


class StrangeError(Exception):
    """One that cannot be sent: to make it takes more than it keeps."""

    def __init__(self, reason, more):
        super().__init__(reason)


class Failing(Line):
    """Raises what it is given, in the second step of an episode."""

    def __init__(self, *error):
        super().__init__()
        self.error = error

    def step(self, action):
        if self.t == 1:
            kind, *arguments = self.error
            raise kind(*arguments)
        return super().step(action)


class Observing(Line):
    """Observes the process that it is in."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float64)

    def reset(self, **options):
        return np.zeros(4), super().reset(**options)[1]

    def step(self, action):
        _, *rest = super().step(action)
        on_cpu = os.environ["JAX_PLATFORMS"] == "cpu"
        ignored = [signal.getsignal(number) is signal.SIG_IGN for number in (signal.SIGINT, signal.SIGTERM)]
        same = os.environ.get("MUJOCO_GL") == os.environ.get("OBSERVED_GL")
        return np.array([on_cpu, all(ignored), same, os.getpid()], float), *rest
