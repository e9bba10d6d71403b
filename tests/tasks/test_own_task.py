"""Tasks of one's own: their environment as evaluations see it, and what is refused."""

import pickle
import subprocess
import sys
from dataclasses import replace

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from own import DATASET, Push, make, passing, push, record

import floqzoo as fz
from floqzoo.policies import FunctionPolicy
from floqzoo.protocols import Task
from floqzoo.rollout import evaluate
from floqzoo.tasks import ShardedDataset, own_task, read_dataset, write_episodes
from floqzoo.tasks.own_code import ForAnotherProcess, module_of_file
from floqzoo.tasks.own_environment import prepared_environment
from floqzoo.tasks.own_task import is_reference, task_label
from floqzoo.tasks.read_ahead import ReadAhead
from floqzoo.tasks.recorded_episodes import concatenated_episodes


def always(action: float) -> fz.ActorCritic:
    return fz.ActorCritic(None, FunctionPolicy(lambda observation: jnp.full((1,), action, observation.dtype)))


@given(st.floats(-1, 1, width=32))
def test_the_policys_box_is_the_environments(action):
    environment = push().make_environment()
    environment.reset(seed=0)
    environment.step(np.array([action], np.float32))
    np.testing.assert_allclose(environment.unwrapped.taken, [1.5 + 1.5 * action], atol=1e-6)


def test_actions_of_the_data_and_of_the_environment_are_mapped_alike():
    """A policy that repeats an action of the data, in [-1, 1], makes the step of the data."""
    environment = push().make_environment()
    start, _ = environment.reset(seed=0)
    np.testing.assert_allclose(start, DATASET.observations[0], rtol=1e-6)
    following, reward, *_ = environment.step(np.asarray(DATASET.actions[0]))
    np.testing.assert_allclose(following, DATASET.observations[1], atol=1e-6)
    np.testing.assert_allclose(reward, DATASET.rewards[0], atol=1e-6)


@pytest.mark.parametrize("at", ["last", "any"])
def test_success_is_of_the_last_step_or_of_any(at):
    task = push(success_key="passed", success_at=at)
    found = evaluate(always(0.5), task.make_environment, episodes=20, seed=0)
    environment, passed = make(), []
    for episode in range(20):
        entropy = np.random.SeedSequence([0, episode])
        environment.reset(seed=int(entropy.generate_state(2)[0]))
        passed.append([environment.step(np.array([2.25]))[4]["passed"] for _ in range(6)])
    wanted = np.any(passed, axis=1) if at == "any" else np.array(passed)[:, -1]
    np.testing.assert_array_equal(found.success, wanted)
    assert found.reports_success
    assert 0 < found.success_rate < 1 or at == "last"


def test_without_success_returns_and_lengths_are_what_is_measured():
    found = evaluate(always(0.0), push().make_environment, episodes=5, seed=0)
    assert not found.reports_success
    assert (found.length == 6).all()
    metrics = found.metrics("evaluation")
    assert set(metrics) == {
        "evaluation/episode.return",
        "evaluation/episode.return_standard_error",
        "evaluation/episode.length",
    }
    returns = np.asarray(found.episode_return)
    np.testing.assert_allclose(metrics["evaluation/episode.return"], returns.mean())
    np.testing.assert_allclose(
        metrics["evaluation/episode.return_standard_error"], np.sqrt(np.var(returns, ddof=1) / 5)
    )
    assert str(found).startswith(f"{returns.mean():.4g} ± ")


def test_it_is_a_task_and_says_what_it_is():
    task = passing()
    assert isinstance(task, Task)
    assert (task.observation_dim, task.action_dim) == (2, 1)
    described = task.describe()
    assert described["fingerprint"] == DATASET.fingerprint()
    assert (described["success_key"], described["reference_returns"]) == ("passed", [-20.0, 0.0])


class Images(Push):
    def __init__(self):
        super().__init__()
        self.observation_space = gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8)


class Records(Push):
    def __init__(self):
        super().__init__()
        self.observation_space = gymnasium.spaces.Dict({"x": self.observation_space})


class Choices(Push):
    def __init__(self):
        super().__init__()
        self.action_space = gymnasium.spaces.Discrete(3)


class Unbounded(Push):
    def __init__(self):
        super().__init__()
        self.action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)


class Wider(Push):
    def __init__(self):
        super().__init__()
        self.action_space = gymnasium.spaces.Box(0, 3, (2,), np.float32)


class Counts(Push):
    def __init__(self):
        super().__init__()
        self.action_space = gymnasium.spaces.Box(0, 3, (1,), np.int32)


class Bytes(Push):
    def __init__(self):
        super().__init__()
        self.observation_space = gymnasium.spaces.Box(0, 255, (2,), np.uint8)


class Stronger(Push):
    def __init__(self):
        super().__init__()
        self.action_space = gymnasium.spaces.Box(0, 4, (1,), np.float32)


UNMAPPED = replace(DATASET, action_bounds=None)


class Bounded(gymnasium.Env):
    """Refuses actions out of its box, as robots do."""

    def __init__(self, low, high):
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.action_space = gymnasium.spaces.Box(low, high, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(np.asarray(action, np.float32))
        return np.zeros(1, np.float32), 0.0, False, False, {}


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=2, unique=True).map(sorted),
    st.floats(-1, 1, width=32),
)
def test_no_rounding_leads_out_of_a_box(bounds, action):
    environment = prepared_environment(Bounded(*bounds), success_key=None, any_step=False, max_episode_steps=3)
    for each in (action, -1.0, 1.0):
        environment.reset()
        environment.step(np.array([each], np.float32))


@pytest.mark.slow
def test_code_of_a_file_is_found_by_other_processes(tmp_path):
    """Which cannot import the module of the file by its name; the file may import another one of its folder."""
    (tmp_path / "beside.py").write_text("SPEED = 2.5\n")
    file = tmp_path / "of_a_user.py"
    file.write_text(
        "import gymnasium\nimport numpy as np\nfrom pathlib import Path\nfrom beside import SPEED\n"
        "from floqzoo.tasks import read_dataset\n\n\n"
        "def speed():\n    return SPEED\n\n\n"
        "def read(path: Path):\n    return read_dataset(path)\n"
    )
    module = module_of_file(file)
    packed = ForAnotherProcess.of(module.speed)
    code = (
        "import sys, pickle; packed = pickle.loads(bytes.fromhex(sys.argv[1])); "
        "assert 'floqzoo_own_of_a_user' not in sys.modules; print(packed.value()())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, pickle.dumps(packed).hex()], capture_output=True, text=True, check=True
    )
    assert told.stdout == "2.5\n"

    paths = [tmp_path / "shard.npz"]
    write_episodes(paths[0], recorded_of_push())
    dataset = ShardedDataset(paths, module.read, reward_range=(-100.0, 0.0))
    ahead = ReadAhead(dataset)
    try:
        np.testing.assert_array_equal(ahead.receive(0)["rewards"], read_dataset(paths[0]).rewards)
    finally:
        ahead.close()


def recorded_of_push():
    return concatenated_episodes([record(0), record(1)], action_low=0, action_high=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"environment": Images}, r"observation space of Images must be a Box of one axis.*it is Box\(0, 255"),
        ({"environment": Records}, "observation space of Records must be a Box.*FlattenObservation"),
        ({"environment": Choices}, r"action space of Choices must be a Box.*it is Discrete\(3\)"),
        ({"environment": Unbounded}, "action space of Unbounded must have finite bounds"),
        ({"environment": Counts}, r"action space of Counts must be of floating-point numbers; it is Box\(0, 3"),
        (
            {"environment": Bytes},
            "must both be uint8, or neither; got float32 in `dataset` and uint8 .*DtypeObservation",
        ),
        ({"environment": Stronger}, r"between the environment's bounds, Box\(0.0, 4.0.*between \[0.0\] and \[3.0\]"),
        (
            {"validation": UNMAPPED},
            r"`validation` must .* 1 in an action, between \[0.0\] and \[3.0\], as `dataset` has; got 2 numbers",
        ),
        ({"environment": Wider}, "`dataset` must have actions of 2 numbers, as the environment has; got 1"),
        ({"max_episode_steps": None}, "`max_episode_steps` must be set for Push, which is neither"),
        ({"max_episode_steps": 0}, "`max_episode_steps` must be at least 1; got 0"),
        ({"success_at": "first"}, "`success_at` must be 'last' or 'any'; got 'first'"),
        ({"reference_returns": (0.0, -1.0)}, r"`reference_returns` must be ascending; got \(0.0, -1.0\)"),
        ({"name": ""}, "`name` must not be empty"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        push(**changes)


def test_a_step_limit_may_be_a_wrapper_of_the_environment():
    def limited():
        return gymnasium.wrappers.OrderEnforcing(gymnasium.wrappers.TimeLimit(make(), 4))

    task = push(environment=limited, max_episode_steps=None)
    assert (evaluate(always(0.0), task.make_environment, episodes=2, seed=0).length == 4).all()


def test_a_step_limit_cannot_exceed_that_of_the_environment():
    def limited():
        return gymnasium.wrappers.OrderEnforcing(gymnasium.wrappers.TimeLimit(make(), 4))

    with pytest.raises(ValueError, match="`max_episode_steps` must be at most 4, the step limit of Push itself; got 5"):
        push(environment=limited, max_episode_steps=5)
    for limit in (3, 4):
        task = push(environment=limited, max_episode_steps=limit)
        assert (evaluate(always(0.0), task.make_environment, episodes=2, seed=0).length == limit).all()


def test_a_missing_success_key_is_named():
    with pytest.raises(
        ValueError, match=r"must report `info\['won'\]`, the task's `success_key`; its info has \['passed'\]"
    ):
        evaluate(always(0.0), push(success_key="won").make_environment, episodes=1, seed=0)


def test_an_observation_that_is_not_finite_is_blamed_on_the_environment():
    broken = push(environment=lambda: Push(broken_at=3))
    with pytest.raises(ValueError, match="the observation of the environment Push is not finite in step 3"):
        evaluate(always(0.0), broken.make_environment, episodes=1, seed=0)


@pytest.mark.parametrize("step", [0, 3])
def test_an_observation_of_another_width_is_blamed_on_the_environment(step):
    class Wide(gymnasium.ObservationWrapper):
        steps = -1

        def observation(self, observation):
            self.steps += 1
            return np.append(observation, 1.0) if self.steps == step else observation

    with pytest.raises(
        ValueError, match=rf"the observation of the environment Push must have the shape .* in step {step}"
    ):
        evaluate(always(0.0), push(environment=lambda: Wide(Push())).make_environment, episodes=1, seed=0)


def test_a_task_without_environment_has_none():
    task = push(environment=None)
    assert task.make_environment is None
    assert isinstance(task, Task)
    assert jax.tree.leaves(task.dataset)


FILE = __file__.replace("test_own_task", "own")


@pytest.mark.parametrize(("name", "reports"), [("push", None), ("passing", "passed")])
def test_a_task_is_found_by_its_file(name, reports):
    task = own_task(f"{FILE}:{name}")
    assert task.success_key == reports
    assert own_task(f"own:{name}").success_key == reports


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        (f"{FILE}:nothing", ValueError, "does not define 'nothing'"),
        (f"{FILE}:number", ValueError, "must be a task.*got a int, which lacks dataset"),
        ("/no/where.py:task", FileNotFoundError, "there is no file /no/where.py"),
        ("no_such_module:task", ValueError, "the module 'no_such_module' cannot be imported"),
        (f"{FILE}:", ValueError, "must be FILE.py:NAME or MODULE:NAME"),
        (":task", ValueError, "must be FILE.py:NAME or MODULE:NAME"),
    ],
)
def test_a_task_that_is_not_there_is_named(reference, error, message):
    assert is_reference(reference)
    with pytest.raises(error, match=message):
        own_task(reference)


def test_labels_leave_folders_out():
    assert task_label("/some/where/pendulum.py:pendulum") == "pendulum.py:pendulum"
    assert task_label("cube-single-play-singletask-v0") == "cube-single-play-singletask-v0"
