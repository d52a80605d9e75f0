"""Predicting image and video files: read, segmented and written at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

from PIL import Image
from tqdm import tqdm

from weakshot_seg.data.images import read_mask
from weakshot_seg.errors import DataError
from weakshot_seg.prediction.records import Item, Record
from weakshot_seg.prediction.results import Results
from weakshot_seg.prediction.segmenter import Pixels, Segmenter, as_pixels
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.ranges import Count, Threads
from weakshot_seg.utils.visualize import labelled_overlay

if TYPE_CHECKING:
    from weakshot_seg.prediction.video_files import Frame

T = TypeVar("T")
R = TypeVar("R")
LISTED_SHARE = 0.01
"""Share of any one frame that a class must have to be in the legend, which is the same in all frames."""


@dataclass(frozen=True)
class FilePredictor:
    """Predicts what is not finished; an interrupted call goes on where it stopped, also within a video.

    Attributes:
        segmenter: The model.
        results: Where they go.
        batch_size: Most images in one pass, see :meth:`Segmenter.stream`.
        threads: That read files, and that write and draw.
    """

    segmenter: Segmenter
    results: Results
    batch_size: Count = 8
    threads: Threads = 4

    def predict(self, items: Sequence[Item]) -> list[str]:
        """Predicts images, then videos.

        Returns:
            Messages about the files that cannot be read, in their order.

        Raises:
            ConfigError: see :meth:`Results.finished` and :meth:`Results.write`.
        """
        todo = [item for item in items if not self.results.finished(item)]
        failures = self._predict_images([item for item in todo if not item.is_video])
        for video in (item for item in todo if item.is_video):
            try:
                self._predict_video(video)
            except ImportError as error:
                failures.append(f"cannot read video {video.path} ({error}): pip install -e '.[video]'")
            except DataError as error:
                failures.append(str(error))
        return failures

    def _predict_images(self, items: Sequence[Item]) -> list[str]:
        failures = []
        with tqdm(desc="predicting", total=len(items), unit="image", disable=None if items else True) as progress:

            def readable() -> Iterator[tuple[Item, Pixels]]:
                for item, pixels in in_threads(_read, items, self.threads):
                    if isinstance(pixels, DataError):
                        failures.append(str(pixels))
                        progress.update()
                    else:
                        yield item, pixels

            for _ in self._written(readable()):
                progress.update()
        return failures

    def _written(self, images: Iterable[tuple[Item, Pixels]]) -> Iterator[Record]:
        segmentations = self.segmenter.stream(images, self.batch_size)
        return in_threads(lambda result: self.results.write(*result), segmentations, self.threads)

    def _predict_video(self, item: Item) -> None:
        from weakshot_seg.prediction.video_files import length_and_rate, read_frames

        every, done = self.results.wanted.video_every, []
        count, rate = length_and_rate(item.path)
        self.results.remove(item)
        total = None if count is None else -(-count // every)
        with tqdm(desc=item.path.name, total=total, unit="frame", disable=None) as progress:

            def unfinished() -> Iterator[tuple[Item, Pixels]]:
                for frame in read_frames(item.path, every):
                    part = item.at(frame.number, frame.seconds)
                    if record := self.results.finished(part):
                        done.append(record)
                        progress.update()
                    else:
                        yield part, frame.pixels

            for record in self._written(unfinished()):
                done.append(record)
                progress.update()
        if not done:
            raise DataError(f"video {item.path} has no frames: remove it")
        done.sort(key=lambda record: record.frame or 0)
        if self.results.wanted.overlay_size > 0:
            self._draw_video(item, done, rate / every)
        self.results.finish_video(item, done)

    def _draw_video(self, item: Item, records: Sequence[Record], rate: Fraction) -> None:
        from weakshot_seg.prediction.video_files import read_frames, write_video

        wanted = self.results.wanted
        listed = {area.class_id for record in records for area in record.classes if area.share >= LISTED_SHARE}

        def draw(frame: Frame) -> tuple[float, Image.Image]:
            labels = read_mask(self.results.path("labels", item.at(frame.number)))
            picture = labelled_overlay(
                frame.pixels, labels, self.segmenter.split, largest=wanted.overlay_size, listed=listed
            )
            return frame.seconds, picture

        pictures = in_threads(draw, read_frames(item.path, wanted.video_every), self.threads)
        drawn = tqdm(pictures, "drawing", len(records), unit="frame", leave=False, disable=None)
        with replacing(self.results.path("overlays", item)) as temporary:
            write_video(temporary, drawn, rate)


def in_threads(task: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """``task`` of each item, in order; Pillow and NumPy let other threads work meanwhile.

    Items are drawn in the calling thread, and at most ``threads + 1`` ahead of the results: few are in memory at
    any time. What ``task`` raises is raised here, in its turn.

    Args:
        task: may run in several threads at once.
        items: finite or not.
        threads: 1 or more; 1 still works beside the caller.
    """
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[R]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(task, item))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _read(item: Item) -> tuple[Item, Pixels | DataError]:
    try:
        return item, as_pixels(item.path)
    except DataError as error:
        return item, error
