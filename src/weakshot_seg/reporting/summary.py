"""Means over splits and seeds, with novel IoU as a share of the fully supervised model's (method section 9)."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from weakshot_seg.reporting.results import Result
from weakshot_seg.reporting.runs import Run

BOOKKEEPING = {"split", "seed", "name", "resume", "retrain", "weights", "pseudo_labels", "output_dir", "ckpt", "stage"}
BOOKKEEPING |= {"supervision", "variant", "experiment", "data.root", "data.cache_dir", "data.num_workers"}
BOOKKEEPING |= {"trainer", "trainer.devices", "trainer.num_nodes", "trainer.accelerator"}
"""Settings that do not distinguish experiments, or that are part of a title anyway."""
BOOKKEEPING_GROUPS = ("hydra", "logger", "callbacks", "~logger", "~callbacks")
SUPERVISIONS = ("base_only", "weakshot", "full")
"""From the lower to the upper bound."""

Place = tuple[int | None, int | None]
"""Split and seed."""


@dataclass(frozen=True)
class Score:
    """A finished run under one split: mean IoU of the base, novel and all classes in percent.

    A fully supervised run has a score under every split. ``harmonic`` is the harmonic mean of ``base`` and ``novel``,
    ``share`` is ``novel`` relative to that of the fully supervised run ``reference`` on the same classes.
    """

    run: Run
    split: int | None
    seed: int | None
    base: float | None
    novel: float | None
    all: float | None
    harmonic: float | None
    share: float | None
    reference: Run | None
    novel_classes: frozenset[str]


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of ``count`` values; no deviation of a single one."""

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Of the values that are there; None if there are none."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        return cls(statistics.mean(known), statistics.stdev(known) if len(known) > 1 else None, len(known))


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


@dataclass(frozen=True)
class Problem:
    """A run that is not in the means: which, its state, and why."""

    what: str
    state: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """All runs of a report."""

    groups: tuple[Group, ...]
    problems: tuple[Problem, ...]


def summarise(runs: Sequence[Run]) -> Summary:
    """Groups runs, pairs them with the fully supervised ones and finds what is missing."""
    titles = _titles([run for run in runs if run.name is not None])
    problems = [Problem(run.title, run.state, run.reason or "") for run in runs if run.result is None]
    members: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.name is not None:
            members[titles[run.folder]].append(run)
        elif run.result:
            problems.append(Problem(run.title, "left out", "metrics.json does not name the run"))
    latest = {}
    for title, group in members.items():
        latest[title], replaced = _latest([run for run in group if run.result])
        problems += replaced
    finished = [run for group in latest.values() for run in group]
    groups = []
    for title, group in sorted(members.items(), key=lambda item: _rank(item[1][0])):
        full = group[0].supervision == "full"
        scores = [score for run in latest[title] for score in _scores(run, latest[title], finished)]
        expected = _expected(group, members.values()) if not full else set()
        missing = sorted(expected - {(run.split, run.seed) for run in group}, key=str)
        if missing and latest[title]:
            places = ", ".join(f"split {split} seed {seed}" for split, seed in missing)
            problems.append(Problem(title, "missing", f"other groups have {places}"))
        scores.sort(key=lambda score: (str(score.split).zfill(9), str(score.seed).zfill(9)))
        groups.append(Group(title, tuple(scores), len(expected) or len(scores), full))
    return Summary(tuple(groups), tuple(problems))


def divided(result: Result, novel: frozenset[str]) -> tuple[float | None, float | None]:
    """Base and novel IoU of a run under any choice of novel classes."""
    base, new = (Spread.of(c.iou for c in result.classes if (c.name in novel) == kind) for kind in (False, True))
    return base.mean if base else None, new.mean if new else None


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
        alike[_plain_title(run)].append(run)
    titles = {}
    for title, members in alike.items():
        common = set.intersection(*map(describing, members))
        for run in members:
            differing = (f"{key}={value}" if value else key for key, value in sorted(describing(run) - common))
            titles[run.folder] = ", ".join([title, *differing])
    return titles


def _plain_title(run: Run) -> str:
    variant = run.settings.get("variant")
    parts = [run.name or ""]
    if variant and variant != parts[0].rsplit("/", 1)[-1]:
        parts.append(variant)
    if run.supervision not in (None, "weakshot") and not variant:
        parts.append(f"supervision={run.supervision}")
    parts += ["re-trained"] if run.stage == "retrain" else []
    parts += ["evaluated"] if run.evaluated else []
    return ", ".join(parts)


def _latest(runs: Sequence[Run]) -> tuple[list[Run], list[Problem]]:
    """The newest run of each split and seed, and the others."""
    newest: dict[Place, Run] = {}
    left_out = []
    for run in sorted(runs, key=lambda run: (run.folder / "metrics.json").stat().st_mtime):
        before = newest.get((run.split, run.seed))
        if before:
            left_out.append(Problem(before.title, "left out", f"the same was done again in {run.title}"))
        newest[run.split, run.seed] = run
    return list(newest.values()), left_out


def _scores(run: Run, group: Sequence[Run], finished: Sequence[Run]) -> list[Score]:
    """The score of a run; of a fully supervised one, under its own split and those that no run of its group has."""
    if run.supervision != "full":
        return [_score(run, run.split, run.measured.novel, finished)]
    ran = {other.split for other in group if other.seed == run.seed}
    spare = run.split == min(ran, key=str)  # one run stands in for the splits without their own
    splits = _splits(run, finished) or {(run.split, run.measured.novel)}
    chosen = [(s, novel) for s, novel in splits if s == run.split or (spare and s not in ran)]
    return [_score(run, split, novel, finished) for split, novel in chosen]


def _splits(full: Run, finished: Sequence[Run]) -> set[tuple[int | None, frozenset[str]]]:
    """Numbers and novel classes of the splits of the other runs on the same classes, of this name if there are any."""
    others = [run for run in finished if run.supervision != "full" and run.measured.novel]
    others = [run for run in others if run.measured.class_names == full.measured.class_names]
    others = [run for run in others if family(run) == family(full)] or others
    return {(run.split, run.measured.novel) for run in others}


def _score(run: Run, split: int | None, novel: frozenset[str], finished: Sequence[Run]) -> Score:
    base_iou, novel_iou = divided(run.measured, novel)
    harmonic = None
    if base_iou is not None and novel_iou is not None:
        harmonic = 2 * base_iou * novel_iou / (base_iou + novel_iou or 1)
    reference = run if run.supervision == "full" else _reference(run, finished)
    most = divided(reference.measured, novel)[1] if reference else None
    share = 100 * novel_iou / most if most and novel_iou is not None else None
    return Score(run, split, run.seed, base_iou, novel_iou, run.measured.miou, harmonic, share, reference, novel)


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
