"""Generalised policy improvement over the policies of FB, whose measures a flow has learnt, on the goals of a maze.

    python recipes/fb.py --preset quickstart
    python recipes/td2_cfm.py --preset maze --collect_episodes=150 --agent.measure_of=family \\
        --agent.policy_run=exp/floqzoo/quickstart/fb_sd000_...
    python examples/family_gpi.py exp/floqzoo/debug/td2_cfm_sd000_...

Each goal has a reward that no training has seen: 1 within a distance of 1, 0 elsewhere. Episodes start at random states of the
data and last 200 steps; an episode succeeds if it comes within 1 of the goal. Each of 16 policies is played alone, and GPI chooses
among the same 16 at every step. The best single policy is chosen by 20 other episodes. All methods start at the same states.
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
POLICIES, FUTURES, SOLVER_STEPS = 16, 128, 5
KEY = jax.random.key(0)
"""Used at every step, so that GPI chooses among the same policies."""


def near(goal, state):
    """The reward: whether a state is near the goal."""
    return (jnp.linalg.norm(state - goal) <= TOLERANCE).astype(jnp.float32)


def policies_for(agent, goal, shown):
    """For a goal: GPI over FB's policies by FB's own values and by those of the flow, and the single policies."""
    family, measure = agent.critic.measure.family, agent.target.critic.measure
    told = fz.infer_task(family.parts, shown, jax.vmap(partial(near, goal))(shown))
    fast = eqx.tree_at(lambda m: m.measure.flow.solver, measure, Midpoint(SOLVER_STEPS))
    of_flow = fz.FamilyValue(fz.SuccessorCritic(fast, partial(near, goal), num_samples=FUTURES))

    def of_fb(observation, action, latent, key):
        forward = told.critic.forwards(told.normalised(observation)[None], action[None], latent[None])[:, 0]
        return told.critic.aggregation.aggregate(forward @ told.critic.reward_vector.value)

    policy = partial(fz.FamilyGPIPolicy, family)
    latents = policy(of_fb, told.policy.latent, count=POLICIES).candidates(shown[0], KEY)[0]
    improved = {
        "GPI, values of FB": policy(of_fb, told.policy.latent, count=POLICIES),
        "GPI, values of TD²-CFM": policy(of_flow, told.policy.latent, count=POLICIES),
    }
    return improved, [policy(of_fb, latent, count=1) for latent in latents]


@eqx.filter_jit
def actions_of(policy, states):
    """For each state the action, and whether the policy for the goal is the one with the highest value."""

    def act(state):
        _, actions, values = policy.candidates(state, KEY)
        return actions[jnp.argmax(values)], jnp.argmax(values) == 0

    return jax.vmap(act)(states)


def played(policy, worlds, starts, goal, discount):
    """For each episode: whether it comes near the goal, its discounted return, and how often it uses the goal's policy."""
    for world, start in zip(worlds, starts, strict=True):
        world.unwrapped.set_xy(start)
    states, found = np.array(starts), np.zeros((3, len(starts)))
    for step in range(STEPS):
        actions, own = map(np.asarray, actions_of(policy, jnp.asarray(states, jnp.float32)))
        states = np.array([world.step(action)[0] for world, action in zip(worlds, actions, strict=True)])
        paid = np.linalg.norm(states - goal, axis=1) <= TOLERANCE
        found = np.array([np.maximum(found[0], paid), found[1] + discount**step * paid, found[2] + own / STEPS])
    return found


def row(name, found):
    """The means over episodes, with standard errors."""
    (success, value, own), errors = found.mean(axis=1), found.std(axis=1, ddof=1) / found.shape[1] ** 0.5
    text = f"{name}: success {100 * success:.0f} ± {100 * errors[0]:.0f} %, return {value:.2f} ± {errors[1]:.2f}"
    return text if own == 1 else f"{text}, goal's policy in {100 * own:.0f} % of steps"


def main(directory):
    """Prints successes and returns for each goal."""
    run = fz.StoredRun(directory)
    agent = run.agent(find_recipe("td2_cfm"), run.seeds[0])
    task = fz.load(run.env_name, dataset_path=run.data["path"])
    discount, states = float(agent.critic.measure.discount.value), np.asarray(task.dataset.observations)
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
        choosing, starts = states[draw.choice(np.flatnonzero((left >= STEPS) & far), (2, STARTS), replace=False)]
        improved, alone = policies_for(agent, jnp.asarray(goal, jnp.float32), shown)
        known = [played(policy, worlds, choosing, goal, discount)[1].mean() for policy in alone]
        single = [played(policy, worlds, starts, goal, discount) for policy in alone]
        results = {
            "policy for the goal": single[0],
            **{f"policy {place}": found for place, found in enumerate(single[1:], 1)},
            "mean of the single policies": np.mean(single, axis=0),
            "best single policy": single[int(np.argmax(known))],
            **{name: played(policy, worlds, starts, goal, discount) for name, policy in improved.items()},
        }
        for name, found in results.items():
            every.setdefault(name, []).append(found)
            print(f"goal {number} at {goal},", row(name, found), flush=True)
    for name, found in every.items():
        print("all goals,", row(name, np.concatenate(found, axis=1)))


if __name__ == "__main__":
    main(sys.argv[1])
