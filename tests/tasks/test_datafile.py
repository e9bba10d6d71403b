"""What only looks like OGBench's file format is refused, whatever is wrong with it."""

import io
import tracemalloc
import zipfile

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from floqzoo.tasks import datafile
from floqzoo.tasks.datafile import MEMORY, available_memory, read_datafile


ROWS = 12


def good():
    random = np.random.default_rng(0)
    return {
        "observations": random.normal(size=(ROWS, 3)).astype(np.float32),
        "actions": random.uniform(-1, 1, size=(ROWS, 2)).astype(np.float32),
        "terminals": np.arange(ROWS) % 4 == 3,
        "qpos": random.normal(size=(ROWS, 5)).astype(np.float32),
        "button_states": random.integers(0, 2, size=(ROWS, 2)),
    }


def written(directory, arrays):
    path = directory / "data.npz"
    np.savez_compressed(path, **arrays)
    return path


def with_nan(array):
    array = array.copy()
    array[2, 1] = np.nan
    return array


def test_good_arrays_come_back(tmp_path):
    read = read_datafile(written(tmp_path, {**good(), "more": np.zeros(1)}), needs_buttons=True)
    assert read.keys() == good().keys()
    for key, array in good().items():
        np.testing.assert_array_equal(read[key], array)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_terminals_may_be_numbers(tmp_path, dtype):
    path = written(tmp_path, {**good(), "terminals": good()["terminals"].astype(dtype)})
    terminals = read_datafile(path, needs_buttons=False)["terminals"]
    assert terminals.dtype == bool
    np.testing.assert_array_equal(terminals, good()["terminals"])


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("qpos", None, "lacks qpos, and has actions, button_states, observations, terminals"),
        ("button_states", None, "lacks button_states"),
        ("observations", lambda a: a.astype(object), "`observations` cannot be read as plain numbers"),
        ("terminals", lambda a: a.astype(object), "`terminals` cannot be read as plain numbers"),
        ("observations", lambda a: a.astype(str), "`observations` must be an array of real numbers; got dtype <U32"),
        ("observations", lambda a: a.astype(float), "`observations` must have dtype float32; got float64"),
        ("actions", lambda a: a.astype(int), "`actions` must have dtype float32; got int64"),
        ("actions", lambda a: a[:, 0], "`actions` must have `ndim` 2; got the shape"),
        ("qpos", lambda a: a[1:], "`qpos` must have 12 rows, as `observations` has; got 11"),
        ("qpos", with_nan, "`qpos` has a NaN or an infinity, first in row 2"),
        ("terminals", lambda a: a + 1, "`terminals` must be 0 or 1; row . has 2"),
        ("terminals", lambda a: a[:, None], "`terminals` must have `ndim` 1; got the shape"),
        ("button_states", lambda a: a + 0.5, "`button_states` must have an integer dtype; got float64"),
    ],
)
def test_bad_arrays_are_refused(tmp_path, key, change, message):
    arrays = good()
    array = arrays.pop(key)
    if change is not None:
        arrays[key] = change(array)
    path = written(tmp_path, arrays)
    with pytest.raises(ValueError, match=message) as caught:
        read_datafile(path, needs_buttons=True)
    assert str(path) in str(caught.value)


@given(end=st.floats(0, 1, exclude_max=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_file_is_refused_wherever_it_was_cut(tmp_path, end):
    whole = written(tmp_path, good()).read_bytes()
    cut = tmp_path / "cut.npz"
    cut.write_bytes(whole[: int(end * len(whole))])
    with pytest.raises(ValueError, match=r"cut\.npz is truncated, or not an npz file"):
        read_datafile(cut, needs_buttons=True)


@given(place=st.integers(0, 10**6), change=st.integers(1, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_spoilt_file_is_refused_or_reads_the_same(tmp_path, place, change):
    spoilt = bytearray(written(tmp_path, good()).read_bytes())
    spoilt[place % len(spoilt)] ^= change
    path = tmp_path / "spoilt.npz"
    path.write_bytes(spoilt)
    try:
        read = read_datafile(path, needs_buttons=True)
    except ValueError:
        return  # Any other error fails the test.
    for key, array in good().items():
        np.testing.assert_array_equal(read[key], array)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a dataset", b"\x93NUMPY\x01\x00"])
def test_what_is_no_npz_is_refused(tmp_path, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="truncated, or not an npz file"):
        read_datafile(path, needs_buttons=False)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere\.npz"):
        read_datafile(tmp_path / "nowhere.npz", needs_buttons=False)


@pytest.mark.parametrize("rows", [13, 10**13])
def test_a_header_that_claims_more_than_there_is_is_refused_before_anything_is_made(tmp_path, rows):
    arrays = good()
    text = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, *arrays["actions"].shape[1:])}
    np.lib.format.write_array_header_1_0(text, header)
    path = tmp_path / "claims.npz"
    with zipfile.ZipFile(written(tmp_path, arrays)) as source, zipfile.ZipFile(path, "w") as file:
        for name in source.namelist():
            content = source.read(name)
            file.writestr(name, text.getvalue() + arrays["actions"].tobytes() if name == "actions.npy" else content)
    with pytest.raises(
        ValueError, match=r"`actions` cannot be read as plain numbers: its header declares [\d,]+ bytes"
    ):
        read_datafile(path, needs_buttons=True)


def with_header_of(path, source, version, length):
    """A copy of a file in which the header of `actions` is padded to a length."""
    magic = np.lib.format.magic(*version)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "actions.npy":
                start = 10 + int.from_bytes(content[8:10], "little")
                header = content[10:start].rstrip().ljust(length - 1) + b"\n"
                content = magic + length.to_bytes(2 if version == (1, 0) else 4, "little") + header + content[start:]
            new.writestr(name, content)
    return path


@pytest.mark.parametrize(("version", "length"), [((1, 0), 10_001), ((2, 0), 10_001), ((2, 0), 10**7)])
def test_a_header_above_the_limit_is_refused_unread(tmp_path, version, length):
    source = written(tmp_path, good())
    read_datafile(with_header_of(tmp_path / "long.npz", source, version, 10_000), needs_buttons=True)
    path = with_header_of(tmp_path / "longer.npz", source, version, length)
    tracemalloc.start()
    try:
        with pytest.raises(
            ValueError,
            match=rf"`actions` .*: its header must have at most 10,000 bytes; it has {length:,}, so the file",
        ):
            read_datafile(path, needs_buttons=True)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_an_array_that_does_not_fit_into_memory_is_named(tmp_path, monkeypatch):
    def too_large(*_, **__):
        raise MemoryError("Unable to allocate 8 EiB")

    monkeypatch.setattr(np.lib.format, "read_array", too_large)
    with pytest.raises(ValueError, match=r"`observations` cannot be read .* Unable to allocate 8 EiB"):
        read_datafile(written(tmp_path, good()), needs_buttons=True)


def test_arrays_that_together_exceed_half_of_the_available_memory_are_refused_unread(tmp_path, monkeypatch):
    arrays = good() | {"qpos": np.random.default_rng(0).normal(size=(12, 4_000))}
    path = written(tmp_path, arrays)
    monkeypatch.setattr(datafile, "_read_array", None)
    monkeypatch.setattr(datafile, "available_memory", lambda: 2 * 384_128)  # enough for `qpos` alone
    with pytest.raises(
        ValueError, match=r"its arrays take 38[\d,]+ bytes; the limit is 384,128 bytes, half of the available memory"
    ) as caught:
        read_datafile(path, needs_buttons=True)
    assert str(path) in str(caught.value)


def test_available_memory_is_what_the_system_says():
    assert 2**20 < available_memory() <= MEMORY


def test_a_directory_that_claims_more_than_can_be_packed_is_refused(tmp_path):
    path = written(tmp_path, good())
    content = path.read_bytes()
    at = content.rindex(b"qpos.npy") - 46  # its entry in the directory at the end
    size = int.from_bytes(content[at + 24 : at + 28], "little")
    assert content[at : at + 4] == b"PK\x01\x02" and size == len(arrays_bytes("qpos"))
    path.write_bytes(content[: at + 24] + (2**31).to_bytes(4, "little") + content[at + 28 :])
    with pytest.raises(
        ValueError, match=r"`qpos` cannot be read .* it declares 2,147,483,648 bytes, more than its [\d,]+ compressed"
    ):
        read_datafile(path, needs_buttons=True)


def arrays_bytes(key):
    """The bytes of an array as an npz packs them."""
    text = io.BytesIO()
    np.save(text, good()[key])
    return text.getvalue()
