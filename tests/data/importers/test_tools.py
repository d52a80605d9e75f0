"""Exports as the tools' own libraries wrote them: labelme 6.3.1, label-studio-sdk 2.1.2, supervisely 6.74.51,
datumaro 1.13.12.

All have a photo ``a`` of 40 x 30 pixels. The expected masks are drawn by slices and by pycocotools.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from importing import HEIGHT, WIDTH, filled, problems, run, write_json

EXPORTS = Path(__file__).parent / "exports"
SQUARE, SMALL = (0, 4, 5, 20, 25), (1, 9, 9, 13, 12)  # a heron, and a cat on it


@pytest.fixture
def exports(tmp_path):
    return shutil.copytree(EXPORTS, tmp_path / "exports")


def with_triangle(label_map):
    """Datumaro's exports have one more cat: a triangle with corners between pixels."""
    corners = np.array([[22.5, 1.5], [38.0, 4.25], [30.75, 14.0]])
    bits = coco_mask.decode(coco_mask.frPyObjects([corners.ravel().tolist()], HEIGHT, WIDTH))[..., 0].astype(bool)
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5  # the middle of each pixel: is it on the right of all three sides?
    sides = np.roll(corners, -1, axis=0) - corners
    right = [
        (dx * (y - y0) - dy * (x - x0)) / np.hypot(dx, dy) for (x0, y0), (dx, dy) in zip(corners, sides, strict=True)
    ]
    inside = np.min(right, axis=0)
    assert (bits == (inside > 0))[np.abs(inside) > 0.75].all()  # pixels on its border are a matter of taste
    label_map[bits] = 1
    return label_map


@pytest.mark.parametrize("name", ["datumaro_cvat", "datumaro_coco", "datumaro_voc", "datumaro_panoptic"])
def test_the_same_data_written_in_four_formats(name, exports, tmp_path):
    made = run(tmp_path / "root", exports / name)
    assert made.classes == ["heron", "cat", "otter"]
    assert not made.done.unlisted
    (mask,) = made.masks.values()
    # Datumaro's panoptic picture has the heron on top of the cat
    boxes = [SQUARE] if name == "datumaro_panoptic" else [SQUARE, SMALL]
    assert np.array_equal(mask, with_triangle(filled(*boxes)))
    named = {key.removeprefix("train/"): row for key, row in made.tags.items()}
    listed = {"a.jpg": ("", "", "*"), "b.jpg": ("", "*", "")}
    assert named == listed


def test_image_labels_of_coco(exports, tmp_path):
    made = run(tmp_path / "root", exports / "datumaro_labels", images=[exports / "datumaro_coco/images"])
    assert made.tags == {"a.jpg": ("heron;otter", "*", "")}
    assert made.masks == {}


def test_labelme(exports, tmp_path):
    made = run(tmp_path / "root", exports / "labelme")
    assert made.classes == ["heron", "cat", "otter", "night", "rain"]
    expected = filled(SQUARE, SMALL, (255, 16, 20, 20, 25), (1, 23, 5, 28, 11))
    expected[3, 22] = expected[11, 28] = 1
    assert made.masks.keys() == {"a.png"}
    assert np.array_equal(made.masks["a.png"], expected)
    assert made.tags == {"a.jpg": ("otter;night", "rain", "*"), "b.jpg": ("", "heron;cat;night;rain", "")}
    assert made.left_out == {"the outline of a rectangle: only a tag": 1}


def test_label_studio(exports, tmp_path):
    made = run(tmp_path / "root", exports / "label_studio")
    assert made.classes == ["heron", "cat", "night", "rain"]
    expected = filled(SQUARE, (1, 22, 3, 29, 12), (1, 30, 5, 33, 6))
    assert np.array_equal(made.masks["a.png"], expected)
    assert made.tags == {
        "a.jpg": ("night", "rain", "*"),
        "b.jpg": ("rain", "*", ""),
        "d.jpg": ("cat", "heron", ""),  # no choice was made
    }
    assert made.left_out == {"not annotated": 1, "the outline of rectanglelabels: only a tag": 1}


def test_broken_files_of_labelme_are_all_listed(exports, tmp_path):
    root = exports / "labelme"
    text = (root / "a.json").read_text()
    (root / "broken.json").write_text(text[: len(text) // 2])
    (root / "other.json").write_text("[]")
    content = json.loads(text)
    (root / "missing.json").write_text(json.dumps(content | {"imagePath": "..\\gone\\z.jpg"}))
    content["shapes"][0]["points"][2] = [44, 25]
    content["shapes"][1]["mask"] = "AAAA"
    content["shapes"][2]["points"] = [[1, 2, 3]]
    del content["shapes"][3]["label"]
    (root / "a.json").write_text(json.dumps(content))
    found = "\n".join(problems(tmp_path / "root", root)).replace(f"{root}/", "")
    for message in (
        "shapes[0] of a.json: heron: the polygon is outside the photo of 40 x 30 pixels at (44, 25)",
        "shapes[1] of a.json: cat: cannot read its bitmap",
        "shapes[2] of a.json: points.0 is wrong",
        "shapes[3] of a.json: label is missing",
        "broken.json: cannot read broken.json (JSONDecodeError",
        "missing.json: the photo ..\\gone\\z.jpg is not in",
        "other.json: it is no object with keys",
    ):
        assert message in found
    assert found.count("\n") == 6


def test_bad_tasks_of_label_studio_are_all_listed(exports, tmp_path):
    root = exports / "label_studio"
    tasks = json.loads((root / "export.json").read_text())
    results = tasks[0]["annotations"][0]["result"]
    results[0]["value"]["points"][0] = [10, 140]
    results[1]["value"]["rle"] = results[1]["value"]["rle"][:30]
    tasks[1]["data"]["image"] = "s3://bucket/away.jpg"
    (root / "export.json").write_text(json.dumps(tasks))
    found = problems(tmp_path / "root", root)
    assert len(found) == 3
    assert "[0] (task 1), result[0] of" in found[1] or "[0] (task 1), result[0] of" in "".join(found)
    for message in ("outside the photo", "the code of the brush breaks off", "the photo away.jpg is not in"):
        assert message in "".join(found)


def test_what_is_wrong_with_cvat_is_listed_by_line(exports, tmp_path):
    file = exports / "datumaro_cvat/train.xml"
    lines = file.read_text().splitlines()
    changes = {"20.00,25.00": "20.00,45.00", '"cat" occluded': '"dragon" occluded', "b.jpg": "z.jpg"}
    wanted = ["heron: the polygon is outside", "its label 'dragon' is none of the task", "the photo z.jpg is not in"]
    starts = []
    for (old, new), message in zip(changes.items(), wanted, strict=True):
        number = next(number for number, line in enumerate(lines) if old in line)
        lines[number] = lines[number].replace(old, new)
        starts.append(f"line {number + 1} of {file}: {message}")
    file.write_text("\n".join(lines))
    found = problems(tmp_path / "root", exports / "datumaro_cvat")
    assert len(found) == 3
    assert all(any(message.startswith(start) for message in found) for start in starts)
    file.write_text("\n".join(lines[:20]))
    (message,) = problems(tmp_path / "root", file)
    assert "ExpatError: no element found: line 20" in message


def test_supervisely(exports, tmp_path):
    made = run(tmp_path / "root", exports / "supervisely")
    assert made.classes == ["heron", "cat", "otter", "night", "rain"]
    expected = filled((0, 4, 5, 20, 25), (255, 8, 9, 12, 13), (1, 23, 4, 28, 10))
    expected[3, 22] = expected[10, 28] = 1
    assert np.array_equal(made.masks["ds0/a.png"], expected)
    assert made.tags == {
        "ds0/a.jpg": ("otter;night", "rain", "*"),
        "ds0/b.jpg": ("", "*", ""),
    }
    assert made.left_out == {"the outline of a rectangle: only a tag": 1}


def test_bad_files_of_supervisely_are_all_listed(exports, tmp_path):
    root = exports / "supervisely"
    file = root / "ds0/ann/a.jpg.json"
    content = json.loads(file.read_text())
    content["objects"][0]["classTitle"] = "dragon"
    content["objects"][1]["bitmap"]["origin"] = [35, 3]
    (root / "ds0/img/b.jpg").unlink()
    file.write_text(json.dumps(content))
    (root / "ds0/ann/c.jpg.json").write_text('{"size": {"height": 30}, "objects": []}')
    found = "\n".join(problems(tmp_path / "root", root))
    assert "objects[0] of " + f"{file}: its class 'dragon' is none of meta.json: heron, cat, otter" in found
    assert f"objects[1] of {file}: cat: a bitmap of 7 x 8 pixels at (35, 3) reaches outside the photo of 40 x" in found
    assert "the photo ds0/img/b.jpg is not in" in found
    assert "c.jpg.json: size.width is missing" in found
    assert found.count("\n") == 3


def test_cityscapes_of_datumaro(exports, tmp_path):
    made = run(tmp_path / "root", exports / "datumaro_cityscapes")
    assert made.classes == ["heron", "cat", "otter"]
    assert np.array_equal(made.masks["train/a.png"], with_triangle(filled(SQUARE, SMALL)))
    assert made.tags == {"train/a.png": ("", "", "*")}


def test_cityscapes_polygons_lie_on_each_other_in_their_order(tmp_path, photo):
    root = tmp_path / "city"
    photo(root / "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png")
    square = [[4, 5], [20, 5], [20, 25], [4, 25]]
    objects = [
        {"label": "person", "polygon": [[9, 9], [13, 9], [13, 12], [9, 12]]},
        {"label": "road", "polygon": square},  # larger and on top
        {"label": "cargroup", "polygon": [[0, 0], [3, 0], [3, 3], [0, 3]]},
        {"label": "ego vehicle", "polygon": [[4, 20], [20, 20], [20, 25], [4, 25]]},
        {"label": "tree", "polygon": square, "deleted": 1},
    ]
    content = {"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": objects}
    file = root / "gtFine/train/aachen/aachen_000000_000019_gtFine_polygons.json"
    write_json(file, content)
    made = run(tmp_path / "root", root)
    assert made.classes == ["person", "road", "car"]
    expected = filled((1, 4, 5, 20, 25), (2, 0, 0, 3, 3), (255, 4, 20, 20, 25))
    assert np.array_equal(made.masks["aachen/aachen_000000_000019.png"], expected)
    assert made.tags == {"aachen/aachen_000000_000019.png": ("person", "", "*")}  # none is to be seen
    file.write_text('{"imgHeight": 30}')
    (message,) = problems(tmp_path / "other", root)
    assert "imgWidth is missing" in message


def test_open_images_of_datumaro(exports, tmp_path):
    made = run(tmp_path / "root", exports / "datumaro_open_images")
    assert made.tags == {"a.jpg": ("heron;otter", "", "")}


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><job><labels>
<label><name>heron</name></label><label><name>cat</name></label><label><name>night</name></label></labels></job></meta>
<image id="0" name="x/a.jpg" width="40" height="30">
<mask label="heron" occluded="0" rle="1, 2, 4, 1" left="3" top="6" width="4" height="2" z_order="0"></mask>
<ellipse label="cat" source="manual" cx="20.5" cy="15.5" rx="4.00" ry="4.00" z_order="1"></ellipse>
<box label="night" xtl="1" ytl="1" xbr="3" ybr="3" z_order="0"></box>
<polyline label="night" points="1,1;3,3" z_order="0"></polyline>
<tag label="night" source="manual"></tag></image>
<image id="1" name="x/b.jpg" width="40" height="30"></image></annotations>"""


def test_masks_ellipses_and_tags_of_cvat(tmp_path, photo):
    photo(tmp_path / "cvat/images/x/a.jpg")
    photo(tmp_path / "cvat/images/x/b.jpg")
    (tmp_path / "cvat/annotations.xml").write_text(CVAT)
    made = run(tmp_path / "root", tmp_path / "cvat")
    mask = made.masks["x/a.png"]
    rows, columns = np.nonzero(mask == 0)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(6, 4), (6, 5), (7, 6)]
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    distance = np.hypot(x - 20.5, y - 15.5)
    assert (mask[distance < 3.5] == 1).all()
    assert (mask[distance > 4.5] != 1).all()
    assert made.tags == {"x/a.jpg": ("night", "", "*"), "x/b.jpg": ("", "*", "")}
    assert made.left_out == {"the outline of a box: only a tag": 1, "the outline of a polyline: only a tag": 1}


def write_yolo(root, photo, labels):
    for name in "abc":
        photo(root / f"images/train/{name}.jpg")
    (root / "labels/train").mkdir(parents=True)
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nnames:\n  0: heron\n  1: cat\n")
    for name, text in labels.items():
        (root / f"labels/train/{name}.txt").write_text(text)


def shares(box):
    number, left, top, right, bottom = box
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return f"{number} " + " ".join(f"{x / WIDTH:.8g} {y / HEIGHT:.8g}" for x, y in corners)


def test_yolo_segmentation(tmp_path, photo):
    root = tmp_path / "yolo"
    write_yolo(root, photo, {"a": f"{shares(SQUARE)}\n{shares(SMALL)}\n", "b": ""})
    (root / "classes.txt").write_text("heron\ncat\n")
    Image.open(root / "images/train/c.jpg").save(root / "images/train/d.png")  # a photo, and no mask
    made = run(tmp_path / "root", root, images=[root / "images"])
    assert made.classes == ["heron", "cat"]
    assert [path.name for path in made.done.unlisted] == ["c.jpg", "d.png"]
    assert np.array_equal(made.masks["train/a.png"], filled(SQUARE, SMALL))
    assert made.tags == {"train/a.jpg": ("", "", "*"), "train/b.jpg": ("", "*", "")}  # of c nothing is said


def test_what_is_wrong_with_yolo_is_listed_by_line(tmp_path, photo):
    root = tmp_path / "yolo"
    text = f"{shares(SQUARE)}\n7 0 0 1 0 1 1\nheron 0 0\n0 0 0 1.2 0 1 1\n1 .1 .2 .3\n"
    write_yolo(root, photo, {"a": text, "z": ""})
    found = problems(tmp_path / "root", root)
    file = root / "labels/train/a.txt"
    for line, message in (
        (2, "the class 7 has no name; 2 have"),
        (3, "it is not a class and x y x y ..."),
        (4, "heron: the polygon is outside the photo of 40 x 30 pixels at (48, 0)"),
        (5, "it is not a class and x y x y ..."),
    ):
        assert any(one.startswith(f"line {line} of {file}: {message}") for one in found)
    assert "the photo images/train/z is not in" in found[-1]
    assert len(found) == 5


def test_a_layer_of_cvat_that_is_no_number(exports, tmp_path):
    file = exports / "datumaro_cvat/train.xml"
    text = file.read_text()
    assert 'z_order="2"' in text
    file.write_text(text.replace('z_order="2"', 'z_order="top"', 1))
    (message,) = problems(tmp_path / "root", exports / "datumaro_cvat")
    assert "cannot be read: export it again" in message
