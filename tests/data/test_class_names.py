"""Class names in every form, and one-line errors for what is none of them."""

import json
from unicodedata import normalize

import pytest

from weakshot_seg.data.class_names import read_classes
from weakshot_seg.errors import DataError

CLASSES = {0: "sky", 1: "grass", 2: "cat"}


@pytest.mark.parametrize(
    ("content", "file"),
    [
        ("sky\ngrass\ncat\n\n", "names.txt"),
        ("\ufeffsky\ngrass\ncat\n", "classes.txt"),  # a byte order mark
        ('\ufeff["sky", "grass", "cat"]', "classes.json"),
        ('{"sky": 0.0, "cat": 2.0, "grass": 1.0}', "classes.json"),
        ('{"names": ["sky", "grass", "cat"]}', "classes.json"),
        ('{"0": "sky", "2": "cat", "1": "grass"}', "classes.json"),
        ('{"names": {"0": "sky", "1": "grass", "2": "cat"}}', "classes.json"),
        (
            '{"info": {}, "images": [{"id": 7}], "categories": [{"supercategory": "x", "id": 2, "name": "cat"}, '
            '{"id": 0, "name": "sky"}, {"id": 1, "name": "grass"}]}',
            "classes.json",
        ),
    ],
)
def test_forms(tmp_path, content, file):
    (tmp_path / file).write_text(content, "utf8")
    for given in (None, file, tmp_path / file, ["sky", "grass", "cat"]):
        assert read_classes(given, tmp_path) == CLASSES


def test_one_form_of_letters(tmp_path):
    """macOS writes ö as o and two dots."""
    (tmp_path / "classes.txt").write_text(normalize("NFD", "Löwe\nGrün"), "utf8")
    assert read_classes(None, tmp_path) == {0: normalize("NFC", "Löwe"), 1: normalize("NFC", "Grün")}
    with pytest.raises(DataError, match="twice"):
        read_classes([normalize(form, "Löwe") for form in ("NFC", "NFD")], tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "bad.json (JSONDecodeError: "),
        ('{"labels": []}', "cannot read class names from"),
        ('{"classes": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}', "give every class an id of its own"),
        ('{"-1": "a"}', "are [-1]: give every class an id of its own, 0 to 254"),
        ('{"255": "a"}', "are [255]: give every class"),
        ('{"categories": [{"name": "a"}]}', "cannot read class names from"),
        ('[{"id": 0.5, "name": "a"}]', "bad.json (ValueError: the id 0.5 is no whole number): write a text file"),
        ('{"a": 0, "b": 1.7}', "the id 1.7 is no whole number"),
        ('{"a": 0, "b": Infinity}', "the id inf is no whole number"),
        ('{"a": 0, "b": true}', "the id True is no whole number"),
        ('{"zero": "a"}', "the id 'zero' is no whole number"),
        ('{"0": "a", "b": 1}', "the id 'a' is no whole number"),
        (json.dumps(["a\x00"]), "names the class 'a\\x00', with a character that is not shown"),
        ('{"0": "a", "0": "b", "1": "c"}', "bad.json (ValueError: the key '0' is given twice): write a text file"),
        ("[" * 100_000, "bad.json (RecursionError: "),
        ('["a", "b", "a"]', "names the class 'a' twice"),
        ('["a", ""]', "class 1 of"),
        ('["a", 3]', "class 1 of"),
        ("[]", "has 0 class names"),
        (json.dumps([str(i) for i in range(255)]), "has 255 class names: 1 to 254"),
    ],
)
def test_what_is_refused(tmp_path, content, message):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(DataError) as caught:
        read_classes("bad.json", tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(DataError, match=r"labels\.txt is neither in .* nor in .*: write a text file"):
        read_classes("labels.txt", tmp_path)
    with pytest.raises(DataError, match=r"no class names in .*: write a text file with one name per line"):
        read_classes(None, tmp_path)


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_lines_end_where_editors_end_them(end, tmp_path):
    """Two names where a person sees one would shift all ids after them."""
    (tmp_path / "classes.txt").write_text(f"sky\r\ntall{end}grass\ncat\r", "utf8", newline="")
    with pytest.raises(DataError, match=r"tall.*grass', with a character that is not shown: remove it"):
        read_classes(None, tmp_path)
    (tmp_path / "classes.txt").write_text("sky\r\ntall grass\ncat\r", "utf8", newline="")
    assert read_classes(None, tmp_path) == {0: "sky", 1: "tall grass", 2: "cat"}
