"""The `floqzoo doctor` command."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


OK, WARNING, FAILED = "ok", "warning", "FAILED"

OLDEST_DRIVER = {"12": 525, "13": 580}
"""The oldest NVIDIA driver (major version) that supports each CUDA version, from JAX's installation guide."""

LEAST_GB = 2.0
"""The disk space in GB that a small run needs for data, checkpoints and logs."""


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    - `name`: The name of the check.
    - `state`: `OK`, `WARNING` (training works nevertheless) or `FAILED`.
    - `text`: A description of what was found.
    - `advice`: What to do if something is wrong; empty otherwise.
    """

    name: str
    state: str
    text: str
    advice: str = ""

    def __str__(self) -> str:
        lines = [f"{self.state:<8} {self.name:<12} {self.text}"]
        return "\n".join([*lines, f"{'':<8} {'':<12} -> {self.advice}"] if self.advice else lines)


def doctor() -> None:
    """Checks whether this machine can train, and prints how to fix problems.

    The exit status is 0 if everything that training needs works, and 1 otherwise. A warning concerns something
    that training does not require, such as a renderer.
    """
    states = []
    for check in CHECKS:
        found = check()
        states.append(found.state)
        print(found, flush=True)
    if FAILED in states:
        print(f"{states.count(FAILED)} of {len(states)} checks failed.")
        raise SystemExit(1)
    print("Everything that training needs works.")


def installed(package: str) -> str | None:
    """Returns the version of a package, or None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_python() -> Finding:
    """Reports the version of Python and the number of usable cores."""
    import platform

    from floqzoo.runs.configuration import usable_cores

    return Finding("Python", OK, f"{platform.python_version()} on {platform.machine()}, {usable_cores()} usable cores")


def check_jax() -> Finding:
    """Checks that JAX and jaxlib are installed, with the same major and minor version."""
    jax, jaxlib = installed("jax"), installed("jaxlib")
    text = f"jax {jax or 'is not installed'}, jaxlib {jaxlib or 'is not installed'}"
    if jax is None or jaxlib is None or jax.split(".")[:2] != jaxlib.split(".")[:2]:
        return Finding("JAX", FAILED, text, "Install matching versions: pip install --upgrade jax jaxlib.")
    return Finding("JAX", OK, text)


def check_devices() -> Finding:
    """Lists JAX's devices, and checks that the first one computes a compiled matrix product correctly."""
    try:
        devices = used_devices()
    except Exception as error:  # drivers and plugins may raise any error
        text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        return Finding("devices", FAILED, text, "See the GPU check below; JAX_PLATFORMS=cpu trains on the CPU.")
    return Finding("devices", OK, f"{', '.join(devices)}; a compiled product is correct")


def used_devices() -> list[str]:
    """Tests the first of JAX's devices, and returns the platform and the kind of every device.

    **Raises** JAX's error if a product cannot be computed on the first device, and `RuntimeError` if the product is
    wrong.
    """
    # Another process may need the memory of the device.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax
    import jax.numpy as jnp

    ones = jnp.ones((64, 64))
    if float(jnp.sum(jax.jit(jnp.matmul)(ones, ones))) != 64.0**3:
        raise RuntimeError(f"a matrix product on {jax.devices()[0]} is wrong.")
    return [f"{device.platform}: {device.device_kind}" for device in jax.devices()]


def check_gpu() -> Finding:
    """Checks that JAX's CUDA wheels match jaxlib and the NVIDIA driver, and that JAX uses the GPU."""
    gpus = nvidia_gpus()
    if not gpus:
        return Finding("GPU", OK, "not checked, since nvidia-smi is absent or finds no GPU")
    text = "; ".join(f"{name}, driver {driver}" for name, driver in gpus)
    platforms = os.environ.get("JAX_PLATFORMS", "")  # if empty, JAX chooses; "gpu" stands for "cuda" and "rocm"
    if platforms and not {"cuda", "gpu"} & {*platforms.split(",")}:
        return Finding("GPU", WARNING, f"{text}; JAX_PLATFORMS={platforms} hides it", "Unset JAX_PLATFORMS.")
    plugins = {cuda: found for cuda in OLDEST_DRIVER if (found := installed(f"jax-cuda{cuda}-plugin"))}
    driver = int(gpus[0][1].split(".")[0])
    fitting = [cuda for cuda, oldest in OLDEST_DRIVER.items() if driver >= oldest]
    if not fitting:
        return Finding("GPU", FAILED, text, f"Install driver {min(OLDEST_DRIVER.values())} or later.")
    install = f'pip install "floqzoo[cuda{"" if fitting[-1] == "12" else fitting[-1]}]"'
    if not plugins:
        return Finding("GPU", FAILED, f"{text}; JAX has no CUDA plugin", f"{install}.")
    ((cuda, plugin), *others) = plugins.items()
    text = f"{text}; jax-cuda{cuda}-plugin {plugin}"
    if others:
        return Finding(
            "GPU", FAILED, f"{text} and another", f"Uninstall all but one of jax-cuda{'/'.join(plugins)}-plugin."
        )
    if cuda not in fitting:
        return Finding("GPU", FAILED, text, f"CUDA {cuda} needs driver {OLDEST_DRIVER[cuda]}: update it, or {install}.")
    if plugin != installed("jaxlib"):
        return Finding(
            "GPU", FAILED, f"{text}, jaxlib {installed('jaxlib')}", f"They must have the same version: {install}."
        )
    try:
        used = any(device.startswith(("gpu", "cuda")) for device in used_devices())
    except Exception:  # reported by `check_devices`
        used = False
    if not used:
        return Finding(
            "GPU", FAILED, f"{text}; JAX does not use it", f"Reinstall the wheels: {install} --force-reinstall."
        )
    return Finding("GPU", OK, text)


def nvidia_gpus() -> list[tuple[str, str]]:
    """Returns the name and driver version of each NVIDIA GPU, or an empty list if `nvidia-smi` is absent or fails."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [(name.strip(), driver.strip()) for name, _, driver in (line.rpartition(",") for line in text.splitlines())]


def check_ogbench() -> Finding:
    """Checks that a supported version of OGBench is installed."""
    found = installed("ogbench")
    if found is None:
        return Finding(
            "OGBench", FAILED, "is not installed", 'pip install "floqzoo[ogbench]"; tasks of your own need none.'
        )
    if tuple(int(part) for part in found.split(".")[:3] if part.isdecimal()) < (1, 2, 2):
        return Finding("OGBench", FAILED, found, 'Version 1.2.2 or later is needed: pip install "floqzoo[ogbench]".')
    return Finding("OGBench", OK, found)


def check_mujoco() -> Finding:
    """Checks that MuJoCo can simulate a step."""
    try:
        simulate()
    except Exception as error:  # a broken installation may raise any error
        return Finding("MuJoCo", FAILED, f"{type(error).__name__}: {error}", "pip install --force-reinstall mujoco.")
    return Finding("MuJoCo", OK, f"{installed('mujoco')}, simulation works")


def simulate() -> None:
    """Simulates one step of a falling ball in a separate process, because a broken library could crash the caller.

    **Raises** `RuntimeError` if the process fails; the message is the last line of its error output.
    """
    environment = os.environ | {"MUJOCO_GL": "disabled"}
    ball = "<mujoco><worldbody><body><freejoint/><geom size='1'/></body></worldbody></mujoco>"
    program = f"import mujoco as m; x = m.MjModel.from_xml_string({ball!r}); m.mj_step(x, m.MjData(x))"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])


def check_renderer() -> Finding:
    """Checks that MuJoCo can render, which only videos and pixel-based tasks need."""
    from floqzoo.tasks.renderer import can_render

    asked = os.environ.get("MUJOCO_GL")
    working = [name for name in ([asked] if asked else ["egl", "osmesa"]) if can_render(name)]
    if working:
        return Finding("renderer", OK, working[0])
    advice = "Videos and pixels need EGL or OSMesa: apt install libegl1 or libosmesa6, or another MUJOCO_GL."
    return Finding(
        "renderer", WARNING, f"MUJOCO_GL={asked} does not work" if asked else "neither EGL nor OSMesa works", advice
    )


def check_data() -> Finding:
    """Counts the datasets that recipes find without a flag, and the large datasets, which need `--dataset_path`."""
    found = []
    for folder in data_folders():
        files = datasets_in(folder)
        size = sum(file.stat().st_size for file in files) / 1e9
        found.append((len(files), f"{folder}: {len(files)} datasets" + (f", {size:.1f} GB" if files else "")))
        for shards in sorted(folder.glob("*-100m-v0")):
            files = datasets_in(shards)
            size = sum(file.stat().st_size for file in files) / 1e9
            found.append((len(files), f"{shards}: {len(files)} shards, {size:.1f} GB"))
    text = "; ".join(each for _, each in found)
    if not any(count for count, _ in found):
        advice = "Recipes download the official ones; without a network, `floqzoo collect NAME` generates them."
        return Finding("data", WARNING, text, advice)
    return Finding("data", OK, text)


def datasets_in(folder: Path) -> list[Path]:
    """Returns the training files in a folder, or an empty list if the folder does not exist."""
    return [file for file in sorted(folder.glob("*.npz")) if not file.stem.endswith("-val")]


def data_folders() -> list[Path]:
    """Returns the folders of official and collected datasets."""
    from dataclasses import fields

    from floqzoo.runs.configuration import RunConfig
    from floqzoo.tasks.collect import DEFAULT_DIRECTORY

    (official,) = (field.default for field in fields(RunConfig) if field.name == "dataset_dir")
    return [Path(str(folder)).expanduser() for folder in (official, DEFAULT_DIRECTORY)]


def check_writable() -> Finding:
    """Checks that the folders for data and runs are writable."""
    refused = [str(folder) for folder in (*data_folders(), Path("exp").resolve()) if not writable(folder)]
    if refused:
        advice = (
            "Change their owner or mode, or choose others: --save_dir, --dataset_dir, `floqzoo collect --directory`."
        )
        return Finding("folders", FAILED, f"not writable: {', '.join(refused)}", advice)
    return Finding("folders", OK, "the folders for data and runs (exp) are writable")


def check_cache() -> Finding:
    """Checks the compilation cache, without which every run compiles its programs again."""
    import jax

    from floqzoo.learner.compilation_cache import user_cache_folder

    told = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if not jax.config.jax_enable_compilation_cache:  # pyright: ignore[reportAttributeAccessIssue]
        return Finding("cache", WARNING, "JAX's compilation cache is off", "Unset JAX_ENABLE_COMPILATION_CACHE.")
    folder = Path(told) if told else user_cache_folder()
    if not writable(folder):
        return Finding("cache", WARNING, f"{folder} is not writable", "Start recipes with --compilation_cache=DIR.")
    size = sum(file.stat().st_size for file in folder.glob("*")) if folder.is_dir() else 0
    return Finding("cache", OK, f"{folder}, {size / 1e6:.0f} MB")


def writable(folder: Path) -> bool:
    """Returns whether files can be created in a folder or, if it does not exist, in its nearest existing parent."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def check_disk() -> Finding:
    """Checks that there is enough free disk space for runs and data."""
    free = {str(folder): shutil.disk_usage(folder).free / 1e9 for folder in (Path.cwd(), Path.home())}
    text = ", ".join(f"{folder}: {size:.0f} GB free" for folder, size in free.items())
    if min(free.values()) < LEAST_GB:
        return Finding("disk", FAILED, text, "Delete what is not needed, or choose others: --save_dir, --dataset_dir.")
    return Finding("disk", OK, text)


CHECKS: tuple[Callable[[], Finding], ...] = (
    check_python,
    check_jax,
    check_devices,
    check_gpu,
    check_ogbench,
    check_mujoco,
    check_renderer,
    check_data,
    check_writable,
    check_cache,
    check_disk,
)
"""All checks, in the order in which their results are printed."""
