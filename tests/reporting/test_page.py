"""The files of a report: markup in names stays text, and what is shown is what was measured."""

import csv
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from elements import Elements
from weakshot_seg.cli.report import report
from weakshot_seg.reporting.report_page import class_bars
from weakshot_seg.reporting.runs import find_runs
from weakshot_seg.reporting.summary import summarise
from weakshot_seg.utils.run_status import recorded

Write = Callable[..., Path]
Show = Callable[..., Elements]
TOY = {"name": "toy", "split": 1, "seed": 0, "stage": "first", "supervision": "weakshot"}
IOU = {"a": 50.0, "b": 20.0}
EVIL = "<script>alert('x')</script>&\"|`"
SCORES = b"image,miou,panel\n<svg onload=x>,50,ranked/best_1.png\n"


@pytest.fixture
def show(tmp_path: Path) -> Show:
    """Writes the report of all runs to out.html, out.md and out.csv; returns the page."""

    def call(pictures: int = 1) -> Elements:
        report([tmp_path], tmp_path / "out", pictures)
        return Elements((tmp_path / "out.html").read_text())

    return call


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_markup_in_names_is_text_and_nothing_comes_from_elsewhere(write_run: Write, show: Show, tmp_path: Path) -> None:
    folder = write_run("run", {EVIL: 50.0, "b": 20.0}, (EVIL,), (f"'{EVIL}=1'".replace("'x'", "x"),), name=EVIL)
    write_run("run2", {EVIL: 50.0, "b": 20.0}, ("b",), name=EVIL, split=2)
    (tmp_path / "<b>failed<!--" / "checkpoints").mkdir(parents=True)
    (tmp_path / "<b>failed<!--" / "console.txt").write_text("<img src=x onerror=alert(1)>")
    put(folder / "csv" / "version_0" / "metrics.csv", b"step,train/<i>x</i>\n1,2\n2,3\n")
    put(folder / "image_scores.csv", SCORES)
    put(folder / "confusion.csv", b"1,2\n3,4\n")
    (folder / "ranked").mkdir()
    Image.new("RGB", (60, 20), (200, 0, 0)).save(folder / "ranked" / "best_1.png")
    page = show()
    assert "Confusion matrix" in page.text
    assert set(page.tags).isdisjoint({"script", "b", "i", "link", "iframe"})
    for text in (EVIL, "<b>failed<!--", "<img src=x onerror=alert(1)>", "<i>x</i>", "<svg onload=x>"):
        assert text in page.text
    assert sum(link.startswith("data:image/jpeg;base64,") for link in page.links) == 1
    assert all(link.startswith(("data:image/jpeg;base64,", "data:image/svg+xml;base64,")) for link in page.links)
    markdown = (tmp_path / "out.md").read_text()
    assert "<" not in markdown.replace("\\<", "")
    lines = [line.replace("\\\\", "").replace("\\|", "") for line in markdown.splitlines() if "failed" in line]
    assert {line.count("|") for line in lines} == {4}  # a row of three cells


def test_the_files(write_run: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run("x/split1", {"a": 50.123456, "b": 20.0}, ("b",))
    write_run("x/split2", {"a": 40.0, "b": 30.0}, ("a",), split=2)
    write_run("x/split3", IOU, (), name="=cmd|' /C calc'!A0")
    put(tmp_path / "x/split4/status.json", json.dumps({**TOY, "state": "failed", "error": "@SUM(1)"}).encode())
    report([tmp_path / "x"], tmp_path / "new" / "v1.2", 1)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["v1.2.csv", "v1.2.html", "v1.2.md"]
    printed, markdown = capsys.readouterr().out, (tmp_path / "new" / "v1.2.md").read_text()
    for row in (("toy", "40.1 ± 14.2", "30.0 ± 14.1", "35.0 ± 0.0"), ("x/split4", "failed", "@SUM(1)")):
        assert re.search(r"\s+".join(map(re.escape, row)), printed)
        assert f"| {' | '.join(row)} |" in markdown
    with (tmp_path / "new" / "v1.2.csv").open(newline="") as file:
        rows = [
            (row["group"], row["state"], row["reason"], row["split"], row["base_iou"]) for row in csv.DictReader(file)
        ]
    assert rows == [  # a name is no formula of a spreadsheet
        ("'=cmd|' /C calc'!A0", "finished", "", "1", "35.0"),
        ("toy", "finished", "", "1", "50.123456"),
        ("toy", "finished", "", "2", "30.0"),
        ("", "failed", "'@SUM(1)", "", ""),
    ]


def test_bars_of_a_class_that_is_base_in_one_split_and_novel_in_another(write_run: Write, tmp_path: Path) -> None:
    for split, novel in ((1, "b"), (2, "b"), (3, "a")):
        write_run(f"s{split}", {"a": 10.0 * split, "b": 5.0 * split, "c": None}, (novel,), split=split)
    write_run("full", {"a": 90.0, "b": 80.0, "c": None}, (), supervision="full")
    group = next(g for g in summarise(find_runs([tmp_path])).groups if not g.full)
    assert [(bar.label, bar.novel, bar.value, bar.mark) for bar in class_bars(group.scores)] == [
        ("a", False, 15, 90),
        ("a", True, 30, 90),
        ("b", False, 15, 80),
        ("b", True, 7.5, 80),
        ("c", False, None, None),
    ]


def test_what_a_run_has_is_shown(write_run: Write, show: Show) -> None:
    folder = write_run("run", IOU, ("b",))
    log = folder / "csv" / "version_0" / "metrics.csv"
    put(log, b"step,train/loss,train/weighted/mask/dice,lr\n1,2,3,4\n")
    page = show().text
    assert "loss" in page
    assert not any(word in page for word in ("SimNet", "weighted", "Confusion", "images"))
    put(log, b"step,train/loss,train/pairs/f1_similar\n1,2,.5\n")
    put(folder / "pictures" / "01_y.png", b"\x89PNG broken")
    Image.new("RGB", (90, 30)).save(folder / "pictures" / "00_x.png")  # not ranked
    page = show(pictures=2)
    assert "SimNet" in page.text
    assert "f1 similar" in page.text
    assert "01_y.png cannot be read" in page.text
    assert page.source.count("data:image/jpeg") == 1


@pytest.mark.parametrize(
    ("file", "content", "remark"),
    [
        ("image_scores.csv", SCORES.replace(b"50", b"xx"), "run: image_scores.csv cannot be read"),
        ("image_scores.csv", SCORES.replace(b"miou", b"x"), "run: image_scores.csv cannot be read"),
        ("ranked/best_1.png", b"\x89PNG broken", "best_1.png cannot be read"),
        ("csv/version_0/metrics.csv", b"step,train/loss\n1,2\n\xff\xfe\x00", "run: csv cannot be read"),
        ("csv/version_0/metrics.csv", b"step\n1," + b"9" * 200_000, "run: csv cannot be read"),
        ("confusion.csv", b"1,2\n3,nan\n", "run: confusion.csv cannot be read"),
        ("confusion.csv", b"1,2,3\n" * 3, "run: confusion.csv cannot be read"),
        ("pseudo_labels/manifest.json", b'{"quality": {"novel_iou": "x"}}', "manifest.json cannot be read"),
        ("pseudo_labels/manifest.json", b"[" * 100_000, "manifest.json cannot be read"),
    ],
)
def test_a_damaged_extra_is_left_out_with_a_remark(
    file: str, content: bytes, remark: str, write_run: Write, show: Show
) -> None:
    folder = write_run("run", IOU, ("b",))
    put(folder / "image_scores.csv", SCORES)
    put(folder / file, content)
    page = show().text
    assert remark in page
    assert "1 of 1 runs are finished" in page


def test_names_that_are_no_unicode_are_shown(write_run: Write, show: Show, tmp_path: Path) -> None:
    with pytest.raises(OSError), recorded(tmp_path / "run", **TOY):
        write_run("run", IOU, ())
        raise OSError(os.fsdecode(b"caf\xe9.jpg"))
    show()
    for ending in ("html", "md", "csv"):
        assert "udce9.jpg" in (tmp_path / f"out.{ending}").read_text()


def test_the_method_is_open_and_its_bounds_are_folded(write_run: Write, show: Show) -> None:
    for name, supervision in (("lower", "base_only"), ("method", "weakshot"), ("upper", "full")):
        write_run(name, IOU, () if supervision == "full" else ("b",), supervision=supervision)
    page = show().source
    assert page.count("<details") == 3
    assert page.count("<details open><summary>toy</summary>") == page.count("<details open>") == 1
