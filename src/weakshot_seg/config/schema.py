"""Settings are checked before anything is built: names, types, ranges, and what contradicts each other.

There is one schema: the annotations of what a ``_target_`` names, and for the top level those of
:data:`~weakshot_seg.config.commands.COMMANDS`.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

from annotated_types import Ge
from omegaconf import DictConfig

from weakshot_seg.config.commands import COMMANDS, Group
from weakshot_seg.config.compose import raw, resolved
from weakshot_seg.config.types import alternatives, described, fits
from weakshot_seg.errors import ConfigError
from weakshot_seg.utils.ranges import Count, NonNegative, NonNegativeInt, Positive

BUILT = ("trainer", "model", "data", "loss", "optim", "callbacks", "logger", "inference")
"""Groups that are built from their ``_target_``, those first that others refer to."""
NAMED_PARTS = ("callbacks", "logger", "loss.terms")
"""Nodes whose children are named at will, each with a ``_target_``."""
HYDRAS_OWN: dict[str, Any] = {
    "_target_": str,
    "_partial_": bool,
    "_recursive_": bool,
    "_convert_": Literal["none", "partial", "object", "all"],
    "_args_": list,
}
TYPED = ("weakshot_seg.", "pytorch_lightning.", "hydra.")
"""Packages whose annotations are taken at their word; those of others may say less than their code accepts."""
RANGES_OF_OTHERS: dict[str, dict[str, Any]] = {
    "pytorch_lightning.Trainer": {
        "max_steps": Count,
        "accumulate_grad_batches": Count,
        "gradient_clip_val": NonNegative | None,
        "val_check_interval": Count | Positive | None,
        "log_every_n_steps": NonNegativeInt | None,
        "num_sanity_val_steps": Annotated[int, Ge(-1)] | None,
        "num_nodes": Count,
    }
}
"""Arguments that other libraries annotate without their range."""


def check_settings(cfg: DictConfig, command: str | None = None) -> None:
    """Refuses settings that cannot work.

    Args:
        cfg: all settings but Hydra's own.
        command: a key of :data:`~weakshot_seg.config.commands.COMMANDS`; others mean a configuration of the user's own.

    Raises:
        ConfigError: naming the setting, its value and the remedy.
    """
    written = raw(cfg)
    for group in BUILT:
        if written.get(group) is not None and not isinstance(written[group], Mapping):
            raise ConfigError(
                f"{group}={_shown(written[group])} must be a group of settings: choose a file of conf/{group}"
            )
    settings = resolved(cfg)
    if command in COMMANDS:
        _check_top(settings, COMMANDS[command], str(written))
    for group in BUILT:
        if settings.get(group) is not None:
            check_node(group, settings[group])
    check_together(settings)


def check_node(key: str, node: Any) -> None:
    """Refuses unknown arguments and values of the wrong type or size, at any depth.

    Args:
        key: of the node, for messages.
        node: plain settings.

    Raises:
        ConfigError: see :func:`check_settings`.
    """
    if isinstance(node, Mapping):
        for name, child in node.items():
            if key in NAMED_PARTS and not (isinstance(child, Mapping) and "_target_" in child):
                raise ConfigError(
                    f"{key}.{name}={_shown(child)} has no _target_: choose one that exists, or drop it with "
                    f"~{key}.{name}"
                )
            check_node(f"{key}.{name}", child)
        if "_target_" in node:
            _check_call(key, node)
    elif isinstance(node, list):
        for index, child in enumerate(node):
            check_node(f"{key}.{index}", child)


def check_together(settings: Mapping[str, Any]) -> None:
    """Refuses settings that are sound by themselves and contradict each other.

    Raises:
        ConfigError: naming both, and the remedy.
    """
    model, data, loss = (settings.get(group) or {} for group in ("model", "data", "loss"))
    dim, heads = model.get("dim"), model.get("num_heads")
    if isinstance(dim, int) and isinstance(heads, int) and dim % heads:
        raise ConfigError(f"model.dim={dim} must be a multiple of model.num_heads={heads}")
    if model and "similarity" in loss.get("terms", {}) and "similarity" not in loss.get("without", ()):
        for pairless, what in (
            (data.get("pairing") is False, "data.pairing=false"),
            (data.get("batch_size") == 1, "data.batch_size=1"),
        ):
            if pairless:
                raise ConfigError(
                    f"{what} leaves no pairs of images for loss.terms.similarity: set data.pairing=true and "
                    "data.batch_size=2 or more, or drop the term with ~loss.terms.similarity"
                )


def _check_top(settings: Mapping[str, Any], hints: Mapping[str, Any], written: str) -> None:
    used = set(re.findall(r"\$\{\.*(\w+)", written))  # what another setting refers to is a variable of the user's
    for key, value in settings.items():
        if key not in hints and key not in used:
            raise ConfigError(f"{key}={_shown(value)} is no setting: {_similar(key, hints)}")
    for key, hint in hints.items():
        if hint == Group and not isinstance(settings.get(key), Mapping):
            raise ConfigError(f"the settings {key} are missing: choose a file of conf/{key} with {key}=...")
        if key in settings:
            _check_value(key, settings[key], hint)


def _check_call(key: str, node: Mapping[Any, Any]) -> None:
    for argument, hint in HYDRAS_OWN.items():
        if argument in node:
            _check_value(f"{key}.{argument}", node[argument], hint)
    name = node["_target_"]
    try:
        called = locate(name) if name else None
    except ErrorDuringImport as error:
        raise ConfigError(f"{key}._target_={_shown(name)} cannot be imported: {error}") from error
    if not callable(called):
        raise ConfigError(f"{key}._target_={_shown(name)} cannot be called: correct the name, or install its package")
    arguments, takes_others = _arguments(called)
    if arguments is None:
        return
    for argument, value in node.items():
        where = f"{key}.{argument}"
        if argument in arguments:
            hint, default = arguments[argument]
            if name.startswith(TYPED):
                _check_value(where, value, RANGES_OF_OTHERS.get(name, {}).get(argument, hint), default)
        elif argument not in HYDRAS_OWN and not takes_others:
            raise ConfigError(f"{where}={_shown(value)} is no setting of {name}: {_similar(str(argument), arguments)}")


@cache
def _arguments(called: Any) -> tuple[dict[str, tuple[Any, Any]] | None, bool]:
    """Annotation and default of all arguments that can be named, and whether others are taken; None: nobody knows.

    What a class method takes besides its own arguments goes to the class.
    """
    try:
        parameters = list(inspect.signature(called).parameters.values())
        hints = get_type_hints(called.__init__ if inspect.isclass(called) else called, include_extras=True)
    except Exception:  # written in C, or annotated with names that exist for type checkers only
        return None, True
    arguments = {
        p.name: (hints.get(p.name, Any), None if p.default is p.empty else p.default)
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    takes_others = any(p.kind is p.VAR_KEYWORD for p in parameters) and not _inherits_constructor(called)
    owner = getattr(called, "__self__", None)
    if takes_others and inspect.ismethod(called) and inspect.isclass(owner):
        of_class, takes_others = _arguments(cast(Any, owner))
        arguments = (of_class or {}) | arguments
    return arguments, takes_others


def _inherits_constructor(called: Any) -> bool:
    """Whether it is a class whose constructor is that of another library's class, such as ``torch.nn.Module``."""
    if not inspect.isclass(called):
        return False
    owner = next(c for c in called.__mro__ if "__init__" in vars(c))
    return owner.__module__.split(".")[0] != called.__module__.split(".")[0]


def _check_value(key: str, value: Any, hint: Any, default: Any = None) -> None:
    if fits(value, hint):
        return
    parts = list(alternatives(hint))
    choices = [str(choice) for part in parts if get_origin(part) is Literal for choice in get_args(part)]
    if choices and isinstance(value, str):
        raise ConfigError(f"unknown {key}={_shown(value)}: use one of {', '.join(choices)}")
    remedy = ""
    if isinstance(value, int | float) and any(part in (str, Path) for part in parts):
        remedy = f"; write ./{value} for a path, or \"{key}='{value}'\""
    elif default is not None:
        remedy = f", such as {_shown(default)}"
    raise ConfigError(f"{key}={_shown(value)} must be {described(hint)}{remedy}")


def _similar(key: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(key, names, n=2, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else f"use one of {', '.join(names) or 'none'}"


def _shown(value: Any) -> str:
    """A value as YAML writes it, shortened."""
    text = {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))
    return text if len(text) <= 80 else f"{text[:77]}..."
