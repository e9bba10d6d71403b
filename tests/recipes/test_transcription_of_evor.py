"""EVOR is, to rounding, the equations of its recipe: three updates and an action beside those in NumPy.

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
import transcription_of_evor as transcription
from blueprint import blueprint, random_agent
from doubles import transitions
from recorded_draws import Record, RecordedNormal, RecordedTimes
from scipy.special import ndtr
from test_transcription import assert_metrics, assert_same, layers, members
from transcription_of_baselines import Batch
from transcription_of_evor import Draws, Settings, State

import floqzoo as fz
from floqzoo.hyperparameter import partition_trainable
from recipes import evor as recipe
from recipes.evor import EVORConfig, evor


BATCH, OBSERVATION, ACTION = 5, 3, 2
REWARDS = (-0.4, 0.2)
SMALL = EVORConfig(
    lr=0.01,
    tau=0.1,
    discount=0.8,
    value_hidden_dims=(5, 4),
    actor_hidden_dims=(6, 5),
    flow_steps=3,
    num_samples=4,
    num_score_samples=3,
    return_temperature=0.3,
    selection_temperature=0.2,
)
CASES = {
    "data": SMALL,
    "behaviour": replace(SMALL, next_action="behaviour", layer_norm=False),
    "data, min": replace(SMALL, q_agg="min", actor_layer_norm=False, num_score_samples=2),
}


def batch_of(seed, size=BATCH):
    """Transitions of several steps with the next action of the data: every third ends its episode."""
    draw, batch = np.random.default_rng(100 + seed), transitions(seed, size, OBSERVATION, ACTION)
    discount = batch.discount * jnp.asarray(draw.uniform(0.3, 0.95, size), batch.discount.dtype)
    next_action = jnp.asarray(draw.uniform(-1, 1, (size, ACTION)), batch.action.dtype)
    return replace(batch, discount=discount, next_action=next_action)


def plain(batch):
    fields = (batch.observation, batch.action, batch.reward, batch.discount, batch.next_observation, batch.next_action)
    return Batch(*map(np.asarray, fields))


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
        config.flow_steps,
        config.return_temperature,
        config.selection_temperature,
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
        (noise,), (*next_noise, flow_noise) = self.returns.arrays, self.actions.arrays
        times, flow_times = self.times.arrays
        return Draws(noise[:, 0], times, flow_noise, flow_times, *(array[:, 0] for array in next_noise))


@functools.cache
def untrained(name, program):
    """The agent of a case without parameters, and what one compiled program of it draws: made once, as it compiles once."""
    del program
    agent, records = blueprint(evor, CASES[name], OBSERVATION, ACTION, REWARDS), Records()
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
    return layers(policy.behaviour.flow.field.network)


def state_of(agent):
    return State(members(agent.critic.fields), policy_of(agent.policy), members(agent.target.critic.fields))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
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


@eqx.filter_jit
def acts(agent, observations, keys):
    return jax.vmap(agent.act)(observations, keys)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["data", "data, min"])
def test_an_action_is_that_of_the_equations(name, double_precision):
    """Of 64 observations, some choose each of the four candidates."""
    agent, records = agent_of(name, 2, acts)
    s, settings, state = (
        np.random.default_rng(0).normal(size=(64, OBSERVATION)),
        settings_of(CASES[name]),
        state_of(agent),
    )
    found = acts(agent, jnp.asarray(s), jax.random.split(jax.random.key(0), 64)).block_until_ready()
    (noise,) = records.actions.arrays
    wanted = [transcription.action(state, row, draws, settings) for row, draws in zip(s, noise, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    assert np.std(ndtr(noise[:, -1, 0])) > 0.2


# Which loss trains which network


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
@pytest.mark.parametrize("name", ["data", "behaviour"])
@pytest.mark.parametrize(("loss", "trained"), [("critic_loss", "critic"), ("policy_loss", "policy")])
def test_a_loss_trains_its_own_networks_alone(name, loss, trained, double_precision):
    """All parameters of these, and none of any other: neither a target, nor the policy that a next action is drawn from."""
    agent, _ = agent_of(name, 0, gradients_of)
    found = state_of(gradients_of(agent, batch_of(1), jax.random.key(0), loss))
    for part, gradient in vars(found).items():
        nonzero = []
        plain_networks.each(lambda leaf, nonzero=nonzero: nonzero.append(bool(np.any(leaf != 0))), gradient)
        assert all(nonzero) if part == trained else not any(nonzero), part


# What is easy to get wrong


@eqx.filter_jit
def trained(agent, batch, key):
    after, _ = agent.update(batch, key)
    return partition_trainable((after.critic, after.policy, after.target.critic))[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["data", "behaviour"])
def test_settings_of_acting_change_no_parameter(name):
    """Bit for bit: they may be chosen after training. The actions of the same key differ."""
    build = functools.partial(evor, observation_dim=OBSERVATION, action_dim=ACTION, reward_range=REWARDS)
    others = {"return_temperature": 3.0, "selection_temperature": 0.01, "num_score_samples": 5, "num_samples": 7}
    agents = [build(config=config, key=jax.random.key(0)) for config in (CASES[name], replace(CASES[name], **others))]
    batch = batch_of(0)
    for one, same in zip(*(jax.tree.leaves(trained(agent, batch, jax.random.key(1))) for agent in agents), strict=True):
        np.testing.assert_array_equal(one, same)
    s = jnp.ones((16, OBSERVATION))
    one, other = (acts(agent, s, jax.random.split(jax.random.key(2), 16)) for agent in agents)
    assert np.any(one != other)


@pytest.mark.slow
def test_a_trained_agent_takes_other_temperatures_without_compiling_again():
    """They are arrays of the agent."""
    agent = evor(
        observation_dim=OBSERVATION, action_dim=ACTION, reward_range=REWARDS, config=SMALL, key=jax.random.key(0)
    )
    compiled = []

    @eqx.filter_jit
    def act(agent, key):
        compiled.append(1)
        return agent.act(jnp.ones(OBSERVATION), key)

    for temperature in (0.01, 1.0, 100.0):
        critic = replace(agent.critic, return_temperature=temperature)
        policy = replace(agent.policy, temperature=temperature)
        act(eqx.tree_at(lambda agent: (agent.critic, agent.policy), agent, (critic, policy)), jax.random.key(1))
    assert len(compiled) == 1


@eqx.filter_jit
def loss_at(agent, batch, key):
    return agent.critic.critic_loss(batch, agent.frozen, key)[0]


def test_nothing_is_bootstrapped_where_the_episode_ended(double_precision):
    agent, records = agent_of("data", 0, loss_at)
    for discount in (0.0, 1.0):
        losses = []
        for shift in (0.0, 3.0):
            records.restart(7)
            batch = replace(batch_of(0), discount=jnp.full(BATCH, discount))
            moved = replace(
                batch, next_observation=batch.next_observation + shift, next_action=-shift * batch.next_action
            )
            losses.append(float(loss_at(agent, moved, jax.random.key(0))))
        assert (losses[0] == losses[1]) == (discount == 0)


@pytest.mark.parametrize(("next_action", "read"), [("data", True), ("behaviour", False)])
def test_batches_have_the_next_action_where_it_is_used(next_action, read):
    run = recipe.RECIPE.presets["default"](None)
    run = replace(run, agent=replace(run.agent, next_action=next_action, n_step=3))
    for online in (False, True):
        reader = recipe.RECIPE.batch_source(run, online).reader
        assert (reader.n, reader.reads_next_action) == (3, read)
        assert float(reader.discount.value) == pytest.approx(run.agent.discount)


def test_the_candidates_are_not_those_of_the_next_action():
    """A next action of the behaviour is one draw from its flow, not the best of several."""
    agent = blueprint(evor, CASES["behaviour"], OBSERVATION, ACTION, REWARDS)
    assert agent.critic.next_action == fz.BestOfNNextAction(1)
    assert agent.policy.num_samples == 4
