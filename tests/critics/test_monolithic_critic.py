"""The monolithic critic, its ensemble of networks, and the critic that has no opinion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from doubles import ACTION, OBSERVATION, LinearNetwork, SteadyPolicy, frozen_agent, linear_q, transitions

import floqzoo as fz
from floqzoo.testing import assert_close


DRAW = np.random.default_rng(0)
WEIGHT, BIAS = DRAW.normal(size=(2, OBSERVATION + ACTION)), DRAW.normal(size=2)


def critic(**parts):
    return fz.MonolithicCritic(linear_q(jnp.asarray(WEIGHT, dtype=float), jnp.asarray(BIAS, dtype=float)), **parts)


def values(batch):
    """Q of each member, (batch, member), by NumPy."""
    return np.concatenate([batch.observation, batch.action], axis=1) @ WEIGHT.T + BIAS


def test_the_score_is_the_mean_of_the_members_whatever_the_aggregation():
    batch, part = transitions(), critic(aggregation=fz.MinOverEnsemble())
    assert_close(jax.vmap(part.score)(batch.observation, batch.action), values(batch).mean(axis=1), scale=5.0)


def test_values_of_a_batch_are_the_values_of_its_rows():
    batch, ensemble = transitions(), critic().networks
    rows = [ensemble.values(*row) for row in zip(batch.observation, batch.action, strict=True)]
    assert_close(ensemble.batch_values(batch.observation, batch.action), jnp.stack(rows, axis=1))


def test_members_have_parameters_of_their_own(getkey):
    ensemble = fz.QEnsemble(OBSERVATION, ACTION, size=3, build=LinearNetwork, key=getkey())
    found = ensemble.values(jnp.ones(OBSERVATION), jnp.ones(ACTION))
    assert len(np.unique(found)) == 3


def test_the_loss_is_the_mean_squared_td_error_and_metrics_say_what_they_are_called():
    batch, target = transitions(), critic(discount=0.5, aggregation=fz.MinOverEnsemble())
    online = critic(discount=0.9)
    agent = frozen_agent(online, SteadyPolicy(), target)
    loss, metrics = online.critic_loss(batch, agent, jax.random.key(0))
    y = np.asarray(online.targets_of(batch, agent, jax.random.key(0)))
    assert_close(loss, float(np.mean((values(batch) - y[:, None]) ** 2)), scale=5.0)
    assert loss == metrics.critic_loss
    for name, wanted in (("q_mean", np.mean), ("q_max", np.max), ("q_min", np.min)):
        assert_close(getattr(metrics, name), float(wanted(values(batch))), scale=5.0)


@pytest.mark.parametrize("discount", [-0.1, 1.0, 2.0, float("nan")])
def test_a_discount_outside_its_range_is_refused(discount):
    with pytest.raises(ValueError, match=rf"`discount` must be in \[0, 1\); got {discount}"):
        critic(discount=discount)


def test_no_critic_has_no_opinion_and_nothing_to_learn():
    batch, part = transitions(), fz.NullCritic()
    assert part.score(batch.observation[0], batch.action[0]) == 0
    loss, metrics = part.critic_loss(batch, frozen_agent(part, SteadyPolicy()), jax.random.key(0))
    assert loss == 0
    assert metrics is None
    assert jax.tree.leaves(part) == []
