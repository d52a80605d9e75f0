"""Converts weights: ``weakshot convert source=FILE out=FILE``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig

from weakshot_seg.checkpoints.building import build_module, load_module
from weakshot_seg.checkpoints.trusted_targets import PARTS
from weakshot_seg.cli.entry_point import command
from weakshot_seg.config.compose import plain
from weakshot_seg.config.schema import check_node
from weakshot_seg.conversion.detectron2 import load_file, read_detectron2
from weakshot_seg.conversion.huggingface import read_huggingface, to_huggingface, write_huggingface
from weakshot_seg.conversion.huggingface_config import make_config, make_preprocessor
from weakshot_seg.conversion.matching import MatchReport, Source, match
from weakshot_seg.conversion.sizes import backbone_settings, fit_recipe, num_classes
from weakshot_seg.data.class_names import read_classes
from weakshot_seg.data.splits import make_split
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.recipe import Recipe
from weakshot_seg.utils.tables import first_few

EXPERIMENTS = {171: "coco", 150: "ade20k"}  # the paper's, by number of classes
SIMNET = "criterion.terms.similarity."
OPTIONAL = ("num_batches_tracked", "similarity.balance.counts")  # counters of ours that no evaluation reads


@command("convert")
def main(cfg: DictConfig) -> None:
    """Prints which tensors matched, and writes the result if all did."""
    origin, target = Path(cfg.source).expanduser(), Path(cfg.out).expanduser()
    if not origin.exists():
        raise ConfigError(f"source={origin}: no such file or folder")
    if target.exists():
        raise ConfigError(f"out={target} exists already; remove it or choose another place")
    if origin.is_dir():
        to_checkpoint(read_huggingface(origin), cfg, target)
        return
    content = load_file(origin)
    if isinstance(content, dict) and "weakshot_seg" in content:
        to_folder(content["weakshot_seg"], cfg, target)
    else:
        to_checkpoint(read_detectron2(content, origin), cfg, target)


def to_checkpoint(source: Source, cfg: DictConfig, target: Path) -> None:
    """Writes foreign weights as a checkpoint of ours."""
    count = num_classes(source.tensors)
    recipe = fit_recipe(compose_recipe(cfg.overrides, count), source)
    split = class_split(class_names(cfg.classes, count, source, recipe), recipe, cfg.split)
    recipe.data["class_names"] = list(split.names)
    module = build_module(recipe, split)
    ours = module.state_dict()
    places = ((SIMNET if name.startswith("simnet.") else "model.") + name for name in source.tensors)
    tensors = dict(zip(places, source.tensors.values(), strict=True))
    state, report = match(ours, tensors, source, [name for name in ours if name.endswith(OPTIONAL)])
    accept(report, cfg)
    checkpoint: dict[str, Any] = {"state_dict": state, "global_step": 0}
    module.on_save_checkpoint(checkpoint)
    checkpoint["weakshot_seg"]["unused"] = source.left_out  # so that the way back gives the same files
    with replacing(target) as temporary:
        torch.save(checkpoint, temporary)
    classes, novel = f"{split.num_classes} classes ({first_few(split.names)})", first_few(split.novel_names, 10)
    print(f"\n{target}: {classes}; novel (split={cfg.split}): {novel}")
    print(f"predict:  weakshot predict ckpt={target} source=PHOTOS out=predictions")
    print(f"evaluate: weakshot evaluate ckpt={target} data=... data.root=DIR")
    print(f"train on: python -m weakshot_seg.train weights={target} model.backbone.pretrained=false ...")


def compose_recipe(overrides: Sequence[str], count: int | None) -> Recipe:
    """Settings of training, for the classes of the source (``count``) unless the overrides say for which."""
    chosen = ["data.root=DIR", "output_dir=DIR", "name=converted", "loss/presence=none", *overrides]
    if not any(setting.startswith(("experiment=", "data=")) for setting in chosen):
        if count is None:
            raise ConfigError("source has no classifier; say which classes it is for: overrides=[experiment=coco]")
        paper = ["data=folder", "model=simformer", "loss=simformer", "optim=paper"]
        chosen += [f"experiment={EXPERIMENTS[count]}"] if count in EXPERIMENTS else paper
    try:
        cfg = compose("train", chosen)
    except HydraException as error:
        raise ConfigError(f"overrides={list(overrides)}: {' '.join(str(error).split())}") from error
    settings = {part: plain(cfg[part]) for part in PARTS} | {key: cfg[key] for key in ("name", "seed", "split")}
    for part in PARTS:
        check_node(part, settings[part])
    return Recipe.from_dict(settings)


def class_names(file: str | None, count: int | None, source: Source, recipe: Recipe) -> tuple[str, ...]:
    """Names by id: from a file, else of the experiment, else of the source, else numbers."""
    if file:
        names = tuple(read_classes(file, Path()).values())
        if count not in (None, len(names)):
            raise ConfigError(f"classes={file} has {len(names)} names, but source has {count} classes")
        return names
    listed = recipe.data.get("class_names")
    published = tuple(instantiate(listed) if isinstance(listed, dict) else listed or ())
    if published and count in (None, len(published)):
        return published
    if count is None:
        raise ConfigError("source has no classifier; name the classes it is for with classes=FILE")
    return source.class_names or tuple(f"class{i}" for i in range(count))


def class_split(names: tuple[str, ...], recipe: Recipe, split: int | None) -> ClassSplit:
    """The published split; None: all classes are base."""
    published = recipe.data.get("published")
    if split is not None:
        if published is None:
            raise ConfigError(f"split={split}: no published splits for these {len(names)} classes; leave it out")
        return make_split(names, split, published=published)
    try:
        return ClassSplit(names, ())
    except ValueError as error:
        raise ConfigError(f"class names of source: {error}; give others with classes=FILE") from error


def to_folder(content: Any, cfg: DictConfig, target: Path) -> None:
    """Writes a checkpoint of ours, which holds ``content`` of ours, as a Hugging Face folder."""
    module = load_module(cfg.source, cfg.allow_targets)
    model = module.recipe.model
    tensors = module.model.state_dict()
    swin = "embed_dim" in backbone_settings(tensors)
    needed = {"memory": "backbone", "memory_stride": 32}
    wrong = [f"model.{name}={model[name]}" for name, value in needed.items() if model[name] != value]
    for name in ("norm_outputs", "always_partition") if swin else ():
        wrong += [] if model["backbone"].get(name) else [f"Swin without model.backbone.{name}=true"]
    if module.model.presence is not None:
        wrong.append(f"model.presence_gamma={module.model.presence_gamma}")
    if wrong:
        raise ConfigError(f"{cfg.source}: Hugging Face's MaskFormer cannot be made of a model with {wrong[0]}")
    theirs, unknown = to_huggingface(tensors, "swin" if swin else "resnet", content.get("unused", {}))
    training = [name for name in module.state_dict() if not name.startswith("model.")]
    accept(MatchReport(sorted(tensors.keys() - set(unknown)), [], list(unknown), left_out=training), cfg)
    resize = module.recipe.data["val_transform"]
    mean, std = (statistics.flatten().tolist() for statistics in (module.model.mean, module.model.std))
    files = {
        "config.json": make_config(tensors, model["num_heads"], module.class_split.names),
        "preprocessor_config.json": make_preprocessor(mean, std, resize.get("short_edge"), resize.get("max_size")),
    }
    write_huggingface(target, theirs, files)
    print(f"\n{target}: transformers.MaskFormerForInstanceSegmentation.from_pretrained({str(target)!r})")


def accept(report: MatchReport, cfg: DictConfig) -> None:
    """Prints the report; a ConfigError if something did not match, and ``cfg.partial`` is not set."""
    print(report.text(cfg.verbose))
    if not report.complete and not cfg.partial:
        raise ConfigError(
            f"{cfg.source} matches in part only: {len(report.missing)} tensors are missing, {len(report.unexpected)} "
            f"unexpected, {len(report.reshaped)} of another shape (listed above); partial=true converts what matches"
        )
