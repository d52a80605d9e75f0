"""Two-way tables of parameter names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

PART = "{}"
"""In a template: one part of a dotted name."""


@dataclass(frozen=True)
class Rename:
    """One kind of tensor, called ``ours`` here and ``theirs`` there.

    Attributes:
        ours: template, e.g. ``query_decoder.layers.{}.linear1.{}``; each ``{}`` stands for one part of the name.
        theirs: template with the same ``{}`` in the same order; several = tensors that are ours when concatenated along
            the first axis (query, key and value projections).
    """

    ours: str
    theirs: tuple[str, ...]


def to_ours(tensors: Mapping[str, Tensor], table: Iterable[Rename]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Renames foreign tensors.

    Args:
        tensors: foreign tensors of any shape and dtype.
        table: what is called what.

    Returns:
        Tensors under our names, and the foreign names that no entry knows (also pieces whose other pieces lack).
    """
    rules = [(_pattern(their), rename, i) for rename in table for i, their in enumerate(rename.theirs)]
    pieces: dict[str, tuple[Rename, dict[int, str]]] = {}
    unknown = []
    for name in tensors:
        for pattern, rename, position in rules:
            if match := pattern.fullmatch(name):
                pieces.setdefault(_fill(rename.ours, match), (rename, {}))[1][position] = name
                break
        else:
            unknown.append(name)
    ours = {}
    for name, (rename, found) in pieces.items():
        if len(found) < len(rename.theirs):
            unknown += found.values()
        else:
            parts = [tensors[found[i]] for i in range(len(found))]
            ours[name] = parts[0] if len(parts) == 1 else torch.cat(parts)
    return ours, tuple(unknown)


def to_theirs(tensors: Mapping[str, Tensor], table: Iterable[Rename]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The inverse of :func:`to_ours`: tensors under the foreign names, and our names that no entry knows."""
    rules = [(_pattern(rename.ours), rename) for rename in table]
    theirs: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in tensors.items():
        for pattern, rename in rules:
            if match := pattern.fullmatch(name):
                names = [_fill(their, match) for their in rename.theirs]
                parts = [tensor] if len(names) == 1 else tensor.chunk(len(names))
                theirs.update(zip(names, (part.contiguous() for part in parts), strict=True))
                break
        else:
            unknown.append(name)
    return theirs, tuple(unknown)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(re.escape(PART), r"([^.]+)"))


def _fill(template: str, match: re.Match[str]) -> str:
    return template.format(*match.groups())
