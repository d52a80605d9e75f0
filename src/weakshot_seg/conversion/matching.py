"""A foreign model as it was read, two-way tables of names, and what of the model goes where."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Source:
    """Tensors of a foreign model, and what else its files hold; None = unknown.

    ``tensors`` have our names: ``backbone.net.``, ``pixel_decoder.``, ``query_decoder.``, ``head.`` and ``simnet.``.
    """

    tensors: dict[str, Tensor]
    unexpected: tuple[str, ...] = ()  # foreign names that have no counterpart here
    left_out: dict[str, Tensor] = field(default_factory=dict)  # what holds nothing learned or is never used
    num_heads: int | None = None  # of the transformer decoder, which no shape shows
    class_names: tuple[str, ...] | None = None  # K names
    mean: tuple[float, ...] | None = None  # RGB, for images in 0..1
    std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class MatchReport:
    """Names of tensors, sorted: ours (matched, missing, reshaped) and the source's (unexpected, left out)."""

    matched: list[str]
    missing: Sequence[str]
    unexpected: Sequence[str]
    reshaped: Sequence[str] = ()
    left_out: Sequence[str] = ()

    @property
    def complete(self) -> bool:
        """Everything found its place."""
        return not (self.missing or self.unexpected or self.reshaped)

    def text(self, verbose: bool = False) -> str:
        """Counts and names, a line each; the names of what matched and of what was left out only if ``verbose``."""
        lines = []
        for title, names, shown in (
            ("matched", self.matched, verbose),
            ("missing (ours, not in the source)", self.missing, True),
            ("unexpected (in the source, not ours)", self.unexpected, True),
            ("of another shape", self.reshaped, True),
            ("left out (nothing learned)", self.left_out, verbose),
        ):
            lines += [f"{len(names):5d} {title}", *(f"        {name}" for name in names if shown)]
        return "\n".join(lines)


def match(
    ours: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: Source, optional: Iterable[str] = ()
) -> tuple[dict[str, Tensor], MatchReport]:
    """Ours, in our dtypes, with the values of ``tensors`` where names and shapes agree, and the report.

    ``tensors`` are those of ``source`` under the names of our model. ``optional`` names of ours are never missing
    (counters, running averages of the losses).
    """
    common = ours.keys() & tensors.keys()
    fitting = {name for name in common if ours[name].shape == tensors[name].shape}
    missing = sorted(ours.keys() - common - set(optional))
    unexpected = sorted({*source.unexpected, *(tensors.keys() - common)})
    others = {name: (list(tensors[name].shape), list(ours[name].shape)) for name in sorted(common - fitting)}
    reshaped = [f"{name}: {theirs} in the source, {mine} here" for name, (theirs, mine) in others.items()]
    report = MatchReport(sorted(fitting), missing, unexpected, reshaped, sorted(source.left_out))
    return {**ours, **{name: tensors[name].to(ours[name].dtype) for name in fitting}}, report


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
    found = {name: _find(name, table) for name in tensors}
    for name, (parts, their) in ((name, entry) for name, entry in found.items() if entry):
        names = [_fill(piece, parts) for piece in _pieces(their)]
        pieces = tensors[name].chunk(len(names)) if len(names) > 1 else (tensors[name],)
        theirs |= {piece: part.contiguous() for piece, part in zip(names, pieces, strict=True)}
    return theirs, tuple(name for name, entry in found.items() if not entry)


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
