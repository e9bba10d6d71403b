"""Generalised policy improvement over the policies of FB, whose measures a flow has learnt, on the goals of a maze.

    python recipes/fb.py --preset quickstart
    python recipes/td2_cfm.py --preset maze --agent.measure_of=family --agent.policy_run=exp/floqzoo/quickstart/fb_sd000_...
    python examples/family_gpi.py exp/floqzoo/debug/td2_cfm_sd000_...

Each goal has a reward that no training has seen: 1 within a distance of 1, 0 elsewhere. Episodes start at random states of the
data and last 200 steps; an episode succeeds if it comes within 1 of the goal. All methods start at the same states.
"""

import sys
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import floqzoo as fz
from floqzoo.flow import Midpoint
from floqzoo.runs import find_recipe
from floqzoo.tasks.simulator import make


STEPS, STARTS, TOLERANCE, SHOWN = 200, 20, 1.0, 20_000
POLICIES, FUTURES, SOLVER_STEPS = 16, 16, 5


def near(goal, state):
    """The reward: whether a state is near the goal."""
    return (jnp.linalg.norm(state - goal) <= TOLERANCE).astype(jnp.float32)


def improved_policies(agent, goal, shown):
    """For a goal: the policy of FB, and GPI over FB's policies by FB's own values and by those of the flow."""
    family, measure = agent.critic.measure.family, agent.target.critic.measure
    told = fz.infer_task(family.parts, shown, jax.vmap(partial(near, goal))(shown))
    fast = eqx.tree_at(lambda m: m.measure.flow.solver, measure, Midpoint(SOLVER_STEPS))
    of_flow = fz.FamilyValue(fz.SuccessorCritic(fast, partial(near, goal), num_samples=FUTURES))

    def of_fb(observation, action, latent, key):
        forward = told.critic.forwards(told.normalised(observation)[None], action[None], latent[None])[:, 0]
        return told.critic.aggregation.aggregate(forward @ told.critic.reward_vector.value)

    gpi = partial(fz.FamilyGPIPolicy, family, latent=told.policy.latent)
    return {
        "FB": gpi(value_for=of_fb, count=1),
        "GPI, values of FB": gpi(value_for=of_fb, count=POLICIES),
        "GPI, values of TD²-CFM": gpi(value_for=of_flow, count=POLICIES),
        "GPI, values of TD²-CFM, near z": gpi(value_for=of_flow, count=POLICIES, cosine=0.8),
    }


@eqx.filter_jit
def actions_of(policy, states, keys):
    """One action for each state."""
    return jax.vmap(lambda state, key: policy.act(state, None, key))(states, keys)


def successes(policy, worlds, starts, goal):
    """Whether each episode comes near the goal."""
    for world, start in zip(worlds, starts, strict=True):
        world.unwrapped.set_xy(start)
    states, reached = np.array(starts), np.zeros(len(starts), bool)
    for step in range(STEPS):
        keys = jax.random.split(jax.random.key(step), len(starts))
        actions = np.asarray(actions_of(policy, jnp.asarray(states, jnp.float32), keys))
        states = np.array([world.step(action)[0] for world, action in zip(worlds, actions, strict=True)])
        reached |= np.linalg.norm(states - goal, axis=1) <= TOLERANCE
    return reached


def row(name, reached):
    """The mean of the successes and its standard error, in per cent."""
    rate = np.mean(reached)
    return f"{name}: {100 * rate:.0f} ± {100 * np.sqrt(rate * (1 - rate) / len(reached)):.0f} %"


def main(directory):
    """Prints the successes for each goal."""
    run = fz.StoredRun(directory)
    agent = run.agent(find_recipe("td2_cfm"), run.seeds[0])
    task = fz.load(run.env_name, dataset_path=run.data["path"])
    states = np.asarray(task.dataset.observations)
    left = np.asarray(task.dataset.steps_left(jnp.arange(len(states))))
    draw = np.random.default_rng(0)
    worlds = [make(task.name.environment) for _ in range(STARTS)]
    for world in worlds:
        world.reset(seed=0)
    every = {}
    for number, info in enumerate(worlds[0].unwrapped.task_infos, 1):
        goal = np.array(worlds[0].unwrapped.ij_to_xy(info["goal_ij"]))
        shown = jnp.asarray(states[draw.integers(0, len(states), SHOWN)])
        far = np.linalg.norm(states - goal, axis=1) > TOLERANCE
        starts = states[draw.choice(np.flatnonzero((left >= STEPS) & far), STARTS)]
        for name, policy in improved_policies(agent, jnp.asarray(goal, jnp.float32), shown).items():
            reached = successes(policy, worlds, starts, goal)
            every.setdefault(name, []).extend(reached)
            print(f"goal {number} at {goal}, {row(name, reached)}", flush=True)
    for name, reached in every.items():
        print(f"all goals, {row(name, reached)}")


if __name__ == "__main__":
    main(sys.argv[1])
