"""One pre-trained FB agent of a robot arm, and rewards for the place of its gripper: success of the inferred policies.

    python recipes/fb.py --preset quickstart --env_name=cube-single-play-singletask-v0
    python examples/fb_reach.py exp/floqzoo/quickstart/fb_sd000_...

Each of 20 goals is a place of the gripper in the data; the reward is 1 within 5 cm of it, and 0 elsewhere. An episode starts at
a state of the data, drawn at random, and lasts 100 steps; it succeeds if it comes within 5 cm of the goal. Two other rates are
of the same starts and goals: that of the recorded steps which follow the start, and that of the policy for another goal.
"""

import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import binomtest

import floqzoo as fz
from floqzoo.runs import find_recipe
from floqzoo.tasks.datafile import opened_npz, read_arrays
from floqzoo.tasks.simulator import make


STEPS, GOALS, STARTS, SAMPLES = 100, 20, 10, 20_000
GRIPPER, UNIT, TOLERANCE = slice(12, 15), 0.1, 0.05
"""The place of the gripper in an observation, its unit in metres, and the tolerance in metres."""


@eqx.filter_jit
def act(agent, state):
    """The action for the task of the agent."""
    return agent.act(state, jax.random.key(0))


def distances(states, goal):
    """The distance between the gripper and the goal in each state, in metres."""
    return UNIT * np.linalg.norm(states[..., GRIPPER] - goal, axis=-1)


def closest(agent, world, place, goal):
    """The smallest distance between the gripper and the goal; the episode ends when it is at most the tolerance."""
    world.unwrapped.set_state(*place)
    state, distance = world.unwrapped.compute_observation(), np.inf
    for _ in range(STEPS):
        state = world.step(np.asarray(act(agent, jnp.asarray(state, jnp.float32))))[0]
        distance = min(distance, distances(state, goal))
        if distance <= TOLERANCE:
            break
    return distance


def row(name, found):
    """The share of episodes that come within the tolerance, and its 95 % Wilson interval, in per cent."""
    near = np.array(found) <= TOLERANCE
    low, high = binomtest(int(near.sum()), len(near)).proportion_ci(method="wilson")
    return f"{name} {100 * near.mean():.0f} [{100 * low:.0f}, {100 * high:.0f}] %"


def main(directory):
    """Prints the rates over all goals and starts, and those of each goal."""
    run = fz.StoredRun(directory)
    agent = run.agent(find_recipe("fb"), run.seeds[0])
    task = fz.load(run.env_name, dataset_path=run.data["path"])
    states = np.asarray(task.dataset.observations)
    left = np.asarray(task.dataset.steps_left(jnp.arange(len(states))))
    path = Path(run.data["path"])
    with opened_npz(path) as archive:
        positions, velocities = read_arrays(path, archive, ("qpos", "qvel")).values()
    draw = np.random.default_rng(0)
    world = make(task.name.environment)
    world.reset(seed=0)
    goals = states[draw.choice(len(states), GOALS), GRIPPER]
    shown = states[draw.integers(0, len(states), SAMPLES)]
    # Rewards that the training did not know: 1 near the goal, 0 elsewhere.
    told = [fz.infer_task(agent, shown, (distances(shown, goal) <= TOLERANCE).astype(np.float32)) for goal in goals]
    every = {}
    for number, goal in enumerate(goals):
        far = (distances(states, goal) > 2 * TOLERANCE) & (left >= STEPS)
        starts = draw.choice(np.flatnonzero(far), STARTS)
        found = {
            "FB": [closest(told[number], world, (positions[at], velocities[at]), goal) for at in starts],
            "behaviour": [distances(states[at : at + STEPS + 1], goal).min() for at in starts],
            "policy for another goal": [
                closest(told[number - 1], world, (positions[at], velocities[at]), goal) for at in starts
            ],
        }
        print(
            f"goal {number} at {goal * UNIT}:", "; ".join(row(name, each) for name, each in found.items()), flush=True
        )
        for name, each in found.items():
            every[name] = [*every.get(name, []), *each]
    print("all goals:", "; ".join(row(name, each) for name, each in every.items()))


if __name__ == "__main__":
    main(sys.argv[1])
