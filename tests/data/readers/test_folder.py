"""Reading folders of photos and masks, and one-line errors for everything that may be wrong with them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from weakshot_seg.data.images import read_image
from weakshot_seg.data.readers.folder import FolderImages
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE

MakeFolder = Callable[..., Path]


def read(root: Path, **settings: Any) -> FolderImages:
    return FolderImages(root, "images/training", "annotations/training", **settings)


def failure(root: Path, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(root, **settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


def photo(root: Path, number: int = 1) -> Path:
    return root / f"images/training/photo{number}.jpg"


def mask(root: Path, number: int = 1) -> Path:
    return root / f"annotations/training/photo{number}.png"


@pytest.mark.parametrize("verify", [True, False])
def test_pairs_are_read_by_name(make_folder: MakeFolder, verify: bool) -> None:
    root = make_folder()
    source = read(root, verify=verify)
    assert source.class_names == ("sky", "grass", "cat")
    assert [source.name(i) for i in range(len(source))] == ["photo0", "photo1", "photo2"]
    for i in range(3):
        image, label_map = source.load(i)
        assert np.array_equal(image, np.asarray(Image.open(photo(root, i))))
        assert np.array_equal(label_map, np.asarray(Image.open(mask(root, i))))
        assert (image.dtype, label_map.dtype) == (np.uint8, np.uint8)
        assert source.presence()[i].tolist() == [bool((label_map == c).any()) for c in range(3)]


def test_presence_is_a_copy(make_folder: MakeFolder) -> None:
    source = read(make_folder())
    source.presence()[:] = False
    assert source.presence().any()


def test_offset_and_ignore_label(make_folder: MakeFolder) -> None:
    root = make_folder(offset=1)
    raw = np.asarray(Image.open(mask(root))).copy()
    raw[:5] = 0
    raw[5:8] = 200
    Image.fromarray(raw).save(mask(root))
    label_map = read(root, label_offset=1, ignore_label=200).load(1)[1]
    assert (label_map[:8] == IGNORE).all()
    assert np.array_equal(label_map[8:], raw[8:] - 1)
    assert "has the id 200, but the 3 class names allow 1 to 3" in failure(root, label_offset=1)


def test_sub_folders_and_other_files(make_folder: MakeFolder) -> None:
    root = make_folder()
    for kind, suffix in (("images", "jpg"), ("annotations", "png")):
        folder = root / kind / "training"
        (folder / "more").mkdir()
        (folder / f"photo0.{suffix}").rename(folder / f"more/photo0.{suffix}")
        (folder / ".hidden.png").write_bytes(b"")
        (folder / "notes.txt").write_text("")
    source = read(root)
    assert [source.name(i) for i in range(3)] == ["more/photo0", "photo1", "photo2"]


def test_linked_folders(make_folder: MakeFolder) -> None:
    root = make_folder()
    for kind, suffix in (("images", "jpg"), ("annotations", "png")):
        folder = root / kind / "training"
        (root / f"other {kind}").mkdir()
        (folder / f"photo0.{suffix}").rename(root / f"other {kind}/photo0.{suffix}")
        (folder / "more").symlink_to(root / f"other {kind}")
        (root / f"other {kind}/loop").symlink_to(folder)
        (folder / ".hidden").symlink_to(root / f"other {kind}")
    source = read(root)
    assert [source.name(i) for i in range(len(source))] == ["more/photo0", "photo1", "photo2"]
    source.load(0)


def test_exif_orientation_turns_the_image(make_folder: MakeFolder) -> None:
    root = make_folder()
    stored = Image.open(photo(root)).copy()
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(photo(root), exif=exif)
    for verify in (True, False):
        assert "17x33 but its image is 33x17" in failure(root, verify=verify)
    Image.fromarray(np.zeros((17, 33), np.uint8)).save(mask(root))
    for verify in (True, False):
        assert read(root, verify=verify).load(1)[0].shape == (17, 33, 3)


@pytest.mark.parametrize(
    ("content", "file"),
    [
        ("sky\ngrass\ncat\n\n", "names.txt"),
        ("\ufeffsky\ngrass\ncat\n", "classes.txt"),  # a byte order mark
        ('\ufeff["sky", "grass", "cat"]', "classes.json"),
        ('{"sky": 0.0, "cat": 2.0, "grass": 1.0}', "classes.json"),
        ('["sky", "grass", "cat"]', "classes.json"),
        ('{"names": ["sky", "grass", "cat"]}', "classes.json"),
        ('{"0": "sky", "2": "cat", "1": "grass"}', "classes.json"),
        ('{"sky": 0, "cat": 2, "grass": 1}', "classes.json"),
        ('{"names": {"0": "sky", "1": "grass", "2": "cat"}}', "classes.json"),
        (
            '{"info": {}, "images": [{"id": 7}], "categories": [{"supercategory": "x", "id": 0, "name": "sky"}, '
            '{"id": 1, "name": "grass"}, {"id": 2, "name": "cat"}]}',
            "classes.json",
        ),
        (
            '{"classes": [{"id": 2, "name": "cat"}, {"id": 0, "name": "sky"}, {"id": 1, "name": "grass"}]}',
            "classes.json",
        ),
    ],
)
def test_layouts_of_class_names(make_folder: MakeFolder, content: str, file: str) -> None:
    root = make_folder()
    (root / "classes.txt").unlink()
    (root / file).write_text(content, "utf8")
    for given in (None, file, root / file, ["sky", "grass", "cat"]):
        assert read(root, class_names=given).class_names == ("sky", "grass", "cat")


def test_missing_class_names(make_folder: MakeFolder) -> None:
    root = make_folder()
    assert f"labels.txt is neither in {root} nor in" in failure(root, class_names="labels.txt")
    (root / "classes.txt").unlink()
    assert "write a text file with one name per line" in failure(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read class names from"),
        ('{"labels": []}', "cannot read class names from"),
        ('{"classes": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}', "give every class an id of its own"),
        ('{"classes": [{"id": 1, "name": "a"}, {"id": 255, "name": "b"}]}', "ids in"),
        ('{"-1": "a"}', "are [-1]: give every class an id of its own, 0 to 254"),
        ('{"categories": [{"name": "a"}]}', "cannot read class names from"),
        (
            '[{"id": 0.5, "name": "a"}, {"id": 1.7, "name": "b"}]',
            "bad.json (ValueError: the id 0.5 is no whole number): ",
        ),
        ('{"a": 0, "b": 1.7}', "the id 1.7 is no whole number"),
        ('{"a": 0, "b": Infinity}', "the id inf is no whole number"),
        ('{"a": 0, "b": true}', "the id True is no whole number"),
        ('{"zero": "a"}', "the id 'zero' is no whole number"),
        ('{"0": "a", "0": "b", "1": "c"}', "bad.json (ValueError: the key '0' is given twice): write a text file"),
        ('[{"id": 0, "id": 1, "name": "a"}]', "the key 'id' is given twice"),
        ("[" * 100_000, "bad.json (RecursionError: "),
        ('["a", "b", "a"]', "names the class 'a' twice"),
        ('["a", ""]', "class 1 of"),
        ('["a", 3]', "class 1 of"),
        ("[]", "has 0 class names"),
        (json.dumps([str(i) for i in range(255)]), "has 255 class names: 1 to 254"),
    ],
)
def test_bad_class_names(make_folder: MakeFolder, content: str, message: str) -> None:
    root = make_folder()
    (root / "bad.json").write_text(content)
    assert message in failure(root, class_names="bad.json")


def test_missing_folders(make_folder: MakeFolder, tmp_path: Path) -> None:
    assert failure(tmp_path / "nowhere").endswith("nowhere does not exist: set data.root")
    root = make_folder()
    with pytest.raises(DataError, match=r"the folder .*images/train does not exist: .*data\.train_annotations"):
        FolderImages(root, "images/train", "annotations/training")
    (root / "empty").mkdir()
    with pytest.raises(DataError, match=r"there are no images in .*empty"):
        FolderImages(root, "empty", "annotations/training")
    with pytest.raises(DataError, match=r"there are no masks \(PNG\) in .*empty"):
        FolderImages(root, "images/training", "empty")


def test_image_without_mask_and_mask_without_image(make_folder: MakeFolder) -> None:
    root = make_folder()
    mask(root).rename(mask(root, 7))
    message = failure(root)
    assert message == (f"mask {mask(root, 7)} has no image: add {photo(root, 7)} or remove the mask (and 1 more)")
    Image.new("RGB", (17, 33)).save(photo(root, 7))
    assert failure(root) == (f"image {photo(root)} has no mask: add {mask(root)} or remove the image")


def test_two_images_of_one_name(make_folder: MakeFolder) -> None:
    root = make_folder()
    Image.open(photo(root)).save(photo(root).with_suffix(".bmp"))
    assert "have the same name: keep one of them" in failure(root)


def test_colour_masks(make_folder: MakeFolder) -> None:
    root = make_folder()
    for number in (0, 1):
        Image.open(mask(root, number)).convert("RGB").save(mask(root, number))
    message = failure(root)
    assert message.startswith(f"mask {mask(root, 0)} is a colour picture (mode RGB): save it with one channel")
    assert message.endswith("(and 1 more)")


def test_size_and_id(make_folder: MakeFolder) -> None:
    root = make_folder()
    ids = np.asarray(Image.open(mask(root)))
    Image.fromarray(ids[:-1]).save(mask(root))
    assert f"mask {mask(root)} is 17x32 but its image is 17x33: resize the mask" in failure(root)
    wrong = ids.copy()
    wrong[3, 4] = 9
    Image.fromarray(wrong).save(mask(root))
    assert "has the id 9, but the 3 class names allow 0 to 2: add class names" in failure(root)
    Image.fromarray(ids.astype(np.uint16) + 300).save(mask(root))
    assert "ids must be 0 to 255" in failure(root)


@pytest.mark.parametrize("which", [photo, mask])
def test_truncated_and_broken_files(make_folder: MakeFolder, which: Callable[[Path], Path]) -> None:
    root = make_folder()
    whole = which(root).read_bytes()
    for content in (whole[: len(whole) // 2], b"no picture", b""):
        which(root).write_bytes(content)
        message = failure(root)
        assert f"cannot read {'image' if which is photo else 'mask'} {which(root)} (" in message
        assert "remove" in message


def test_truncated_images_pass_only_without_verification(make_folder: MakeFolder) -> None:
    root = make_folder()
    whole = photo(root).read_bytes()
    photo(root).write_bytes(whole[: len(whole) * 3 // 4])
    source = read(root, verify=False)
    with pytest.raises(DataError, match="cannot read image"):
        source.load(1)


def test_checksums_are_compared_once(make_folder: MakeFolder) -> None:
    """When the data are verified, not when they are read for training."""
    root = make_folder()
    picture = photo(root).with_suffix(".png")
    Image.open(photo(root)).save(picture)
    photo(root).unlink()
    source = read(root)
    before = source.load(1)
    for path in (picture, mask(root)):
        content = bytearray(path.read_bytes())
        content[content.rindex(b"IEND") - 5] ^= 1  # last byte of the checksum of the pixels
        path.write_bytes(content)
    for now, then in zip(source.load(1), before, strict=True):
        assert np.array_equal(now, then)
    assert failure(root) == (
        f"cannot read mask {mask(root)} (a checksum is wrong or missing): replace it, or remove it and its image "
        "(and 1 more)"
    )
    assert failure(root, verify=False).startswith(f"cannot read mask {mask(root)}")
    with pytest.raises(DataError, match=r"cannot read image .* \(a checksum is wrong or missing"):
        read_image(picture)
