"""Means, shares and groups against numbers worked out by hand."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from weakshot_seg.reporting.runs import find_runs
from weakshot_seg.reporting.summary import Group, Summary, summarise
from weakshot_seg.reporting.tables import group_table

Write = Callable[..., Path]
WEAK = {1: {"a": 60.0, "b": 40.0, "c": 30.0, "d": 10.0}, 2: {"a": 20.0, "b": 60.0, "c": 70.0, "d": 30.0}}
NOVEL = {1: ("c", "d"), 2: ("a", "d")}
FULL = {"a": 80.0, "b": 60.0, "c": 50.0, "d": 30.0}


def gathered(folder: Path) -> dict[str, Group]:
    return {group.title: group for group in summarise(find_runs([folder])).groups}


def problems(summary: Summary) -> dict[str, tuple[str, str]]:
    return {problem.what: (problem.state, problem.reason) for problem in summary.problems}


def test_the_table_equals_numbers_worked_out_by_hand(write_run: Write, tmp_path: Path) -> None:
    for split in (1, 2):
        write_run(f"x/all/split{split}-seed0", WEAK[split], NOVEL[split], ("variant=all",), split=split)
    write_run("x/fully_supervised/split1-seed0", FULL, (), ("variant=fully_supervised",), supervision="full")
    groups = summarise(find_runs([tmp_path / "x"])).groups
    # split 1: base (60 + 40) / 2 = 50, novel (30 + 10) / 2 = 20, all 35, harmonic 2 * 50 * 20 / 70 = 28.57
    # split 2: base (60 + 70) / 2 = 65, novel (20 + 30) / 2 = 25, all 45, harmonic 2 * 65 * 25 / 90 = 36.11
    # full, split 1: base 70, novel 40, harmonic 50.91; split 2: base 55, novel 55, harmonic 55; so the shares are
    # 20 / 40 and 25 / 55 = 45.45 %
    assert group_table(groups).rows == (
        ("", "base IoU", "novel IoU", "all IoU", "harmonic IoU", "novel / full %", "runs"),
        ("toy, all", "57.5 ± 10.6", "22.5 ± 3.5", "40.0 ± 7.1", "32.3 ± 5.3", "47.7 ± 3.2", "2"),
        ("toy, fully_supervised", "62.5 ± 10.6", "47.5 ± 10.6", "55.0 ± 0.0", "53.0 ± 2.9", "100.0 ± 0.0", "1"),
    )


def test_every_split_is_paired_with_its_own_full_run_of_the_same_seed(write_run: Write, tmp_path: Path) -> None:
    for split in (1, 2):
        for seed in (0, 1):
            place = {"split": split, "seed": seed}
            write_run(f"weak/s{split}-{seed}", WEAK[split], NOVEL[split], **place)
            iou = {name: value + 10 * split + seed for name, value in FULL.items()}
            write_run(f"full/s{split}-{seed}", iou, (), supervision="full", **place)
    groups = gathered(tmp_path)
    full = groups["toy, supervision=full"]
    assert [(s.split, s.seed, s.run.folder.name) for s in full.scores] == [
        (1, 0, "s1-0"),
        (1, 1, "s1-1"),
        (2, 0, "s2-0"),
        (2, 1, "s2-1"),
    ]
    assert [s.novel for s in full.scores] == [50, 51, 75, 76]
    weak = groups["toy"]
    assert [s.reference.folder.name for s in weak.scores if s.reference] == ["s1-0", "s1-1", "s2-0", "s2-1"]
    assert [s.share for s in weak.scores] == pytest.approx([100 * 20 / 50, 100 * 20 / 51, 100 * 25 / 75, 100 * 25 / 76])


def test_the_reference_has_the_same_classes_and_the_most_similar_settings(write_run: Write, tmp_path: Path) -> None:
    write_run("weak", WEAK[1], NOVEL[1], ("optim.lr=1",))
    write_run("full/other", {"x": 1.0, "y": 2.0}, (), ("optim.lr=1",), supervision="full")
    (score,) = gathered(tmp_path)["toy"].scores
    assert score.reference is None
    assert score.share is None
    write_run("full/near", FULL, (), ("optim.lr=2",), supervision="full", split=1)
    write_run("full/same", FULL, (), ("optim.lr=1", "supervision=full"), supervision="full", split=4)
    (score,) = gathered(tmp_path)["toy"].scores
    assert score.reference is not None
    assert score.reference.folder.name == "same"


def test_a_full_run_is_divided_by_the_splits_of_its_own_experiment(write_run: Write, tmp_path: Path) -> None:
    write_run("x/all/split1", WEAK[1], ("c", "d"), ("variant=all",), name="x/all")
    write_run("y/all/split1", WEAK[1], ("a",), ("variant=all",), name="y/all")
    for name in ("x", "y", "z"):
        write_run(f"{name}/full/split1", FULL, (), ("variant=full",), name=f"{name}/full", supervision="full")
    groups = gathered(tmp_path)
    assert [score.novel for score in groups["x/full"].scores] == [(50 + 30) / 2]
    assert [score.novel for score in groups["y/full"].scores] == [80]
    assert sorted(score.novel or 0 for score in groups["z/full"].scores) == [40, 80]  # no weak run: all that there are


def test_classes_without_ground_truth_are_in_no_mean(write_run: Write, tmp_path: Path) -> None:
    write_run("weak", {**WEAK[1], "d": None}, NOVEL[1])
    write_run("full", {**FULL, "c": 0.0, "d": None}, (), supervision="full")
    (score,) = gathered(tmp_path)["toy"].scores
    assert (score.base, score.novel) == (50, 30)
    assert score.share is None  # of nothing


def test_settings_tell_groups_apart_but_bookkeeping_does_not(write_run: Write, tmp_path: Path) -> None:
    for number, weight in enumerate((1, 1, 2)):
        overrides = (
            f"split={number}",
            f"loss.terms.mask.weight={weight}",
            "trainer.max_steps=100",
            f"data.root=/x{number}",
        )
        write_run(f"s{number}", WEAK[1], NOVEL[1], (*overrides, "callbacks.panels.num_images=9"), split=number)
    write_run("s0/retrain", WEAK[1], NOVEL[1], split=0, stage="retrain")
    groups = gathered(tmp_path)
    assert {title: [score.split for score in group.scores] for title, group in groups.items()} == {
        "toy, loss.terms.mask.weight=1": [0, 1],
        "toy, loss.terms.mask.weight=2": [2],
        "toy, re-trained": [0],
    }


def test_a_variant_is_named_once(write_run: Write, tmp_path: Path) -> None:
    write_run("a", WEAK[1], NOVEL[1], ("variant=neither",), name="ablation/toy/neither")
    write_run("b", WEAK[1], NOVEL[1], ("variant=neither",))
    assert list(gathered(tmp_path)) == ["ablation/toy/neither", "toy, neither"]


def test_of_a_run_done_twice_the_newer_counts_and_the_other_is_listed(write_run: Write, tmp_path: Path) -> None:
    older = write_run("split1", WEAK[1], NOVEL[1])
    os.utime(older / "metrics.json", (0, 0))
    write_run("split1-2", WEAK[2], NOVEL[1])
    summary = summarise(find_runs([tmp_path]))
    (score,) = summary.groups[0].scores
    assert score.run.folder.name == "split1-2"
    state, reason = problems(summary)[f"{tmp_path.name}/split1"]
    assert state == "left out"
    assert "split1-2" in reason


def test_missing_splits_are_listed(write_run: Write, tmp_path: Path) -> None:
    for split in (1, 2, 3):
        write_run(f"all/s{split}", WEAK[1], NOVEL[1], ("variant=all",), split=split)
    write_run("neither/s2", WEAK[1], NOVEL[1], ("variant=neither",), split=2)
    summary = summarise(find_runs([tmp_path]))
    assert problems(summary) == {"toy, neither": ("missing", "other groups have split 1 seed 0, split 3 seed 0")}
    assert [row[-1] for row in group_table(summary.groups).rows[1:]] == ["3", "1 of 3"]
