"""What of a source went where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class MatchReport:
    """Names of tensors, sorted.

    Attributes:
        matched: ours, with the source's values.
        missing: ours, which the source does not have: they keep their random start.
        unexpected: the source's, which have no place here.
        reshaped: ours, which the source has in another shape, with both shapes.
        left_out: the source's, which hold nothing learned or are never used.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

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
            lines.append(f"{len(names):5d} {title}")
            if shown:
                lines += [f"        {name}" for name in names]
        return "\n".join(lines)


def match(
    ours: Mapping[str, Tensor],
    source: Mapping[str, Tensor],
    optional: Iterable[str] = (),
    unexpected: Iterable[str] = (),
    left_out: Iterable[str] = (),
) -> tuple[dict[str, Tensor], MatchReport]:
    """Puts the tensors of a source in the place of ours.

    Args:
        ours: tensors of a freshly made model, of any shape.
        source: tensors under our names.
        optional: our names that a source need not have (counters, running averages of the losses).
        unexpected: foreign names without one of ours.
        left_out: see :class:`MatchReport`.

    Returns:
        All of ours, in our dtypes, with the source's values where names and shapes agree; and the report.
    """
    result, matched, reshaped = dict(ours), [], []
    for name, tensor in source.items():
        if name in ours and ours[name].shape == tensor.shape:
            result[name] = tensor.to(ours[name].dtype)
            matched.append(name)
        elif name in ours:
            reshaped.append(f"{name}: {list(tensor.shape)} in the source, {list(ours[name].shape)} here")
    missing = ours.keys() - source.keys() - set(optional)
    surplus = {*unexpected, *(source.keys() - ours.keys())}
    return result, MatchReport(
        tuple(sorted(matched)),
        tuple(sorted(missing)),
        tuple(sorted(surplus)),
        tuple(sorted(reshaped)),
        tuple(sorted(left_out)),
    )
