"""Several sources in one folder: one photo is one photo, and what each source says of it is added up."""

import shutil
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from importing import HEIGHT, WIDTH, filled, problems, run, write_json
from weakshot_seg.data.importers.drawing import Patch, paint
from weakshot_seg.data.importers.source import Source, clean, name_of
from weakshot_seg.errors import ConfigError, DataError


def coco(path, images, boxes, names=("cat", "dog")):
    """COCO's file of boxes (image number, class number, left, top, right, bottom) as polygons."""
    listed = [{"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in enumerate(images)]
    categories = [{"id": i, "name": name} for i, name in enumerate(names)]
    entries = []
    for number, (image, category, x0, y0, x1, y1) in enumerate(boxes):
        outline = [[x0, y0, x1, y0, x1, y1, x0, y1]]
        entries.append({"id": number, "image_id": image, "category_id": category, "segmentation": outline})
    return write_json(path, {"images": listed, "annotations": entries, "categories": categories})


@pytest.mark.parametrize("unnamed", ["absent", "unknown"])
def test_masks_from_one_source_and_tags_from_another(unnamed, tmp_path, photo):
    for name in ("a", "b"):
        photo(tmp_path / f"coco/{name}.jpg")
    coco(tmp_path / "coco/labels.json", ["a.jpg", "b.jpg"], [(0, 0, 4, 5, 20, 25), (1, 1, 3, 3, 9, 9)])
    photo(tmp_path / "birds/heron/h.jpg")
    photo(tmp_path / "birds/otter/inner/o.png")
    for bird in ("heron", "otter"):  # the same photo, in two folders, and of another name
        shutil.copy(tmp_path / "coco/b.jpg", tmp_path / f"birds/{bird}/another name.jpg")
    made = run(tmp_path / "root", tmp_path / "coco", tmp_path / "birds", unnamed=unnamed)
    assert made.classes == ["cat", "dog", "heron", "otter"]
    assert {name: mask.tolist() for name, mask in made.masks.items()} == {
        "a.png": filled((0, 4, 5, 20, 25)).tolist(),
        "b.png": filled((1, 3, 3, 9, 9)).tolist(),
    }
    absent = ("heron;otter", "otter", "heron") if unnamed == "absent" else ("", "", "")
    assert made.tags == {
        "a.jpg": ("", absent[0], "*" if absent[0] else ""),
        "b.jpg": ("heron;otter", "", "*"),
        "h.jpg": ("heron", absent[1], ""),
        "inner/o.png": ("otter", absent[2], ""),
    }
    assert (tmp_path / "root/images/training/inner/o.png").is_file()


def test_sources_that_draw_other_classes_say_what_they_draw(tmp_path, photo):
    for name in ("a", "b", "c"):
        photo(tmp_path / f"one/{name}.jpg")
    coco(tmp_path / "one/labels.json", ["a.jpg", "b.jpg"], [(0, 0, 4, 5, 20, 25), (1, 1, 3, 3, 9, 9)])
    (tmp_path / "two").mkdir()
    # of photo b the second source draws a heron within the dog; of c nothing: it has no heron
    coco(tmp_path / "two/labels.json", ["b.jpg", "c.jpg"], [(0, 0, 5, 5, 7, 8)], names=["heron"])
    made = run(tmp_path / "root", tmp_path / "one", tmp_path / "two", images=[tmp_path / "one"])
    assert made.classes == ["cat", "dog", "heron"]
    assert np.array_equal(made.masks["b.png"], filled((1, 3, 3, 9, 9), (2, 5, 5, 7, 8)))
    assert made.tags == {"a.jpg": ("", "", "cat;dog"), "b.jpg": ("", "", "*"), "c.jpg": ("", "heron", "")}


def test_only_some_classes(tmp_path, photo):
    for name in ("a", "b", "c"):
        photo(tmp_path / f"data/{name}.jpg")
    coco(tmp_path / "data/labels.json", ["a.jpg"], [(0, 0, 4, 5, 20, 25), (0, 1, 6, 6, 9, 9)], names=["cat", "dog"])
    (tmp_path / "tags.csv").write_text("image,heron,otter\na.jpg,,1\nb.jpg,,0\nc.jpg,1,0\n")
    made = run(tmp_path / "root", tmp_path / "data", tmp_path / "tags.csv", only=["heron", "cat"])
    assert made.classes == ["cat", "heron"]
    assert np.array_equal(made.masks["a.png"], filled((0, 4, 5, 20, 25)))  # also where a dog is on the cat
    assert made.tags == {"a.jpg": ("", "", ""), "c.jpg": ("heron", "", "")}
    assert made.done.merged.silent == 1  # of b nothing is left
    with pytest.raises(ConfigError, match="only=herons: no source has this class: did you mean 'heron'"):
        run(tmp_path / "other", tmp_path / "data", tmp_path / "tags.csv", only=["herons"])


@pytest.mark.parametrize(
    ("names", "message"),
    [(["a;b"], "the class name 'a;b': rename the class"), ([f"c{i}" for i in range(255)], "255 classes: 1 to 254 are")],
)
def test_classes_that_no_data_set_can_have(names, message, tmp_path, photo):
    photo(tmp_path / "data/a.jpg")
    coco(tmp_path / "data/labels.json", ["a.jpg"], [(0, 0, 4, 5, 20, 25)], names=names)
    (found,) = problems(tmp_path / "root", tmp_path / "data")
    assert message in found


def test_contradictions_and_equal_names_are_problems(tmp_path, photo):
    for name in ("a", "b"):
        photo(tmp_path / f"coco/{name}.jpg")
    coco(tmp_path / "coco/labels.json", ["a.jpg", "b.jpg"], [(0, 0, 4, 5, 20, 25)], names=["cat", "heron"])
    (tmp_path / "birds/heron").mkdir(parents=True)
    shutil.copy(tmp_path / "coco/a.jpg", tmp_path / "birds/heron/a.jpg")
    photo(tmp_path / "birds/heron/b.jpg")
    found = problems(tmp_path / "root", tmp_path / "coco", tmp_path / "birds")
    assert len(found) == 2
    assert "birds/heron/a.jpg: it has heron in it (photo a.jpg), of which images[0] (id 0) of" in found[0]
    assert "two photos are named b: " in found[1]


def test_the_smaller_region_is_on_top_within_its_layer():
    size, ids = (6, 8), {"a": 0, "b": 1, "c": 2}
    big, small, front = np.ones((6, 8), bool), np.ones((2, 3), bool), np.ones((3, 8), bool)
    patches = [Patch("b", small, 1, 1), Patch("c", front, layer=1), Patch("a", big)]
    expected = np.zeros(size, np.uint8)
    expected[1:3, 1:4] = 1
    expected[:3] = 2
    assert np.array_equal(paint(patches, size, ids), expected)
    assert np.array_equal(paint(patches[::-1], size, ids), expected)
    expected[:3] = 255  # a region that is no class hides what is below
    assert np.array_equal(paint([*patches[:1], patches[2], Patch("void", front, layer=1)], size, ids), expected)


@given(st.lists(st.tuples(st.sampled_from("abc"), *[st.integers(0, 9)] * 4, st.integers(0, 1)), max_size=6))
def test_each_pixel_has_the_class_of_the_smallest_region_on_it(boxes):
    patches = []
    for name, left, right, top, bottom, layer in boxes:
        bits = np.ones((abs(bottom - top) + 1, abs(right - left) + 1), bool)
        patches.append(Patch(name, bits, min(top, bottom), min(left, right), layer))
    label_map = paint(patches, (10, 10), {"a": 0, "b": 1, "c": 2})
    for y, x in np.ndindex(10, 10):
        over = [
            (-layer, (abs(right - left) + 1) * (abs(bottom - top) + 1), -number, "abc".index(name))
            for number, (name, left, right, top, bottom, layer) in enumerate(boxes)
            if min(left, right) <= x <= max(left, right) and min(top, bottom) <= y <= max(top, bottom)
        ]
        assert label_map[y, x] == (min(over)[-1] if over else 255)


def test_a_region_without_a_pixel_left_is_a_tag(tmp_path, photo):
    photo(tmp_path / "coco/a.jpg")
    boxes = [(0, 0, 4, 4, 20, 20), (0, 1, 4, 4, 20, 19), (0, 0, 4, 4, 20, 19), (0, 0, 4, 19, 20, 20)]
    coco(tmp_path / "coco/labels.json", ["a.jpg"], [*boxes[1:], (0, 2, 9, 9, 9.1, 9.1)], names=["cat", "dog", "otter"])
    made = run(tmp_path / "root", tmp_path / "coco")
    assert made.tags["a.jpg"][0] == "dog;otter"
    assert made.tags["a.jpg"][2] == "*"


def test_photos_turned_by_the_camera_have_their_upright_size(tmp_path, photo):
    path = photo(tmp_path / "coco/a.jpg", (HEIGHT, WIDTH))
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.open(path).save(path, exif=turned)
    coco(tmp_path / "coco/labels.json", ["a.jpg"], [(0, 0, 4, 5, 30, 25)])
    assert np.array_equal(run(tmp_path / "root", tmp_path / "coco").masks["a.png"], filled((0, 4, 5, 30, 25)))


@pytest.mark.parametrize(
    ("written", "path"),
    [("C:\\pics\\a.jpg", "pics/a.jpg"), ("../x/a.jpg", "x/a.jpg"), ("/a.jpg", "a.jpg"), ("s/a", "s/a")],
)
def test_paths_of_any_system(written, path, tmp_path):
    assert str(clean(written)) == path


@pytest.mark.parametrize(
    ("written", "name"), [("a", "a.jpg"), ("x/a.png", "x/a.jpg"), ("a.b", "a.b.jpg"), ("D:\\x\\a.jpg", "a.jpg")]
)
def test_a_photo_keeps_its_suffix(written, name, tmp_path):
    assert name_of(tmp_path / "z.jpg", written) == name


def test_letters_are_compared_in_one_unicode_form(tmp_path, photo):
    path = photo(tmp_path / "data" / normalize("NFD", "Größe/Gänse/ä 1.jpg"))
    for name in ("Größe/Gänse/ä 1.jpg", "x/Gänse/ä 1.jpg", "ä 1"):
        assert Source(tmp_path / "data").find_photo(name) == path
    made = run(tmp_path / "root", tmp_path / "data")
    assert made.classes == [normalize("NFC", "Größe")]


def test_photos_are_found_by_the_end_of_their_path(tmp_path, photo):
    one, two = photo(tmp_path / "data/x/a.jpg"), photo(tmp_path / "data/y/a.jpg")
    source = Source(tmp_path / "data")
    assert source.find_photo("elsewhere/y/a.jpg") == two
    assert source.find_photo("x/a") == one
    with pytest.raises(DataError, match="two photos are named a"):
        source.find_photo("a.jpg")
    with pytest.raises(DataError, match="the photo b"):
        source.find_photo("b.jpg")


def test_names_that_look_alike_are_one_class(tmp_path, photo):
    """Spaces around a name, and the two ways to store ö."""
    for name in ("a", "b"):
        photo(tmp_path / f"x/{name}.jpg")
    boxes = [(0, 0, 4, 5, 20, 25), (1, 1, 3, 3, 9, 9)]
    coco(tmp_path / "x/labels.json", ["a.jpg", "b.jpg"], boxes, (normalize("NFD", "Löwe"), " Löwe "))
    made = run(tmp_path / "root", tmp_path / "x")
    assert made.classes == ["Löwe"]
    expected = {"a.png": filled((0, 4, 5, 20, 25)), "b.png": filled((0, 3, 3, 9, 9))}
    assert {name: mask.tolist() for name, mask in made.masks.items()} == {n: m.tolist() for n, m in expected.items()}


def test_a_class_without_a_name(tmp_path, photo):
    photo(tmp_path / "x/a.jpg")
    coco(tmp_path / "x/labels.json", ["a.jpg"], [(0, 0, 4, 5, 20, 25)], ("cat", " "))
    assert "the class name ''" in problems(tmp_path / "root", tmp_path / "x")[0]
