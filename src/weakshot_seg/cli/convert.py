"""Converts weights: ``weakshot convert SRC DST``.

SRC is a detectron2 file of SimFormer or MaskFormer (``.pth``, ``.pkl``) or a Hugging Face folder of
``MaskFormerForInstanceSegmentation``, and DST becomes a checkpoint of ours; or SRC is a checkpoint of ours and DST
becomes a Hugging Face folder. Files are read as data: nothing in them is executed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from weakshot_seg.checkpoints.loading import build_module, load_module
from weakshot_seg.cli.entry_point import entry_point
from weakshot_seg.config.compose import conf_dir, plain
from weakshot_seg.config.schema import check_node
from weakshot_seg.conversion.detectron2 import load_torch, read_detectron2
from weakshot_seg.conversion.fitting import fit_recipe
from weakshot_seg.conversion.huggingface import read_huggingface, to_huggingface, write_huggingface
from weakshot_seg.conversion.huggingface_config import make_config, make_preprocessor
from weakshot_seg.conversion.report import MatchReport, match
from weakshot_seg.conversion.sizes import ModelSizes, read_sizes
from weakshot_seg.conversion.source import Source
from weakshot_seg.data.class_names import read_class_names
from weakshot_seg.data.splits import make_split
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.recipe import Recipe

EXPERIMENTS = {171: "coco", 150: "ade20k"}
"""The paper's experiments by number of classes."""
PARTS = ("model", "loss", "optim", "data")
"""Groups of settings that a checkpoint keeps."""
SIMNET = "criterion.terms.similarity.simnet."
OPTIONAL = ("num_batches_tracked", "similarity.balance.counts")
"""Ends of our names that other implementations do not store: counters that no evaluation reads."""


@entry_point
def main(arguments: Sequence[str] | None = None) -> None:
    """Converts as the command line says; see ``--help``."""
    options = _parser().parse_intermixed_args(arguments)
    source, target = Path(options.src).expanduser(), Path(options.dst).expanduser()
    if not source.exists():
        raise ConfigError(f"SRC={source}: no such file or folder")
    if target.exists():
        raise ConfigError(f"DST={target} exists already; remove it or choose another place")
    if source.is_dir():
        _import(read_huggingface(source), source, target, options)
    elif source.suffix != ".pkl" and _is_ours(source):
        _export(source, target, options)
    else:
        _import(read_detectron2(source), source, target, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="weakshot convert",
        description=__doc__.split("\n", 2)[2] if __doc__ else None,
        epilog="Example: weakshot convert model_final.pth simformer.ckpt --split 1 data.root=DIR",
    )
    parser.add_argument("src", metavar="SRC", help="detectron2 .pth or .pkl, Hugging Face folder, or our .ckpt")
    parser.add_argument("dst", metavar="DST", help="our .ckpt, or for our .ckpt as SRC a Hugging Face folder")
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        help="settings of training to store in our .ckpt, such as data.root=DIR; default: experiment=coco for 171 "
        "classes, experiment=ade20k for 150, else the paper's model with data=folder",
    )
    parser.add_argument("--partial", action="store_true", help="convert even if tensors are missing or left over")
    parser.add_argument("--split", type=int, help="published split the weights were trained on; default: all are base")
    parser.add_argument("--classes", metavar="FILE", help="class names, one per line; default: as published, or SRC's")
    parser.add_argument(
        "--allow-targets",
        metavar="NAME",
        nargs="+",
        default=(),
        help="packages of your own that the recipe in our .ckpt may name; never for files of strangers",
    )
    parser.add_argument("--verbose", action="store_true", help="also list the tensors that matched")
    return parser


def _is_ours(path: Path) -> bool:
    content = load_torch(path)
    return isinstance(content, dict) and "weakshot_seg" in content


def _import(source: Source, origin: Path, target: Path, options: argparse.Namespace) -> None:
    """Foreign weights -> a checkpoint of ours."""
    sizes = read_sizes(source.tensors)
    recipe = fit_recipe(_compose(options.overrides, sizes.num_classes), sizes, source)
    names = _class_names(sizes, source, recipe, options)
    recipe.data["class_names"] = list(names)
    module = build_module(recipe, _class_split(names, recipe, options.split))
    ours = module.state_dict()
    tensors = {
        SIMNET + name.removeprefix("simnet.") if name.startswith("simnet.") else f"model.{name}": tensor
        for name, tensor in source.tensors.items()
    }
    optional = [name for name in ours if name.endswith(OPTIONAL)]
    state, report = match(ours, tensors, optional, source.unexpected, source.left_out)
    _accept(report, origin, options)
    checkpoint: dict[str, Any] = {"state_dict": state, "global_step": 0}
    module.on_save_checkpoint(checkpoint)
    checkpoint["weakshot_seg"]["unused"] = source.left_out  # so that the way back gives the same files
    with replacing(target) as temporary:
        torch.save(checkpoint, temporary)
    novel = ", ".join(module.class_split.novel_names) or "none (see --split)"
    print(f"\n{target}: {len(names)} classes ({', '.join(names[:3])}, ...); novel: {novel}")
    print(f"predict:  weakshot predict ckpt={target} source=PHOTOS out=predictions")
    print(f"evaluate: weakshot evaluate ckpt={target} data=... data.root=DIR")
    print(f"train on: python -m weakshot_seg.train weights={target} model.backbone.pretrained=false ...")


def _compose(overrides: Sequence[str], num_classes: int | None) -> Recipe:
    """Settings of training, for the classes of the source unless the overrides say for which."""
    chosen = list(overrides)
    if not any(setting.startswith(("experiment=", "data=")) for setting in chosen):
        if num_classes is None:
            raise ConfigError("SRC has no classifier; say which classes it is for with experiment=coco or ade20k")
        paper = ["data=folder", "model=simformer", "loss=simformer", "optim=paper"]
        chosen += [f"experiment={EXPERIMENTS[num_classes]}"] if num_classes in EXPERIMENTS else paper
    for key, value in (("data.root", "DIR"), ("name", "converted")):
        if not any(setting.startswith(f"{key}=") for setting in chosen):
            chosen.append(f"{key}={value}")
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", chosen)
        recipe = {part: plain(cfg[part]) for part in PARTS} | {"name": cfg.name, "seed": cfg.seed, "split": cfg.split}
    for part in PARTS:
        check_node(part, recipe[part])
    return Recipe.from_dict(recipe)


def _class_names(sizes: ModelSizes, source: Source, recipe: Recipe, options: argparse.Namespace) -> tuple[str, ...]:
    """Names by id: from ``--classes``, the experiment, the source, or numbers."""
    count = sizes.num_classes
    if options.classes:
        names = read_class_names(options.classes, Path())
        if count is not None and len(names) != count:
            raise ConfigError(f"--classes {options.classes} has {len(names)} names, but SRC has {count} classes")
        return names
    listed = recipe.data.get("class_names")
    published = tuple(instantiate(listed) if isinstance(listed, dict) else listed or ())
    if published and count in (None, len(published)):
        return published
    if count is None:
        raise ConfigError("SRC has no classifier; name the classes it is for with --classes FILE")
    return source.class_names or tuple(f"class{i}" for i in range(count))


def _class_split(names: tuple[str, ...], recipe: Recipe, split: int | None) -> ClassSplit:
    published = recipe.data.get("published")
    if split is not None:
        if published is None:
            raise ConfigError(f"--split {split}: no published splits for these {len(names)} classes; leave it out")
        return make_split(names, split, published=published)
    try:
        return ClassSplit(names, ())
    except ValueError as error:
        raise ConfigError(f"class names of SRC: {error}; give others with --classes FILE") from error


def _export(origin: Path, target: Path, options: argparse.Namespace) -> None:
    """A checkpoint of ours -> a Hugging Face folder."""
    module = load_module(origin, options.allow_targets)
    model = module.recipe.model
    tensors = module.model.state_dict()
    sizes = read_sizes(tensors)
    backbone = sizes.backbone
    assert backbone is not None
    swin = backbone.family == "swin"
    for problem, what in (
        (model["memory"] != "backbone", f"model.memory={model['memory']}"),
        (model["memory_stride"] != 32, f"model.memory_stride={model['memory_stride']}"),
        (swin and not backbone.norm_outputs, "Swin without model.backbone.norm_outputs=true"),
        (swin and not model["backbone"].get("always_partition"), "Swin without model.backbone.always_partition=true"),
    ):
        if problem:
            raise ConfigError(f"{origin}: Hugging Face's MaskFormer cannot be made of a model with {what}")
    carried = load_torch(origin)["weakshot_seg"].get("unused", {})
    theirs, unknown = to_huggingface(tensors, backbone.family, carried)
    training = [name for name in module.state_dict() if not name.startswith("model.")]
    matched = tuple(sorted(tensors.keys() - set(unknown)))
    _accept(MatchReport(matched, (), unknown, left_out=tuple(training)), origin, options)
    resize = module.recipe.data["val_transform"]
    mean, std = (tuple(t.flatten().tolist()) for t in (module.model.mean, module.model.std))
    files = {
        "config.json": make_config(sizes, model["num_heads"], module.class_split.names),
        "preprocessor_config.json": make_preprocessor(mean, std, resize.get("short_edge"), resize.get("max_size")),
    }
    write_huggingface(target, theirs, files)
    print(f"\n{target}: transformers.MaskFormerForInstanceSegmentation.from_pretrained({str(target)!r})")


def _accept(report: MatchReport, origin: Path, options: argparse.Namespace) -> None:
    """Prints the report; raises unless everything matched or ``--partial`` was given."""
    print(report.text(options.verbose))
    if not report.complete and not options.partial:
        raise ConfigError(
            f"{origin} matches in part only: {len(report.missing)} tensors are missing, {len(report.unexpected)} "
            f"unexpected, {len(report.reshaped)} of another shape (listed above); nothing was written; use --partial "
            "to convert what matches"
        )


if __name__ == "__main__":
    main()
