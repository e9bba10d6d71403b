"""`floqzoo doctor`: a fault is planted in each check, and found with what to do."""

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import jax
import pytest

from floqzoo.commands import doctor
from floqzoo.commands.doctor import FAILED, OK, WARNING, Finding
from floqzoo.tasks import renderer


@pytest.fixture
def versions(monkeypatch):
    """Sets the versions of installed packages; None for one that is not."""
    known = {"jax": "0.11.2", "jaxlib": "0.11.2", "jax-cuda12-plugin": None, "jax-cuda13-plugin": None}

    def versions(**changes):
        known.update({name.replace("_", "-"): found for name, found in changes.items()})
        monkeypatch.setattr(doctor, "installed", known.get)

    versions()
    return versions


@pytest.mark.parametrize("found", [{"jaxlib": "0.10.2"}, {"jaxlib": None}, {"jax": None}])
def test_jax_and_jaxlib_of_two_releases(versions, found):
    assert doctor.check_jax().state == OK
    versions(**found)
    assert doctor.check_jax().state == FAILED
    assert "pip install" in doctor.check_jax().advice


def test_a_device_that_does_not_start_or_computes_nonsense(monkeypatch):
    assert doctor.check_devices() == Finding("devices", OK, "cpu: cpu; a compiled product is correct")
    with monkeypatch.context() as planted:
        planted.setattr(jax, "jit", lambda function: lambda a, b: a)
        assert "is wrong" in doctor.check_devices().text

    def broken():
        raise RuntimeError("no driver\nand a long trace")

    monkeypatch.setattr(jax, "devices", broken)
    monkeypatch.setattr(jax, "jit", lambda function: lambda a, b: broken())
    found = doctor.check_devices()
    assert (found.state, found.text) == (FAILED, "RuntimeError: no driver")


def test_no_gpu_is_no_fault(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.nvidia_gpus() == []
    assert doctor.check_gpu().state == OK


def test_what_nvidia_smi_prints_is_read(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H200, 570.133.20'\necho 'NVIDIA, Inc. X, 570.133.20'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert doctor.nvidia_gpus() == [("NVIDIA H200", "570.133.20"), ("NVIDIA, Inc. X", "570.133.20")]
    program.write_text("#!/bin/sh\nexit 9\n")
    assert doctor.nvidia_gpus() == []


@pytest.mark.parametrize(
    ("driver", "plugins", "used", "state", "words"),
    [
        ("580.1", {"jax_cuda13_plugin": "0.11.2"}, True, OK, ""),
        ("570.1", {"jax_cuda12_plugin": "0.11.2"}, True, OK, ""),
        ("580.1", {}, False, FAILED, "floqzoo[cuda13]"),
        ("570.1", {}, False, FAILED, "floqzoo[cuda]"),
        ("470.1", {"jax_cuda12_plugin": "0.11.2"}, True, FAILED, "driver 525 or later"),
        ("570.1", {"jax_cuda13_plugin": "0.11.2"}, True, FAILED, "needs driver 580"),
        ("580.1", {"jax_cuda13_plugin": "0.11.1"}, True, FAILED, "have the same version"),
        ("580.1", {"jax_cuda12_plugin": "0.11.2", "jax_cuda13_plugin": "0.11.2"}, True, FAILED, "all but one"),
        ("580.1", {"jax_cuda13_plugin": "0.11.2"}, False, FAILED, "Reinstall"),
    ],
)
def test_cuda_wheels_fit_the_driver_and_are_used(monkeypatch, versions, driver, plugins, used, state, words):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(doctor, "nvidia_gpus", lambda: [("NVIDIA H200", driver)])
    monkeypatch.setattr(doctor, "used_devices", lambda: ["gpu: NVIDIA H200" if used else "cpu: cpu"])
    versions(**plugins)
    found = doctor.check_gpu()
    assert (found.state, words in found.advice) == (state, True)


@pytest.mark.parametrize(
    ("platforms", "hidden"),
    [
        ("", False),
        ("cuda", False),
        ("gpu", False),
        ("cpu,gpu", False),
        ("cuda,cpu", False),
        ("cpu", True),
        ("tpu,cpu", True),
    ],
)
def test_a_gpu_that_is_hidden_is_a_warning_and_any_other_is_checked(monkeypatch, versions, platforms, hidden):
    monkeypatch.setattr(doctor, "nvidia_gpus", lambda: [("NVIDIA H200", "580.1")])
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    found = doctor.check_gpu()
    assert (found.state, "hides it" in found.text) == ((WARNING, True) if hidden else (FAILED, False))


@pytest.mark.parametrize(("found", "state"), [("1.2.2", OK), ("1.10.0", OK), ("1.1.5", FAILED), (None, FAILED)])
def test_ogbench_is_of_a_version_that_is_known(versions, found, state):
    versions(ogbench=found)
    assert doctor.check_ogbench().state == state


def test_a_mujoco_that_does_not_step(monkeypatch, tmp_path):
    pytest.importorskip("mujoco")
    assert doctor.check_mujoco().state == OK
    (tmp_path / "mujoco.py").write_text("raise ImportError('libGL is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = doctor.check_mujoco()
    assert found.state == FAILED
    assert "libGL is missing" in found.text


def test_without_a_renderer_there_are_no_videos(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.setattr(renderer, "can_render", lambda name: name == "osmesa")
    assert doctor.check_renderer() == Finding("renderer", OK, "osmesa")
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    found = doctor.check_renderer()
    assert (found.state, found.text) == (WARNING, "MUJOCO_GL=glfw does not work")


def test_datasets_are_counted_without_their_validation_files(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "data_folders", lambda: [tmp_path / "data", tmp_path / "none"])
    assert doctor.check_data().state == WARNING
    (tmp_path / "data").mkdir()
    for name in ("cube.npz", "cube-val.npz", "cube.json"):
        (tmp_path / "data" / name).write_bytes(bytes(8))
    found = doctor.check_data()
    assert (found.state, "data: 1 datasets" in found.text) == (OK, True)


def test_the_shards_of_large_datasets_are_counted_by_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "data_folders", lambda: [tmp_path])
    folder = tmp_path / "scene-play-100m-v0"
    folder.mkdir()
    for name in ("000.npz", "000-val.npz", "001.npz", "001-val.npz", "SHA256SUMS"):
        (folder / f"scene-play-v0-{name}").write_bytes(bytes(50_000_000 if name == "000.npz" else 8))
    found = doctor.check_data()
    assert (found.state, found.text) == (OK, f"{tmp_path}: 0 datasets; {folder}: 2 shards, 0.1 GB")


def test_folders_that_cannot_be_written_to(monkeypatch, tmp_path):
    """A file stands where a folder would be made, which stops the superuser, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "data_folders", lambda: [tmp_path / "new" / "data"])
    assert doctor.check_writable().state == OK
    assert not list(tmp_path.iterdir())
    (tmp_path / "new").touch()
    found = doctor.check_writable()
    assert (found.state, found.text) == (FAILED, f"not writable: {tmp_path / 'new' / 'data'}")


@pytest.fixture
def caching():
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", True)
    yield
    jax.config.update("jax_enable_compilation_cache", before)


def test_a_cache_that_is_off_or_cannot_be_written_to(monkeypatch, tmp_path, caching):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert doctor.check_cache().state == OK
    (tmp_path / "home").touch()
    assert (doctor.check_cache().state, "not writable" in doctor.check_cache().text) == (WARNING, True)
    jax.config.update("jax_enable_compilation_cache", False)
    assert "is off" in doctor.check_cache().text


def test_a_full_disk(monkeypatch):
    Usage = namedtuple("Usage", "free")
    full = {str(Path.home()): 1e9}
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: Usage(full.get(str(folder), 9e9)))
    assert doctor.check_disk().state == FAILED
    full.clear()
    assert doctor.check_disk().state == OK


@pytest.mark.parametrize(("states", "status"), [((OK, WARNING), 0), ((FAILED, OK), 1)])
def test_the_exit_status_tells_whether_training_works(run, monkeypatch, states, status):
    checks = tuple(lambda state=state: Finding("part", state, "text", "help") for state in states)
    monkeypatch.setattr(doctor, "CHECKS", checks)
    found, out, _ = run("doctor")
    assert found == status
    assert out.count("-> help") == len(states)


def test_every_check_is_carried_out():
    assert {check.__name__ for check in doctor.CHECKS} == {name for name in vars(doctor) if name.startswith("check_")}


@pytest.mark.slow
def test_as_a_program():
    pytest.importorskip("ogbench")
    program = "import sys; sys.argv = ['floqzoo', 'doctor']; from floqzoo.command_line import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert len([line for line in done.stdout.splitlines() if line.startswith((OK, WARNING, FAILED))]) == len(
        doctor.CHECKS
    )
    assert (done.returncode == 1) == (FAILED in done.stdout)
