"""What a part of the method adds: differences, split by split, of groups of runs that differ in this part alone."""

from collections.abc import Sequence
from itertools import permutations

from weakshot_seg.reporting.runs import PARTS, Run
from weakshot_seg.reporting.summary import Group, Spread, describing, family
from weakshot_seg.utils.tables import Table

Kind = tuple[str | None, str | None]
"""Supervision and stage."""
KINDS: dict[tuple[Kind, Kind], str] = {
    (("base_only", "first"), ("weakshot", "first")): "image-level labels",
    (("weakshot", "first"), ("weakshot", "retrain")): "re-training",
    (("weakshot", "first"), ("full", "first")): "masks of novel classes",
}
"""What the second has more than the first."""


def gain_table(groups: Sequence[Group]) -> Table | None:
    """Differences over the splits and seeds that two groups both have; None if no groups can be compared."""
    rows: list[tuple[str, ...]] = [("part", "without", "with", "base IoU", "novel IoU", "all IoU", "novel higher in")]
    for before, after in permutations(groups, 2):
        part = _part(before, after)
        old = {(score.split, score.run.seed): score.values for score in before.scores}
        pairs = [(old[place], s.values) for s in after.scores if (place := (s.split, s.run.seed)) in old]
        if not part or not pairs:
            continue
        base, novel, total = ([_difference(a[i], b[i]) for a, b in pairs] for i in range(3))
        points = (_signed(Spread.of(differences)) for differences in (base, novel, total))
        better = sum(difference is not None and difference > 0 for difference in novel)
        rows.append((part, before.title, after.title, *points, f"{better} of {len(pairs)}"))
    title = "Gain of each part in points: mean and standard deviation of differences split by split"
    return Table(title, tuple(rows), "<<<" + ">" * 4) if len(rows) > 1 else None


def _part(before: Group, after: Group) -> str | None:
    """The one part that finished runs have and others have not; None if there are none or several."""
    if not (before.scores and after.scores):
        return None
    old, new = before.scores[0].run, after.scores[0].run
    if family(old) != family(new) or _others(old) != _others(new):
        return None
    kinds = (old.supervision, old.stage), (new.supervision, new.stage)
    if new.without < old.without and len(old.without - new.without) == 1 and kinds[0] == kinds[1]:
        return next(iter(old.without - new.without))
    return KINDS.get(kinds) if old.without == new.without else None


def _others(run: Run) -> set[tuple[str, str]]:
    """Settings that have nothing to do with the parts."""
    parts = {"loss.without", *PARTS}
    return {(k, v) for k, v in describing(run) if k not in parts and not k.startswith("~loss.terms.")}


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _signed(spread: Spread) -> str:
    return str(spread) if str(spread).startswith("-") else f"+{spread}"
