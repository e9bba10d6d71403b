"""Chunks of a dataset and of a replay, beside plain loops over the steps of their episodes."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from test_batch_source import EPISODES, GAMMA, PLACE, by_a_plain_loop, numbered, write

import floqzoo as fz
from floqzoo.learner import ActionChunks, BalancedReplay, NStep, SeededReplay, UniformBatches
from floqzoo.records import Transition
from floqzoo.tasks.replay_buffer import ExploredStep
from recipes.floq import FloqConfig, floq
from recipes.fql import FQLConfig, fql


LENGTHS = st.sampled_from([1, 2, 5])
ROUND = st.tuples(*[st.sampled_from("cet")] * 2)
ROUNDS = st.sampled_from([1, 5, 12]).flatmap(lambda count: st.lists(ROUND, min_size=count, max_size=count))


def arrays_of(reader, store, at):
    return jax.tree.map(np.asarray, eqx.filter_jit(reader.read)(store, jnp.asarray(at), jax.random.key(0)))


def assert_chunks(batch, episodes, length):
    """Each chunk beside a loop over the rest of its episode: a list of (action, reward, discount, next observation)."""
    valid = np.ones((len(episodes), 1)) if batch.valid is None else batch.valid
    assert valid.shape == (len(episodes), length)
    for row, rest in enumerate(episodes):
        steps = rest[:length]
        reward, discount, count = by_a_plain_loop([(r, d) for _, r, d, _ in steps], length)
        np.testing.assert_array_equal(valid[row], [1] * count + [0] * (length - count))
        np.testing.assert_array_equal(batch.action[row, :count], [action for action, *_ in steps])
        # Padding is of the episode too: its last action.
        np.testing.assert_array_equal(batch.action[row, count:], [steps[-1][0]] * (length - count))
        np.testing.assert_allclose(batch.reward[row], reward, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(batch.discount[row], discount, rtol=1e-5, atol=1e-6)
        assert batch.next_observation[row, 0] == steps[-1][3]


@pytest.mark.slow
@given(lengths=EPISODES, length=LENGTHS, data=st.data())
def test_chunks_of_a_dataset_are_those_of_a_plain_loop(lengths, length, data):
    dataset = numbered(lengths, data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths))))
    starts, actions = np.asarray(dataset.starts), np.asarray(dataset.actions)[:, 0]
    rewards, masks, last = (np.asarray(array) for array in (dataset.rewards, dataset.masks, dataset.last))
    batch = arrays_of(ActionChunks(length, GAMMA), dataset, starts)
    rest = [[(actions[k], rewards[k], masks[k], k + 1) for k in range(start, last[start])] for start in starts]
    assert_chunks(batch, rest, length)
    np.testing.assert_array_equal(batch.observation[:, 0], starts)


@given(rounds=ROUNDS, length=LENGTHS)
def test_chunks_of_a_replay_are_those_of_a_plain_loop(rounds, length):
    """Two environments: each step continues, ends its episode by termination, or is truncated. The ring holds 12 steps."""
    replay = numbered([2], [False]).empty_replay(seeds=1, slots=12, environments=2)
    history = [[], []]  # Of each environment: what `assert_chunks` needs of a step, and whether the episode is over.
    for number, ends in enumerate(rounds):
        numbers = 2 * number + np.arange(2)
        over, discount = (np.array([end not in kinds for end in ends]) for kinds in ("c", "e"))
        point = jnp.asarray(numbers, jnp.float32)[None, :, None]
        step = Transition(
            point, -point / 128, jnp.cos(point[..., 0]), jnp.asarray(discount[None], jnp.float32), point + 0.5
        )
        replay = write(replay, ExploredStep(step, jnp.asarray(over)[None], next_action=point))
        for column, name in enumerate(numbers):
            history[column].append(((-name / 128, np.cos(name), discount[column], name + 0.5), over[column]))
    of_seed = replay.of_seed(PLACE, next_actions=False)
    at = np.asarray(of_seed.of_age(jnp.arange(int(replay.size(False)[0]))))
    batch = arrays_of(ActionChunks(length, GAMMA), of_seed, at)
    rest = []
    for number in at:
        later = history[number % 2][number // 2 :]
        until = next((k for k, (_, over) in enumerate(later) if over), len(later) - 1)
        rest.append([step for step, _ in later[: until + 1]])
    assert_chunks(batch, rest, length)
    np.testing.assert_array_equal(batch.observation[:, 0], at)


@pytest.mark.slow
@given(lengths=EPISODES, length=LENGTHS)
def test_the_return_of_a_chunk_is_that_of_as_many_steps(lengths, length):
    """So n-step returns and chunks have one law for terminations, discounts and the ends of episodes."""
    dataset = numbered(lengths, [True] * len(lengths))
    chunks = arrays_of(ActionChunks(length, GAMMA), dataset, dataset.starts)
    returns = arrays_of(NStep(length, GAMMA), dataset, dataset.starts)
    for name in ("observation", "reward", "discount", "next_observation"):
        np.testing.assert_array_equal(getattr(chunks, name), getattr(returns, name))


def test_no_reward_after_a_termination_counts():
    """The official code of QC adds them: in OGBench's data an episode continues after its goal."""
    data = numbered([7], [False])
    dataset = replace(data, masks=data.masks.at[1].set(0.0), rewards=jnp.arange(7.0))
    batch = arrays_of(ActionChunks(4, 0.5), dataset, dataset.starts)
    np.testing.assert_allclose(batch.reward[:2], [0 + 0.5 * 1, 1])
    np.testing.assert_array_equal(batch.discount[:2], [0, 0])
    # The steps after it lie in the episode all the same.
    np.testing.assert_array_equal(batch.valid[:3].all(axis=1), [True, True, True])


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


SOURCES = (UniformBatches, lambda reader: SeededReplay(30, reader), BalancedReplay)


@pytest.mark.parametrize("source", SOURCES)
def test_a_batch_of_chunks_of_one_step_is_a_batch_of_steps(source):
    dataset = numbered([4, 6, 3], [True, False, True])
    replay = dataset.empty_replay(seeds=1, slots=12, environments=1)
    for number in range(5):
        point = jnp.full((1, 1, 1), 50.0 + number)
        step = Transition(point, -point / 100, point[..., 0], point[..., 0] * 0 + 1, point + 1)
        replay = write(replay, ExploredStep(step, jnp.full((1, 1), number == 2), next_action=point))
    draw = [
        source(reader).draw_batch(dataset, replay, PLACE, jax.random.key(3), 16)
        for reader in (ActionChunks(1, GAMMA), NStep(1, GAMMA))
    ]
    same(*draw)


FLOQ = FloqConfig(
    actor_hidden_dims=(6,), value_hidden_dims=(6,), block_width=6, block_depth=1, noise_samples=2, critic_flow_steps=2
)
FQL = FQLConfig(actor_hidden_dims=(6,), value_hidden_dims=(6,))


@pytest.mark.slow
@pytest.mark.parametrize(("build", "config"), [(floq, FLOQ), (fql, FQL)])
def test_updates_and_actions_in_chunks_of_one_step_are_those_without_chunks(build, config, getkey):
    """Bit for bit, also the parameters after the update."""
    dataset = numbered([4, 6, 3], [True, False, True])
    agent = build(observation_dim=1, action_dim=1, reward_range=(-1.0, 1.0), config=config, key=getkey())
    policy = fz.ChunkedPolicy(agent.policy, 1)
    chunked = fz.Agent(
        critic=agent.critic, policy=policy, update_rule=agent.update_rule, target_update=agent.target_update
    )

    @eqx.filter_jit
    def updated(agent, reader):
        batch = UniformBatches(reader).draw_batch(dataset, None, PLACE, jax.random.key(1), 8)
        agent, metrics = agent.update(batch, jax.random.key(2))
        return jax.tree.leaves(eqx.filter((agent, metrics), eqx.is_array)), agent.act(jnp.zeros(1), jax.random.key(4))

    same(updated(agent, NStep(1, GAMMA)), updated(chunked, ActionChunks(1, GAMMA)))


@pytest.mark.parametrize("length", [2, 4])
def test_no_chunk_of_a_replay_mixes_two_episodes_or_two_sources(length):
    """Observations and actions are numbered, through the dataset and on in the replay."""
    dataset = numbered([4, 6, 3], [True, False, True])
    replay = dataset.empty_replay(seeds=1, slots=12, environments=1)
    ends = [*np.unique(np.asarray(dataset.last)), 52, 54]
    for number in range(5):
        point = jnp.full((1, 1, 1), 50.0 + number)
        step = Transition(point, -point / 100, point[..., 0], point[..., 0] * 0 + 1, point + 1)
        replay = write(replay, ExploredStep(step, jnp.full((1, 1), number == 2), next_action=point))
    for source in (SeededReplay(30, ActionChunks(length, GAMMA)), BalancedReplay(ActionChunks(length, GAMMA))):
        batch = jax.tree.map(
            np.asarray, eqx.filter_jit(source.draw_batch)(dataset, replay, PLACE, jax.random.key(0), 64)
        )
        numbers = np.round(-100 * batch.action).astype(int)
        for row, first in enumerate(batch.observation[:, 0].astype(int)):
            end = next(end for end in ends if end >= first)
            # The last state of a dataset's episode starts no transition; the last step of a replay's does.
            left = end - first + (first >= 50)
            wanted = [first + min(k, left - 1) for k in range(length)]
            np.testing.assert_array_equal(numbers[row], wanted)
            np.testing.assert_array_equal(batch.valid[row], np.arange(length) < left)


@pytest.mark.parametrize(
    ("settings", "message"), [((0, 0.9), "`length` must be at least 1; got 0"), ((2, 1.0), "`discount` must be")]
)
def test_a_number_out_of_its_range_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ActionChunks(*settings)
