"""Masks that contradict tags: stray pixels, forgotten offsets, tags left out; and a split that nobody chose."""

import logging

import numpy as np
import pytest
from PIL import Image

from weakshot_seg.data.checks import BadFiles
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.data.source import states_of
from weakshot_seg.data.transforms import EvalTransform, TrainTransform
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE, Knowledge

NAMES = ("lake", "reed", "heron")
LAKE, REED, HERON = range(3)
COUNT = 8


@pytest.fixture
def photos(tmp_path):
    """Makes eight photos of lake and reed (unlabelled where herons are: in every second) and reads them."""

    def make(names=NAMES, tagged=range(0, COUNT, 2), change=lambda number, mask: mask, tags=True, **settings):
        for part, count in (("training", COUNT), ("validation", 1)):
            for kind in ("images", "annotations"):
                (tmp_path / kind / part).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                mask = np.full((60, 80), LAKE, np.uint8)
                mask[30:] = REED
                mask[10:40, 20:50] = IGNORE if i % 2 == 0 else mask[10:40, 20:50]
                Image.fromarray(change(i, mask)).save(tmp_path / f"annotations/{part}/{i}.png")
                Image.new("RGB", (80, 60), (i, 9, 9)).save(tmp_path / f"images/{part}/{i}.jpg")
        (tmp_path / "classes.txt").write_text("\n".join(names))
        if tags:
            lines = [f"{i}.jpg,{'heron' if i in tagged else ''}\n" for i in range(COUNT)]
            (tmp_path / "tags.csv").write_text("".join(lines))
        settings = {"split": 1, "num_workers": 0} | settings
        data = WeakShotDataModule.from_folders(
            tmp_path, train_transform=TrainTransform(32), val_transform=EvalTransform(), **settings
        )
        data.setup("fit")
        return data

    return make


def with_heron(rows, only=range(COUNT)):
    def change(number, mask):
        if number in only:
            mask[:rows, 0] = HERON
        return mask

    return change


@pytest.mark.parametrize("pixels", [1, 7])
@pytest.mark.parametrize("only", [[0], [1], [0, 1]])
def test_stray_pixels_change_nothing_but_a_warning(pixels, only, photos, caplog):
    clean = photos()
    assert "pixels" not in caplog.text
    data = photos(change=with_heron(pixels, only))
    assert (
        f"the class 'heron' has {pixels * len(only)} pixels in {len(only)} masks, and tags in 4 photos" in caplog.text
    )
    assert data.class_split == clean.class_split
    assert data.class_split.novel_names == ("heron",)
    assert np.array_equal(data.train_dataset.knowledge, clean.train_dataset.knowledge)
    assert data.train_dataset.known[:, HERON].tolist() == [i % 2 == 0 for i in range(COUNT)]
    for i in only:
        stored = data.train_dataset.source.load(i)[1]
        assert (stored[:pixels, 0] == IGNORE).all()
        assert np.array_equal(stored[:, 1:], clean.train_dataset.source.load(i)[1][:, 1:])


def test_a_class_with_a_few_masks_and_more_tags_is_asked_about(photos):
    change = with_heron(50, only=[0])
    with pytest.raises(
        DataError, match=r"'heron' is tagged in 3 photos whose masks do not show it.*in 1: name it novel"
    ):
        photos(change=change)
    assert photos(change=change, novel_classes=["heron"]).class_split.novel_names == ("heron",)


def test_masks_that_agree_with_the_tags(photos, caplog):
    caplog.set_level(logging.WARNING)
    data = photos(change=with_heron(50, only=range(0, COUNT, 2)), novel_classes=["reed"])
    assert (states_of(data.train_dataset.source)[::2, HERON] == Knowledge.MASK).all()
    assert "heron" not in caplog.text


def one_higher(number, mask):
    return np.where(mask == IGNORE, mask, mask + 1)


@pytest.mark.parametrize("settings", [{}, {"novel_classes": ["heron"]}])
def test_a_forgotten_offset(settings, photos):
    with pytest.raises(BadFiles) as caught:
        photos(change=one_higher, **settings)
    (problem,) = caught.value.problems
    assert "the class 'heron': in 4 of the 8 photos whose masks show it, their tags do not name it" in problem.message
    assert "set data.label_offset" in problem.message
    assert photos(change=one_higher, label_offset=1).class_split.novel_names == ("heron",)


def test_a_forgotten_offset_without_tags(photos, caplog):
    photos(change=one_higher, tags=False, novel_classes=["reed"])
    assert (
        "no mask has the first class, 'lake': if ids start one higher than that, set data.label_offset" in caplog.text
    )
    caplog.clear()
    photos(change=one_higher, tags=False, novel_classes=["lake"], label_offset=1)
    assert "label_offset" not in caplog.text


def test_tags_of_few_photos_may_be_wrong(photos):
    change = with_heron(50, only=[0, 2, 4, 6, 1])
    assert photos(change=change, novel_classes=["heron"]).train_dataset.known[1, HERON]


@pytest.mark.parametrize("first", ["_background_", "__ignore__"])
def test_first_names_of_labelme(first, photos, caplog):
    photos(names=(first, "reed", "heron"))
    assert f"'{first}'" in caplog.text
    assert ("remove it from the class names" in caplog.text) == (first == "__ignore__")


def test_a_random_split_is_announced(photos, caplog):
    whole = with_heron(50)
    data = photos(change=whole, tags=False)
    (novel,) = data.class_split.novel_names
    assert f"NOVEL CLASSES ARE DRAWN AT RANDOM: {novel}" in caplog.text
    assert f"data.novel_classes=[{novel}]" in caplog.text
    caplog.clear()
    photos(change=whole, tags=False, novel_classes=[novel])
    photos(change=whole, tags=False, novel_classes=[])
    photos(change=whole, tags=False, supervision="full")
    photos()
    assert "RANDOM" not in caplog.text
