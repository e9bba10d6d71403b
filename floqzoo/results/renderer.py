"""The requirements for recording videos."""

import importlib.util

from floqzoo.tasks.renderer import require_renderer


def require_video() -> None:
    """Selects an off-screen renderer, EGL or else OSMesa, unless the environment variable `MUJOCO_GL` names one.

    Call this before MuJoCo is imported, since it reads the variable at import.

    **Raises** `ModuleNotFoundError` if the extra `video` is not installed, `OSError` if no renderer works.
    """
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        raise ModuleNotFoundError("a video needs imageio-ffmpeg, which is not installed: pip install 'floqzoo[video]'.")
    require_renderer("a video")
