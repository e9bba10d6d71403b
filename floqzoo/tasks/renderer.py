"""MuJoCo's off-screen renderer, for videos and pixel tasks."""

import faulthandler
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


_PROBE = "import mujoco; context = mujoco.GLContext(16, 16); context.make_current(); context.free()"

PROBE_LIMIT = 60.0
"""The maximum time in seconds for the test of a renderer."""

LIMIT = 600.0
"""The maximum time in seconds for the creation of an environment that renders, and for each of its steps and resets."""


def select_renderer() -> bool:
    """Selects an off-screen renderer: the one in `MUJOCO_GL` if it is set, else EGL, or OSMesa if EGL fails.

    Call this before MuJoCo is imported, because MuJoCo reads the environment variable `MUJOCO_GL` at import. Returns
    whether a working renderer was selected.
    """
    asked = os.environ.get("MUJOCO_GL")
    working = [name for name in ([asked] if asked else ["egl", "osmesa"]) if can_render(name)]
    if not working or ("mujoco" in sys.modules and not asked):
        return False
    os.environ["MUJOCO_GL"] = working[0]
    return True


def require_renderer(what: str) -> None:
    """Selects a renderer, as `select_renderer` does.

    - `what`: The purpose of the renderer, such as "a video", for the error message.

    **Raises** `OSError` if no working renderer can be selected.
    """
    if select_renderer():
        return
    asked = os.environ.get("MUJOCO_GL")
    if "mujoco" in sys.modules and not asked:
        raise OSError("MuJoCo was imported without a renderer: set MUJOCO_GL=egl or osmesa before the program starts.")
    raise OSError(
        f"no renderer works, and {what} needs one: install EGL or OSMesa (Debian, Ubuntu: apt install libegl1 or "
        f"libosmesa6), or set MUJOCO_GL to a renderer that works{f'; MUJOCO_GL={asked} does not' if asked else ''}."
    )


@cache
def can_render(name: str) -> bool:
    """Tests in a separate process whether MuJoCo can render with the renderer of this name, such as "egl".

    A renderer that takes more than `PROBE_LIMIT` seconds counts as one that does not work.
    """
    environment = os.environ | {"MUJOCO_GL": name}
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE], env=environment, capture_output=True, check=False, timeout=PROBE_LIMIT
        )
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0 and name != "disabled"


@contextmanager
def rendering_limited(seconds: float = LIMIT) -> Iterator[None]:
    """Terminates this process, with a traceback, if the block takes longer than `seconds`.

    There is no other way to interrupt the block, because a hanging renderer ignores signals. The limit applies only in
    a process started by `multiprocessing`, whose parent process restarts it or reports that it has ended. Blocks must
    not be nested, because the end of the inner block would also end the limit of the outer one.
    """
    if multiprocessing.parent_process() is None:
        yield
        return
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
