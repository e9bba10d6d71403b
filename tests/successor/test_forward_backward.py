"""Forward-backward representations: their fixed point, their tasks and what trains them, on MDPs that are known exactly."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from chain_of_fb import BackwardTable, Exact, Listed, TheseLatents
from hypothesis import given, settings, strategies as st

import floqzoo as fz
from floqzoo.hyperparameter import partition_trainable
from floqzoo.successor import on_sphere, with_reward_vector
from floqzoo.testing import families


OBSERVATION, ACTION, LATENT = 3, 2, 5


def pairs_of(batch):
    """All batches of two transitions of a batch, each as likely as two independent draws."""
    i, j = (index.ravel() for index in np.indices((len(batch.reward),) * 2))
    return jax.tree.map(lambda leaf: leaf[np.stack([i, j], axis=1)], batch)


@eqx.filter_jit
def expected_gradient(agent, batch, number):
    """The gradient of the loss of the critic over all pairs, for one z: its parts F and B."""
    z = agent.policy.known.value[number]
    critic = replace(agent.critic, latents=TheseLatents(fz.Hyperparameter(jnp.stack([z, z]))))
    agent = eqx.tree_at(lambda agent: agent.critic, agent, critic, is_leaf=lambda node: node is agent.critic)
    trainable, rest = partition_trainable(agent.critic)

    def loss(trainable):
        critic = eqx.combine(trainable, rest)

        def of_one(pair):
            return critic.critic_loss(pair, agent.frozen, jax.random.key(0))[0]

        return jnp.mean(jax.vmap(of_one)(pairs_of(batch)))

    gradient = jax.grad(loss)(trainable)
    return gradient.forward.members.table, gradient.backward.table


def with_target(agent, exact, **tables):
    return eqx.tree_at(lambda agent: agent.target.critic, agent, exact.agent(**tables).critic)


# The fixed point


@pytest.mark.parametrize("seed", range(6))
def test_the_exact_measure_is_the_fixed_point(seed, double_precision):
    """For every z, of F and of B: the expected gradient is 0 there, and nowhere near."""
    exact = Exact.random(seed)
    batch = exact.mdp.batch()
    agent = exact.agent(orthonormality=0.0)
    for number in range(2):
        for part in expected_gradient(agent, batch, number):
            np.testing.assert_allclose(part, 0, atol=1e-12)
    moved = exact.agent(forward=exact.forward + 0.01, orthonormality=0.0)
    other = exact.agent(orthonormality=0.0, discount=exact.mdp.discount - 0.01)
    for wrong in (moved, other):
        assert np.abs(expected_gradient(wrong, batch, 0)[0]).max() > 1e-4


@pytest.mark.parametrize("seed", range(4))
def test_the_gradient_is_that_of_the_bellman_error_in_the_norm_of_the_data(seed, double_precision):
    """By M: rho(s, a) (rho M - P - gamma P^pi rho M')(s, a, s+), which the diagonal alone makes possible without P."""
    exact, draw = Exact.random(seed), np.random.default_rng(seed)
    mdp = exact.mdp
    forward = exact.forward + draw.normal(size=exact.forward.shape)
    target_forward = exact.forward + draw.normal(size=exact.forward.shape)
    agent = with_target(exact.agent(forward=forward, orthonormality=0.0), exact, forward=target_forward)
    found, _ = expected_gradient(agent, mdp.batch(), 1)
    density, next_density = (table[1] @ exact.backward.T * mdp.share for table in (forward, target_forward))
    next_of_policy = next_density[np.arange(mdp.states), exact.actions[1]]
    error = density - mdp.transition - mdp.discount * mdp.transition @ next_of_policy
    wanted = error @ exact.backward / (2 * mdp.states)
    for member in found:
        np.testing.assert_allclose(member[1], wanted, atol=1e-10)
        np.testing.assert_array_equal(member[0], 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_orthonormality_loss_is_the_distance_of_the_second_moment_from_the_identity(seed, double_precision):
    r"""$\frac12 \lVert \mathbb E B B^\top - I \rVert^2 - d / 2$ over independent pairs, with B on the sphere."""
    mdp, table = Listed.random(seed), np.random.default_rng(seed).normal(size=(4, 6))
    exact = Exact(mdp, np.zeros((1, 4), int), np.ones((1, 4)), np.zeros((1, 4, 2, 6)), table)
    agent = exact.agent()

    def of_one(pair):
        return agent.critic.critic_loss(pair, agent.frozen, jax.random.key(0))[1].orthonormality_loss

    found = np.mean(jax.vmap(of_one)(pairs_of(mdp.batch())))
    rows = np.sqrt(6) * table / np.linalg.norm(table, axis=1, keepdims=True)
    moment = (rows.T * mdp.share) @ rows
    np.testing.assert_allclose(found, 0.5 * np.sum((moment - np.eye(6)) ** 2) - 3, rtol=1e-10)


# Tasks


@pytest.mark.parametrize("seed", range(6))
def test_any_reward_has_exact_values_for_the_policy_of_its_task(seed, double_precision):
    """The task is inferred from the rewards of the states of the data, and nothing is trained."""
    exact = Exact.random(seed, latents=3)
    states = np.eye(exact.mdp.states)
    for number, reward in enumerate(exact.rewards):
        agent = fz.infer_task(exact.agent(), states[exact.mdp.arrivals], reward[exact.mdp.arrivals])
        np.testing.assert_allclose(agent.policy.latent.value, exact.latents[number], rtol=1e-10)
        found = [[agent.critic.score(jnp.asarray(s), jnp.asarray([a])) for a in (-1.0, 1.0)] for s in states]
        np.testing.assert_allclose(found, exact.mdp.q(exact.actions[number], reward), rtol=1e-9, atol=1e-9)
        acted = [(float(agent.act(jnp.asarray(s), jax.random.key(0))[0]) + 1) / 2 for s in states]
        np.testing.assert_array_equal(acted, exact.actions[number])


@pytest.mark.parametrize("seed", range(3))
def test_a_goal_is_the_reward_at_it_divided_by_its_share_of_the_data(seed, double_precision):
    exact = Exact.random(seed)
    states, goal = np.eye(exact.mdp.states), seed
    reward = states[goal] / exact.mdp.share[goal]
    by_goal = fz.infer_goal(exact.agent(), states[goal])
    by_reward = fz.infer_task(exact.agent(), states[exact.mdp.arrivals], reward[exact.mdp.arrivals])
    np.testing.assert_allclose(by_goal.critic.reward_vector.value, by_reward.critic.reward_vector.value, rtol=1e-10)


def small_agent(seed=0, **parts):
    critic_key, policy_key = jax.random.split(jax.random.key(seed))
    return fz.Agent(
        critic=families.forward_backward(key=critic_key, **parts),
        policy=families.latent_policy(key=policy_key),
        update_rule=fz.AlternatingUpdate(optax.adam(0.01), optax.adam(0.01)),
        target_update=fz.PolyakAveraging(critic=0.1, of_new=True),
    )


def data(seed=0, size=8):
    draw = np.random.default_rng(seed)
    numbers = {
        "observation": draw.normal(size=(size, OBSERVATION)),
        "action": draw.uniform(-1, 1, (size, ACTION)),
        "reward": draw.normal(size=size),
        "discount": (draw.uniform(size=size) < 0.5).astype(float),
        "next_observation": draw.normal(size=(size, OBSERVATION)),
    }
    return fz.Transition(**{name: jnp.asarray(array, dtype=float) for name, array in numbers.items()})


@pytest.mark.slow
@settings(deadline=None, max_examples=10)
@given(factor=st.sampled_from((0.01, 3.0, 100.0)), seed=st.integers(0, 50))
def test_the_scale_of_a_reward_scales_the_score_and_leaves_the_policy(factor, seed):
    batch, agent = data(seed), small_agent()
    one = fz.infer_task(agent, batch.observation, batch.reward)
    scaled = fz.infer_task(agent, batch.observation, factor * batch.reward)
    s, a = batch.observation[0], batch.action[0]
    np.testing.assert_allclose(scaled.critic.score(s, a), factor * one.critic.score(s, a), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scaled.policy.latent.value, one.policy.latent.value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(one.policy.latent.value), np.sqrt(LATENT), rtol=1e-5)


@pytest.mark.slow
def test_another_task_compiles_nothing_and_acts_otherwise():
    compiled, actions, untold = [], set(), small_agent()

    @eqx.filter_jit
    def act(agent, s):
        compiled.append(1)
        return agent.act(s, jax.random.key(0))

    for seed in range(4):
        batch = data(seed)
        agent = fz.infer_task(untold, batch.observation, batch.reward)
        actions.add(tuple(np.asarray(act(agent, data().observation[0])).tolist()))
    assert (len(compiled), len(actions)) == (1, 4)


@pytest.mark.parametrize(
    ("rows", "rewards", "error"),
    [
        (8, np.zeros(8), "`rewards` must not all be 0"),
        (8, np.ones(7), "the same number of rows, at least 1; got 8 and 7"),
        (0, np.ones(0), "the same number of rows, at least 1; got 0 and 0"),
        (8, np.full(8, np.nan), "must be finite"),
    ],
)
def test_rewards_from_which_no_task_follows_are_refused(rows, rewards, error):
    with pytest.raises(ValueError, match=error):
        fz.infer_task(small_agent(), data().observation[:rows], rewards)


def test_the_sphere_has_a_gradient_at_its_centre():
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(on_sphere(x)))(jnp.zeros(4))
    assert value == 0 and np.isfinite(gradient).all()
    np.testing.assert_allclose(on_sphere(jnp.array([3.0, 4.0])), np.sqrt(2) * np.array([0.6, 0.8]), rtol=1e-6)


# The z of training


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
def test_z_is_a_state_of_the_batch_as_often_as_asked(ratio):
    """Each of them at most once, since the states are put in random order; else a direction, uniform on the sphere."""
    size = 4000
    circle = np.stack([np.cos(np.arange(size)), np.sin(np.arange(size))], axis=1)
    goals = np.asarray(jnp.asarray(np.sqrt(2) * circle, dtype=float))
    mixture = fz.LatentMixture(ratio)
    z = np.asarray(mixture.latents(jnp.asarray(goals), mixture.draws(size, 2, jax.random.key(0))))
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), np.sqrt(2), rtol=1e-5)
    rows = {tuple(row): index for index, row in enumerate(goals.tolist())}
    found = [rows[tuple(row)] for row in z.tolist() if tuple(row) in rows]
    assert abs(len(found) / size - ratio) < 0.03
    assert len(set(found)) == len(found)
    if found:
        assert np.mean(np.array(found) == np.arange(len(found))) < 0.01
    if ratio == 0:
        angles = np.sort(np.arctan2(z[:, 1], z[:, 0])) / (2 * np.pi) + 0.5
        assert np.abs(angles - np.arange(size) / size).max() < 0.03


# What trains what


@eqx.filter_jit
def updated(agent, batch):
    return agent.update(batch, jax.random.key(1))


def arrays(tree):
    return jax.tree.leaves(eqx.filter(tree, eqx.is_array))


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


@pytest.mark.slow
def test_no_reward_is_read():
    agent, batch = small_agent(), data()
    assert same(updated(agent, batch), updated(agent, replace(batch, reward=batch.reward[::-1] - 3)))


@pytest.mark.slow
def test_a_task_changes_no_update():
    """It may be inferred in the middle of training."""
    agent, batch = small_agent(), data()
    other = with_reward_vector(agent, jnp.full(LATENT, 7.0))
    one, two = updated(agent, batch)[0], updated(other, batch)[0]
    parts = [partition_trainable((agent.critic, agent.policy, agent.target.critic))[0] for agent in (one, two)]
    assert same(*parts)


@eqx.filter_jit
def gradients_of(agent, batch, loss):
    def where(agent):
        return agent.critic, agent.policy, agent.target.critic

    parameters, rest = partition_trainable(where(agent))

    def value(parameters):
        moved = eqx.tree_at(where, agent, eqx.combine(parameters, rest))
        part = moved.policy if loss == "policy_loss" else moved.critic
        return getattr(part, loss)(batch, moved.frozen, jax.random.key(0))[0]

    critic, policy, target = jax.grad(value)(parameters)
    return {"F": critic.forward, "B": critic.backward, "policy": policy.network, "target": target}


@pytest.mark.parametrize(("loss", "trained"), [("critic_loss", {"F", "B"}), ("policy_loss", {"policy"})])
def test_a_loss_trains_its_own_networks_alone(loss, trained):
    """The z of B trains no B, the next action no policy, the score of an action neither F nor B."""
    found = gradients_of(small_agent(), data(), loss)
    assert {name for name, gradient in found.items() if any(np.any(leaf) for leaf in arrays(gradient))} == trained


@pytest.mark.slow
def test_b_of_both_sides_of_a_pair_is_of_the_next_state():
    """A trap: the columns, the goals in z and the orthonormality are of s', so s reaches F alone."""
    agent, batch = small_agent(), data()
    moved = replace(batch, observation=batch.observation + 1)
    names = ("orthonormality_loss",)
    one, two = (updated(agent, each)[1].critic for each in (batch, moved))
    assert all(getattr(one, name) == getattr(two, name) for name in names)
    assert one.measure_loss != two.measure_loss


def test_the_diagonal_of_the_orthonormality_has_no_gradient():
    """A trap: B is on the sphere, so |B|^2 is d, and the loss of B that is orthogonal for all pairs is -d."""
    exact = Exact(
        Listed.random(0), np.zeros((1, 4), int), np.ones((1, 4)), np.zeros((1, 4, 2, 4)), np.full((4, 4), 9.0)
    )
    critic = exact.agent().critic

    def diagonal(table):
        rows = jax.vmap(replace(critic, backward=BackwardTable(table)).represent)(jnp.eye(4))
        return jnp.trace(rows @ rows.T)

    value, gradient = jax.value_and_grad(diagonal)(jnp.asarray(np.random.default_rng(0).normal(size=(4, 4)), float))
    np.testing.assert_allclose(value, 16.0, rtol=1e-5)
    np.testing.assert_allclose(gradient, 0, atol=1e-4)


def test_the_pessimism_of_a_half_is_the_minimum_of_two():
    values = np.random.default_rng(0).normal(size=(2, 50)).astype(np.float32)
    pessimistic = values.mean(axis=0) - 0.5 * np.abs(values[0] - values[1])
    np.testing.assert_allclose(fz.MinOverEnsemble().aggregate(jnp.asarray(values)), pessimistic, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("forward", "backward"), [(0.0, 0.1), (0.1, 0.0)])
def test_each_field_has_an_optimiser_of_its_own(forward, backward):
    optimiser = fz.optimiser_per_field(forward=optax.sgd(forward), backward=optax.sgd(backward))
    before = small_agent().critic
    agent = fz.Agent(
        critic=before,
        policy=small_agent().policy,
        update_rule=fz.AlternatingUpdate(optimiser, optax.sgd(0.0)),
    )
    after = updated(agent, data())[0]
    assert same(after.critic.forward, before.forward) == (forward == 0)
    assert same(after.critic.backward, before.backward) == (backward == 0)
    assert same(after.policy, agent.policy)


def test_a_batch_of_one_has_no_pairs():
    with pytest.raises(ValueError, match="must have at least 2 transitions; got 1"):
        updated(small_agent(), data(size=1))


# Trained


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_training_recovers_the_measure_of_each_policy(seed):
    """From random tables F and B, with stochastic batches: the density to 5 % in the norm of the data, and Q likewise."""
    exact, draw = Exact.random(seed, states=4, outcomes=1), np.random.default_rng(seed)
    steps, mdp = 6000, exact.mdp
    start = exact.agent(
        forward=0.1 * draw.normal(size=exact.forward.shape),
        backward=draw.normal(size=exact.backward.shape),
        orthonormality=0.1,
    )
    latents = jnp.asarray(np.repeat(exact.latents, 32, axis=0), dtype=float)
    critic = replace(start.critic, latents=TheseLatents(fz.Hyperparameter(latents)))
    rate = optax.cosine_decay_schedule(0.02, steps)
    agent = fz.Agent(
        critic=critic,
        policy=start.policy,
        update_rule=fz.JointUpdate(optax.adam(rate)),
        target_update=fz.PolyakAveraging(critic=0.05),
    )
    batch, (arrays, rest) = mdp.batch(), eqx.partition(agent, eqx.is_array)

    @jax.jit
    def train(arrays, keys):
        def step(arrays, key):
            row_key, update_key = jax.random.split(key)
            rows = jax.random.randint(row_key, (64,), 0, len(batch.reward))
            agent, _ = eqx.combine(arrays, rest).update(jax.tree.map(lambda leaf: leaf[rows], batch), update_key)
            return eqx.filter(agent, eqx.is_array), None

        return jax.lax.scan(step, arrays, keys)[0]

    critic = eqx.combine(train(arrays, jax.random.split(jax.random.key(seed), steps)), rest).critic
    backward = np.asarray(jax.vmap(critic.represent)(jnp.eye(mdp.states)))
    for number, actions in enumerate(exact.actions):
        wanted = mdp.measure(actions) / mdp.share
        for table in np.asarray(critic.forward.members.table):
            found = table[number] @ backward.T
            error = np.sqrt(np.sum(mdp.share * (found - wanted) ** 2) / np.sum(mdp.share * wanted**2))
            assert error < 0.05
            reward = exact.rewards[number]
            w = reward[mdp.arrivals] @ backward[mdp.arrivals] / mdp.arrivals.size
            q = mdp.q(actions, reward)
            assert np.linalg.norm(table[number] @ w - q) < 0.05 * np.linalg.norm(q)
