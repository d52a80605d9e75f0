"""Means, shares and groups against numbers worked out by hand."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from weakshot_seg.reporting.runs import find_runs
from weakshot_seg.reporting.summary import Group, Problem, summarise
from weakshot_seg.reporting.tables import group_table

Write = Callable[..., Path]
WEAK = {1: {"a": 60.0, "b": 40.0, "c": 30.0, "d": 10.0}, 2: {"a": 20.0, "b": 60.0, "c": 70.0, "d": 30.0}}
NOVEL = {1: ("c", "d"), 2: ("a", "d")}
FULL = {"a": 80.0, "b": 60.0, "c": 50.0, "d": 30.0}


def gathered(folder: Path) -> dict[str, Group]:
    return {group.title: group for group in summarise(find_runs([folder])).groups}


def novel(group: Group) -> list[float | None]:
    return [score.values[1] for score in group.scores]


def references(group: Group) -> list[str | None]:
    return [score.reference and score.reference.folder.name for score in group.scores]


def test_the_table_equals_numbers_worked_out_by_hand(write_run: Write, tmp_path: Path) -> None:
    for split in (1, 2):
        write_run(f"all/split{split}-seed0", WEAK[split], NOVEL[split], ("variant=all",), split=split)
    write_run("full/split1-seed0", FULL, (), ("variant=full",), supervision="full")
    # split 1: base (60 + 40) / 2 = 50, novel (30 + 10) / 2 = 20, all 35, harmonic 2 * 50 * 20 / 70 = 28.57
    # split 2: base (60 + 70) / 2 = 65, novel (20 + 30) / 2 = 25, all 45, harmonic 2 * 65 * 25 / 90 = 36.11
    # full, split 1: base 70, novel 40, harmonic 50.91; split 2: base 55, novel 55, harmonic 55; so the shares are
    # 20 / 40 and 25 / 55 = 45.45 %
    assert group_table(summarise(find_runs([tmp_path])).groups).rows == (
        ("", "base IoU", "novel IoU", "all IoU", "harmonic IoU", "novel / full %", "runs"),
        ("toy, all", "57.5 ± 10.6", "22.5 ± 3.5", "40.0 ± 7.1", "32.3 ± 5.3", "47.7 ± 3.2", "2"),
        ("toy, full", "62.5 ± 10.6", "47.5 ± 10.6", "55.0 ± 0.0", "53.0 ± 2.9", "100.0 ± 0.0", "1"),
    )


def test_every_split_is_paired_with_its_own_full_run_of_the_same_seed(write_run: Write, tmp_path: Path) -> None:
    for split in (1, 2):
        for seed in (0, 1):
            place = {"split": split, "seed": seed}
            write_run(f"weak/s{split}-{seed}", WEAK[split], NOVEL[split], **place)
            iou = {name: value + 10 * split + seed for name, value in FULL.items()}
            write_run(f"full/s{split}-{seed}", iou, (), supervision="full", **place)
    weak, full = (gathered(tmp_path)[title] for title in ("toy", "toy, supervision=full"))
    assert references(weak) == references(full) == ["s1-0", "s1-1", "s2-0", "s2-1"]
    assert [score.run for score in full.scores] == [score.reference for score in full.scores]
    assert novel(full) == [50, 51, 75, 76]
    shares = [100 * 20 / 50, 100 * 20 / 51, 100 * 25 / 75, 100 * 25 / 76]
    assert [score.values[-1] for score in weak.scores] == pytest.approx(shares)


def test_the_reference_has_the_same_classes_and_the_most_similar_settings(write_run: Write, tmp_path: Path) -> None:
    write_run("weak", WEAK[1], NOVEL[1], ("optim.lr=1",))
    write_run("full/other", {"x": 1.0, "y": 2.0}, (), ("optim.lr=1",), supervision="full")
    (score,) = gathered(tmp_path)["toy"].scores
    assert score.reference is score.values[-1] is None
    write_run("full/near", FULL, (), ("optim.lr=2",), supervision="full", split=1)
    write_run("full/same", FULL, (), ("optim.lr=1", "supervision=full"), supervision="full", split=4)
    assert references(gathered(tmp_path)["toy"]) == ["same"]


def test_a_full_run_is_divided_by_the_splits_of_its_own_experiment(write_run: Write, tmp_path: Path) -> None:
    write_run("x/all/split1", WEAK[1], ("c", "d"), ("variant=all",), name="x/all")
    write_run("y/all/split1", WEAK[1], ("a",), ("variant=all",), name="y/all")
    for name in ("x", "y", "z"):
        write_run(f"{name}/full/split1", FULL, (), ("variant=full",), name=f"{name}/full", supervision="full")
    groups = gathered(tmp_path)
    assert (novel(groups["x/full"]), novel(groups["y/full"])) == ([(50 + 30) / 2], [80])
    assert sorted(value or 0 for value in novel(groups["z/full"])) == [40, 80]  # no weak run: all that there are


def test_classes_without_ground_truth_are_in_no_mean(write_run: Write, tmp_path: Path) -> None:
    write_run("weak", {**WEAK[1], "d": None}, NOVEL[1])
    write_run("full", {**FULL, "c": 0.0, "d": None}, (), supervision="full")
    (score,) = gathered(tmp_path)["toy"].scores
    assert (*score.values[:2], score.values[-1]) == (50, 30, None)  # a share of nothing


def test_settings_tell_groups_apart_but_bookkeeping_does_not(write_run: Write, tmp_path: Path) -> None:
    for number, weight in enumerate((1, 1, 2)):
        overrides = (
            f"split={number}",
            f"loss.terms.mask.weight={weight}",
            "trainer.max_steps=100",
            f"data.root=/{number}",
        )
        write_run(f"s{number}", WEAK[1], NOVEL[1], (*overrides, "callbacks.panels.num_images=9"), split=number)
    write_run("s0/retrain", WEAK[1], NOVEL[1], split=0, stage="retrain")
    write_run("a", WEAK[1], NOVEL[1], ("variant=neither",), name="ablation/toy/neither")
    write_run("b", WEAK[1], NOVEL[1], ("variant=neither",))
    assert {title: [score.split for score in group.scores] for title, group in gathered(tmp_path).items()} == {
        "ablation/toy/neither": [1],  # a variant is named once
        "toy, loss.terms.mask.weight=1": [0, 1],
        "toy, loss.terms.mask.weight=2": [2],
        "toy, neither": [1],
        "toy, re-trained": [0],
    }


def test_of_a_run_done_twice_the_newer_counts_and_missing_splits_are_listed(write_run: Write, tmp_path: Path) -> None:
    for split in (1, 2, 3):
        write_run(f"all/s{split}", WEAK[1], NOVEL[1], ("variant=all",), split=split)
    older = write_run("neither/s2", WEAK[1], NOVEL[1], ("variant=neither",), split=2)
    os.utime(older / "metrics.json", (0, 0))
    newer = write_run("neither/s2-2", WEAK[2], NOVEL[1], ("variant=neither",), split=2)
    groups, problems = summarise(find_runs([tmp_path]))
    assert problems == [
        Problem(f"{tmp_path.name}/neither/s2", "left out", f"the same was done again in {tmp_path.name}/neither/s2-2"),
        Problem("toy, neither", "missing", "other groups have split 1 seed 0, split 3 seed 0"),
    ]
    assert [score.run.folder for score in groups[1].scores] == [newer]
    assert [row[-1] for row in group_table(groups).rows[1:]] == ["3", "1 of 3"]
