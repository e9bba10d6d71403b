"""One pre-trained FB agent, and the goals of all tasks of its maze: success of the inferred policies, and of the behaviour.

    python recipes/fb.py --preset quickstart
    python examples/fb_goals.py exp/floqzoo/quickstart/fb_sd000_...

An episode starts at a state of the data, drawn at random, and lasts 400 steps; it succeeds if it comes within 1 of the goal.
The rate of coming within 2, half the width of a cell of the maze, is printed too. The behaviour's rates are those of the
recorded steps that follow the same state.
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


STEPS, STARTS, SAMPLES = 400, 40, 20_000
TOLERANCES = (1.0, 2.0)


@eqx.filter_jit
def act(agent, state):
    """The action for the task of the agent."""
    return agent.act(state, jax.random.key(0))


def closest(agent, world, start, goal):
    """The smallest distance between the agent and the goal; the episode ends when it is at most the first tolerance."""
    world.unwrapped.set_xy(start)
    state, distance = start, np.inf
    for _ in range(STEPS):
        state = world.step(np.asarray(act(agent, jnp.asarray(state, jnp.float32))))[0]
        distance = min(distance, np.linalg.norm(state - goal))
        if distance <= TOLERANCES[0]:
            break
    return distance


def row(name, distances):
    """The share of distances within each tolerance, and its 95 % Wilson interval, in per cent."""
    shares = []
    for tolerance in TOLERANCES:
        near = np.array(distances) <= tolerance
        low, high = binomtest(int(near.sum()), len(near)).proportion_ci(method="wilson")
        shares.append(f"within {tolerance:g}: {100 * near.mean():.0f} [{100 * low:.0f}, {100 * high:.0f}] %")
    return f"{name} {', '.join(shares)}"


def main(directory):
    """Prints the rates for each goal."""
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
        near = (np.linalg.norm(shown - goal, axis=1) <= TOLERANCES[0]).astype(np.float32)
        told = fz.infer_task(agent, shown, near)
        far = np.linalg.norm(states - goal, axis=1) > TOLERANCES[1]
        places = draw.choice(np.flatnonzero((left >= STEPS) & far), STARTS)
        recorded = [states[at : at + STEPS + 1] for at in places]
        found = {
            "FB": [closest(told, world, states[at], goal) for at in places],
            "behaviour": [np.linalg.norm(path - goal, axis=1).min() for path in recorded],
        }
        print(f"goal {number} at {goal}:", "; ".join(row(name, each) for name, each in found.items()))
        for name, each in found.items():
            every[name] += each
    print("all goals:", "; ".join(row(name, each) for name, each in every.items()))


if __name__ == "__main__":
    main(sys.argv[1])
