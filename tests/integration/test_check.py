"""``weakshot check``: all that is wrong in one run, exit codes, and the page."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from composing import compose_own
from elements import Elements
from no_images import NO_IMAGES, spoil
from weakshot_seg.cli import check
from weakshot_seg.cli.entry_point import quote_settings
from weakshot_seg.data.splits import make_split
from weakshot_seg.data.synthetic.scenes import SyntheticScenes

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    command: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Runs the command in a wide terminal; returns exit code and output."""
    monkeypatch.setenv("COLUMNS", "300")

    def call(*arguments: str) -> tuple[int, str]:
        code = 0
        try:
            command(check.main, *arguments, folder=tmp_path)
        except SystemExit as error:
            code = int(error.code or 0)
        return code, capsys.readouterr().out

    return call


def table(output: str, title: str) -> list[list[str]]:
    """Rows of a table, cells apart by two blanks or more."""
    lines = output.split(f"{title}")[1].split("\n\n")[1].splitlines()
    return [re.split(r" {2,}", line.strip()) for line in lines]


@pytest.mark.parametrize("kind", ["images", "annotations"])
def test_each_file_that_is_no_image_is_named(
    kind: str, run: Run, write_images: Callable[..., None], tmp_path: Path
) -> None:
    root, suffix = tmp_path / "photos", ".jpg" if kind == "images" else ".png"
    for part in ("training", "validation"):
        write_images(root / "images" / part, root / "annotations" / part, [(0, 1, 2, 3)] * (len(NO_IMAGES) + 2))
    (root / "classes.txt").write_text("sky\ngrass\ncat\ndog")
    spoilt = [spoil(root / kind / "training" / f"photo {i}{suffix}", name) for i, name in enumerate(NO_IMAGES)]
    if kind == "images":
        spoilt.append(root / kind / "training" / f"photo {len(spoilt)}.jpg")
        spoilt[-1].write_bytes(spoilt[-1].read_bytes()[:-400] + b"\xff\xd9")
    code, output = run("experiment=folder", f"data.root={root}")
    problems = [line for line in output.splitlines() if line.startswith("problem: ")]
    assert code == 1
    assert len(problems) == len(spoilt)
    for path in spoilt:
        assert sum(str(path) in line for line in problems) == 1
    assert all("replace" in line for line in problems)


def test_everything_wrong_is_listed_in_one_run(run: Run, tagged_photos: Path, tmp_path: Path) -> None:
    photos, masks = tagged_photos / "images" / "training", tagged_photos / "annotations" / "training"
    photo = photos / "photo 0.jpg"
    photo.write_bytes(photo.read_bytes()[:700])
    Image.fromarray(np.ones((10, 11), np.uint8)).save(masks / "photo 1.png")
    mask = np.asarray(Image.open(masks / "photo 2.png")).copy()
    mask[0, 0] = 200
    Image.fromarray(mask).save(masks / "photo 2.png")
    Image.open(masks / "photo 3.png").convert("RGB").save(masks / "photo 3.png")
    Image.new("RGB", (60, 50)).save(photos / "photo 6.jpg")
    with (tagged_photos / "tags.csv").open("a") as file:
        file.write("\nphoto 3,otter\nphoto 7,cat\n")
    expected = [
        (masks / "photo 1.png", "is 11x10 but its image is 59x55: resize the mask"),
        (masks / "photo 2.png", "has the id 200, but the 5 class names allow 1 to 9"),
        (masks / "photo 3.png", "is a colour picture (mode RGB)"),
        (photo, "cannot read image"),
        (photos / "photo 6.jpg", "has no mask: add"),
        (f"line 7 of {tagged_photos / 'tags.csv'}", "unknown class 'otter'"),
        (f"line 8 of {tagged_photos / 'tags.csv'}", "the image 'photo 7', which is not there"),
    ]
    code, output = run("experiment=folder", f"data.root={tagged_photos}", f"html={tmp_path}/check.html")
    problems = [line for line in output.splitlines() if line.startswith("problem: ")]
    assert code == 1
    for line, (file, what) in zip(problems, expected, strict=True):
        assert str(file) in line
        assert what in line
    assert "7 problems: training cannot start" in output
    files = dict(table(output, "training images")[1:])
    assert (files["all"], files["readable"]) == ("7", "6")
    assert files["ids in the masks"] == "1-2, 9, 200, 255"
    page = Elements((tmp_path / "check.html").read_text())
    assert all(what in page.text for _, what in expected)
    assert page.tags.count("img") == 5  # photo 0 and the mask of photo 3 cannot be read


def test_sound_data(run: Run, tagged_photos: Path) -> None:
    code, output = run("experiment=folder", f"data.root={tagged_photos}", "data.verify=false")
    assert code == 0
    assert output.splitlines()[-4:] == [
        "training can start",
        f"next: weakshot train experiment=folder data.root={tagged_photos}",
        "  novel classes: cat, dog",
        "  1,000 steps with preset=laptop; after 20 of them the training says how long it takes",
    ]
    assert "note: no validation image has a mask of a novel class: novel IoU cannot be measured" in output
    masks = [np.asarray(Image.open(p)) for p in sorted((tagged_photos / "annotations/training").glob("*.png"))]
    labelled = sum(int((mask != 255).sum()) for mask in masks)
    rows = {row[1]: row for row in table(output, "classes (3 base, 2 novel)")}
    for number, name in ((1, "sky"), (2, "grass"), (9, "chair")):
        shown = sum(bool((mask == number).any()) for mask in masks)
        share = 100 * sum(int((mask == number).sum()) for mask in masks) / labelled
        assert rows[name][2:4] == ["base", str(shown)]
        assert float(rows[name][7]) == pytest.approx(share, abs=0.006)
    # photo 4 is tagged with the cat alone, photo 5 with dog and sky: the other base classes may be there or not
    assert [rows[name][2:7] for name in ("cat", "dog")] == [
        ["novel", "0", "3", "3", "0"],
        ["novel", "0", "2", "4", "0"],
    ]
    assert [rows[name][4:7] for name in ("sky", "grass", "chair")] == [
        ["1", "1", "1"],
        ["0", "1", "2"],
        ["0", "2", "2"],
    ]
    assert table(output, "splits")[1] == ["1-4", "3", "2", "4", "cat, dog", "-"]
    sizes = np.array([Image.open(p).size for p in (tagged_photos / "images/training").iterdir()])
    files = dict(table(output, "training images")[1:])
    for axis, name in enumerate(("width", "height")):
        numbers = sizes[:, axis].min(), int(np.median(sizes[:, axis])), sizes[:, axis].max()
        assert files[f"{name} (lowest, median, highest)"] == ", ".join(map(str, numbers))


@pytest.mark.parametrize("named", [False, True])
def test_the_command_for_a_training(named: bool, run: Run, write_images: Callable[..., None], tmp_path: Path) -> None:
    """It can be pasted: with names that a shell would take apart, and with the novel classes if they were drawn."""
    root = tmp_path / "my photos"
    write_images(root / "images/training", root / "annotations/training", [(0, 1, 2, 3)] * 20)
    (root / "classes.txt").write_text("sky\ngrass\nred cat\ndog")
    words = ("data=folder", f"data.root={root}", f"html={tmp_path}/x.html", "split=3")
    words += ("data.novel_classes=[red cat]", "preset=gpu") if named else ()
    code, output = run(*words)
    assert code == 0
    novel = "red cat" if named else make_split(("sky", "grass", "red cat", "dog"), 3).novel_names[0]
    (line,) = [line for line in output.splitlines() if line.startswith("next: ")]
    typed = shlex.split(line.removeprefix("next: "))
    assert typed[:3] == ["weakshot", "train", "experiment=folder"]
    assert f"data.novel_classes=[{novel}]" in typed
    assert ("preset=gpu" in typed) == named
    assert not any(word.startswith("html") for word in typed)
    assert f"  novel classes: {novel}" in output
    preset = "gpu" if named else "laptop"
    assert f"with preset={preset}; after 20 of them the training says how long it takes" in output.splitlines()[-2]
    rows = {row[1]: row for row in table(output, "classes (3 base, 1 novel)")}
    assert rows["class"][-1] == "set aside"
    assert rows["sky"][-1] == "4"  # of 20, see data.val_fraction
    settings = compose_own("train", *quote_settings(typed[2:]))
    assert settings.data.root == str(root)
    assert list(settings.data.novel_classes) == [novel]


def test_images_are_counted_by_what_they_declare(run: Run, tagged_photos: Path) -> None:
    """Photo 0 shows sky and grass, photo 1 sky and chair, photo 2 grass and chair, photo 3 sky and grass."""
    lines = [
        "classes,image,absent,annotated",
        ",photo 0,cat,sky",
        "cat,photo 1,*,",
        "dog,photo 4,chair,",
        "grass,photo 5,*,",
    ]
    (tagged_photos / "tags.csv").write_text("\n".join(lines))
    code, output = run("experiment=folder", f"data.root={tagged_photos}", "data.novel_classes=[cat,dog]")
    assert code == 0
    rows = {row[1]: row[3:7] for row in table(output, "classes (3 base, 2 novel)")}
    assert rows["sky"] == ["3", "0", "2", "1"]
    assert rows["grass"] == ["2", "1", "1", "2"]
    assert rows["chair"] == ["2", "0", "3", "1"]
    assert rows["cat"] == ["0", "1", "2", "3"]
    assert rows["dog"] == ["0", "1", "2", "3"]


def test_generated_scenes_and_random_splits(run: Run) -> None:
    code, output = run("data.train.num_images=12", "data.val.num_images=3", "data.train.size=32", "split=7")
    assert code == 0
    rows = table(output, "splits")[1:]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "7"]
    for row in rows:
        assert row[4] == ", ".join(make_split(SyntheticScenes.class_names, int(row[0])).novel_names)
    kinds = {row[1]: row[2] for row in table(output, "classes (12 base, 4 novel)")[1:]}
    novel = {name for name, kind in kinds.items() if kind == "novel"}
    assert novel == set(make_split(SyntheticScenes.class_names, 7).novel_names)


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("data.root=/nowhere", "the data folder /nowhere does not exist"),
        ("data.novel_classes=[otter]", "unknown novel class 'otter'"),
        ("data.novel_classes=[sky,grass,chair,cat]", "no training image has a mask of a base class"),
        ("data.label_scope=crop", "label_scope=crop needs masks of all classes"),
        ("data.class_names=[a,b]", "has the id"),
    ],
)
def test_settings_that_cannot_work(run: Run, tagged_photos: Path, setting: str, problem: str) -> None:
    code, output = run("experiment=folder", f"data.root={tagged_photos}", setting)
    assert code == 1
    assert problem in output
    assert "training cannot start" in output


def test_what_concerns_both_parts_is_named_once(
    run: Run, tagged_photos: Path, write_images: Callable[..., None]
) -> None:
    write_images(tagged_photos / "images/validation", tagged_photos / "annotations/validation", [(1, 5, 7)])
    code, output = run("experiment=folder", f"data.root={tagged_photos}", "data.class_names=[sky,sky]")
    assert code == 1
    assert output.count("names the class 'sky' twice") == 1
    assert output.endswith("1 problem: training cannot start\n")


def test_classes_that_nobody_shows(run: Run, tagged_photos: Path) -> None:
    names = ("data.class_names=[none,sky,grass,fox,owl,cat,b,dog,c,chair]", "data.novel_classes=[cat,dog,fox]")
    code, output = run("experiment=folder", f"data.root={tagged_photos}", *names)
    assert code == 0
    assert "note: novel classes that no training image carries: fox" in output
    assert table(output, "splits")[1][-1] == "fox"
    assert "note: base classes without a mask in the training images: none, owl, b, c" in output


def test_names_that_look_like_markup_stay_text(run: Run, tagged_photos: Path, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>&amp;"
    for path in list(tagged_photos.glob("*/training/photo 0.*")):
        path.rename(path.with_name(f"<b onload='x'>{path.suffix}"))
    names = {"1": "sky", "2": "grass", "5": evil, "7": "dog", "9": "chair"}
    (tagged_photos / "classes.json").write_text(json.dumps(names))
    (tagged_photos / "tags.csv").write_text(f"photo 4,{evil}\nphoto 5,dog\n<i>,<u>\n")
    code, output = run("experiment=folder", f"data.root={tagged_photos}", f"html={tmp_path}/page.html")
    assert code == 1
    assert "names the image '<i>'" in output
    page = Elements((tmp_path / "page.html").read_text())
    assert not {"script", "b", "i", "u"} & set(page.tags)
    assert page.text.count(evil) >= 3
    assert "<b onload='x'>" in page.text
    assert page.tags.count("img") == 6
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
