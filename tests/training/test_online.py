"""Runs that act and learn at once, on a task of no depth."""

import dataclasses
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_resume import assert_same_run, assert_same_tables
from toy_run import (
    TOY_RECIPE,
    Line,
    ToyConfig,
    ToyTask,
    Walker,
    change_flags,
    new_run,
    toy_build,
    toy_config,
    toy_state,
    toy_task,
)

import floqzoo as fz
from floqzoo.learner import NonFiniteError, update_keys
from floqzoo.rollout import Exploration
from floqzoo.rollout.exploration import FIRST_EPISODE, first_episodes
from floqzoo.runs import DamagedError, checkpoint_steps, read_metrics, restore_checkpoint
from floqzoo.runs.checkpoint import restore_beside
from floqzoo.tasks.files import read_json, write_json
from floqzoo.training import prepared_run, resume, train


# No interval is a multiple of another, and there are rounds without updates.
LIVELY = {
    "offline_steps": 12,
    "online_steps": 44,
    "online_environments": 2,
    "online_start": 4,
    "utd_ratio": 3,
    "buffer_size": 200,
    "log_interval": 4,
    "save_interval": 6,
    "eval_interval": 14,
    "seeds": 2,
    "seed": 5,
}

pytestmark = pytest.mark.usefixtures("toy_data")


def assert_same_replay(one: Path, other: Path) -> None:
    last = checkpoint_steps(one / "checkpoints")[-1]
    ours, theirs = (restore_beside(run / "checkpoints", last) for run in (one, other))
    assert sorted(ours) == sorted(theirs)
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def ended_in_round(directory: Path, number: int, ending: signal.Signals) -> subprocess.CompletedProcess:
    program = str(Path(__file__).with_name("stopped_online.py"))
    command = [sys.executable, program, str(directory), str(number), ending.name]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_explores_is_the_same_run(whole, tmp_path):
    """A real process, killed by SIGKILL in a round between two checkpoints, and again after it went on."""
    directory = new_run(tmp_path / "killed", **LIVELY)
    for number in (10, 7):
        process = ended_in_round(directory, number, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, process.stderr
        assert 12 < checkpoint_steps(directory / "checkpoints")[-1] < 56
    resume(directory, recipe=TOY_RECIPE)
    assert_same_run(whole, directory)
    assert_same_replay(whole, directory)


FULL = LIVELY | {"balanced_sampling": True, "buffer_size": 16, "online_start": 0, "utd_ratio": 1, "seeds": 2}


@pytest.mark.slow
def test_sigterm_keeps_what_was_explored(tmp_path):
    """A program that is stopped while it explores; its buffer is full, and half of each batch comes from it."""
    straight = new_run(tmp_path / "straight", **FULL)
    resume(straight, recipe=TOY_RECIPE)
    directory = new_run(tmp_path / "run", **FULL)
    process = ended_in_round(directory, 13, signal.SIGTERM)
    assert process.returncode == 0, process.stderr
    assert int(process.stdout.split()[-1]) == 12 + 2 * 13
    resume(directory, recipe=TOY_RECIPE)
    assert_same_run(straight, directory)
    assert_same_replay(straight, directory)
    change_flags(directory, online_steps=10)
    with (
        pytest.warns(UserWarning, match="`online_steps` was 44 and is 10"),
        pytest.raises(ValueError, match=r"must be 16, since the replay buffer of the checkpoint is full; got 10\."),
    ):
        resume(directory, recipe=TOY_RECIPE, allow_changes=True)


@pytest.mark.slow
def test_a_second_signal_in_the_midst_of_a_round_writes_nothing(whole, tmp_path):
    """What is half done belongs to no step: the latest checkpoint stays, and the run goes on from it."""
    directory = new_run(tmp_path / "run", **LIVELY)
    process = ended_in_round(directory, 10, signal.SIGINT)
    assert process.returncode == 130, process.stderr
    assert checkpoint_steps(directory / "checkpoints")[-1] == 30
    resume(directory, recipe=TOY_RECIPE)
    assert_same_run(whole, directory)
    assert_same_replay(whole, directory)


@pytest.mark.slow
def test_environments_in_processes_change_nothing(whole, tmp_path):
    directory = new_run(tmp_path / "run", **LIVELY, online_processes=True)
    assert resume(directory, recipe=TOY_RECIPE).updates == 12 + 3 * (44 - 4)
    assert_same_run(whole, directory)


@pytest.mark.slow
def test_each_seed_is_what_it_is_alone(whole, tmp_path):
    directory = new_run(tmp_path / "run", **LIVELY | {"seeds": 1, "seed": 6})
    resume(directory, recipe=TOY_RECIPE)
    for table in ("train.csv", "eval.csv"):
        alone, together = read_metrics(directory / table), read_metrics(whole / table)
        mine = together["seed"] == 6
        for name in alone:
            if not name.startswith("time/"):
                np.testing.assert_allclose(alone[name], together[name][mine], rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.slow
def test_the_log_tells_what_was_explored(whole):
    rows = read_metrics(whole / "train.csv")
    mine = rows["seed"] == 5
    steps = rows["step"][mine]
    explored = rows["exploration/environment_steps"][mine]
    np.testing.assert_array_equal(explored[steps > 12], steps[steps > 12] - 12)
    assert np.isnan(explored[steps <= 12]).all()
    np.testing.assert_array_equal(
        rows["exploration/updates"][mine][steps > 12], 3 * np.maximum(0, steps[steps > 12] - 16)
    )
    np.testing.assert_array_equal(rows["exploration/replay_size"][mine][steps > 12], steps[steps > 12] - 12)
    assert np.nansum(rows["exploration/episodes"][mine]) >= 2
    # The curve begins where the data end.
    assert {12, 56} <= set(read_metrics(whole / "eval.csv")["step"])


class Clock(Line):
    """Shows how many steps were taken in it since it was made."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def reset(self, **settings):
        super().reset(**settings)
        return np.array([self.steps, 0.0]), {}

    def step(self, action):
        _, reward, done, cut, info = super().step(action)
        self.steps += 1
        return np.array([self.steps, 0.0]), reward, done, cut, info


class Watcher(eqx.Module):
    """Reports what it is taught, and learns nothing."""

    policy: Walker
    critic: fz.NullCritic
    step = 0

    @property
    def parts(self):
        return fz.ActorCritic(self.critic, self.policy)

    def update(self, batch, key):
        latest = jnp.max(batch.next_observation[:, 0])
        return self, {"latest": latest, "batch": jnp.asarray(len(batch.reward), jnp.float32)}


@pytest.mark.parametrize("utd_ratio", [1, 2, 16, 128])
def test_a_round_learns_from_all_rounds_before_it_and_not_from_itself(utd_ratio, tmp_path):
    """The data lie at -1000 and the buffer is small beside a batch, so that a batch holds the newest transition."""
    dataset = toy_task().dataset
    dataset = eqx.tree_at(lambda data: data.observations, dataset, jnp.full_like(dataset.observations, -1000.0))
    config = toy_config(
        offline_steps=0,
        online_steps=12,
        utd_ratio=utd_ratio,
        balanced_sampling=True,
        buffer_size=256,
        log_interval=1,
        save_interval=0,
        eval_episodes=0,
    )
    config = dataclasses.replace(config, agent=dataclasses.replace(config.agent, batch_size=256))
    build = lambda key: Watcher(Walker(jnp.asarray(1.0)), fz.NullCritic())  # noqa: E731
    result = train(build, ToyTask(dataset, make_environment=Clock), config, tmp_path)
    # The first round has nothing new to learn from.
    assert result.updates == 11 * utd_ratio
    rows = read_metrics(tmp_path / "train.csv")
    np.testing.assert_array_equal(rows["step"], np.arange(2, 13))
    # Round r, from 0, ends as step r + 1 and knows r transitions, of which the last led to time r.
    np.testing.assert_allclose(rows["training/latest"], rows["step"] - 1, atol=0.02 if utd_ratio > 1 else 0)
    np.testing.assert_array_equal(rows["training/batch"], 256.0)


def started_from(config, folder, **changes):
    """A run with the settings of another, some exchanged, that is ready and not trained."""
    return prepared_run.prepare(TOY_RECIPE, dataclasses.replace(config, save_dir=str(folder), **changes))


def first_of(run, seeds):
    """The numbers of the first episodes that a run plays."""
    untrained = toy_state(*seeds)
    return first_episodes(run.start.begin_with(untrained).keys, seeds)


@pytest.mark.slow
def test_from_nothing_and_from_a_finished_run(whole, tmp_path):
    """A run that begins with the agents of another evaluates them first, and so begins where that ended."""
    changes = {name: LIVELY[name] for name in ("seeds", "seed", "buffer_size", "utd_ratio", "online_environments")}
    config = toy_config(
        **changes,
        offline_steps=0,
        online_steps=4,
        log_interval=2,
        eval_interval=4,
        save_interval=4,
        start_from=str(whole),
    )
    run = prepared_run.prepare(TOY_RECIPE, dataclasses.replace(config, save_dir=str(tmp_path)))
    run.train()
    ours, theirs = (read_metrics(directory / "eval.csv") for directory in (run.directory, whole))
    first, last = ours["step"] == 0, theirs["step"] == 56
    for name in ("evaluation/success", "evaluation/episode.return"):
        np.testing.assert_array_equal(ours[name][first], theirs[name][last])
    # With the same seeds it draws other batches.
    mine, its = (
        jax.random.key_data(restore_checkpoint(directory / "checkpoints", toy_state(5, 6)).tree.keys)
        for directory in (run.directory, whole)
    )
    assert (mine != its).any(axis=1).all()
    # It plays other episodes, from other starts, as does one that begins with the same agents and other seeds.
    assert first_episodes(update_keys((5, 6)), (5, 6)) == [FIRST_EPISODE] * 2
    others = {*first_of(run, (5, 6)), *first_of(started_from(config, tmp_path, seed=7), (7, 8))}
    assert len(others - {FIRST_EPISODE}) == 4
    played = restore_beside(run.directory / "checkpoints", 4)["exploration.episodes"].reshape(2, 2)
    assert (played - np.array([first_of(run, (5, 6))]).T < 6).all()
    # One that begins with untrained agents begins elsewhere.
    untrained = dataclasses.replace(config, save_dir=str(tmp_path / "other"), start_from="")
    other = prepared_run.prepare(TOY_RECIPE, untrained)
    other.train()
    rows = read_metrics(other.directory / "train.csv")
    assert (
        rows["training/actor/bc_flow_loss"] != read_metrics(run.directory / "train.csv")["training/actor/bc_flow_loss"]
    ).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env_name": "curve"}, "the same task: here it is curve, in .* line"),
        (
            {"agent": ToyConfig(width=4)},
            r"have agents of the same form as this run: their `policy.flow.field.network.\S+` must be float",
        ),
        ({"seed": 9}, r"have the seeds 9, or as many seeds as this run, .* has the seeds 5, 6\."),
    ],
)
def test_a_start_that_does_not_fit_is_refused(changes, message, whole, tmp_path):
    config = toy_config(**{"seed": 5, "start_from": str(whole), "save_dir": str(tmp_path)} | changes)
    with pytest.raises(ValueError, match=f"`start_from` must .*{message}"):
        prepared_run.prepare(TOY_RECIPE, config)
    assert not list(tmp_path.iterdir())


def test_a_run_starts_from_one_whose_task_has_another_path(whole, tmp_path):
    earlier = shutil.copytree(whole, tmp_path / "earlier")
    flags = read_json(earlier / "flags.json")
    write_json(earlier / "flags.json", flags | {"env_name": f"{tmp_path}/cart.py:corridor"})
    config = toy_config(env_name="cart.py:corridor", seed=5, start_from=str(earlier), save_dir=str(tmp_path))
    start = prepared_run.prepare(TOY_RECIPE, config).start
    assert start is not None and start.places == [0]


def test_a_task_that_cannot_be_stepped_is_refused(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Pure:
        dataset: fz.Transition

    config = toy_config(online_steps=4, buffer_size=1000)
    with pytest.raises(ValueError, match="`online_steps` must be 0 on line, which has no environment to step; got 4"):
        train(toy_build, Pure(toy_task().dataset), config, tmp_path)


def test_a_buffer_that_is_smaller_than_its_data_is_refused(tmp_path):
    config = toy_config(online_steps=4, buffer_size=100, save_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"`buffer_size` must be at least 190, .* got 100\. With `balanced_sampling`"):
        prepared_run.prepare(TOY_RECIPE, config)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("__init__", KeyboardInterrupt()),
        ("restore", KeyboardInterrupt()),
        ("restore", DamagedError("lost")),
        ("__init__", RuntimeError("too far")),
    ],
)
def test_what_ends_a_run_that_is_just_brought_back_leaves_it_as_it_was(whole, tmp_path, monkeypatch, method, error):
    """Its latest checkpoint lies within an interval of the log."""
    directory = shutil.copytree(whole, tmp_path / "run")
    last = checkpoint_steps(directory / "checkpoints")[-1]
    shutil.rmtree(directory / "checkpoints" / f"step_{last:09d}")
    kept = checkpoint_steps(directory / "checkpoints")
    assert kept[-1] % LIVELY["log_interval"]

    def failing(*arguments, **further):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Exploration, method, failing)
        if isinstance(error, KeyboardInterrupt):
            assert resume(directory, recipe=TOY_RECIPE).stopped_by == signal.SIGINT
        else:
            with pytest.raises(type(error), match=str(error)):
                resume(directory, recipe=TOY_RECIPE)
    assert checkpoint_steps(directory / "checkpoints") == kept
    assert resume(directory, recipe=TOY_RECIPE).stopped_by is None
    assert_same_tables(whole, directory)


def test_another_number_of_environments_cannot_go_on(whole, tmp_path):
    directory = shutil.copytree(whole, tmp_path / "run")
    change_flags(directory, online_environments=1)
    with pytest.raises(ValueError, match=r"some settings are fixed: `online_environments` was 2 and is 1"):
        resume(directory, recipe=TOY_RECIPE, allow_changes=True)


@pytest.mark.slow
def test_a_longer_run_keeps_what_was_explored(tmp_path):
    """Told to go on for longer, it has a larger buffer, and its first half is that of the shorter run."""
    settings = LIVELY | {"online_steps": 20, "seeds": 1, "eval_episodes": 1}
    directory = new_run(tmp_path / "run", **settings)
    resume(directory, recipe=TOY_RECIPE)
    short = restore_beside(directory / "checkpoints", 32)
    change_flags(directory, online_steps=44)
    with pytest.warns(UserWarning, match="`online_steps` was 20 and is 44"):
        assert resume(directory, recipe=TOY_RECIPE, allow_changes=True).steps == 56
    longer = restore_beside(directory / "checkpoints", 56)
    assert longer["replay.transitions.reward"].shape == (1, 44 + 2)
    np.testing.assert_array_equal(
        longer["replay.transitions.observation"][:, :20], short["replay.transitions.observation"][:, :20]
    )
    change_flags(directory, offline_steps=16)
    with pytest.raises(ValueError, match="trains online, so some settings are fixed: `offline_steps` was 12"):
        resume(directory, recipe=TOY_RECIPE, allow_changes=True)


class Spoiling(eqx.Module):
    """Its policy's only parameter is lost in its third update, after metrics that were fine."""

    policy: Walker
    critic: fz.NullCritic
    step: jax.Array

    @property
    def parts(self):
        return fz.ActorCritic(self.critic, self.policy)

    def update(self, batch, key):
        gain = jnp.where(self.step == 2, jnp.nan, self.policy.gain)
        return Spoiling(Walker(gain), self.critic, self.step + 1), {"loss": jnp.mean(batch.reward)}


def test_a_policy_that_is_lost_is_named(tmp_path):
    config = toy_config(offline_steps=0, online_steps=20, buffer_size=200, log_interval=5, eval_episodes=0)
    build = lambda key: Spoiling(Walker(jnp.asarray(1.0)), fz.NullCritic(), jnp.asarray(0))  # noqa: E731
    with pytest.raises(
        NonFiniteError, match=r"an action of seed 0 became NaN or infinite in round 3 .* The run has stopped"
    ):
        train(build, toy_task(), config, tmp_path)
    # The row of the interval that was not finished.
    assert read_metrics(tmp_path / "train.csv")["step"][-1] == 3
