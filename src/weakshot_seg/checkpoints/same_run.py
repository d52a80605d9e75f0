"""A run is resumed by the command that began it, and by no other by accident."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.recipe import Recipe
from weakshot_seg.utils.tables import first_few

FIXED = ("supervision", "stage", "seed", "data.label_scope")
"""Settings that say what the results of a run are results of."""
PARTS = ("model", "loss", "optim", "data")
"""Groups of settings whose change makes it another run, and is told."""
FREE = ("root", "cache_dir", "num_workers", "max_steps", "verify", "val", "val_batch_size")
"""But for these of the data, and what is below them."""

log = logging.getLogger(__name__)


def check_same_run(saved: Mapping[str, Any], recipe: Recipe, split: ClassSplit, path: Path) -> None:
    """Refuses to go on from a checkpoint of other classes, another split or supervision; other changes are told.

    Args:
        saved: what :class:`~weakshot_seg.training.module.WeakShotModule` adds to its checkpoints.
        recipe: settings of this command.
        split: of this command.
        path: of the checkpoint.

    Raises:
        ConfigError: naming what differs, or the checkpoint lacks it.
    """
    try:
        trained, before = (
            ClassSplit(tuple(saved["class_names"]), tuple(saved["novel"])),
            _flat(Recipe.from_dict(saved["recipe"]).to_dict()),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"ckpt={path} does not tell its classes and settings ({error!r}): train again") from error
    now = _flat(recipe.to_dict())
    fixed: list[tuple[str, Any, Any]] = [(key, before.get(key), now.get(key)) for key in FIXED]
    fixed += [("class names", trained.names, split.names), ("novel classes", trained.novel_names, split.novel_names)]
    for what, old, new in fixed:
        if old != new:
            raise ConfigError(
                f"resume=true, but {path} was trained with other {what}: {_apart(old, new)} instead of "
                f"{_apart(new, old)}; resume with the settings of that run, give this one a name of its own "
                f"(name=...), or start from its weights with weights={path}"
            )
    other = [
        f"{key}={now.get(key)} (was {before.get(key)})"
        for key in sorted(before.keys() | now.keys())
        if key.startswith(tuple(f"{part}." for part in PARTS))
        and not any(f"{key}.".startswith(f"data.{free}.") for free in FREE)
        and before.get(key) != now.get(key)
    ]
    if other:
        log.warning(
            "resume=true with other settings than the run began with: %s; the optimiser keeps those it had",
            first_few(other, 5),
        )


def _apart(value: Any, other: Any) -> Any:
    """A value for a message; of names those that the other has not."""
    return first_few([name for name in value if name not in other], 5) if isinstance(value, tuple) else value


def _flat(node: Mapping[str, Any], key: str = "") -> dict[str, Any]:
    """Settings by their full names."""
    found: dict[str, Any] = {}
    for name, child in node.items():
        found |= _flat(child, f"{key}{name}.") if isinstance(child, Mapping) else {f"{key}{name}": child}
    return found
