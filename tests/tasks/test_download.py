"""OGBench's own files, from a server of this machine that can be slow, and break off."""

import http.server
import threading
from contextlib import contextmanager

import pytest

from floqzoo.tasks.download import DownloadError, UnreachableError, official_file
from floqzoo.tasks.names import task_name


pytest.importorskip("ogbench")
NAME = task_name("pointmaze-medium-navigate-singletask-task1-v0")
FILES = ["pointmaze-medium-navigate-v0-val.npz", "pointmaze-medium-navigate-v0.npz"]
CONTENT = bytes(range(256)) * 40
PATIENCE = 60


class Host(http.server.ThreadingHTTPServer):
    """Pauses during a file until it may continue, and interrupts the given files."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.broken, self.status = [], set(), 200
        self.begun, self.may_go_on = threading.Event(), threading.Event()
        self.may_go_on.set()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Host

    def do_GET(self):
        name = self.path.removeprefix("/")
        self.server.asked.append(name)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:500])
        self.wfile.flush()
        self.server.begun.set()
        self.server.may_go_on.wait(PATIENCE)
        if name not in self.server.broken:
            self.wfile.write(CONTENT[500:])

    def log_message(self, format, *args):
        pass


@pytest.fixture
def host(monkeypatch):
    import ogbench.utils

    with Host() as host:
        threading.Thread(target=host.serve_forever, daemon=True).start()
        monkeypatch.setattr(ogbench.utils, "DATASET_URL", f"http://127.0.0.1:{host.server_port}")
        yield host
        host.may_go_on.set()
        host.shutdown()


@contextmanager
def in_the_midst_of_a_download(host, directory):
    """Another one of the same dataset is under way in the block, and is done after it."""
    host.may_go_on.clear()
    found = []
    other = threading.Thread(target=lambda: found.append(official_file(NAME, directory)))
    other.start()
    assert host.begun.wait(PATIENCE)
    yield
    host.may_go_on.set()
    other.join(PATIENCE)
    assert found == [directory / FILES[-1]]


def files_in(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_of_those_that_begin_at_once_one_downloads_and_the_others_are_told(host, tmp_path):
    with in_the_midst_of_a_download(host, tmp_path):
        for _ in range(3):
            with pytest.raises(BlockingIOError, match=r"another process is downloading into .*Wait until it ends"):
                official_file(NAME, tmp_path)
        assert not any(path.is_file() for path in tmp_path.iterdir())
    assert official_file(NAME, tmp_path) == tmp_path / FILES[-1]
    assert host.asked == FILES
    assert files_in(tmp_path) == dict.fromkeys(FILES, CONTENT)


@pytest.mark.parametrize("broken", FILES)
def test_a_connection_that_ends_early_is_an_error_and_no_dataset(host, tmp_path, broken):
    """It looks like the end of the file; what came whole is kept, and the rest is asked for again."""
    host.broken.add(broken)
    with pytest.raises(
        DownloadError,
        match=r"download failed .the connection ended 9,740 bytes too early.*--collect_episodes=150.*`floqzoo collect pointmaze-",
    ):
        official_file(NAME, tmp_path)
    whole = FILES[: FILES.index(broken)]
    assert files_in(tmp_path) == dict.fromkeys(whole, CONTENT)
    host.broken.clear()
    assert official_file(NAME, tmp_path) == tmp_path / FILES[-1]
    assert host.asked == [*whole, broken, *FILES[len(whole) :]]
    assert files_in(tmp_path) == dict.fromkeys(FILES, CONTENT)


@pytest.mark.parametrize("there", FILES)
def test_a_file_that_is_there_is_not_replaced(host, tmp_path, there):
    (tmp_path / there).write_bytes(b"mine")
    official_file(NAME, tmp_path)
    assert files_in(tmp_path) == {**dict.fromkeys(FILES, CONTENT), there: b"mine"}
    assert host.asked == [name for name in FILES if name != there]


def test_what_the_network_is_not_to_blame_for_is_no_failed_download(host, monkeypatch, tmp_path):
    """A full disk is not put right by another start."""

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="No space left") as error:
        official_file(NAME, tmp_path)
    assert not isinstance(error.value, ConnectionError)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, UnreachableError), (404, UnreachableError), *((code, DownloadError) for code in (408, 429, 500, 503))],
)
def test_an_answer_that_may_differ_next_time_is_told_from_one_that_will_not(host, tmp_path, status, error):
    host.status = status
    with pytest.raises(error, match=str(status)):
        official_file(NAME, tmp_path)
