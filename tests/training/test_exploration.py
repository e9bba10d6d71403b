"""Environments in lockstep, beside a plain loop over one environment at a time."""

import os
import signal
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from toy_run import Line

from floqzoo.rollout import Exploration
from floqzoo.rollout.episode_player import EpisodePlayer, numpy_state_kept
from floqzoo.rollout.exploration import FIRST_EPISODE


SEEDS = (3, 8)


def actions_of(rounds, environments=2, key=0):
    random = np.random.default_rng(key)
    return random.uniform(-1, 1, (rounds, len(SEEDS), environments, 1)).astype(np.float32)


def explore(exploration, actions):
    """Every number of every round."""
    return [
        np.concatenate(
            [np.ravel(getattr(seen, name)) for name in ("observation", "action", "reward", "discount", "over")]
        )
        for seen in map(exploration.step, actions)
    ]


def begun(environments=2, **settings):
    exploration = Exploration(Line, SEEDS, environments, **settings)
    exploration.begin()
    return exploration


@given(rounds=st.integers(1, 30), environments=st.integers(1, 3), key=st.integers(0, 99))
@settings(max_examples=10)
def test_each_environment_is_what_it_is_alone(rounds, environments, key):
    exploration, actions = begun(environments), actions_of(rounds, environments, key)
    rows = [exploration.step(round_actions) for round_actions in actions]
    for place, seed in enumerate(SEEDS):
        for column in range(environments):
            player, episode = EpisodePlayer(Line()), FIRST_EPISODE + column
            with numpy_state_kept():
                player.begin(episode, seed)
                observation = player.receive_start()
                for seen, action in zip(rows, actions[:, place, column], strict=True):
                    player.step(action)
                    outcome = player.receive_step()
                    np.testing.assert_array_equal(seen.observation[place, column], observation)
                    np.testing.assert_array_equal(seen.next_observation[place, column], outcome.observation)
                    assert seen.reward[place, column] == outcome.reward
                    assert seen.discount[place, column] == (not outcome.terminated)
                    assert seen.over[place, column] == outcome.over
                    observation = outcome.observation
                    if outcome.over:
                        episode += environments
                        player.begin(episode, seed)
                        observation = player.receive_start()


@given(before=st.integers(0, 20), key=st.integers(0, 99))
@settings(max_examples=10)
def test_what_is_restored_goes_on_as_if_nothing_had_happened(before, key):
    actions = actions_of(before + 8, key=key)
    straight, restored = begun(), Exploration(Line, SEEDS, 2)
    explore(straight, actions[:before])
    restored.restore(straight.state())
    np.testing.assert_array_equal(explore(straight, actions[before:]), explore(restored, actions[before:]))
    np.testing.assert_array_equal(straight.finished.sums, restored.finished.sums)


def test_the_metrics_are_means_over_the_episodes_that_ended():
    exploration, actions = begun(1), actions_of(40, 1)
    lengths, returns, length = [], [], 0
    for round_actions in actions:
        seen = exploration.step(round_actions)
        length += 1
        if seen.over[1, 0]:
            lengths.append(length)
            returns.append(-float(length))
            length = 0
    _, metrics = exploration.finished.take()
    assert metrics["exploration/episodes"] == len(lengths) > 2
    assert metrics["exploration/episode.length"] == pytest.approx(np.mean(lengths))
    assert metrics["exploration/episode.return"] == pytest.approx(np.mean(returns))
    assert 0 <= metrics["exploration/success"] <= 1
    assert exploration.finished.take() == [{"exploration/episodes": 0.0}] * 2


@pytest.mark.slow
def test_processes_show_the_same_and_may_be_lost():
    actions = actions_of(30)
    expected = explore(begun(), actions)
    with closing(begun(in_processes=True)) as exploration:
        first = explore(exploration, actions[:15])
        # A process that is lost during an episode.
        os.kill(exploration.environment(0, 1).player.process_number, signal.SIGKILL)
        np.testing.assert_array_equal(first + explore(exploration, actions[15:]), expected)


class Limited(Line):
    """Another environment: its episodes end at once."""

    def __init__(self):
        super().__init__(limit=1)


def test_the_state_of_other_environments_is_refused():
    exploration = begun()
    explore(exploration, actions_of(3))
    state = exploration.state()
    with pytest.raises(
        ValueError, match="must be of 2 environments, 1 for each of 2 seeds; it has 4 environments and 2 seeds"
    ):
        Exploration(Line, SEEDS, 1).restore(state)
    with pytest.raises(
        ValueError, match=r"replaying the \d saved actions of an unfinished episode ended it after 1 steps"
    ):
        Exploration(Limited, SEEDS, 2).restore(state)


class Elsewhere(Line):
    """Another environment: it begins elsewhere."""

    def reset(self, **settings):
        super().reset(**settings)
        self.goal += 100
        return np.array([self.x, self.goal]), {}


def test_environments_that_come_to_another_place_are_told_of():
    exploration = begun()
    explore(exploration, actions_of(1))
    with pytest.warns(UserWarning, match="replaying the same actions led to different states"):
        Exploration(Elsewhere, SEEDS, 2).restore(exploration.state())


def test_an_action_that_is_none_is_refused():
    actions = actions_of(1)[0]
    actions[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"in step 0 of episode \d+ of seed 8 it drew \[nan\]"):
        begun().step(actions)


def test_no_environment_is_refused():
    with pytest.raises(ValueError, match="`environments` must be at least 1; got 0"):
        Exploration(Line, SEEDS, 0)
