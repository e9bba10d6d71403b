"""The benchmark's yardstick does the same arithmetic as the modular update, and its count of FLOPs is right."""

import importlib
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import benchmarks
import floqzoo as fz
from benchmarks import hand_batched_floq as hand, plain_floq as plain
from benchmarks.compiled_kernels import kernels_of
from benchmarks.counted_flops import matrix_flops
from benchmarks.deadline import Deadline
from benchmarks.measured_update import random_dataset, update_cost
from benchmarks.peak_memory import memory_row
from benchmarks.pixel_demonstrations import Demonstrations
from benchmarks.run_shares import share_rows
from recipes.bc import BCConfig, bc
from recipes.floq import FloqConfig, floq


pytestmark = pytest.mark.slow


CONFIG = FloqConfig(
    alpha=3.0,
    block_width=16,
    block_depth=2,
    actor_hidden_dims=(16, 16),
    value_hidden_dims=(16, 16),
    noise_samples=3,
    critic_flow_steps=4,
    flow_steps=3,
    tau=0.1,
)
SIZES = hand.Sizes(3, 4, 3, 0.99, 3.0, 0.1, (-10.0, 0.0), (-101.0, 1.0), 51, 16.0)


@pytest.fixture(scope="module")
def before_and_after():
    """An agent, a batch, and the agent after one update on it; its next actions read no noise."""
    agent_key, state_key, action_key, next_key, update_key = jax.random.split(jax.random.key(0), 5)
    agent = floq(observation_dim=4, action_dim=2, reward_range=(-1.0, 0.0), config=CONFIG, key=agent_key)
    # Next actions draw their noise one by one in the one program and all at once in the other: let them not read it.
    agent = eqx.tree_at(lambda a: a.policy.network.stem.weight, agent, replace_fn=lambda w: w.at[4:].set(0.0))
    batch = fz.Transition(
        observation=jax.random.normal(state_key, (8, 4)),
        action=jax.random.uniform(action_key, (8, 2), minval=-1.0),
        reward=-jnp.ones(8),
        discount=jnp.array([1.0] * 7 + [0.0]),
        next_observation=jax.random.normal(next_key, (8, 4)),
    )
    modular, _ = eqx.filter_jit(fz.Agent.update)(agent, batch, update_key)
    return agent, batch, update_key, modular


def assert_same_step(online, target, modular):
    expected = hand.state_of(modular).online
    # One Adam step moves each parameter by up to the learning rate; agreement is to a hundredth of that.
    for mine, theirs in zip(jax.tree.leaves(online), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=3e-6)
    targets = hand.from_modules(modular.target.critic.fields.members.network)
    for mine, theirs in zip(jax.tree.leaves(target), jax.tree.leaves(targets), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-9)


def test_one_update_by_hand_equals_the_modular_one(before_and_after):
    agent, batch, update_key, modular = before_and_after
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        state = hand.state_of(agent)
        by_hand = jax.jit(
            lambda state: hand.update(state, batch, jax.random.clone(update_key), SIZES, agent.update_rule.optimiser)
        )(state)
    assert_same_step(by_hand.online, by_hand.target_fields, modular)


@pytest.mark.parametrize("floqzoos_way", [False, True])
def test_one_update_in_the_usual_style_equals_the_modular_one(before_and_after, floqzoos_way):
    agent, batch, update_key, modular = before_and_after
    style = plain.Style(*[not floqzoos_way] * 6)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        state, _ = jax.jit(
            lambda state: plain.update(
                state, batch, jax.random.clone(update_key), SIZES, agent.update_rule.optimiser, style
            )
        )(plain.state_of(agent, style))
    assert_same_step(state.online, state.target, modular)


def test_counted_flops_of_a_loop_of_products():
    a = jnp.ones((3, 5))

    def function(x):
        return jax.lax.scan(lambda x, _: ((x @ a) @ a.T, None), x, length=7)[0]

    assert matrix_flops(function, jnp.ones((2, 3))) == 7 * 2 * (2 * 2 * 3 * 5)


def test_kernels_of_a_loop_are_counted_as_often_as_it_runs():
    a = jnp.ones((64, 64))
    program = jax.jit(lambda x: jax.lax.scan(lambda x, _: (jnp.tanh(x @ a), None), x, length=7)[0]).lower(a).compile()
    kernels = kernels_of(program.as_text())
    assert kernels.by_kind["dot"] == 7
    assert kernels.without_random == kernels.total >= 14
    # A product moves three matrices and a tanh two; a CPU also writes zeros for each product, and copies arguments.
    assert 7 * 5 <= kernels.moved / a.nbytes < 7 * 6 + 5
    assert kernels.by_operation.total() == kernels.total


def test_a_kernel_moves_what_it_reads_and_writes():
    program = jax.jit(lambda x, y: x * y + 1).lower(jnp.ones(100), jnp.ones(100)).compile()
    kernels = kernels_of(program.as_text())
    assert (kernels.total, kernels.moved) == (1, 3 * 400)


def test_a_deadline_says_how_many_cases_it_leaves_out():
    assert list(Deadline(None).within(range(3))) == [0, 1, 2]
    over = Deadline(-1.0)
    assert list(over.within(range(3))) == []
    assert over.left_out == 3
    assert list(Deadline(50.0).within(range(3), reserve=60.0)) == [0]
    assert list(Deadline(70.0).within(range(3), reserve=60.0)) == [0, 1, 2]


def test_memory_is_counted_without_making_the_data():
    row = memory_row("a large task", (4, 2), CONFIG, 10**8, 2, "float32", True)
    # Four coordinates, two of the action, reward, mask, start and last state of the episode, four bytes each.
    assert row.dataset_mb == pytest.approx(10 * 4 * 100, rel=1e-6)
    # Single steps do not read where their episode ends, and XLA drops an argument that is not used.
    read_mb = 9 * 4 * 100
    assert row.peak_mb > read_mb + row.state_mb + row.temporary_mb > read_mb + 2 * row.state_mb


def test_two_seeds_cost_twice_the_products_and_share_the_dataset():
    dataset, config = random_dataset(1000, (4, 2)), BCConfig(actor_hidden_dims=(16,), flow_steps=2, batch_size=8)
    one, two = (update_cost(bc, config, dataset, seeds=seeds, updates=1, repeats=1) for seeds in (1, 2))
    size = dataset.observations.nbytes
    assert two.flops == 2 * one.flops > 0
    assert one.seed_updates_per_second == 1 / one.seconds
    assert two.peak_bytes < 2 * one.peak_bytes - size / 2
    assert one.peak_bytes > size


def test_the_shares_of_a_run_are_those_of_its_intervals():
    """Without an environment, for which seconds of it are played."""
    environment = "cube-single-singletask-task1-v0"
    rows = {row.part: row for row in share_rows(Deadline(None), CONFIG, environment, 500, 2.0, repeats=1, played=0)}
    every = {"sampling": 1, "metrics": 10, "logs": 5_000, "checkpoints": 1_000_000}
    assert {part: row.every_updates for part, row in rows.items()} == every
    for row in rows.values():
        assert row.seconds_each > 0 and row.share == row.seconds_each / row.every_updates / 2.0


def test_a_demonstration_begins_and_ends_where_its_task_does():
    pytest.importorskip("ogbench")
    script = Demonstrations("without pixels", "pointmaze-medium-singletask-task3-v0", episodes=1)
    recorder = script.recorder()
    first, second, again = (recorder.record(np.random.SeedSequence(seed)) for seed in (0, 1, 0))
    start, goal = np.array([8.0, 16.0]), np.array([4.0, 12.0])  # the cells (5, 3) and (4, 2)
    for episode in (first, second):
        away = np.linalg.norm(episode["qpos"] - goal, axis=1)
        np.testing.assert_array_equal(away <= 1.0, episode["terminals"])
        assert np.flatnonzero(episode["terminals"]).tolist() == [len(away) - 1]
        assert np.linalg.norm(episode["qpos"][0] - start) < 2.0
        assert 80 < len(away) < 300
    np.testing.assert_array_equal(first["qpos"], again["qpos"])


def test_a_demonstration_of_the_arm_moves_the_cube_to_its_goal():
    pytest.importorskip("ogbench")
    recorder = Demonstrations("without pixels", "cube-single-singletask-task1-v0", episodes=1).recorder()
    first, second, again = (recorder.record(np.random.SeedSequence(seed)) for seed in (0, 1, 0))
    for episode in (first, second):
        cube = episode["qpos"][:, 14:17]
        assert np.flatnonzero(episode["terminals"]).tolist() == [len(cube) - 1]
        assert 40 < len(cube) < 200 and np.linalg.norm(cube[-1] - cube[0]) > 0.15
        assert np.abs(episode["actions"]).max() <= 1
    assert np.linalg.norm(first["qpos"][-1, 14:17] - second["qpos"][-1, 14:17]) < 0.06  # one goal, within 0.04 of it
    np.testing.assert_array_equal(first["qpos"], again["qpos"])


@pytest.mark.parametrize("program", sorted(path.stem for path in Path(benchmarks.__file__).parent.glob("*.py")))
def test_what_a_benchmark_imports_is_there(program):
    if program not in ("__init__", "__main__"):
        importlib.import_module(f"benchmarks.{program}")
