"""A model as one file for other runtimes: ``weakshot export ckpt=FILE format=onnx out=FILE``.

The file takes images of any size and number and gives labels and scores. It is compared with the model on real images,
which ``OUT.json`` is about; if they disagree, the exit code is 1 and the file is called ``OUT.rejected``.
"""

import logging
import os
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from tqdm import tqdm

from weakshot_seg import __version__
from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.checkpoints.data_settings import own_data
from weakshot_seg.cli.entry_point import command
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.data.images import read_image
from weakshot_seg.data.source import LabelledImages
from weakshot_seg.data.synthetic.scenes import SyntheticScenes
from weakshot_seg.errors import ConfigError, DataError, UserError
from weakshot_seg.exporting.agreement import Pixels, Report, Tolerance, batches_of, compare, measure, runner
from weakshot_seg.exporting.formats import find_format, make_metadata
from weakshot_seg.exporting.graph import SegmentationGraph, time_limit, trace
from weakshot_seg.prediction.sources import find_items
from weakshot_seg.training.module import WeakShotModule
from weakshot_seg.utils.files import replacing

log = logging.getLogger(__name__)


@command("export")
def main(cfg: DictConfig) -> None:
    """Writes the file and the JSON, prints the figures."""
    form = find_format(cfg.format)
    out = Path(cfg.out or f"model{form.suffix}").expanduser()
    if out.is_dir():
        raise ConfigError(f"out={out} is a folder: name a file")
    module = load_module(cfg.ckpt, cfg.allow_targets)
    origin, photos = photos_of(cfg, module)
    batches = batches_of(photos, cfg.input_type)
    model = runner(partial(module.model, last_only=True))
    log.info("exporting: about half a minute")
    with replacing(out) as temporary:
        with time_limit(cfg.time_limit):
            program = trace(SegmentationGraph(module.model).eval(), getattr(torch, cfg.input_type))
            form.write(program, make_metadata(module, cfg.input_type), temporary)
        run = form.load(temporary)
        report = Report(
            file=out.name,
            format=cfg.format,
            ckpt=str(cfg.ckpt),
            step=module.trained_steps,
            compared_on=origin,
            batches=list(tqdm(compare(run, model, batches), "comparing", len(batches), unit="batch")),
            tolerance=Tolerance(float(cfg.max_difference), float(cfg.min_agreement)),
            versions={"weakshot_seg": __version__, **{name: version(name) for name in ("torch", *form.packages)}},
            speed=measure(run, model, batches[0]) if cfg.benchmark else None,
        )
        print(report.as_text())
        kept = out if report.passed else out.with_name(f"{out.name}.rejected")
        with replacing(f"{kept}.json") as text:
            text.write_text(report.as_json(), encoding="utf-8")
        if not report.passed:
            os.replace(temporary, kept)
            print(f"they disagree: {out} was not written; the file is {kept}, the figures are in {kept}.json")
            raise SystemExit(1)
    print(f"{out} ({out.stat().st_size / 1e6:.1f} MB), {out}.json")


def photos_of(cfg: DictConfig, module: WeakShotModule) -> tuple[str, list[Pixels]]:
    """Photos to compare on, resized as in evaluation, and in words what they are.

    They are ``cfg.check_images``, else the validation images of the model, or generated scenes if these cannot be read.
    """
    read: Callable[[int], Pixels]
    if cfg.check_images is not None:
        sources = [cfg.check_images] if isinstance(cfg.check_images, str) else cfg.check_images
        items = find_items(sources, "check_images")
        files = sorted(item.path for item in items if not item.is_video)
        if not files:
            raise DataError(f"check_images={', '.join(sources)}: there are no images, only videos")
        origin, total, read = "given images", len(files), lambda i: read_image(files[i])
    else:
        source, origin = validation_images(module, cfg.ckpt), "validation images"
        if source is None:
            source, origin = SyntheticScenes("validation", cfg.num_images), "generated scenes"
        total, read = len(source), lambda i: source.load(i)[0]
    transform = instantiate(module.recipe.data["val_transform"])
    chosen = np.linspace(0, total - 1, min(total, cfg.num_images)).round().astype(int).tolist()  # evenly spread
    return f"{len(chosen)} of {total} {origin}", [transform(read(i)) for i in chosen]


def validation_images(module: WeakShotModule, ckpt: str) -> LabelledImages | None:
    """The validation images that a model was measured on, or None if they are not there."""
    try:
        recipe = own_data(module, ckpt)
        data: WeakShotDataModule = instantiate(recipe | ({"verify": False} if "verify" in recipe else {}))
        if data.make_val and len(source := data.make_val()):
            return source
        reason = "there are none"
    except UserError as error:
        reason = str(error)
    log.warning("no validation images (%s): compared on generated scenes; better: check_images=DIR", reason)
    return None
