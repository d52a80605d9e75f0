"""COCO: masks to the pixel as pycocotools' own reader draws them, and what is said of classes without a mask."""

import contextlib
import io
import json

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from importing import HEIGHT, WIDTH, filled, problems, run, write_json

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}, {"id": 9, "name": "heron"}]


def box(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def image(number, name, **more):
    return {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT} | more


def annotation(number, image_id, category_id, segmentation=None, **more):
    entry = {"id": number, "image_id": image_id, "category_id": category_id, "iscrowd": 0, "bbox": [1, 1, 2, 2]} | more
    return entry if segmentation is None else entry | {"segmentation": segmentation}


def content(images, annotations, categories=CATEGORIES):
    return {"images": images, "annotations": annotations, "categories": categories}


def test_polygons_run_lengths_and_crowds_are_those_of_pycocotools(tmp_path, photo):
    photo(tmp_path / "coco/images/a.jpg")
    crowd = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    crowd[20:28, 5:33] = 1
    compressed = coco_mask.encode(np.asfortranarray(np.triu(crowd)))
    flat = np.flatnonzero(np.diff(crowd.ravel("F"), prepend=0, append=0)).tolist()
    counts = np.diff([0, *flat, WIDTH * HEIGHT]).tolist()
    entries = [
        annotation(1, 1, 3, [[2.3, 1.7, 30.6, 3.2, 25.4, 21.9, 8.8, 26.1], [33.0, 2.0, 39.5, 2.0, 36.0, 11.3]]),
        annotation(2, 1, 7, [[10.2, 5.1, 20.9, 6.0, 15.5, 14.8]]),
        annotation(3, 1, 7, {"size": [HEIGHT, WIDTH], "counts": counts}, iscrowd=1),
        annotation(4, 1, 3, {"size": [HEIGHT, WIDTH], "counts": compressed["counts"].decode()}),
    ]
    file = write_json(tmp_path / "coco/annotations.json", content([image(1, "a.jpg")], entries))
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(str(file))
    masks = [(reference.annToMask(entry).astype(bool), entry["category_id"]) for entry in entries]
    expected = np.full((HEIGHT, WIDTH), 255, np.uint8)
    for bits, category in sorted(masks, key=lambda pair: -pair[0].sum()):  # the smaller on top
        expected[bits] = {3: 0, 7: 1}[category]
    made = run(tmp_path / "root", tmp_path / "coco")
    assert made.classes == ["cat", "dog", "heron"]
    assert np.array_equal(made.masks["a.png"], expected)
    assert made.tags == {"a.jpg": ("", "", "*")}
    assert set(np.unique(expected)) == {0, 1, 255}


def test_a_listed_photo_without_annotations_has_none_of_the_classes(tmp_path, photo):
    for name in "abc":
        photo(tmp_path / f"coco/{name}.jpg")
    entries = [annotation(1, 1, 3, box(4, 5, 20, 25)), annotation(2, 3, 9)]
    listed = [image(1, "a.jpg"), image(2, "b.jpg"), image(3, "c.jpg")]
    made = run(tmp_path / "root", write_json(tmp_path / "coco/a.json", content(listed, entries)))
    assert made.masks.keys() == {"a.png"}
    assert np.array_equal(made.masks["a.png"], filled((0, 4, 5, 20, 25)))
    # the third has a box of a heron: it is in it, nobody knows where
    assert made.tags == {"a.jpg": ("", "", "*"), "b.jpg": ("", "*", ""), "c.jpg": ("heron", "*", "")}


def test_a_class_with_a_mask_and_a_box_is_not_drawn_completely(tmp_path, photo):
    photo(tmp_path / "coco/a.jpg")
    entries = [annotation(1, 1, 3, box(4, 5, 20, 25)), annotation(2, 1, 7, box(6, 8, 12, 14)), annotation(3, 1, 3)]
    made = run(tmp_path / "root", write_json(tmp_path / "coco/a.json", content([image(1, "a.jpg")], entries)))
    assert np.array_equal(made.masks["a.png"], filled((1, 6, 8, 12, 14)))
    assert made.tags == {"a.jpg": ("cat", "", "*")}  # no mask shows a cat, so it can be no base class


def test_lvis_lists_say_what_is_absent_and_what_is_not_drawn_completely(tmp_path, photo):
    photo(tmp_path / "lvis/a.jpg")
    photo(tmp_path / "lvis/b.jpg")
    listed = [
        image(1, "a.jpg", neg_category_ids=[7], not_exhaustive_category_ids=[9]),
        image(2, "b.jpg", neg_category_ids=[], not_exhaustive_category_ids=[]),
    ]
    entries = [annotation(1, 1, 3, box(4, 5, 20, 25)), annotation(2, 1, 9, box(22, 1, 30, 9))]
    entries.append(annotation(3, 2, 7, box(0, 0, 40, 30)))
    made = run(tmp_path / "root", write_json(tmp_path / "lvis/lvis.json", content(listed, entries)))
    assert np.array_equal(made.masks["a.png"], filled((0, 4, 5, 20, 25)))
    assert np.array_equal(made.masks["b.png"], filled((1, 0, 0, 40, 30)))
    assert made.tags == {"a.jpg": ("heron", "", "*"), "b.jpg": ("", "", "dog")}
    assert not made.done.merged.assumed


def test_panoptic_segments(tmp_path, photo):
    photo(tmp_path / "coco/images/a.jpg")
    numbers = np.zeros((HEIGHT, WIDTH), np.int64)
    numbers[2:20, 3:30], numbers[5:9, 6:12] = 3226956, 7
    picture = np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], 2).astype(np.uint8)
    (tmp_path / "coco/panoptic_val").mkdir()
    Image.fromarray(picture).save(tmp_path / "coco/panoptic_val/a.png")
    segments = [{"id": 3226956, "category_id": 7}, {"id": 7, "category_id": 3}]
    panoptic = [{"image_id": 1, "file_name": "a.png", "segments_info": segments}]
    write_json(tmp_path / "coco/panoptic_val.json", content([image(1, "a.jpg")], panoptic))
    made = run(tmp_path / "root", tmp_path / "coco")
    assert np.array_equal(made.masks["a.png"], filled((1, 3, 2, 30, 20), (0, 6, 5, 12, 9)))
    picture[0, 0] = 9
    Image.fromarray(picture).save(tmp_path / "coco/panoptic_val/a.png")
    (message,) = problems(tmp_path / "other", tmp_path / "coco")
    assert message.endswith(
        "a.png: the mask has the colour (9, 9, 9), which has no name; known are (0, 0, 0) unlabelled, "
        "(76, 61, 49) dog, (7, 0, 0) cat, ...: add it"
    )


def test_the_project_that_roboflow_lists_as_a_category_is_no_class(tmp_path, photo):
    photo(tmp_path / "export/train/a_jpg.rf.0f1e.jpg")
    categories = [
        {"id": 0, "name": "birds", "supercategory": "none"},
        {"id": 1, "name": "heron", "supercategory": "birds"},
    ]
    entries = [annotation(1, 1, 1, box(4, 5, 20, 25))]
    listed = content([image(1, "a_jpg.rf.0f1e.jpg")], entries, categories)
    write_json(tmp_path / "export/train/_annotations.coco.json", listed)
    made = run(tmp_path / "root", tmp_path / "export")
    assert made.classes == ["heron"]
    assert np.array_equal(made.masks["a_jpg.rf.0f1e.png"], filled((0, 4, 5, 20, 25)))


def test_everything_wrong_is_listed(tmp_path, photo):
    for name in "abd":
        photo(tmp_path / f"coco/{name}.jpg")
    photo(tmp_path / "coco/two/twice.jpg")
    photo(tmp_path / "coco/three/twice.jpg")
    listed = [
        image(1, "a.jpg"),
        image(2, "b.jpg", width=39),
        image(3, "c.jpg"),
        image(4, "a.jpg"),
        image(5, "twice.jpg"),
    ]
    listed += [{"id": 6}, image(7, "d.jpg")]
    short = [[1, 1, 5, 5, 1, 5]]
    entries = [
        annotation(1, 1, 3, [[1, 1, 52, 5, 5, 9]]),
        annotation(2, 1, 8, short),
        annotation(3, 99, 3, short),
        annotation(4, 1, 3, {"size": [HEIGHT, WIDTH], "counts": [5, 6]}),
        annotation(5, 1, 3, {"size": [HEIGHT, WIDTH + 1], "counts": "abc"}),
        annotation(6, 1, 3, "polygon"),
        annotation(7, 1, 3, [[1, 1, 5, 5]]),
        annotation(8, 7, 3, [[1, 1, float("nan"), 5, 3, 3]]),
    ]
    file = write_json(tmp_path / "coco/a.json", content(listed, entries))
    found = problems(tmp_path / "root", tmp_path / "coco")
    wanted = [
        "images[1] (id 2): the size is 39 x 30, but that of",
        "images[2] (id 3): the photo c.jpg is not in",
        "images[3] (id 4): the photo a.jpg is also images[0] (id 1): list it once",
        "images[4] (id 5): two photos are named twice.jpg",
        "images[5] (id 6): file_name is missing",
        "annotations[0] (id 1): cat: the polygon is outside the photo of 40 x 30 pixels at (52, 5)",
        "annotations[1] (id 2): its category 8 is unknown; the file lists 3, 7, 9, ...",
        "annotations[2] (id 3): it is of the image 99, which is not listed",
        "annotations[3] (id 4): cat: its run lengths add up to 11 pixels instead of 1200",
        "annotations[4] (id 5): cat: its run lengths are for 41 x 30 pixels, the photo has 40 x 30",
        "annotations[5] (id 6): segmentation has none of the known forms",
        "annotations[6] (id 7): cat: a polygon needs 3 or more points",
        "annotations[7] (id 8): cat: a polygon has a point that is no number",
    ]
    clean = sorted(message.replace(f" of {file}", "") for message in found)
    assert len(clean) == len(wanted)
    for message, start in zip(clean, sorted(wanted), strict=True):
        assert message.startswith(start)


def test_truncated_json(tmp_path, photo):
    photo(tmp_path / "coco/a.jpg")
    text = json.dumps(content([image(1, "a.jpg")], []), indent=1)
    (tmp_path / "coco/a.json").write_text(text[:-40])
    for source in (tmp_path / "coco", tmp_path / "coco/a.json"):
        (message,) = problems(tmp_path / "root", source)
        assert "JSONDecodeError" in message
        assert "line 2" in message
