"""Segments images: ``python -m weakshot_seg.predict ckpt=FILE source=FILE|DIR|GLOB out=DIR``."""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterator
from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig
from tqdm import tqdm

from weakshot_seg.config import conf_dir, entry_point
from weakshot_seg.data.images import IMAGE_SUFFIXES
from weakshot_seg.errors import DataError
from weakshot_seg.segmenter import load

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="predict")
@entry_point
def main(cfg: DictConfig) -> None:
    """Writes for each image an indexed label PNG and an overlay with a legend."""
    files = find_images(cfg.source)
    segmenter = load(cfg.ckpt, cfg.device, instantiate(cfg.inference), cfg.allow_targets)
    out = Path(cfg.out)
    out.mkdir(parents=True, exist_ok=True)
    for path, name in zip(tqdm(files, desc="predicting", unit="image"), output_names(files), strict=True):
        result = segmenter.predict(path)
        result.label_image().save(out / f"{name}.png")
        result.overlay().save(out / f"{name}_overlay.png")
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


if __name__ == "__main__":
    main()
