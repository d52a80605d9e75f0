"""Masks of ids and colours with tables of names."""

import numpy as np
import pytest
from PIL import Image

from importing import HEIGHT, WIDTH, filled, problems, run
from weakshot_seg.data.importers.colour_table import read_table
from weakshot_seg.errors import DataError

BOXES = ((0, 4, 5, 20, 25), (1, 22, 1, 30, 9))


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def coloured(*colours, label_map=None):
    label_map = filled(*BOXES) if label_map is None else label_map
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for number, colour in enumerate(colours):
        picture[label_map == number] = colour
    return picture


def test_cvat_segmentation_mask_export(tmp_path, photo):
    root = tmp_path / "cvat"
    photo(root / "JPEGImages/a.jpg")
    photo(root / "JPEGImages/b.jpg")
    save(root / "SegmentationClass/a.png", coloured((250, 50, 83), (51, 221, 255)))
    save(root / "SegmentationClass/b.png", coloured())
    save(root / "SegmentationObject/a.png", coloured((128, 0, 0), (0, 128, 0)))
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/default.txt").write_text("a\nb\n\nc\n")  # c: listed, and nothing is drawn
    photo(root / "JPEGImages/c.jpg")
    photo(root / "JPEGImages/d.jpg")  # of d nothing is said
    (root / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nblue heron:250,50,83::\ncat:51,221,255:head:run\n"
    )
    made = run(tmp_path / "root", root)
    assert made.classes == ["blue heron", "cat"]
    assert [path.name for path in made.done.unlisted] == ["d.jpg"]
    assert made.masks.keys() == {"a.png"}
    assert np.array_equal(made.masks["a.png"], filled(*BOXES))
    assert made.tags == {"a.jpg": ("", "", "*"), "b.jpg": ("", "*", ""), "c.jpg": ("", "*", "")}
    (root / "JPEGImages/c.jpg").unlink()
    (message,) = problems(tmp_path / "other", root)
    assert message.startswith(f"line 4 of {root}/ImageSets/Segmentation/default.txt: the photo c is not in")


def test_voc_palette_and_its_border(tmp_path, photo):
    root = tmp_path / "voc"
    photo(root / "JPEGImages/2007_000001.jpg")
    label_map = filled(*BOXES)
    picture = np.where(label_map == 255, 0, label_map + 1).astype(np.uint8)
    picture[0] = 255
    file = Image.fromarray(picture)
    palette = [0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759
    palette[-3:] = [224, 224, 192]
    file.putpalette(palette)
    (root / "SegmentationClass").mkdir()
    file.save(root / "SegmentationClass/2007_000001.png")
    (root / "labelmap.txt").write_text("background:0,0,0::\naeroplane:128,0,0::\nbicycle:0,128,0::\n")
    made = run(tmp_path / "root", root)
    label_map[0] = 255
    assert np.array_equal(made.masks["2007_000001.png"], label_map)


def test_roboflow_semantic_masks(tmp_path, photo):
    root = tmp_path / "roboflow"
    for part in ("train", "valid"):
        photo(root / part / f"{part}_jpg.rf.35a1c0.jpg")
        label_map = filled(*BOXES)
        save(
            root / part / f"{part}_jpg.rf.35a1c0_mask.png",
            np.where(label_map == 255, 0, label_map + 1).astype(np.uint8),
        )
        (root / part / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cat\n2, heron\n")
    made = run(tmp_path / "root", root)
    assert made.classes == ["cat", "heron"]
    assert made.tags.keys() == {f"{part}/{part}_jpg.rf.35a1c0.jpg" for part in ("train", "valid")}
    assert all(np.array_equal(mask, filled(*BOXES)) for mask in made.masks.values())


@pytest.mark.parametrize("table", ["classes.txt", "class_dict.csv", "given.csv"])
def test_masks_and_photos_in_two_folders(table, tmp_path, photo):
    photo(tmp_path / "photos/inner/a.jpeg")
    by_id = table == "classes.txt"
    picture = filled(*BOXES) if by_id else coloured((64, 0, 128), (0, 0, 192))
    save(tmp_path / "masks/inner/a.png", picture)
    names = "cat\nheron\n" if by_id else "name,r,g,b\ncat,64,0,128\nheron,0,0,192\n"
    (tmp_path / "masks" / table).write_text(names)
    given = {"classes": tmp_path / "masks/given.csv"} if table == "given.csv" else {}
    made = run(tmp_path / "root", tmp_path / "masks", images=[tmp_path / "photos"], **given)
    assert made.classes == ["cat", "heron"]
    assert np.array_equal(made.masks["inner/a.png"], filled(*BOXES))


def test_everything_wrong_with_masks_is_listed(tmp_path, photo):
    root = tmp_path / "data"
    for name in "abc":
        photo(root / f"images/{name}.jpg")
    (root / "classes.txt").write_text("cat\nheron\n")
    save(root / "masks/a.png", np.full((HEIGHT, WIDTH), 2, np.uint8))
    save(root / "masks/b.png", np.zeros((HEIGHT - 1, WIDTH), np.uint8))
    save(root / "masks/c.png", np.zeros((HEIGHT, WIDTH), np.uint8)).write_bytes(b"\x89PNG\r\n\x1a\n")
    save(root / "masks/d.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    found = problems(tmp_path / "root", root)
    assert len(found) == 4
    assert "a.png: the mask has the id 2, which has no name; known are 255 unlabelled, 0 cat, 1 heron, ..." in found[0]
    assert "b.png: the mask has 40 x 29 pixels, its photo 40 x 30" in found[1]
    assert "cannot read mask" in found[2]
    assert "the photo d is not in" in found[3]


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("name,r,g,b\ncat,1,2,3\nvoid,9,9,9\n", {(1, 2, 3): "cat", (9, 9, 9): None}),
        ("64 128 64\tAnimal\n192 0 128\tBird house\n", {(64, 128, 64): "Animal", (192, 0, 128): "Bird house"}),
        ("#ff8000,cat\nheron;#0000FF\n", {(255, 128, 0): "cat", (0, 0, 255): "heron"}),
        ("id,name\n0,_background_\n1,cat\n7,grey heron\n", {0: None, 1: "cat", 7: "grey heron"}),
    ],
)
def test_tables_of_colours_and_ids(text, table, tmp_path):
    (tmp_path / "table.txt").write_text(text)
    unlabelled = dict.fromkeys([255] if 1 in table else [(0, 0, 0), (224, 224, 192)])
    assert read_table(tmp_path / "table.txt") == unlabelled | table


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat,1,2,3\nheron,1,2\n", "line 2 of .* has not one name and one id or colour"),
        ("cat,1,2,3\nheron,1,2,3\n", r"line 2 of .* has the id or colour \(1, 2, 3\) of another line"),
        ("cat,1,2,300\n", "line 1 of"),
        ("cat,1\nheron,1,2,3\n", "has no ids or colours, or both"),
        ("name,r,g,b\n", "has no ids or colours, or both"),
    ],
)
def test_what_is_wrong_with_a_table(text, message, tmp_path):
    (tmp_path / "table.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "table.txt")
