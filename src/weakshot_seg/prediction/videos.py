"""Predicting videos: each of its frames, then a video of the overlays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image
from tqdm import tqdm

from weakshot_seg.data.images import read_mask
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.prediction.layout import frame_name
from weakshot_seg.prediction.record import Record, VideoRecord, write_json
from weakshot_seg.prediction.results import Results, older
from weakshot_seg.prediction.segmentation import Segmentation
from weakshot_seg.prediction.segmenter import Pixels, Segmenter
from weakshot_seg.prediction.sources import Item
from weakshot_seg.prediction.threads import in_threads
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.visualize import labelled_overlay

if TYPE_CHECKING:
    from weakshot_seg.prediction.video_files import Frame

LISTED_SHARE = 0.01
"""Share of any one frame that a class must have to be in the legend, which is the same in all frames."""


@dataclass(frozen=True)
class VideoSettings:
    """How videos are predicted.

    Attributes:
        every: Every how many frames one is.
        labels: The label maps of the frames are kept.

    Raises:
        ConfigError: ``every`` is not positive.
    """

    every: int = 1
    labels: bool = False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"video_every={self.every} must be positive")


def predict_videos(
    segmenter: Segmenter,
    items: Sequence[Item],
    results: Results,
    settings: VideoSettings,
    batch_size: int,
    threads: int,
) -> list[str]:
    """Predicts the videos that are not finished; an interrupted one goes on where it stopped.

    Args:
        segmenter: the model.
        items: videos.
        results: where they go.
        settings: see there.
        batch_size: frames in one pass.
        threads: that write and draw.

    Returns:
        Messages about the videos that cannot be read, in their order.

    Raises:
        ConfigError: see :meth:`Results.finished` and :meth:`Results.write`.
    """
    failures = []
    for item in items:
        try:
            if not _finished(item, results, settings):
                _predict_video(segmenter, item, results, settings, batch_size, threads)
        except ImportError as error:
            failures.append(f"cannot read video {item.path} ({error}): pip install 'weakshot-seg[video]'")
        except DataError as error:
            failures.append(str(error))
    return failures


def _finished(item: Item, results: Results, settings: VideoSettings) -> bool:
    path = results.path("classes", item.name)
    record = None if results.overwrite else VideoRecord.read(path)
    if record is None:
        return False
    results.check_owner(item, record.video)
    return (
        record.every == settings.every
        and all(
            frame.model == results.origin.mark and set(results.scores) <= set(frame.scores) for frame in record.frames
        )
        and (results.overlay_size == 0 or results.path("overlays", item.name, ".mp4").exists())
        and (not settings.labels or all(results.path("labels", name).exists() for name in _names(item, record.frames)))
        and not older(path, item.path)
    )


def _predict_video(
    segmenter: Segmenter, item: Item, results: Results, settings: VideoSettings, batch_size: int, threads: int
) -> None:
    from weakshot_seg.prediction.video_files import length_and_rate, read_frames, write_video

    done: list[Record] = []
    count, rate = length_and_rate(item.path)
    total = None if count is None else -(-count // settings.every)
    with results.writing():
        results.path("classes", item.name).unlink(missing_ok=True)
        results.path("overlays", item.name, ".mp4").unlink(missing_ok=True)

    with tqdm(desc=item.path.name, total=total, unit="frame", disable=None) as progress:

        def unfinished() -> Iterator[tuple[tuple[Item, float], Pixels]]:
            for frame in read_frames(item.path, settings.every):
                part = Item(item.path, frame_name(item.name, frame.number), frame.number)
                record = Record.read(results.path("classes", part.name)) if results.finished(part) else None
                if record:
                    done.append(record)
                    progress.update()
                else:
                    yield (part, frame.seconds), frame.pixels

        def write(result: tuple[tuple[Item, float], Segmentation]) -> Record:
            (part, seconds), segmentation = result
            return results.write(part, segmentation, seconds)

        for record in in_threads(write, segmenter.stream(unfinished(), batch_size), threads):
            done.append(record)
            progress.update()

    if not done:
        raise DataError(f"video {item.path} has no frames: remove it")
    done.sort(key=lambda record: record.frame or 0)
    if results.overlay_size != 0:
        listed = {area.class_id for record in done for area in record.classes if area.share >= LISTED_SHARE}

        def draw(frame: Frame) -> tuple[float, Image.Image]:
            labels = read_mask(results.path("labels", frame_name(item.name, frame.number)))
            names, novel = segmenter.split.names, segmenter.split.novel
            picture = labelled_overlay(frame.pixels, labels, names, novel, largest=results.overlay_size, listed=listed)
            return frame.seconds, picture

        pictures = in_threads(draw, read_frames(item.path, settings.every), threads)
        drawn = tqdm(pictures, "drawing", len(done), unit="frame", leave=False, disable=None)
        with results.writing(), replacing(results.path("overlays", item.name, ".mp4")) as temporary:
            write_video(temporary, drawn, rate / settings.every)
    with results.writing():
        write_json(results.path("classes", item.name), VideoRecord(str(item.path), settings.every, done))
        _remove(results, "classes", item, done)
        if not settings.labels:
            _remove(results, "labels", item, done)


def _remove(results: Results, kind: str, item: Item, frames: Sequence[Record]) -> None:
    for name in _names(item, frames):
        results.path(kind, name).unlink(missing_ok=True)
    with suppress(OSError):  # frames of an interrupted call with another step
        (results.out / kind / item.name).rmdir()


def _names(item: Item, frames: Sequence[Record]) -> list[str]:
    return [frame_name(item.name, frame.frame or 0) for frame in frames]
