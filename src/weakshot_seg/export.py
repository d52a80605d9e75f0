"""Exports a model and checks the file: ``python -m weakshot_seg.export ckpt=FILE format=onnx|torch_export``.

Settings: ``conf/export.yaml``. The exit code is 1, and no file is left, if the file does not agree with the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hydra
import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig

from weakshot_seg.config import conf_dir, entry_point
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.exporting.agreement import Agreement, compare, time_both
from weakshot_seg.exporting.formats import FORMATS, Metadata
from weakshot_seg.inference.graph import OUTPUTS, SegmentationGraph
from weakshot_seg.segmenter import Pixels, Segmenter, as_pixels, load
from weakshot_seg.sources import find_images
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.tables import aligned


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="export")
@entry_point
def main(cfg: DictConfig) -> None:
    """Writes the file, compares and times it, prints the figures."""
    if cfg.format not in FORMATS or cfg.output not in OUTPUTS:
        raise ConfigError(
            f"format={cfg.format} output={cfg.output}: format is one of {', '.join(FORMATS)}, "
            f"output one of {', '.join(OUTPUTS)}"
        )
    form = FORMATS[cfg.format]
    segmenter = load(cfg.ckpt, "cpu")
    images = list(_images(cfg.images, cfg.num_images, segmenter))
    out = Path(cfg.out or Path(cfg.ckpt).with_suffix(form.suffix)).expanduser()
    graph = SegmentationGraph(segmenter.module.model, cfg.output).eval()
    metadata = Metadata.of(segmenter.module, cfg.output)
    with replacing(out) as temporary:
        form.write(graph, metadata, temporary)
        run = form.load(temporary)
        agreements = compare(run, graph, segmenter, images)
        print(_table(agreements))
        worst = min(agreement.labels for agreement in agreements)
        largest = max(agreement.difference or 0.0 for agreement in agreements)
        if worst < cfg.min_agreement or not largest <= cfg.max_difference:
            print(
                f"\n{cfg.format} and the model disagree: {worst:.5f} of the pixels have the same class (min_agreement="
                f"{cfg.min_agreement}), scores differ by up to {largest:.2g} (max_difference={cfg.max_difference}); "
                f"{out} was not written"
            )
            raise SystemExit(1)
        theirs, ours = time_both(run, graph, images[0])
        size = temporary.stat().st_size / 2**20
    height, width = images[0].shape[:2]
    print(
        f"\nspeed on CPU, one image of {width}x{height}: {cfg.format} {1000 * theirs:.1f} ms, PyTorch "
        f"{1000 * ours:.1f} ms\n{out.absolute()}: {size:.1f} MB"
    )


def _images(source: str | None, count: int, segmenter: Segmenter) -> Iterator[Pixels]:
    """Images resized for the model."""
    if count < 1:
        raise ConfigError(f"num_images={count} must be positive")
    if source is not None:
        files = find_images(source)
        for index in _spread(len(files), count):
            yield segmenter.transform(as_pixels(files[index]))
        return
    try:
        data: WeakShotDataModule = instantiate(segmenter.module.recipe["data"])
        data.setup("validate")
        images = data.val_source
    except (DataError, TypeError, KeyError) as error:
        raise ConfigError(f"the checkpoint's validation images cannot be used: give images=DIR ({error})") from error
    if images is None or not len(images):
        raise ConfigError("the checkpoint has no validation images: give images=DIR")
    for index in _spread(len(images), count):
        yield segmenter.transform(images.load(index)[0])


def _spread(length: int, count: int) -> list[int]:
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int)).tolist()


def _table(agreements: list[Agreement]) -> str:
    head = ("images", "size", "same class", "largest difference of scores")
    rows = [
        (str(a.images), f"{a.width}x{a.height}", f"{100 * a.labels:.3f} %", f"{a.difference:.2g}" if a.difference is not None else "-")
        for a in agreements
    ]
    return aligned([head, *rows], ">>>>")


if __name__ == "__main__":
    main()
