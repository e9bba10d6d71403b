"""IQL, IFQL and ReBRAC are, to rounding, the equations of their papers: three updates of each beside those in NumPy.

Then the parts of these equations that are easy to get wrong, each a test of its own, of the agents that the recipes
build, with some parts exchanged for known maps.
"""

import functools
from dataclasses import replace
from unittest import mock

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transcription_of_baselines as transcription
from blueprint import blueprint, filled, random_agent
from doubles import LinearNetwork, linear_q, transitions
from hypothesis import given, strategies as st
from plain_networks import each
from recorded_draws import Record, RecordedPrior, RecordedTimes
from scipy.stats import expectile, norm
from test_transcription import assert_metrics, assert_same, layers, members
from transcription_of_baselines import Batch, Draws, Settings, State

import floqzoo as fz
from floqzoo.hyperparameter import partition_trainable
from floqzoo.testing import assert_close
from recipes.ifql import IFQLConfig, ifql
from recipes.iql import IQLConfig, iql
from recipes.rebrac import ReBRACConfig, rebrac


BATCH, OBSERVATION, ACTION = 7, 3, 2
SMALL = {"lr": 0.01, "tau": 0.1, "discount": 0.9, "value_hidden_dims": (5, 4), "actor_hidden_dims": (6, 5)}
# Noise and limit such that each of the two clips of a smoothed action applies to some coordinates.
REBRAC = ReBRACConfig(**SMALL, alpha_actor=0.3, alpha_critic=0.5, actor_noise=0.7, actor_noise_clip=0.8)
CASES = {
    "IQL": (iql, IQLConfig(**SMALL, alpha=5.0, expectile=0.8)),
    "IFQL": (ifql, IFQLConfig(**SMALL, expectile=0.7, flow_steps=3, num_samples=5, actor_layer_norm=True)),
    "ReBRAC": (rebrac, REBRAC),
    "ReBRAC, a policy step in each update": (rebrac, replace(REBRAC, actor_freq=1)),
    "ReBRAC, every third": (rebrac, replace(REBRAC, actor_freq=3, alpha_critic=0.0, layer_norm=False)),
}
UPDATES = {iql: transcription.iql_update, ifql: transcription.ifql_update, rebrac: transcription.rebrac_update}
# The weights of two Q-networks, each of which returns a coordinate of the action.
SLOPES = np.eye(2, OBSERVATION + ACTION, OBSERVATION, dtype=np.float32)
every_case = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * ("," in name)) for name in CASES]
)
SEEDS = range(4)
every_seed = pytest.mark.parametrize("seed", SEEDS)


def settings_of(config):
    settings = Settings(config.discount, config.tau, config.lr)
    if isinstance(config, ReBRACConfig):
        return replace(
            settings,
            alpha_actor=config.alpha_actor,
            alpha_critic=config.alpha_critic,
            every=config.actor_freq,
            noise_scale=config.actor_noise,
            noise_limit=config.actor_noise_clip,
        )
    settings = replace(settings, expectile=config.expectile)
    if isinstance(config, IQLConfig):
        return replace(settings, alpha=config.alpha)
    return replace(settings, flow_steps=config.flow_steps)


def batch_of(seed, size=BATCH):
    """Transitions of several steps: every third ends its episode, and all other discounts are inside of (0, 1)."""
    draw, batch = np.random.default_rng(100 + seed), transitions(seed, size, OBSERVATION, ACTION)
    return replace(
        batch,
        discount=batch.discount * jnp.asarray(draw.uniform(0.3, 0.95, size), batch.discount.dtype),
        next_action=jnp.asarray(draw.uniform(-1, 1, (size, ACTION)), batch.action.dtype),
    )


def plain(batch):
    fields = (batch.observation, batch.action, batch.reward, batch.discount, batch.next_observation, batch.next_action)
    return Batch(*map(np.asarray, fields))


# The agents, with random parameters and recorded draws


class Records:
    """What one compiled program draws: normal numbers and times."""

    def __init__(self):
        self.normal, self.times = Record(None), Record(None)

    def restart(self, seed):
        draw = np.random.default_rng(seed)
        self.normal.draw = lambda shape: draw.normal(size=shape)
        self.times.draw = lambda shape: draw.uniform(size=shape)

    def draws(self, build):
        if build is ifql:
            (noise,), (times,) = self.normal.arrays, self.times.arrays
            return Draws(flow_noise=noise, flow_times=times)
        assert not self.times.arrays
        if build is rebrac:
            (noise,) = self.normal.arrays
            return Draws(smoothing=noise)
        assert not self.normal.arrays
        return Draws()


@functools.cache
def untrained(name):
    """The agent of a case without parameters, made once, so that its update compiles once; and what it draws."""
    build, config = CASES[name]
    agent, records = blueprint(build, config, OBSERVATION, ACTION), Records()
    return with_records(agent, records) if build is ifql else agent, records


def with_records(agent, records):
    """An agent of IFQL whose noise and times are recorded."""
    behaviour = agent.policy.behaviour
    flow = replace(behaviour.flow, prior=RecordedPrior(records.normal))
    policy = replace(agent.policy, behaviour=replace(behaviour, flow=flow, times=RecordedTimes(records.times)))
    return eqx.tree_at(lambda agent: agent.policy, agent, policy)


def agent_of(name, seed):
    """The agent of a case with random parameters, those of the targets apart from those of the online networks."""
    made, records = untrained(name)
    records.restart(seed)
    agent = random_agent(made, seed)
    if isinstance(agent.critic, fz.IQLCritic):
        # There is no target of V: one that is not a number would show up in everything that reads it.
        nowhere = filled(agent.target.critic.value_network, lambda shape: np.full(shape, np.nan))
        agent = eqx.tree_at(lambda agent: agent.target.critic.value_network, agent, nowhere)
    return agent, records


@eqx.filter_jit
def update(agent, batch, key, record):
    """The agent's update, where all that is drawn from `jax.random.normal` is recorded."""
    with mock.patch.object(jax.random, "normal", lambda key, shape, dtype: record.request(key, shape)):
        return agent.update(batch, key)


# The agent's arrays, as the transcription takes them


def learnt(critic, policy):
    """The trained networks; also of gradients and moments, which have the same form."""
    v = layers(critic.value_network) if isinstance(critic, fz.IQLCritic) else []
    network = policy.behaviour.flow.field.network if isinstance(policy, fz.BestOfNPolicy) else policy.network
    return [[members(critic.networks.networks), v], layers(network)]


def state_of(agent):
    (q, v), policy = learnt(agent.critic, agent.policy)
    target_policy = layers(agent.target.policy.network) if isinstance(agent.critic, fz.ReBRACCritic) else []
    return State(q, v, policy, members(agent.target.critic.networks.networks), target_policy)


def moments_of(optimisers):
    """Adam's first and second moments, and the number of its steps for critic and policy."""
    if isinstance(optimisers, fz.ActorCritic):
        critic, policy = optimisers.critic[0], optimisers.policy[0]
        moments = [learnt(critic.mu, policy.mu), learnt(critic.nu, policy.nu)]
        return moments, [int(critic.count), int(policy.count)]
    adam = optimisers[0]
    return [learnt(*adam.mu), learnt(*adam.nu)], [int(adam.count)] * 2


def parts_of(state):
    return {"Q": state.q, "V": state.v, "policy": state.policy, "Q'": state.target_q, "policy'": state.target_policy}


def moved_parts(before, after):
    """The names of the networks that changed."""
    before, after = parts_of(before), parts_of(after)
    return {name for name in before if any(differences(before[name], after[name]))}


def differences(*trees):
    """Of each pair of corresponding arrays, whether they differ."""
    found = []
    each(lambda one, other: found.append(not np.array_equal(one, other)), *trees)
    return found


@every_seed
@every_case
def test_three_updates_are_those_of_the_equations(name, seed, double_precision):
    build, config = CASES[name]
    agent, records = agent_of(name, seed)
    settings, found = settings_of(config), state_of(agent)
    state, moments = found, transcription.no_moments(found)
    every = settings.every if build is rebrac else 1

    for number in (1, 2, 3):
        batch, before = batch_of(10 * seed + number), found
        agent, metrics = update(agent, batch, jax.random.key(number), records.normal)
        jax.block_until_ready(jax.tree.leaves(eqx.filter(agent, eqx.is_array)))
        draws = records.draws(build)
        critic, actor, state, moments = UPDATES[build](state, moments, number, plain(batch), draws, settings)

        policy_moves = number % every == 0
        assert_metrics(metrics.critic, critic)
        assert (actor is not None) == policy_moves
        if every > 1:
            assert bool(metrics.actor.happened) == policy_moves
        if policy_moves:
            assert_metrics(metrics.actor.metrics if every > 1 else metrics.actor, actor)
        found, (found_moments, counts) = state_of(agent), moments_of(agent.optimisers)
        assert counts == [number, number // every]
        assert_same(found_moments[0], moments[0], "first moments: the gradients")
        assert_same(found_moments[1], moments[1], "second moments")
        assert_same(found.learnt(), state.learnt(), "parameters")
        assert_same(found.target_q, state.target_q, "target critic")
        assert_same(found.target_policy, state.target_policy, "target policy")
        periodic = {"policy", "Q'", "policy'"} if build is rebrac else {"V", "policy", "Q'"}
        always = {"Q"} if build is rebrac else {"Q", "V"}
        assert moved_parts(before, found) == (always | periodic if policy_moves else always)


def test_the_cases_reach_every_branch(double_precision):
    """Each clip applies to some entries and not to others, and each member is somewhere the smaller one."""
    reached = {}

    def note(what, where):
        reached.setdefault(what, set()).update(np.unique(where).tolist())

    for seed in SEEDS:
        batch, noise = plain(batch_of(10 * seed + 1)), np.random.default_rng(seed).normal(size=(BATCH, ACTION))
        state, settings = state_of(agent_of("IQL", seed)[0]), settings_of(CASES["IQL"][1])
        note("weight at its limit", transcription.advantage_weights(state, batch, settings) == 100)
        target_q = transcription.values(state.target_q, batch.s, batch.a)
        note("smaller member of the target", target_q[0] < target_q[1])
        note("V above Q", target_q.min(axis=0) < transcription.apply(state.v, batch.s)[:, 0])
        q = transcription.values(state.q, batch.s, batch.a)
        note("smaller member", q[0] < q[1])

        state, settings = state_of(agent_of("ReBRAC", seed)[0]), settings_of(CASES["ReBRAC"][1])
        note("noise at its limit", settings.noise_scale * np.abs(noise) > settings.noise_limit)
        action = np.tanh(transcription.apply(state.target_policy, batch.s_next))
        action = transcription.smoothed(action, noise, settings)
        note("action at its limit", np.abs(action) == 1)
        target_q = transcription.values(state.target_q, batch.s_next, action)
        note("smaller member of ReBRAC's target", target_q[0] < target_q[1])
        q = transcription.values(state.q, batch.s, np.tanh(transcription.apply(state.policy, batch.s)))
        note("smaller member in ReBRAC's policy loss", q[0] < q[1])
        note("end of an episode", batch.discount == 0)
    assert reached == {what: {False, True} for what in reached}
    assert np.all((batch.discount == 0) | ((batch.discount > 0) & (batch.discount < 1)))


# IFQL's actions


@eqx.filter_jit
def actions_at(agent, observations, keys):
    return jax.vmap(agent.act)(observations, keys)


def test_ifql_takes_the_candidate_of_which_the_online_minimum_is_highest(double_precision):
    """For several observations at once, each with candidates of its own."""
    records, settings, chosen = Records(), settings_of(CASES["IFQL"][1]), []
    for seed in SEEDS:
        agent, _ = agent_of("IFQL", seed)
        records.restart(seed)
        state, observations = state_of(agent), np.random.default_rng(seed).normal(size=(6, OBSERVATION))
        keys = jax.random.split(jax.random.key(seed), len(observations))
        found = actions_at(with_records(agent, records), jnp.asarray(observations), keys).block_until_ready()
        (noise,) = records.normal.arrays
        assert noise.shape == (6, 5, ACTION)
        pairs = zip(observations, noise, strict=True)
        wanted = [transcription.best_of_n(state, s, candidates, settings) for s, candidates in pairs]
        np.testing.assert_allclose(found, wanted, rtol=1e-9)
        chosen += wanted
    assert len(np.unique(chosen, axis=0)) > 10


class UniformPolicy(eqx.Module):
    """Uniform actions, without anything to train."""

    def act(self, observation, critic, key):
        return jax.random.uniform(key, (ACTION,), observation.dtype, -1, 1)

    def policy_loss(self, batch, agent, key):
        return jnp.zeros(()), None


@eqx.filter_jit
def candidates_and_actions(agent):
    observation, key = jnp.zeros(OBSERVATION), jax.random.key(0)
    candidates = agent.policy.candidates(observation, agent.critic, key)
    return candidates, agent.act(observation, jax.random.clone(key)), agent.explore(observation, jax.random.clone(key))


def test_each_candidate_of_ifql_has_a_key_of_its_own():
    """And IFQL explores as it is evaluated."""
    policy = replace(blueprint(ifql, IFQLConfig(), OBSERVATION, ACTION).policy, behaviour=UniformPolicy())
    agent = fz.ActorCritic(iql_critic(linear_q(SLOPES, jnp.zeros(2))), policy)
    candidates, *actions = map(np.asarray, candidates_and_actions(agent))
    assert candidates.shape == (32, ACTION)
    assert len(np.unique(candidates)) == candidates.size
    for action in actions:
        assert_close(action, candidates[np.argmax(candidates.min(axis=1))])


# Which loss trains which network

ROUTES = [
    ("IQL", "value_loss", {"V"}),
    ("IQL", "q_loss", {"Q"}),
    ("IQL", "policy_loss", {"policy"}),
    ("IFQL", "policy_loss", {"policy"}),
    ("ReBRAC", "critic_loss", {"Q"}),
    ("ReBRAC", "policy_loss", {"policy"}),
]


@eqx.filter_jit
def gradients_of(agent, batch, key, loss):
    """The agent with the gradients of a loss in place of the parameters, of critic, policy and targets."""

    def where(agent):
        return agent.critic, agent.policy, agent.target

    parameters, rest = partition_trainable(where(agent))

    def value(parameters):
        moved = eqx.tree_at(where, agent, eqx.combine(parameters, rest))
        if loss == "policy_loss":
            return moved.policy.policy_loss(batch, moved.frozen, key)[0]
        return getattr(moved.critic.critic_loss(batch, moved.frozen, key)[1], loss)

    return eqx.tree_at(where, agent, jax.grad(value)(parameters))


@pytest.mark.parametrize(("name", "loss", "trained"), ROUTES)
def test_a_loss_trains_its_own_networks_alone(name, loss, trained, double_precision):
    """All parameters of these, and none of any other; a TD target of ReBRAC does not train the target networks."""
    agent, _ = agent_of(name, 0)
    gradients = parts_of(state_of(gradients_of(agent, batch_of(1), jax.random.key(0), loss)))
    for part, gradient in gradients.items():
        if part == "Q'" and name != "ReBRAC":
            continue  # The loss of V reads the target networks, which no update differentiates.
        nonzero = differences(gradient, each(np.zeros_like, gradient))
        assert all(nonzero) if part in trained else not any(nonzero), part


# What is easy to get wrong, in closed form


def constant(outputs):
    """A network whose outputs do not depend on its input."""
    network = LinearNetwork(OBSERVATION, len(outputs), key=jax.random.key(0))
    parameters = jnp.zeros((OBSERVATION, len(outputs))), jnp.asarray(outputs, float)
    return eqx.tree_at(lambda network: (network.stem.weight, network.stem.bias), network, parameters)


def constant_q(*values):
    return linear_q(jnp.zeros((len(values), OBSERVATION + ACTION)), values)


def frozen_agent(critic, policy=None, target_critic=None, target_policy=None):
    target = fz.ActorCritic(target_critic, target_policy)
    return fz.FrozenAgent(critic, policy, target, jnp.zeros((), jnp.int32))


def iql_critic(networks, v=0.0, **hyperparameters):
    """The critic of IQL's recipe, with other networks."""
    made = blueprint(iql, IQLConfig(), OBSERVATION, ACTION).critic
    return replace(made, networks=networks, value_network=constant([v]), **hyperparameters)


def rebrac_critic(networks, **parts):
    """The critic of ReBRAC's recipe, with other networks."""
    return replace(blueprint(rebrac, ReBRACConfig(), OBSERVATION, ACTION).critic, networks=networks, **parts)


def policy_of(build, config, mean, **hyperparameters):
    """The policy of a recipe, with a constant network."""
    made = blueprint(build, config, OBSERVATION, ACTION).policy
    return replace(made, network=constant(mean), **hyperparameters)


@eqx.filter_jit
def critic_metrics(batch, agent):
    return agent.critic.critic_loss(batch, agent, jax.random.key(0))[1]


@eqx.filter_jit
def policy_metrics_and_gradient(batch, agent):
    """The metrics, and the gradient by the constant output of the policy's network."""

    def loss(outputs):
        policy = eqx.tree_at(lambda policy: policy.network.stem.bias, agent.policy, outputs)
        return policy.policy_loss(batch, agent, jax.random.key(0))

    gradient, metrics = jax.grad(loss, has_aux=True)(agent.policy.network.stem.bias)
    return metrics, gradient


@pytest.mark.parametrize(("v", "value_loss"), [(2.0, 0.1 * 7**2), (-9.0, 0.9 * 4**2)])
def test_v_regresses_to_the_minimum_of_the_target_and_the_loss_of_q_is_a_sum_over_members(v, value_loss):
    batch = batch_of(0)
    critic, target = iql_critic(constant_q(-1.0, -3.0), v), iql_critic(constant_q(-5.0, -4.0), jnp.nan)
    found = critic_metrics(batch, frozen_agent(critic, target_critic=target))
    td_target = batch.reward + 0.99 * batch.discount * v
    assert_close(found.value_loss, value_loss)
    assert_close(found.q_loss, jnp.mean((-1 - td_target) ** 2 + (-3 - td_target) ** 2), scale=100.0)


ACTION_ROWS = st.lists(st.tuples(*[st.floats(-10, 10, width=32)] * 2), min_size=5, max_size=5)


@eqx.filter_jit
def regressed_value(q, level):
    """V of a single state after gradient descent on its loss alone; `q` is the target's (action, member)."""
    target = iql_critic(linear_q(SLOPES, jnp.zeros(2)))
    nothing = jnp.zeros((len(q), OBSERVATION))
    batch = fz.Transition(nothing, q, jnp.zeros(len(q)), jnp.zeros(len(q)), nothing)

    def value_loss(v):
        critic = iql_critic(constant_q(0.0, 0.0), v, expectile=level)
        agent = frozen_agent(critic, target_critic=target)
        return critic.critic_loss(batch, agent, jax.random.key(0))[1].value_loss

    rate = 0.5 / jnp.maximum(level, 1 - level)
    return jax.lax.scan(lambda v, _: (v - rate * jax.grad(value_loss)(v), None), jnp.zeros(()), length=300)[0]


@given(rows=ACTION_ROWS, level=st.sampled_from([0.1, 0.5, 0.7, 0.9]))
def test_v_of_a_state_is_the_expectile_of_the_values_of_its_actions(rows, level):
    q = np.array(rows, np.float32)
    found = regressed_value(jnp.asarray(q), jnp.asarray(level))
    assert_close(found, expectile(q.min(axis=1).astype(float), level), scale=10.0)


@pytest.mark.parametrize("advantage", [-1e6, -0.5, 0.0, 0.46, 0.47, 1e6])
def test_the_weight_of_an_advantage_is_at_most_100_and_of_the_online_minimum(advantage):
    """The temperature is 10, and ln(100) is 4.605. The targets are absent: a loss that reads one fails."""
    batch, mean, v = batch_of(0), np.array([0.3, -0.2]), -7.0
    critic = iql_critic(constant_q(v + advantage + 5, v + advantage), v)
    policy = policy_of(iql, IQLConfig(alpha=10.0), mean)
    found, gradient = policy_metrics_and_gradient(batch, frozen_agent(critic, policy))
    weight = min(np.exp(min(10 * advantage, 5)), 100)
    error = np.asarray(batch.action) - mean
    log_prob = norm.logpdf(error).sum(axis=1).mean()
    assert_close(found.advantage, advantage, scale=7.0)
    assert_close(found.actor_loss, -weight * log_prob, scale=100.0)
    assert_close(gradient, -weight * error.mean(axis=0), scale=100.0)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1000.0])
def test_the_penalty_of_rebrac_is_discounted_with_the_value_that_it_is_taken_from(beta):
    """In particular there is none where the episode ended."""
    batch, still = batch_of(0), fz.SmoothingNoise(0.0)
    critic = rebrac_critic(constant_q(1.0, -2.0), beta=beta, noise=still)
    target = replace(critic, networks=constant_q(-3.0, -4.0))
    policy = policy_of(rebrac, ReBRACConfig(), [0.3, -0.2])
    found = critic_metrics(batch, frozen_agent(critic, target_critic=target, target_policy=policy))
    penalty = beta * np.sum((np.tanh([0.3, -0.2]) - np.asarray(batch.next_action)) ** 2, axis=1)
    td_target = np.asarray(batch.reward) + 0.99 * np.asarray(batch.discount) * (-4 - penalty)
    assert_close(found.critic_loss, np.mean([(1 - td_target) ** 2, (-2 - td_target) ** 2]))
    ended = jax.tree.map(lambda leaf: leaf[2:3], batch)
    assert ended.discount == 0
    found = critic_metrics(ended, frozen_agent(critic, target_critic=target, target_policy=policy))
    assert_close(found.critic_loss, np.mean([(1 - ended.reward) ** 2, (-2 - ended.reward) ** 2]))


def test_the_policy_of_rebrac_maximises_the_minimum_divided_by_its_mean_size():
    """The member that sees the second coordinate is the smaller one, by 5, so the first has no gradient."""
    mean, config = np.array([0.3, -0.2]), ReBRACConfig(alpha_actor=0.0)
    agent = frozen_agent(rebrac_critic(linear_q(SLOPES, (2.0, -3.0))), policy_of(rebrac, config, mean))
    found, gradient = policy_metrics_and_gradient(batch_of(0), agent)
    least = np.tanh(mean[1]) - 3
    assert_close(found.q, least)
    assert_close(found.q_loss, 1.0)
    assert_close(gradient, np.array([0.0, -(1 - np.tanh(mean[1]) ** 2) / abs(least)]))


# Exploration

DRAWS = 4096


@eqx.filter_jit
def explored(policy):
    """Many actions of one observation, and the one that the policy is evaluated by."""
    agent, nothing = fz.ActorCritic(None, policy), jnp.zeros(OBSERVATION)
    keys = jax.random.split(jax.random.key(0), DRAWS)
    return jax.vmap(agent.explore, (None, 0))(nothing, keys), agent.act(nothing, jax.random.key(1))


def assert_law(samples, law, points):
    """The fraction of samples at most x is that of a law, at some points, to five standard deviations."""
    for x in points:
        p = law.cdf(x)
        assert np.mean(samples <= x) == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / DRAWS))


def test_rebrac_explores_with_clipped_noise_within_the_box():
    actions, evaluated = explored(policy_of(rebrac, ReBRACConfig(), [0.0, 3.0]))
    actions = np.asarray(actions)
    assert_close(evaluated, np.tanh([0.0, 3.0]))
    assert_law(actions[:, 0], norm(0, 0.2), [-0.45, -0.2, 0.0, 0.2, 0.45])
    assert np.max(actions[:, 0]) == -np.min(actions[:, 0]) == 0.5
    assert np.max(actions[:, 1]) == 1.0
    assert np.min(actions[:, 1]) == pytest.approx(np.tanh(3.0) - 0.5)


def test_iql_explores_by_samples_and_is_evaluated_by_the_mean():
    mean = np.array([0.4, -2.0])
    actions, evaluated = explored(policy_of(iql, IQLConfig(), mean))
    assert_close(evaluated, np.array([0.4, -1.0]))
    for found, of in zip(np.asarray(actions).T, mean, strict=True):
        assert_law(found, norm(of, 1), [-0.99, -0.5, 0.0, 0.5, 0.99])
        assert np.max(found) == -np.min(found) == 1.0
