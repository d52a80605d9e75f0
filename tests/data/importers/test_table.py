"""CSV files of tags, of any columns."""

import pytest

from importing import problems, run, write_json
from weakshot_seg.data.importers.summary import tables


@pytest.fixture
def source(tmp_path, photo):
    """Writes a CSV file beside the photos a, b and c."""
    for name in "abc":
        photo(tmp_path / f"data/photos/{name}.jpg")

    def write(text, name="labels.csv"):
        (tmp_path / "data" / name).write_text(text)
        return tmp_path / "data"

    return write


ABSENT = {"a.jpg": ("heron;otter", "", ""), "b.jpg": ("heron", "*", ""), "c.jpg": ("", "*", "")}


@pytest.mark.parametrize(
    "text",
    [
        "image,classes\na.jpg,heron;otter\nb.jpg,heron\nc.jpg,\n",
        "Label;FileName\nheron;a.jpg\notter;a.jpg\nheron;photos/b.jpg\n;c.jpg\n",
        "a.jpg,heron|otter\nb.jpg,heron\nc.jpg,\n",
        'species\tpath\n"heron, otter"\t/home/me/photos/a.jpg\nheron\tb\n\tc.jpg\n',
    ],
)
def test_lists_of_names(text, source, tmp_path):
    made = run(tmp_path / "root", source(text))
    assert made.classes == ["heron", "otter"]
    assert {name.removeprefix("photos/"): row for name, row in made.tags.items()} == ABSENT
    assert made.done.merged.assumed == {"heron", "otter"}


def test_of_names_alone_the_others_may_be_unknown(source, tmp_path):
    text = "image,classes\na.jpg,heron;otter\nb.jpg,heron\nc.jpg,\n"
    made = run(tmp_path / "root", source(text), unnamed="unknown")
    assert made.tags == ABSENT | {"b.jpg": ("heron", "", "")}


def test_a_column_for_each_class(source, tmp_path):
    text = "filename,split,heron,otter\na.jpg,train,1,0\nb.jpg,val,TRUE,\nc.jpg,val,-1,no\n"
    made = run(tmp_path / "root", source(text))
    assert made.classes == ["heron", "otter"]
    assert made.tags == {"a.jpg": ("heron", "*", ""), "b.jpg": ("heron", "", ""), "c.jpg": ("", "otter", "")}


def test_verified_labels_of_open_images(source, tmp_path):
    source("/m/01,Heron\n/m/02,Sea otter\n", "class-descriptions-boxable.csv")
    lines = ["ImageID,Source,LabelName,Confidence", "a,verification,/m/01,1", "a,verification,/m/02,0"]
    lines += ["b,verification,/m/02,1.0", "c,machine,/m/02,0.7", "b,crowd,/m/03,0"]
    made = run(tmp_path / "root", source("\n".join(lines)))
    assert made.classes == ["Heron", "Sea otter", "/m/03"]
    assert made.tags == {"a.jpg": ("Heron", "Sea otter", ""), "b.jpg": ("Sea otter", "/m/03", "")}
    assert made.left_out == {"labels that are not verified": 1}
    assert next(tables(made.done)).rows == (("format", "photos", "with masks"), ("CSV of tags", "2", "0"))


def test_columns_that_the_user_names(source, tmp_path):
    root = source("who,what,when\na.jpg,heron,1\nb.jpg,otter,2\n")
    assert "set image_column= and class_column=" in "".join(
        problems(tmp_path / "root", root / "labels.csv", form="csv")
    )
    made = run(tmp_path / "root", root, columns=("who", "what"))
    assert {name: row[0] for name, row in made.tags.items()} == {"a.jpg": "heron", "b.jpg": "otter"}
    (message,) = problems(tmp_path / "other", root, columns=("who", "where"))
    assert message.endswith("it has no column where, but who, what, when: correct image_column or class_column")


def test_everything_wrong_is_listed_by_line(source, tmp_path):
    root = source("image,heron,otter\na.jpg,1,0\na.jpg,0,0\n\nb.jpg,1\nz.jpg,1,1\n")
    found = problems(tmp_path / "root", root)
    file = root / "labels.csv"
    assert len(found) == 3
    for message in (
        f"line 2 of {file} has heron in it and line 3 of {file} not (photo a.jpg): correct one of them",
        f"line 5 of {file}: it has 2 columns instead of 3: correct it",
        f"line 6 of {file}: the photo z.jpg is not in",
    ):
        assert any(one.startswith(message) for one in found)


def test_tags_elsewhere_of_the_photos_of_another_source(source, tmp_path):
    categories, images = [{"id": 1, "name": "cat"}], [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}]
    write_json(tmp_path / "data/coco.json", {"images": images, "annotations": [], "categories": categories})
    (tmp_path / "tags").mkdir()
    (tmp_path / "tags/tags.csv").write_text("image,classes\na.jpg,heron\n")
    made = run(tmp_path / "root", tmp_path / "data", tmp_path / "tags/tags.csv")
    assert made.tags == {"a.jpg": ("heron", "*", ""), "b.jpg": ("", "*", "")}
