"""The agent with floq's parts: what a change of numbers does to its program, and what training does to its numbers."""

import functools

import equinox as eqx
import jax
import numpy as np
import optax
import pytest
from doubles import ACTION, OBSERVATION, leaves_by_path, transitions

import floqzoo as fz
from floqzoo.hyperparameter import partition_trainable


# Agents are alike to a compiler if their optimiser is the same object.
ADAM = optax.adam(1e-2)


@functools.cache
def floq_agent(discount=0.9, alpha=10.0, tau=0.1, width=1.0):
    narrow = functools.partial(fz.MLP, hidden=(4,))
    field = functools.partial(fz.ConditionalField, 1, OBSERVATION + ACTION, build=narrow)
    keys = jax.random.split(jax.random.key(0), 3)
    critic = fz.FlowCritic(
        fz.Ensemble.build(lambda key: field(point_embedding=fz.HLGauss(-10.0 * width, 1.0), key=key), 2, key=keys[0]),
        fz.QEnsemble(OBSERVATION, ACTION, build=narrow, key=keys[1]),
        fz.UniformPrior(-width, 0.0),
        solver=fz.Euler(2),
        discount=discount,
        num_noise_samples=2,
    )
    policy = fz.DistilledFlowPolicy.build(OBSERVATION, ACTION, network=narrow, flow_steps=2, alpha=alpha, key=keys[2])
    return fz.Agent(
        critic=critic, policy=policy, update_rule=fz.JointUpdate(ADAM), target_update=fz.PolyakAveraging(critic=tau)
    )


TRACES = []


@eqx.filter_jit
def traced_update(agent, batch, key):
    TRACES.append(agent)
    return agent.update(batch, key)


@pytest.mark.slow
def test_no_number_of_floq_is_compiled_in():
    """Other weights, discounts, target steps and noise intervals run the same program, and each matters."""
    changes = [{}, {"discount": 0.5}, {"alpha": 300.0}, {"tau": 0.5}, {"width": 2.0}]
    results = []
    for change in changes:
        agent, batch = floq_agent(**change), transitions()
        for number in range(2):  # at first the target is the critic, whatever tau
            agent, _ = traced_update(agent, batch, jax.random.key(number))
        results.append(np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(partition_trainable(agent)[0])]))
    assert len(TRACES) == 1
    assert len({result.tobytes() for result in results}) == len(changes)


@pytest.mark.slow
def test_training_floq_leaves_its_hyperparameters_alone_and_moves_every_parameter():
    before = floq_agent()
    after, _ = traced_update(before, transitions(), jax.random.key(0))
    for part in ("critic", "policy"):
        old, new = (leaves_by_path(getattr(agent, part)) for agent in (before, after))
        numbers = {path for path in old if path.endswith(".stored")}
        assert numbers
        assert all(np.array_equal(old[path], new[path]) is (path in numbers) for path in old)
    assert after.target_update.critic.value == before.target_update.critic.value


@pytest.mark.slow
def test_training_goes_by_the_key_alone():
    batch, agent = transitions(), floq_agent()
    with jax.debug_key_reuse(True):
        first, again, other = (traced_update(agent, batch, jax.random.key(seed))[0] for seed in (0, 0, 1))
    assert eqx.tree_equal(first, again)
    assert not eqx.tree_equal(first, other)
