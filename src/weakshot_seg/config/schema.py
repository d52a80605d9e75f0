"""Settings are checked before anything is built: names, types, ranges, and what contradicts each other.

There is one schema: the annotations of what a ``_target_`` names, read from its source, and for the top level those of
:data:`~weakshot_seg.config.commands.COMMANDS`. Only settings that pass are imported.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from pydoc import ErrorDuringImport, locate
from typing import Annotated, Any, Literal

from annotated_types import Ge
from omegaconf import DictConfig

from weakshot_seg.config.commands import COMMANDS, GROUPS, Group
from weakshot_seg.config.compose import raw, resolved
from weakshot_seg.config.signatures import signature
from weakshot_seg.config.sources import exists
from weakshot_seg.config.types import described, fits, shown
from weakshot_seg.errors import ConfigError
from weakshot_seg.utils.lean_imports import import_lightning
from weakshot_seg.utils.ranges import Count, NonNegative, NonNegativeInt, Positive

NAMED_PARTS = ("callbacks", "logger", "loss.terms")  # nodes whose children are named at will, each with a _target_
HYDRAS_OWN = {"_target_": str, "_partial_": bool, "_recursive_": bool, "_args_": list} | {
    "_convert_": Literal["none", "partial", "object", "all"]
}
OWN = "weakshot_seg."
TYPED = (OWN, "pytorch_lightning.", "hydra.")  # annotations of others may say less than their code accepts
# Arguments of pytorch_lightning.Trainer, which annotates them without their range, and their defaults
TRAINER: dict[str, tuple[Any, Any]] = {
    "max_steps": (Count, None),
    "accumulate_grad_batches": (Count, 1),
    "gradient_clip_val": (NonNegative | None, None),
    "val_check_interval": (Count | Positive | None, None),
    "log_every_n_steps": (NonNegativeInt | None, None),
    "num_sanity_val_steps": (Annotated[int, Ge(-1)] | None, None),
    "num_nodes": (Count, 1),
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
        _check_arguments(group, settings.get(group))
    _check_together(settings)
    if any(settings.get(group) for group in GROUPS):  # last: it takes seconds
        import_lightning()
    for group in GROUPS:
        _check_targets(group, settings.get(group))


def check_node(key: str, node: Any) -> None:
    """Refuses unknown arguments and values of the wrong type or size, at any depth of plain settings named ``key``."""
    _check_arguments(key, node)
    _check_targets(key, node)


def _check_arguments(key: str, node: Any) -> None:
    for where, child in _children(key, node):
        if key in NAMED_PARTS and not (isinstance(child, Mapping) and "_target_" in child):
            raise ConfigError(f"{where}={shown(child)} has no _target_: choose one that exists, or drop ~{where}")
        _check_arguments(where, child)
    if isinstance(node, Mapping) and "_target_" in node:
        _check_call(key, node)


def _check_targets(key: str, node: Any) -> None:
    """Refuses what cannot be imported or called."""
    for where, child in _children(key, node):
        _check_targets(where, child)
    if not (isinstance(node, Mapping) and "_target_" in node):
        return
    name = node["_target_"]
    try:
        called = locate(name) if name else None
    except ErrorDuringImport as error:
        raise ConfigError(f"{key}._target_={shown(name)} cannot be imported: {error}") from error
    if not callable(called):
        raise ConfigError(f"{key}._target_={shown(name)} cannot be called: correct the name, or install its package")


def _children(key: str, node: Any) -> list[tuple[str, Any]]:
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    return [(f"{key}.{name}", child) for name, child in items]


def _check_together(settings: Mapping[str, Any]) -> None:
    """Refuses settings that are sound by themselves and contradict each other."""
    model, data, loss = (settings.get(group) or {} for group in ("model", "data", "loss"))
    dim, heads = model.get("dim"), model.get("num_heads")
    if isinstance(dim, int) and isinstance(heads, int) and dim % heads:
        raise ConfigError(f"model.dim={dim} must be a multiple of model.num_heads={heads}")
    taught = "presence" in loss.get("terms", {}) and "presence" not in loss.get("without", ())
    if model and loss and taught != (model.get("presence_gamma") is not None):
        raise ConfigError(
            f"model.presence_gamma={shown(model.get('presence_gamma'))} does not go {'with' if taught else 'without'} "
            "loss.terms.presence: choose both with loss/presence=head, none with loss/presence=none"
        )
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
    if name.startswith(OWN) and not exists(name):
        raise ConfigError(f"{key}._target_={shown(name)} does not exist: correct the name")
    taken = signature(name, trusted=name.startswith(TYPED))
    known = taken.arguments | (TRAINER if name == "pytorch_lightning.Trainer" else {})
    for argument, value in node.items():
        where = f"{key}.{argument}"
        if argument in HYDRAS_OWN:
            _check_value(where, value, HYDRAS_OWN[argument])
        elif argument in known:
            if name.startswith(TYPED):
                _check_value(where, value, *known[argument])
        elif not taken.takes_others:
            raise ConfigError(f"{where}={shown(value)} is no setting of {name}: {_similar(str(argument), known)}")


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
