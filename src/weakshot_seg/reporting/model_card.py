"""The model card: what a model is, how it was trained, how good it is, and how to use it, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from weakshot_seg.checkpoints.reading import SavedModel
from weakshot_seg.reporting.pages import render
from weakshot_seg.reporting.results import Result
from weakshot_seg.utils.recipe import Recipe


@dataclass(frozen=True)
class CardFacts:
    """All that a card states.

    Attributes:
        title: above it.
        saved: the model, with the recipe as it was trained.
        parameters: how many numbers were learned.
        versions: (library, version) of what wrote the card.
        result: its metrics; None: unknown.
        dataset: what it was trained on, in words.
        license: of the weights, as the hub spells it; None: not stated.
    """

    title: str
    saved: SavedModel
    parameters: int
    versions: Sequence[tuple[str, str]]
    result: Result | None
    dataset: str
    license: str | None


def model_card(facts: CardFacts) -> str:
    """``README.md`` with YAML front matter as the Hugging Face hub reads it."""
    recipe = facts.saved.recipe
    return render(
        "model_card.md",
        facts=facts,
        recipe=recipe,
        split=facts.saved.class_split,
        result=facts.result,
        start=_start(recipe),
        losses=_losses(recipe),
        optimiser=", ".join(f"{key} {value}" for key, value in recipe.optim.items() if not key.startswith("_")),
        images_per_step=_images_per_step(recipe.data, recipe.trainer),
    )


def _start(recipe: Recipe) -> str:
    backbone = recipe.model["backbone"]
    if recipe.weights:
        return "other weights"
    if backbone.get("checkpoint"):
        return "a file of backbone weights"
    return "pretrained backbone of timm" if backbone.get("pretrained") else "random weights"


def _losses(recipe: Recipe) -> str:
    """Terms that were used, with their weights."""
    left_out = recipe.loss.get("without") or []
    terms = recipe.loss["terms"].items()
    return ", ".join(
        f"{name} {term.get('weight')}" for name, term in terms if isinstance(term, dict) and name not in left_out
    )


def _images_per_step(data: dict[str, Any], trainer: dict[str, Any]) -> int | None:
    """None if unknown: ``devices=auto``, or not trained here."""
    devices = trainer.get("devices", 1)
    counts = [data.get("batch_size"), trainer.get("accumulate_grad_batches", 1), trainer.get("num_nodes", 1)]
    counts.append(len(devices) if isinstance(devices, list) else devices)
    return math.prod(counts) if all(isinstance(count, int) and count > 0 for count in counts) else None
