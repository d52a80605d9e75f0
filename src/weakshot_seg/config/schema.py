"""Settings are checked before anything is built: names, types, ranges, and what contradicts each other.

There is no schema beside what is there already. Top-level settings are those of the shipped YAML file, of the types
they have there; what a ``_target_`` takes is what its signature says. Only the ranges of numbers are listed, in
``config_ranges.py``.
"""

from __future__ import annotations

import difflib
import inspect
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from weakshot_seg.config.ranges import RANGES
from weakshot_seg.errors import ConfigError

BUILT = ("trainer", "model", "data", "loss", "optim", "callbacks", "logger", "inference")
"""Groups that are built from their ``_target_``, those first that others refer to."""
NAMED_PARTS = ("callbacks", "logger", "loss.terms")
"""Nodes whose children are named at will, each with a ``_target_``."""
HYDRAS_OWN = {
    "_target_": str,
    "_partial_": bool,
    "_recursive_": bool,
    "_convert_": Literal["none", "partial", "object", "all"],
    "_args_": list,
}
OTHER_TYPES: dict[str, Any] = {
    "resume": bool,
    "source": str | Sequence[str],
    "scores": str | Sequence[str],
    "check_images": str | Sequence[str] | None,
    "overlay_size": int | None,
    "port": int | None,
}
"""Top-level settings whose shipped value is composed, or shows only one of several types."""
TYPED = ("weakshot_seg.", "pytorch_lightning.", "hydra.")
"""Packages whose annotations are taken at their word; those of others may say less than their code accepts."""


def check_settings(cfg: DictConfig, shipped: Mapping[str, Any] | None = None) -> None:
    """Refuses settings that cannot work.

    Args:
        cfg: of an entry point.
        shipped: its top-level settings as they come with the package; None: it is a configuration of the user's own.

    Raises:
        ConfigError: naming the setting, its value and the remedy.
    """
    raw = _plain(cfg, resolve=False)
    for group in BUILT:
        if raw.get(group) is not None and not isinstance(raw[group], Mapping):
            raise ConfigError(
                f"{group}={_shown(raw[group])} must be a group of settings: choose a file of conf/{group}"
            )
    settings = _plain(cfg, resolve=True)
    if shipped is not None:
        _check_top(settings, shipped, set(re.findall(r"\$\{\.*(\w+)", str(raw))))
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


def _plain(cfg: DictConfig, resolve: bool) -> dict[str, Any]:
    content = OmegaConf.to_container(cfg, resolve=resolve, throw_on_missing=resolve)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _check_top(settings: Mapping[str, Any], shipped: Mapping[str, Any], used: set[str]) -> None:
    for key, value in settings.items():
        if key not in shipped:
            if key not in used:  # what another setting refers to is a variable of the user's
                raise ConfigError(f"{key}={_shown(value)} is no setting: {_similar(key, shipped)}")
        elif key not in BUILT:
            _check_plain(key, value, shipped[key])
    for key in BUILT:
        if key in shipped and shipped[key] is not None and not isinstance(settings.get(key), Mapping):
            raise ConfigError(f"the settings {key} are missing: choose a file of conf/{key} with {key}=...")


def _check_plain(key: str, value: Any, example: Any) -> None:
    """A top-level setting, or a group of them that is built from no ``_target_``."""
    name = key.rpartition(".")[2]
    _check_value(key, value, OTHER_TYPES.get(name, _type_of(example)), example)
    _check_range(key, name, value)
    if isinstance(example, Mapping):
        for child in value:
            if child not in example:
                raise ConfigError(f"{key}.{child}={_shown(value[child])} is no setting: {_similar(child, example)}")
            _check_plain(f"{key}.{child}", value[child], example[child])


def _type_of(example: Any) -> Any:
    """The type of a top-level setting by its shipped value; what is missing, empty or composed is text."""
    if isinstance(example, list):
        return Sequence[str]
    if example is None:
        return str | None
    return str if isinstance(example, str) else type(example)


def _check_call(key: str, node: Mapping[Any, Any]) -> None:
    for argument, hint in HYDRAS_OWN.items():
        if argument in node:
            _check_value(f"{key}.{argument}", node[argument], hint, None)
    name = node["_target_"]
    try:
        called = locate(name) if name else None
    except ErrorDuringImport as error:
        raise ConfigError(f"{key}._target_={_shown(name)} cannot be imported: {error}") from error
    if called is None:
        raise ConfigError(f"{key}._target_={_shown(name)} does not exist: correct the name, or install its package")
    arguments, takes_others = _arguments(called)
    if arguments is None:
        return
    for argument, value in node.items():
        if argument in HYDRAS_OWN:
            continue
        where = f"{key}.{argument}"
        if argument not in arguments:
            if takes_others:
                continue
            raise ConfigError(f"{where}={_shown(value)} is no setting of {name}: {_similar(str(argument), arguments)}")
        if name.startswith(TYPED):
            hint, default = arguments[argument]
            _check_value(where, value, hint, default)
            _check_range(where, str(argument), value)


@cache
def _arguments(called: Any) -> tuple[dict[str, tuple[Any, Any]] | None, bool]:
    """Annotation and default of all arguments that can be named, and whether others are taken; None: nobody knows.

    What a class method takes besides its own arguments goes to the class.
    """
    try:
        parameters = list(inspect.signature(called).parameters.values())
        hints = get_type_hints(called.__init__ if inspect.isclass(called) else called)
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


def _check_value(key: str, value: Any, hint: Any, default: Any) -> None:
    if _fits(value, hint):
        return
    choices = [choice for part in _parts(hint) if get_origin(part) is Literal for choice in get_args(part)]
    if choices and isinstance(value, str):
        raise ConfigError(f"unknown {key}={_shown(value)}: use one of {', '.join(map(str, choices))}")
    remedy = ""
    if isinstance(value, int | float) and any(part in (str, Path) for part in _parts(hint)):
        remedy = f"; write ./{value} for a path, or \"{key}='{value}'\""
    elif default not in (None, "???") and "${" not in str(default):
        remedy = f", such as {_shown(default)}"
    raise ConfigError(f"{key}={_shown(value)} must be {' or '.join(dict.fromkeys(_described(hint)))}{remedy}")


def _check_range(key: str, argument: str, value: Any) -> None:
    if argument not in RANGES:
        return
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, int | float) and not isinstance(number, bool) and number not in RANGES[argument]:
            raise ConfigError(f"{key}={_shown(value)} must be {RANGES[argument]}")


def _parts(hint: Any) -> Iterator[Any]:
    """The alternatives of a union."""
    if get_origin(hint) in (Union, types.UnionType):
        for part in get_args(hint):
            yield from _parts(part)
    else:
        yield hint


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is of an annotated type. A node with a ``_target_`` fits wherever an object does."""
    return any(_fits_part(value, part) for part in _parts(hint))


def _fits_part(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    is_node = isinstance(value, Mapping) and "_target_" in value
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin in (None, types.NoneType):
        return value is None
    if origin is bool:
        return isinstance(value, bool)
    if origin in (int, float):
        return isinstance(value, (int, float) if origin is float else int) and not isinstance(value, bool)
    if origin in (str, Path):
        return isinstance(value, str)
    if origin is tuple and arguments and arguments[-1] is not ...:
        return isinstance(value, list) and len(value) == len(arguments) and all(map(_fits, value, arguments))
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(_fits(child, arguments[-1]) for child in value.values() if arguments)
    if inspect.isclass(origin) and issubclass(origin, Iterable) and origin is not Iterable and not is_node:
        return isinstance(value, list) and all(_fits(child, arguments[0]) for child in value if arguments)
    if inspect.isclass(origin):
        return is_node or origin is object
    return True


NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "text"}


def _described(hint: Any) -> Iterator[str]:
    for part in _parts(hint):
        origin, arguments = get_origin(part) or part, get_args(part)
        if origin is Literal:
            yield f"one of {', '.join(map(str, arguments))}"
        elif origin in (None, types.NoneType):
            yield "null"
        elif origin in NAMES:
            yield NAMES[origin]
        elif origin is tuple and arguments and arguments[-1] is not ...:
            yield f"a list of {len(arguments)}"
        elif inspect.isclass(origin) and issubclass(origin, Mapping):
            yield "a group of settings"
        elif inspect.isclass(origin) and issubclass(origin, Iterable):
            yield "a list of texts (quote numbers: ['3'])" if str in arguments else "a list"
        else:
            yield f"something with a _target_ ({getattr(origin, '__name__', origin)})"


def _similar(key: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(key, names, n=2, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else f"use one of {', '.join(names) or 'none'}"


def _shown(value: Any) -> str:
    """A value as YAML writes it, shortened."""
    text = {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))
    return text if len(text) <= 80 else f"{text[:77]}..."
