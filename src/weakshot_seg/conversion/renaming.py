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
    """Renames foreign tensors.

    Args:
        tensors: foreign tensors of any shape and dtype.
        table: what is called what.

    Returns:
        Tensors under our names, and the foreign names that no entry has (also pieces whose other pieces lack).
    """
    rules = [(piece, (our, _pieces(their))) for our, their in table for piece in _pieces(their)]
    found: dict[str, list[str]] = {}  # our name -> the foreign names of all its pieces
    unknown = []
    for name in tensors:
        if match := _find(name, rules):
            parts, (our, pieces) = match
            found[_fill(our, parts)] = [_fill(piece, parts) for piece in pieces]
        else:
            unknown.append(name)
    ours = {}
    for name, pieces in found.items():
        present = [tensors[piece] for piece in pieces if piece in tensors]
        if len(present) == len(pieces):
            ours[name] = present[0] if len(pieces) == 1 else torch.cat(present)
        else:
            unknown += [piece for piece in pieces if piece in tensors]
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
