"""The off-screen renderer of MuJoCo."""

import importlib.util
import os
import subprocess
import sys


HELP = (
    "no renderer works, and a video needs one: install EGL or OSMesa (Debian, Ubuntu: apt install libegl1 or "
    "libosmesa6), or set MUJOCO_GL to a renderer that works"
)
_PROBE = "import mujoco; context = mujoco.GLContext(16, 16); context.make_current(); context.free()"


def require_video() -> None:
    """Selects an off-screen renderer, EGL or else OSMesa, unless the variable `MUJOCO_GL` names one.

    Call this before MuJoCo is imported, since it reads the variable at import.

    **Raises** `ModuleNotFoundError` if the extra `video` is not installed, `OSError` if no renderer works.
    """
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        raise ModuleNotFoundError("a video needs imageio-ffmpeg, which is not installed: pip install 'floqzoo[video]'.")
    asked = os.environ.get("MUJOCO_GL")
    working = [name for name in ([asked] if asked else ["egl", "osmesa"]) if can_render(name)]
    if not working:
        raise OSError(f"{HELP}{f'; MUJOCO_GL={asked} does not' if asked else ''}.")
    if "mujoco" in sys.modules and not asked:
        raise OSError("MuJoCo was imported without a renderer: set MUJOCO_GL=egl or osmesa before the program starts.")
    os.environ["MUJOCO_GL"] = working[0]


def can_render(name: str) -> bool:
    """Whether MuJoCo can render with this renderer, tested in a separate process."""
    environment = os.environ | {"MUJOCO_GL": name}
    probe = subprocess.run([sys.executable, "-c", _PROBE], env=environment, capture_output=True, check=False)
    return probe.returncode == 0 and name != "disabled"
