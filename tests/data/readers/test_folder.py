"""Reading folders of photos and masks, and one-line errors for everything that may be wrong with them."""

from itertools import product
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

from weakshot_seg.data.checks import BadFiles
from weakshot_seg.data.readers.files import FolderImages
from weakshot_seg.data.splits import make_split
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE


def read(root, images="images/training", masks="annotations/training", **more):
    return FolderImages(root, images, masks, **more)


def failure(root, **settings):
    with pytest.raises(DataError) as caught:
        read(root, **settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


def photo(root, number=1):
    return root / f"images/training/photo{number}.jpg"


def mask(root, number=1):
    return root / f"annotations/training/photo{number}.png"


@pytest.mark.parametrize("verify", [True, False])
def test_pairs_are_read_by_name(make_folder, verify):
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
    source.presence()[:] = False  # a copy
    assert source.presence().any()


def test_offset_and_ignore_label(make_folder):
    root = make_folder(offset=1)
    raw = np.asarray(Image.open(mask(root))).copy()
    raw[:5] = 0
    raw[5:8] = 200
    Image.fromarray(raw).save(mask(root))
    label_map = read(root, label_offset=1, ignore_label=200).load(1)[1]
    assert (label_map[:8] == IGNORE).all()
    assert np.array_equal(label_map[8:], raw[8:] - 1)
    assert "has the id 200, but the 3 class names allow 1 to 3" in failure(root, label_offset=1)


def test_sub_folders_links_and_other_files(make_folder):
    root = make_folder()
    for kind, suffix in (("images", "jpg"), ("annotations", "png")):
        folder = root / kind / "training"
        for number, inner in ((0, folder / "inner"), (1, root / f"other {kind}")):
            inner.mkdir()
            (folder / f"photo{number}.{suffix}").rename(inner / f"photo{number}.{suffix}")
        (folder / "more").symlink_to(root / f"other {kind}")
        (root / f"other {kind}/loop").symlink_to(folder)
        (folder / ".hidden").symlink_to(root / f"other {kind}")
        (folder / ".hidden.png").write_bytes(b"")
        (folder / "notes.txt").write_text("")
    source = read(root)
    assert [source.name(i) for i in range(len(source))] == ["inner/photo0", "more/photo1", "photo2"]
    source.load(1)


def test_missing_folders(make_folder, tmp_path):
    assert failure(tmp_path / "nowhere").endswith("nowhere does not exist: set data.root")
    root = make_folder()
    (root / "empty").mkdir()
    missing = failure(root, images="images/train")
    assert f"the folder {root}/images/train does not exist: " in missing
    assert "data.train_annotations" in missing
    assert f"there are no images in {root}/empty" in failure(root, images="empty")
    assert f"there are no masks (PNG) in {root}/empty" in failure(root, masks="empty")


def test_files_that_do_not_pair(make_folder):
    root = make_folder()
    mask(root).rename(mask(root, 7))
    message = failure(root)
    assert message == (f"mask {mask(root, 7)} has no image: add {photo(root, 7)} or remove the mask (and 1 more)")
    Image.new("RGB", (17, 33)).save(photo(root, 7))
    assert failure(root) == (f"image {photo(root)} has no mask: add {mask(root)} or remove the image")
    photo(root).unlink()
    Image.open(photo(root, 7)).save(photo(root, 7).with_suffix(".bmp"))
    assert failure(root).endswith("have the same name: keep one of them")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda ids: Image.fromarray(ids[:-1]), "is 17x32 but its image is 17x33: resize the mask"),
        (lambda ids: Image.fromarray(ids + 7), "has the id 7, but the 3 class names allow 0 to 2: add class names"),
        (lambda ids: Image.fromarray(ids).convert("RGB"), "is a colour picture (mode RGB): save it with one channel"),
    ],
)
def test_bad_masks(spoil, message, make_folder):
    root = make_folder()
    spoil(np.asarray(Image.open(mask(root)))).save(mask(root))
    assert failure(root).startswith(f"mask {mask(root)} {message}")
    mask(root, 0).write_bytes(b"")
    assert failure(root).endswith("(and 1 more)")


def test_checksums_are_compared_once(make_folder):
    """When the data are verified, not when they are read for training."""
    root = make_folder()
    picture = photo(root).rename(photo(root).with_suffix(".png"))
    Image.open(picture).save(picture)
    source = read(root)
    before = source.load(1)
    for path in (picture, mask(root)):
        content = bytearray(path.read_bytes())
        content[content.rindex(b"IEND") - 5] ^= 1  # last byte of the checksum of the pixels
        path.write_bytes(content)
    assert all(map(np.array_equal, source.load(1), before))
    assert failure(root).startswith(f"cannot read mask {mask(root)} (a checksum is wrong or missing): replace it")
    assert failure(root, verify=False).startswith(f"cannot read mask {mask(root)}")


@pytest.mark.parametrize("forms", list(product(("NFC", "NFD"), repeat=5)))
def test_letters_are_compared_in_one_form(forms, make_folder):
    """macOS writes ö as o and two dots, in names of files and in what is copied from there."""
    root = make_folder()
    of_photo, of_mask, of_tag, of_class, of_setting = (normalize(form, "Größe") for form in forms)
    photo(root).rename(photo(root).with_stem(of_photo))
    mask(root).rename(mask(root).with_stem(of_mask))
    (root / "classes.txt").write_text(f"sky\ngrass\n{of_class}", "utf8")
    (root / "tags.csv").write_text(f"{of_tag}.jpg,{of_class}\nphoto0,{of_setting}", "utf8")
    source = read(root, tags="tags.csv")
    name = normalize("NFC", "Größe")
    assert [source.name(i) for i in range(3)] == [name, "photo0", "photo2"]
    assert source.load(0)[1] is not None
    assert make_split(source.class_names, 1, novel_classes=[of_setting]).novel_names == (name,)


def test_two_forms_of_one_name(make_folder):
    root = make_folder()
    for number, form in ((0, "NFC"), (1, "NFD")):
        photo(root, number).rename(photo(root, number).with_stem(normalize(form, "Größe")))
    for number in (0, 1):
        mask(root, number).unlink()
    with pytest.raises(BadFiles) as caught:
        read(root)
    assert any("have the same name: keep one of them" in problem.message for problem in caught.value.problems)


def test_more_pixels_than_allowed(make_folder):
    root = make_folder()
    with pytest.raises(BadFiles) as caught:
        read(root, max_pixels=20 * 30 - 1)
    for (file, what), problem in zip(((mask, "mask"), (photo, "image")), caught.value.problems, strict=True):
        assert problem.message.startswith(f"{what} {file(root, 0)} has 30x20 pixels, more than max_pixels=599")
    source = read(root, max_pixels=20 * 30)
    assert source.load(0)[0].shape == (20, 30, 3)


def test_masks_of_other_kinds_are_not_passed_over(make_folder):
    """Not even where tags say that no mask is needed; pictures beside masks are left alone."""
    root = make_folder()
    (root / "tags.csv").write_text("photo0,cat\nphoto1,\n")
    Image.open(mask(root)).save(mask(root).with_suffix(".tif"))
    assert len(read(root, tags="tags.csv")) == 3
    mask(root).unlink()
    line = failure(root, tags="tags.csv")
    assert line.startswith(
        f"mask {mask(root).with_suffix('.tif')} is no PNG file by its name, and is not read: save its"
    )
