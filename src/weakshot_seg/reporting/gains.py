"""What a part of the method adds: differences, split by split, of groups of runs that differ in this part alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from weakshot_seg.reporting.runs import Run
from weakshot_seg.reporting.summary import Group, Spread, family, tells

Kind = tuple[str | None, str | None]
"""Supervision and stage."""
KINDS: dict[tuple[Kind, Kind], str] = {
    (("base_only", "first"), ("weakshot", "first")): "image-level labels",
    (("weakshot", "first"), ("weakshot", "retrain")): "re-training",
    (("weakshot", "first"), ("full", "first")): "masks of novel classes",
}
"""What the second has more than the first."""


@dataclass(frozen=True)
class Gain:
    """Paired differences of two groups, in points of IoU.

    Attributes:
        part: what ``after`` has and ``before`` has not.
        before: title of the group.
        after: title of the group.
        base: of the base IoU.
        novel: of the novel IoU.
        all: of the IoU of all classes.
        better: pairs in which the novel IoU is higher.
        pairs: splits and seeds that both groups have.
    """

    part: str
    before: str
    after: str
    base: Spread | None
    novel: Spread | None
    all: Spread | None
    better: int
    pairs: int


def find_gains(groups: Sequence[Group]) -> list[Gain]:
    """Of all groups that differ in one part and have splits and seeds in common, in the order of the groups."""
    pairs = ((_part(*both), *both) for both in permutations(groups, 2))
    gains = (_gain(part, before, after) for part, before, after in pairs if part)
    return [gain for gain in gains if gain.pairs]


def _gain(part: str, before: Group, after: Group) -> Gain:
    old = {(score.split, score.seed): score for score in before.scores}
    pairs = [(old[place], score) for score in after.scores if (place := (score.split, score.seed)) in old]
    novel = [_difference(a.novel, b.novel) for a, b in pairs]
    return Gain(
        part,
        before.title,
        after.title,
        base=Spread.of(_difference(a.base, b.base) for a, b in pairs),
        novel=Spread.of(novel),
        all=Spread.of(_difference(a.all, b.all) for a, b in pairs),
        better=sum(value is not None and value > 0 for value in novel),
        pairs=len(pairs),
    )


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _part(before: Group, after: Group) -> str | None:
    """The one part that finished runs have and others have not; None if there are none or several."""
    if not (before.runs and after.runs):
        return None
    old, new = before.runs[0], after.runs[0]
    if family(old) != family(new) or _others(old) != _others(new):
        return None
    if new.without < old.without and len(old.without - new.without) == 1 and _kind(old) == _kind(new):
        return next(iter(old.without - new.without))
    return KINDS.get((_kind(old), _kind(new))) if old.without == new.without else None


def _kind(run: Run) -> Kind:
    return run.supervision, run.stage


def _others(run: Run) -> set[tuple[str, str]]:
    """Settings that have nothing to do with the parts."""
    told = {(key, value) for key, value in run.settings.items() if tells(key) and not key.startswith("~loss.terms.")}
    return {(key, value) for key, value in told if key != "loss.without"}
