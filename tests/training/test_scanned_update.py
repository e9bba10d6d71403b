import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_run import toy_agents, toy_task

from floqzoo.learner import ScannedUpdate, agent_of, scanned_update as compiler_options_file
from floqzoo.learner.pytree_utils import named_leaves, split_arrays
from floqzoo.learner.scanned_update import compiler_options
from floqzoo.records import Occasional


def leaves(tree):
    return {name: np.asarray(leaf) for name, leaf in named_leaves(split_arrays(tree)[0]).items()}


@pytest.fixture(scope="module")
def dataset():
    return toy_task().dataset


def keys(*seeds):
    return jax.random.clone(jnp.stack([jax.random.key(seed) for seed in seeds]))


def run(agents, dataset, calls, updates, keys):
    scanned = ScannedUpdate(agents, 8, updates)
    arrays, every = scanned.arrays(agents), []
    for call in range(calls):
        arrays, metrics = scanned(arrays, dataset, keys, call * updates)
        every.append(metrics.mean)
    return scanned.agents(arrays), every


@pytest.mark.slow
def test_a_scan_is_the_sequence_of_its_updates(dataset):
    agents = toy_agents(3, 4)
    scanned, (means,) = run(agents, dataset, 1, 6, keys(4, 5))
    agent, scanned = agent_of(agents, 1), agent_of(scanned, 1)

    @eqx.filter_jit
    def single(agent, step):
        batch_key, update_key = jax.random.split(jax.random.fold_in(jax.random.key(5), step))
        return agent.update(dataset.sample(batch_key, 8), update_key)

    losses = []
    for step in range(6):
        agent, metrics = single(agent, jnp.asarray(step))
        losses.append(float(metrics.actor.bc_flow_loss))
    # Compiled apart, the same sums may be rounded apart; nothing more.
    for name, leaf in leaves(agent).items():
        np.testing.assert_allclose(leaves(scanned)[name], leaf, rtol=1e-5, atol=1e-7, err_msg=name)
    assert float(means["actor/bc_flow_loss"][1]) == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_calls_of_one_program_join_without_a_seam(dataset, seeds):
    """Four calls of three updates: the same bits whether a call's state is fresh or has been to the host and back."""
    agents = toy_agents(*seeds)
    straight, _ = run(agents, dataset, 4, 3, keys(*seeds))
    scanned = ScannedUpdate(agents, 8, 3)
    for call in range(4):
        arrays, _ = scanned(scanned.arrays(agents), dataset, keys(*seeds), call * 3)
        agents = jax.tree.map(lambda leaf: np.array(leaf) if eqx.is_array(leaf) else leaf, scanned.agents(arrays))
    for name, leaf in leaves(agents).items():
        np.testing.assert_array_equal(leaves(straight)[name], leaf, err_msg=name)


def test_however_often_it_is_called_it_is_traced_once(dataset):
    traces = []

    class Counting(eqx.Module):
        weight: jax.Array

        def update(self, batch, key):
            traces.append(1)
            return Counting(self.weight - 0.1 * jnp.mean(batch.reward)), {"weight": self.weight}

    agents = Counting(jnp.arange(2.0))
    scanned = ScannedUpdate(agents, 4, 2)
    arrays = scanned.arrays(agents)
    scanned.compile(arrays, dataset, keys(0, 1), 0)
    for call in range(5):
        arrays, metrics = scanned(arrays, dataset, keys(call, call + 1), 2 * call)
    assert len(traces) == 1
    # Ten updates of +0.1; the last two report 0.8 and 0.9 more than the first.
    np.testing.assert_allclose(scanned.agents(arrays).weight, [1.0, 2.0], rtol=1e-5)
    np.testing.assert_allclose(metrics.mean["weight"], [0.85, 1.85], rtol=1e-5)


def test_the_given_agent_outlives_the_donation(dataset):
    agents = toy_agents(0)
    before = leaves(agents)
    run(agents, dataset, 2, 2, keys(0))
    for name, leaf in leaves(agents).items():
        np.testing.assert_array_equal(before[name], leaf)


def test_an_aliased_target_can_be_donated(dataset):
    agent = toy_agents(0)
    aliased = eqx.tree_at(lambda agent: agent.target.critic, agent, agent.policy)
    scanned = ScannedUpdate(aliased, 4, 1)
    buffers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(scanned.arrays(aliased))]
    assert len(set(buffers)) == len(buffers)


def test_one_nan_shows_in_the_mean_and_says_when(dataset):
    class Failing(eqx.Module):
        count: jax.Array

        def update(self, batch, key):
            loss = jnp.where(self.count == 3, jnp.nan, 1.0)
            return Failing(self.count + 1), {"loss": loss, "other": jnp.ones(())}

    agents = Failing(jnp.array([10, 0, 2], jnp.int32))
    scanned = ScannedUpdate(agents, 4, 5)
    _, metrics = scanned(scanned.arrays(agents), dataset, keys(0, 1, 2), 0)
    np.testing.assert_array_equal(metrics.mean["loss"], [1.0, np.nan, np.nan])
    np.testing.assert_array_equal(metrics.mean["other"], 1.0)
    np.testing.assert_array_equal(metrics.first_non_finite["loss"], [5, 3, 1])
    np.testing.assert_array_equal(metrics.first_non_finite["other"], 5)


def test_an_occasional_metric_is_averaged_over_the_updates_that_have_it(dataset):
    """Beside one that every update has, and whatever its dtype."""

    class Counting(eqx.Module):
        count: jax.Array

        def update(self, batch, key):
            rest = Occasional({"square": self.count.astype(jnp.bfloat16) ** 2}, self.count % 3 == 0)
            return Counting(self.count + 1), {"count": self.count, "thirds": rest}

    agents = Counting(jnp.array([0, 1], jnp.int32))
    scanned = ScannedUpdate(agents, 4, 5)
    _, metrics = scanned(scanned.arrays(agents), dataset, keys(0, 1), 0)
    np.testing.assert_array_equal(metrics.mean["count"], [2.0, 3.0])
    np.testing.assert_array_equal(metrics.mean["thirds/square"], [4.5, 9.0])
    assert metrics.count.keys() == {"thirds/square"}
    np.testing.assert_array_equal(metrics.count["thirds/square"], [2, 1])


@pytest.mark.parametrize(("batch_size", "updates", "name"), [(0, 1, "batch_size"), (1, 0, "updates")])
def test_empty_work_is_refused(batch_size, updates, name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1; got 0"):
        ScannedUpdate(toy_agents(0), batch_size, updates)


def test_a_compiler_that_does_not_know_the_options_gets_none(monkeypatch):
    assert compiler_options() == compiler_options_file.OPTIONS["cpu"]
    monkeypatch.setattr(compiler_options_file, "OPTIONS", {"cpu": {"xla_no_such_option": "1"}})
    assert compiler_options.__wrapped__() == {}
