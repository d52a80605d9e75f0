"""Two-way tables of parameter names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Table = list[tuple[str, str]]
"""Our name and theirs of every kind of tensor, such as ``("layers.*.linear1.*", "encoder.*.fc1.*")``.

Each ``*`` stands for one part of a dotted name, the same in both. ``[q k v]`` in theirs stands for three tensors that
are ours when concatenated along the first axis.
"""


def prefixed(ours: str, theirs: str, table: Table) -> Table:
    """The table with something before all names."""
    return [(ours + our, theirs + their) for our, their in table]


def to_ours(tensors: Mapping[str, Tensor], table: Table) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Foreign tensors under our names, and the foreign names without an entry (also pieces whose other pieces lack)."""
    rules = [(piece, (our, _pieces(their))) for our, their in table for piece in _pieces(their)]
    ours, unknown = {}, []
    for name, tensor in tensors.items():
        parts, (our, pieces) = _find(name, rules) or ((), ("", []))
        names = [_fill(piece, parts) for piece in pieces]
        if not names or not tensors.keys() >= set(names):
            unknown.append(name)
        elif name == names[0]:
            ours[_fill(our, parts)] = tensor if len(names) == 1 else torch.cat([tensors[piece] for piece in names])
    return ours, tuple(unknown)


def to_theirs(tensors: Mapping[str, Tensor], table: Table) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The inverse of :func:`to_ours`: tensors under the foreign names, and our names that no entry has."""
    theirs: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in tensors.items():
        if match := _find(name, table):
            parts, their = match
            names = [_fill(piece, parts) for piece in _pieces(their)]
            pieces = [tensor] if len(names) == 1 else tensor.chunk(len(names))
            theirs.update(zip(names, (piece.contiguous() for piece in pieces), strict=True))
        else:
            unknown.append(name)
    return theirs, tuple(unknown)


def _pieces(theirs: str) -> list[str]:
    before, _, rest = theirs.partition("[")
    words, _, after = rest.partition("]")
    return [before + word + after for word in words.split() or [""]]


def _find(name: str, rules: Iterable[tuple[str, T]]) -> tuple[tuple[str, ...], T] | None:
    """What stands for the ``*`` of the first template that a name fits, and what goes with the template."""
    for template, value in rules:
        if match := _pattern(template).fullmatch(name):
            return match.groups(), value
    return None


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile("([^.]+)".join(map(re.escape, template.split("*"))))


def _fill(template: str, parts: Sequence[str]) -> str:
    return template.replace("*", "{}").format(*parts)
