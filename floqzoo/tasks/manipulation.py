"""Records scripted episodes of OGBench's robot arm."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from floqzoo.tasks.episodes import Episode, StepLog, first_accepted, seeded
from floqzoo.tasks.names import PIXELS
from floqzoo.tasks.renderer import rendering_limited, require_renderer
from floqzoo.tasks.simulator import make, ogbench_module


@dataclass(frozen=True)
class ManipulationScript:
    """The settings for collecting one of OGBench's robot-arm datasets.

    - `name`: The name of the dataset.
    - `environment`: The name under which the environment is registered with gymnasium; its observations may be pixels.
    - `episodes`, `steps`: The number of training episodes in the published dataset, and the number of steps per
      episode.
    - `planned`: Whether the arm follows a plan, with temporally correlated noise ("play"), or reacts to the current
      state, with independent noise ("noisy").
    - `stacking`: The interval from which the probability of stacking a cube on another cube is drawn for each episode.
    - `random_actions`: The probability that the action of a step is uniformly random.
    - `gripper_closed`: Whether the gripper is kept closed.
    - `cubes_in_view`: Whether an episode in which a cube leaves the view is rejected and recorded again.
    """

    name: str
    environment: str
    episodes: int
    steps: int
    planned: bool
    stacking: tuple[float, float]
    random_actions: float
    gripper_closed: bool
    cubes_in_view: bool

    @property
    def renders(self) -> bool:
        """Whether observations are pixels."""
        return self.environment.startswith(PIXELS)

    def recorder(self) -> "ManipulationRecorder":
        """Builds the recorder, including its environment and oracles."""
        return ManipulationRecorder(self)


class ManipulationRecorder:
    """Records the episodes of a `ManipulationScript` in its environment, using OGBench's oracles to choose actions."""

    def __init__(self, script: ManipulationScript):
        if script.renders:
            require_renderer(f"collecting {script.name}")
        self._script = script
        self._environment = make(
            script.environment, terminate_at_goal=False, mode="data_collection", max_episode_steps=script.steps
        )
        self._environment.reset(seed=0)  # the first reset also compiles the model, and differs from later ones
        self._oracles = _oracles(self._environment, script)
        simulator: Any = self._environment.unwrapped
        self._site_positions = simulator.model.site_pos.copy()
        self._targets = copy.deepcopy({k: v for k, v in vars(simulator).items() if k.startswith("_target_")})

    def record(self, seeds: np.random.SeedSequence) -> Episode:
        """Records one episode, which depends only on the script and `seeds`."""
        accept = _cubes_stay_in_view if self._script.cubes_in_view else _accept_all
        return first_accepted(self._attempt, accept, seeds)

    def _attempt(self, seeds: np.random.SeedSequence) -> Episode:
        environment, script = self._environment, self._script
        simulator: Any = environment.unwrapped
        self._forget_targets()
        log = StepLog()
        with seeded(environment, seeds) as random:
            stacking = random.uniform(*script.stacking)
            scale = 0.0 if script.planned else random.uniform(0.0, 0.1)
            observation, info = environment.reset()
            oracle = self._oracle(observation, info)
            done = False
            while not done:
                action = self._action(oracle, observation, info, scale, random)
                next_observation, _, terminated, truncated, info = environment.step(action)
                done = bool(terminated or truncated)
                if oracle.done:
                    with rendering_limited():  # this renders, but is not a step
                        target = simulator.set_new_target(p_stack=stacking)
                    oracle = self._oracle(*target)
                log.add(observation, action, done, info)
                observation = next_observation
        return log.arrays()

    def _action(
        self, oracle: Any, observation: np.ndarray, info: dict, scale: float, random: np.random.Generator
    ) -> np.ndarray:
        if random.uniform() < self._script.random_actions:
            return random.uniform(-1.0, 1.0, size=5)
        noise = scale * np.array([1.0, 1.0, 1.0, 3.0, 10.0]) * random.normal(size=5)
        return np.clip(oracle.select_action(observation, info) + noise, -1.0, 1.0)

    def _oracle(self, observation: np.ndarray, info: dict) -> Any:
        """Resets and returns the oracle for the current target."""
        oracle = self._oracles[info["privileged/target_task"]]
        oracle.reset(observation, info)
        return oracle

    def _forget_targets(self) -> None:
        # Targets survive a reset, and the first action of an oracle may still use the previous one. An episode must not
        # depend on earlier episodes of its process.
        simulator: Any = self._environment.unwrapped
        simulator.model.site_pos[:] = self._site_positions
        for key, value in copy.deepcopy(self._targets).items():
            setattr(simulator, key, value)


def _oracles(environment: Any, script: ManipulationScript) -> dict[str, Any]:
    """One oracle for each kind of target."""
    if script.planned:
        kind, settings = "plan", {"noise": 0.1, "noise_smoothing": 0.5}
    else:
        kind, settings = "markov", {"min_norm": 0.4}

    def oracle(target: str, **more: bool) -> Any:
        module = ogbench_module(f"ogbench.manipspace.oracles.{kind}.{target}_{kind}")
        return getattr(module, f"{target.title()}{kind.title()}Oracle")(env=environment, **settings, **more)

    return {
        "cube": oracle("cube"),
        "button": oracle("button", gripper_always_closed=script.gripper_closed),
        "drawer": oracle("drawer"),
        "window": oracle("window"),
    }


def _accept_all(episode: Episode) -> bool:
    del episode
    return True


def _cubes_stay_in_view(episode: Episode) -> bool:
    """Whether the cube of the scene stays visible; the lower limit of y does not apply at the drawer's height."""
    _, y, z = episode["qpos"][:, 14:17].T
    in_drawer = (z >= 0.06) & (z <= 0.08)
    return not bool(np.any(y >= 0.29) or np.any((y <= -0.3) & ~in_drawer))
