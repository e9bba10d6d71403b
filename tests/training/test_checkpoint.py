import os
import pickle
import shutil

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_run import toy_agent

from floqzoo.learner.pytree_utils import named_leaves, split_arrays
from floqzoo.runs import checkpoint, checkpoint_steps, restore_checkpoint, save_checkpoint
from floqzoo.runs.checkpoint import restore_beside, written_atomically


class Everything(eqx.Module):
    """Every kind of leaf that an agent may have."""

    weight: jax.Array
    half: jax.Array
    count: jax.Array
    flags: jax.Array
    key: jax.Array
    keys: jax.Array
    empty: jax.Array
    number: np.ndarray
    name: str = "everything"


def everything(seed: int) -> Everything:
    return Everything(
        weight=jax.random.normal(jax.random.key(seed), (3, 2)),
        half=jnp.full(4, seed, jnp.bfloat16),
        count=jnp.asarray(seed, jnp.int32),
        flags=jnp.arange(3) == seed,
        key=jax.random.key(seed),
        keys=jax.random.split(jax.random.key(seed + 1), 2),
        empty=jnp.zeros((0, 2)),
        number=np.asarray(0.25 * seed),
    )


def raw(leaf):
    return np.asarray(jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)


def assert_same(one, other):
    one, other = (named_leaves(split_arrays(tree)[0]) for tree in (one, other))
    assert one.keys() == other.keys()
    for name, leaf in one.items():
        assert leaf.dtype == other[name].dtype
        np.testing.assert_array_equal(raw(leaf), raw(other[name]), err_msg=name)


@pytest.mark.parametrize("make", [everything, toy_agent])
def test_what_is_saved_comes_back(tmp_path, make):
    # Two that differ, so that what comes back cannot be what was there.
    save_checkpoint(tmp_path, make(1), 7)
    restored = restore_checkpoint(tmp_path, make(2))
    assert restored.step == 7
    saved = make(1)
    if make is everything:
        saved = eqx.tree_at(lambda tree: tree.number, saved, jnp.asarray(saved.number))
    assert_same(restored.tree, saved)


def test_the_latest_comes_back_unless_another_is_asked_for(tmp_path):
    for step in (1, 2, 10, 20):
        save_checkpoint(tmp_path, everything(step), step, {"number": step})
    assert checkpoint_steps(tmp_path) == [1, 2, 10, 20]
    for asked, step in ((None, 20), (10, 10)):
        restored = restore_checkpoint(tmp_path, everything(0), step=asked)
        assert (restored.step, int(restored.tree.count), restored.progress) == (step, step, {"number": step})


def test_every_file_and_folder_is_flushed_and_then_its_name(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    with written_atomically(tmp_path / "new") as folder:
        (folder / "deep").mkdir()
        for name in ("one", "deep/two"):
            (folder / name).write_text(name)
    new = tmp_path / "new"
    content = {path.stat().st_ino for path in (new, *new.rglob("*"))}
    assert len(content) == 5
    assert set(flushed[:-1]) == content and flushed[-1] == tmp_path.stat().st_ino


def test_a_step_is_saved_once(tmp_path):
    save_checkpoint(tmp_path, everything(1), 5)
    save_checkpoint(tmp_path, everything(2), 5)
    assert int(restore_checkpoint(tmp_path, everything(0)).tree.count) == 1


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="must contain a checkpoint; it has none"):
        restore_checkpoint(tmp_path / "nowhere", everything(0))
    save_checkpoint(tmp_path, everything(1), 5)
    with pytest.raises(FileNotFoundError, match=r"must contain a checkpoint of step 6; it has 5"):
        restore_checkpoint(tmp_path, everything(0), step=6)


@pytest.mark.parametrize(
    ("saved", "like", "message"),
    [
        ({"a": jnp.zeros(2)}, {"a": jnp.zeros(3)}, r"the shape of `a` must be \(3,\), .* it is \(2,\)"),
        ({"a": jnp.zeros(2)}, {"a": jnp.zeros(2, jnp.int32)}, "the dtype of `a` must be int32, .* it is float"),
        ({"a": jnp.zeros(2)}, {"a": jnp.zeros(2), "b": jnp.zeros(1)}, "an array `b`, which the checkpoint .* lacks"),
        ({"a": jnp.zeros(2), "b": jnp.zeros(1)}, {"a": jnp.zeros(2)}, "has an array `b`, which the agent lacks"),
    ],
)
def test_another_agent_is_refused(tmp_path, saved, like, message):
    save_checkpoint(tmp_path, saved, 1)
    with pytest.raises(ValueError, match=message):
        restore_checkpoint(tmp_path, like)


def test_a_negative_step_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`step` must be at least 0"):
        save_checkpoint(tmp_path, everything(1), -1)


def test_no_step_has_two_names(tmp_path):
    """A folder of another make than those that are written is no checkpoint."""
    for name in ("step_5", "step_00000005", "step_000000005.damaged", ".step_000000005.partial", "step_"):
        (tmp_path / name).mkdir()
    assert checkpoint_steps(tmp_path) == []


def test_objects_are_refused_before_they_are_read(tmp_path):
    """A checkpoint from a stranger, with a manifest that fits: its arrays are not those of the agent."""
    path = save_checkpoint(tmp_path, everything(1), 5)
    arrays = path / "arrays"
    shutil.rmtree(arrays)
    arrays.mkdir()
    (arrays / "_METADATA").write_bytes(pickle.dumps(Bomb()))
    np.save(arrays / "weight.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    sign(path)
    with pytest.raises(ValueError, match=r"contains arrays that cannot be read|which the checkpoint .* lacks"):
        restore_checkpoint(tmp_path, everything(0))
    assert not Bomb.went_off


class Bomb:
    went_off = False

    def __reduce__(self):
        return (setattr, (Bomb, "went_off", True))


def sign(path):
    """A manifest for whatever is there, as a stranger can write one."""
    (path / "manifest.json").unlink()
    shutil.move(path, path.with_name("source"))
    with written_atomically(path) as partial:
        shutil.copytree(path.with_name("source"), partial, dirs_exist_ok=True)


@pytest.mark.parametrize(
    "array",
    [np.array([2.0**-40 + 1, np.pi]), np.array([2**40 + 1]), np.array([True, False]), np.array([0.1], np.float32)],
    ids=lambda array: str(array.dtype),
)
def test_further_arrays_come_back_in_the_dtype_that_they_had(array, tmp_path):
    """Wider ones than JAX has, too, such as the sums of what was explored."""
    save_checkpoint(tmp_path, everything(1), 3, beside={"sums": array})
    restored = restore_beside(tmp_path, 3)["sums"]
    assert restored.dtype == array.dtype
    np.testing.assert_array_equal(restored, array)


def test_further_arrays_that_claim_more_than_the_available_memory_are_refused(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, everything(1), 3, beside={"sums": np.zeros(100)})
    monkeypatch.setattr(checkpoint, "available_memory", lambda: 800)
    assert restore_beside(tmp_path, 3).keys() == {"sums"}
    monkeypatch.setattr(checkpoint, "available_memory", lambda: 799)
    with pytest.raises(ValueError, match="cannot be read: MemoryError: they take 800 bytes, and 799 bytes of memory"):
        restore_beside(tmp_path, 3)
