"""``weakshot rank``: the table, the sheet, and what is left out."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import weakshot_seg
from no_images import spoil
from weakshot_seg.cli.rank import main
from weakshot_seg.data.synthetic.scenes import SyntheticScenes

Command = Callable[..., None]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five scenes, and the first of them once more."""
    folder = tmp_path_factory.mktemp("photos")
    scenes = SyntheticScenes("validation", 5, size=64)
    for number in range(5):
        Image.fromarray(scenes.load(number)[0][:, : 64 - number]).save(folder / f"{number}.png")
    shutil.copy(folder / "0.png", folder / "copy.png")
    (folder / "notes.txt").write_text("no photo")
    return folder


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "ranking.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_photos_are_ranked(
    command: Command, eager: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(main, f"ckpt={eager}", f"source={photos}", "out=first", folder=tmp_path)
    printed = capsys.readouterr().out
    assert "6 of 6 photos are ranked: first" in printed
    assert "notes.txt" in printed
    rows = table(tmp_path / "first")
    assert [row["rank"] for row in rows] == list("123456")
    assert {Path(row["image"]).name for row in rows} == {path.name for path in photos.glob("*.png")}
    segmenter = weakshot_seg.load(eager, "cpu")
    for row in rows:
        found = segmenter.predict(row["image"])
        p = np.stack([found.scores(name) for name in found.split.names]).astype(np.float64)
        p /= p.sum(0)
        entropy = -(p * np.log(p.clip(1e-300))).sum(0).mean() / np.log(len(p))
        assert float(row["uncertainty"]) == pytest.approx(entropy, abs=1e-3)
        assert row["classes"] == "; ".join(area.name for area in found.classes[:5])
    first = max(float(row["uncertainty"]) for row in rows)
    assert (float(rows[0]["uncertainty"]), float(rows[0]["distance"])) == (first, 1)
    last = rows[-1]  # of two copies the second tells nothing new
    assert Path(last["image"]).name in ("0.png", "copy.png")
    assert float(last["distance"]) < 0.01
    with Image.open(tmp_path / "first" / "contact_sheet.png") as sheet:
        assert sheet.width > 6 * 200

    command(main, f"ckpt={eager}", f"source={photos}", "out=second", "number=2", "diversity=0", folder=tmp_path)
    by_value = sorted(rows, key=lambda row: -float(row["uncertainty"]))
    found = table(tmp_path / "second")
    assert [row["uncertainty"] for row in found] == [row["uncertainty"] for row in by_value[:2]]


def test_labelled_and_broken_photos_are_left_out(
    command: Command, eager: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "all"
    shutil.copytree(photos, source)
    spoil(source / "2.png", "text")
    with pytest.raises(SystemExit) as caught:
        command(main, f"ckpt={eager}", f"source={source}", f"labelled={source}/0.png", folder=tmp_path)
    assert caught.value.code == 1
    printed = capsys.readouterr()
    assert "4 of 4 photos are ranked: ranking" in printed.out
    assert "1 that are labelled or videos are left out" in printed.out
    assert "2.png" in printed.err
    rows = table(tmp_path / "ranking")
    assert [Path(row["image"]).name for row in rows][-1] == "copy.png"  # looks like the labelled one
    assert len(rows) == 4


def test_nothing_to_rank(refusal: Callable[..., str], eager: Path, photos: Path) -> None:
    assert "there is nothing to rank" in refusal(main, f"ckpt={eager}", f"source={photos}", f"labelled={photos}")
    assert "labelled=nowhere: no such file" in refusal(main, f"ckpt={eager}", f"source={photos}", "labelled=nowhere")
    assert "number=0 must be" in refusal(main, f"ckpt={eager}", f"source={photos}", "number=0")
