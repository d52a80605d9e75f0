"""Segments images: ``python -m weakshot_seg.predict ckpt=FILE source=FILE|DIR|GLOB out=DIR``."""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterator
from pathlib import Path

import hydra
import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from tqdm import tqdm

from weakshot_seg.checkpoint import load_module
from weakshot_seg.config import conf_dir, entry_point
from weakshot_seg.data.images import IMAGE_SUFFIXES, read_image
from weakshot_seg.errors import DataError
from weakshot_seg.lightning_module import WeakShotModule
from weakshot_seg.structures import IGNORE, EvalBatch
from weakshot_seg.utils.padding import pad_batch
from weakshot_seg.utils.visualize import label_png, labelled_overlay, palette

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="predict")
@entry_point
def main(cfg: DictConfig) -> None:
    """Writes for each image an indexed label PNG and an overlay with a legend."""
    files = find_images(cfg.source)
    module = load_module(cfg.ckpt, cfg.allow_targets)
    device = "cuda" if cfg.device == "auto" and torch.cuda.is_available() else cfg.device.replace("auto", "cpu")
    module.to(device)
    module.inference = instantiate(cfg.inference)
    transform = instantiate(module.recipe["data"]["val_transform"])
    out = Path(cfg.out)
    out.mkdir(parents=True, exist_ok=True)
    colours = palette(module.class_split.num_classes)
    for path, name in zip(tqdm(files, desc="predicting", unit="image"), output_names(files), strict=True):
        image = read_image(path)
        labels = predict_image(module, image, transform(image), device)
        label_png(labels, colours).save(out / f"{name}.png")
        overlay = labelled_overlay(image, labels, module.class_split.names, module.class_split.novel)
        overlay.save(out / f"{name}_overlay.png")
    print(f"{len(files)} label maps and overlays in {out}")


def find_images(source: str) -> list[Path]:
    """Files named by a path, a folder (searched recursively) or a glob pattern, sorted.

    Raises:
        DataError: nothing was found.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return [path]
    found: Iterator[Path] | list[Path] = (
        path.rglob("*") if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))
    )
    files = sorted(file for file in found if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
    if not files:
        raise DataError(f"source={source}: no such file, or no images ({', '.join(sorted(IMAGE_SUFFIXES))}) there")
    return files


def output_names(files: list[Path]) -> list[str]:
    """One distinct name per file: the stem, or the whole path with ``_`` for ``/`` where two stems are equal."""
    stems = [file.stem for file in files]
    return [s if stems.count(s) == 1 else "_".join(f.parts).strip("/_") for s, f in zip(stems, files, strict=True)]


@torch.inference_mode()
def predict_image(module: WeakShotModule, image: np.ndarray, resized: np.ndarray, device: str) -> np.ndarray:
    """Label map uint8 ``[h, w]`` at the size of ``image``, from the image resized for the model."""
    padded = pad_batch([torch.from_numpy(resized).permute(2, 0, 1)])
    size_carrier = torch.full(image.shape[:2], IGNORE, dtype=torch.uint8)
    batch = EvalBatch(padded.to(device), (resized.shape[:2],), (size_carrier,), ("",))
    return module.predict_batch(batch)[0].cpu().numpy()


if __name__ == "__main__":
    main()
