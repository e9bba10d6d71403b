"""Metrics arrive where they were asked for, under the names and steps that they have in the tables."""

import struct
import time

import numpy as np
import pytest

from floqzoo.runs.metric_writers import MetricWriter, open_writers, require_writers


SETTINGS = {"recipe": "floq", "run_group": "debug", "agent": {"alpha": 10.0, "hidden": [8, 8]}}
METRICS = {10: {"training/critic/q_mean": -1.5}, 20: {"training/critic/q_mean": -1.25, "evaluation/success": 0.5}}


def open_in(folder, **asked):
    return open_writers(folder, seeds=(3, 4), settings=SETTINGS, **({"tensorboard": False, "wandb": False} | asked))


def write_all(writer, steps=METRICS):
    for step in steps:
        for seed in (3, 4):
            writer.write_metrics(step, seed, METRICS[step] | {"behaviour/success": float("nan")})
    writer.close_writer()


def scalars(folder):
    """What TensorBoard reads: a length, a checksum, an event and its checksum, again and again."""
    events = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = events.Event.FromString(data[12 : 12 + length])
            found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
            data = data[16 + length :]
    return found


def test_nothing_is_opened_unasked(tmp_path):
    assert open_in(tmp_path) == []
    assert not any(tmp_path.iterdir())


def test_tensorboard_gets_a_curve_for_each_seed_and_metric(tmp_path):
    pytest.importorskip("tensorboardX")
    (writer,) = open_in(tmp_path, tensorboard=True)
    assert isinstance(writer, MetricWriter)
    write_all(writer)
    wanted = [(step, name, value) for step, metrics in METRICS.items() for name, value in metrics.items()]
    for seed in ("sd003", "sd004"):
        assert sorted(scalars(tmp_path / "tensorboard" / seed)) == sorted(wanted)


def test_tensorboard_goes_on_where_a_run_was_resumed(tmp_path):
    pytest.importorskip("tensorboardX")
    for step in METRICS:
        (writer,) = open_in(tmp_path, tensorboard=True)
        write_all(writer, [step])
    assert {step for step, _, _ in scalars(tmp_path / "tensorboard" / "sd003")} == set(METRICS)


def test_wandb_gets_the_same_without_a_network(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DISABLE_GIT": "true"}.items():
        monkeypatch.setenv(name, value)
    (writer,) = open_in(tmp_path, wandb=True)
    assert isinstance(writer, MetricWriter)
    write_all(writer)
    stored = list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert len(stored) == 2
    for path in stored:
        # W&B writes in a process of its own, which may be behind.
        eventually(lambda path=path: {b"training/critic/q_mean", b"-1.25", b"alpha"} <= words_in(path.read_bytes()))


def words_in(content):
    return {word for word in (b"training/critic/q_mean", b"-1.25", b"alpha") if word in content}


def eventually(holds, seconds=60):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.2)


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_library_that_is_missing_is_named_with_the_command_that_helps(name, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(ModuleNotFoundError, match=rf"--{name} .*pip install 'floqzoo\[{name}\]'"):
        require_writers(**({"tensorboard": False, "wandb": False} | {name: True}))


def test_values_are_kept_to_the_precision_of_the_format(tmp_path):
    pytest.importorskip("tensorboardX")
    (writer,) = open_in(tmp_path, tensorboard=True)
    writer.write_metrics(1, 3, {"x": np.pi})
    writer.close_writer()
    assert scalars(tmp_path / "tensorboard" / "sd003") == [(1, "x", pytest.approx(np.pi, rel=1e-6))]
