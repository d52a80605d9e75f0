"""Reading and writing video files with PyAV (FFmpeg)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from weakshot_seg.errors import DataError

TICK = Fraction(1, 90_000)  # seconds: frames of written videos keep their times, also without a constant rate
USUAL_RATE = Fraction(25)  # where a file has none
LOCAL = {"protocol_whitelist": "file"}  # a playlist under the name of a video must not fetch anything from the network


def read_frames(path: Path, every: int = 1) -> Iterator[tuple[int, float, NDArray[np.uint8]]]:
    """Frames ``0, every, 2 * every, ...``: number, time in seconds, and RGB pixels uint8 ``[h, w, 3]``, upright.

    One is in memory at a time. A DataError if the file is missing, broken or has no picture.
    """
    with _opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        rate = stream.average_rate or USUAL_RATE
        for number, frame in enumerate(container.decode(stream)):
            if number % every == 0:
                pixels = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                seconds = frame.time if frame.time is not None else float(number / rate)
                yield number, seconds, np.ascontiguousarray(pixels)


def length_and_rate(path: Path) -> tuple[int | None, Fraction]:
    """About how many frames a video has, by its header (None: unknown), and how many per second."""
    with _opened(path) as (container, stream):
        rate = stream.average_rate or USUAL_RATE
        return stream.frames or round((container.duration or 0) / av.time_base * rate) or None, rate


def write_video(path: Path, pictures: Iterable[tuple[float, Image.Image]], rate: Fraction) -> None:
    """Writes an MP4 (H.264; MPEG-4 where FFmpeg lacks its encoder) of about ``rate`` pictures per second.

    ``pictures`` are at least one time in seconds and RGB picture; all take the size of the first, and times rise.
    """
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=rate)
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", TICK
        last = -1
        for seconds, picture in pictures:
            if last < 0:
                stream.width, stream.height = (length + length % 2 for length in picture.size)  # colours are halved
            canvas = Image.new("RGB", (stream.width, stream.height), "white")
            canvas.paste(picture)
            frame = av.VideoFrame.from_image(canvas)
            last = max(last + 1, round(seconds / TICK))
            frame.pts, frame.time_base = last, TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    try:
        with av.open(str(path), options=LOCAL) as container:
            if not container.streams.video:
                raise DataError(f"video {path} has no pictures: remove it")
            yield container, container.streams.video[0]
    except (av.error.FFmpegError, OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"cannot read video {path} ({reason}): replace or remove it") from error
