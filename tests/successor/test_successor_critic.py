"""Values read from a measure."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import floqzoo as fz
from floqzoo.policies import FunctionPolicy, GPIPolicy
from floqzoo.protocols import Critic, RewardModel
from floqzoo.successor import KnownReward, LearntReward, SuccessorCritic, flow_measure
from floqzoo.successor.targets import TD2Target
from floqzoo.tasks import LinearGaussian, QuadraticReward
from floqzoo.testing import assert_close
from tests.successor.known_measures import exact_field, small_field


STATE, ACTION = jnp.array([1.0, 0.5]), jnp.array([0.3, -0.2])
REWARD = QuadraticReward(-np.eye(2), np.array([1.0, 0.0]))


def exact_critic(chain, reward=REWARD, **parts):
    measure = flow_measure(TD2Target(), exact_field(chain), 2, discount=chain.discount, solver=fz.Midpoint(20))
    return SuccessorCritic(measure, reward, **parts)


def test_a_readout_of_the_exact_measure_is_the_exact_value(getkey):
    """Within six of its own standard errors."""
    chain = LinearGaussian.spiral(0.8, tolerance=1e-5)
    critic = exact_critic(chain, num_samples=4096)
    assert isinstance(critic, Critic)
    estimate = eqx.filter_jit(critic.estimate)(STATE, ACTION, getkey())
    assert abs(estimate.mean - chain.value(STATE, ACTION, REWARD)) < 6 * estimate.standard_error


@pytest.mark.slow
def test_the_standard_error_is_that_of_the_mean(getkey):
    critic = exact_critic(LinearGaussian.spiral(0.8), num_samples=64)
    estimates = eqx.filter_jit(jax.vmap(lambda key: critic.estimate(STATE, ACTION, key)))(
        jax.random.split(getkey(), 400)
    )
    # A standard deviation from n draws is known to 1 / sqrt(2 n) of itself; six of these.
    np.testing.assert_allclose(np.std(estimates.mean), np.mean(estimates.standard_error), rtol=6 / 800**0.5)
    key = getkey()
    assert_close(critic.value(STATE, ACTION, key), critic.estimate(STATE, ACTION, jax.random.clone(key)).mean)


@pytest.mark.slow
def test_a_score_improves_in_the_direction_of_the_value(getkey):
    """Its gradient by the action against that of the exact value: one function, from few and the same noise samples."""
    chain = LinearGaussian.spiral(0.8)
    critic = exact_critic(chain, num_score_samples=256)
    score = eqx.filter_jit(jax.grad(lambda action: critic.score(STATE, action)))(ACTION)
    value = jax.grad(lambda action: chain.value(STATE, action, REWARD))(ACTION)
    assert score @ value > 0.8 * jnp.linalg.norm(score) * jnp.linalg.norm(value)
    assert_close(critic.score(STATE, ACTION), critic.score(STATE, ACTION))


@pytest.mark.slow
@pytest.mark.parametrize("of_next", [False, True])
def test_rewards_belong_to_the_state_that_is_said(of_next, getkey):
    reward = LearntReward(fz.MLP(2, 1, hidden=(8,), key=getkey()), of_next=of_next)
    batch = LinearGaussian.spiral(0.5).sample(getkey(), 5)
    batch = eqx.tree_at(lambda b: b.reward, batch, jnp.arange(5.0))
    states = batch.next_observation if of_next else batch.observation
    expected = np.mean([(reward.network(x)[0] - r) ** 2 for x, r in zip(states, batch.reward, strict=True)])
    assert_close(reward.reward_loss(batch), jnp.asarray(expected))
    assert isinstance(reward, RewardModel)


@pytest.mark.slow
def test_a_reward_model_is_learnt_beside_the_measure(getkey):
    chain = LinearGaussian.spiral(0.5)
    reward = LearntReward(fz.MLP(2, 1, hidden=(32,), key=getkey()))
    critic = SuccessorCritic(flow_measure(TD2Target(), small_field(getkey()), 2, discount=0.5), reward)
    agent = fz.Agent(critic=critic, policy=chain.policy, update_rule=fz.JointUpdate(optax.adam(1e-2)))
    update = eqx.filter_jit(lambda agent, batch, key: agent.update(batch, key))
    for _ in range(150):
        batch = chain.sample(getkey(), 128)
        batch = eqx.tree_at(lambda b: b.reward, batch, jnp.sin(batch.observation[:, 0]))
        agent, metrics = update(agent, batch, getkey())
    assert metrics.critic.reward_loss < 0.1  # the rewards' own variance is 0.49
    np.testing.assert_allclose(agent.critic.reward.reward_of(STATE), jnp.sin(STATE[0]), atol=0.3)


def test_a_function_is_a_reward_model_with_nothing_to_learn(getkey):
    critic = exact_critic(LinearGaussian.spiral(0.5))
    assert isinstance(critic.reward, KnownReward)
    assert critic.reward.reward_loss(LinearGaussian.spiral(0.5).sample(getkey(), 2)) == 0


@pytest.mark.parametrize("shape", [(1,), (2,), (1, 1)])
def test_a_reward_of_another_shape_is_refused(shape, getkey):
    critic = exact_critic(LinearGaussian.spiral(0.5), lambda x: jnp.zeros(shape))
    with pytest.raises(ValueError, match=r"the reward function must return one number.*got shape \("):
        critic.value(STATE, ACTION, getkey())


@pytest.mark.parametrize(("argument", "value"), [("num_samples", 1), ("num_score_samples", 0)])
def test_too_few_samples_are_refused(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be at least"):
        exact_critic(LinearGaussian.spiral(0.5), **{argument: value})


@pytest.mark.slow
def test_the_best_policy_is_chosen_at_every_state(getkey):
    """Two policies that push left and right; the reward is being on the right, or on the left."""
    chain = LinearGaussian(0.9 * np.eye(1), np.eye(1), np.zeros((1, 1)), 0.01 * np.eye(1), discount=0.5, terms=20)
    left, right = (FunctionPolicy(lambda s, push=push: jnp.full(1, push)) for push in (-1.0, 1.0))
    field = exact_field(chain)
    measure = flow_measure(TD2Target(), field, 1, discount=0.5)
    for sign, best in ((1.0, 1.0), (-1.0, -1.0)):
        critic = SuccessorCritic(measure, lambda x, sign=sign: sign * x[0])
        policy = GPIPolicy((left, right), (critic, critic))
        key = getkey()
        assert policy.act(jnp.zeros(1), None, key) == best
        values = policy.values(jnp.zeros(1), jax.random.clone(key))
        assert sign * values[1] > sign * values[0]


def test_improvement_needs_a_critic_for_each_policy():
    policy = FunctionPolicy(lambda s: s)
    with pytest.raises(ValueError, match="`policies` must have at least one"):
        GPIPolicy((), ())
    with pytest.raises(ValueError, match="`critics` must have 2 entries, one for each policy; got 1"):
        GPIPolicy((policy, policy), (exact_critic(LinearGaussian.spiral(0.5)),))


def test_the_default_is_the_papers_number_of_samples():
    assert exact_critic(LinearGaussian.spiral(0.5)).num_samples == 128
