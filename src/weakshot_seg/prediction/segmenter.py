"""The Python interface: images in, segmentations out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from PIL import Image

from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.data.images import read_image, upright_rgb
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.inference.semantic import Inference, WholeImage, best_class
from weakshot_seg.prediction.segmentation import Segmentation
from weakshot_seg.training.module import WeakShotModule
from weakshot_seg.utils.padding import pad_batch, padded_size

Pixels = NDArray[np.uint8]
ImageLike = str | os.PathLike[str] | Image.Image | Pixels
"""A file, a PIL image, or an array uint8 ``[h, w, 3]`` (RGB) or ``[h, w]`` (grey)."""
Key = TypeVar("Key")


def load(
    ckpt: str | Path, device: str = "auto", inference: Inference | None = None, allow_targets: Sequence[str] = ()
) -> Segmenter:
    """A :class:`Segmenter` of a checkpoint, a model folder, or a model of the Hugging Face hub; else a ConfigError.

    ``allow_targets`` are packages of your own that the model was made of; never for files of strangers.
    """
    return Segmenter(load_module(ckpt, allow_targets), device, inference)


class Segmenter:
    """A trained model ready for images; ``split`` has the names of its ``K`` classes, and which are novel.

    Args:
        module: from :func:`~weakshot_seg.checkpoints.building.load_module`.
        device: "cpu", "cuda", "cuda:1", "mps", ... (a ConfigError if there is none); "auto": a GPU if there is one.
        inference: how each image is seen: :class:`~weakshot_seg.inference.semantic.WholeImage` (None),
            :class:`~weakshot_seg.inference.sliding.SlidingWindow` or
            :class:`~weakshot_seg.inference.tta.TestTimeAugmentation`.
    """

    def __init__(self, module: WeakShotModule, device: str = "auto", inference: Inference | None = None) -> None:
        self.split = module.class_split
        self._inference = inference or WholeImage()
        self._transform = instantiate(module.recipe.data["val_transform"])
        if device == "auto":
            accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
            device = accelerator.type if accelerator else "cpu"
        try:
            self.device = torch.device(device)
            self._module = module.eval().to(self.device)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"device={device} cannot be used: {str(error).splitlines()[0]}") from error

    @overload
    def predict(self, images: ImageLike, batch_size: int = ...) -> Segmentation: ...
    @overload
    def predict(self, images: list[Any] | tuple[Any, ...], batch_size: int = ...) -> list[Segmentation]: ...
    def predict(self, images: Any, batch_size: int = 8) -> Segmentation | list[Segmentation]:
        """Segments one or several :data:`ImageLike`, at most ``batch_size`` together; a DataError for a broken one.

        Photos are turned upright as their EXIF data say.
        """
        if isinstance(images, str | os.PathLike | Image.Image | np.ndarray):
            return self.predict([images], 1)[0]
        return [result for _, result in sorted(self.stream(enumerate(images), batch_size))]

    def stream(
        self, images: Iterable[tuple[Key, ImageLike]], batch_size: int = 8
    ) -> Iterator[tuple[Key, Segmentation]]:
        """Segments images as they come, in batches of equal size; few are in memory at any time.

        Yields the key that came with an image and its segmentation, images of equal size in their order; else as
        :meth:`predict`.
        """
        waiting: dict[tuple[int, int], list[tuple[Key, Pixels, Pixels]]] = {}
        for key, image in images:
            pixels = as_pixels(image)
            resized = self._transform(pixels)
            group = resized.shape[:2]
            # Images of one batch never pad each other, so that no result depends on the other images. Augmentation
            # pads again after scaling: there only equal sizes stay equal.
            if isinstance(self._inference, WholeImage):
                group = padded_size([group])
            waiting.setdefault(group, []).append((key, pixels, resized))
            if len(waiting[group]) >= batch_size:
                yield from self._batch(waiting.pop(group))
            elif sum(map(len, waiting.values())) >= 4 * batch_size:
                yield from self._batch(waiting.pop(next(iter(waiting))))
        for entries in waiting.values():
            yield from self._batch(entries)

    @torch.inference_mode()  # of a generator: not where it yields
    def _batch(self, entries: Sequence[tuple[Key, Pixels, Pixels]]) -> Iterator[tuple[Key, Segmentation]]:
        tensors = [torch.from_numpy(resized).permute(2, 0, 1) for _, _, resized in entries]
        contents = [resized.shape[:2] for _, _, resized in entries]
        network = partial(self._module.model, last_only=True)
        scores_of_images = self._inference(network, pad_batch(tensors).to(self.device), contents)
        for (key, pixels, _), scores in zip(entries, scores_of_images, strict=True):
            labels, confidence = best_class(scores, pixels.shape[:2])
            yield key, Segmentation(pixels, labels.cpu().numpy(), confidence.float().cpu().numpy(), self.split, scores)


def as_pixels(image: ImageLike) -> Pixels:
    """Any image as RGB uint8 ``[h, w, 3]``; a DataError if the file cannot be read, or the array is no image."""
    if isinstance(image, Image.Image):
        return upright_rgb(image)
    if isinstance(image, str | os.PathLike):
        return read_image(Path(image).expanduser(), "replace or remove it")
    if image.dtype != np.uint8 or image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise DataError(
            f"an image array must be uint8 [h, w, 3] (RGB) or [h, w] (grey), got {image.dtype} {list(image.shape)}"
        )
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else np.ascontiguousarray(image)
