"""Action chunks in environments: step by step, beside a plain loop that takes one chunk after another."""

import shutil
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from test_online import assert_same_replay
from test_resume import assert_same_tables
from toy_run import TOY_RECIPE, Line, build_toy, new_run, toy_task

import floqzoo as fz
from floqzoo.learner import ActionChunks
from floqzoo.learner.seeds import SeedUse, seed_key
from floqzoo.protocols import ActsInChunks, HasBehaviour
from floqzoo.results.play import play
from floqzoo.rollout import EpisodePlayer, Evaluator, OpenLoop
from floqzoo.rollout.batched_policy import BatchedPolicy
from floqzoo.rollout.episode_player import numpy_state_kept
from floqzoo.runs import Recipe, checkpoint_steps, standard_batches
from floqzoo.runs.checkpoint import restore_beside
from floqzoo.training import prepared_run, resume


class Planner(eqx.Module):
    """Draws a chunk: steps towards the goal that it sees, of random size, each at most 1."""

    length: int = eqx.field(static=True)

    def act(self, observation, critic, key):
        sizes = jax.random.uniform(key, (self.length,), observation.dtype)
        return sizes * jnp.sign(observation[1] - observation[0])

    def policy_loss(self, batch, agent, key):
        return jnp.zeros(()), None


def actor(length, horizon=None):
    return fz.ActorCritic(None, fz.ChunkedPolicy(Planner(length), length, horizon))


# The executor alone


@given(
    horizon=st.integers(1, 4), more=st.integers(0, 2), rounds=st.lists(st.lists(st.booleans(), min_size=3, max_size=3))
)
def test_each_row_takes_the_first_actions_of_one_chunk_after_another(horizon, more, rounds):
    """Three environments, whose episodes end at any time; a chunk is identified by the round that drew it and by its row."""
    length = horizon + more
    open_loop = OpenLoop(fz.ChunkedPolicy(Planner(length), length, horizon))
    steps, left = np.zeros(3, int), [[], [], []]
    for number, ended in enumerate(rounds):
        calls = []

        def draw(number=number, calls=calls):
            calls.append(number)
            return 1000.0 * number + 100 * np.arange(3)[:, None] + np.arange(2 * length)

        found = open_loop.actions(np.arange(3), steps, draw)
        assert len(calls) == any(not queue for queue in left)
        for row in range(3):
            if not left[row]:
                base = 1000.0 * number + 100 * row
                left[row] = [[base + 2 * k, base + 2 * k + 1] for k in range(horizon)]
            np.testing.assert_array_equal(found[row], left[row].pop(0))
            if ended[row]:
                left[row] = []
        steps = np.where(ended, 0, steps + 1)


def test_the_state_of_an_executor_is_all_that_it_needs():
    one, other = (OpenLoop(fz.ChunkedPolicy(Planner(4), 4, 3)) for _ in range(2))
    rows, chunks = np.array([7, 2]), np.arange(8.0).reshape(2, 4)
    one.actions(rows, np.array([0, 0]), lambda: chunks)
    assert other.state() == {}
    other.restore(one.state())
    for steps in ([1, 2], [2, 1]):
        found = [each.actions(rows, np.array(steps), lambda: pytest.fail("drawn")) for each in (one, other)]
        np.testing.assert_array_equal(found[0], [[k] for k in (steps[0], 4 + steps[1])])
        np.testing.assert_array_equal(*found)
    with pytest.raises(ValueError, match="the saved chunks must have 3 steps, like those of the policy; they have 4"):
        OpenLoop(fz.ChunkedPolicy(Planner(3), 3)).restore(one.state())
    other.restore({})
    with pytest.raises(ValueError, match=r"`steps` of row 7 must start at 0, .* got 1"):
        other.actions(rows, np.array([1, 0]), lambda: chunks)


def test_single_actions_are_drawn_in_each_step_and_leave_no_state():
    open_loop, rows = OpenLoop(Planner(1)), np.arange(2)
    for step in range(3):
        found = open_loop.actions(rows, rows + step, lambda step=step: np.full((2, 1), float(step)))
        np.testing.assert_array_equal(found, [[step], [step]])
    assert open_loop.state() == {}


def test_a_chunk_that_cannot_be_divided_is_refused():
    with pytest.raises(
        ValueError, match="draws chunks of 3 numbers, which cannot be divided into 2 actions of equal size"
    ):
        OpenLoop(fz.ChunkedPolicy(Planner(3), 2)).actions(np.arange(1), np.zeros(1, int), lambda: np.zeros((1, 3)))


# The policy


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0, None), "`chunk_length` must be at least 1; got 0"),
        ((3, 0), r"`execution_horizon` must lie in \[1, 3\], .*; got 0"),
        ((3, 4), r"`execution_horizon` must lie in \[1, 3\], .*; got 4"),
    ],
)
def test_a_chunk_that_cannot_be_executed_is_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        fz.ChunkedPolicy(Planner(3), *numbers)


def test_a_chunked_policy_is_what_it_holds(getkey):
    held = fz.AWRPolicy(fz.MLP(2, 6, hidden=(4,), key=getkey()))
    policy, observation = fz.ChunkedPolicy(held, 3), jnp.array([0.3, -0.2])
    assert isinstance(policy, ActsInChunks) and not isinstance(held, ActsInChunks)
    assert (policy.chunk_length, policy.execution_horizon) == (3, 3)
    for method in ("act", "explore"):
        one, other = (getattr(each, method)(observation, None, jax.random.key(1)) for each in (policy, held))
        np.testing.assert_array_equal(one, other)
    # What it holds has no behaviour, and what has one gives it in the same chunks.
    assert not hasattr(policy, "behaviour")
    of_flow = fz.DistilledFlowPolicy.build(2, 6, network=partial(fz.MLP, hidden=(4,)), key=getkey())
    policy = fz.ChunkedPolicy(of_flow, 3, 2)
    assert isinstance(policy, HasBehaviour)
    assert (policy.behaviour.chunk_length, policy.behaviour.execution_horizon) == (3, 2)
    assert policy.behaviour.policy is of_flow.behaviour


class Counting(eqx.Module):
    """A policy with state: how many losses it has computed."""

    count: fz.State

    def act(self, observation, critic, key):
        return jnp.zeros(2)

    def policy_loss(self, batch, agent, key):
        part = Counting(fz.State(self.count.value + 1))
        return jnp.zeros(()), fz.Stateful(None, part)


def test_a_policy_in_chunks_may_have_state():
    agent = fz.Agent(critic=fz.NullCritic(), policy=fz.ChunkedPolicy(Counting(fz.State(jnp.zeros(()))), 2))
    zero = jnp.zeros((3, 2))
    batch = fz.Transition(zero, zero, zero[:, 0], zero[:, 0], zero, valid=zero)
    agent, _ = agent.update(batch, jax.random.key(0))
    assert agent.policy.policy.count.value == 1


# Evaluations


def by_a_plain_loop(actor, episode, seed):
    """The actions of an episode: chunk after chunk, each drawn from what is seen where it begins."""
    policy, key = actor.policy, seed_key(seed, SeedUse.ACTIONS)
    player, taken, over = EpisodePlayer(Line()), [], False
    with numpy_state_kept():
        player.begin(episode, seed)
        observation = player.receive_start()
        while not over:
            drawn = jax.random.fold_in(jax.random.fold_in(key, episode), len(taken))
            chunk = np.asarray(eqx.filter_jit(policy.act)(jnp.asarray(observation), None, drawn))
            for action in chunk.reshape(policy.chunk_length, -1)[: policy.execution_horizon]:
                player.step(action)
                outcome = player.receive_step()
                taken.append(action)
                observation, over = outcome.observation, outcome.over
                if over:
                    break
    return np.array(taken)


@pytest.mark.parametrize(("length", "horizon"), [(1, None), (3, None), (5, 2), (4, 1)])
def test_an_episode_is_one_chunk_after_another(length, horizon):
    """And the next episode begins with a chunk of its own: their lengths are no multiples of the horizon."""
    policy, player, lengths = actor(length, horizon), EpisodePlayer(Line()), set()
    batched = BatchedPolicy(policy, 3)
    for episode in range(4):
        with numpy_state_kept():
            found = [step.action for step in play(player, batched, episode=episode, seed=3)]
        np.testing.assert_allclose(found, by_a_plain_loop(policy, episode, 3), rtol=1e-6)
        lengths.add(len(found))
    assert len(lengths) > 1


@pytest.mark.slow
@pytest.mark.parametrize(("environments", "workers"), [(2, 0), (5, 0), (8, 0), (1, 3)])
def test_an_evaluation_in_chunks_does_not_depend_on_the_number_of_environments(environments, workers):
    alone, together = (
        Evaluator(Line, environments=count, workers=processes) for count, processes in ((1, 0), (environments, workers))
    )
    try:
        one, other = (each.evaluate(actor(4, 3), episodes=11, seed=5) for each in (alone, together))
    finally:
        alone.close()
        together.close()
    for field in ("success", "episode_return", "length"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    assert len(np.unique(one.length % 3)) > 1


# Runs

LENGTH, HORIZON = 4, 3


def build_chunked(*, observation_dim, action_dim, reward_range, config, key):
    agent = build_toy(
        observation_dim=observation_dim,
        action_dim=LENGTH * action_dim,
        reward_range=reward_range,
        config=config,
        key=key,
    )
    return fz.Agent(critic=agent.critic, policy=fz.ChunkedPolicy(agent.policy, LENGTH, HORIZON))


CHUNKED = Recipe(
    name="toy",
    build=build_chunked,
    presets=TOY_RECIPE.presets,
    batch_source=partial(standard_batches, reader=lambda agent: ActionChunks(LENGTH, 0.9)),
)
ONLINE = {
    "offline_steps": 4,
    "online_steps": 52,
    "online_environments": 2,
    "buffer_size": 200,
    "log_interval": 4,
    "save_interval": 4,
    "eval_interval": 28,
    "keep_checkpoints": 20,
    "seeds": 2,
    "seed": 5,
}


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    """A run that acts in chunks while it learns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared_run, "load_task", lambda config: toy_task())
        directory = new_run(tmp_path_factory.mktemp("chunks") / "run", **ONLINE)
        resume(directory, recipe=CHUNKED)
    return directory


def replayed(directory):
    """The steps of a run, (seeds, rounds, environments, ...), and the numbers of their episodes."""
    state = restore_beside(directory / "checkpoints", 56)
    rounds = (2, 26, 2)
    actions = state["replay.transitions.action"][:, :52].reshape(*rounds, -1)
    return actions, state["replay.episodes"][:, :52].reshape(rounds), state


@pytest.mark.slow
def test_the_replay_of_a_run_in_chunks_holds_single_steps(explored):
    """Each seed's batches are drawn from steps of the environment's own size, whose episodes end at any step of a chunk."""
    actions, episodes, state = replayed(explored)
    assert actions.shape[-1] == 1
    assert state["open_loop.chunks"].shape == (4, LENGTH, 1)
    lengths = np.concatenate([np.unique(episodes[s, :, e], return_counts=True)[1][:-1] for s in (0, 1) for e in (0, 1)])
    assert len(np.unique(lengths % HORIZON)) > 1


@pytest.mark.slow
def test_actions_of_a_run_come_from_whole_chunks(explored):
    """The current chunk at the end: its first actions are the last ones of the replay."""
    actions, episodes, state = replayed(explored)
    chunks = dict(zip(state["open_loop.rows"].tolist(), state["open_loop.chunks"], strict=True))
    seen = set()
    for seed in (0, 1):
        for column in (0, 1):
            mine = episodes[seed, :, column]
            length = np.sum(mine == state["replay.current"][seed, column])
            under_way = (length - 1) % HORIZON + 1 if length else 0
            taken = actions[seed, 26 - under_way :, column]
            np.testing.assert_array_equal(taken, chunks[2 * seed + column][:under_way])
            seen.add(under_way)
    assert seen - {0, 1}


@pytest.mark.slow
@pytest.mark.parametrize("step", [16, 40])
@pytest.mark.usefixtures("toy_data")
def test_a_run_that_is_resumed_in_the_middle_of_a_chunk_is_the_same_run(explored, step, tmp_path):
    """Chunks are under way in its checkpoint, drawn by agents that have learnt since."""
    directory = shutil.copytree(explored, tmp_path / "run")
    for later in checkpoint_steps(directory / "checkpoints"):
        if later > step:
            shutil.rmtree(directory / "checkpoints" / f"step_{later:09d}")
    state = restore_beside(directory / "checkpoints", step)
    assert np.any(state["exploration.lengths"] % HORIZON)
    resume(directory, recipe=CHUNKED)
    assert_same_tables(explored, directory)
    assert_same_replay(explored, directory)
