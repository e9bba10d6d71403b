"""IQN, C51, CODAC and FQL-IQN are, to rounding, the equations of their papers: three updates of each beside those in NumPy.

Then which loss trains which network, and what is easy to get wrong.
"""

import functools
from dataclasses import replace
from unittest import mock

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import transcription_of_distributional as transcription
from blueprint import blueprint, random_agent
from doubles import transitions
from plain_networks import each
from recorded_draws import Record, RecordedNormal, RecordedTimes
from test_transcription import assert_metrics, assert_same, layers, members
from transcription_of_baselines import Batch
from transcription_of_distributional import Draws, Settings, State

import floqzoo as fz
from floqzoo.hyperparameter import partition_trainable
from recipes.c51 import C51Config, c51
from recipes.codac import CODACConfig, codac
from recipes.common import distilled_policy, value_network
from recipes.iqn import IQNConfig, iqn


BATCH, OBSERVATION, ACTION = 5, 3, 2
SMALL = {"lr": 0.01, "tau": 0.1, "discount": 0.9, "value_hidden_dims": (5, 4), "actor_hidden_dims": (6, 5)}
LEVELS = {"num_levels": 3, "num_target_levels": 4, "num_cosines": 6, "kappa": 0.8}
REWARDS = (-0.7, 0.1)


def fql_iqn(*, observation_dim, action_dim, reward_range, config, key):
    """The baseline of floq's paper: the level is concatenated, the loss is quadratic, the policy is FQL's."""
    del reward_range
    critic_key, policy_key = jax.random.split(key)
    features = fz.LevelConcatenation(observation_dim + action_dim, fz.FourierTime(config.num_cosines))
    networks = fz.QuantileEnsemble(features, build=value_network(config), key=critic_key)
    critic = fz.QuantileCritic(
        networks, config.discount, fz.ExpectileLoss(), num_levels=3, num_target_levels=4, aggregation=config.aggregation
    )
    policy = distilled_policy(config, observation_dim, action_dim, key=policy_key)
    return fz.Agent(
        critic=critic,
        policy=policy,
        update_rule=fz.JointUpdate(optax.adam(config.lr)),
        target_update=fz.PolyakAveraging(config.tau),
    )


CODAC = CODACConfig(**SMALL, **LEVELS, flow_steps=3, alpha=2.0, conservative_weight=0.6, conservative_actions=2)
IQN = IQNConfig(**SMALL, **LEVELS, flow_steps=3, num_samples=4)
C51 = C51Config(**SMALL, flow_steps=3, num_samples=4, num_atoms=7)
CASES = {
    "IQN": (iqn, IQN),
    "IQN, minimum": (iqn, replace(IQN, q_agg="min", layer_norm=False, kappa=0.1)),
    "C51": (c51, C51),
    "C51, minimum": (c51, replace(C51, q_agg="min", num_atoms=4)),
    "CODAC": (codac, CODAC),
    "FQL-IQN": (fql_iqn, replace(CODAC, q_agg="min", actor_layer_norm=False)),
}
SIGNS = np.array([1.0, -1.0])
every_case = pytest.mark.parametrize("name", CASES)


def batch_of(seed, size=BATCH):
    """Transitions of several steps: every third ends its episode, and all other discounts are inside of (0, 1)."""
    draw, batch = np.random.default_rng(100 + seed), transitions(seed, size, OBSERVATION, ACTION)
    return replace(batch, discount=batch.discount * jnp.asarray(draw.uniform(0.3, 0.95, size), batch.discount.dtype))


def plain(batch):
    fields = (batch.observation, batch.action, batch.reward, batch.discount, batch.next_observation)
    return Batch(*map(np.asarray, fields), a_next=None)


def settings_of(build, config):
    settings = Settings(config.discount, config.tau, config.lr, config.q_agg, flow_steps=config.flow_steps)
    if build is c51:
        low, high = (reward / (1 - config.discount) for reward in REWARDS)
        return replace(settings, support=np.linspace(low, high, config.num_atoms))
    settings = replace(settings, kappa=None if build is fql_iqn else config.kappa, num_levels=config.num_levels)
    if build is iqn:
        return settings
    return replace(settings, alpha=config.alpha, weight=config.conservative_weight)


# The agents, with random parameters and recorded draws


class Records:
    """What one compiled program draws: normal numbers, times, and uniform actions."""

    def __init__(self):
        self.normal, self.times, self.uniform = Record(None), Record(None), Record(None)

    def restart(self, seed):
        draw = np.random.default_rng(seed)
        self.normal.draw = lambda shape: draw.normal(size=shape)
        self.times.draw = lambda shape: draw.uniform(size=shape)
        self.uniform.draw = lambda shape: draw.uniform(-1, 1, size=shape)

    def draws(self, build):
        normal, times = self.normal.arrays, self.times.arrays
        if build is c51:
            return Draws(*normal, *times)
        if build is codac:
            next_noise, term_noise, flow_noise, step_noise = normal
            target_levels, levels, term_level, flow_times = times
            (uniform,) = self.uniform.arrays
            term = {"term_level": term_level, "term_uniform": uniform, "term_noise": term_noise, "signs": SIGNS}
            return Draws(next_noise, flow_noise, flow_times, target_levels, levels, step_noise, **term)
        next_noise, flow_noise, *step_noise = normal
        target_levels, levels, flow_times = times
        return Draws(next_noise, flow_noise, flow_times, target_levels, levels, *step_noise)


def inner(critic):
    return critic.critic if isinstance(critic, fz.ConservativeCritic) else critic


@functools.cache
def untrained(name):
    """The agent of a case without parameters, made once, so that its update compiles once; and what it draws."""
    build, config = CASES[name]
    agent, records = blueprint(build, config, OBSERVATION, ACTION, REWARDS), Records()
    behaviour, times = agent.policy.behaviour, RecordedTimes(records.times)
    flow = replace(behaviour.flow, prior=RecordedNormal(records.normal))
    policy = replace(agent.policy, behaviour=replace(behaviour, flow=flow, times=times))
    critic = agent.critic if build is c51 else with_levels(agent.critic, times)
    return eqx.tree_at(lambda agent: (agent.policy, agent.critic), agent, (policy, critic)), records


def with_levels(critic, times):
    levels = replace(inner(critic), levels=times)
    return replace(critic, critic=levels) if isinstance(critic, fz.ConservativeCritic) else levels


def agent_of(name, seed):
    """The agent of a case with random parameters, those of the targets apart from those of the online networks."""
    made, records = untrained(name)
    records.restart(seed)
    return random_agent(made, seed), records


@eqx.filter_jit
def update(agent, batch, key, record):
    def uniform(key, shape, dtype, low, high):
        """The recorded numbers lie between -1 and 1."""
        return (low + high) / 2 + (high - low) / 2 * record.request(key, shape)

    with (
        mock.patch.object(jax.random, "uniform", uniform),
        mock.patch.object(jax.random, "rademacher", lambda key, shape, dtype: jnp.broadcast_to(SIGNS, shape)),
    ):
        return agent.update(batch, key)


# The agent's arrays, as the transcription takes them


def dense(layer):
    return {"weight": np.asarray(layer.weight), "bias": np.asarray(layer.bias)}


def critic_of(critic):
    """Shared layers and members; also of gradients and moments, which have the same form."""
    critic = inner(critic)
    if isinstance(critic, fz.CategoricalCritic):
        return [[], members(critic.networks)]
    features = critic.networks.level_features
    shared = [dense(features.condition), dense(features.level)] if isinstance(features, fz.LevelProduct) else []
    return [shared, members(critic.networks.networks)]


def policy_of(policy):
    one_step = layers(policy.network) if isinstance(policy, fz.DistilledFlowPolicy) else []
    return [layers(policy.behaviour.flow.field.network), one_step]


def state_of(agent):
    policy, one_step = policy_of(agent.policy)
    return State(*critic_of(agent.critic), policy, *critic_of(agent.target.critic), one_step)


def run(build, *arguments):
    if build is iqn:
        return transcription.best_of_n_update(transcription.quantile_critic, transcription.quantile_score, *arguments)
    if build is c51:
        return transcription.best_of_n_update(
            transcription.categorical_critic, transcription.categorical_score, *arguments
        )
    critic = transcription.codac_critic if build is codac else transcription.quantile_critic
    return transcription.one_step_update(critic, *arguments)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@every_case
def test_three_updates_are_those_of_the_equations(name, seed, double_precision):
    build, config = CASES[name]
    agent, records = agent_of(name, seed)
    settings, found = settings_of(build, config), state_of(agent)
    state, moments = found, transcription.no_moments(found)
    for number in (1, 2, 3):
        batch = batch_of(10 * seed + number)
        agent, metrics = update(agent, batch, jax.random.key(number), records.uniform)
        jax.block_until_ready(jax.tree.leaves(eqx.filter(agent, eqx.is_array)))
        critic, actor, state, moments = run(build, state, moments, number, plain(batch), records.draws(build), settings)
        assert_metrics(metrics.critic, critic)
        assert_metrics(metrics.actor, actor)
        found, adam = state_of(agent), agent.optimisers[0]
        for moment, wanted, what in zip((adam.mu, adam.nu), moments, ("first", "second"), strict=True):
            assert_same([critic_of(moment[0]), policy_of(moment[1])], wanted, f"{what} moments")
        assert_same(found.learnt(), state.learnt(), "parameters")
        assert_same([found.target_shared, found.target], [state.target_shared, state.target], "target")


# Which loss trains which network

CRITIC, TARGET, FLOW, STEP = ({"shared", "critic"}, {"target_shared", "target"}, {"policy"}, {"one_step"})
ROUTES = [
    ("IQN", "critic_loss", CRITIC),
    ("IQN", "policy_loss", FLOW),
    ("C51", "critic_loss", {"critic"}),
    ("C51", "policy_loss", FLOW),
    ("CODAC", "critic_loss", CRITIC),
    ("CODAC", "policy_loss", FLOW | STEP),
    ("FQL-IQN", "critic_loss", {"critic"}),
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
    agent, _ = agent_of(name, 0)
    found = state_of(gradients_of(agent, batch_of(1), jax.random.key(0), loss))
    for part, gradient in vars(found).items():
        nonzero = []
        each(lambda leaf, nonzero=nonzero: nonzero.append(bool(np.any(leaf != 0))), gradient)
        assert all(nonzero) if part in trained else not any(nonzero), part


# What is easy to get wrong, in closed form


@eqx.filter_jit
def loss_at(agent, batch, key):
    return agent.critic.critic_loss(batch, agent.frozen, key)[0]


@pytest.mark.parametrize("name", ["IQN", "C51", "CODAC", "FQL-IQN"])
def test_nothing_is_bootstrapped_where_the_episode_ended(name, double_precision):
    """The authors' code of CODAC lacks this mask. Another next observation changes the loss only of what continues."""
    agent, records = agent_of(name, 0)
    batch = batch_of(0)

    def losses(discount):
        found = []
        for shift in (0.0, 3.0):
            records.restart(7)
            moved = replace(batch, next_observation=batch.next_observation + shift, discount=jnp.full(BATCH, discount))
            found.append(float(loss_at(agent, moved, jax.random.key(0))))
        return found

    # No patch of jax.random.uniform: CODAC's uniform actions have one key.
    ended, continued = losses(0.0), losses(1.0)
    assert ended[0] == pytest.approx(ended[1], rel=1e-12)  # C51 sums the probabilities of the next observation
    assert abs(continued[0] - continued[1]) > 1e-3


def test_the_loss_of_c51_is_a_cross_entropy_and_so_blind_to_a_constant_in_the_logits(double_precision):
    """The authors' code has the raw logits in place of their log-softmax: a loss without a lower bound."""
    agent, records = agent_of("C51", 0)

    def loss(shift):
        records.restart(3)
        bias = lambda agent: agent.critic.networks.members.layers[-1].bias  # noqa: E731
        return float(loss_at(eqx.tree_at(bias, agent, bias(agent) + shift), batch_of(0), jax.random.key(0)))

    np.testing.assert_allclose(loss(50.0), loss(0.0), rtol=1e-9)
    assert loss(0.0) > 0


@eqx.filter_jit
def actions_at(agent, observations, keys):
    return jax.vmap(agent.act)(observations, keys)


def test_the_candidate_of_each_observation_is_the_best_by_the_online_critic(double_precision):
    """For several observations at once; the target critic, which is another one, would choose others."""
    agent, records = agent_of("IQN", 1)
    state, settings = state_of(agent), settings_of(*CASES["IQN"])
    observations = np.random.default_rng(0).normal(size=(6, OBSERVATION))
    keys = jax.random.split(jax.random.key(0), 6)
    found = actions_at(agent.frozen, jnp.asarray(observations), keys).block_until_ready()
    noise = records.normal.arrays[-1]
    wanted = transcription.best_of_n(transcription.quantile_score, state, observations, noise, settings)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    of_target = replace(state, shared=state.target_shared, critic=state.target)
    others = transcription.best_of_n(transcription.quantile_score, of_target, observations, noise, settings)
    assert not np.allclose(found, others)


def test_the_term_of_codac_needs_a_density():
    critic = blueprint(codac, CODACConfig(), OBSERVATION, ACTION).critic
    policy = fz.FunctionPolicy(lambda observation: jnp.tanh(observation[:ACTION]))
    agent = fz.FrozenAgent(critic, policy, fz.ActorCritic(critic, policy), jnp.zeros((), jnp.int32))
    with pytest.raises(TypeError, match=r"agent.policy.*act_with_log_prob"):
        jax.eval_shape(lambda key: critic.conservative_loss(batch_of(0), agent, key), jax.random.key(0))
