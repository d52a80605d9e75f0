"""Settings with letters that Hydra's grammar takes only in quotes: ``data.root=/data/Größe (1)`` works as typed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

SETTING = re.compile(r"([+~]*[\w./@$-]+)=(.+)", re.DOTALL)


def quote_settings(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command line, with quotes around the values that Hydra could not read without them.

    What it can read, and what has quotes or interpolations already, stays as it is. Commas separate the items of a list
    ``[a,b]``, and in a multirun (``-m``) the values of a sweep.
    """
    multirun = not {"-m", "--multirun"}.isdisjoint(arguments)
    return [_quoted(argument, multirun) for argument in arguments]


def _quoted(argument: str, multirun: bool) -> str:
    setting = SETTING.fullmatch(argument)
    if setting is None or argument.startswith("-") or _is_readable(argument):
        return argument
    key, value = setting.groups()
    if re.search(r"""\$\{|['"]""", value):
        return argument
    if value.startswith(("[", "{")):
        changed = f"{key}=[{_each(key, value[1:-1])}]" if value[0] + value[-1] == "[]" else argument
    else:
        changed = f"{key}={_each(key, value) if multirun else _in_quotes(value)}"
    return changed if _is_readable(changed) else argument


def _each(key: str, values: str) -> str:
    return ",".join(item if _is_readable(f"{key}={item}") else _in_quotes(item) for item in values.split(","))


def _in_quotes(value: str) -> str:
    return QuotedString(value.strip(), Quote.single).with_quotes()


def _is_readable(argument: str) -> bool:
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    return True
