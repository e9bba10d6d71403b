"""Whatever happens to a checkpoint on the disk is found before it is read."""

import shutil

import pytest
from hypothesis import given, strategies as st
from toy_run import toy_state

from floqzoo.runs import DamagedError, restore_checkpoint, save_checkpoint
from floqzoo.runs.checkpoint import verify, written_atomically


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of two steps."""
    directory = tmp_path_factory.mktemp("run") / "checkpoints"
    for step in (1, 2):
        save_checkpoint(directory, toy_state(step), step, {"number": step})
    return directory


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoints")


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@given(st.data())
def test_a_byte_that_is_not_as_it_was_is_found(saved, data):
    """In any file of a real checkpoint, the manifest among them, at any place, changed to anything."""
    folder = saved / "step_000000002"
    path = data.draw(st.sampled_from([path for path in files(folder) if path.stat().st_size]))
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    change = data.draw(st.integers(1, 255))
    try:
        path.write_bytes(content[:at] + bytes([content[at] ^ change]) + content[at + 1 :])
        with pytest.raises(DamagedError, match="is damaged"):
            verify(folder)
    finally:
        path.write_bytes(content)
    verify(folder)


@given(st.data())
def test_a_file_that_ends_early_is_found(saved, data):
    folder = saved / "step_000000002"
    path = data.draw(st.sampled_from([path for path in files(folder) if path.stat().st_size]))
    content = path.read_bytes()
    try:
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        with pytest.raises(DamagedError, match="is damaged"):
            verify(folder)
    finally:
        path.write_bytes(content)


def lose_a_file(folder):
    (folder / "progress.json").unlink()


def lose_the_manifest(folder):
    (folder / "manifest.json").unlink()


def gain_a_file(folder):
    (folder / "arrays" / "more").write_text("more")


def link_elsewhere(folder):
    target = folder.parent / "elsewhere.json"
    shutil.move(folder / "progress.json", target)
    (folder / "progress.json").symlink_to(target)


def name_a_file_outside(folder):
    (folder / "manifest.json").write_text('{\n "../../precious": "' + 64 * "0" + '"\n}\n')


def say_no_object(folder):
    (folder / "manifest.json").write_text("[" * 100_000)


DAMAGES = [lose_a_file, lose_the_manifest, gain_a_file, link_elsewhere, name_a_file_outside, say_no_object]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_of_a_damaged_checkpoint_the_one_before_is_used(copy, damage):
    damage(copy / "step_000000002")
    with pytest.warns(UserWarning, match=r"step_000000002 is damaged: .* The previous checkpoint is used"):
        restored = restore_checkpoint(copy, toy_state(0))
    assert (restored.step, restored.progress) == (1, {"number": 1})
    with pytest.raises(ValueError, match="step_000000002 is damaged"):
        restore_checkpoint(copy, toy_state(0), step=2)


def test_where_all_are_damaged_none_is_used(copy):
    for step in (1, 2):
        lose_the_manifest(copy / f"step_00000000{step}")
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(DamagedError, match=r"no intact checkpoint: all are damaged \(steps: 1, 2\)"),
    ):
        restore_checkpoint(copy, toy_state(0))


def test_what_is_broken_off_is_not_there(tmp_path):
    with pytest.raises(ZeroDivisionError), written_atomically(tmp_path / "folder") as partial:
        (partial / "file").write_text(str(1 / 0))
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_left_is_removed(tmp_path):
    path = tmp_path / "folder"
    left = tmp_path / ".folder.partial"
    left.mkdir()
    (left / "half").write_text("half")
    with written_atomically(path) as partial:
        (partial / "file").write_text("whole")
    assert sorted(entry.name for entry in path.iterdir()) == ["file", "manifest.json"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
    verify(path)
