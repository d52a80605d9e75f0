"""Settings given to a call, as the words of a command line."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from weakshot_seg.errors import ConfigError

BARE = re.compile(r"[A-Za-z/][\w./-]*", re.ASCII)
NO_TEXT = {"null", "true", "false", "nan", "inf"}
"""Texts that need no quotes, and words that need them."""


def as_words(settings: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """``{"seed": 1, "optim": {"lr": 1e-4}}`` -> ``seed=1``, ``optim.lr=0.0001``; a ConfigError for other objects."""
    for name, value in settings.items():
        key = f"{within}.{name}" if within else name
        if isinstance(value, Mapping) and value:
            yield from as_words(value, key)
        else:
            yield f"{key}={_in_grammar(key, value)}"


def _in_grammar(key: str, value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str() if BARE.fullmatch(value) and value.lower() not in NO_TEXT:
            return value
        case str():
            return str(QuotedString(value, Quote.single).with_quotes())
        case os.PathLike():
            return _in_grammar(key, os.fspath(value))
        case Mapping():
            return "{" + ",".join(f"{name}:{_in_grammar(key, item)}" for name, item in value.items()) + "}"
        case Sequence():
            return "[" + ",".join(_in_grammar(key, item) for item in value) + "]"
    raise ConfigError(f"{key}={value!r} is no setting: give a number, a text, a path, None, a list or a dict of them")
