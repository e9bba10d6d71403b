"""Planning by composing two horizons in a maze: a policy for a sub-goal, and the policy for the goal after it.

    python examples/plan_in_the_maze.py 2
    python examples/plan_in_the_maze.py 2 exp/floqzoo/comparison/fql_... exp/floqzoo/comparison/floq_...

The first argument is the number of seeds; the others are folders of stored runs, whose success at the last evaluation is printed too.
The data are 150 episodes, whose rewards are not used. For each seed, a policy for every goal is cloned: the goal of a transition
is a later state of its episode. One flow then learns the measures of these policies for every goal and for all discounts in a range.
Each of the maze's five tasks is played 20 times with each method: an episode succeeds if one of its first 1,000 states is within 1
of the goal. All methods start at the same states.
"""

import sys
import time
from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.stats import binomtest

import floqzoo as fz
from floqzoo.learner import GeometricFuture, ScannedUpdate, UniformBatches, agent_of, build_agents, update_keys
from floqzoo.networks import Normaliser
from floqzoo.successor import METHODS
from floqzoo.tasks import collect
from floqzoo.tasks.simulator import make


EPISODES, STEPS, TOLERANCE = 20, 1_000, 1.0
UPDATES, BATCH_SIZE = 15_000, 256
SHORT, LONG = 0.97, 0.99
SUBGOALS, SAMPLES, PLAN_EVERY, RADIUS = 24, 16, 10, 2.0
NETWORK = partial(fz.MLP, hidden=(128, 128, 128))


class GoalPolicy(eqx.Module):
    """A policy for each goal, which is z: a behaviour flow of the state and the goal. It acts from a noise sample of 0."""

    behaviour: fz.BehaviourFlow
    latent: fz.Hyperparameter

    def act_for(self, observation, latent):
        """The action of the policy for a goal."""
        return self.behaviour.act_from(jnp.concatenate([observation, latent]), jnp.zeros(self.behaviour.flow.dim))

    def act(self, observation, critic, key):
        """The action of the policy for the goal `latent`."""
        return self.act_for(observation, self.latent.value)

    def policy_loss(self, batch, agent, key):
        """The flow-matching loss, where the goal of a transition is its future."""
        with_goals = batch.with_observations(lambda states: jnp.concatenate([states, batch.future], axis=1))
        return self.behaviour.policy_loss(with_goals, agent, key)


class Goals(fz.NullCritic):
    """The goals whose measures are learnt, which are states of the data. Cloning does not need scores."""

    def score_for(self, observation, action, latent):
        """A score of 0."""
        return jnp.zeros(())

    def sample_latents(self, observations, key):
        """The observations in random order."""
        return jax.random.permutation(key, observations)


def trained(build, dataset, seed, source):
    """An agent after training."""
    agents = build_agents(build, [seed])
    update = ScannedUpdate(agents, BATCH_SIZE, UPDATES, source=source)
    keys = update.spread(update_keys([seed]))
    return agent_of(update.agents(update(update.arrays(agents), update.everywhere(dataset), keys, 0)[0]), 0)


def cloned_policies(dataset, seed):
    """The policies for all goals, which are normalised states."""
    dim, action_dim = dataset.observation_dim, dataset.action_dim

    def build(key):
        behaviour = fz.BehaviourFlow.build(2 * dim, action_dim, network=NETWORK, flow_steps=4, key=key)
        return fz.Agent(
            critic=Goals(),
            policy=GoalPolicy(behaviour, fz.Hyperparameter(jnp.zeros(dim))),
            update_rule=fz.JointUpdate(optax.adam(1e-3)),
            target_update=fz.PolyakAveraging(critic=None),
            normaliser=Normaliser.from_observations(dataset.observations),
        )

    parts = trained(build, dataset, seed, UniformBatches(GeometricFuture(LONG))).parts
    return fz.FixedPolicy(parts.policy, parts.critic, parts.normaliser)


def measures_of(family, dataset, seed):
    """The measures of all policies, for all discounts from SHORT to LONG."""
    dim, action_dim = dataset.observation_dim, dataset.action_dim

    def build(key):
        sizes = dim, dim + action_dim + dim + 1  # the condition: state, action, goal and horizon
        field = fz.ConditionalField(*sizes, build=NETWORK, time_embedding=fz.FourierTime(8), key=key)
        measure = METHODS["td2-cfm"](
            field, dim, discount=LONG, normaliser=family.parts.normaliser, solver=fz.Midpoint(4)
        )
        measures = fz.FamilySuccessor(fz.DiscountRangeSuccessor(measure, SHORT, LONG), family, jnp.zeros(dim))
        return fz.Agent(
            critic=fz.SuccessorCritic(measures, reward=lambda state: state[0]),  # the reward is not used in training
            policy=family,
            update_rule=fz.JointUpdate(optax.adam(1e-3)),
            target_update=fz.PolyakAveraging(critic=0.05),
        )

    return trained(build, dataset, seed, UniformBatches()).target.critic.measure


class Near(eqx.Module):
    """The reward of plans: whether a state is near the goal."""

    goal: jax.Array

    def __call__(self, state):
        """1 for a state near the goal, 0 for others."""
        return (jnp.linalg.norm(state - self.goal) <= RADIUS).astype(jnp.float32)


@eqx.filter_jit
def goals_of(planner, states, playing, key):
    """For each episode that has not ended, the goal of the first policy of the best plan."""

    def plan(state):
        latents, _, values = planner.candidates(state, key)
        return latents[jnp.argmax(values)]

    def of_episode(episode):
        return jax.lax.cond(episode[1], plan, lambda _: planner.second.latent.value, episode[0])

    return jax.lax.map(of_episode, (states, playing))


@eqx.filter_jit
def actions_of(family, states, latents):
    """The action of the policy for a goal in each state."""
    own = family.parts
    return jax.vmap(own.policy.act_for)(jax.vmap(own.normalised)(states), latents)


@eqx.filter_jit
def drawn_actions_of(family, states, latents, key):
    """As `actions_of`, from random noise samples."""
    own = family.parts
    inputs = jnp.concatenate([jax.vmap(own.normalised)(states), latents], axis=1)
    return jax.vmap(own.policy.behaviour.act, (0, None, 0))(inputs, None, jax.random.split(key, len(states)))


def played(family, planner, worlds, starts, goal, latent, key, *, draws=False):
    """Whether each episode succeeds. Without a planner, the policy for the goal acts; with one, every tenth step is planned."""
    for world, start in zip(worlds, starts, strict=True):
        world.unwrapped.set_xy(start)
    states, latents, found = starts.copy(), jnp.tile(latent, (len(starts), 1)), np.zeros(len(starts), bool)
    for step in range(STEPS):
        found |= np.linalg.norm(states - goal, axis=1) <= TOLERANCE
        if found.all():
            break
        shown, step_key = jnp.asarray(states, jnp.float32), jax.random.fold_in(key, step)
        if planner is not None and step % PLAN_EVERY == 0:
            latents = goals_of(planner, shown, jnp.asarray(~found), step_key)
        actions = drawn_actions_of(family, shown, latents, step_key) if draws else actions_of(family, shown, latents)
        for episode, action in enumerate(np.asarray(actions)):
            if not found[episode]:
                states[episode] = worlds[episode].step(action)[0]
    return found


def successes(family, measures, worlds, states, seed):
    """For each method, the success of each episode of each task."""
    normaliser, draw, every = family.parts.normaliser, np.random.default_rng(seed), {}
    subgoals = jax.vmap(normaliser.normalise)(jnp.asarray(states[draw.integers(0, len(states), SUBGOALS)]))
    maze = worlds[0].unwrapped
    for number, info in enumerate(maze.task_infos, 1):
        start, goal = (np.array(maze.ij_to_xy(info[name])) for name in ("init_ij", "goal_ij"))
        starts = start + draw.uniform(-1, 1, (EPISODES, len(start)))
        reward = Near(jnp.asarray(goal, jnp.float32))
        latent = normaliser.normalise(reward.goal)
        long = measures.at(latent)
        short = replace(long, measure=long.measure.at(SHORT))
        plans = partial(fz.GeometricGPIPolicy, second=long, reward=reward, subgoals=subgoals, num_samples=SAMPLES)
        play = partial(played, family, worlds=worlds, starts=starts, goal=goal, latent=latent, key=jax.random.key(seed))
        results = {
            "policy for the goal, drawn actions": play(None, draws=True),
            "policy for the goal": play(None),
            "GPI": play(plans(long)),
            "composition of two horizons": play(plans(short)),
        }
        for name, found in results.items():
            every.setdefault(name, []).append(found)
            print(f"seed {seed}, task {number}, {row(name, found)}", flush=True)
    return {name: np.concatenate(found) for name, found in every.items()}


def row(name, found):
    """The success rate and its 95 % Wilson interval, in per cent."""
    low, high = binomtest(int(np.sum(found)), len(found)).proportion_ci(method="wilson")
    return f"{name}: {100 * np.mean(found):.0f} [{100 * low:.0f}, {100 * high:.0f}] %"


def main(seeds, runs):
    """Trains and plays with each seed, and prints the success of each method."""
    for run in runs:
        table = fz.StoredRun(run).eval
        last = table["step"] == table["step"].max()
        print(f"{run}: {100 * table['evaluation/success'][last].mean():.0f} % at step {table['step'].max():.0f}")
    path = collect("pointmaze-medium-navigate-v0", episodes=150)
    task = fz.load("pointmaze-medium-navigate-singletask-v0", dataset_path=path)
    worlds, states = [make(task.name.environment) for _ in range(EPISODES)], np.asarray(task.dataset.observations)
    for world in worlds:
        world.reset(seed=0)
    every = {}
    for seed in range(seeds):
        began = time.monotonic()
        family = cloned_policies(task.dataset, seed)
        measures = jax.block_until_ready(measures_of(family, task.dataset, seed))
        trained_in = time.monotonic() - began
        for name, found in successes(family, measures, worlds, states, seed).items():
            every.setdefault(name, []).append(found)
            print(f"seed {seed}, all tasks, {row(name, found)}", flush=True)
        played_in = time.monotonic() - began - trained_in
        print(f"seed {seed}: trained in {trained_in:.0f} s, played in {played_in:.0f} s", flush=True)
    for name, found in every.items():
        print(f"all seeds, all tasks, {row(name, np.concatenate(found))}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
