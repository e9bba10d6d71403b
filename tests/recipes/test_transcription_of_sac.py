"""SAC is, to rounding, the equations of its paper: three updates beside those in NumPy.

Then which loss trains which network, what is easy to get wrong, and Gaussian behaviour cloning in closed form.
"""

import functools
from dataclasses import replace
from unittest import mock

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import plain_networks
import pytest
import transcription_of_sac as transcription
from blueprint import blueprint, random_agent
from doubles import RandomPolicy, frozen_agent, linear_q, transitions
from recorded_draws import Record
from scipy.stats import norm
from test_transcription import assert_metrics, assert_same, layers, members
from transcription_of_baselines import Batch
from transcription_of_sac import Draws, Settings, State

import floqzoo as fz
from floqzoo.hyperparameter import partition_trainable
from floqzoo.testing import assert_close
from recipes import sac as recipe
from recipes.gaussian_bc import GaussianBCConfig, gaussian_bc
from recipes.sac import SACConfig, sac


BATCH, OBSERVATION, ACTION = 7, 3, 2
SMALL = SACConfig(lr=0.01, tau=0.1, discount=0.8, value_hidden_dims=(5, 4), actor_hidden_dims=(6, 5))
CASES = {
    "fql": SMALL,
    "paper": replace(SMALL, backup_entropy=True, actor_q_agg="min", target_entropy_multiplier=1.0),
    "three-critics": replace(SMALL, q_agg="mean", num_qs=3, bc_alpha=0.7, actor_layer_norm=True, layer_norm=False),
}
LIMITS = -0.4, 0.3  # of log-stds: narrow, so that both are reached


def batch_of(seed):
    """Transitions of several steps: every third ends its episode."""
    draw, batch = np.random.default_rng(100 + seed), transitions(seed, BATCH, OBSERVATION, ACTION)
    return replace(batch, discount=batch.discount * jnp.asarray(draw.uniform(0.3, 0.95, BATCH), batch.discount.dtype))


def plain(batch):
    fields = (batch.observation, batch.action, batch.reward, batch.discount, batch.next_observation)
    return Batch(*map(np.asarray, fields), a_next=None)


def settings_of(config):
    return Settings(
        config.discount,
        config.tau,
        config.lr,
        config.q_agg,
        config.actor_q_agg,
        config.target_entropy_multiplier,
        config.bc_alpha,
        config.backup_entropy,
        *LIMITS,
    )


# The agents, with random parameters and recorded draws


@functools.cache
def untrained(name):
    """The agent of a case without parameters, made once, as its update compiles once; and what that draws."""
    agent = blueprint(sac, CASES[name], OBSERVATION, ACTION)
    limits = [np.asarray(limit) for limit in LIMITS]
    agent = eqx.tree_at(
        lambda agent: (agent.policy.log_std_low.stored, agent.policy.log_std_high.stored), agent, limits
    )
    return agent, Record(None)


def agent_of(name, seed):
    """The agent of a case with random parameters, those of the target apart from those of the critic."""
    made, record = untrained(name)
    draw = np.random.default_rng(seed)
    record.draw = lambda shape: draw.normal(size=shape)

    return random_agent(made, seed), record


@eqx.filter_jit
def update(agent, batch, key, record):
    """The agent's update, where all that is drawn from `jax.random.normal` is recorded."""
    with mock.patch.object(jax.random, "normal", lambda key, shape, dtype: record.request(key, shape)):
        return agent.update(batch, key)


def learnt(critic, policy):
    """The trained arrays; also of moments, which have the same form."""
    return [members(critic.networks.networks), layers(policy.network), np.asarray(policy.log_temperature)]


def state_of(agent):
    return State(*learnt(agent.critic, agent.policy), members(agent.target.critic.networks.networks))


@pytest.mark.parametrize(
    "name", [name if name == "fql" else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_three_updates_are_those_of_the_equations(name, double_precision):
    for seed in range(3):
        agent, record = agent_of(name, seed)
        settings, found = settings_of(CASES[name]), state_of(agent)
        state, moments = found, transcription.no_moments(found)
        for number in (1, 2, 3):
            batch = batch_of(10 * seed + number)
            agent, metrics = update(agent, batch, jax.random.key(number), record)
            jax.block_until_ready(jax.tree.leaves(eqx.filter(agent, eqx.is_array)))
            draws = Draws(*record.arrays)
            critic, actor, state, moments = transcription.update(state, moments, number, plain(batch), draws, settings)
            assert_metrics(metrics.critic, critic)
            assert_metrics(metrics.actor, actor)
            found, adam = state_of(agent), agent.optimisers[0]
            for moment, wanted, what in zip((adam.mu, adam.nu), moments, ("first", "second"), strict=True):
                assert_same(learnt(*moment), wanted, f"{what} moments")
            assert_same(found.learnt(), state.learnt(), "parameters")
            assert_same(found.target, state.target, "target")


def test_the_cases_reach_every_branch(double_precision):
    """Log-stds at each limit and between them, either member the smaller one, and the ends of episodes."""
    below, above, smaller, ended = set(), set(), set(), set()
    for seed in range(3):
        state, batch = state_of(agent_of("fql", seed)[0]), plain(batch_of(10 * seed + 1))
        log_std = np.split(transcription.apply(state.policy, batch.s), 2, axis=1)[1]
        below |= {*(log_std < LIMITS[0]).ravel().tolist()}
        above |= {*(log_std > LIMITS[1]).ravel().tolist()}
        q = transcription.values(state.target, batch.s_next, batch.a)
        smaller |= {*(q[0] < q[1]).tolist()}
        ended |= {*(batch.discount == 0).tolist()}
    assert below == above == smaller == ended == {False, True}


# Which loss trains which part


@functools.cache
def made(config):
    """The agent of the recipe with random parameters."""
    build = functools.partial(sac, observation_dim=OBSERVATION, action_dim=ACTION, reward_range=(-1.0, 0.0))
    return eqx.filter_jit(build)(config=config, key=jax.random.key(0))


PARTS = ("critic", "network", "log_temperature", "target")


@eqx.filter_jit
def gradients_of(agent, batch, key, loss):
    """Of a term of the losses, the gradients by critic, policy network, temperature and target, as lists of arrays."""

    def where(agent):
        return agent.critic, agent.policy, agent.target.critic

    parameters, rest = partition_trainable(where(agent))

    def value(parameters):
        moved = eqx.tree_at(where, agent, eqx.combine(parameters, rest))
        part = moved.critic.critic_loss if loss == "critic_loss" else moved.policy.policy_loss
        return getattr(part(batch, moved.frozen, key)[1], loss)

    critic, policy, target = jax.grad(value)(parameters)
    return dict(zip(PARTS, map(jax.tree.leaves, (critic, policy.network, policy.log_temperature, target)), strict=True))


@pytest.mark.parametrize(
    ("loss", "trained"),
    [
        ("critic_loss", {"critic"}),
        ("sac_loss", {"network"}),
        ("bc_loss", {"network"}),
        ("temperature_loss", {"log_temperature"}),
        ("actor_loss", {"network", "log_temperature"}),
    ],
)
def test_a_loss_trains_its_own_parameters_alone(loss, trained):
    """All of these and no others: neither the policy that a target samples from, nor the critic that a policy maximises."""
    found = gradients_of(made(replace(SMALL, backup_entropy=True, bc_alpha=1.0)), batch_of(1), jax.random.key(1), loss)
    for part, leaves in found.items():
        nonzero = [bool(np.any(leaf != 0)) for leaf in leaves]
        assert all(nonzero) if part in trained else not any(nonzero), part


# What is easy to get wrong


class Constant(eqx.Module):
    """A network of zeros: mean 0 and standard deviation 1."""

    stem: None = None

    def __call__(self, x):
        return jnp.zeros(2 * ACTION)

    def body(self, hidden):
        return hidden


@eqx.filter_jit
def critic_loss(critic, policy, batch):
    return critic.critic_loss(batch, frozen_agent(critic, policy), jax.random.key(0))[0]


@pytest.mark.parametrize("backup", [False, True])
def test_the_target_has_the_entropy_bonus_only_where_it_is_asked_for(backup):
    """As long as it has none, the temperature does not matter; and where the episode ended it never does."""
    agent, batch = made(replace(SMALL, backup_entropy=backup)), batch_of(0)
    ended = replace(batch, discount=jnp.zeros(BATCH))
    hot = replace(agent.policy, log_temperature=3.0)
    assert (critic_loss(agent.critic, agent.policy, batch) != critic_loss(agent.critic, hot, batch)) == backup
    assert critic_loss(agent.critic, agent.policy, ended) == critic_loss(agent.critic, hot, ended)


def test_the_target_samples_although_the_policy_acts_with_its_mode():
    """Q = a_1, and a policy around 0: its mode would be worth 0, and samples of it are spread."""
    slopes = np.eye(1, OBSERVATION + ACTION, OBSERVATION, dtype=np.float32)
    critic = fz.SACCritic(linear_q(slopes, jnp.zeros(1)))
    policy = eqx.tree_at(lambda policy: policy.network, made(SMALL).policy, Constant())
    batch = batch_of(0)
    targets = eqx.filter_jit(critic.targets_of)(batch, frozen_agent(critic, policy), jax.random.key(0))
    values = (np.asarray(targets) - np.asarray(batch.reward))[np.asarray(batch.discount) > 0]
    assert len(np.unique(values)) == len(values) > 1 and np.all(values != 0)
    assert_close(policy.act(jnp.ones(OBSERVATION), None, jax.random.key(0)), np.zeros(ACTION))


def test_a_critic_needs_a_policy_with_a_density():
    agent = made(SMALL)
    with pytest.raises(TypeError, match=r"agent\.policy.*act_with_log_prob"):
        critic_loss(agent.critic, RandomPolicy(), batch_of(0))


def test_rlpd_starts_from_scratch_and_draws_half_of_each_batch_from_the_dataset():
    run = recipe.RECIPE.presets["rlpd"](None)
    assert (run.offline_steps, run.online_steps, run.utd_ratio, run.online_start) == (0, 1_000_000, 1, 0)
    assert isinstance(recipe.RECIPE.batch_source(run, True), fz.BalancedReplay)
    assert run.buffer_size == 2_000_000


# Gaussian behaviour cloning


@eqx.filter_jit
def cloned(agent, batch):
    def loss(network):
        policy = eqx.tree_at(lambda policy: policy.network, agent.policy, network)
        return policy.policy_loss(batch, frozen_agent(agent.critic, policy), jax.random.key(0))

    return jax.grad(loss, has_aux=True)(agent.policy.network)


def test_gaussian_cloning_is_maximum_likelihood_of_a_gaussian_with_unit_deviation():
    """So its gradient is that of half the squared distance, and its critic is of no consequence."""
    agent = gaussian_bc(
        observation_dim=OBSERVATION,
        action_dim=ACTION,
        reward_range=(-1.0, 0.0),
        config=GaussianBCConfig(actor_hidden_dims=(6, 5)),
        key=jax.random.key(0),
    )
    batch = batch_of(0)
    mean = jax.vmap(agent.policy.network)(batch.observation)
    gradient, metrics = cloned(agent, batch)
    assert_close(metrics.actor_loss, -norm.logpdf(batch.action, mean).sum(axis=1).mean(), scale=10.0)
    assert metrics.advantage == 0

    def half_square(network):
        return jnp.mean(jnp.sum((jax.vmap(network)(batch.observation) - batch.action) ** 2, axis=1)) / 2

    plain_networks.each(
        assert_close, layers(gradient), layers(eqx.filter_jit(jax.grad(half_square))(agent.policy.network))
    )
