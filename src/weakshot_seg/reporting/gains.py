"""What a part of the method adds: differences, split by split, of groups of runs that differ in this part alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from weakshot_seg.reporting.runs import Run
from weakshot_seg.reporting.summary import Group, Spread, describing, family

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
    """Differences in points of IoU that a part makes, over the splits and seeds that two groups both have.

    The group titled ``after`` has the part, the one titled ``before`` has not; in ``better`` of the ``pairs`` the novel
    IoU is higher with it.
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
    kinds = (old.supervision, old.stage), (new.supervision, new.stage)
    if new.without < old.without and len(old.without - new.without) == 1 and kinds[0] == kinds[1]:
        return next(iter(old.without - new.without))
    return KINDS.get(kinds) if old.without == new.without else None


def _others(run: Run) -> set[tuple[str, str]]:
    """Settings that have nothing to do with the parts."""
    return {(k, v) for k, v in describing(run) if k != "loss.without" and not k.startswith("~loss.terms.")}
