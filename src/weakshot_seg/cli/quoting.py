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

    Commas separate the items of a list ``[a,b]``, and in a multirun (``-m``) the values of a sweep.
    """
    multirun = not {"-m", "--multirun"}.isdisjoint(arguments)
    return [_quoted(argument, multirun) for argument in arguments]


def _quoted(argument: str, multirun: bool) -> str:
    setting = SETTING.fullmatch(argument)
    if setting is None or argument.startswith("-") or re.search(r"""\$\{|['"]""", setting[2]) or _is_readable(argument):
        return argument
    key, value = setting.groups()
    if value[0] + value[-1] == "[]":
        changed = f"{key}=[{_each(key, value[1:-1].split(','))}]"
    elif value[0] in "[{":
        return argument
    else:
        changed = f"{key}={_each(key, value.split(',') if multirun else [value])}"
    return changed if _is_readable(changed) else argument


def _each(key: str, values: Sequence[str]) -> str:
    quoted = [QuotedString(value.strip(), Quote.single).with_quotes() for value in values]
    return ",".join(old if _is_readable(f"{key}={old}") else new for old, new in zip(values, quoted, strict=True))


def _is_readable(argument: str) -> bool:
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    return True
