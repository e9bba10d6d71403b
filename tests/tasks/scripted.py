"""Scripts that need no simulator, in a module of their own so that worker processes can import them."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np


# How long an episode takes; not a setting of the script, so that a collection may go on at another pace.
PAUSE = "SCRIPTED_PAUSE_SECONDS"


class NoiseRecorder:
    """Records noise."""

    def __init__(self, steps):
        self.steps = steps

    def record(self, seeds):
        time.sleep(float(os.environ.get(PAUSE, "0")))
        random, steps = np.random.default_rng(seeds), self.steps
        return {
            "observations": random.normal(size=(steps, 3)).astype(np.float32),
            "actions": random.uniform(-1, 1, size=(steps, 2)).astype(np.float32),
            "terminals": np.arange(steps) == steps - 1,
            "qpos": random.normal(size=(steps, 4)).astype(np.float32),
            "qvel": random.normal(size=(steps, 4)).astype(np.float32),
        }


@dataclass(frozen=True)
class NoiseScript:
    """Episodes of noise."""

    name: str = "noise-v0"
    episodes: int = 6
    steps: int = 5

    def recorder(self):
        return NoiseRecorder(self.steps)


@dataclass(frozen=True)
class ObservedScript(NoiseScript):
    """Noise, from processes that leave their numbers in a folder."""

    folder: str = ""

    def recorder(self):
        (Path(self.folder) / str(os.getpid())).touch()
        return NoiseRecorder(self.steps)


@dataclass(frozen=True)
class UnreachableScript(NoiseScript):
    """A script that must not be needed."""

    def recorder(self):
        raise AssertionError("nothing was left to record")


@dataclass(frozen=True)
class DyingScript(NoiseScript):
    """A script whose process ends as if the system had killed it."""

    def recorder(self):
        os._exit(9)


@dataclass(frozen=True)
class FailingScript(NoiseScript):
    """A script that fails in an ordinary way."""

    def recorder(self):
        raise RuntimeError("the oracle has lost its way")
