"""Annotations as types of settings: whether a plain value fits one, and the words for it."""

import inspect
import types
from collections.abc import Iterable, Mapping
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import DocInfo, Predicate
from pydantic import ConfigDict, Strict, TypeAdapter, ValidationError, WithJsonSchema

# Types and bounds of JSON schemas in words
TYPES = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}
TYPES |= {"null": "null", "array": "a list", "object": "a group of settings"}
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most", "exclusiveMaximum": "less than"}
BOUNDS |= {"multipleOf": "a multiple of"}


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


def _node(words: str = "") -> Any:
    return Annotated[dict[str, Any], Predicate(lambda node: "_target_" in node), WithJsonSchema({"title": words})]


def _of_setting(hint: Any) -> Any:
    """The type of a plain value for an annotation of what is built from it."""
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin is Annotated:
        return Annotated[(_of_setting(arguments[0]), *arguments[1:])]
    if origin in (Union, types.UnionType):
        return reduce(or_, map(_of_setting, arguments))
    if origin is Literal or origin in (None, types.NoneType, bool, int, float, str):
        return hint
    if origin is Path:
        return str
    if origin in (object, Any) or not inspect.isclass(origin):
        return Any
    if issubclass(origin, Mapping):
        return types.GenericAlias(dict, (str, _of_setting(arguments[-1]) if arguments else Any))
    if origin is tuple and arguments and arguments[-1] is not ...:
        items = types.GenericAlias(tuple, tuple(map(_of_setting, arguments)))
        return Annotated[items, Strict(False)] | _node()
    if issubclass(origin, Iterable):
        return types.GenericAlias(list, _of_setting(arguments[0]) if arguments else Any) | _node()
    return _node(f"something with a _target_ ({origin.__name__})")


def described(hint: Any) -> str:
    """A type in words, such as ``a number (at least 0 and at most 1)``; its own ones, if it has them."""
    if get_origin(hint) is Annotated and (own := [item for item in get_args(hint) if isinstance(item, DocInfo)]):
        return own[0].documentation
    return _in_words(_adapter(hint).json_schema())


def _in_words(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(filter(None, map(_in_words, schema["anyOf"]))))
    if choices := schema.get("enum", [schema[key] for key in ("const",) if key in schema]):
        return f"one of {', '.join(map(str, choices))}"
    if parts := schema.get("prefixItems"):
        return f"a list of {len(parts)}, each {' or '.join(dict.fromkeys(map(_in_words, parts)))}"
    if schema.get("items", {}).get("type") == "string":
        return "a list of texts (quote numbers: ['3'])"
    words = TYPES.get(schema.get("type", ""), schema.get("title", ""))
    each = _in_words(schema["items"]) if "items" in schema else ""
    bounds = " and ".join(f"{text} {schema[key]:.10g}" for key, text in BOUNDS.items() if key in schema)
    return words + (f" ({bounds})" if bounds else "") + (f", each {each}" if each else "")


def shown(value: Any) -> str:
    """A value as YAML writes it, shortened."""
    text = {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))
    return text if len(text) <= 80 else f"{text[:77]}..."
