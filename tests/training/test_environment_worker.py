import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from toy_run import Line
from worlds import Deadly, Failing, Gated, Observing, Stillborn, StrangeError

from floqzoo.rollout import EnvironmentWorker, WorkerCrashedError
from floqzoo.rollout.episode_player import EpisodePlayer, numpy_state_kept
from floqzoo.tasks.own_code import module_of_file


pytestmark = pytest.mark.slow


ACTIONS = np.random.default_rng(0).uniform(-1, 1, (8, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def worker():
    with closing(EnvironmentWorker(Line)) as worker:
        yield worker


def played(player, actions=ACTIONS, episode=3, seed=5):
    """All that an episode shows."""
    with numpy_state_kept():
        player.begin(episode, seed)
        seen = [*player.receive_start().tolist()]
        for action in actions:
            player.step(action)
            outcome = player.receive_step()
            seen += [
                *outcome.observation.tolist(),
                outcome.reward,
                outcome.terminated,
                outcome.truncated,
                outcome.success,
            ]
            if outcome.over:
                break
    return seen


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.lists(st.floats(-1, 1, width=32), max_size=14))
@settings(max_examples=15)
def test_an_episode_in_a_process_of_its_own_is_the_same(worker, episode, seed, actions):
    actions = np.array(actions, np.float32).reshape(-1, 1)
    assert played(worker, actions, episode, seed) == played(EpisodePlayer(Line()), actions, episode, seed)


@pytest.mark.parametrize("name", ["make", "Own"])
def test_an_environment_of_a_users_file_or_of_its_folder_is_made_in_the_process(tmp_path, name):
    """The file is named by its path, so neither of the two modules can be imported otherwise."""
    (tmp_path / "world_of_a_user.py").write_text("from toy_run import Line\n\n\nclass Own(Line):\n    pass\n")
    file = tmp_path / "task_of_a_user.py"
    file.write_text("from world_of_a_user import Own\n\n\ndef make():\n    return Own()\n")
    with closing(EnvironmentWorker(getattr(module_of_file(file), name))) as worker:
        assert played(worker) == played(EpisodePlayer(Line()))


def test_observations_have_the_kind_that_they_have_here(worker):
    played(worker)
    worker.begin(0, 0)
    here = EpisodePlayer(Line())
    with numpy_state_kept():
        here.begin(0, 0)
    assert worker.receive_start().dtype == here.receive_start().dtype
    assert worker.action_space == here.action_space


def test_an_answer_that_nobody_received_is_dropped(worker):
    worker.begin(1, 1)
    worker.begin(2, 1)
    worker.receive_start()
    worker.step(ACTIONS[0])
    assert played(worker) == played(EpisodePlayer(Line()))


def test_an_episode_whose_process_is_killed_is_the_same(worker):
    """A real SIGKILL, with a step under way."""

    class Killed:
        def __init__(self):
            self.steps, self.begin, self.receive_start = 0, worker.begin, worker.receive_start

        def step(self, action):
            worker.step(action)
            if self.steps == 4:
                os.kill(worker.process_number, signal.SIGKILL)
            self.steps += 1

        def receive_step(self):
            return worker.receive_step()

    before = worker.process_number
    assert played(Killed()) == played(EpisodePlayer(Line()))
    assert worker.process_number != before


def test_an_environment_that_kills_its_process_plays_on_until_it_did_so_three_times_in_an_episode(tmp_path):
    lives = tmp_path / "lives"
    with closing(EnvironmentWorker(partial(Deadly, lives, signal.SIGSEGV))) as worker:
        lives.write_text("3")
        with pytest.raises(WorkerCrashedError, match=r"episode 3 of seed 5 crashed its process 3 times: .* code -11"):
            played(worker)
        assert lives.read_text() == "0"
        lives.write_text("2")
        assert played(worker, episode=4) == played(EpisodePlayer(Line()), episode=4)
        assert lives.read_text() == "0"


def test_a_process_that_never_gets_ready_is_an_error():
    with (
        closing(EnvironmentWorker(Stillborn)) as worker,
        pytest.raises(WorkerCrashedError, match=r"before it was ready, with exit code 7; a script must .*__main__"),
    ):
        _ = worker.action_space


def test_what_an_environment_raises_is_raised_here():
    with closing(EnvironmentWorker(partial(Failing, IndexError, "too far"))) as worker:
        for _ in range(2):
            with pytest.raises(IndexError, match="too far") as caught:
                played(worker)
            assert "in step" in caught.value.__notes__[0]


def test_an_error_that_cannot_be_sent_is_told():
    with (
        closing(EnvironmentWorker(partial(Failing, StrangeError, "odd", 1))) as worker,
        pytest.raises(RuntimeError, match="StrangeError: odd"),
    ):
        played(worker)


def test_what_making_an_environment_raises_is_raised_here():
    with (
        closing(EnvironmentWorker(partial(Line, nonsense=1))) as worker,
        pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"),
    ):
        played(worker)


def test_what_cannot_be_sent_is_refused_at_once():
    with pytest.raises(ValueError, match=r"`make_environment` must be picklable .*<lambda>.*`eval_workers=0`"):
        EnvironmentWorker(lambda: Line())


def test_the_process_opens_no_accelerator_and_leaves_signals_to_its_parent(monkeypatch):
    """And what it draws with is what this process draws with."""
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setenv("OBSERVED_GL", "osmesa")
    monkeypatch.setenv("JAX_PLATFORMS", "cuda,cpu")
    with closing(EnvironmentWorker(Observing)) as worker:
        assert os.environ["JAX_PLATFORMS"] == "cuda,cpu"
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker.process_number, number)
        process = worker.process_number
        worker.begin(0, 0)
        worker.receive_start()
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(process, number)
        worker.step(ACTIONS[0])
        np.testing.assert_array_equal(worker.receive_step().observation, np.float32([1, 1, 1, process]))


def test_a_worker_that_is_given_up_answers_nobody(tmp_path):
    with closing(EnvironmentWorker(partial(Gated, tmp_path))) as worker:
        worker.begin(0, 0)
        worker.receive_start()
        worker.step(ACTIONS[0])
        worker.give_up()
        with pytest.raises(WorkerCrashedError):
            worker.receive_step()


def test_closed_is_ended(tmp_path):
    """Also one that is not ready yet, and twice."""
    before = set(multiprocessing.active_children())
    workers = [EnvironmentWorker(Line) for _ in range(2)]
    _ = workers[0].action_space
    for worker in [*workers, *workers]:
        worker.close()
    assert set(multiprocessing.active_children()) <= before


ORPHAN = """
import sys
from functools import partial
from pathlib import Path
sys.path.insert(0, {tests!r})
import numpy as np
from worlds import Gated
from floqzoo.rollout import EnvironmentWorker
worker = EnvironmentWorker(partial(Gated, Path({directory!r})))
worker.begin(0, 0)
worker.receive_start()
{then}
"""


@pytest.mark.parametrize("then", ["worker.step(np.ones(1, np.float32)); worker.receive_step()", ""])
def test_no_process_outlives_its_parent(tmp_path, then):
    """Neither one that is killed while the environment is within a step, nor one that ends without closing it."""
    script = ORPHAN.format(tests=str(Path(__file__).parent), directory=str(tmp_path), then=then)
    script = script.replace("worker.begin", "print(worker.process_number, flush=True); worker.begin")
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    number = int(parent.stdout.readline())
    if then:
        wait_until((tmp_path / "waiting").exists)
        parent.kill()
    parent.communicate(timeout=60)
    wait_until(lambda: not is_running(number))


ELSEWHERE = """
import sys
sys.path[:0] = {paths!r}
from toy_run import Line
from floqzoo.rollout import EnvironmentWorker
if __name__ == "__main__":
    worker = EnvironmentWorker(Line)
    worker.begin(0, 0)
    print(*worker.receive_start().shape)
    worker.close()
"""


def test_a_process_imports_what_its_parent_has_imported(tmp_path):
    """Also where the parent has put that on its path itself, and something else has its name."""
    (tmp_path / "floqzoo").mkdir()
    (tmp_path / "floqzoo" / "__init__.py").touch()
    paths = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
    (tmp_path / "program.py").write_text(ELSEWHERE.format(paths=paths))
    variables = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "program.py"]
    process = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (0, "2\n"), process.stderr


def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    latest = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < latest
        time.sleep(0.01)


def is_running(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
