import os
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
from toy_run import Line, ToyTask, Walker, toy_build, toy_config, toy_state, toy_task

import floqzoo as fz
from floqzoo.learner import NonFiniteError, update_keys
from floqzoo.learner.metric_mean import cause_in_data
from floqzoo.learner.pytree_utils import named_leaves, split_arrays
from floqzoo.learner.seeds import SeedUse, seed_key
from floqzoo.rollout import evaluate
from floqzoo.runs import RunState, checkpoint_steps, read_metrics, restore_checkpoint
from floqzoo.runs.run_directory import LOCK, run_locked
from floqzoo.training import plot_learning_curve, train
from floqzoo.training.phases import updates_in_a_call


def assert_same(one, other):
    one, other = (named_leaves(split_arrays(tree)[0]) for tree in (one, other))
    assert one.keys() == other.keys()
    for name, leaf in one.items():
        np.testing.assert_array_equal(leaf, other[name], err_msg=name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    return directory, train(toy_build, toy_task(), toy_config(), directory)


def test_a_run_leaves_metrics_and_checkpoints(finished):
    directory, result = finished
    assert result.stopped_by is None
    assert result.steps == 20
    metrics = read_metrics(directory / "train.csv")
    np.testing.assert_array_equal(metrics["step"], [10, 20])
    np.testing.assert_array_equal(metrics["seed"], [0, 0])
    times, losses = {"time/epoch_time", "time/total_time"}, {"training/actor/actor_loss", "training/actor/bc_flow_loss"}
    assert set(metrics) == {"step", "seed"} | times | losses
    assert all(np.isfinite(column).all() for column in metrics.values())
    assert checkpoint_steps(directory / "checkpoints") == [10, 20]


def test_each_seed_is_as_if_it_were_alone(finished, tmp_path):
    """The same draws, so the same numbers but for how sums are rounded; and the same episodes."""
    alone_at, alone = finished
    several = train(toy_build, toy_task(), toy_config(seed=0, seeds=2), tmp_path)
    assert several.seeds == (0, 1)
    for ours, theirs in zip(jax.tree.leaves(several.agent(0)), jax.tree.leaves(alone.agent(0)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    for table in ("train.csv", "eval.csv"):
        ours, theirs = read_metrics(tmp_path / table), read_metrics(alone_at / table)
        assert ours.keys() == theirs.keys()
        np.testing.assert_array_equal(ours["seed"], [0, 1, 0, 1])
        for name in theirs.keys() - {"time/epoch_time", "time/total_time", "time/evaluation_time"}:
            np.testing.assert_allclose(ours[name][ours["seed"] == 0], theirs[name], rtol=1e-5, err_msg=name)
    assert several.evaluations[0].success.tolist() == alone.evaluations[0].success.tolist()
    assert several.evaluations[0].episode_return.tolist() != several.evaluations[1].episode_return.tolist()


def test_a_nan_names_its_seed(tmp_path):
    class Failing(eqx.Module):
        weight: jax.Array
        critic: None = None
        policy: None = None
        step = 0

        @property
        def parts(self):
            return fz.ActorCritic(self.critic, self.policy)

        def update(self, batch, key):
            loss = jnp.where(self.weight >= 4, jnp.nan, self.weight)
            return eqx.tree_at(lambda agent: agent.weight, self, self.weight + 1), {"loss": loss}

    def build(key):
        # Seed 1 of the seeds 0, 1, 2 begins with 3, the others with 0.
        second = jax.random.key_data(seed_key(1, SeedUse.AGENT))
        return Failing(3.0 * jnp.all(jax.random.key_data(key) == second).astype(float))

    config = toy_config(eval_episodes=0, save_interval=1, seeds=3)
    with pytest.raises(
        NonFiniteError, match=r"metric loss of seed 1 became NaN or infinite in update 2\. .*of step 1, is"
    ):
        train(build, toy_task(), config, tmp_path)


@pytest.mark.parametrize("exists", [False, True])
def test_a_run_whose_agent_cannot_be_built_leaves_no_folder(exists, tmp_path):
    def build(key):
        raise ValueError("no agent")

    folder = tmp_path / "run"
    if exists:
        folder.mkdir()
    with pytest.raises(ValueError, match="no agent"):
        train(build, toy_task(), toy_config(), folder)
    assert folder.exists() == exists


def test_training_tells_what_was_read(tmp_path, capfd):
    train(toy_build, toy_task(), toy_config(offline_steps=1, eval_episodes=0), tmp_path)
    assert f"{toy_task().dataset.size} transitions in" in capfd.readouterr().err


def test_two_processes_never_write_to_one_run(tmp_path):
    with run_locked(tmp_path), pytest.raises(BlockingIOError, match="another process is training in"):
        train(toy_build, toy_task(), toy_config(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_where_there_is_no_room_nothing_begins(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 100))
    with pytest.raises(OSError, match=r"has 0\.0 MB of free space; the checkpoints of the run need"):
        train(toy_build, toy_task(), toy_config(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_the_last_checkpoint_is_the_agent(finished):
    directory, result = finished
    restored = restore_checkpoint(directory / "checkpoints", toy_state(9))
    assert restored.step == 20
    assert_same(restored.tree.agents, result.agents)


def test_the_run_is_evaluated_as_its_policy_is(finished):
    directory, result = finished
    by_hand = evaluate(result.agent(0), Line, episodes=3, seed=0)
    np.testing.assert_array_equal(result.evaluations[0].episode_return, by_hand.episode_return)
    rows = read_metrics(directory / "eval.csv")
    np.testing.assert_array_equal(rows["step"], [10, 20])
    assert rows["evaluation/success"][-1] == by_hand.success_rate
    assert rows["evaluation/episode.return"][-1] == by_hand.episode_return.mean()
    assert rows["evaluation/episode.length"][-1] == by_hand.length.mean()


def test_how_often_a_run_looks_up_does_not_change_it(finished, tmp_path):
    """Other intervals cut the updates into other calls of another length; the numbers are rounded as before."""
    _, result = finished
    config = toy_config(log_interval=4, eval_interval=0, save_interval=0)
    other = train(toy_build, toy_task(), config, tmp_path)
    for ours, theirs in zip(jax.tree.leaves(result.agents), jax.tree.leaves(other.agents), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    assert checkpoint_steps(tmp_path / "checkpoints") == [20]
    np.testing.assert_array_equal(read_metrics(tmp_path / "eval.csv")["step"], [20])


def test_the_policys_behaviour_flow_is_the_baseline(tmp_path):
    class Bent(eqx.Module):
        behaviour: eqx.Module

        def act(self, observation, critic, key):
            return -self.behaviour.act(observation, critic, key)

        def policy_loss(self, batch, agent, key):
            return self.behaviour.policy_loss(batch, agent, key)

    def build(key):
        agent = toy_build(key)
        return type(agent)(critic=agent.critic, policy=Bent(agent.policy))

    result = train(build, toy_task(), toy_config(offline_steps=2), tmp_path)
    by_hand = evaluate(fz.ActorCritic(None, result.agent(0).policy.behaviour), Line, episodes=3, seed=0)
    np.testing.assert_array_equal(result.baselines[0].episode_return, by_hand.episode_return)
    rows = read_metrics(tmp_path / "eval.csv")
    assert rows["behaviour/episode.return"][-1] == by_hand.episode_return.mean()
    assert plot_learning_curve(tmp_path, "toy on line").read_bytes().startswith(b"\x89PNG")


def test_without_episodes_nothing_is_evaluated(tmp_path):
    result = train(toy_build, toy_task(), toy_config(offline_steps=2, eval_episodes=0), tmp_path)
    assert result.evaluations == {}
    assert not (tmp_path / "eval.csv").exists()
    assert plot_learning_curve(tmp_path, "nothing") is None


def test_a_nan_stops_the_run_and_is_named(tmp_path):
    class Failing(eqx.Module):
        weight: jax.Array
        critic: None = None
        policy: None = None
        step = 0

        @property
        def parts(self):
            return fz.ActorCritic(self.critic, self.policy)

        def update(self, batch, key):
            loss = jnp.where(self.weight >= 13, jnp.nan, self.weight)
            return eqx.tree_at(lambda agent: agent.weight, self, self.weight + 1), {"critic": {"critic_loss": loss}}

    config = toy_config(eval_episodes=0, save_interval=6, log_interval=6, offline_steps=24)
    message = r"metric critic/critic_loss of seed 0 became NaN or infinite in update 14\. .*of step 12, is in"
    with pytest.raises(NonFiniteError, match=message):
        train(lambda key: Failing(jnp.zeros(())), toy_task(), config, tmp_path)
    assert checkpoint_steps(tmp_path / "checkpoints") == [6, 12]
    like = RunState(Failing(jnp.zeros(1)), update_keys([0]))
    assert float(restore_checkpoint(tmp_path / "checkpoints", like).tree.agents.weight[0]) == 12
    # The last row shows what went wrong.
    rows = read_metrics(tmp_path / "train.csv")
    np.testing.assert_array_equal(rows["training/critic/critic_loss"], [2.5, 8.5, np.nan])


def test_nan_in_the_data_stops_the_run_before_it_is_saved(tmp_path):
    config = toy_config(offline_steps=500, save_interval=0, eval_interval=0)
    with pytest.raises(NonFiniteError, match=r"became NaN or infinite in update .* There is no checkpoint yet"):
        train(toy_build, toy_task(bad_row=True), config, tmp_path)
    assert checkpoint_steps(tmp_path / "checkpoints") == []


@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_of_more_than_ten_thousand_are_a_likely_cause(sign):
    arrays = {"small": np.ones(3), "rewards": np.array([0.0, sign * 10_000.0])}
    assert "moderate size" in cause_in_data(arrays)
    arrays["rewards"][0] = sign * np.nextafter(10_000.0, np.inf)
    assert "`rewards` of the dataset reach 1e+04" in cause_in_data(arrays)


class Rooted(Walker):
    """Its loss is finite, and its gradient is not."""

    def policy_loss(self, batch, agent, key):
        loss = jnp.sqrt(self.gain**2)
        return loss, {"loss": loss}


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda data: data.actions.at[:].set(jnp.nan), "`actions` of the dataset are not finite"),
        (
            lambda data: data.actions.at[:].set(3e30),
            r"`actions` of the dataset reach 3e\+30: bring them to the order of 1",
        ),
        (None, "the likely cause is the learning rate, a loss or a network: .*with JAX_DEBUG_NANS=True"),
    ],
)
def test_a_first_update_that_is_not_finite_names_its_likely_cause(change, cause, tmp_path):
    """The second may be the first to show it, by a gradient."""
    data = toy_task().dataset
    if change is not None:
        data = eqx.tree_at(lambda data: data.actions, data, change(data))
    build = (
        toy_build if change is not None else lambda key: fz.Agent(critic=fz.NullCritic(), policy=Rooted(jnp.zeros(())))
    )
    config = toy_config(offline_steps=20, save_interval=0, eval_episodes=0)
    with pytest.raises(NonFiniteError, match=rf"in update [12]\. .* The first updates were not finite\. .*{cause}"):
        train(build, ToyTask(data), config, tmp_path)


def test_nan_in_a_parameter_is_never_saved(tmp_path):
    class Failing(eqx.Module):
        weight: jax.Array
        critic: None = None
        policy: None = None
        step = 0

        @property
        def parts(self):
            return fz.ActorCritic(self.critic, self.policy)

        def update(self, batch, key):
            return eqx.tree_at(lambda agent: agent.weight, self, self.weight * jnp.inf), {"loss": jnp.zeros(())}

    with pytest.raises(NonFiniteError, match="the parameter weight became NaN or infinite within 2 updates"):
        train(lambda key: Failing(jnp.zeros(())), toy_task(), toy_config(offline_steps=2, eval_episodes=0), tmp_path)
    assert checkpoint_steps(tmp_path / "checkpoints") == []


@pytest.mark.parametrize("name", ["train.csv", "eval.csv", "checkpoints"])
def test_a_run_is_not_written_over_another(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(FileExistsError, match=f"{name} exists already, and a run is never overwritten"):
        train(toy_build, toy_task(), toy_config(), tmp_path)
    assert (tmp_path / name).read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {name, LOCK}


def test_ctrl_c_in_an_evaluation_loses_nothing(tmp_path):
    class Interrupting(Line):
        def step(self, action):
            raise KeyboardInterrupt

    task = ToyTask(toy_task().dataset, make_environment=Interrupting)
    result = train(toy_build, task, toy_config(save_interval=0), tmp_path)
    assert result.stopped_by == signal.SIGINT
    assert result.steps == 10
    restored = restore_checkpoint(tmp_path / "checkpoints", toy_state(0))
    assert restored.step == 10
    assert_same(restored.tree.agents, result.agents)


ENDLESS = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from toy_run import toy_build, toy_config, toy_task
from floqzoo.training import train
config = toy_config(offline_steps=10**9, log_interval=1000, eval_interval=0, save_interval=0)
result = train(toy_build, toy_task(), config, Path({directory!r}))
print("result", int(result.stopped_by), result.steps)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_usable_checkpoint_and_metrics(tmp_path, number):
    """A real process, interrupted by a real signal once it has written its first rows."""
    script = ENDLESS.format(tests=str(Path(__file__).parent), directory=str(tmp_path))
    command = [sys.executable, "-c", script]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not (tmp_path / "train.csv").exists():
            assert process.poll() is None, process.stderr.read()
            os.sched_yield()
        process.send_signal(number)
        output, errors = process.communicate(timeout=300)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    steps = int(output.split()[-1])
    assert int(output.split()[-2]) == number
    restored = restore_checkpoint(tmp_path / "checkpoints", toy_state(0))
    assert restored.step == steps
    assert read_metrics(tmp_path / "train.csv")["step"][-1] == steps
    assert all(np.isfinite(leaf).all() for leaf in named_leaves(split_arrays(restored.tree.agents)[0]).values())


@pytest.mark.parametrize(
    ("intervals", "step", "at_most", "expected"),
    [
        ((1_000_000, 5_000, 100_000, 1_000_000), 0, 100, 100),
        ((1_000_000, 5_000, 100_000, 1_000_000), 1_230, 100, 10),
        ((30, 20, 0, 0), 0, 100, 10),
        ((7, 5, 3, 2), 0, 100, 1),
        ((97, 97, 0, 97), 0, 10, 1),
    ],
)
def test_a_call_divides_every_interval_and_the_way_to_it(intervals, step, at_most, expected):
    names = ("offline_steps", "log_interval", "eval_interval", "save_interval")
    config = toy_config(**dict(zip(names, intervals, strict=True)))
    assert updates_in_a_call(config, step, at_most) == expected
