"""Checks the requirements for recording videos, and selects a renderer."""

import importlib.util

from floqzoo.tasks.renderer import require_renderer


def require_video() -> None:
    """Checks that videos can be recorded, and selects an off-screen renderer: EGL if it works, or else OSMesa.

    A renderer that the environment variable `MUJOCO_GL` names is kept. Call this function before MuJoCo is imported,
    because MuJoCo reads the variable when it is imported.

    **Raises** `ModuleNotFoundError` if the extra `video` is not installed; `OSError` if no renderer works.
    """
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        raise ModuleNotFoundError("a video needs imageio-ffmpeg, which is not installed: pip install 'floqzoo[video]'.")
    require_renderer("a video")
