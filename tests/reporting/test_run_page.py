"""The page of one run shows what its folder holds, and gives away neither photos nor paths unless it is one's own."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from elements import Elements
from weakshot_seg.reporting.run_page import Origin, run_page, write_run_page
from weakshot_seg.reporting.runs import read_run

Write = Callable[..., Path]
EVIL = "<script>alert('x')</script>&\"|`"
ORIGIN = Origin(
    ["cd /home/ann", f"weakshot train 'name={EVIL}'"], "data:\n  root: /home/ann/photos\n", "retrain/index.html"
)


@pytest.fixture
def folder(write_run: Write) -> Path:
    run = write_run("run", {EVIL: 50.0, "b": 20.0, "c": None}, (EVIL,), name="birds", seconds=150.0)
    (run / "csv" / "version_0").mkdir(parents=True)
    (run / "csv" / "version_0" / "metrics.csv").write_text("step,train/loss,val/novel_iou\n1,2,\n2,3,50\n")
    (run / "image_scores.csv").write_text("image,miou,panel\n/home/ann/x.jpg,50,ranked/best_1.png\n")
    (run / "confusion.csv").write_text("1,2,3\n3,4,0\n0,0,0\n")
    (run / "ranked").mkdir()
    Image.new("RGB", (60, 20), (200, 0, 0)).save(run / "ranked" / "best_1.png")
    return run


def test_the_page_of_ones_own_run(folder: Path) -> None:
    written = write_run_page(folder, ORIGIN)
    assert written == folder / "index.html"
    page = Elements(written.read_text())
    for text in (
        "birds, split 1",
        "100 steps; 2 minutes",
        f"{EVIL} 50.0, b 20.0, c no ground truth",
        "Confusion matrix",
    ):
        assert text in page.text
    for text in (*ORIGIN.command, ORIGIN.settings, "best, mIoU 50.0: /home/ann/x.jpg", "novel IoU", "loss"):
        assert text in page.text
    assert set(page.tags).isdisjoint({"script", "link", "iframe"})
    own = ("data:image/jpeg;base64,", "data:image/svg+xml;base64,", "retrain/index.html")
    assert all(link.startswith(own) for link in page.links)
    assert sum(link.startswith(own[0]) for link in page.links) == 1


def test_the_page_to_give_away(folder: Path) -> None:
    page = Elements(run_page(read_run(folder, ""), None))
    assert f"{EVIL} 50.0, b 20.0" in page.text
    assert all(link.startswith("data:image/svg") for link in page.links)
    assert str(folder) not in page.source
    assert "ann" not in page.text


def test_what_is_damaged_is_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "confusion.csv").write_text("1,nan\n")
    assert "confusion.csv cannot be read" in run_page(read_run(folder, ""), ORIGIN)
    (folder / "metrics.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        assert write_run_page(folder, ORIGIN) is None
    assert "no index.html" in caplog.text
    assert not (folder / "index.html").exists()
