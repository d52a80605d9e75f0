"""What each part adds, against differences worked out by hand."""

from collections.abc import Callable
from pathlib import Path

from weakshot_seg.reporting.gains import gain_table
from weakshot_seg.reporting.runs import find_runs
from weakshot_seg.reporting.summary import summarise
from weakshot_seg.reporting.tables import group_table

Write = Callable[..., Path]
BOTH = ("complement", "similarity")
LEFT_OUT = {"neither": BOTH, "with_complement": ("similarity",), "with_similarity": ("complement",)}
NOVEL = {
    "base_only": (0, 0),
    "neither": (20, 30),
    "with_complement": (30, 50),
    "with_similarity": (24, 28),
    "all": (40, 45),
    "full": (60,),
}
"""IoU of class c, which is novel, on splits 1 and 2; the fully supervised model only once."""


def gains(folder: Path) -> set[tuple[str, ...]]:
    table = gain_table(summarise(find_runs([folder])).groups)
    return set(table.rows[1:]) if table else set()


def test_differences_split_by_split(write_run: Write, tmp_path: Path) -> None:
    for variant, ious in NOVEL.items():
        supervision = variant if variant in ("base_only", "full") else "weakshot"
        known = () if supervision == "full" else ("c",)
        for split, iou in enumerate(ious, 1):
            facts = {"name": f"x/{variant}", "split": split, "supervision": supervision}
            place, settings = f"x/{variant}/split{split}", (f"variant={variant}", f"split={split}")
            classes = {"a": 60.0, "b": 40.0, "c": float(iou)}
            write_run(place, classes, known, settings, without=LEFT_OUT.get(variant, ()), **facts)
            if variant == "all":
                write_run(f"{place}/retrain", {**classes, "b": 50.0, "c": iou + 2.0}, known, stage="retrain", **facts)
    same = "+0.0 ± 0.0"
    assert gains(tmp_path) == {
        ("image-level labels", "x/base_only", "x/all", same, "+42.5 ± 3.5", "+14.2 ± 1.2", "2 of 2"),  # 40, 45
        ("complement", "x/neither", "x/with_complement", same, "+15.0 ± 7.1", "+5.0 ± 2.4", "2 of 2"),  # 10, 20
        ("similarity", "x/neither", "x/with_similarity", same, "+1.0 ± 4.2", "+0.3 ± 1.4", "1 of 2"),  # 4, -2
        ("similarity", "x/with_complement", "x/all", same, "+2.5 ± 10.6", "+0.8 ± 3.5", "1 of 2"),  # 10, -5
        ("complement", "x/with_similarity", "x/all", same, "+16.5 ± 0.7", "+5.5 ± 0.2", "2 of 2"),  # 16, 17
        ("re-training", "x/all", "x/all, re-trained", "+5.0 ± 0.0", "+2.0 ± 0.0", "+4.0 ± 0.0", "2 of 2"),
        ("masks of novel classes", "x/all", "x/full", same, "+17.5 ± 3.5", "+5.8 ± 1.2", "2 of 2"),  # 20, 15
    }
    groups = [row[0] for row in group_table(summarise(find_runs([tmp_path])).groups).rows[1:]]
    assert groups == [f"x/{name}" for name in (*list(NOVEL)[:-1], "all, re-trained", "full")]  # by their bounds


def test_runs_that_differ_in_more_are_not_compared(write_run: Write, tmp_path: Path) -> None:
    iou = {"a": 60.0, "b": 20.0}
    write_run("plain", iou, ("b",), ())
    write_run("rate", iou, ("b",), ("optim.lr=1", "~loss.terms.complement"))
    write_run("weight", iou, ("b",), ("loss.terms.complement.weight=1", "~loss.terms.similarity"))
    write_run("neither", iou, ("b",), ("loss.without=[complement]",), without=BOTH)
    write_run("split2", iou, ("b",), ("~loss.terms.similarity",), split=2)
    write_run("other", iou, ("b",), ("~loss.terms.similarity",), name="other")
    assert not gains(tmp_path)
    write_run("removed", {**iou, "b": 5.0}, ("b",), ("~loss.terms.complement",))
    removed = "toy, ~loss.terms.complement"
    assert gains(tmp_path) == {
        ("complement", removed, "toy", "+0.0", "+15.0", "+7.5", "1 of 1"),
        ("similarity", "toy, loss.without=[complement]", removed, "+0.0", "-15.0", "-7.5", "0 of 1"),
    }


def test_parts_that_are_options_of_a_group(write_run: Write, tmp_path: Path) -> None:
    iou = {"a": 60.0, "b": 40.0}
    write_run("all", iou, ("b",), ("split=1",))
    write_run("teacher", {**iou, "b": 10.0}, ("b",), ("loss/teacher=none", "split=1"))
    write_run("presence", {**iou, "a": 56.0}, ("b",), ("loss/presence=none", "split=1"))
    write_run("neither", iou, ("b",), ("loss/presence=none", "loss/teacher=none", "optim.lr=1"))
    assert gains(tmp_path) == {
        ("teacher", "toy, loss/teacher=none", "toy", "+0.0", "+30.0", "+15.0", "1 of 1"),
        ("presence", "toy, loss/presence=none", "toy", "+4.0", "+0.0", "+2.0", "0 of 1"),
    }
