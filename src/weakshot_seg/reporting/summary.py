"""Means over splits and seeds, with novel IoU as a share of the fully supervised model's (method section 9)."""

import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from weakshot_seg.reporting.results import Result
from weakshot_seg.reporting.runs import Run

BOOKKEEPING = {"split", "seed", "name", "resume", "retrain", "weights", "pseudo_labels", "output_dir", "ckpt", "stage"}
BOOKKEEPING |= {"partial", "supervision", "variant", "experiment", "data.root", "data.cache_dir", "data.num_workers"}
BOOKKEEPING |= {"trainer", "trainer.devices", "trainer.num_nodes", "trainer.accelerator"}
"""Settings that do not distinguish experiments, or that are part of a title anyway."""
BOOKKEEPING_GROUPS = ("hydra", "logger", "callbacks", "~logger", "~callbacks")
SUPERVISIONS = ("base_only", "weakshot", "full")
"""From the lower to the upper bound."""

Place = tuple[int | None, int | None]
"""Split and seed."""


@dataclass(frozen=True)
class Score:
    """A finished run under one split; a fully supervised run has a score under every split.

    Attributes:
        values: mean IoU of the base, novel and all classes, the harmonic mean of the first two, and the novel IoU
            relative to that of the fully supervised run ``reference`` on the same classes, all in percent.
    """

    run: Run
    split: int | None
    novel_classes: frozenset[str]
    values: tuple[float | None, ...]
    reference: Run | None


class Spread(NamedTuple):
    """Mean and sample standard deviation; no deviation of a single value, no mean of none."""

    mean: float | None = None
    deviation: float | None = None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Self:
        """Of the values that are there."""
        known = [value for value in values if value is not None]
        return cls(statistics.mean(known), statistics.stdev(known) if len(known) > 1 else None) if known else cls()

    def __str__(self) -> str:
        """Such as "45.2 ± 1.3"."""
        deviation = "" if self.deviation is None else f" ± {self.deviation:.1f}"
        return "-" if self.mean is None else f"{self.mean:.1f}{deviation}"


@dataclass(frozen=True)
class Group:
    """Runs that differ in split and seed only, with the scores of the finished ones; a complete group has ``expected``.

    The title is name, variant and the settings that distinguish it. A fully supervised group is complete with one run.
    """

    title: str
    scores: tuple[Score, ...]
    expected: int
    full: bool

    @property
    def runs(self) -> list[Run]:
        """The finished runs, each once."""
        return list({score.run.folder: score.run for score in self.scores}.values())


class Problem(NamedTuple):
    """A run that is not in the means: which, its state, and why."""

    what: str
    state: str
    reason: str


class Summary(NamedTuple):
    """All runs of a report."""

    groups: list[Group]
    problems: list[Problem]


def summarise(runs: Sequence[Run]) -> Summary:
    """Groups runs, pairs them with the fully supervised ones and finds what is missing."""
    problems = [Problem(run.title, run.state, run.reason or "") for run in runs if run.result is None]
    nameless = [run.title for run in runs if run.result and run.name is None]
    problems += [Problem(title, "left out", "metrics.json does not name the run") for title in nameless]
    named = [run for run in runs if run.name is not None]
    titles = _titles(named)
    members: dict[str, list[Run]] = defaultdict(list)
    for run in named:
        members[titles[run.folder]].append(run)
    latest = {title: _latest(group, problems) for title, group in members.items()}
    finished = [run for group in latest.values() for run in group]
    groups = []
    for title, group in sorted(members.items(), key=lambda item: _rank(item[1][0])):
        full = group[0].supervision == "full"
        scores = [score for run in latest[title] for score in _scores(run, latest[title], finished)]
        scores.sort(key=lambda score: (str(score.split).zfill(9), str(score.run.seed).zfill(9)))
        expected = _expected(group, members.values()) if not full else set()
        missing = sorted(expected - {(run.split, run.seed) for run in group}, key=str)
        if missing and scores:
            places = ", ".join(f"split {split} seed {seed}" for split, seed in missing)
            problems.append(Problem(title, "missing", f"other groups have {places}"))
        groups.append(Group(title, tuple(scores), len(expected) or len(scores), full))
    return Summary(groups, problems)


def describing(run: Run) -> set[tuple[str, str]]:
    """The settings that make it another experiment than others, as (key, value)."""
    return {
        (key, value)
        for key, value in run.settings.items()
        if key not in BOOKKEEPING and key.replace("/", ".").split(".")[0] not in BOOKKEEPING_GROUPS
    }


def family(run: Run) -> tuple[str, bool]:
    """The name without the variant, and whether it is an evaluation."""
    name, variant = run.name or "", run.settings.get("variant")
    return name.removesuffix(f"/{variant}"), run.evaluated


def _titles(runs: Sequence[Run]) -> dict[Path, str]:
    """Name of each run's group, by folder, with the settings that differ among runs of otherwise one name."""
    alike: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        name, variant = run.name or "", run.settings.get("variant")
        parts = [name]
        parts += [variant] if variant and variant != name.rsplit("/", 1)[-1] else []
        parts += [f"supervision={run.supervision}"] if not variant and run.supervision not in (None, "weakshot") else []
        parts += ["re-trained"] if run.stage == "retrain" else []
        parts += ["evaluated"] if run.evaluated else []
        alike[", ".join(parts)].append(run)
    titles = {}
    for title, members in alike.items():
        common = set.intersection(*map(describing, members))
        for run in members:
            differing = (f"{key}={value}" if value else key for key, value in sorted(describing(run) - common))
            titles[run.folder] = ", ".join([title, *differing])
    return titles


def _latest(runs: Sequence[Run], problems: list[Problem]) -> list[Run]:
    """The newest finished run of each split and seed; the others become problems."""
    newest: dict[Place, Run] = {}
    finished = [run for run in runs if run.result]
    for run in sorted(finished, key=lambda run: (run.folder / "metrics.json").stat().st_mtime):
        if before := newest.get((run.split, run.seed)):
            problems.append(Problem(before.title, "left out", f"the same was done again in {run.title}"))
        newest[run.split, run.seed] = run
    return list(newest.values())


def _scores(run: Run, group: Sequence[Run], finished: Sequence[Run]) -> list[Score]:
    """The score of a run; of a fully supervised one, under its own split and those that no run of its group has."""
    splits = {(run.split, run.measured.novel)}
    if run.supervision == "full":
        # those of the other runs on the same classes, of this name if there are any
        others = [other for other in finished if other.supervision != "full" and other.measured.novel]
        others = [other for other in others if other.measured.class_names == run.measured.class_names]
        others = [other for other in others if family(other) == family(run)] or others
        ran = {other.split for other in group if other.seed == run.seed}
        spare = run.split == min(ran, key=str)  # one run stands in for the splits without their own
        splits = {(other.split, other.measured.novel) for other in others} or splits
        splits = {(split, novel) for split, novel in splits if split == run.split or (spare and split not in ran)}
    return [_score(run, split, novel, finished) for split, novel in splits]


def _score(run: Run, split: int | None, novel_classes: frozenset[str], finished: Sequence[Run]) -> Score:
    base, novel = _divided(run.measured, novel_classes)
    harmonic = None if base is None or novel is None else 2 * base * novel / (base + novel or 1)
    reference = run if run.supervision == "full" else _reference(run, finished)
    most = _divided(reference.measured, novel_classes)[1] if reference else None
    share = 100 * novel / most if most and novel is not None else None
    return Score(run, split, novel_classes, (base, novel, run.measured.miou, harmonic, share), reference)


def _divided(result: Result, novel: frozenset[str]) -> tuple[float | None, float | None]:
    """Base and novel IoU of a run under any choice of novel classes."""
    base, new = (Spread.of(c.iou for c in result.classes if (c.name in novel) == kind) for kind in (False, True))
    return base.mean, new.mean


def _reference(run: Run, finished: Sequence[Run]) -> Run | None:
    """The fully supervised run most like this one: in settings, seed, split, place; None if there is none."""

    def likeness(other: Run) -> tuple[int, bool, bool, int]:
        shared = len(os.path.commonpath([run.folder, other.folder]))
        differing = len(describing(run) ^ describing(other))
        return -differing, other.seed == run.seed, other.split == run.split, shared

    full = [other for other in finished if other.supervision == "full" and other.evaluated == run.evaluated]
    full = [other for other in full if other.measured.class_names == run.measured.class_names]
    return max(full, key=likeness, default=None)


def _expected(group: Sequence[Run], groups: Iterable[Sequence[Run]]) -> set[Place]:
    """Splits and seeds of all groups of one name, whatever their variant."""
    return {
        (run.split, run.seed)
        for other in groups
        if other is group or (other[0].supervision != "full" and family(other[0]) == family(group[0]))
        for run in other
    }


def _rank(run: Run) -> tuple[str, bool, int, bool, int]:
    """Place of a group in the tables: from the lower to the upper bound, and the more loss terms the later."""
    supervision = SUPERVISIONS.index(run.supervision) if run.supervision in SUPERVISIONS else len(SUPERVISIONS)
    return (*family(run), supervision, run.stage == "retrain", -len(run.without))
