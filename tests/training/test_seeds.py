"""Seeds that are trained at once draw what each of them draws alone."""

import jax
import numpy as np
import pytest
from toy_run import toy_agents, toy_build, toy_task

from floqzoo.learner import ScannedUpdate, agent_of, build_agents, update_keys
from floqzoo.learner.seeds import SeedUse, in_precision, seed_key
from recipes.floq import FloqConfig, floq


TINY = FloqConfig(
    batch_size=8,
    actor_hidden_dims=(8,),
    value_hidden_dims=(8,),
    critic_flow_steps=2,
    flow_steps=2,
    noise_samples=2,
    num_bins=5,
    block_width=8,
    block_depth=2,
)


def tiny_floq(key):
    return floq(observation_dim=2, action_dim=1, reward_range=(-1.0, 0.0), config=TINY, key=key)


def trained(build, seeds, updates=5):
    agents = build_agents(build, seeds)
    scanned = ScannedUpdate(agents, TINY.batch_size, updates)
    arrays, metrics = scanned(scanned.arrays(agents), toy_task().dataset, update_keys(seeds), 0)
    return scanned.agents(arrays), metrics.mean


@pytest.fixture(scope="module")
def alone():
    """Seed 4 of floq, trained alone."""
    return trained(tiny_floq, (4,))


def assert_close(one, other, **tolerance):
    for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(ours, theirs, **tolerance)


@pytest.mark.slow
def test_floq_in_bfloat16_is_floq_but_for_its_roundings(alone):
    """Its parameters and its optimiser are as before, and after a few updates its losses are near."""
    build = in_precision(tiny_floq, "bfloat16")
    agents, metrics = trained(build, (4,))
    exact_agents, exact = alone
    for ours, theirs in zip(jax.tree.leaves(agents), jax.tree.leaves(exact_agents), strict=True):
        assert ours.dtype == theirs.dtype
    for name in ("critic/flow_loss", "actor/bc_flow_loss"):
        assert metrics[name][0] != exact[name][0]
        np.testing.assert_allclose(metrics[name], exact[name], rtol=0.05, err_msg=name)


def test_an_agent_is_built_as_it_is_alone():
    both = toy_agents(3, 4)
    for index, seed in enumerate((3, 4)):
        alone = toy_build(seed_key(seed, SeedUse.AGENT))
        for ours, theirs in zip(jax.tree.leaves(agent_of(both, index)), jax.tree.leaves(alone), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_floq_of_several_seeds_is_floq_of_each(alone):
    """After a few updates: the same numbers, but for how sums are rounded."""
    agents, metrics = trained(tiny_floq, (3, 4, 5))
    alone, alone_metrics = alone
    assert metrics.keys() == alone_metrics.keys()
    for name, mean in alone_metrics.items():
        np.testing.assert_allclose(metrics[name][1], mean[0], rtol=1e-4, atol=1e-6, err_msg=name)
    assert_close(agent_of(agents, 1), agent_of(alone, 0), rtol=1e-4, atol=1e-6)
    first, second = (jax.tree.leaves(agent_of(agents, index).policy)[0] for index in (0, 1))
    assert not np.allclose(first, second)
