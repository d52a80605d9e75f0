"""A model as one file for other runtimes: ``weakshot export ckpt=FILE format=onnx out=FILE``.

The file takes images of any size and number and gives labels and scores. It is compared with the model on real images,
which ``OUT.json`` is about; if they disagree, the exit code is 1 and the file is called ``OUT.rejected``.
"""

import logging
import math
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
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
from weakshot_seg.exporting.agreement import Pixels, Report, Tolerance, as_batch, batches_of, compare, measure, runner
from weakshot_seg.exporting.formats import find_format, make_metadata
from weakshot_seg.exporting.graph import SegmentationGraph, time_limit, trace
from weakshot_seg.prediction.sources import find_items
from weakshot_seg.training.module import WeakShotModule
from weakshot_seg.utils.files import replacing

log = logging.getLogger(__name__)

MOST_CALIBRATION = 300
"""Photos that int8 is calibrated on: NNCF's own number."""


@command("export")
def main(cfg: DictConfig) -> None:
    """Writes the file and the JSON, prints the figures."""
    form = find_format(cfg.format, int8=cfg.int8 is not None)
    out = Path(cfg.out or f"model{form.suffixes[0]}").expanduser()
    if out.is_dir():
        raise ConfigError(f"out={out} is a folder: name a file")
    if form.suffixes[1:] and out.suffix != form.suffixes[0]:
        raise ConfigError(f"out={out} must end with {form.suffixes[0]}; {form.suffixes[1]} comes beside it")
    paths = [out, *(out.with_suffix(suffix) for suffix in form.suffixes[1:])]
    module = load_module(cfg.ckpt, cfg.allow_targets)
    origin, photos = photos_of(cfg, module)
    batches = batches_of(photos, cfg.input_type)
    calibrated_on, calibration = None, {}
    if cfg.int8 is not None:
        calibrated_on, shown = given_photos("int8", cfg.int8, MOST_CALIBRATION, module)
        calibration = {"photos": [as_batch(photo[None], cfg.input_type) for photo in shown]}
    model = runner(partial(module.model, last_only=True))
    log.info("exporting: about half a minute%s", ", with int8 minutes" if calibration else "")
    with ExitStack() as files:
        temporaries = [files.enter_context(replacing(path)) for path in paths]  # the first one gets its name last
        with time_limit(cfg.time_limit):
            program = trace(SegmentationGraph(module.model).eval(), getattr(torch, cfg.input_type))
            form.write(program, make_metadata(module, cfg.input_type), *temporaries, **calibration)
        run = form.load(*temporaries)
        report = Report(
            file=out.name,
            format=cfg.format,
            ckpt=str(cfg.ckpt),
            step=module.trained_steps,
            compared_on=origin,
            calibrated_on=calibrated_on,
            batches=list(tqdm(compare(run, model, batches), "comparing", len(batches), unit="batch")),
            tolerance=tolerance_of(cfg),
            versions={"weakshot_seg": __version__, **{name: version(name) for name in ("torch", *form.packages)}},
            speed=measure(run, model, batches[0]) if cfg.benchmark else None,
        )
        print(report.as_text())
        kept = out if report.passed else out.with_name(f"{out.name}.rejected")
        with replacing(f"{kept}.json") as text:
            text.write_text(report.as_json(), encoding="utf-8")
        if not report.passed:
            for temporary, path in zip(temporaries, paths, strict=True):
                os.replace(temporary, path.with_name(f"{path.name}.rejected"))
            print(f"they disagree: {out} was not written; the file is {kept}, the figures are in {kept}.json")
            raise SystemExit(1)
    print(*(f"{path} ({path.stat().st_size / 1e6:.1f} MB)" for path in paths), f"{out}.json", sep=", ")


def tolerance_of(cfg: DictConfig) -> Tolerance:
    """The limits given, or usual ones."""
    usual = Tolerance(1e-3, 0.999) if cfg.int8 is None else Tolerance(math.inf, 0.9)
    given = {name: float(cfg[name]) for name in ("max_difference", "min_agreement") if cfg[name] is not None}
    return replace(usual, **given)


def photos_of(cfg: DictConfig, module: WeakShotModule) -> tuple[str, list[Pixels]]:
    """Photos to compare on, resized as in evaluation, and in words what they are.

    They are ``cfg.check_images``, else the validation images of the model, or generated scenes if these cannot be read.
    """
    if cfg.check_images is not None:
        return given_photos("check_images", cfg.check_images, cfg.num_images, module)
    source, origin = validation_images(module, cfg.ckpt), "validation images"
    if source is None:
        source, origin = SyntheticScenes("validation", cfg.num_images), "generated scenes"
    return spread(lambda i: source.load(i)[0], len(source), cfg.num_images, origin, module)


def given_photos(
    setting: str, sources: str | Sequence[str], most: int, module: WeakShotModule
) -> tuple[str, list[Pixels]]:
    """The same for the images that a setting names; videos among them are left out."""
    sources = [sources] if isinstance(sources, str) else sources
    files = sorted(item.path for item in find_items(sources, setting) if not item.is_video)
    if not files:
        raise DataError(f"{setting}={', '.join(sources)}: there are no images, only videos")
    return spread(lambda i: read_image(files[i]), len(files), most, "given images", module)


def spread(
    read: Callable[[int], Pixels], total: int, most: int, origin: str, module: WeakShotModule
) -> tuple[str, list[Pixels]]:
    """At most so many of ``total`` images, evenly spread, resized as in evaluation."""
    transform = instantiate(module.recipe.data["val_transform"])
    chosen = np.linspace(0, total - 1, min(total, most)).round().astype(int).tolist()
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
