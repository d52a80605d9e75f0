"""Tables of tags: whatever is written is read back, and no content ends in a traceback."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from properties.attempts import attempt
from weakshot_seg.data.tags import Tags

LETTERS = st.characters(codec="utf-8", exclude_characters="\x00\r\n")
TEXTS = st.text(LETTERS, min_size=1, max_size=8).map(str.strip).filter(bool)
CLASSES = TEXTS.filter(lambda name: ";" not in name).map(str.strip).filter(bool)


def write(folder: Path, content: bytes) -> Path:
    (folder / "tags.csv").write_bytes(content)
    return folder / "tags.csv"


@given(
    images=st.lists(TEXTS, min_size=1, max_size=6, unique=True),
    classes=st.lists(CLASSES, min_size=1, max_size=5, unique=True),
    data=st.data(),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, images: list[str], classes: list[str], data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.tuples(st.sampled_from(images), st.sets(st.sampled_from(classes))), max_size=8))
    expected = np.zeros((len(images), len(classes)), dtype=bool)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["image", "classes"])
    for image, tags in rows:
        writer.writerow([image, " ; ".join(sorted(tags))])
        for tag in tags:
            expected[images.index(image), classes.index(tag)] = True
    read = Tags(write(tmp_path_factory.mktemp("tags"), text.getvalue().encode()), images, classes)
    assert not read.problems
    assert np.array_equal(read.classes, expected)
    assert {images[i] for i in np.flatnonzero(read.listed)} == {image for image, _ in rows}


ALMOST = st.lists(
    st.sampled_from(["a", "b.jpg", "cat", "dog", ",", ";", "\n", "\r\n", '"', " ", "image,classes", "\x00", "ä"]),
    max_size=20,
).map(lambda parts: "".join(parts).encode())


@given(content=ALMOST | st.binary(max_size=80))
def test_no_content_ends_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = write(tmp_path_factory.mktemp("tags"), content)
    tags = attempt(lambda: Tags(path, ["a", "b"], ["cat", "dog"]))
    if isinstance(tags, str):
        assert str(path) in tags
    else:
        assert all(problem.message.startswith("line ") and "\n" not in problem.message for problem in tags.problems)
        assert not (tags.classes.any(1) & ~tags.listed).any()
