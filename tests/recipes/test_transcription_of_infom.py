"""InFOM is, to rounding, the equations of its recipe: updates of both phases beside those in NumPy.

Then what its recipe builds, and what is easy to get wrong in it.
"""

import functools
import warnings
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transcription_of_infom as transcription
from blueprint import blueprint
from doubles import leaves_by_path, transitions
from test_transcription import assert_same
from transcription_of_infom import Batch, Draws, Settings, State

import floqzoo as fz
from floqzoo.hyperparameter import hyperparameter, partition_trainable
from floqzoo.records import named_metrics
from floqzoo.successor import Intention
from recipes import infom as recipe
from recipes.infom import InFOMConfig, infom


BATCH, OBSERVATION, ACTION, GOALS, LATENT = 5, 3, 2, 4, 3
MEAN, SCALE = np.array([0.5, -1.0, 0.0]), np.array([2.0, 0.5, 1.0])
LOW, HIGH = np.array([-0.4, -0.6, -0.2]), np.array([0.5, 0.3, 0.7])
SMALL = InFOMConfig(
    pretraining_steps=2,
    lr=0.01,
    latent_dim=LATENT,
    kl_weight=0.3,
    expectile=0.8,
    alpha=3.0,
    discount=0.7,
    tau=0.1,
    num_flow_goals=GOALS,
    num_flow_steps=3,
    actor_freq=2,
    value_hidden_dims=(6, 5),
    intention_encoder_hidden_dims=(5, 4),
    reward_hidden_dims=(4, 5),
    actor_hidden_dims=(5, 5),
)
CASES = {
    "as published": SMALL,
    "mean and layer norm": replace(SMALL, q_agg="mean", value_layer_norm=True, expectile=0.95, kl_weight=2.0),
    "both": replace(SMALL, intention_gradient="both"),
}


def settings_of(config):
    return Settings(
        config.pretraining_steps,
        config.discount,
        config.tau,
        config.lr,
        config.kl_weight,
        config.expectile,
        config.alpha,
        config.num_flow_steps,
        config.actor_freq,
        config.q_agg,
        config.intention_gradient,
        MEAN,
        SCALE,
        LOW,
        HIGH,
    )


def batch_of(seed):
    batch = transitions(seed, BATCH, OBSERVATION, ACTION)
    actions = jnp.asarray(np.random.default_rng(50 + seed).uniform(-1, 1, (BATCH, ACTION)), batch.action.dtype)
    return replace(batch, next_action=actions)


def plain(batch):
    fields = (batch.observation, batch.action, batch.reward, batch.next_observation, batch.next_action)
    return Batch(*map(np.asarray, fields))


def draws_of(key, fine_tuning):
    """The random numbers of an update with this key."""
    measure_key, _ = jax.random.split(key)
    prior, goals = np.zeros((BATCH, LATENT)), np.zeros((BATCH, GOALS, OBSERVATION))
    if fine_tuning:
        measure_key, target_key = jax.random.split(measure_key)
        keys = [jax.random.split(row) for row in jax.random.split(target_key, BATCH)]
        prior = np.array([jax.random.normal(latent, (LATENT,)) for latent, _ in keys])
        goals = np.array([jax.random.normal(futures, (GOALS, OBSERVATION)) for _, futures in keys])
    latent_key, flow_key = jax.random.split(measure_key)
    _, time_key, noise_key = jax.random.split(flow_key, 3)
    rows = [jax.random.split(row) for row in jax.random.split(noise_key, BATCH)]
    current, future = (np.array([jax.random.normal(row[i], (OBSERVATION,)) for row in rows]) for i in (0, 1))
    intention = np.asarray(jax.random.normal(latent_key, (BATCH, LATENT)))
    return Draws(intention, np.asarray(jax.random.uniform(time_key, (BATCH,))), current, future, prior, goals)


@functools.cache
def untrained(config):
    return blueprint(functools.partial(infom, low=LOW, high=HIGH), config, OBSERVATION, ACTION)


def agent_of(config, seed):
    """The agent of a case with random parameters, those of the targets apart from those of the online networks."""
    made, draw = untrained(config), np.random.default_rng(seed)

    def with_parameters(part):
        parameters, rest = partition_trainable(part)
        return eqx.combine(jax.tree.map(lambda leaf: jnp.asarray(0.7 * draw.normal(size=leaf.shape)), parameters), rest)

    agent = fz.Agent(
        critic=with_parameters(made.critic),
        policy=with_parameters(made.policy),
        update_rule=made.update_rule,
        target_update=made.target_update,
        normaliser=fz.Normaliser(MEAN, SCALE),
    )
    return eqx.tree_at(lambda agent: agent.target.critic, agent, with_parameters(agent.target.critic))


def network_of(network):
    layers = []
    for index, part in enumerate((network.stem, *network.layers)):
        layer = {name: np.asarray(getattr(part, name)) for name in ("weight", "bias")}
        norm = network.activated[index].norm if index < len(network.activated) else None
        layers.append(
            layer | ({} if norm is None else {"scale": np.asarray(norm.scale), "shift": np.asarray(norm.shift)})
        )
    return layers


def state_of(agent):
    critic = agent.critic
    members = critic.networks.networks
    critics = [
        network_of(jax.tree.map(lambda leaf, e=e: leaf[e] if eqx.is_array(leaf) else leaf, members.members))
        for e in range(members.size)
    ]
    return State(
        critics,
        network_of(flow_network(critic)),
        network_of(critic.measure.encoder.network),
        network_of(critic.reward.network),
        network_of(agent.policy.network),
        network_of(flow_network(agent.target.critic)),
    )


def flow_network(critic):
    return critic.measure.measure.flow.field.network


@eqx.filter_jit
def update(agent, batch, key):
    return agent.update(batch, key)


def happened(metrics):
    """The metrics of an update that occurred, of critic and policy."""
    named = {name: metric.value for name, metric in named_metrics(metrics).items() if metric.happened is not False}
    occurred = {name for name, metric in named_metrics(metrics).items() if metric.happened is None or metric.happened}
    return (
        {name.removeprefix(part): float(named[name]) for name in occurred if name.startswith(part)}
        for part in ("critic/", "actor/")
    )


def assert_metrics(found, wanted):
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-8, atol=1e-10, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", CASES)
def test_updates_of_both_phases_are_those_of_the_equations(name, seed, double_precision):
    """Two updates of pre-training, with the copy of the target at their end, and four of fine-tuning."""
    config = CASES[name]
    agent, settings = agent_of(config, seed), settings_of(config)
    state = state_of(agent)
    moments = transcription.no_moments(state)
    for number in range(1, 7):
        batch = batch_of(10 * seed + number)
        draws = draws_of(jax.random.key(number), fine_tuning=number > 2)
        agent, metrics = update(agent, batch, jax.random.key(number))
        critic, actor, state, moments = transcription.update(state, moments, number, plain(batch), draws, settings)
        found_critic, found_actor = happened(metrics)
        assert_metrics(found_critic, critic)
        assert_metrics(found_actor, actor or {})
        assert_same(list(vars(state_of(agent)).values()), list(vars(state).values()), "parameters")


# Traps


def moved(before, after):
    """The networks whose parameters differ."""
    old, new = (leaves_by_path(partition_trainable((agent.critic, agent.policy))[0]) for agent in (before, after))
    return {network_name(path) for path, leaf in new.items() if np.any(np.asarray(leaf) != np.asarray(old[path]))}


def network_name(path):
    names = {"encoder": "encoder", "flow": "flow", "reward": "reward", "networks": "critics"}
    return next((name for part, name in names.items() if part in path), "policy")


@pytest.mark.slow
def test_pre_training_reads_no_reward_and_trains_flow_encoder_and_policy_alone(double_precision):
    """Rewards that are not numbers change nothing; in fine-tuning everything is trained, and they do."""
    agent, batch = agent_of(SMALL, 0), batch_of(0)
    blind = replace(batch, reward=jnp.full(BATCH, jnp.nan))
    after, _ = update(agent, batch, jax.random.key(0))
    again, metrics = update(agent, blind, jax.random.key(0))
    assert eqx.tree_equal(after, again)
    assert all(np.isfinite(metric.value) for metric in named_metrics(metrics).values())
    assert moved(agent, after) == {"flow", "encoder", "policy"}
    fine_tuning = eqx.tree_at(lambda agent: agent.step, agent, jnp.asarray(3, jnp.int32))
    after, _ = update(fine_tuning, batch, jax.random.key(0))
    assert moved(fine_tuning, after) == {"flow", "encoder", "policy", "reward", "critics"}
    after, _ = update(fine_tuning, blind, jax.random.key(0))
    assert not np.isfinite(after.critic.reward.network.stem.bias).all()


def gradients_of(loss, part):
    parameters, rest = partition_trainable(part)
    return jax.jit(jax.grad(lambda parameters: loss(eqx.combine(parameters, rest))))(parameters)


def is_zero(tree):
    return all(not np.any(leaf) for leaf in jax.tree.leaves(tree))


@pytest.mark.slow
def test_the_encoder_learns_from_the_one_step_term_and_the_divergence_alone(double_precision):
    """A trap: with a gradient through the bootstrap, z would be what makes the target easy to predict."""
    agent, batch = agent_of(SMALL, 0), batch_of(0)

    def gradient(discount):
        def loss(encoder):
            critic = eqx.tree_at(
                lambda critic: (critic.measure.encoder, critic.measure.measure.discount, critic.measure.kl_weight),
                agent.critic,
                (encoder, hyperparameter(discount), hyperparameter(0.0)),
            )
            return critic.pretraining_loss(batch, agent.frozen, jax.random.key(0))[0]

        return gradients_of(loss, agent.critic.measure.encoder)

    whole, part = gradient(0.0), gradient(0.75)
    assert not is_zero(whole)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(part), strict=True):
        np.testing.assert_allclose(0.25 * one, other, rtol=1e-9)


@pytest.mark.slow
def test_the_critic_learns_from_the_reward_and_the_flow_and_does_not_train_them(double_precision):
    """The loss of Q reaches the critics alone; reward and occupancy have losses of their own."""
    agent, batch = agent_of(SMALL, 0), batch_of(0)

    def q_loss(critic):
        return critic.critic_loss(batch, agent.frozen, jax.random.key(0))[1].q_loss

    gradient = gradients_of(q_loss, agent.critic)
    assert not is_zero(gradient.networks)
    assert is_zero(gradient.measure) and is_zero(gradient.reward)


@pytest.mark.slow
def test_futures_of_a_value_share_one_intention():
    """A trap of the code before May 2026: with a z for each future, values would hardly differ between intentions."""

    class Intended(eqx.Module):
        """A field that moves every point to z."""

        def encode(self, observation, action, latent):
            return latent

        def velocity(self, t, x, code):
            return (code - x) / (1 - t)

    flow = fz.Flow(Intended(), LATENT, solver=fz.Euler(2))
    measure = fz.FlowSuccessor(flow, fz.StraightTD2Target(), next_action=fz.DataNextAction(), from_current=True)
    encoder = fz.IntentionEncoder(fz.MLP(LATENT + ACTION, 2 * LATENT, hidden=(4,), key=jax.random.key(0)), LATENT)
    critic = fz.IntentionCritic(
        fz.QEnsemble(LATENT, ACTION, key=jax.random.key(1)), fz.IntentionSuccessor(measure, encoder), lambda s: s[0]
    )
    batch = transitions(0, 2000, LATENT, ACTION)
    values = (1 - 0.99) * np.asarray(critic.values_of(batch, jax.random.key(2)))
    # z of the prior: the variance is 1, where the mean of 16 would have 1 / 16.
    assert np.std(values) == pytest.approx(1, abs=0.1)
    futures = critic.measure.sample_futures(batch.observation[0], batch.action[0], 5, jax.random.key(3))
    np.testing.assert_allclose(futures, np.tile(futures[:1], (5, 1)), atol=1e-5)


@pytest.mark.slow
def test_noise_of_the_two_terms_is_separate(double_precision):
    """A trap of the code before May 2026, where both had one key: then x at t = 0 would be the same point in both."""

    class Seen(eqx.Module):
        """An error that returns where the field was evaluated."""

        def error(self, path, t, velocity, label):
            return jnp.mean(label)

    agent, batch = agent_of(SMALL, 0), batch_of(0)
    measure = eqx.tree_at(lambda m: m.velocity_error, agent.critic.measure.measure, Seen())
    first, second = (
        jax.vmap(
            lambda row, key: measure.transition_losses(measure, row, row.next_action, 0.0, key, jnp.zeros(LATENT))
        )(batch, jax.random.split(key, BATCH))
        for key in jax.random.split(jax.random.key(0))
    )
    assert np.ptp(np.asarray(first[0] - second[0])) > 0.1
    draws = draws_of(jax.random.key(0), fine_tuning=False)
    assert abs(np.corrcoef(draws.current.ravel(), draws.future.ravel())[0, 1]) < 0.7


def test_intentions_that_are_the_prior_have_no_divergence():
    """And the divergence of any other Gaussian is that of the closed form, per coordinate."""
    assert Intention(jnp.zeros(4), jnp.zeros(4)).divergence == 0
    mean, log_std = np.array([0.5, -1.0]), np.array([0.3, -0.2])
    wanted = np.mean([0.5 * (m**2 + np.exp(2 * s) - 1) - s for m, s in zip(mean, log_std, strict=True)])
    found = Intention(jnp.asarray(mean), jnp.asarray(log_std)).divergence
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


# The recipe


@pytest.mark.parametrize(
    ("environment", "latent", "kl", "expectile", "alpha"),
    [
        ("cube-single", 512, 0.05, 0.95, 30),
        ("cube-double", 128, 0.025, 0.9, 30),
        ("scene", 128, 0.2, 0.99, 300),
        ("puzzle-4x4", 128, 0.1, 0.95, 300),
    ],
)
def test_published_settings(environment, latent, kl, expectile, alpha):
    run = recipe.RECIPE.presets["default"](f"{environment}-play-singletask-v0")
    recipe.check(run)
    agent = blueprint(infom, run.agent)
    critic, measure = agent.critic, agent.critic.measure
    assert (run.offline_steps, run.eval_interval, run.normalize_observations) == (1_500_000, 50_000, True)
    assert agent.phase_starts == {"pretraining": 0, "finetuning": 1_000_000}
    assert (run.agent.lr, run.agent.batch_size) == (3e-4, 256)
    assert measure.encoder.latent_dim == latent
    numbers = (measure.kl_weight, critic.expectile, agent.policy.alpha, measure.discount)
    np.testing.assert_allclose([number.stored for number in numbers], [kl, expectile, alpha, 0.99], rtol=1e-6)
    assert critic.num_futures == 16 and measure.measure.flow.solver.num_steps == 10
    assert measure.measure.from_current and isinstance(measure.measure.target_rule, fz.StraightTD2Target)
    assert isinstance(critic.aggregation, fz.MinOverEnsemble) and critic.networks.networks.size == 2
    assert not critic.reward.of_next
    networks = {
        "flow": (flow_network(critic), False),
        "critics": (critic.networks.networks.members, False),
        "encoder": (measure.encoder.network, True),
        "reward": (critic.reward.network, True),
        "policy": (agent.policy.network, False),
    }
    for name, (network, normed) in networks.items():
        widths = [layer.bias.shape[-1] for layer in (network.stem, *network.layers)][:-1]
        assert widths == [512] * 4, name
        assert [activated.norm is not None for activated in network.activated] == [normed] * 4, name
    target = agent.target_update
    assert (target.critic.stored, target.policy, target.of_new) == (np.float32(0.005), None, False)
    assert target.copy_after == 1_000_000
    pretraining, finetuning = (phase.update_rule for phase in agent.update_rule.phases)
    assert (pretraining.policy_every, finetuning.policy_every) == (1, 4)


def run(**changes):
    return replace(recipe.RECIPE.presets["quickstart"](None), **changes)


def agent_settings(**changes):
    return replace(run().agent, **changes)


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (lambda: run(online_steps=10), r"`online_steps` must be 0 for infom, .* got 10"),
        (lambda: run(offline_steps=10_000), r"`agent.pretraining_steps` must be at most `offline_steps`, 10000"),
        (lambda: run(agent=agent_settings(pretraining_steps=-1)), "`pretraining_steps` must be at least 0; got -1"),
        (lambda: run(agent=agent_settings(q_agg="max")), "`q_agg` must be one of min, mean; got 'max'"),
        (lambda: run(agent=agent_settings(expectile=1.0)), r"`agent.expectile` must be in \(0, 1\); got 1.0"),
        (lambda: run(agent=agent_settings(kl_weight=-1.0)), "`agent.kl_weight` must be at least 0 and finite; got -1"),
        (lambda: run(agent=agent_settings(alpha=-1.0)), "`agent.alpha` must be at least 0 and finite; got -1.0"),
        (lambda: run(agent=agent_settings(latent_dim=0)), "`agent.latent_dim` must be at least 1; got 0"),
        (lambda: run(agent=agent_settings(num_flow_goals=0)), "must be at least 1; got 0"),
        (lambda: run(agent=agent_settings(actor_freq=0)), "must be at least 1; got 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(config, error):
    with pytest.raises(ValueError, match=error):
        recipe.check(config())


def test_a_run_may_have_one_phase():
    """Without pre-training no target is copied; a run that starts from another has its pre-training behind it."""
    agent = blueprint(infom, agent_settings(pretraining_steps=0))
    assert agent.target_update.copy_after is None
    recipe.check(run(agent=agent_settings(pretraining_steps=run().offline_steps)))
    recipe.check(run(start_from="a run", offline_steps=10_000))


def test_an_environment_without_published_settings_warns():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recipe.RECIPE.presets["default"]("antmaze-large-navigate-singletask-v0")
    assert "no settings are published" in str(caught[0].message)
