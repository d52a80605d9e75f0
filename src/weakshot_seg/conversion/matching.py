"""A foreign model as it was read, and what of it goes where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Source:
    """Tensors of a foreign model, and what else its files hold; None = unknown.

    Attributes:
        tensors: under the names of our network (``backbone.net.``, ``pixel_decoder.``, ``query_decoder.``, ``head.``)
            and ``simnet.``.
        unexpected: foreign names that have no counterpart here.
        left_out: foreign tensors that hold nothing learned or are never used, by name.
        num_heads: attention heads of the transformer decoder, which no shape shows.
        class_names: ``K`` names.
        mean: RGB mean the backbone expects, for images in 0..1.
        std: RGB standard deviation.
    """

    tensors: dict[str, Tensor]
    unexpected: tuple[str, ...] = ()
    left_out: dict[str, Tensor] = field(default_factory=dict)
    num_heads: int | None = None
    class_names: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class MatchReport:
    """Names of tensors, sorted: ours (matched, missing, reshaped) and the source's (unexpected, left out)."""

    matched: list[str]
    missing: list[str]
    unexpected: list[str]
    reshaped: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

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
    """Puts the tensors of ``source``, which are ``tensors`` under the names of our model, in the place of ours.

    Returns:
        All of ours, in our dtypes, with the source's values where names and shapes agree; and the report, in which
        ``optional`` names of ours are never missing (counters, running averages of the losses).
    """
    common = ours.keys() & tensors.keys()
    fitting = {name for name in common if ours[name].shape == tensors[name].shape}
    report = MatchReport(
        matched=sorted(fitting),
        missing=sorted(ours.keys() - common - set(optional)),
        unexpected=sorted({*source.unexpected, *(tensors.keys() - common)}),
        reshaped=[
            f"{name}: {list(tensors[name].shape)} in the source, {list(ours[name].shape)} here"
            for name in sorted(common - fitting)
        ],
        left_out=sorted(source.left_out),
    )
    return {**ours, **{name: tensors[name].to(ours[name].dtype) for name in fitting}}, report
