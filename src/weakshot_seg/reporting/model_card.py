"""The model card: what a model is, how it was trained, how good it is, and how to use it, in Markdown."""

import math
from typing import Any

from weakshot_seg.checkpoints.reading import SavedModel
from weakshot_seg.reporting.pages import render
from weakshot_seg.reporting.results import Result
from weakshot_seg.utils.recipe import Recipe


def model_card(
    saved: SavedModel, result: Result | None, license: str | None, page: str | None = None, **facts: object
) -> str:
    """``README.md`` with YAML front matter as the Hugging Face hub reads it.

    Args:
        saved: the model, with the recipe as it was trained.
        result: its metrics; None: unknown.
        page: file of the run's page beside the card.
        license: of the weights, as the hub spells it; None: not stated.
        facts: ``title``, ``dataset`` (what it was trained on, in words), ``parameters`` (how many numbers were learned)
            and ``versions`` (library and version of all that wrote the card).
    """
    recipe = saved.recipe
    left_out = recipe.loss.get("without") or []
    terms = ((name, term) for name, term in recipe.loss["terms"].items() if isinstance(term, dict))
    shown = {
        "start": _start(recipe),
        "losses": ", ".join(f"{name} {term.get('weight')}" for name, term in terms if name not in left_out),
        "optimiser": ", ".join(f"{key} {value}" for key, value in recipe.optim.items() if not key.startswith("_")),
        "images_per_step": _images_per_step(recipe),
    }
    model = {"saved": saved, "recipe": recipe, "split": saved.class_split}
    return render("model_card.md", result=result, license=license, page=page, **facts, **model, **shown)


def _start(recipe: Recipe) -> str:
    backbone = recipe.model["backbone"]
    if recipe.weights:
        return "other weights"
    if backbone.get("checkpoint"):
        return "a file of backbone weights"
    return "pretrained backbone of timm" if backbone.get("pretrained") else "random weights"


def _images_per_step(recipe: Recipe) -> int | None:
    """None if unknown: ``devices=auto``, or not trained here."""
    counts: list[Any] = [recipe.data.get("batch_size")]
    counts += [recipe.trainer.get(key, 1) for key in ("accumulate_grad_batches", "num_nodes", "devices")]
    counts = [len(count) if isinstance(count, list) else count for count in counts]
    return math.prod(counts) if all(isinstance(count, int) and count > 0 for count in counts) else None
