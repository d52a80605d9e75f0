"""Splits of any classes, and split files, class names and tables of tags of any content: none ends in a traceback."""

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weakshot_seg.data.class_names import read_classes
from weakshot_seg.data.splits import make_split
from weakshot_seg.data.tags import Tags
from weakshot_seg.errors import DataError, UserError
from weakshot_seg.structures import IGNORE


def attempt(call):
    """The result, or the message of the error that a user can mend; any other error passes."""
    try:
        return call()
    except UserError as error:
        return str(error)


NAMES = st.lists(st.text(min_size=1), min_size=2, max_size=40, unique=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda child: st.lists(child, max_size=4) | st.dictionaries(st.text(max_size=6), child, max_size=4),
    max_leaves=12,
)


@given(names=NAMES, split=st.integers(), ratio=st.floats(0.01, 0.99), seed=st.none() | st.integers())
def test_random_splits(names, split, ratio, seed):
    made = make_split(names, split, novel_ratio=ratio, seed=seed)
    assert sorted(made.base + made.novel) == list(range(len(names)))
    assert len(made.novel) == min(max(round(len(names) * ratio), 1), len(names) - 1)
    assert make_split(names, split if seed is None else split + 1, novel_ratio=ratio, seed=seed) == made
    assert make_split(names, split, novel_classes=made.novel_names) == made
    assert made.is_novel().tolist() == [name in made.novel_names for name in names]


@given(names=NAMES, data=st.data(), nested=st.booleans())
def test_split_files(tmp_path_factory, names, data, nested):
    ids = st.sets(st.integers(0, len(names) - 1), max_size=len(names) - 1).map(sorted)
    splits = data.draw(st.dictionaries(st.integers(), ids, min_size=1, max_size=4))
    file = tmp_path_factory.mktemp("splits") / "splits.json"
    file.write_text(json.dumps({f"split{k}": {"novel": v} for k, v in splits.items()} if nested else splits))
    for number, novel in splits.items():
        assert list(make_split(names, number, split_file=file).novel) == novel
    with pytest.raises(DataError, match="no split"):
        make_split(names, max(splits) + 1, split_file=file)


KEYS = st.sampled_from(["1", "split1", "2", " 1", "1.0", "splitsplit1", "x"])
SPLIT_LIKE = st.dictionaries(KEYS, st.lists(JSON) | JSON, max_size=3)


@given(content=(JSON | SPLIT_LIKE).map(lambda c: json.dumps(c).encode()) | st.binary(max_size=60))
def test_no_split_file_ends_in_a_traceback(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("splits") / "splits.json"
    file.write_bytes(content)
    made = attempt(lambda: make_split(["a", "b", "c"], 1, split_file=file))
    if isinstance(made, str):
        assert str(file) in made
    else:
        assert all(type(i) is int for i in made.novel)
        assert len(made.novel) < 3


ENTRY = st.fixed_dictionaries({"id": st.integers(-1, 300) | JSON, "name": st.text(max_size=2) | JSON})
WORDS = st.text(max_size=3)
CLASSES_LIKE = (
    st.lists(WORDS, max_size=5) | st.dictionaries(WORDS, st.integers(-2, 300), max_size=5) | st.lists(ENTRY, max_size=4)
)


@pytest.mark.parametrize("name", ["classes.json", "classes.txt"])
@given(
    content=(JSON | CLASSES_LIKE | CLASSES_LIKE.map(lambda c: {"categories": c})).map(lambda c: json.dumps(c).encode())
    | st.binary(max_size=60)
)
def test_no_class_names_end_in_a_traceback(tmp_path_factory, name, content):
    folder = tmp_path_factory.mktemp("classes")
    (folder / name).write_bytes(content)
    classes = attempt(lambda: read_classes(None, folder))
    if isinstance(classes, str):
        assert str(folder / name) in classes
    else:
        assert 0 < len(classes) < IGNORE
        assert list(classes) == sorted(classes)
        assert all(type(i) is int and 0 <= i < IGNORE for i in classes)
        assert all(n.strip() for n in classes.values())
        assert len(set(classes.values())) == len(classes)


LETTERS = st.characters(codec="utf-8", exclude_characters="\x00\r\n")
TEXTS = st.text(LETTERS, min_size=1, max_size=8).map(str.strip).filter(bool)
CLASSES = TEXTS.filter(lambda name: ";" not in name).map(str.strip).filter(bool)


def write(folder, content):
    (folder / "tags.csv").write_bytes(content)
    return folder / "tags.csv"


@given(
    images=st.lists(TEXTS, min_size=1, max_size=6, unique=True),
    classes=st.lists(CLASSES, min_size=1, max_size=5, unique=True),
    data=st.data(),
)
def test_what_is_written_is_read(tmp_path_factory, images, classes, data):
    names = ["classes", *data.draw(st.sets(st.sampled_from(["absent", "annotated"])))]
    columns = data.draw(st.permutations(["image", *names]))
    some = st.sets(st.sampled_from(classes))
    rows = data.draw(st.lists(st.tuples(st.sampled_from(images), some, some, some), max_size=8))
    expected = {name: np.zeros((len(images), len(classes)), dtype=bool) for name in names}
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for image, *sets in rows:
        row = {"image": image}
        for name, tags in zip(names, sets, strict=False):
            row[name] = " ; ".join(sorted(tags))
            for tag in tags:
                expected[name][images.index(image), classes.index(tag)] = True
        writer.writerow([row[column] for column in columns])
    read = Tags(write(tmp_path_factory.mktemp("tags"), text.getvalue().encode()), images, classes)
    for name, table in expected.items():
        assert np.array_equal(getattr(read, name), table)
    assert bool(read.problems) == ("absent" in names and bool((expected["classes"] & expected["absent"]).any()))
    assert {images[i] for i in np.flatnonzero(read.listed)} == {image for image, *_ in rows}


ALMOST = st.lists(
    st.sampled_from(
        ["a", "b.jpg", "cat", "dog", ",", ";", "\n", "\r\n", '"', " ", "image,classes", ",absent", "*", "\x00", "ä"]
    ),
    max_size=20,
).map(lambda parts: "".join(parts).encode())


@given(content=ALMOST | st.binary(max_size=80))
def test_no_tags_end_in_a_traceback(tmp_path_factory, content):
    path = write(tmp_path_factory.mktemp("tags"), content)
    tags = attempt(lambda: Tags(path, ["a", "b"], ["cat", "dog"]))
    if isinstance(tags, str):
        assert str(path) in tags
    else:
        assert all(problem.message.startswith("line ") and "\n" not in problem.message for problem in tags.problems)
        assert not (tags.classes.any(1) & ~tags.listed).any()
