"""Predicting image and video files: read, segmented and written at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

from PIL import Image
from tqdm import tqdm

from weakshot_seg.data.images import MAX_PIXELS, read_image
from weakshot_seg.data.masks import read_mask
from weakshot_seg.errors import DataError
from weakshot_seg.prediction.records import Item, Record
from weakshot_seg.prediction.results import Results
from weakshot_seg.prediction.segmenter import Pixels, Segmenter
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.visualize import labelled_overlay

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class FilePredictor:
    """Predicts what is not finished; an interrupted call goes on where it stopped, also within a video.

    ``threads`` read files, and as many write and draw. Photos of more than ``max_pixels`` are not read.
    """

    segmenter: Segmenter
    results: Results
    threads: int
    max_pixels: int = MAX_PIXELS

    def predict(self, items: Sequence[Item]) -> list[str]:
        """Predicts images, then videos; returns messages about those that cannot be read, in their order."""
        todo = [item for item in items if not self.results.finished(item)]
        images = [item for item in todo if not item.is_video]
        read = in_threads(self._read, images, self.threads)
        bar = tqdm(desc="predicting", total=len(images), unit="image", disable=None if images else True)
        failures = [str(error) for error in self._predicted(read, bar) if isinstance(error, DataError)]
        for video in (item for item in todo if item.is_video):
            try:
                self._predict_video(video)
            except ImportError as error:
                failures.append(f"cannot read video {video.path} ({error}): pip install -e '.[video]'")
            except DataError as error:
                failures.append(str(error))
        return failures

    def _predicted(
        self, images: Iterable[tuple[Item, Pixels | Record | DataError]], bar: tqdm[Any]
    ) -> Iterator[Record | DataError]:
        """The records of what is predicted and written now, then what came in place of pixels."""
        others: list[Record | DataError] = []

        def pixels_alone() -> Iterator[tuple[Item, Pixels]]:
            for item, pixels in images:
                if isinstance(pixels, Record | DataError):
                    others.append(pixels)
                    bar.update()
                else:
                    yield item, pixels

        segmentations = ((item, self.segmenter.predict(pixels)) for item, pixels in pixels_alone())
        with bar:
            for record in in_threads(lambda result: self.results.write(*result), segmentations, self.threads):
                bar.update()
                yield record
        yield from others

    def _read(self, item: Item) -> tuple[Item, Pixels | DataError]:
        try:
            return item, read_image(item.path, "replace or remove it", max_pixels=self.max_pixels)
        except DataError as error:
            return item, error

    def _predict_video(self, item: Item) -> None:
        from weakshot_seg.prediction.video_files import length_and_rate, read_frames

        every = self.results.wanted.video_every
        count, rate = length_and_rate(item.path)
        self.results.remove(item)
        parts = ((item.at(number, seconds), pixels) for number, seconds, pixels in read_frames(item.path, every))
        frames = ((part, self.results.finished(part) or pixels) for part, pixels in parts)
        bar = tqdm(desc=item.path.name, total=count and -(-count // every), unit="frame", disable=None)
        done = [record for record in self._predicted(frames, bar) if isinstance(record, Record)]
        if not done:
            raise DataError(f"video {item.path} has no frames: remove it")
        done.sort(key=lambda record: record.frame or 0)
        if self.results.wanted.overlay_size > 0:
            self._draw_video(item, done, rate / every)
        self.results.finish_video(item, done)

    def _draw_video(self, item: Item, records: Sequence[Record], rate: Fraction) -> None:
        from weakshot_seg.prediction.video_files import read_frames, write_video

        largest, split = self.results.wanted.overlay_size, self.segmenter.split
        # the legend is the same in all frames, with the classes that have a hundredth of any one
        listed = {area.class_id for record in records for area in record.classes if area.share >= 0.01}

        def draw(frame: tuple[int, float, Pixels]) -> tuple[float, Image.Image]:
            number, seconds, pixels = frame
            labels = read_mask(self.results.path("labels", item.at(number)))
            return seconds, labelled_overlay(pixels, labels, split, largest=largest, listed=listed)

        pictures = in_threads(draw, read_frames(item.path, self.results.wanted.video_every), self.threads)
        drawn = tqdm(pictures, "drawing", len(records), unit="frame", leave=False, disable=None)
        with replacing(self.results.path("overlays", item)) as temporary:
            write_video(temporary, drawn, rate)


def in_threads(task: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """``task`` of each item, in order; Pillow and NumPy let other threads work meanwhile.

    Items are drawn in the calling thread, at most ``threads + 1`` ahead of the results: few are in memory at any time.
    What ``task`` raises is raised here, in its turn.
    """
    pool, pending = ThreadPoolExecutor(threads), deque[Future[R]]()
    try:
        for item in items:
            pending.append(pool.submit(task, item))
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
