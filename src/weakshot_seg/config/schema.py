"""Settings are checked before anything is built: names, types, ranges, and what contradicts each other.

There is one schema: the annotations of what a ``_target_`` names, and for the top level those of
:data:`~weakshot_seg.config.commands.COMMANDS`.
"""

import difflib
import inspect
import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pydoc import ErrorDuringImport, locate
from typing import Annotated, Any, Literal, cast, get_type_hints

from annotated_types import Ge
from omegaconf import DictConfig

from weakshot_seg.config.commands import COMMANDS, GROUPS, Group
from weakshot_seg.config.compose import raw, resolved
from weakshot_seg.config.types import described, fits, shown
from weakshot_seg.errors import ConfigError
from weakshot_seg.utils.ranges import Count, NonNegative, NonNegativeInt, Positive

NAMED_PARTS = ("callbacks", "logger", "loss.terms")  # nodes whose children are named at will, each with a _target_
HYDRAS_OWN = {"_target_": str, "_partial_": bool, "_recursive_": bool, "_args_": list} | {
    "_convert_": Literal["none", "partial", "object", "all"]
}
TYPED = ("weakshot_seg.", "pytorch_lightning.", "hydra.")  # annotations of others may say less than their code accepts
# Arguments of pytorch_lightning.Trainer, which annotates them without their range
TRAINER: dict[str, Any] = {
    "max_steps": Count,
    "accumulate_grad_batches": Count,
    "gradient_clip_val": NonNegative | None,
    "val_check_interval": Count | Positive | None,
    "log_every_n_steps": NonNegativeInt | None,
    "num_sanity_val_steps": Annotated[int, Ge(-1)] | None,
    "num_nodes": Count,
}


def check_settings(cfg: DictConfig, command: str | None = None) -> None:
    """Refuses settings (without Hydra's own) that cannot work: a ConfigError names setting, value and remedy.

    A ``command`` that is no key of ``COMMANDS`` means a configuration of the user's own.
    """
    variables = re.findall(r"\$\{\.*(\w+)", str(raw(cfg)))  # a setting of the user's to which others refer
    check_values(resolved(cfg), command, variables)


def check_values(settings: Mapping[str, Any], command: str | None, variables: Collection[str] = ()) -> None:
    """As :func:`check_settings`, of plain settings; ``variables`` are names that need not be known."""
    for key, hint in (known := COMMANDS.get(command or "", {})).items():
        if hint == Group and not isinstance(settings.get(key), Mapping):
            raise ConfigError(f"the settings {key} are missing: choose a file of conf/{key} with {key}=...")
        if key in settings:
            _check_value(key, settings[key], hint)
    for key, value in settings.items() if known else ():
        if key not in known and key not in variables:
            raise ConfigError(f"{key}={shown(value)} is no setting: {_similar(key, known)}")
    for group in GROUPS:
        check_node(group, settings.get(group))
    _check_together(settings)


def check_node(key: str, node: Any) -> None:
    """Refuses unknown arguments and values of the wrong type or size, at any depth of plain settings named ``key``."""
    for name, child in node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ():
        where = f"{key}.{name}"
        if key in NAMED_PARTS and not (isinstance(child, Mapping) and "_target_" in child):
            raise ConfigError(f"{where}={shown(child)} has no _target_: choose one that exists, or drop ~{where}")
        check_node(where, child)
    if isinstance(node, Mapping) and "_target_" in node:
        _check_call(key, node)


def _check_together(settings: Mapping[str, Any]) -> None:
    """Refuses settings that are sound by themselves and contradict each other."""
    model, data, loss = (settings.get(group) or {} for group in ("model", "data", "loss"))
    dim, heads = model.get("dim"), model.get("num_heads")
    if isinstance(dim, int) and isinstance(heads, int) and dim % heads:
        raise ConfigError(f"model.dim={dim} must be a multiple of model.num_heads={heads}")
    if model and "similarity" in loss.get("terms", {}) and "similarity" not in loss.get("without", ()):
        for key, pairless in (("pairing", False), ("batch_size", 1)):
            if data.get(key) == pairless:
                raise ConfigError(
                    f"data.{key}={shown(pairless)} leaves no pairs of images for loss.terms.similarity: set "
                    "data.pairing=true and data.batch_size=2 or more, or drop the term with ~loss.terms.similarity"
                )


def _check_call(key: str, node: Mapping[Any, Any]) -> None:
    name = node["_target_"]
    _check_value(f"{key}._target_", name, str)
    try:
        called = locate(name) if name else None
    except ErrorDuringImport as error:
        raise ConfigError(f"{key}._target_={shown(name)} cannot be imported: {error}") from error
    if not callable(called):
        raise ConfigError(f"{key}._target_={shown(name)} cannot be called: correct the name, or install its package")
    known, takes_others = _arguments(called)
    for argument, value in node.items():
        where = f"{key}.{argument}"
        if argument in HYDRAS_OWN:
            _check_value(where, value, HYDRAS_OWN[argument])
        elif argument in known:
            if name.startswith(TYPED):
                _check_value(where, value, *known[argument])
        elif not takes_others:
            raise ConfigError(f"{where}={shown(value)} is no setting of {name}: {_similar(str(argument), known)}")


@cache
def _arguments(called: Any) -> tuple[dict[str, tuple[Any, Any]], bool]:
    """Annotation and default of all arguments that can be named, and whether others are taken.

    What a class method takes besides its own arguments goes to the class.
    """
    try:
        parameters = inspect.signature(called).parameters.values()
        code = called.__init__ if inspect.isclass(called) else called
        hints = get_type_hints(code, include_extras=True)
        package = called.__module__.split(".")[0]
        inherited = getattr(code, "__module__", "").split(".")[0] != package  # as that of torch.nn.Module
    except Exception:  # written in C, or annotated with names that exist for type checkers only
        return {}, True
    if getattr(called, "__qualname__", "") == "Trainer":  # importing Lightning takes seconds
        hints |= TRAINER
    arguments = {
        p.name: (hints.get(p.name, Any), None if p.default is p.empty else p.default)
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    takes_others = not inherited and any(p.kind is p.VAR_KEYWORD for p in parameters)
    if takes_others and inspect.ismethod(called) and inspect.isclass(called.__self__):
        of_class, takes_others = _arguments(cast(Any, called.__self__))
        arguments = of_class | arguments
    return arguments, takes_others


def _check_value(key: str, value: Any, hint: Any, default: Any = None) -> None:
    if fits(value, hint):
        return
    words, remedy = described(hint), ""
    if isinstance(value, int | float) and "text" in words.split(" or "):
        remedy = f"; write ./{value} for a path, or \"{key}='{value}'\""
    elif default is not None:
        remedy = f", such as {shown(default)}"
    raise ConfigError(f"{key}={shown(value)} must be {words}{remedy}")


def _similar(key: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(key, names, n=2, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else f"use one of {', '.join(names) or 'none'}"
