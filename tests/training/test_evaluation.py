import multiprocessing
import signal
from contextlib import ExitStack
from functools import partial

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from toy_run import Line, Walker
from worlds import Failing

import floqzoo as fz
from floqzoo.rollout import Evaluation, EvaluationStoppedError, Evaluator, evaluate
from floqzoo.rollout.batched_policy import ROWS


WALKER = fz.ActorCritic(None, Walker(jnp.asarray(0.7)))


class Book(list):
    """Every environment made, so that what happened in it can be read afterwards."""

    def make(self):
        self.append(Line())
        return self[-1]

    def paths(self):
        return sorted(path for line in self for path in line.visited)


def play(environments, episodes=11, seed=3, policy=WALKER):
    book = Book()
    return evaluate(policy, book.make, episodes=episodes, seed=seed, environments=environments), book


@pytest.mark.parametrize("environments", [2, 5, 8, 11])
def test_an_episode_is_the_same_beside_any_other(environments):
    alone, alone_book = play(1)
    together, book = play(environments)
    assert len(book) == environments
    assert book.paths() == alone_book.paths()
    for field in ("success", "episode_return", "length"):
        np.testing.assert_array_equal(getattr(alone, field), getattr(together, field))


@pytest.fixture(scope="module")
def by_workers():
    """Evaluators by the number of their processes."""
    with ExitStack() as stack:
        evaluators = {workers: Evaluator(Line, workers=workers) for workers in (0, 1, 3)}
        for evaluator in evaluators.values():
            stack.callback(evaluator.close)
        yield evaluators


@pytest.mark.slow
@given(st.integers(0, 10**6), st.integers(1, 9), st.floats(0, 1, width=32))
@settings(max_examples=10)
def test_an_episode_is_the_same_in_a_process_of_its_own(by_workers, seed, episodes, gain):
    policy = fz.ActorCritic(None, Walker(jnp.asarray(gain)))
    here, *elsewhere = (evaluator.evaluate(policy, episodes=episodes, seed=seed) for evaluator in by_workers.values())
    for there in elsewhere:
        for field in ("success", "episode_return", "length"):
            np.testing.assert_array_equal(getattr(here, field), getattr(there, field))


@pytest.mark.slow
def test_more_processes_than_a_compiled_call_has_rows_play_the_same_episodes():
    here, there = (evaluate(WALKER, Line, episodes=25, seed=5, workers=workers) for workers in (0, 2 * ROWS + 1))
    for field in ("success", "episode_return", "length"):
        np.testing.assert_array_equal(getattr(here, field), getattr(there, field))


@pytest.mark.slow
def test_a_process_that_is_killed_changes_nothing(by_workers):
    """A real SIGKILL of one of three, once four episodes are finished."""
    killed = []

    def kill_one(finished):
        if finished == 4:
            killed.append(multiprocessing.active_children()[0])
            killed[0].kill()

    expected = by_workers[0].evaluate(WALKER, episodes=9, seed=2)
    found = by_workers[3].evaluate(WALKER, episodes=9, seed=2, progress=kill_one)
    np.testing.assert_array_equal(found.episode_return, expected.episode_return)
    killed[0].join(60)
    assert killed[0].exitcode == -signal.SIGKILL


@pytest.mark.parametrize("workers", [0, 2])
def test_what_an_environment_raises_reaches_the_caller(workers):
    with pytest.raises(IndexError, match="too far"):
        evaluate(WALKER, partial(Failing, IndexError, "too far"), episodes=3, seed=0, workers=workers)


def test_an_evaluator_that_is_stopped_plays_no_more():
    evaluator, played = Evaluator(Line), []

    def stop(finished):
        played.append(finished)
        evaluator.stop()

    for _ in range(2):
        with pytest.raises(EvaluationStoppedError):
            evaluator.evaluate(WALKER, episodes=20, seed=0, progress=stop)
    assert 1 <= len(played) <= 4  # One for each environment that ended with that step.


def test_an_environment_that_cannot_go_to_a_process_is_refused():
    with pytest.raises(ValueError, match=r"`make_environment` must be picklable .*`eval_workers=0`"):
        Evaluator(lambda: Line(), workers=1)


def test_more_episodes_begin_with_the_same_ones():
    few, many = play(3, episodes=4)[0], play(4, episodes=9)[0]
    np.testing.assert_array_equal(few.episode_return, many.episode_return[:4])


def test_another_seed_is_another_evaluation():
    assert play(4, seed=0)[1].paths() != play(4, seed=1)[1].paths()


def test_an_evaluator_forgets_what_it_has_played():
    evaluator = Evaluator(Line, environments=3)
    first = evaluator.evaluate(WALKER, episodes=7, seed=0)
    evaluator.evaluate(WALKER, episodes=5, seed=1)
    again = evaluator.evaluate(WALKER, episodes=7, seed=0)
    np.testing.assert_array_equal(first.episode_return, again.episode_return)


def test_the_record_is_what_happened():
    result, book = play(1, policy=fz.ActorCritic(None, Walker(jnp.asarray(0.2))))
    lengths = [len(path) - 1 for path in book[0].visited]
    np.testing.assert_array_equal(result.length, lengths)
    np.testing.assert_array_equal(result.episode_return, -result.length)
    # On the line an episode is cut at 12 steps unless it succeeds; the walker succeeds in some and not in all.
    np.testing.assert_array_equal(result.success[result.length < 12], 1)
    assert 0 < result.success_rate < 1


def test_success_is_that_of_the_last_step():
    class Touching(Line):
        def step(self, action):
            observation, reward, _, truncated, _ = super().step(action)
            return observation, reward, False, truncated, {"success": self.t == 3}

    assert evaluate(WALKER, Touching, episodes=2, seed=0).success_rate == 0


@given(st.lists(st.booleans(), min_size=1, max_size=40))
@settings(max_examples=10)
def test_the_standard_error_is_that_of_a_proportion(success):
    success = np.array(success, float)
    result = Evaluation(success, -success, success.astype(int))
    assert result.success_rate == pytest.approx(success.mean())
    assert result.standard_error == pytest.approx(success.std() / np.sqrt(success.size))


def test_numpys_global_state_is_left_alone():
    np.random.seed(0)
    np.random.randn()  # Holds back the second of a pair of normal deviates.
    before = np.random.get_state()
    play(4)
    after = np.random.get_state()
    np.testing.assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.5])
def test_a_bad_action_is_named(value):
    class Bad(Walker):
        def act(self, observation, critic, key):
            return jnp.where(observation[:1] < 100, value, 0.0)

    with pytest.raises(ValueError, match=r"finite actions between .* in step 0 of episode 0 of seed \d+ it drew"):
        play(2, policy=fz.ActorCritic(None, Bad(jnp.asarray(1.0))))


def test_an_environment_without_success_is_refused():
    class Silent(Line):
        def step(self, action):
            return *super().step(action)[:4], {}

    with pytest.raises(ValueError, match=r"must report `info\['success'\]`"):
        evaluate(WALKER, Silent, episodes=1, seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"episodes": 0}, "`episodes` must be at least 1; got 0"),
        ({"seed": -1}, "`seed` must not be negative; got -1"),
        ({"environments": 0}, "`environments` must be at least 1; got 0"),
        ({"workers": -1}, "`workers` must be at least 0; got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        evaluate(WALKER, Line, **({"episodes": 1, "seed": 0} | settings))


def test_a_policy_without_its_critic_is_refused():
    with pytest.raises(TypeError, match=r"`actor` must be an agent or an ActorCritic; got the policy Walker"):
        evaluate(WALKER.policy, Line, episodes=1, seed=0)


def test_policies_that_differ_in_numbers_only_share_a_program():
    traces = []

    class Traced(Walker):
        def act(self, observation, critic, key):
            traces.append(1)
            return super().act(observation, critic, key)

    for gain in (0.1, 0.5, 1.0):
        play(3, policy=fz.ActorCritic(None, Traced(jnp.asarray(gain))))
    assert len(traces) == 1


def test_a_maze_of_ogbench_keeps_to_the_same_law():
    """Its start, goal and teleports come from NumPy's global state."""
    pytest.importorskip("ogbench")
    from floqzoo.tasks.simulator import make

    class Noted(gymnasium.Wrapper):
        def __init__(self, paths):
            super().__init__(make("pointmaze-teleport-singletask-task1-v0", max_episode_steps=180))
            self.paths = paths

        def reset(self, **kwargs):
            observation, info = self.env.reset(**kwargs)
            self.paths.append([tuple(observation)])
            return observation, info

        def step(self, action):
            result = self.env.step(action)
            self.paths[-1].append(tuple(result[0]))
            return result

    class ToTeleport(Walker):
        """From (36, 0) west, up, west, and up into the teleport at (20, 12)."""

        def act(self, observation, critic, key):
            x, y = observation
            corner = jnp.where(y < 7, 32.0, 20.0)
            direction = jnp.where(x > corner + 0.3, jnp.asarray([-1.0, 0.0]), jnp.asarray([0.0, 1.0]))
            return jnp.clip(direction + 0.1 * jax.random.normal(key, (2,)), -1, 1)

    def paths(environments):
        every = [[] for _ in range(environments)]
        unused = iter(every)
        policy = fz.ActorCritic(None, ToTeleport(jnp.asarray(0.0)))
        evaluate(policy, lambda: Noted(next(unused)), episodes=5, seed=0, environments=environments)
        return sorted(path for paths in every for path in paths)

    alone = paths(1)
    assert len({path[0] for path in alone}) == 5
    # At least one of them is teleported: no step of its own carries the point further than a unit.
    assert max(np.abs(np.diff(path, axis=0)).max() for path in alone) > 2
    assert paths(4) == alone


def test_a_maze_of_ogbench_is_the_same_in_a_process_of_its_own():
    pytest.importorskip("ogbench")
    from floqzoo.tasks.simulator import make

    class Wanderer(Walker):
        def act(self, observation, critic, key):
            return jax.random.uniform(key, (2,), observation.dtype, -1, 1)

    maze = partial(make, "pointmaze-teleport-singletask-task1-v0", max_episode_steps=30)
    here, there = (
        evaluate(fz.ActorCritic(None, Wanderer(jnp.asarray(0.0))), maze, episodes=3, seed=0, workers=workers)
        for workers in (0, 2)
    )
    np.testing.assert_array_equal(here.episode_return, there.episode_return)
    np.testing.assert_array_equal(here.length, 30)
