"""A film, written picture by picture."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from floqzoo.tasks.files import replacing


def write_film(pictures: Iterable[np.ndarray], path: Path, *, frames_per_second: int) -> Path:
    """Writes pictures as H.264 in an `.mp4`, whole or not at all, by the ffmpeg that imageio-ffmpeg brings.

    - `pictures`: Of one size, even each way: rows, columns and three colours from 0 to 255.

    **Raises** `OSError` with what ffmpeg says if it fails, `ValueError` if there is no picture.
    """
    with replacing(path) as temporary:
        ffmpeg = None
        for picture in pictures:
            if ffmpeg is None:
                ffmpeg = _start(picture.shape[1], picture.shape[0], frames_per_second, temporary)
            try:
                assert ffmpeg.stdin is not None
                ffmpeg.stdin.write(np.ascontiguousarray(picture).data)
            except BrokenPipeError:
                break
        if ffmpeg is None:
            raise ValueError("`pictures` must hold at least one; got none.")
        _, said = ffmpeg.communicate()
        if ffmpeg.returncode:
            raise OSError(f"{path} could not be written; ffmpeg says: {said.decode().strip()}")
    return path


def _start(width: int, height: int, frames_per_second: int, path: Path) -> subprocess.Popen:
    # Not imageio-ffmpeg's own writer, which forks, as a process with JAX's threads must not.
    import imageio_ffmpeg

    read = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(frames_per_second), "-i", "-"]
    write = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-f", "mp4", str(path)]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *read, *write]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
