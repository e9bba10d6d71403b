"""OGBench's large datasets, from two servers of this machine: one may be damaged, slow, or lack a file."""

import hashlib
import http.server
import io
import threading

import numpy as np
import pytest

from floqzoo.tasks.download import DownloadError
from floqzoo.tasks.shard_download import MIRRORS, SHARDS, download_shards


pytest.importorskip("ogbench")
NAME = "cube-double-play-100m-v0"
FILES = [f"cube-double-play-v0-{number:03d}{suffix}.npz" for number in (0, 1) for suffix in ("-val", "")]


def content(name):
    """A small npz, which differs from file to file."""
    written = io.BytesIO()
    np.savez(written, observations=np.arange(100) + FILES.index(name))
    return written.getvalue()


def damaged(data):
    """The same length, with another number in the array."""
    at = data.index(np.arange(40, 44).tobytes())
    return data[:at] + b"\xff" + data[at + 1 :]


class Hosts(http.server.ThreadingHTTPServer):
    """Two mirrors, /first and /second; `answers` has what replaces a file: bytes, None for a file that is not there."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked, self.promised = {}, [], {}


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hosts

    def do_GET(self):
        _, mirror, name, file = self.path.split("/")
        assert name == NAME
        self.server.asked.append((mirror, file))
        data = self.server.answers.get((mirror, file), content(file))
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data) + self.server.promised.get((mirror, file), 0)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def hosts(monkeypatch):
    with Hosts() as hosts:
        threading.Thread(target=hosts.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{hosts.server_port}"
        monkeypatch.setattr("floqzoo.tasks.shard_download.MIRRORS", (f"{root}/first", f"{root}/second"))
        yield hosts
        hosts.shutdown()


def files_in(directory):
    return {path.name: path.read_bytes() for path in sorted((directory / NAME).iterdir())}


def test_every_file_comes_from_the_first_mirror_in_order_and_is_not_asked_for_again(hosts, tmp_path):
    assert download_shards(NAME, tmp_path, shards=1) == tmp_path / NAME
    assert hosts.asked == [("first", name) for name in FILES[:2]]
    download_shards(NAME, tmp_path, shards=2)
    assert hosts.asked == [("first", name) for name in FILES]
    assert files_in(tmp_path) == {name: content(name) for name in sorted(FILES)}
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


CORRUPTIONS = {
    "missing": (lambda hosts, at: hosts.answers.update({at: None}), "404"),
    "cut off": (lambda hosts, at: hosts.promised.update({at: 7}), "the connection ended 7 bytes too early"),
    "truncated": (
        lambda hosts, at: hosts.answers.update({at: content(at[1])[:-30]}),
        "it is damaged: File is not a zip",
    ),
    "changed": (
        lambda hosts, at: hosts.answers.update({at: damaged(content(at[1]))}),
        "the checksum of observations.npy",
    ),
    "a page": (lambda hosts, at: hosts.answers.update({at: b"<html>"}), "it is damaged: File is not a zip file"),
}


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_what_is_damaged_comes_from_the_next_mirror_or_is_refused(hosts, tmp_path, kind):
    corrupt, message = CORRUPTIONS[kind]
    corrupt(hosts, ("first", FILES[2]))
    download_shards(NAME, tmp_path, shards=2)
    assert hosts.asked == [*(("first", name) for name in FILES[:3]), ("second", FILES[2]), ("first", FILES[3])]
    assert files_in(tmp_path) == {name: content(name) for name in sorted(FILES)}
    (tmp_path / NAME / FILES[2]).unlink()
    corrupt(hosts, ("second", FILES[2]))
    with pytest.raises(DownloadError, match=rf"{FILES[2]} of .*/first: .*{message}.*/second: .*{message}") as failure:
        download_shards(NAME, tmp_path, shards=2)
    assert "\n" not in str(failure.value)
    assert files_in(tmp_path) == {name: content(name) for name in sorted(FILES) if name != FILES[2]}
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_known_checksums_are_compared(hosts, tmp_path):
    lines = [f"{hashlib.sha256(content(name)).hexdigest()}  {name}" for name in FILES]
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "SHA256SUMS").write_text("\n".join(lines))
    hosts.answers["first", FILES[1]] = content(FILES[0])  # intact, but another file
    download_shards(NAME, tmp_path, shards=2)
    assert ("second", FILES[1]) in hosts.asked
    assert (tmp_path / NAME / FILES[1]).read_bytes() == content(FILES[1])
    (tmp_path / NAME / FILES[1]).unlink()
    (tmp_path / NAME / "SHA256SUMS").write_text(f"{'0' * 64} *{FILES[1]}\n")
    with pytest.raises(DownloadError, match=r"its SHA-256 is not the one in SHA256SUMS.*its SHA-256"):
        download_shards(NAME, tmp_path, shards=2)
    (tmp_path / NAME / "SHA256SUMS").write_text("nothing")
    with pytest.raises(
        ValueError,
        match=r"each line of .*SHA256SUMS must be a SHA-256 and a file name, as `sha256sum` writes them; got 'nothing'",
    ):
        download_shards(NAME, tmp_path, shards=2)


def test_a_full_disk_is_no_fault_of_a_mirror(hosts, monkeypatch, tmp_path):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="No space left") as error:
        download_shards(NAME, tmp_path, shards=1)
    assert not isinstance(error.value, ConnectionError)
    assert len(hosts.asked) == 1


def test_names_and_numbers_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`name` must be one of humanoidmaze-giant-navigate-100m-v0, .*; got 'cube'"):
        download_shards("cube", tmp_path)
    for shards in (0, 101):
        with pytest.raises(
            ValueError, match=rf"`shards` must be from 1 to 100, the number of shards of {NAME}; got {shards}"
        ):
            download_shards(NAME, tmp_path, shards=shards)
    assert not list(tmp_path.iterdir())


def test_the_mirrors_and_the_numbers_of_shards_are_those_of_the_official_code():
    assert MIRRORS[0] == "https://rail.eecs.berkeley.edu/datasets/ogbench"
    assert {count for name, count in SHARDS.items() if not name.startswith("humanoid")} == {100}
    assert SHARDS["humanoidmaze-giant-navigate-100m-v0"] == 25
