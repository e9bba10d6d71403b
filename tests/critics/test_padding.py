"""Chunks with padding: TD losses leave out the whole chunk, behaviour cloning its padding, and means stay over the batch."""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from doubles import frozen_agent, transitions

import floqzoo as fz
from floqzoo.testing import assert_close, families
from floqzoo.testing.policy_laws import SumCritic, UniformPolicy


BATCH, STEPS = 5, 2  # Chunks of two steps of one coordinate.
FULL = replace(
    transitions(1, BATCH), next_action=jnp.linspace(-1, 1, 2 * BATCH).reshape(BATCH, 2), valid=jnp.ones((BATCH, STEPS))
)
CRITICS = {
    "monolithic": families.critic,
    "flow": families.flow_critic,
    "flow, one readout": partial(families.flow_critic, num_distillation_samples=1),
    "IQL": families.iql_critic,
    "ReBRAC": families.rebrac_critic,
    "SAC": families.sac_critic,
    "step conditioned": families.step_conditioned_critic,
    "quantile": families.quantile_critic,
    "categorical": families.categorical_critic,
    "return flow": families.return_flow_critic,
    "EVOR": families.evor_critic,
}
every_critic = pytest.mark.parametrize("make", CRITICS.values(), ids=CRITICS)


@eqx.filter_jit
def critic_loss(critic, target, batch):
    agent = frozen_agent(critic, UniformPolicy(2), target)
    return critic.critic_loss(batch, agent, jax.random.key(3))[0]


def two_critics(make):
    return [make(key=jax.random.key(number)) for number in range(2)]


def only(rows):
    """Of the batch, only these chunks are whole; of the others the last step is padding."""
    whole = np.isin(np.arange(BATCH), rows)
    return replace(FULL, valid=FULL.valid.at[:, -1].set(jnp.asarray(whole, FULL.valid.dtype)))


@pytest.mark.slow
@every_critic
def test_the_loss_is_a_mean_over_the_whole_batch(make):
    """A trap of QC: each chunk has the same weight, however many others are padded. So the losses of each alone add up."""
    critics = two_critics(make)
    alone = [float(critic_loss(*critics, only([row]))) for row in range(BATCH)]
    assert min(alone) > 0
    assert_close(critic_loss(*critics, FULL), sum(alone), scale=10.0)
    assert critic_loss(*critics, only([])) == 0
    assert_close(critic_loss(*critics, FULL), critic_loss(*critics, replace(FULL, valid=None)))


@pytest.mark.slow
@every_critic
def test_nothing_is_learnt_from_a_chunk_with_padding(make):
    critic, target = two_critics(make)
    batch = only([0, 3])
    other = jax.tree.map(
        lambda mine: jnp.where(batch.valid[:, -1:].reshape(-1, *[1] * (mine.ndim - 1)) > 0, mine, 0.7), batch
    )
    other = replace(other, valid=batch.valid)
    assert np.any(np.asarray(other.reward) != np.asarray(batch.reward))
    gradients = [eqx.filter_jit(eqx.filter_grad(critic_loss))(critic, target, one) for one in (batch, other)]
    for mine, its in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_array_equal(mine, its)


# Behaviour cloning: step by step


def behaviour_loss(policy, batch):
    agent = frozen_agent(SumCritic(), policy)
    metrics = policy.policy_loss(batch, agent, jax.random.key(2))[1]
    return metrics.bc_loss if isinstance(policy, fz.DeterministicPolicy) else metrics.bc_flow_loss


POLICIES = {
    "flow": partial(families.policy, fz.BehaviourFlow),
    "distilled": partial(families.policy, fz.DistilledFlowPolicy),
    "best of N": families.best_of_n,
    "deterministic": partial(families.actor, fz.DeterministicPolicy),
    "shortcut": families.shortcut_policy,
}


@pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)
def test_behaviour_cloning_leaves_out_padding_and_is_a_mean_over_all_steps(make):
    """A trap of QC: it is masked for each step, and not for the chunk, as TD losses are."""
    policy, loss = make(key=jax.random.key(0)), eqx.filter_jit(behaviour_loss)
    masks = np.eye(BATCH * STEPS).reshape(-1, BATCH, STEPS)
    alone = [float(loss(policy, replace(FULL, valid=jnp.asarray(mask, FULL.valid.dtype)))) for mask in masks]
    assert min(alone) > 0
    assert_close(loss(policy, FULL), sum(alone), scale=10.0)
    np.testing.assert_allclose(loss(policy, FULL), loss(policy, replace(FULL, valid=None)), rtol=1e-6)


def test_distillation_and_score_are_not_masked():
    """A trap of QC: only behaviour cloning looks at the data's chunks; the other two terms are of the policy's own."""
    policy = families.policy(fz.DistilledFlowPolicy, key=jax.random.key(0))
    metrics = [
        policy.policy_loss(batch, frozen_agent(SumCritic(), policy), jax.random.key(2))[1]
        for batch in (FULL, replace(FULL, valid=jnp.zeros((BATCH, STEPS))))
    ]
    for name in ("distill_loss", "q_loss", "q"):
        assert getattr(metrics[0], name) == getattr(metrics[1], name) != 0
    assert metrics[1].bc_flow_loss == 0 != metrics[0].bc_flow_loss


def test_a_weighted_regression_leaves_out_chunks_with_padding():
    policy, loss = families.actor(fz.AWRPolicy, key=jax.random.key(0)), eqx.filter_jit(behaviour_free_loss)
    alone = [float(loss(policy, only([row]))) for row in range(BATCH)]
    assert_close(loss(policy, FULL), sum(alone), scale=10.0)
    assert min(map(abs, alone)) > 0 == loss(policy, only([]))


def behaviour_free_loss(policy, batch):
    return policy.policy_loss(batch, frozen_agent(SumCritic(), policy), jax.random.key(2))[0]
