"""The model card: what a model is, what it was taught with, how good it is, and how to use it, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from weakshot_seg.checkpoints.model_folder import SavedModel
from weakshot_seg.reporting.measured import Measured
from weakshot_seg.utils.recipe import Recipe

LIBRARY = "weakshot_seg"
Row = tuple[str, ...]


@dataclass(frozen=True)
class CardFacts:
    """All that a card tells.

    Attributes:
        title: above it.
        saved: the model, with the recipe as it was trained.
        parameters: how many numbers were learned.
        versions: (library, version) of what wrote the card.
        measured: its metrics; None: unknown.
        dataset: what it was trained on, in words.
        license: of the weights, as the hub spells it; None: not stated.
    """

    title: str
    saved: SavedModel
    parameters: int
    versions: Sequence[tuple[str, str]]
    measured: Measured | None
    dataset: str
    license: str | None


def model_card(facts: CardFacts) -> str:
    """``README.md`` with YAML front matter as the Hugging Face hub reads it."""
    split = facts.saved.class_split
    novel = ", ".join(map(escaped, split.novel_names)) or "none"
    sections = (
        f"---\n{_front_matter(facts)}---",
        f"# {escaped(facts.title)}",
        f"Semantic segmentation of {split.num_classes} classes. {_supervision(facts.saved)} Novel classes: {novel}.",
        f"Written by [{LIBRARY}](https://arxiv.org/abs/2210.02270), an implementation of SimFormer "
        "(Weak-shot Semantic Segmentation via Dual Similarity Transfer, NeurIPS 2022).",
        f"## Use\n\n{_use()}",
        f"## Quality\n\n{_quality(facts)}",
        f"## Classes\n\n{_classes(facts)}",
        f"## Training\n\n{_training(facts)}",
        f"## Intended use and limits\n\n{_limits(facts)}",
        f"## Versions\n\n{_table([('library', 'version'), *facts.versions])}",
        f"## Citation\n\n{CITATION}",
    )
    return "\n\n".join(sections) + "\n"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(text.split()))


def _front_matter(facts: CardFacts) -> str:
    results = []
    if facts.measured is not None:
        dataset = re.sub("[^a-z0-9]+", "-", facts.dataset.lower()).strip("-")
        for name, kind, value in (
            ("novel IoU", "mean_iou", facts.measured.novel_iou),
            ("base IoU", "mean_iou", facts.measured.base_iou),
            ("mean IoU", "mean_iou", facts.measured.miou),
            ("pixel accuracy", "accuracy", facts.measured.pixel_accuracy),
        ):
            if value is not None:
                results.append(
                    EvalResult("image-segmentation", dataset, facts.dataset, kind, round(value, 2), metric_name=name)
                )
    data = ModelCardData(
        license=facts.license,
        library_name=LIBRARY,
        pipeline_tag="image-segmentation",
        tags=["semantic-segmentation", "weak-supervision", "weak-shot", "simformer", "maskformer"],
        model_name=facts.title,
        eval_results=results or None,
    )
    return data.to_yaml() + "\n"


def _supervision(saved: SavedModel) -> str:
    recipe = saved.recipe
    if saved.step == 0:
        return "The weights come from elsewhere (`weakshot convert`); how they were trained is not recorded here."
    match recipe.supervision or "weakshot":
        case "base_only":
            return "Trained with masks of the base classes and nothing about the novel ones (a lower bound)."
        case "full":
            return "Trained with masks of all classes, also of the novel ones (an upper bound: no weak supervision)."
    text = "Base classes were taught with pixel masks, novel classes with image-level labels (tags): no mask of theirs."
    if recipe.data.get("label_scope") == "crop":
        text = (
            "Base classes were taught with pixel masks, novel classes with labels of each crop: their masks told which "
            "of them are in the crop, and nothing else."
        )
    if recipe.stage == "retrain":
        text += " This is the second stage, trained on the pseudo-labels of a first model."
    return text


def _use() -> str:
    return """```python
import weakshot_seg

segmenter = weakshot_seg.load("PATH")  # this folder, or USER/NAME at the Hugging Face hub
result = segmenter.predict("photo.jpg")
```

```bash
weakshot predict ckpt=PATH source=PHOTOS out=predictions
weakshot app ckpt=PATH
```"""


def _quality(facts: CardFacts) -> str:
    measured, split = facts.measured, facts.saved.class_split
    if measured is None:
        return (
            "Not measured with these weights. `weakshot evaluate ckpt=PATH data=folder data.root=DIR` "
            "does so on photos with masks."
        )
    rows = [
        ("", "IoU", "accuracy", "classes"),
        ("base", _number(measured.base_iou), _number(measured.base_accuracy), str(len(split.base))),
        ("novel ★", _number(measured.novel_iou), _number(measured.novel_accuracy), str(len(split.novel))),
        ("all", _number(measured.miou), _number(measured.mean_accuracy), str(split.num_classes)),
        ("per pixel", _number(measured.frequency_weighted_iou), _number(measured.pixel_accuracy), ""),
    ]
    return f"In percent, on the validation images, after {measured.step} steps.\n\n{_table(rows, '<>>>')}"


def _classes(facts: CardFacts) -> str:
    split = facts.saved.class_split
    rows: list[Row] = [("id", "class", "kind")]
    rows += [(str(i), escaped(name), "novel ★" if i in split.novel else "base") for i, name in enumerate(split.names)]
    sides = "><<"
    if facts.measured is not None:
        sides = "><<>>"
        numbers = zip(map(_number, facts.measured.iou), map(_number, facts.measured.accuracy), strict=True)
        rows = [a + b for a, b in zip(rows, [("IoU", "accuracy"), *numbers], strict=True)]
    return _table(rows, sides)


def _training(facts: CardFacts) -> str:
    recipe = facts.saved.recipe
    model, data, optim, trainer = recipe.model, recipe.data, recipe.optim, recipe.trainer
    left_out = recipe.loss.get("without") or []
    terms = {
        name: term.get("weight")
        for name, term in recipe.loss["terms"].items()
        if isinstance(term, dict) and name not in left_out
    }
    transform = data.get("train_transform", {})
    rows: list[tuple[str, object]] = [
        ("data", facts.dataset),
        ("split", recipe.split),
        ("backbone", f"{model['backbone'].get('name')} ({facts.parameters / 1e6:.1f} M parameters with the rest)"),
        ("started from", _start(recipe)),
        ("queries", model.get("num_queries") or "one per class"),
        ("losses", ", ".join(f"{name} {weight}" for name, weight in terms.items())),
        ("optimiser", ", ".join(f"{key} {value}" for key, value in optim.items() if not key.startswith("_"))),
        ("steps", facts.saved.step),
        ("images per step", _images_per_step(data, trainer)),
        ("crop", transform.get("crop_size")),
        ("size at prediction", _short_edge(data)),
        ("precision", trainer.get("precision")),
        ("seed", recipe.seed),
    ]
    known = [(name, escaped(str(value))) for name, value in rows if value not in (None, "")]
    return _table([("what", "value"), *known])


def _start(recipe: Recipe) -> str:
    backbone = recipe.model["backbone"]
    if recipe.weights:
        return "other weights (`weights=`)"
    if backbone.get("checkpoint"):
        return "a file of backbone weights"
    return "pretrained backbone of timm" if backbone.get("pretrained") else "random weights"


def _images_per_step(data: dict[str, Any], trainer: dict[str, Any]) -> int | None:
    counts = [data.get("batch_size"), trainer.get("accumulate_grad_batches", 1), trainer.get("num_nodes", 1)]
    devices = trainer.get("devices", 1)
    counts.append(len(devices) if isinstance(devices, list) else devices)
    if not all(isinstance(count, int) and count > 0 for count in counts):
        return None  # devices=auto, or not trained here
    product = 1
    for count in counts:
        product *= count
    return product


def _short_edge(data: dict[str, Any]) -> str:
    transform = data.get("val_transform", {})
    edge = transform.get("short_edge")
    return f"shorter edge {edge}" if edge else "as the image is"


def _limits(facts: CardFacts) -> str:
    split = facts.saved.class_split
    lines = [
        "Made for images like those it was trained on. On others it has not been tested, and it will be worse.",
        f"Every pixel gets one of the {split.num_classes} classes, also where none of them is: there is no class "
        '"something else".',
    ]
    if facts.saved.recipe.supervision != "full" and split.novel:
        lines.append(
            "Novel classes (★) never had a mask: their outlines are less exact than those of base classes, and what "
            "always occurs together with a class may be taken for it."
        )
    lines += [
        "Scores are not calibrated probabilities.",
        "Prejudices and gaps of the training images and tags are in the model, too. Do not rely on it where a mistake "
        "can hurt somebody.",
    ]
    if facts.license is None:
        lines.append(
            "No licence is stated for these weights. That of the training images, and of weights it started from, may "
            "limit their use."
        )
    return "\n".join(f"- {line}" for line in lines)


def _table(rows: Iterable[Row], sides: str | None = None) -> str:
    """A Markdown table; the first row is the head; ``sides``: "<" or ">" for each column."""
    head, *body = rows
    rule = ["---:" if side == ">" else ":---" for side in sides or "<" * len(head)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, tuple(rule), *body))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


CITATION = """```bibtex
@inproceedings{chen2022simformer,
  title = {Weak-shot Semantic Segmentation via Dual Similarity Transfer},
  author = {Chen, Junjie and Niu, Li and Zhou, Siyuan and Si, Jianlou and Qian, Chen and Zhang, Liqing},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2022}
}
@inproceedings{cheng2021maskformer,
  title = {Per-Pixel Classification is Not All You Need for Semantic Segmentation},
  author = {Cheng, Bowen and Schwing, Alexander G. and Kirillov, Alexander},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2021}
}
```"""
