"""FB is, to rounding, the equations of its recipe: three updates, a task and an action beside those in NumPy.

Then what its recipe stores, and what is easy to get wrong in it.
"""

import dataclasses
import functools
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transcription_of_fb as transcription
from blueprint import blueprint, random_agent
from doubles import transitions
from test_transcription import assert_metrics, assert_same
from transcription_of_fb import Batch, Draws, Settings, State

import floqzoo as fz
from recipes import fb as recipe
from recipes.fb import FBConfig, fb


BATCH, OBSERVATION, ACTION = 6, 3, 2
MEAN, SCALE = np.array([0.5, -1.0, 0.0]), np.array([2.0, 0.5, 1.0])
SMALL = FBConfig(
    forward_lr=0.02,
    backward_lr=0.01,
    actor_lr=0.005,
    latent_dim=4,
    discount=0.8,
    tau=0.1,
    width=6,
    embedding=5,
    backward_width=5,
    orthonormality=0.7,
    goal_ratio=0.6,
    actor_noise=0.7,
    actor_noise_clip=0.8,
    alpha=0.3,
)
CASES = {
    "as published": SMALL,
    "other weights": replace(SMALL, orthonormality=3.0, goal_ratio=0.4),
    "other aggregations": replace(SMALL, actor_agg="mean", target_agg="min", alpha=0.0),
}


def settings_of(config):
    return Settings(
        config.discount,
        config.tau,
        config.forward_lr,
        config.backward_lr,
        config.actor_lr,
        config.orthonormality,
        config.alpha,
        config.actor_noise,
        config.actor_noise_clip,
        config.actor_agg,
        config.target_agg,
        MEAN,
        SCALE,
    )


def batch_of(seed):
    draw, batch = np.random.default_rng(100 + seed), transitions(seed, BATCH, OBSERVATION, ACTION)
    return replace(batch, discount=batch.discount * jnp.asarray(draw.uniform(0.3, 1, BATCH), batch.discount.dtype))


def plain(batch):
    return Batch(*map(np.asarray, (batch.observation, batch.action, batch.discount, batch.next_observation)))


def draws_of(agent, key):
    """The random numbers of both losses of an update with this key."""
    found = []
    critic_key, policy_key = jax.random.split(key)
    for loss_key in (critic_key, *jax.random.split(policy_key, 1)):
        latent_key, noise_key = jax.random.split(loss_key)
        draws = agent.critic.latents.draws(BATCH, 4, latent_key)
        noise = jax.random.normal(noise_key, (BATCH, ACTION))
        found.append(Draws(*map(np.asarray, (draws.normal, draws.order, draws.is_goal, noise))))
    return found


@functools.cache
def untrained(name):
    return blueprint(fb, CASES[name], OBSERVATION, ACTION)


def agent_of(name, seed):
    """The agent of a case with random parameters, those of the targets apart from those of the online networks."""
    return random_agent(untrained(name), seed, normaliser=fz.Normaliser(MEAN, SCALE))


def layer(part):
    return {name: np.asarray(getattr(part, name)) for name in ("weight", "bias")}


def network_of(network):
    embeddings = [
        {
            "first": layer(part.first),
            "norm": {"scale": np.asarray(part.norm.scale), "shift": np.asarray(part.norm.shift)},
            "second": layer(part.second),
        }
        for part in network.embeddings
    ]
    return {"embeddings": embeddings, "trunk": [layer(part) for part in network.trunk], "head": layer(network.head)}


def members_of(ensemble):
    return [
        network_of(jax.tree.map(lambda leaf, e=e: leaf[e], eqx.filter(ensemble.members, eqx.is_array)))
        for e in range(ensemble.size)
    ]


def state_of(agent):
    critic, target = agent.critic, agent.target.critic
    return State(
        members_of(critic.forward),
        network_of(critic.backward),
        network_of(agent.policy.network),
        members_of(target.forward),
        network_of(target.backward),
    )


@eqx.filter_jit
def update(agent, batch, key):
    return agent.update(batch, key)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", CASES)
def test_three_updates_are_those_of_the_equations(name, seed, double_precision):
    agent, settings = agent_of(name, seed), settings_of(CASES[name])
    state = state_of(agent)
    moments = transcription.no_moments(state)
    for number in (1, 2, 3):
        batch = batch_of(10 * seed + number)
        draws = draws_of(agent, jax.random.key(number))
        agent, metrics = update(agent, batch, jax.random.key(number))
        critic, actor, state, moments = transcription.update(state, moments, number, plain(batch), *draws, settings)
        assert_metrics(metrics.critic, critic)
        assert_metrics(metrics.actor, actor)
        assert_same(list(vars(state_of(agent)).values()), list(vars(state).values()), "parameters")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["as published", "other aggregations"])
def test_a_task_is_that_of_the_equations(name, double_precision):
    """z, actions and scores, without an update."""
    agent, settings, batch = agent_of(name, 1), settings_of(CASES[name]), batch_of(3)
    state, shown = state_of(agent), plain(batch)
    told = fz.infer_task(agent, batch.observation, batch.reward)
    w, z = transcription.task(state, shown.s, np.asarray(batch.reward), settings)
    np.testing.assert_allclose(told.critic.reward_vector.value, w, rtol=1e-10)
    np.testing.assert_allclose(told.policy.latent.value, z, rtol=1e-10)
    actions = jax.vmap(lambda s: told.act(s, jax.random.key(0)))(batch.observation)
    wanted, _ = transcription.mean_action(state.policy, shown.s, np.tile(z, (BATCH, 1)), settings)
    np.testing.assert_allclose(actions, wanted, rtol=1e-10)
    scores = jax.vmap(lambda s, a: told.critic.score(told.normalised(s), a))(batch.observation, batch.action)
    np.testing.assert_allclose(scores, transcription.score(state, shown.s, shown.a, w, settings), rtol=1e-9)


# The recipe


@dataclasses.dataclass(frozen=True)
class Rewarded:
    """A task whose data are a list of transitions."""

    steps: fz.Transition

    @property
    def dataset(self):
        return self

    def sample(self, key, size):
        rows = jax.random.randint(key, (size,), 0, len(self.steps.reward))
        return jax.tree.map(lambda leaf: leaf[rows], self.steps)


def run(**changes):
    config = recipe.RECIPE.presets["quickstart"](None)
    small = {"latent_dim": 4, "width": 6, "embedding": 5, "backward_width": 5, "inference_samples": 20_000}
    return replace(config, agent=replace(config.agent, **small | changes))


@pytest.mark.parametrize("terminations", [True, False])
def test_the_batches_of_a_run_have_its_steps_and_terminations(terminations):
    config = run(n_step=3, discount=0.75, terminations=terminations)
    reader = recipe.RECIPE.batch_source(config, False).reader
    assert (reader.n, float(reader.discount.stored), reader.terminations) == (3, 0.75, terminations)


@pytest.mark.slow
@pytest.mark.parametrize(("reward_of", "field"), [("current", "observation"), ("next", "next_observation")])
def test_the_task_of_a_run_is_that_of_its_rewards(reward_of, field):
    """A trap: the reward of metamotivo is of the next state, that of OGBench of the current one; and it is shifted."""
    config, steps = run(reward_of=reward_of, reward_shift=0.5), transitions(0, BATCH, OBSERVATION, ACTION)
    agent = fb(
        observation_dim=OBSERVATION,
        action_dim=ACTION,
        reward_range=(0.0, 1.0),
        config=config.agent,
        key=jax.random.key(0),
    )
    found = recipe.to_task(agent, Rewarded(steps), config).critic.reward_vector.value
    wanted = fz.infer_task(agent, getattr(steps, field), steps.reward + 0.5).critic.reward_vector.value
    np.testing.assert_allclose(found, wanted, atol=0.05)
    again = recipe.to_task(agent, Rewarded(steps), config).critic.reward_vector.value
    np.testing.assert_array_equal(found, again)


@pytest.mark.slow
def test_an_agent_without_a_task_acts_and_has_no_value():
    agent = fb(
        observation_dim=OBSERVATION,
        action_dim=ACTION,
        reward_range=(0.0, 1.0),
        config=run().agent,
        key=jax.random.key(0),
    )
    s, a = jnp.ones(OBSERVATION), jnp.ones(ACTION)
    assert np.all(np.abs(agent.act(s, jax.random.key(1))) < 1)
    assert np.all(np.abs(agent.explore(s, jax.random.key(1))) <= 1)
    assert agent.critic.score(s, a) == 0


def test_published_defaults():
    """Those of metamotivo for the walker."""
    agent = blueprint(fb, FBConfig(), 24, 6)
    critic, policy = agent.critic, agent.policy
    assert (FBConfig().batch_size, FBConfig().inference_samples) == (1024, 50_000)
    assert FBConfig().forward_lr == FBConfig().backward_lr == FBConfig().actor_lr == 1e-4
    numbers = (critic.discount, critic.orthonormality, critic.latents.goal_ratio, policy.alpha)
    np.testing.assert_allclose([number.stored for number in numbers], [0.98, 1.0, 0.5, 0.0], rtol=1e-6)
    for noise in (critic.noise, policy.noise):
        np.testing.assert_allclose([noise.scale.stored, noise.limit.stored], [0.2, 0.3], rtol=1e-6)
    forward = critic.forward.members
    assert critic.forward.size == 2
    assert [e.first.weight.shape[1:] for e in forward.embeddings] == [(124, 1024), (30, 1024)]
    assert [e.second.weight.shape[2] for e in forward.embeddings] == [512, 512]
    assert [layer.weight.shape[1:] for layer in (*forward.trunk, forward.head)] == [(1024, 1024), (1024, 100)]
    (embedding,) = critic.backward.embeddings
    assert (embedding.first.weight.shape, embedding.second.weight.shape) == ((24, 256), (256, 256))
    assert critic.backward.trunk == () and critic.backward.head.weight.shape == (256, 100)
    assert isinstance(critic.aggregation, fz.MinOverEnsemble)
    assert isinstance(critic.target_aggregation, fz.MeanOverEnsemble)
    assert (agent.target_update.critic.stored, agent.target_update.of_new) == (np.float32(0.01), True)
    assert (agent.update_rule.policy_every, agent.update_rule.policy_steps) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"latent_dim": 0}, "`latent_dim` must be at least 1; got 0"),
        ({"batch_size": 1}, "`batch_size` must be at least 2, since the loss is over pairs; got 1"),
        ({"reward_shift": float("inf")}, "`reward_shift` must be finite; got inf"),
        ({"reward_of": "last"}, "`reward_of` must be one of next, current; got 'last'"),
        ({"discount": 1.0}, r"`agent.discount` must be in \[0, 1\); got 1.0"),
        ({"goal_ratio": 1.5}, r"`agent.goal_ratio` must be in \[0, 1\]; got 1.5"),
        ({"alpha": -1.0}, "`agent.alpha` must be at least 0 and finite; got -1.0"),
        ({"orthonormality": -1.0}, "`agent.orthonormality` must be at least 0 and finite; got -1.0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes, error):
    with pytest.raises(ValueError, match=error):
        recipe.check(run(**changes))


def test_it_trains_offline_alone():
    with pytest.raises(ValueError, match=r"`online_steps` must be 0 for fb, .* got 10"):
        recipe.check(replace(run(), online_steps=10))
