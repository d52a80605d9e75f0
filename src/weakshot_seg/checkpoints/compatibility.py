"""What fits together: a file and this version, a checkpoint and the run that goes on from it, a model and its data."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weakshot_seg.config.compose import leaves
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.recipe import VERSION, Recipe
from weakshot_seg.utils.tables import first_few

MOVED = {
    "optim": "training.optim",
    "data.ade20k": "data.readers.ade20k",
    "data.coco_stuff": "data.readers.coco_stuff",
    "data.voc": "data.readers.voc",
    "data.synthetic": "data.synthetic.scenes",
    "losses.classification": "losses.terms",
    "losses.mask": "losses.terms",
    "losses.complement": "losses.terms",
    "losses.absence": "losses.terms",
    "losses.matcher": "losses.assignments",
    "losses.gpu_matcher": "losses.assignments",
    "losses.class_queries": "losses.assignments",
    "inference.whole": "inference.semantic",
}
"""Modules of version 1 with what a recipe builds, and where it is now."""

SAME_RUN = ("supervision", "stage", "seed", "data.label_scope")
"""Settings that say what the results of a run are results of."""
FREE_DATA = (
    "root",
    "cache_dir",
    "num_workers",
    "max_steps",
    "verify",
    "max_pixels",
    "val",
    "val_batch_size",
    "val_photos",
)
"""Settings of the data whose change is not reported, and what is below them."""

log = logging.getLogger(__name__)


def upgrade(settings: Any, version: object) -> Any:
    """Plain settings in a file of a version (1 had no number) as this one writes them; a ConfigError if it is newer."""
    if type(version) is not int or version < 1:
        raise ValueError(f"its version is {version!r}")
    if version > VERSION:
        raise ConfigError(f"it was written by a newer weakshot_seg (format {version}): install a newer version")
    return settings if version == VERSION else _moved(settings)


def _moved(node: Any) -> Any:
    if isinstance(node, list | tuple):
        return [_moved(child) for child in node]
    if isinstance(node, Mapping):
        return {key: _moved(child) for key, child in node.items()}
    if isinstance(node, str):
        module, _, name = node.removeprefix("weakshot_seg.").rpartition(".")
        return f"weakshot_seg.{MOVED[module]}.{name}" if node.startswith("weakshot_seg.") and module in MOVED else node
    return node


def check_same_run(trained: Recipe, split: ClassSplit, now: Recipe, data: ClassSplit, path: Path) -> None:
    """A ConfigError for resuming with other classes, another split or supervision; warns of other changes.

    ``trained`` and ``split`` are those of the checkpoint ``path``, ``now`` and ``data`` those of this command.
    """
    before, after = dict(leaves(trained.to_dict())), dict(leaves(now.to_dict()))
    fixed: list[tuple[str, Any, Any]] = [(key, before.get(key), after.get(key)) for key in SAME_RUN]
    fixed += [("class names", split.names, data.names), ("novel classes", split.novel_names, data.novel_names)]
    for what, old, new in fixed:
        if old != new:
            remedy = "resume with the settings of that run, give this one a name of its own (name=...), or start from"
            problem = f"{path} was trained with other {what}: {_apart(old, new)} instead of {_apart(new, old)}"
            raise ConfigError(f"resume=true, but {problem}; {remedy} its weights with weights={path}")
    keys = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    keys = [key for key in keys if key.startswith(("model.", "loss.", "optim.", "data."))]
    keys = [key for key in keys if not f"{key}.".startswith(tuple(f"data.{free}." for free in FREE_DATA))]
    if other := [f"{key}={after.get(key)} (was {before.get(key)})" for key in keys]:
        text = "resume=true with other settings than the run began with: %s; the optimiser keeps those it had"
        log.warning(text, first_few(other, 5))


def _apart(value: Any, other: Any) -> Any:
    """A value for a message; of names those that the other has not."""
    return first_few([name for name in value if name not in other], 5) if isinstance(value, tuple) else value


def check_classes(trained: ClassSplit, data: ClassSplit, ckpt: str | Path, force: bool = False) -> None:
    """Refuses data with other class names, or with another split, than those of a model.

    A model without novel classes fits every split. With ``force`` the ConfigError is but a warning, if at least the
    number of classes is the same.
    """
    names = [(ours, theirs) for ours, theirs in zip(trained.names, data.names, strict=False) if ours != theirs]
    remedy = "choose the data and the split that it was trained for"
    if trained.num_classes != data.num_classes:
        ours, theirs = (f"{split.num_classes} classes ({first_few(split.names)})" for split in (trained, data))
        raise ConfigError(f"ckpt={ckpt} was trained on {ours}, but the data have {theirs}: {remedy}")
    if names:
        problem = f"ckpt={ckpt} was trained on other class names: {len(names)} differ, such as {names[0]}"
    elif trained.novel and trained.novel != data.novel:
        ours, theirs = first_few(trained.novel_names), first_few(data.novel_names)
        problem = f"ckpt={ckpt} was trained with the novel classes {ours}, but those of the data are {theirs}"
    else:
        return
    if not force:
        raise ConfigError(f"{problem}: {remedy} (split=..., data.novel_classes=[...]), or add force=true")
    log.warning("force=true: %s", problem)
