"""The futures that critics predict: against exact measures, and in the units of the environment."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.hyperparameter import hyperparameter
from floqzoo.networks.normaliser import Normaliser
from floqzoo.records import FutureKind
from floqzoo.studies.future_model import FutureModel
from floqzoo.studies.future_report import future_report
from floqzoo.studies.rollouts import Rollout
from floqzoo.successor import flow_measure
from floqzoo.successor.targets import TD2Target
from floqzoo.tasks import LinearGaussian, QuadraticReward
from tests.successor.chain_of_fb import Exact
from tests.successor.known_measures import exact_field


STATE, ACTION = jnp.array([1.0, 0.5]), jnp.array([0.3, -0.2])
NOWHERE = np.zeros((1, 2))


class Shifted(eqx.Module):
    """A measure whose futures are the state plus z."""

    future_kind = FutureKind(0.8)

    def sample_futures(self, observation, action, count, key, z):
        return jnp.broadcast_to(observation + z, (count, 2))


@pytest.mark.parametrize("seed", range(3))
def test_fb_draws_states_of_the_data_by_the_exact_measure(seed, double_precision):
    """Six standard errors of each frequency; the measure has a mass of 1 / (1 - gamma)."""
    exact = Exact.random(seed)
    mdp, states, count = exact.mdp, np.eye(exact.mdp.states), 20_000
    rewards = exact.rewards[1][mdp.arrivals]
    agent = fz.infer_task(exact.agent(), states[mdp.arrivals], rewards)
    model = FutureModel.of(agent, states[mdp.arrivals])
    assert (model.kind.of_data, model.kind.from_current, model.reward) == (False, False, None)
    for s, state in enumerate(states):
        wanted = mdp.measure(exact.actions[1])[s, 1]
        density = agent.critic.densities(jnp.asarray(state), jnp.ones(1), jnp.asarray(states))
        np.testing.assert_allclose(density * mdp.share, wanted, rtol=1e-8, atol=1e-10)
        found = model.sample(state, np.ones(1), count, jax.random.key(s)).mean(axis=0)
        wanted = (1 - mdp.discount) * wanted
        assert np.all(np.abs(found - wanted) <= 6 * np.sqrt(wanted * (1 - wanted) / count))


def test_negative_densities_are_never_drawn(double_precision):
    exact = Exact.random(0)
    states = np.eye(exact.mdp.states)
    agent = fz.infer_goal(exact.agent(forward=-exact.forward), states[0])
    model = FutureModel.of(agent, states)
    density = np.array(agent.critic.densities(states[0], jnp.ones(1), jnp.asarray(states)))
    assert density.max() <= 0
    with pytest.raises(ValueError, match="density is positive at none of the data's states"):
        model.sample(states[0], np.ones(1), 3, jax.random.key(0))


def exact_critic(chain, reward=lambda s: s[0], **parts):
    measure = flow_measure(TD2Target(), exact_field(chain), 2, discount=chain.discount, solver=fz.Midpoint(20), **parts)
    return fz.SuccessorCritic(measure, reward)


@pytest.mark.slow
def test_values_are_those_of_an_exact_measure():
    """By the report, within six of its standard errors."""
    chain, reward = LinearGaussian.spiral(0.8, tolerance=1e-5), QuadraticReward(-np.eye(2), np.array([1.0, 0.0]))
    model = FutureModel(exact_critic(chain, reward), None, NOWHERE)
    rollout = Rollout(np.asarray(STATE), np.asarray(ACTION), np.ones((3, 2), np.float32), np.ones(3))
    report = future_report(model, [rollout], jax.random.key(0), count=4096)
    for row, function in zip(
        report.values, (reward, QuadraticReward(np.zeros((2, 2)), np.array([1.0, 0.0]))), strict=True
    ):
        assert abs(row.value - float(chain.value(STATE, ACTION, function))) < 6 * row.standard_error
        assert row.episode_return == pytest.approx(1 + 0.8 + 0.64)


def test_each_future_of_an_intention_critic_has_its_own_intention():
    encoder = fz.IntentionEncoder(fz.MLP(4, 4, hidden=(4,), key=jax.random.key(0)), 2)
    measure = fz.IntentionSuccessor(exact_critic(LinearGaussian.spiral(0.8)).measure, encoder)
    measure = eqx.tree_at(lambda measure: measure.measure, measure, Shifted())
    critic = fz.IntentionCritic(fz.QEnsemble(2, 2, key=jax.random.key(1)), measure, lambda s: s[0])
    normaliser = Normaliser(np.array([3.0, -1.0]), np.array([10.0, 0.1]))
    found = FutureModel(critic, normaliser, NOWHERE).sample(STATE, ACTION, 4000, jax.random.key(0))
    z = (found - np.asarray(STATE)) / np.array([10.0, 0.1])
    assert len(np.unique(z[:, 0])) > 3900
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=6 / 4000**0.5)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=6 / 8000**0.5)


@pytest.mark.parametrize("from_current", [False, True])
@pytest.mark.parametrize(("source", "of_data"), [(fz.DataNextAction(), True), (fz.PolicyNextAction(), False)])
def test_the_measure_says_whose_futures_it_predicts(source, of_data, from_current):
    critic = exact_critic(LinearGaussian.spiral(0.5), next_action=source, from_current=from_current)
    model = FutureModel(critic, None, NOWHERE)
    assert (model.kind.of_data, model.kind.from_current, model.discount) == (of_data, from_current, 0.5)


class Constant(fz.NullCritic):
    """A user's critic, written without floqzoo's measures, that predicts one future."""

    future_kind = FutureKind(0.5)
    reward = None

    def predict_futures(self, observation, action, states, count, key):
        return jnp.tile(2 * observation, (count, 1))


class OwnMeasure(eqx.Module):
    """A user's measure that does not say which futures it contains."""

    discount: fz.Hyperparameter = eqx.field(converter=hyperparameter, default=0.5)

    def sample_futures(self, observation, action, count, key):
        return jnp.tile(2 * observation, (count, 1))

    def log_prob(self, future, observation, action):
        return -jnp.inf

    def successor_loss(self, batch, target, agent, key):
        return jnp.zeros(()), None


@pytest.mark.parametrize("critic", [Constant(), fz.SuccessorCritic(OwnMeasure(), lambda s: s[0])])
def test_a_users_own_critic_or_measure_predicts_futures_in_the_units_of_the_environment(critic):
    model = FutureModel(critic, Normaliser(np.array([3.0, -1.0]), np.array([10.0, 0.1])), NOWHERE)
    found = model.sample(STATE, ACTION, 2, jax.random.key(0))
    np.testing.assert_allclose(found, 2 * [2 * STATE - np.array([3.0, -1.0])], rtol=1e-5)
    assert (model.kind.of_data, model.kind.from_current, model.discount) == (False, False, 0.5)


def test_other_critics_predict_no_futures():
    with pytest.raises(
        TypeError, match="must be a PredictsFutures, with the methods future_kind, reward, predict_futures; got NullC"
    ):
        FutureModel(fz.NullCritic(), None, NOWHERE)
