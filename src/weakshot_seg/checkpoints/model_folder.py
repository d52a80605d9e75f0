"""Writing ``model.safetensors`` and ``config.json``: a trained network without its training."""

import json
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from safetensors.torch import save

from weakshot_seg import __version__
from weakshot_seg.checkpoints.hub import CONFIG, WEIGHTS
from weakshot_seg.checkpoints.reading import NETWORK, SavedModel
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.recipe import VERSION

PUBLIC = ["name", "split", "stage", "seed", "supervision", "model", "loss", "optim", "inference", "weights"]
LABELS = ["published", "label_scope", "label_offset", "ignore_label"]
TRAINER = ["max_steps", "precision", "devices", "num_nodes", "accumulate_grad_batches", "gradient_clip_val"]
DATA = [*LABELS, "supervision", "novel_ratio", "pairing", "batch_size", "train_transform", "val_transform"]
PUBLIC_PARTS = {"data": DATA, "trainer": TRAINER}
"""Settings of a training that leave the house, and of which groups only some: not where data and outputs lie, not the
names of the images, nothing about loggers."""


def write_folder(folder: Path, saved: SavedModel) -> None:
    """Writes the network and the public part of its recipe."""
    network = {name: tensor.contiguous() for name, tensor in saved.state.items() if name.startswith(NETWORK)}
    config = {
        "weakshot_seg": __version__,
        "format": VERSION,
        "class_names": list(saved.class_split.names),
        "novel": list(saved.class_split.novel),
        "step": saved.step,
        "recipe": public_recipe(saved.recipe.to_dict()),
    }
    with replacing(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(network, metadata={"format": "pt"}))  # save_file hides its file from others
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def public_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    """What others need of a recipe; absolute paths in it are cut to the last name."""
    public = {key: recipe[key] for key in PUBLIC if key in recipe}
    for part, names in PUBLIC_PARTS.items():
        if part in recipe:
            public[part] = {name: recipe[part][name] for name in names if name in recipe[part]}
    shared: dict[str, Any] = _without_folders(public)
    return shared


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    if isinstance(value, str) and (value.startswith("~") or re.match(r"/|[A-Za-z]:[\\/]|\\\\", value)):
        return PureWindowsPath(PurePosixPath(value).name).name
    return value
