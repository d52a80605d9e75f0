"""Predicting image files: read, segmented and written at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tqdm import tqdm

from weakshot_seg.errors import DataError
from weakshot_seg.prediction.results import Results
from weakshot_seg.prediction.segmentation import Segmentation
from weakshot_seg.prediction.segmenter import Pixels, Segmenter, as_pixels
from weakshot_seg.prediction.sources import Item
from weakshot_seg.prediction.threads import in_threads


def predict_images(
    segmenter: Segmenter, items: Sequence[Item], results: Results, batch_size: int, threads: int
) -> list[str]:
    """Predicts the images that are not finished.

    Args:
        segmenter: the model.
        items: images.
        results: where they go.
        batch_size: most images in one pass, see :meth:`Segmenter.stream`.
        threads: that read, and that write.

    Returns:
        Messages about the images that cannot be read, in their order.

    Raises:
        ConfigError: see :meth:`Results.finished` and :meth:`Results.write`.
    """
    todo = [item for item in items if not results.finished(item)]
    failures: list[str] = []
    with tqdm(
        desc="predicting", total=len(items), initial=len(items) - len(todo), unit="image", disable=None
    ) as progress:

        def readable() -> Iterator[tuple[Item, Pixels]]:
            for item, pixels in in_threads(_read, todo, threads):
                if isinstance(pixels, DataError):
                    failures.append(str(pixels))
                    progress.update()
                else:
                    yield item, pixels

        def write(result: tuple[Item, Segmentation]) -> None:
            results.write(*result)

        for _ in in_threads(write, segmenter.stream(readable(), batch_size), threads):
            progress.update()
    return failures


def _read(item: Item) -> tuple[Item, Pixels | DataError]:
    try:
        return item, as_pixels(item.path)
    except DataError as error:
        return item, error
