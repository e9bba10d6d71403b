"""Behaviour cloning by flow matching, where the field is a known map."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from doubles import ACTION, OBSERVATION, frozen_agent, transitions
from ideal_field import ideal_flow

import floqzoo as fz
from floqzoo.testing import assert_close


def test_an_action_is_where_the_flow_ends_within_the_box():
    policy, observations = fz.BehaviourFlow(ideal_flow()), transitions(size=32).observation
    found = jax.vmap(lambda s, key: policy.act(s, None, key))(observations, jax.random.split(jax.random.key(0), 32))
    wanted = np.clip(3 * np.asarray(observations)[:, :ACTION], -1, 1)
    assert_close(found, wanted, scale=10.0)
    assert np.any(np.abs(wanted) == 1)
    assert np.any(np.abs(wanted) < 1)


def test_act_draws_the_noise_that_act_from_is_given():
    policy = fz.BehaviourFlow.build(OBSERVATION, ACTION, network=narrow, flow_steps=3, key=jax.random.key(0))
    observation, key = transitions().observation[0], jax.random.key(1)
    noise = policy.flow.prior.sample(jax.random.clone(key), (ACTION,))
    assert_close(policy.act(observation, None, key), policy.act_from(observation, noise))


def test_a_field_that_heads_for_the_datas_action_has_no_loss():
    batch = transitions()
    batch = fz.Transition(batch.observation, 3 * batch.observation[:, :ACTION], *rest(batch))
    loss, metrics = fz.BehaviourFlow(ideal_flow()).policy_loss(batch, None, jax.random.key(0))
    assert_close(loss, 0.0, roundings=100)
    assert loss == metrics.actor_loss == metrics.bc_flow_loss


def test_the_loss_of_a_constant_offset_is_its_mean_square_over_coordinates():
    """At t = 0 a field that heads for (3, 4) away from the right action is wrong by just that."""
    batch = transitions()
    batch = fz.Transition(batch.observation, 3 * batch.observation[:, :ACTION] + jnp.array([[3.0, 4.0]]), *rest(batch))
    policy = fz.BehaviourFlow(ideal_flow(), times=fz.ZeroTime())
    assert_close(policy.policy_loss(batch, None, jax.random.key(0))[0], (9 + 16) / 2)


def test_the_loss_does_not_ask_the_critic():
    policy = fz.BehaviourFlow.build(OBSERVATION, ACTION, network=narrow, key=jax.random.key(0))
    losses = [
        policy.policy_loss(transitions(), frozen_agent(critic), jax.random.key(1))[0]
        for critic in (fz.NullCritic(), Praise())
    ]
    assert losses[0] == losses[1]


def test_its_parts_are_those_of_fql():
    flow = fz.BehaviourFlow.build(OBSERVATION, ACTION, network=narrow, key=jax.random.key(0)).flow
    assert isinstance(flow.path, fz.LinearPath)
    assert isinstance(flow.prior, fz.GaussianPrior)
    assert (flow.prior.mean.value, flow.prior.scale.value) == (0, 1)
    assert flow.solver == fz.Euler(10)
    assert isinstance(flow.field.time_embedding, fz.RawTime)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"flow_steps": 0}, "`num_steps` must be at least 1; got 0"),
        ({"action_dim": 0}, "`.*` must be at least 1; got 0"),
        (
            {"network": functools.partial(fz.MLP, hidden=())},
            r"`hidden` must contain the size of at least one layer; got \(\)",
        ),
        ({"network": functools.partial(fz.MLP, hidden=(0,))}, "must be at least 1; got 0"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments, error):
    arguments = {"observation_dim": OBSERVATION, "action_dim": ACTION, "network": narrow, **arguments}
    with pytest.raises(ValueError, match=error):
        fz.BehaviourFlow.build(**arguments, key=jax.random.key(0))


narrow = functools.partial(fz.MLP, hidden=(4,))


class Praise(fz.NullCritic):
    def score(self, observation, action):
        return jnp.asarray(1e3)


def rest(batch):
    return batch.reward, batch.discount, batch.next_observation
