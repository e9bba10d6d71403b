"""Parts that a user writes without touching the package, each a short class: a critic with state, three taus, a second
optimiser, a batch source, and a dataset."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from doubles import ACTION, OBSERVATION, RandomPolicy, transitions
from training.toy_run import toy_build, toy_config, toy_task

import floqzoo as fz
from floqzoo.flow.prior import quantile_noise
from floqzoo.learner import ScannedUpdate, UniformBatches, build_agents, update_keys
from floqzoo.records import ActionDraw
from floqzoo.testing.policy_laws import frozen_agent
from floqzoo.training import train


updated = eqx.filter_jit(lambda agent, batch, key: agent.update(batch, key))


def trained(agent, updates):
    for number in range(updates):
        agent, _ = updated(agent, transitions(number), jax.random.key(number))
    return agent


class NormalisingCritic(eqx.Module):
    """Q = w . ((s, a) - mean) / deviation, with running statistics of its inputs."""

    weight: jax.Array
    mean: fz.State
    square: fz.State
    rate: float = 0.1

    def score(self, observation, action):
        deviation = jnp.sqrt(self.square.value - self.mean.value**2 + 1e-3)
        return self.weight @ ((jnp.concatenate([observation, action]) - self.mean.value) / deviation)

    def critic_loss(self, batch, agent, key):
        next_action = jax.vmap(agent.act)(batch.next_observation, jax.random.split(key, len(batch.reward)))
        next_q = jax.vmap(agent.target.critic.score)(batch.next_observation, next_action)
        error = jax.vmap(self.score)(batch.observation, batch.action) - batch.reward - 0.9 * batch.discount * next_q
        x = jnp.concatenate([batch.observation, batch.action], axis=1)
        mean = (1 - self.rate) * self.mean.value + self.rate * x.mean(0)
        square = (1 - self.rate) * self.square.value + self.rate * (x**2).mean(0)
        new = dataclasses.replace(self, mean=fz.State(mean), square=fz.State(square))
        return jnp.mean(error**2), fz.Stateful({"td_error": jnp.mean(jnp.abs(error))}, new)


def normalising_critic():
    size = OBSERVATION + ACTION
    return NormalisingCritic(0.1 * jnp.ones(size), fz.State(jnp.zeros(size)), fz.State(jnp.ones(size)))


def test_running_statistics_are_those_of_the_batches():
    agent = fz.Agent(critic=normalising_critic(), policy=RandomPolicy())
    after = trained(agent, 5)
    mean = np.zeros(OBSERVATION + ACTION)
    for number in range(5):
        batch = transitions(number)
        mean = 0.9 * mean + 0.1 * np.concatenate([batch.observation, batch.action], axis=1).mean(axis=0)
    np.testing.assert_allclose(after.critic.mean.value, mean, rtol=1e-5)
    assert np.any(after.critic.weight != agent.critic.weight)
    # The target has the statistics of the update before, as it has the parameters.
    np.testing.assert_array_equal(after.target.critic.mean.value, trained(agent, 4).critic.mean.value)


def test_state_is_trained_by_no_gradient_and_decayed_by_no_optimiser():
    critic = dataclasses.replace(normalising_critic(), rate=0.0)
    agent = fz.Agent(
        critic=critic, policy=RandomPolicy(), update_rule=fz.JointUpdate(optax.adamw(0.1, weight_decay=0.5))
    )
    after = trained(agent, 3)
    np.testing.assert_array_equal(after.critic.mean.value, critic.mean.value)
    np.testing.assert_array_equal(after.critic.square.value, critic.square.value)
    batch, frozen = transitions(), agent.frozen
    parameters, rest = eqx.partition(critic, eqx.is_inexact_array)  # As every user of Equinox writes it.
    gradient = jax.grad(lambda p: eqx.combine(p, rest).critic_loss(batch, frozen, jax.random.key(0))[0])(parameters)
    assert not np.any(gradient.mean.stored)
    assert np.any(gradient.weight)


@pytest.mark.slow
def test_state_is_in_a_checkpoint_and_comes_back_bit_for_bit(tmp_path):
    def build(key):
        return fz.Agent(critic=wide_critic(), policy=toy_build(key).policy)

    def wide_critic():
        return NormalisingCritic(jnp.full(3, 0.1), fz.State(jnp.zeros(3)), fz.State(jnp.ones(3)))

    whole = train(build, toy_task(), toy_config(eval_episodes=0, save_interval=5), tmp_path / "run")
    again = train(build, toy_task(), toy_config(eval_episodes=0, save_interval=5), tmp_path / "run", resumed=True)
    for ours, theirs in zip(jax.tree.leaves(whole.agents), jax.tree.leaves(again.agents), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert np.any(again.agent(0).critic.mean.value)


class ThreeTaus(eqx.Module):
    """Another step for the Q-networks, the state value and the policy."""

    q: float = 0.5
    v: float = 0.25
    policy: float = 0.125

    def init_targets(self, parts):
        return jax.tree.map(lambda leaf: jnp.array(leaf) if eqx.is_array(leaf) else leaf, parts)

    def update_targets(self, target, before, after, step):
        def of(parts):
            return parts.critic.networks, parts.critic.value_network, parts.policy

        moved = [
            jax.tree.map(lambda old, new, tau=tau: old + tau * (new - old) if eqx.is_inexact_array(old) else old, *pair)
            for *pair, tau in zip(of(target), of(after), (self.q, self.v, self.policy), strict=True)
        ]
        return eqx.tree_at(of, target, moved)


def small(ins, outs, *, key):
    return fz.MLP(ins, outs, hidden=(4,), key=key)


def iql_parts():
    critic = fz.IQLCritic(
        fz.QEnsemble(OBSERVATION, ACTION, build=small, key=jax.random.key(0)),
        small(OBSERVATION, 1, key=jax.random.key(1)),
    )
    return {"critic": critic, "policy": fz.AWRPolicy(small(OBSERVATION, ACTION, key=jax.random.key(2)))}


def test_an_agent_may_have_three_taus():
    agent = fz.Agent(**iql_parts(), target_update=ThreeTaus())
    after = trained(agent, 1)
    for of, tau in (
        (lambda parts: parts.critic.networks, 0.5),
        (lambda parts: parts.critic.value_network, 0.25),
        (lambda parts: parts.policy.network, 0.125),
    ):
        old, new, target = (jax.tree.leaves(of(parts)) for parts in (agent.target, after.parts, after.target))
        for before, online, found in zip(old, new, target, strict=True):
            np.testing.assert_allclose(found, (1 - tau) * before + tau * online, rtol=1e-6, atol=1e-7)


class ValueFirst(eqx.Module):
    """Two optimisers within the critic: one for the state value, one for the Q-networks; a third for the policy."""

    value: optax.GradientTransformation = eqx.field(static=True)
    rest: optax.GradientTransformation = eqx.field(static=True)

    def labelled(self):
        labels = lambda critic: jax.tree_util.tree_map_with_path(  # noqa: E731
            lambda path, _: "value" if "value_network" in jax.tree_util.keystr(path) else "rest", critic
        )
        return optax.multi_transform({"value": self.value, "rest": self.rest}, labels)

    def init_optimisers(self, parts):
        critic, policy = (fz.partition_trainable(part)[0] for part in (parts.critic, parts.policy))
        return fz.ActorCritic(self.labelled().init(critic), self.rest.init(policy))

    def update_parts(self, parts, optimisers, agent, batch, key):
        critic, critic_state, critic_metrics = fz.gradient_step(
            lambda critic: critic.critic_loss(batch, agent, key), parts.critic, self.labelled(), optimisers.critic
        )
        policy, policy_state, policy_metrics = fz.gradient_step(
            lambda policy: policy.policy_loss(batch, agent, key), parts.policy, self.rest, optimisers.policy
        )
        metrics = fz.UpdateMetrics(critic_metrics, policy_metrics)
        return fz.ActorCritic(critic, policy), fz.ActorCritic(critic_state, policy_state), metrics


@pytest.mark.slow
def test_a_critic_may_have_a_second_optimiser():
    agent = fz.Agent(**iql_parts(), update_rule=ValueFirst(optax.sgd(0.5), optax.sgd(0.0)))
    after = trained(agent, 1)
    assert eqx.tree_equal(after.critic.networks, agent.critic.networks)
    assert eqx.tree_equal(after.policy, agent.policy)
    gradient = eqx.filter_grad(lambda critic: critic.critic_loss(transitions(0), agent.frozen, jax.random.key(0))[0])
    wanted = jax.tree.map(
        lambda p, g: p - 0.5 * g,
        eqx.filter(agent.critic.value_network, eqx.is_array),
        eqx.filter(gradient(agent.critic).value_network, eqx.is_array),
    )
    found = eqx.filter(after.critic.value_network, eqx.is_array)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


class OwnSteps:
    """The methods that an `OfflineDataset` and an `EpisodeStore` must have, each that of a floqzoo dataset."""

    names = ("sample", "fingerprint", "size", "reward_range", "transition", "later", "steps_left")

    def __init__(self, data):
        for name in self.names:
            setattr(self, name, getattr(data, name))


class OwnEpisodes(OwnSteps):
    """With those of an `EpisodeDataset`."""

    names = (*OwnSteps.names, "starts", "with_next_actions")


@pytest.mark.parametrize("reader", [fz.NStep(), fz.NStep(3, 0.5, next_action=True)], ids=["one step", "three steps"])
def test_a_dataset_of_ones_own_is_read_as_far_as_its_methods_allow(reader):
    data = toy_task().dataset

    def drawn(dataset):
        return UniformBatches(reader).draw_batch(dataset, None, jnp.asarray(0), jax.random.key(0), 16)

    assert eqx.tree_equal(drawn(OwnEpisodes(data)), drawn(data))
    if reader.n == 1:
        assert eqx.tree_equal(drawn(OwnSteps(data)), drawn(data))
    else:
        with pytest.raises(
            ValueError, match=r"for a OwnSteps, which .* because it is not an EpisodeDataset; got NStep"
        ):
            drawn(OwnSteps(data))


class OwnReplay(eqx.Module):
    """A dataset with some methods of a floqzoo dataset."""

    data: Any
    names: tuple[str, ...] = eqx.field(static=True, default=(*OwnEpisodes.names, "empty_replay"))

    def __getattr__(self, name):
        if name not in self.names:
            raise AttributeError(name)
        return getattr(self.data, name)


@pytest.mark.slow
@pytest.mark.parametrize("balanced", [True, False])
def test_a_dataset_of_ones_own_may_be_followed_by_online_steps(balanced, tmp_path):
    """With all its methods; a dataset that lacks one is refused before the run."""
    task = toy_task()
    config = toy_config(
        offline_steps=2, online_steps=6, log_interval=2, eval_episodes=0, save_interval=0, balanced_sampling=balanced
    )
    own, data = (
        train(toy_build, dataclasses.replace(task, dataset=dataset), config, tmp_path / name).agents
        for name, dataset in (("own", OwnReplay(task.dataset)), ("data", task.dataset))
    )
    assert eqx.tree_equal(own, data)
    for name in ("empty_replay", "starts"):
        less = OwnReplay(task.dataset, tuple(other for other in OwnReplay(task.dataset).names if other != name))
        with pytest.raises(ValueError, match="`online_steps` must be 0 with a OwnReplay, which has no replay buffer"):
            train(toy_build, dataclasses.replace(task, dataset=less), config, tmp_path / name)


class WithDensity(RandomPolicy):
    """A policy that states the density of its actions, but has no temperature."""

    def act_with_log_prob(self, observation, key):
        return ActionDraw(self.act(observation, None, key), jnp.asarray(-ACTION * np.log(2), float))


def test_what_needs_quantiles_or_a_temperature_says_so():
    with pytest.raises(TypeError, match="`prior` must be a HasQuantiles, with the methods quantile; got NullCritic"):
        quantile_noise(fz.NullCritic(), 2)
    critic = fz.SACCritic(fz.QEnsemble(OBSERVATION, ACTION, key=jax.random.key(0)), entropy_backup=True)
    agent = frozen_agent(critic, WithDensity())
    with pytest.raises(
        TypeError, match=r"`agent.policy` must be a HasTemperature, .*; got WithDensity, which lacks entr"
    ):
        critic.critic_loss(transitions(), agent, jax.random.key(1))


class RecentBatches(eqx.Module):
    """Draws only from the last transitions of the dataset."""

    count: int = 5
    reader: fz.NStep = fz.NStep(2, 0.9)

    def draw_batch(self, dataset, replay, place, key, batch_size):
        index = jax.random.randint(key, (batch_size,), dataset.size - self.count, dataset.size)
        return self.reader.read(dataset, dataset.starts[index], key)


@pytest.mark.slow
def test_a_run_may_have_a_batch_source_of_ones_own(tmp_path):
    task, config = toy_task(), toy_config(offline_steps=4, log_interval=2, eval_episodes=0, save_interval=0)
    result = train(toy_build, task, config, tmp_path, batch_source=lambda config, online: RecentBatches())
    agents = build_agents(toy_build, (0,))
    update = ScannedUpdate(agents, 8, 4, source=RecentBatches())
    arrays, _ = update(update.arrays(agents), task.dataset, update_keys((0,)), 0)
    for ours, theirs in zip(jax.tree.leaves(result.agents), jax.tree.leaves(update.agents(arrays)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    batch = RecentBatches().draw_batch(task.dataset, None, jnp.asarray(0), jax.random.key(0), 64)
    last = {tuple(row) for row in np.asarray(task.dataset.transitions(jnp.arange(185, 190)).observation)}
    assert {tuple(row) for row in np.asarray(batch.observation)} == last
