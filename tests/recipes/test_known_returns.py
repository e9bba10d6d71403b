r"""Return flows learn distributions that are known, in a world of one state: small networks, 1,000 updates.

- *Two points*: episodes end at once with the reward 1 in three cases of four, and else $-1$.
- *Ended*: the reward is normal, $N(0.3, 1)$, and episodes end at once.
- *Continuing*: the same reward for ever, with $\gamma = \frac12$: $Z = r + \gamma Z'$ is normal too.

The first two are trained by both losses: were DCFM not left out where episodes end, it would pull their returns towards
those of a next state. The third is trained by BCFM alone, of which the distribution of returns is the fixed point.

Ten Euler steps of the exact field do not end in the distribution itself, and where they end is known. With
$\sigma_t^2 = \operatorname{Var}((1 - t) \epsilon + t R)$ and $R$ and $\epsilon$ jointly normal, the slope of the field is
$\dot \sigma_t / \sigma_t$, so the standard deviation of what it generates is $s = \prod_k (1 + \Delta t \, \dot\sigma_{t_k} / \sigma_{t_k})$.
There $R = r + \gamma z'_1$ has the variance $1 + \gamma^2 s^2$ and, as the target flow starts in $\epsilon$, the covariance
$\gamma s$ with $\epsilon$. The rest is what optimisation leaves.
"""

import functools
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from error_budget import exact_ends
from scipy.stats import norm
from small_training import Task, floating, train

import floqzoo as fz
from recipes.value_flows import ValueFlowsConfig, value_flows


pytestmark = pytest.mark.slow


SIZE, SEEDS, DRAWS, STEPS, DISCOUNT, FIT = 256, 2, 4096, 10, 0.5, 0.08
LEVELS = (np.arange(SIZE) + 0.5) / SIZE


def build(dcfm_weight, *, key):
    field = partial(fz.ConditionalField, 1, 2, build=partial(fz.MLP, hidden=(32, 32)))
    critic = fz.ReturnFlowCritic(
        fz.Ensemble.build(lambda key: field(key=key), 2, key=key),
        fz.ClippedEuler(STEPS, -20.0, 20.0),
        discount=DISCOUNT,
        dcfm_weight=dcfm_weight,
    )
    return fz.Agent(critic=critic, policy=fz.FunctionPolicy(lambda observation: jnp.zeros(1)))


def world(rewards, discount):
    """One state, one action, and rewards that are as likely each; their order is not that of the rows' addresses."""
    zeros = np.zeros((SIZE, 1))
    rewards = np.random.default_rng(0).permutation(rewards)
    return fz.Transition(*map(floating, (zeros, zeros, rewards, np.full(SIZE, discount), zeros)))


@functools.cache
def trained():
    normal, two_points = norm(0.3, 1.0).ppf(LEVELS), np.where(LEVELS < 0.25, -1.0, 1.0)
    tasks = {
        "two points": Task(world(two_points, 0.0), partial(build, 1.0)),
        "ended": Task(world(normal, 0.0), partial(build, 1.0)),
        "continuing": Task(world(normal, 1.0), partial(build, 0.0)),
    }
    return train(tasks, seeds=SEEDS, batch=128)


def returns(name):
    """Returns of each seed, (seed, draw), those of both members together."""
    noise = jax.random.normal(jax.random.key(5), (DRAWS, 1))
    zero = jnp.zeros(1)
    draw = jax.vmap(lambda critic, z: critic.returns(zero, zero, z), (None, 0))
    return trained().of(name, lambda agent: draw(agent.critic, noise).ravel())


def scores(name):
    zero = jnp.zeros(1)
    return trained().of(name, lambda agent: agent.critic.score(zero, zero))


def generated_std(discount):
    """The fixed point of s, see above."""
    s, t = 1.0, np.arange(STEPS) / STEPS
    for _ in range(100):
        variance, covariance = 1 + (discount * s) ** 2, discount * s
        of_state = (1 - t) ** 2 + t**2 * variance + 2 * t * (1 - t) * covariance
        s = np.prod(1 + (t * variance - (1 - t) + (1 - 2 * t) * covariance) / of_state / STEPS)
    return s


def test_the_euler_steps_of_the_exact_field_converge_to_the_distribution_of_returns():
    """Of the reference itself: with gamma = 0 it is the known end, from the field of many points."""
    ends = exact_ends(fz.Euler(STEPS), dict.fromkeys(norm(0.3, 1.0).ppf((np.arange(1000) + 0.5) / 1000), 1e-3), 801)
    np.testing.assert_allclose(np.std(ends), generated_std(0.0), atol=0.01)


@pytest.mark.parametrize(("name", "discount"), [("ended", 0.0), ("continuing", DISCOUNT)])
def test_mean_and_spread_of_normal_returns_are_known(name, discount):
    found = returns(name)
    np.testing.assert_allclose(found.mean(axis=1), 0.3 / (1 - discount), atol=FIT)
    np.testing.assert_allclose(found.std(axis=1), generated_std(discount), atol=FIT)
    np.testing.assert_allclose(scores(name), 0.3 / (1 - discount), atol=FIT)


def test_two_points_keep_their_shares_and_places():
    found, exact = returns("two points"), exact_ends(fz.Euler(STEPS), {1.0: 0.75, -1.0: 0.25})
    np.testing.assert_allclose(np.mean(found < 0, axis=1), np.mean(exact < 0), atol=FIT)
    np.testing.assert_allclose(np.median(np.abs(found), axis=1), 1.0, atol=FIT)
    np.testing.assert_allclose(scores("two points"), 0.5, atol=2 * FIT)


# The recipe as a whole

PEAK, CHOSEN = 0.4, 256
CONFIG = ValueFlowsConfig(
    flow_steps=5,
    num_samples=8,
    value_hidden_dims=(32, 32),
    actor_hidden_dims=(32, 32),
    actor_layer_norm=False,
    layer_norm=False,
    discount=0.0,
    alpha=0.1,
)


@functools.cache
def steered(acting):
    """The reward is -4 (a - 0.4)^2, and the data's actions are uniform."""
    action = np.linspace(-1, 1, SIZE)
    zeros, columns = np.zeros((SIZE, 1)), (action[:, None], -4 * (action - PEAK) ** 2, np.zeros(SIZE))
    data = fz.Transition(*map(floating, (zeros, *columns, zeros)))
    sizes = {"observation_dim": 1, "action_dim": 1, "reward_range": (-8.0, 0.0)}
    build = partial(value_flows, **sizes, config=replace(CONFIG, acting=acting))
    return train({"steered": Task(data, build)}, seeds=SEEDS, batch=128)


@pytest.mark.parametrize("acting", ["best-of-n", "one-step"])
def test_either_policy_acts_best(acting):
    """Among eight uniform actions the nearest to the best is a ninth away on average."""
    keys = jax.random.split(jax.random.key(6), CHOSEN)
    act = jax.vmap(lambda agent, key: agent.act(jnp.zeros(1), key)[0], (None, 0))
    found = steered(acting).of("steered", lambda agent: act(agent, keys))
    np.testing.assert_allclose(np.mean(found, axis=1), PEAK, atol=0.15)
    assert np.all(np.std(found, axis=1) < 0.2)
