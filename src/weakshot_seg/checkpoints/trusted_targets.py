"""What a checkpoint may have built: its recipe is data from a file, and building it calls whatever it names."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from weakshot_seg.config.compose import conf_dir, leaves
from weakshot_seg.errors import ConfigError
from weakshot_seg.utils.recipe import Recipe

PARTS = ("model", "loss", "optim", "data", "inference")  # groups built from a checkpoint's recipe, not the command's
LOOK_UP = "hydra.utils.get_object"  # calls nothing itself, but gives whatever its path names


def check_recipe(recipe: Recipe, origin: str | Path, allow_targets: Sequence[str] = ()) -> None:
    """A ConfigError if a recipe of ``origin`` would call anything but what the files of ``conf/`` name for its group.

    ``allow_targets`` are full names, or packages and modules, that the user trusts besides. Nothing is imported.
    """
    for part in PARTS:
        for key, value in leaves(getattr(recipe, part), part):
            if isinstance(value, str) and "${" in value:  # recipes are resolved; an interpolation would read settings
                raise ConfigError(f"ckpt={origin} is refused: {key} of its recipe is an interpolation, {value!r}")
        for key, node in _targets(getattr(recipe, part), part):
            name = _called(node)
            if name not in shipped_targets(part) and not f"{name}.".startswith(tuple(f"{t}." for t in allow_targets)):
                reason = f"{key} of its recipe would call {name!r}, which is none of ours and could do anything"
                remedy = f"only if you know the file, add allow_targets=[{name}]"
                raise ConfigError(f"ckpt={origin} is refused: {reason}; {remedy}")


@cache
def shipped_targets(part: str) -> frozenset[str]:
    """Full names of all that the files of one group in ``conf/`` may build."""
    contents = [OmegaConf.to_container(OmegaConf.load(file)) for file in (conf_dir() / part).rglob("*.yaml")]
    return frozenset(named_targets(contents))


def named_targets(settings: Any) -> tuple[str, ...]:
    """Full names of all that plain settings may build: for a checkpoint made with them."""
    return tuple(_called(node) for _, node in _targets(settings, ""))


def _called(node: Mapping[Any, Any]) -> str:
    """Full name of what a node with a ``_target_`` calls, or hands on to be called."""
    if node["_target_"] == LOOK_UP and node.keys() <= {"_target_", "_convert_", "path"}:
        return str(node.get("path"))
    return str(node["_target_"])


def _targets(node: Any, key: str) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """All nodes with a ``_target_``, with their keys."""
    if isinstance(node, Mapping) and "_target_" in node:
        yield key, node
    children = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list | tuple) else ()
    for name, child in children:
        yield from _targets(child, f"{key}.{name}")
