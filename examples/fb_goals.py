"""One pre-trained FB agent, and the goals of all tasks of its maze: success of the inferred policies, and of the behaviour.

    python recipes/fb.py --preset quickstart
    python examples/fb_goals.py exp/floqzoo/quickstart/fb_sd000_...

An episode starts at a state of the data, drawn at random, and lasts 200 steps; it succeeds if it comes within 1 of the goal.
The behaviour's success is that of the recorded steps that follow the same state.
"""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import binomtest

import floqzoo as fz
from floqzoo.runs import find_recipe
from floqzoo.tasks.simulator import make


STEPS, STARTS, TOLERANCE, SAMPLES = 200, 40, 1.0, 20_000


@eqx.filter_jit
def act(agent, state):
    """The action for the task of the agent."""
    return agent.act(state, jax.random.key(0))


def succeeds(agent, world, start, goal):
    """Whether the agent comes near the goal."""
    world.unwrapped.set_xy(start)
    state = start
    for _ in range(STEPS):
        state = world.step(np.asarray(act(agent, jnp.asarray(state, jnp.float32))))[0]
        if np.linalg.norm(state - goal) <= TOLERANCE:
            return True
    return False


def row(name, successes):
    """The mean of the successes and its 95 % Wilson interval, in per cent."""
    low, high = binomtest(int(np.sum(successes)), len(successes)).proportion_ci(method="wilson")
    return f"{name} {100 * np.mean(successes):.0f} [{100 * low:.0f}, {100 * high:.0f}] %"


def main(directory):
    """Prints the successes for each goal."""
    run = fz.StoredRun(directory)
    agent = run.agent(find_recipe("fb"), run.seeds[0])
    task = fz.load(run.env_name, dataset_path=run.data["path"])
    states = np.asarray(task.dataset.observations)
    left = np.asarray(task.dataset.steps_left(jnp.arange(len(states))))
    draw = np.random.default_rng(0)
    world = make(task.name.environment)
    world.reset(seed=0)
    every = {"FB": [], "behaviour": []}
    for number, info in enumerate(world.unwrapped.task_infos, 1):
        goal = np.array(world.unwrapped.ij_to_xy(info["goal_ij"]))
        # A reward that the training did not know: 1 near the goal, 0 elsewhere.
        shown = states[draw.integers(0, len(states), SAMPLES)]
        near = (np.linalg.norm(shown - goal, axis=1) <= TOLERANCE).astype(np.float32)
        told = fz.infer_task(agent, shown, near)
        far = np.linalg.norm(states - goal, axis=1) > TOLERANCE
        places = draw.choice(np.flatnonzero((left >= STEPS) & far), STARTS)
        recorded = [states[at : at + STEPS + 1] for at in places]
        found = {
            "FB": [succeeds(told, world, states[at], goal) for at in places],
            "behaviour": [np.any(np.linalg.norm(path - goal, axis=1) <= TOLERANCE) for path in recorded],
        }
        print(f"goal {number} at {goal}:", ", ".join(row(name, each) for name, each in found.items()))
        for name, each in found.items():
            every[name] += each
    print("all goals:", ", ".join(row(name, each) for name, each in every.items()))


if __name__ == "__main__":
    main(sys.argv[1])
