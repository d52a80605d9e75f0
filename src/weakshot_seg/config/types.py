"""Annotations as types of settings: whether a plain value fits one, and the words for it."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from pydantic import AfterValidator, ConfigDict, Strict, TypeAdapter, ValidationError

NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "text", None: "null"}
BOUNDS = {
    Ge: ("at least", "ge"),
    Gt: ("more than", "gt"),
    Le: ("at most", "le"),
    Lt: ("less than", "lt"),
    MultipleOf: ("a multiple of", "multiple_of"),
}


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value (of dicts, lists and scalars) is of an annotated type and in its range.

    Text fits where a path is wanted, a list where a sequence or tuple is, and a group with a ``_target_`` where any
    other object is. NaN and infinity fit nowhere.
    """
    try:
        _adapter(hint).validate_python(value)
    except ValidationError:
        return False
    return True


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(_of_setting(hint), config=ConfigDict(strict=True, allow_inf_nan=False))


def _has_target(node: dict[str, Any]) -> dict[str, Any]:
    if "_target_" not in node:
        raise ValueError("no _target_")
    return node


Node = Annotated[dict[str, Any], AfterValidator(_has_target)]


def _of_setting(hint: Any) -> Any:
    """The type of a plain value for an annotation of what is built from it."""
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin is Annotated:
        return Annotated[(_of_setting(arguments[0]), *arguments[1:])]
    if origin in (Union, types.UnionType):
        return Union[tuple(map(_of_setting, arguments))]  # noqa: UP007
    if origin is Literal or origin in (None, types.NoneType, bool, int, float, str):
        return hint
    if origin is Path:
        return str
    if origin in (object, Any) or not inspect.isclass(origin):
        return Any
    if issubclass(origin, Mapping):
        return dict[str, _of_setting(arguments[-1]) if arguments else Any]  # type: ignore[misc]
    if origin is tuple and arguments and arguments[-1] is not ...:
        return Annotated[tuple[tuple(map(_of_setting, arguments))], Strict(False)] | Node  # type: ignore[misc]
    if issubclass(origin, Iterable):
        return list[_of_setting(arguments[0]) if arguments else Any] | Node  # type: ignore[misc]
    return Node


def alternatives(hint: Any) -> Iterator[Any]:
    """The members of a union, or the type itself; without ranges."""
    if get_origin(hint) is Annotated:
        yield from alternatives(get_args(hint)[0])
    elif get_origin(hint) in (Union, types.UnionType):
        for part in get_args(hint):
            yield from alternatives(part)
    else:
        yield hint


def described(hint: Any) -> str:
    """A type in words, such as ``a number (at least 0 and at most 1)``."""
    return " or ".join(dict.fromkeys(_words(hint)))


def _words(hint: Any) -> Iterator[str]:
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin is Annotated:
        known = [(BOUNDS[type(bound)], bound) for bound in arguments[1:] if type(bound) in BOUNDS]
        bounds = [f"{words} {getattr(bound, name):.10g}" for (words, name), bound in known]
        yield described(arguments[0]) + (f" ({' and '.join(bounds)})" if bounds else "")
    elif origin in (Union, types.UnionType):
        for part in arguments:
            yield from _words(part)
    elif origin is Literal:
        yield f"one of {', '.join(map(str, arguments))}"
    elif origin in NAMES or origin is types.NoneType:
        yield NAMES.get(origin, "null")
    elif origin is tuple and arguments and arguments[-1] is not ...:
        yield f"a list of {len(arguments)}, each {' or '.join(dict.fromkeys(map(described, arguments)))}"
    elif inspect.isclass(origin) and issubclass(origin, Mapping):
        yield "a group of settings"
    elif inspect.isclass(origin) and issubclass(origin, Iterable):
        each = f", each {described(arguments[0])}" if arguments and get_origin(arguments[0]) is Annotated else ""
        yield "a list of texts (quote numbers: ['3'])" if str in arguments else f"a list{each}"
    else:
        yield f"something with a _target_ ({getattr(origin, '__name__', origin)})"
