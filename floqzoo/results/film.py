"""Writes videos frame by frame."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from floqzoo.tasks.files import replacing


def write_film(pictures: Iterable[np.ndarray], path: Path, *, frames_per_second: int) -> Path:
    """Atomically writes frames to an H.264 `.mp4` file, with ffmpeg from imageio-ffmpeg; returns the path of the file.

    - `pictures`: The frames: RGB images with values from 0 to 255, which all have the same size. Height and width must
      be even.
    - `path`: The file to write.
    - `frames_per_second`: The frame rate.

    **Raises** `OSError` with ffmpeg's message if ffmpeg fails; `ValueError` if there is no frame.
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
            raise ValueError("`pictures` must contain at least one frame; got none.")
        _, said = ffmpeg.communicate()
        if ffmpeg.returncode:
            raise OSError(f"{path} could not be written; ffmpeg reports: {said.decode().strip()}")
    return path


def _start(width: int, height: int, frames_per_second: int, path: Path) -> subprocess.Popen:
    # Not imageio-ffmpeg's own writer: it forks, which is unsafe in a process with JAX's threads.
    import imageio_ffmpeg

    read = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(frames_per_second), "-i", "-"]
    write = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-f", "mp4", str(path)]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *read, *write]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
