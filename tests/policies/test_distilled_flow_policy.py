"""FQL's policy, with a behaviour flow, a one-step network and a critic that are known maps."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from doubles import ACTION, OBSERVATION, LinearNetwork, frozen_agent, leaves_by_path, transitions
from hypothesis import given, strategies as st
from ideal_field import ideal_flow

import floqzoo as fz
from floqzoo.hyperparameter import partition_trainable
from floqzoo.testing import assert_close


class ActionSum(fz.NullCritic):
    """Scores an action by `scale` times the sum of its coordinates, plus `shift`."""

    scale: jax.Array
    shift: jax.Array

    def score(self, observation, action):
        return self.scale * jnp.sum(action) + self.shift


def praise(scale=1.0, shift=0.0):
    return ActionSum(jnp.asarray(scale, dtype=float), jnp.asarray(shift, dtype=float))


def one_step(gain):
    """The network from observation and noise to `gain` times the observation's first coordinates."""
    network = LinearNetwork(OBSERVATION + ACTION, ACTION, key=jax.random.key(0))
    weight = gain * jnp.eye(OBSERVATION + ACTION, ACTION)
    return eqx.tree_at(lambda network: network.stem.weight, network, weight)


def policy(gain=3.0, **parts):
    return fz.DistilledFlowPolicy(fz.BehaviourFlow(ideal_flow()), one_step(gain), **parts)


@eqx.filter_jit
def metrics(policy, critic=praise()):
    return policy.policy_loss(transitions(), frozen_agent(critic), jax.random.key(0))[1]


def actions(gain):
    return gain * np.asarray(transitions().observation)[:, :ACTION]


def test_it_acts_in_one_step_within_the_box():
    observations = transitions(size=32).observation
    found = jax.vmap(lambda s, key: policy().act(s, None, key))(observations, jax.random.split(jax.random.key(0), 32))
    assert_close(found, np.clip(3 * np.asarray(observations)[:, :ACTION], -1, 1), scale=10.0)
    assert np.any(np.abs(found) == 1)


def test_the_distillation_compares_the_unclipped_step_with_the_clipped_flow_and_the_score_sees_the_clipped_step():
    found, steps = metrics(policy(gain=2.0)), actions(2.0)
    assert np.any(np.abs(steps) > 1)
    assert_close(found.distill_loss, float(np.mean((steps - np.clip(actions(3.0), -1, 1)) ** 2)), scale=10.0)
    score = np.clip(steps, -1, 1).sum(axis=1).mean()
    assert_close(found.q, float(score), scale=10.0)
    assert_close(found.q_loss, float(-score), scale=10.0)
    assert_close(found.mse, float(np.mean((np.clip(steps, -1, 1) - transitions().action) ** 2)))


@given(alpha=st.integers(0, 1000))
def test_the_loss_is_the_sum_of_its_terms_with_alpha_on_the_distillation(alpha):
    found = metrics(policy(gain=2.0, alpha=float(alpha)))
    wanted = found.bc_flow_loss + alpha * found.distill_loss + found.q_loss
    assert_close(found.actor_loss, wanted, scale=float(alpha))


def test_the_behaviour_term_is_that_of_the_behaviour_flow():
    batch = transitions()
    batch = fz.Transition(
        batch.observation, 3 * batch.observation[:, :ACTION], batch.reward, batch.discount, batch.next_observation
    )
    _, found = policy().policy_loss(batch, frozen_agent(praise()), jax.random.key(0))
    assert_close(found.bc_flow_loss, 0.0, roundings=100)


@given(scale=st.integers(1, 64).map(lambda n: n / 8))
def test_the_normalised_score_has_no_unit(scale):
    """Scores in other units leave the normalised term as it is, and scale the plain one."""
    plain, normalised = policy(gain=2.0), policy(gain=2.0, normalise_q=True)
    assert_close(metrics(normalised, praise(scale)).q_loss, metrics(normalised).q_loss)
    assert_close(metrics(plain, praise(scale)).q_loss, scale * metrics(plain).q_loss, scale=8.0)
    assert_close(metrics(normalised, praise(scale, 100.0)).q_loss, -1.0)


@functools.cache
def test_a_score_of_nothing_is_not_divided_by_it():
    found = metrics(policy(normalise_q=True), praise(0.0))
    assert float(found.q_loss) == 0 and np.isfinite(found.actor_loss)


def gradients(normalise_q=False):
    """The gradients of each term by every number there is: policy and critic, hyperparameters included."""
    network = functools.partial(fz.MLP, hidden=(4,))
    made = fz.DistilledFlowPolicy.build(
        OBSERVATION, ACTION, network=network, flow_steps=2, normalise_q=normalise_q, key=jax.random.key(0)
    )
    numbers, rest = eqx.partition((made, praise()), eqx.is_inexact_array)

    def terms(numbers):
        policy, critic = eqx.combine(numbers, rest)
        loss, found = policy.policy_loss(transitions(), frozen_agent(critic), jax.random.key(1))
        return {"loss": loss, "bc": found.bc_flow_loss, "distill": found.distill_loss, "q": found.q_loss}

    by_term = jax.jit(jax.jacrev(terms))(jax.tree.map(jnp.asarray, numbers))
    return {term: tuple(map(leaves_by_path, trees)) for term, trees in by_term.items()}


def reaches(term, within):
    """Whether a term's gradient reaches every parameter of a part of the policy (True), none (False) or some."""
    leaves = {path: leaf for path, leaf in gradients()[term][0].items() if path.startswith(within)}
    touched = {bool(np.any(leaf != 0)) for path, leaf in leaves.items() if not path.endswith(".stored")}
    assert len(touched) == 1
    return touched.pop()


@pytest.mark.parametrize(
    ("term", "behaviour", "network"),
    [("loss", True, True), ("bc", True, False), ("distill", False, True), ("q", False, True)],
)
def test_the_behaviour_learns_from_the_data_alone_and_the_one_step_network_from_the_rest(term, behaviour, network):
    assert reaches(term, ".behaviour") is behaviour
    assert reaches(term, ".network") is network


def test_the_scale_of_the_normalised_score_is_a_constant():
    """Its gradient is the plain one divided by the mean size of the score; not that of a ratio, which would be 0
    for scores of one sign."""
    plain, normalised = gradients()["q"][0], gradients(normalise_q=True)["q"][0]
    path = ".network.layers[0].bias"
    ratios = normalised[path] / plain[path]
    assert_close(ratios, np.full_like(ratios, ratios[0]))
    assert ratios[0] > 0


def test_alpha_is_no_parameter():
    parameters, rest = partition_trainable(policy())
    assert ".alpha.stored" not in leaves_by_path(parameters)
    assert ".alpha.stored" in leaves_by_path(rest)


@pytest.mark.parametrize("alpha", [-1.0, float("nan"), float("inf")])
def test_an_alpha_out_of_its_range_is_refused(alpha):
    with pytest.raises(ValueError, match=f"`alpha` must be at least 0 and finite; got {alpha}"):
        policy(alpha=alpha)


@pytest.mark.parametrize(
    ("part", "message"),
    [("behaviour", "'behaviour'"), ("network", "`network` must be a Network, .*; got object, which lacks stem, body")],
)
def test_a_part_that_does_not_fit_is_refused_by_name(part, message):
    parts = {"behaviour": fz.BehaviourFlow(ideal_flow()), "network": one_step(1.0), part: object()}
    with pytest.raises(TypeError, match=message):
        fz.DistilledFlowPolicy(**parts)
