"""What a dataset reader is, and a view on some of its images."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.errors import DataError
from weakshot_seg.structures import Knowledge

Image = NDArray[np.uint8]


class LabelledImages(Protocol):
    """Images with label maps or tags. Raw dataset ids end here: inside there are only 0..K-1 and ``IGNORE`` = 255.

    ``load`` gives the masks of *all* classes, novel ones included. Only
    :class:`~weakshot_seg.data.weak_labels.WeakShotDataset` (which hides them) and the evaluation (which needs them)
    may call it. Where not every image has a mask of all classes, there is also ``states(novel)``, see
    :func:`states_of`.
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """``K`` names; the position is the class id."""

    def __len__(self) -> int:
        """Number of images."""

    def name(self, index: int) -> str:
        """A short name for logs, errors and file names."""

    def load(self, index: int) -> tuple[Image, Image | None]:
        """The RGB image uint8 ``[h, w, 3]`` and the label map uint8 ``[h, w]`` of ids 0..K-1 and ``IGNORE``.

        The map is None if the image has none: then nothing is known of its pixels.
        """

    def presence(self) -> NDArray[np.bool_]:
        """Which classes each image shows, by its label map or by its tags: bool ``[len, K]``."""


def states_of(source: LabelledImages, novel: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """What each image declares of each class, a :class:`Knowledge`: uint8 ``[len, K]``, a copy.

    ``novel`` (bool ``[K]``; None: all) are the classes whose masks do not count unless an image names them: if such a
    class is neither in its mask nor among its tags, it is absent. The masks of a source without ``states`` are whole.
    """
    shape = len(source), len(source.class_names)
    novel = np.ones(shape[1], dtype=bool) if novel is None else novel
    states: NDArray[np.uint8] = (
        source.states(novel) if hasattr(source, "states") else np.full(shape, Knowledge.MASK, dtype=np.uint8)
    )
    return states


def by_tag(source: LabelledImages) -> NDArray[np.bool_]:
    """The part of ``presence()`` that is known by tags and that no label map shows: bool ``[len, K]``."""
    return states_of(source) == Knowledge.PRESENT


def tag_only_classes(source: LabelledImages) -> tuple[str, ...]:
    """Names of the classes that have tags and not a single mask."""
    tags = by_tag(source)
    only = tags.any(0) & ~(source.presence() & ~tags).any(0)
    return tuple(source.class_names[i] for i in np.flatnonzero(only))


def load_labelled(source: LabelledImages, index: int) -> tuple[Image, Image | None]:
    """``source.load(index)``; a ``DataError`` if the sizes differ: files can change after they were checked."""
    image, label_map = source.load(index)
    if label_map is not None and label_map.shape != image.shape[:2]:
        raise DataError(of_other_size(f"the mask of {source.name(index)}", label_map.shape, image.shape[:2]))
    return image, label_map


def of_other_size(mask: str, shape: Sequence[int], image: Sequence[int]) -> str:
    """What is wrong with a mask whose height and width (``shape``) are not those of its ``image``, and the remedy."""
    return (
        f"{mask} is {shape[1]}x{shape[0]} but its image is {image[1]}x{image[0]}: resize the mask (nearest neighbour) "
        "or replace it"
    )


def present_classes(label_map: Image, num_classes: int) -> NDArray[np.bool_]:
    """Which classes a map of class ids shows: bool ``[num_classes]``."""
    return np.bincount(label_map.ravel(), minlength=num_classes)[:num_classes] > 0


class Selection:
    """The images ``indices`` of another source, in that order; implements :class:`LabelledImages`, with states."""

    def __init__(self, source: LabelledImages, indices: Sequence[int] | NDArray[np.integer]) -> None:
        self.class_names = source.class_names
        self._source = source
        self._indices = np.asarray(indices, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._indices)

    def name(self, index: int) -> str:
        """See :class:`LabelledImages`."""
        return self._source.name(int(self._indices[index]))

    def load(self, index: int) -> tuple[Image, Image | None]:
        """See :class:`LabelledImages`."""
        return self._source.load(int(self._indices[index]))

    def presence(self) -> NDArray[np.bool_]:
        """See :class:`LabelledImages`."""
        return self._source.presence()[self._indices]

    def states(self, novel: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """See :func:`states_of`."""
        return states_of(self._source, novel)[self._indices]
