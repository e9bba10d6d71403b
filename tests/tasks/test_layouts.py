"""Datasets from arrays of one's own: nothing of the input is lost, whatever its layout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from floqzoo.learner import GeometricFuture, NStep, UniformBatches
from floqzoo.tasks import (
    EpisodeArrays,
    dataset_from_episodes,
    dataset_from_states,
    dataset_from_transitions,
    summarise,
)


LENGTHS = st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=5)
"""The steps of each episode, and whether it terminates."""
FEW = 5
"""Every example has shapes of its own, and compiles."""


def recorded(lengths, low=-1.0, high=1.0) -> list[EpisodeArrays]:
    """Episodes whose every number is another one."""
    rng, episodes = np.random.default_rng(0), []
    for steps, terminated in lengths:
        observations = rng.normal(size=(steps + 1, 3)).astype(np.float32)
        actions = rng.uniform(low, high, (steps, 2)).astype(np.float32)
        episodes.append(EpisodeArrays(observations, actions, rng.normal(size=steps).astype(np.float32), terminated))
    return episodes


def by_step(episodes) -> dict[str, np.ndarray]:
    """One row for each step, as a loop over `env.step` records them."""
    rows = []
    for episode in episodes:
        steps = len(episode.rewards)
        for t in range(steps):
            over = t == steps - 1
            rows.append(
                {
                    "observations": episode.observations[t],
                    "actions": episode.actions[t],
                    "rewards": episode.rewards[t],
                    "next_observations": episode.observations[t + 1],
                    "terminated": over and episode.terminated,
                    "truncated": over and not episode.terminated,
                }
            )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def transitions_of(dataset) -> set[tuple]:
    """All transitions of a dataset, as numbers."""
    step = dataset.transitions(jnp.arange(dataset.size))
    columns = (step.observation, step.action, step.reward, step.discount, step.next_observation)
    rows = zip(*(np.asarray(column).tolist() for column in columns), strict=True)
    return {repr(row) for row in rows}


@settings(max_examples=FEW)
@given(LENGTHS)
def test_every_reward_and_termination_is_in_the_transitions(lengths):
    episodes = recorded(lengths)
    rows = by_step(episodes)
    columns = (
        rows["observations"],
        rows["actions"],
        rows["rewards"],
        1.0 - rows["terminated"],
        rows["next_observations"],
    )
    wanted = {repr(row) for row in zip(*(column.tolist() for column in columns), strict=True)}
    assert len(wanted) == sum(steps for steps, _ in lengths)
    for dataset in (dataset_from_transitions(**rows), dataset_from_episodes(episodes)):
        assert dataset.size == len(wanted)
        assert transitions_of(dataset) == wanted


@settings(max_examples=FEW)
@given(LENGTHS)
def test_transitions_in_no_order_are_kept_one_by_one(lengths):
    rows = by_step(recorded(lengths))
    order = np.random.default_rng(1).permutation(len(rows["rewards"]))
    shuffled = {name: array[order] for name, array in rows.items()} | {"truncated": np.ones(len(order), bool)}
    assert transitions_of(dataset_from_transitions(**shuffled)) == transitions_of(dataset_from_transitions(**rows))


@given(LENGTHS)
def test_a_summary_counts_what_was_recorded(lengths):
    episodes = recorded(lengths)
    summary = summarise(dataset_from_episodes(episodes))
    returns = [float(episode.rewards.astype(np.float64).sum()) for episode in episodes]
    rewards = np.concatenate([episode.rewards for episode in episodes])
    cut = sum(not terminated for _, terminated in lengths)
    assert (summary.episodes, summary.transitions) == (len(lengths), len(rewards))
    assert (summary.terminations, summary.truncations) == (len(lengths) - cut, cut)
    assert summary.without_next_action == cut
    assert summary.reward_range == (rewards.min(), rewards.max())
    np.testing.assert_allclose(summary.return_range, (min(returns), max(returns)), rtol=1e-6)
    np.testing.assert_allclose(summary.mean_return, np.mean(returns), rtol=1e-5, atol=1e-7)
    # Without terminations those of the last transitions of episodes.
    ends = [episode.terminated or cut == len(lengths) for episode in episodes]
    ending = [float(episode.rewards[-1]) for episode, ends_here in zip(episodes, ends, strict=True) if ends_here]
    assert summary.ending_rewards == ((min(ending), max(ending)) if ending else None)
    others = [
        reward
        for episode, ends_here in zip(episodes, ends, strict=True)
        for reward in episode.rewards[: len(episode.rewards) - bool(ends_here)]
    ]
    assert summary.other_rewards == ((min(others), max(others)) if others else None)
    transitions = "1 transition" if len(rewards) == 1 else f"{len(rewards):,} transitions"
    assert str(summary).startswith(
        f"{transitions} in {'1 episode' if len(lengths) == 1 else f'{len(lengths)} episodes'}: "
    )
    which = "the transitions that terminate" if cut < len(lengths) else "the last transitions of episodes"
    assert f"rewards of {which} from" in str(summary)


@pytest.mark.slow
@settings(max_examples=FEW)
@given(LENGTHS.filter(lambda lengths: any(steps > 1 or terminated for steps, terminated in lengths)), st.integers(1, 4))
def test_next_actions_are_never_made_up(lengths, n):
    """A reader of next actions gets an action of the same episode, except behind a termination."""
    episodes = recorded(lengths)
    dataset = dataset_from_episodes(episodes).with_next_actions()
    after = {}
    for episode in episodes:
        for t, state in enumerate(episode.observations[:-1]):
            after[repr(state.tolist())] = episode.actions[t]
    batch = NStep(n, 0.9, next_action=True).read(dataset, dataset.starts, jax.random.key(0))
    future = GeometricFuture(0.9).read(dataset, dataset.starts, jax.random.key(0))
    for read in (batch, future):
        for state, action, discount in zip(
            *map(np.asarray, (read.next_observation, read.next_action, read.discount)), strict=True
        ):
            known = after.get(repr(state.tolist()))
            assert discount == 0 if known is None else (action == known).all()
    cut = sum(not terminated for _, terminated in lengths)
    assert dataset.size == sum(steps for steps, _ in lengths) - cut


def test_batches_with_next_actions_leave_out_what_has_none():
    dataset = dataset_from_episodes(recorded([(1, False), (3, False)]))
    at = jnp.asarray(0)
    for reader, sizes in ((NStep(next_action=True), 2), (NStep(), 4)):
        batch = UniformBatches(reader).draw_batch(dataset, None, at, jax.random.key(0), 200)
        assert len(np.unique(np.asarray(batch.reward))) == sizes
    lonely = dataset_from_episodes(recorded([(1, False)]))
    with pytest.raises(ValueError, match="each transition of the dataset ends its episode"):
        UniformBatches(NStep(next_action=True)).draw_batch(lonely, None, at, jax.random.key(0), 2)


@given(st.floats(-100, 100), st.floats(0.01, 100), st.floats(0, 1))
def test_actions_are_mapped_from_their_bounds_to_one(low, width, share):
    low = float(np.float32(low))
    high = float(np.float32(low + width))
    action = np.clip(np.float32(low + share * (high - low)), low, high)
    episode = EpisodeArrays(np.zeros((4, 1)), [[low], [action], [high]], np.zeros(3), terminated=True)
    dataset = dataset_from_episodes([episode], action_low=low, action_high=[high])
    wanted = 2 * (float(action) - low) / (high - low) - 1
    np.testing.assert_allclose(np.asarray(dataset.actions)[:3, 0], [-1, wanted, 1], atol=1e-6)


def test_arrays_may_be_lists_or_jax_arrays_or_whole_numbers():
    rows = by_step(recorded([(3, True), (2, False)]))
    wanted = transitions_of(dataset_from_transitions(**rows))
    for change in (np.ndarray.tolist, jnp.asarray):
        assert (
            transitions_of(dataset_from_transitions(**{name: change(array) for name, array in rows.items()})) == wanted
        )
    counted = rows | {"terminated": rows["terminated"].astype(int), "truncated": rows["truncated"].astype(float)}
    assert transitions_of(dataset_from_transitions(**counted)) == wanted


def by_state(**changes) -> dict[str, np.ndarray]:
    return {
        "observations": np.arange(10.0).reshape(5, 2),
        "actions": np.linspace(-1, 1, 5)[:, None],
        "rewards": np.array([1.0, 2.0, 0.0, 4.0, 0.0]),
        "masks": np.array([1.0, 0.0, 1.0, 1.0, 1.0]),
        "terminals": np.array([False, False, True, False, True]),
    } | changes


def test_states_keep_their_last_actions():
    dataset = dataset_from_states(**by_state())
    step = dataset.transition(dataset.starts)
    assert step.reward.tolist() == [1, 2, 4]
    assert step.discount.tolist() == [1, 0, 1]
    assert step.next_action[:, 0].tolist() == [-0.5, 0, 1]
    assert dataset.with_next_actions() is dataset


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"rewards": np.array([1.0, 2.0, 3.0, 4.0, 0.0])},
            r"`rewards` must be 0 in the last row .* row 2 has 3\..*trans",
        ),
        ({"masks": np.array([1.0, 1.0, 0.0, 1.0, 1.0])}, r"`masks` must be 1 in the last row .* row 2 has 0\."),
        ({"terminals": np.zeros(5, bool)}, "`terminals` does not end with True"),
        (
            {"terminals": np.arange(5)},
            "`terminals` must contain booleans, or 0 and 1; got dtype int64 with the value 2",
        ),
        ({"actions": np.zeros((4, 1))}, "`actions` must have 5 rows, as `observations` has; got 4"),
        (
            {"observations": np.zeros((5, 2), complex)},
            "`observations` must be an array of real numbers; got dtype complex",
        ),
        (
            {"observations": [[1.0], [1.0, 2.0]]},
            "`observations` must be an array of real numbers; got a list of unequal",
        ),
        ({"observations": np.full((5, 2), np.nan)}, "`observations` must be finite as float32; row 0 has"),
        ({"rewards": np.array([1.0, 1e300, 0.0, 4.0, 0.0])}, "`rewards` must be finite as float32; row 1 has 1e.300"),
        ({"observations": np.zeros(5)}, r"`observations` must have two axes.* got the shape \(5,\)"),
    ],
)
def test_states_that_contradict_their_layout_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataset_from_states(**by_state(**changes))


ROWS = by_step(recorded([(3, True), (2, False)]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"terminated": np.zeros(5, bool)},
            "`observations` of row 3 must be `next_observations` of row 2, which neither",
        ),
        ({"next_observations": ROWS["observations"]}, "of row 1 must be `next_observations` of row 0.* 3 rows differ"),
        ({"next_observations": ROWS["next_observations"][:, :2]}, "`next_observations` must have 3 columns"),
        (
            {"actions": ROWS["actions"] * 3},
            r"`actions` must lie between.*coordinate \d of row \d is .* outside of \[-1, 1\]",
        ),
        ({"action_low": 1.0}, "`action_low` must be below `action_high`"),
        ({"action_high": np.inf}, "`action_high` must be a finite number, or 2 of them"),
        ({"action_high": [1.0, 1.0, 1.0]}, "`action_high` must be a finite number, or 2 of them"),
        ({"truncated": np.zeros(4, bool)}, r"`truncated` must have the shape \(5,\); got \(4,\)"),
        ({"rewards": np.zeros((5, 1))}, r"`rewards` must have the shape \(5,\); got \(5, 1\)"),
    ],
)
def test_transitions_that_contradict_their_layout_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataset_from_transitions(**ROWS | changes)


@pytest.mark.parametrize(
    ("episodes", "message"),
    [
        ([], "`episodes` must contain at least one episode; got none"),
        (
            [*recorded([(2, True)]), EpisodeArrays(np.zeros((3, 3)), np.zeros((3, 2)), np.zeros(3), True)],
            "episode 1: `observations` must have 4 rows, one more than `actions`; got 3",
        ),
        (
            [*recorded([(2, True)]), EpisodeArrays(np.zeros((3, 4)), np.zeros((2, 2)), np.zeros(2), True)],
            "episode 1: `observations` must have 3 columns, as in the episodes before; got 4",
        ),
        (
            [EpisodeArrays(np.zeros((3, 3)), np.zeros((2, 2)), np.zeros(3), True)],
            r"episode 0: `rewards` must have the shape",
        ),
    ],
)
def test_episodes_that_contradict_their_layout_are_refused(episodes, message):
    with pytest.raises(ValueError, match=message):
        dataset_from_episodes(episodes)
