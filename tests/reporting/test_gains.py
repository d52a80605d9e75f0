"""What each part adds, against differences worked out by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest

from weakshot_seg.reporting.gains import find_gains
from weakshot_seg.reporting.runs import find_runs
from weakshot_seg.reporting.summary import Spread, summarise
from weakshot_seg.reporting.tables import gain_table, group_table

Write = Callable[..., Path]
BOTH = ("complement", "similarity")
LEFT_OUT = {"neither": BOTH, "with_complement": ("similarity",), "with_similarity": ("complement",)}


@pytest.fixture
def study(write_run: Write, tmp_path: Path) -> Path:
    """Classes a, b, c, of which c is novel, on splits 1 and 2; the fully supervised model only once."""
    novel = {
        "base_only": (0, 0),
        "neither": (20, 30),
        "with_complement": (30, 50),
        "with_similarity": (24, 28),
        "all": (40, 45),
        "fully_supervised": (60,),
    }
    for variant, ious in novel.items():
        supervision = {"base_only": "base_only", "fully_supervised": "full"}.get(variant, "weakshot")
        known = () if supervision == "full" else ("c",)
        for split, iou in enumerate(ious, 1):
            facts = {"name": f"study/{variant}", "split": split, "supervision": supervision}
            place, settings = f"study/{variant}/split{split}", (f"variant={variant}", f"split={split}")
            classes = {"a": 60.0, "b": 40.0, "c": float(iou)}
            write_run(place, classes, known, settings, without=LEFT_OUT.get(variant, ()), **facts)
            if variant == "all":
                write_run(f"{place}/retrain", {**classes, "b": 50.0, "c": iou + 2.0}, known, stage="retrain", **facts)
    return tmp_path / "study"


def test_differences_split_by_split(study: Path) -> None:
    groups = summarise(find_runs([study])).groups
    gains = {f"{gain.part}: {gain.after.removeprefix('study/')}": gain for gain in find_gains(groups)}
    points = {name: (gain.novel.mean, gain.better, gain.pairs) for name, gain in gains.items() if gain.novel}
    assert points == {
        "image-level labels: all": (42.5, 2, 2),  # 40 - 0, 45 - 0
        "complement: with_complement": (15, 2, 2),  # 30 - 20, 50 - 30
        "similarity: with_similarity": (1, 1, 2),  # 24 - 20, 28 - 30
        "similarity: all": (2.5, 1, 2),  # 40 - 30, 45 - 50
        "complement: all": (16.5, 2, 2),  # 40 - 24, 45 - 28
        "re-training: all, re-trained": (2, 2, 2),
        "masks of novel classes: fully_supervised": (17.5, 2, 2),  # 60 - 40, 60 - 45
    }
    assert gains["similarity: all"].novel == Spread(2.5, pytest.approx(112.5**0.5), 2)  # of 10 and -5
    assert gains["re-training: all, re-trained"].base == Spread(5, 0, 2)
    assert gains["re-training: all, re-trained"].all == Spread(pytest.approx(4), pytest.approx(0, abs=1e-9), 2)


def test_the_tables_go_from_the_lower_to_the_upper_bound(study: Path) -> None:
    groups = summarise(find_runs([study])).groups
    assert [row[0].removeprefix("study/") for row in group_table(groups).rows[1:]] == [
        "base_only",
        "neither",
        "with_complement",
        "with_similarity",
        "all",
        "all, re-trained",
        "fully_supervised",
    ]
    table = gain_table(groups)
    assert table is not None
    row = ("similarity", "study/with_complement", "study/all", "+0.0 ± 0.0", "+2.5 ± 10.6", "+0.8 ± 3.5", "1 of 2")
    assert row in table.rows


def test_runs_that_differ_in_more_are_not_compared(write_run: Write, tmp_path: Path) -> None:
    iou = {"a": 60.0, "b": 20.0}
    write_run("x/plain", iou, ("b",), ())
    write_run("x/rate", iou, ("b",), ("optim.lr=1", "~loss.terms.complement"))
    write_run("x/weight", iou, ("b",), ("loss.terms.complement.weight=1", "~loss.terms.similarity"))
    write_run("x/neither", iou, ("b",), ("loss.without=[complement]",), without=BOTH)
    write_run("x/split2", iou, ("b",), ("~loss.terms.similarity",), split=2)
    write_run("x/other", iou, ("b",), ("~loss.terms.similarity",), name="other")
    assert gain_table(summarise(find_runs([tmp_path / "x"])).groups) is None
    write_run("x/removed", {**iou, "b": 5.0}, ("b",), ("~loss.terms.complement",))
    gains = find_gains(summarise(find_runs([tmp_path / "x"])).groups)
    assert sorted((gain.part, gain.before, gain.after, gain.novel) for gain in gains) == [
        ("complement", "toy, ~loss.terms.complement", "toy", Spread(15, None, 1)),
        ("similarity", "toy, loss.without=[complement]", "toy, ~loss.terms.complement", Spread(-15, None, 1)),
    ]
