"""Base and novel classes: precedence, published lists, errors with a remedy; random splits and files of any content
are in ``tests/properties/test_splits.py``."""

import json

import pytest

from weakshot_seg.data.splits import make_split, published_class_names, published_names
from weakshot_seg.errors import DataError

NAMES = ("sky", "grass", "water", "cat", "dog", "kite", "tree", "boat")


@pytest.mark.parametrize(
    ("name", "classes", "splits", "novel"),
    [("ade20k", 150, 4, 38), ("coco_stuff_10k", 171, 9, 43), ("voc2012", 21, 4, 5)],
)
def test_published_splits(name, classes, splits, novel):
    names = published_class_names(name)
    assert name in published_names()
    assert len({n.strip() for n in names} - {""}) == len(names) == classes
    made = [make_split(names, i, published=name) for i in range(1, splits + 1)]
    assert len({split.novel for split in made}) == splits
    assert all(len(split.novel) == novel for split in made[:4])
    for split, ratio in zip(made[4:], (0.3, 0.35, 0.4, 0.45, 0.5), strict=False):
        assert len(split.novel) / classes == pytest.approx(ratio, abs=0.01)
    with pytest.raises(DataError, match=rf"no split {splits + 1} in the published splits of {name}: use one of 1, 2"):
        make_split(names, splits + 1, published=name)


def test_splits_of_voc_are_the_folds_of_pascal_5i():
    names = published_class_names("voc2012")
    novel = [make_split(names, split, published="voc2012").novel_names for split in range(1, 5)]
    assert novel[0] == ("aeroplane", "bicycle", "bird", "boat", "bottle")
    assert novel[3] == ("pottedplant", "sheep", "sofa", "train", "tvmonitor")
    assert set(sum(novel, ())) == set(names) - {"background"}


def test_an_explicit_seed_or_ratio_wins_over_published_splits():
    names = published_class_names("ade20k")
    assert make_split(names, 1, published="ade20k", seed=5) == make_split(names, 5)
    assert len(make_split(names, 1, published="ade20k", novel_ratio=0.5).novel) == 75


def test_precedence(tmp_path):
    file = tmp_path / "splits.json"
    file.write_text(json.dumps({"split1": {"novel": [2, 0], "base": [1]}, "split2": {"novel": [1]}}))
    everything = {"split_file": str(file), "published": "ade20k", "novel_ratio": 0.5, "seed": 1}
    assert make_split(NAMES, 1, novel_classes=["dog"], **everything).novel_names == ("dog",)
    assert make_split(NAMES, 1, **everything).novel == (0, 2)
    assert make_split(NAMES, 1, novel_classes=[]).novel == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"1": [0]}', r"no split 2 in .*splits.json: use one of 1"),
        ('{"2": [0, 8]}', r"novel class ids must be distinct and in 0..7, got \[0, 8\]"),
        ('{"2": [0, 1, 2, 3, 4, 5, 6, 7]}', "every class is novel"),
        ('{"2": ["sky"]}', "cannot read the split file .*: write"),
        ('{"2": [true]}', "cannot read the split file .*: write"),
        ('{"2": {"base": [1]}}', "cannot read the split file .*: write"),
        ('{"two": [1]}', "cannot read the split file .*: write"),
        ("[1, 2]", "cannot read the split file .*: write"),
        ("{", "Invalid JSON.*: write"),
    ],
)
def test_bad_split_files(tmp_path, content, message):
    file = tmp_path / "splits.json"
    file.write_text(content)
    with pytest.raises(DataError, match=message):
        make_split(NAMES, 2, split_file=str(file))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"novel_classes": ["dgo"]}, "unknown novel class 'dgo': did you mean 'dog'"),
        ({"novel_classes": ["zzzzzz"]}, "unknown novel class 'zzzzzz': the classes are sky, grass"),
        ({"novel_classes": ["dog", "dog"]}, "must be distinct"),
        ({"split_file": "/nowhere/s.json"}, "cannot read the split file /nowhere/s.json .*, or set data.split_file"),
        ({"published": "ade"}, "no published splits for 'ade': use one of ade20k, coco_stuff_10k"),
        ({"published": "ade20k"}, "for 150 classes, but the data has 8"),
        ({"class_names": ["sky"]}, "at least 2"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(DataError, match=message) as caught:
        make_split(**{"class_names": NAMES, "split": 1} | settings)
    assert "\n" not in str(caught.value)
