"""Value Flows is, to rounding, the equations of its paper: three updates beside those in NumPy.

Then which loss trains which network, and what is easy to get wrong.
"""

import functools
from dataclasses import replace
from statistics import NormalDist

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import plain_networks
import pytest
import transcription_of_value_flows as transcription
from blueprint import blueprint, random_agent
from doubles import transitions
from recorded_draws import Record, RecordedNormal, RecordedTimes
from test_transcription import assert_metrics, assert_same, layers, members
from transcription_of_baselines import Batch
from transcription_of_value_flows import Draws, Settings, State

import floqzoo as fz
from floqzoo.hyperparameter import partition_trainable
from recipes.value_flows import ValueFlowsConfig, value_flows


BATCH, OBSERVATION, ACTION = 5, 3, 2
REWARDS = (-0.4, 0.2)
SMALL = ValueFlowsConfig(
    lr=0.01,
    tau=0.1,
    discount=0.8,
    value_hidden_dims=(5, 4),
    actor_hidden_dims=(6, 5),
    flow_steps=3,
    num_samples=4,
    num_score_samples=3,
    bcfm_lambda=0.7,
    dcfm_lambda=1.3,
    confidence_weight_temp=0.5,
    alpha=2.0,
)
CASES = {
    "best-of-n": SMALL,
    "one-step": replace(SMALL, acting="one-step"),
    "best-of-n, min of scores": replace(SMALL, q_agg="min", layer_norm=False, num_score_samples=2),
    "one-step, min of both": replace(SMALL, q_agg="min", ret_agg="min", acting="one-step", actor_layer_norm=False),
}
every_case = pytest.mark.parametrize("name", CASES)


def batch_of(seed, size=BATCH):
    """Transitions of several steps: every third ends its episode, and all other discounts are inside of (0, 1)."""
    draw, batch = np.random.default_rng(100 + seed), transitions(seed, size, OBSERVATION, ACTION)
    return replace(batch, discount=batch.discount * jnp.asarray(draw.uniform(0.3, 0.95, size), batch.discount.dtype))


def plain(batch):
    fields = (batch.observation, batch.action, batch.reward, batch.discount, batch.next_observation)
    return Batch(*map(np.asarray, fields), a_next=None)


def settings_of(config):
    low, high = (reward / (1 - config.discount) for reward in REWARDS)
    levels = [(number + 0.5) / config.num_score_samples for number in range(config.num_score_samples)]
    return Settings(
        config.discount,
        config.tau,
        config.lr,
        low,
        high,
        config.q_agg,
        config.ret_agg,
        config.bcfm_lambda,
        config.dcfm_lambda,
        config.confidence_weight_temp,
        config.flow_steps,
        config.alpha,
        np.array([NormalDist().inv_cdf(level) for level in levels]),
    )


# The agents, with random parameters and recorded draws


class Records:
    """What one compiled program draws: noise of returns and of actions, and times."""

    def __init__(self):
        self.returns, self.actions, self.times = Record(None), Record(None), Record(None)

    def restart(self, seed):
        draw = np.random.default_rng(seed)
        self.returns.draw = self.actions.draw = lambda shape: draw.normal(size=shape)
        self.times.draw = lambda shape: draw.uniform(size=shape)

    def draws(self):
        noise, std_noise = (array[:, 0] for array in self.returns.arrays)
        candidates, flow_noise, *step_noise = self.actions.arrays
        times, flow_times = self.times.arrays
        return Draws(candidates, noise, std_noise, times, flow_noise, flow_times, *step_noise)


@functools.cache
def untrained(name, program):
    """The agent of a case without parameters, and what one compiled program of it draws: made once, as it compiles once."""
    del program
    agent, records = blueprint(value_flows, CASES[name], OBSERVATION, ACTION, REWARDS), Records()
    behaviour, times = agent.policy.behaviour, RecordedTimes(records.times)
    flow = replace(behaviour.flow, prior=RecordedNormal(records.actions))
    policy = replace(agent.policy, behaviour=replace(behaviour, flow=flow, times=times))
    critic = replace(agent.critic, prior=RecordedNormal(records.returns), times=times)
    return eqx.tree_at(lambda agent: (agent.policy, agent.critic), agent, (policy, critic)), records


def agent_of(name, seed, program):
    """The agent of a case with random parameters, those of the targets apart from those of the online networks."""
    made, records = untrained(name, program)
    records.restart(seed)
    return random_agent(made, seed), records


@eqx.filter_jit
def update(agent, batch, key):
    return agent.update(batch, key)


def policy_of(policy):
    """Also of gradients and moments, which have the same form."""
    one_step = layers(policy.network) if isinstance(policy, fz.DistilledFlowPolicy) else []
    return [layers(policy.behaviour.flow.field.network), one_step]


def state_of(agent):
    behaviour, one_step = policy_of(agent.policy)
    return State(members(agent.critic.fields), behaviour, members(agent.target.critic.fields), one_step)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@every_case
def test_three_updates_are_those_of_the_equations(name, seed, double_precision):
    agent, records = agent_of(name, seed, update)
    settings, found = settings_of(CASES[name]), state_of(agent)
    state, moments = found, transcription.no_moments(found)
    for number in (1, 2, 3):
        batch = batch_of(10 * seed + number)
        agent, metrics = update(agent, batch, jax.random.key(number))
        jax.block_until_ready(jax.tree.leaves(eqx.filter(agent, eqx.is_array)))
        critic, actor, state, moments = transcription.update(
            state, moments, number, plain(batch), records.draws(), settings
        )
        assert_metrics(metrics.critic, critic)
        assert_metrics(metrics.actor, actor)
        found, adam = state_of(agent), agent.optimisers[0]
        for moment, wanted, what in zip((adam.mu, adam.nu), moments, ("first", "second"), strict=True):
            assert_same([members(moment[0].fields), policy_of(moment[1])], wanted, f"{what} moments")
        assert_same(found.learnt(), state.learnt(), "parameters")
        assert_same(found.target, state.target, "target")


# Which loss trains which network

ROUTES = [
    ("best-of-n", "critic_loss", {"critic"}),
    ("best-of-n", "policy_loss", {"policy"}),
    ("one-step", "critic_loss", {"critic"}),
    ("one-step", "policy_loss", {"policy", "one_step"}),
]


@eqx.filter_jit
def gradients_of(agent, batch, key, loss):
    """The agent with the gradients of a loss in place of the parameters, of critic, policy and target."""

    def where(agent):
        return agent.critic, agent.policy, agent.target.critic

    parameters, rest = partition_trainable(where(agent))

    def value(parameters):
        moved = eqx.tree_at(where, agent, eqx.combine(parameters, rest))
        part = moved.policy if loss == "policy_loss" else moved.critic
        return getattr(part, loss)(batch, moved.frozen, key)[0]

    return eqx.tree_at(where, agent, jax.grad(value)(parameters))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "loss", "trained"), ROUTES)
def test_a_loss_trains_its_own_networks_alone(name, loss, trained, double_precision):
    """All parameters of these, and none of any other: neither a target, nor the policy whose actions a critic reads."""
    agent, _ = agent_of(name, 0, gradients_of)
    found = state_of(gradients_of(agent, batch_of(1), jax.random.key(0), loss))
    for part, gradient in vars(found).items():
        nonzero = []
        plain_networks.each(lambda leaf, nonzero=nonzero: nonzero.append(bool(np.any(leaf != 0))), gradient)
        assert all(nonzero) if part in trained else not any(nonzero), part


# What is easy to get wrong


@eqx.filter_jit
def loss_at(agent, batch, key):
    return agent.critic.critic_loss(batch, agent.frozen, key)[1]


def test_nothing_is_bootstrapped_where_the_episode_ended(double_precision):
    """Of the authors' code, DCFM is: its label is the velocity at the next state there too."""
    agent, records = agent_of("best-of-n", 0, loss_at)
    batch = batch_of(0)

    def losses(discount):
        found = []
        for shift in (0.0, 3.0):
            records.restart(7)
            moved = replace(batch, next_observation=batch.next_observation + shift, discount=jnp.full(BATCH, discount))
            found.append(loss_at(agent, moved, jax.random.key(0)))
        return found

    ended, continued = losses(0.0), losses(1.0)
    assert float(ended[0].critic_loss) == float(ended[1].critic_loss) > 0
    assert float(ended[0].dcfm_loss) == 0
    for metric in ("bcfm_loss", "dcfm_loss"):
        assert abs(getattr(continued[0], metric) - getattr(continued[1], metric)) > 1e-3


@eqx.filter_jit
def next_actions_at(agent, batch, key):
    return agent.critic.next_action.next_actions(batch, agent.frozen, key)


@pytest.mark.parametrize("name", ["best-of-n", "one-step"])
def test_the_online_critic_selects_the_next_action_whichever_policy_acts(name, double_precision):
    """The candidates are the behaviour flow's; the target critic, which is another one, would choose others."""
    agent, records = agent_of(name, 1, next_actions_at)
    state, settings, batch = state_of(agent), settings_of(CASES[name]), batch_of(1)
    found = next_actions_at(agent, batch, jax.random.key(0)).block_until_ready()
    noise, s_next = records.actions.arrays[-1], np.asarray(batch.next_observation)
    np.testing.assert_allclose(found, transcription.best_of_n(state, s_next, noise, settings), rtol=1e-9)
    others = transcription.best_of_n(replace(state, critic=state.target), s_next, noise, settings)
    assert not np.allclose(found, others)
