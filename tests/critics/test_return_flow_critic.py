"""Return flow critics whose flows are known: Q, the spread of returns, and both losses in closed form."""

from dataclasses import replace
from statistics import NormalDist

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from doubles import SteadyPolicy, frozen_agent, linear_fields, transitions
from hypothesis import given, strategies as st

import floqzoo as fz
from floqzoo.critics.flow_diagnostics import flow_diagnostics
from floqzoo.hyperparameter import partition_trainable
from floqzoo.protocols import FlowValued
from floqzoo.testing import assert_close
from floqzoo.testing.examples import sixteenths
from floqzoo.testing.families import policy, return_flow_critic
from floqzoo.testing.policy_laws import SumCritic, UniformPolicy


STATE, ACTION = jnp.ones(3), jnp.zeros(2)
WIDE = (-100.0, 100.0)
AGGREGATIONS = [(fz.MeanOverEnsemble(), np.mean), (fz.MinOverEnsemble(), np.min)]
every_aggregation = pytest.mark.parametrize(("aggregation", "reduce"), AGGREGATIONS, ids=["mean", "min"])
PAIRS = st.tuples(sixteenths(-4, 4), sixteenths(-4, 4))


def linear(ends=(0.0, 0.0), spreads=(1.0, 1.0), bounds=WIDE, steps=4, **parts):
    """Returns are `ends + spreads * noise`, by any number of steps; also the estimate of one step."""
    fields = linear_fields(jnp.zeros((2, 5)), jnp.asarray(ends, float), jnp.asarray(spreads, float))
    return fz.ReturnFlowCritic(fields, fz.ClippedEuler(steps, *bounds), **parts)


class Clock(eqx.Module):
    """The field whose velocity is `speed` times the time: nothing at t = 0."""

    speed: jax.Array

    def encode(self, *condition):
        return jnp.zeros(())

    def velocity(self, t, x, code):
        return jnp.full_like(x, t) * self.speed


class ConstantNoise(eqx.Module):
    """Every draw and every quantile is one number."""

    noise: jax.Array

    def sample(self, key, shape):
        return jnp.broadcast_to(self.noise, shape)

    def quantile(self, level):
        return self.noise

    def log_prob(self, x):
        return jnp.zeros(())


# Q


@eqx.filter_jit
def score(critic):
    return critic.score(STATE, ACTION)


@eqx.filter_jit
def value(critic, key):
    return critic.value(STATE, ACTION, key)


@eqx.filter_jit
def returns(critic, noise):
    return critic.returns(STATE, ACTION, jnp.asarray([noise], float))


@every_aggregation
@given(ends=PAIRS, spreads=PAIRS)
@pytest.mark.parametrize("samples", [1, 5])
def test_the_score_is_the_mean_over_quantiles_of_the_aggregated_members(aggregation, reduce, samples, ends, spreads):
    """Of two members with opposite spreads the minimum of each noise sample is below the minimum of the means."""
    critic = linear(ends, spreads, aggregation=aggregation, num_score_samples=samples)
    noise = np.array([NormalDist().inv_cdf((number + 0.5) / samples) for number in range(samples)])
    members = np.asarray(ends)[:, None] + np.asarray(spreads)[:, None] * noise
    assert_close(score(critic), np.mean(reduce(members, axis=0)), scale=20.0)


@pytest.mark.parametrize(("solver", "end"), [(fz.ClippedEuler(4, *WIDE), 3), (fz.Euler(4), 3), (fz.Heun(4), 4)])
def test_q_is_one_euler_step_from_the_noise_and_not_the_output_of_the_flow(solver, end):
    """A field that stands still at the start: Q is the mean of the noise, and the flow goes elsewhere."""
    critic = fz.ReturnFlowCritic(fz.Ensemble(Clock(jnp.full(2, 8.0)), 2), solver)
    assert_close(score(critic), 0.0, scale=1.0)
    assert_close(returns(critic, 0.5), np.full(2, 0.5 + end))


def test_a_value_draws_its_noise_from_the_key(getkey):
    """The mean and the spread of many values are those of the return, here 2 and 3."""
    critic = linear((2.0, 2.0), (3.0, 3.0))
    values = jax.vmap(lambda key: value(critic, key))(jax.random.split(getkey(), 4096))
    np.testing.assert_allclose(np.mean(values), 2.0, atol=5 * 3 / 64)
    np.testing.assert_allclose(np.std(values), 3.0, rtol=5 / 64)


def test_q_is_clipped_before_members_are_aggregated():
    critic = linear((10.0, -1.0), (0.0, 0.0), bounds=(-2.0, 1.0))
    assert_close(score(critic), (1.0 - 1.0) / 2, scale=1.0)
    assert_close(value(critic, jax.random.key(0)), 0.0, scale=1.0)


def test_the_score_grows_where_the_field_does():
    """Policy improvement follows it, as long as it is inside of the range."""
    weight = jnp.asarray([[0.0, 0.0, 0.0, 0.25, -0.5]] * 2)
    fields = linear_fields(weight, jnp.zeros(2), jnp.ones(2))
    for bounds, wanted in ((WIDE, [0.25, -0.5]), ((5.0, 6.0), [0.0, 0.0])):
        critic = fz.ReturnFlowCritic(fields, fz.ClippedEuler(4, *bounds))
        gradient = eqx.filter_jit(jax.grad(lambda action, critic=critic: critic.score(STATE, action)))(ACTION)
        assert_close(gradient, np.array(wanted), scale=1.0)


# The spread of returns


@eqx.filter_jit
def return_stds(critic, batch, noise):
    return critic.return_stds(batch, noise)


@every_aggregation
@given(spreads=PAIRS, steps=st.sampled_from([1, 4]), bounds=st.sampled_from([WIDE, (-0.25, 0.25)]))
def test_the_std_of_a_linear_return_is_its_factor_whatever_the_clip(aggregation, reduce, spreads, steps, bounds):
    # t = 3/4 is the last time that is looked at, where the paths of a negative factor must not have met.
    spreads = [spread if spread > -0.25 else 0.0 for spread in spreads]
    critic = linear((1.0, -2.0), spreads, bounds=bounds, steps=steps, aggregation=aggregation)
    batch = transitions()
    found = return_stds(critic, batch, jnp.linspace(-1, 1, 4)[:, None])
    assert_close(found, np.full(4, reduce(np.abs(spreads))), scale=50.0)


@eqx.filter_jit
def metrics_of(critic, target, batch, policy=SteadyPolicy()):
    return critic.critic_loss(batch, frozen_agent(critic, policy, target), jax.random.key(0))[1]


@given(spread=sixteenths(0, 4), temperature=st.sampled_from([0.25, 3.0]))
def test_the_confidence_weight_grows_from_a_half_to_one_with_the_std(spread, temperature):
    """Also where the return has no spread at all; and by the target's flows, whatever the online ones."""
    target = linear((1.0, 1.0), (spread, spread), temperature=temperature)
    online = linear((3.0, 0.0), (2.0, 0.0), temperature=temperature)
    once, thrice = (metrics_of(replace(online, bcfm_weight=weight), target, transitions()) for weight in (1.0, 3.0))
    confidence = 0.5 if spread == 0 else 0.5 + 1 / (1 + np.exp(temperature / spread))
    assert_close(once.return_std, spread, scale=5.0)
    assert_close(once.confidence, confidence)
    assert_close(once.critic_loss, confidence * (once.bcfm_loss + once.dcfm_loss), scale=100.0)
    assert_close(thrice.critic_loss - once.critic_loss, confidence * 2 * once.bcfm_loss, scale=300.0)


# Both losses


@every_aggregation
@given(ends=PAIRS, noise=sixteenths(-2, 2))
def test_the_losses_of_a_field_that_stands_still_are_the_squared_velocities(aggregation, reduce, ends, noise):
    """Flows that translate the noise by `ends`: R = r + gamma discount (noise + agg ends), and the label is agg ends.

    It has no factor gamma.
    """
    prior = ConstantNoise(jnp.asarray(noise, float))
    target = linear(ends, return_aggregation=aggregation, prior=prior, discount=0.5)
    still = linear(prior=prior, discount=0.5)
    batch = replace(transitions(), discount=jnp.asarray([1.0, 0.5, 0.0, 1.0]))
    end = reduce(ends)
    td_target = np.asarray(batch.reward) + 0.5 * np.asarray(batch.discount) * (noise + end)
    found = metrics_of(still, target, batch)
    assert_close(found.bcfm_loss, 2 * np.mean((td_target - noise) ** 2), scale=100.0)
    # One of four transitions ended its episode, and DCFM does not count there.
    assert_close(found.dcfm_loss, 2 * end**2 * 3 / 4, scale=100.0)


@given(end=sixteenths(-2, 2), discount=st.sampled_from([0.0, 0.5, 0.9]))
def test_a_fixed_return_is_a_fixed_point_of_bcfm(end, discount):
    """Where the reward is (1 - gamma) times the return of every state, the target flow that ends there has no BCFM error."""
    critic = linear((end, end), (0.0, 0.0), discount=discount)
    batch = replace(transitions(), reward=jnp.full(4, (1 - discount) * end), discount=jnp.ones(4))
    found = metrics_of(critic, critic, batch)
    assert_close(found.bcfm_loss, 0.0, scale=30.0)
    # Nor is there a next distribution to imitate where nothing of the future counts.
    assert discount > 0 or found.dcfm_loss == 0


# Parts of other agents


AGENTS = [
    pytest.param(fz.DistilledFlowPolicy, fz.PolicyNextAction(), id="one step, from its own actions"),
    pytest.param(fz.DistilledFlowPolicy, fz.BestOfNNextAction(3), id="one step, from the behaviour's best"),
    pytest.param(fz.BestOfNPolicy, fz.PolicyNextAction(), id="best of N"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "next_action"), AGENTS)
def test_it_bootstraps_from_any_policy_and_every_network_learns(kind, next_action):
    """An update moves all parameters of the critic and of the policy, and no number is lost."""
    behaviour = policy(kind if kind is fz.DistilledFlowPolicy else fz.BehaviourFlow, key=jax.random.key(1))
    actor = behaviour if kind is fz.DistilledFlowPolicy else fz.BestOfNPolicy(behaviour, 3)
    agent = fz.Agent(critic=return_flow_critic(next_action=next_action, key=jax.random.key(0)), policy=actor)
    after, metrics = update(agent, transitions(), jax.random.key(2))
    assert all(np.isfinite(leaf) for leaf in jax.tree.leaves(metrics))
    moved = jax.tree.map(
        lambda old, new: bool(np.any(old != new)), *(partition_trainable(one)[0] for one in (agent, after))
    )
    assert all(jax.tree.leaves((moved.critic, moved.policy)))


@eqx.filter_jit
def update(agent, batch, key):
    return agent.update(batch, key)


class TwoFaced(eqx.Module):
    """Acts by -1, and its behaviour by uniform draws."""

    behaviour: UniformPolicy = UniformPolicy(2)

    def act(self, observation, critic, key):
        return -jnp.ones(2)


def test_the_best_of_the_behaviour_is_not_the_action_of_the_policy(getkey):
    """By a critic that scores the sum of an action, of 64 uniform draws one is nearly at the best corner."""
    batch = transitions()
    agent = frozen_agent(SumCritic(), TwoFaced())
    by_one, by_many = (
        fz.BestOfNNextAction(number).next_actions(batch, agent, getkey()).sum(axis=1) for number in (1, 64)
    )
    assert np.all(by_many > 1) and np.mean(by_one) < 1
    own = fz.PolicyNextAction().next_actions(batch, agent, getkey())
    assert np.all(own == -1)
    # A policy without a behaviour is asked itself.
    without = fz.BestOfNNextAction(64).next_actions(batch, frozen_agent(SumCritic(), UniformPolicy(2)), getkey())
    assert np.all(without.sum(axis=1) > 1)


@pytest.mark.slow
def test_the_diagnostics_are_those_of_its_flows():
    """A return of mean 2 and standard deviation 3; straight paths, so that one step ends where many do."""
    critic = linear((2.0, 2.0), (3.0, 3.0))
    assert isinstance(critic, FlowValued)
    found = flow_diagnostics(critic, transitions(size=256), jax.random.key(0))
    np.testing.assert_allclose(found.q, 2.0, atol=5 * 3 / np.sqrt(2048))
    np.testing.assert_allclose(found.q_noise_variance, 9 * 7 / 8, rtol=0.2)  # numpy's variance of 8 samples
    assert_close(found.q_one_step, found.q, scale=10.0)
    assert_close(found.path_curvature, 0.0, scale=10.0)


FIELDS = linear_fields(jnp.zeros((2, 5)), jnp.zeros(2), jnp.ones(2))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"discount": 1.0}, r"`discount` must be in \[0, 1\); got 1"),
        ({"bcfm_weight": -1.0}, "`bcfm_weight` must be at least 0 and finite; got -1"),
        ({"dcfm_weight": float("nan")}, "`dcfm_weight` must be at least 0 and finite; got nan"),
        ({"temperature": 0.0}, "`temperature` must be above 0 and finite; got 0"),
        ({"num_score_samples": 0}, "`num_score_samples` must be at least 1; got 0"),
    ],
    ids=lambda part: "".join(part) if isinstance(part, dict) else "",
)
def test_what_is_out_of_range_is_refused(changes, problem):
    with pytest.raises(ValueError, match=problem):
        fz.ReturnFlowCritic(FIELDS, **changes)


@pytest.mark.parametrize(
    "part", ["solver", "aggregation", "return_aggregation", "next_action", "prior", "path", "times"]
)
def test_a_part_of_another_kind_is_refused(part):
    with pytest.raises(TypeError, match=f"`{part}`"):
        fz.ReturnFlowCritic(FIELDS, **{part: object()})


def test_no_candidate_at_all_is_refused():
    with pytest.raises(ValueError, match="`num_samples` must be at least 1; got 0"):
        fz.BestOfNNextAction(0)
