"""A task of no depth: walk along a line to a goal, with a behaviour flow that learns to."""

import dataclasses
import json
from functools import partial
from pathlib import Path

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

import floqzoo as fz
from floqzoo.learner import build_agents, update_keys
from floqzoo.runs import Recipe, RunConfig, RunState
from floqzoo.runs.run_directory import record_data, record_flags, record_machine
from floqzoo.tasks import make_dataset


FLOAT = jax.dtypes.canonicalize_dtype(np.float64)


class Line(gymnasium.Env):
    """Every kind of randomness that OGBench draws from: its own, the action space's, and NumPy's global state."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def __init__(self, limit: int = 12):
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.limit = limit
        self.visited = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.goal, self.t = self.np_random.normal(), np.random.uniform(-3, 3), 0
        self.x += self.action_space.sample()[0]
        self.visited.append([self.x])
        return np.array([self.x, self.goal]), {}

    def step(self, action):
        self.x += 0.5 * float(action[0]) + 0.01 * np.random.randn()
        self.t += 1
        self.visited[-1].append(self.x)
        done = abs(self.x - self.goal) < 0.3
        return np.array([self.x, self.goal]), -1.0, done, self.t >= self.limit, {"success": done}


class Walker(eqx.Module):
    """Walks towards the goal, a little at random."""

    gain: jax.Array

    def act(self, observation, critic, key):
        noise = 0.3 * jax.random.normal(key, (1,), observation.dtype)
        return jnp.clip(self.gain * (observation[1:] - observation[:1]) + noise, -1, 1)

    def policy_loss(self, batch, agent, key):
        return self.gain**2, {"gain": self.gain}


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    batch_size: int = 8
    """Transitions in an update."""
    alpha: float = 10.0
    """A number that a preset may change."""
    width: int = 8
    """Units of the network."""


@dataclasses.dataclass(frozen=True)
class ToyTask:
    dataset: fz.Transition
    make_environment: type = Line
    observation_dim: int = 2
    action_dim: int = 1
    reward_range: tuple[float, float] = (-1.0, 0.0)

    def describe(self):
        return {"env_name": "line", "fingerprint": self.dataset.fingerprint(), "success_timing": "pre"}


def toy_task(bad_row: bool = False) -> ToyTask:
    random = np.random.default_rng(0)
    observations = random.normal(size=(200, 2)).astype(FLOAT)
    dataset = make_dataset(
        observations=observations,
        actions=np.clip(observations[:, 1:] - observations[:, :1], -1, 1),
        rewards=-np.ones(200, FLOAT),
        masks=np.ones(200, FLOAT),
        terminals=np.arange(200) % 20 == 19,
    )
    if bad_row:
        dataset = eqx.tree_at(lambda data: data.actions, dataset, dataset.actions.at[3].set(jnp.nan))
    return ToyTask(dataset)


def build_toy(*, observation_dim, action_dim, reward_range, config, key) -> fz.Agent:
    del reward_range
    network = partial(fz.MLP, hidden=(config.width,))
    return fz.Agent(
        critic=fz.NullCritic(),
        policy=fz.BehaviourFlow.build(observation_dim, action_dim, network=network, flow_steps=2, key=key),
    )


def toy_build(key) -> fz.Agent:
    return build_toy(observation_dim=2, action_dim=1, reward_range=(-1.0, 0.0), config=ToyConfig(), key=key)


def toy_agent(seed: int = 0) -> fz.Agent:
    return toy_build(jax.random.key(seed))


def toy_agents(*seeds: int) -> fz.Agent:
    return build_agents(toy_build, seeds)


def toy_state(*seeds: int) -> RunState:
    """What a checkpoint of a run with these seeds holds."""
    return RunState(toy_agents(*seeds), update_keys(seeds))


def toy_config(**changes) -> RunConfig:
    intervals = {"offline_steps": 20, "log_interval": 10, "eval_interval": 10, "save_interval": 10, "eval_episodes": 3}
    return RunConfig(**({"agent": ToyConfig(), "env_name": "line", "eval_workers": 0} | intervals | changes))


def toy_default(env_name):
    """Twenty updates."""
    return toy_config(env_name=env_name or "line")


TOY_RECIPE = Recipe(name="toy", build=build_toy, presets={"default": toy_default})


def new_run(directory: Path, task: ToyTask | None = None, **changes) -> Path:
    """The folder of a run that has not begun."""
    directory.mkdir()
    record_flags(directory, "toy", toy_config(**changes))
    record_data(directory, task or toy_task())
    record_machine(directory)
    return directory


def change_flags(directory: Path, **changes) -> None:
    """Other settings in the file of a run."""
    flags = json.loads((directory / "flags.json").read_text())
    (directory / "flags.json").write_text(json.dumps(flags | changes))
