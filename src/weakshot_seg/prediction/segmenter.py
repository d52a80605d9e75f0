"""The Python interface: images in, segmentations out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from huggingface_hub import ModelCard, ModelHubMixin
from hydra.utils import instantiate
from numpy.typing import NDArray
from PIL import Image

from weakshot_seg import __version__
from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.checkpoints.hub import download as download_model
from weakshot_seg.checkpoints.model_folder import write_folder
from weakshot_seg.checkpoints.reading import SavedModel
from weakshot_seg.data.evaluation import model_input
from weakshot_seg.data.images import read_image, upright_rgb
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.inference.semantic import Inference, best_class
from weakshot_seg.prediction.segmentation import Segmentation
from weakshot_seg.reporting.model_card import model_card
from weakshot_seg.training.module import WeakShotModule

Pixels = NDArray[np.uint8]
ImageLike = str | os.PathLike[str] | Image.Image | Pixels
"""A file, a PIL image, or an array uint8 ``[h, w, 3]`` (RGB) or ``[h, w]`` (grey)."""


def load(
    ckpt: str | Path, device: str = "auto", inference: Inference | None = None, allow_targets: Sequence[str] = ()
) -> Segmenter:
    """A ``Segmenter`` of a checkpoint, a model folder, or a model of the Hugging Face hub; else a ConfigError.

    ``allow_targets`` are packages of your own that the model was made of; never for files of strangers.
    """
    return Segmenter(load_module(ckpt, allow_targets), device, inference)


class Segmenter(ModelHubMixin, library_name="weakshot_seg"):
    """A trained model ready for images; ``split`` has the names of its ``K`` classes, and which are novel.

    ``save_pretrained(FOLDER)``, ``push_to_hub("USER/NAME")`` and ``from_pretrained(FOLDER or "USER/NAME")`` are methods
    of huggingface_hub; they write and read the files of ``weakshot card``. ``model_card_kwargs`` are ``title``,
    ``dataset`` and ``license`` of the card; ``from_pretrained`` also takes ``device`` and ``inference``.

    Args:
        module: from ``weakshot_seg.checkpoints.building.load_module``.
        device: "cpu", "cuda", "cuda:1", "mps", ... (a ConfigError if there is none); "auto": a GPU if there is one.
        inference: how each image is seen: ``weakshot_seg.inference.semantic.WholeImage``,
            ``weakshot_seg.inference.sliding.SlidingWindow`` or
            ``weakshot_seg.inference.tta.TestTimeAugmentation``; None: as in the validations of its training.
    """

    def __init__(self, module: WeakShotModule, device: str = "auto", inference: Inference | None = None) -> None:
        self.split = module.class_split
        self._inference = inference or module.inference
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
    def predict(self, images: ImageLike) -> Segmentation: ...
    @overload
    def predict(self, images: list[Any] | tuple[Any, ...]) -> list[Segmentation]: ...
    @torch.inference_mode()
    def predict(self, images: Any) -> Segmentation | list[Segmentation]:
        """Segments one or several ``ImageLike``; a DataError for a broken one.

        Photos are turned upright as their EXIF data say. None depends on the others.
        """
        if not isinstance(images, str | os.PathLike | Image.Image | np.ndarray):
            return [self.predict(image) for image in images]
        pixels = as_pixels(images)
        network, image = partial(self._module.model, last_only=True), model_input(pixels, self._transform)
        scores = self._inference(network, image.to(self.device))
        labels, confidence = best_class(scores, pixels.shape[:2])
        return Segmentation(pixels, labels.cpu().numpy(), confidence.float().cpu().numpy(), self.split, scores)

    def _save_pretrained(self, save_directory: Path) -> None:
        write_folder(save_directory, self._saved)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        device: str = "auto",
        inference: Inference | None = None,
        allow_targets: Sequence[str] = (),
        **download: Any,
    ) -> Segmenter:
        source: str | Path = model_id
        if not Path(model_id).is_dir():
            source = download_model(f"{model_id}@{revision}" if revision else model_id, **download)
        return cls(load_module(source, allow_targets), device, inference)

    def generate_model_card(self, **facts: Any) -> ModelCard:
        """The card of ``weakshot card``, without numbers: which data they are of is not known here."""
        saved, parameters = self._saved, sum(parameter.numel() for parameter in self._module.model.parameters())
        title = facts.pop("title", None) or saved.recipe.name or "model"
        dataset = facts.pop("dataset", None) or saved.recipe.data.get("published") or saved.recipe.name or "unknown"
        about = {"title": title, "dataset": dataset, "parameters": parameters, "license": facts.pop("license", None)}
        return ModelCard(model_card(saved, None, versions=[("weakshot_seg", __version__)], **about, **facts))

    @property
    def _saved(self) -> SavedModel:
        state = {name: tensor.cpu() for name, tensor in self._module.state_dict().items()}
        return SavedModel(self._module.recipe, self.split, state, self._module.trained_steps)


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
