"""``tags.csv``: its lines, images without masks, and what training gets of them."""

import time
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.data.readers.files import FolderImages
from weakshot_seg.data.source import by_tag, tag_only_classes
from weakshot_seg.data.tags import Tags
from weakshot_seg.data.transforms import EvalTransform, TrainTransform
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE, Knowledge

IMAGES = ["a", "b.2", "sub/c", "d"]
NAMES = ["cat", "dog, small", "heron"]


def read(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Tags(path, IMAGES, NAMES)


@pytest.mark.parametrize(
    "content",
    [
        'image,classes\na.jpg,"cat;dog, small"\nsub/c,heron\nd,\nb.2,\n',  # a dot in a name is no suffix
        'a.JPEG,"cat; dog, small ;"\nsub/c.png , heron\nd.jpg,\nb.2.jpg,\n',
        'Image,Classes\r\na,cat\r\n\r\na,"dog, small"\r\nsub/c,heron\r\nd,\r\nb.2,;\r\n',
        b'\xef\xbb\xbfimage,classes\na,"cat;dog, small"\nsub/c.jpg,heron;heron\nd,;\nb.2,',
    ],
)
def test_forms_of_the_table(tmp_path, content):
    tags = read(tmp_path / "tags.csv", content)
    assert tags.problems == []
    assert tags.listed.all()
    assert tags.classes.tolist() == [[True, True, False], [False] * 3, [False, False, True], [False] * 3]


def test_every_bad_line_is_reported(tmp_path):
    path = tmp_path / "tags.csv"
    tags = read(path, "image,classes\na,herron;cat;lynx\nq.jpg,cat\nb.2,cat,heron\nd\n")
    assert [(problem.file, problem.message) for problem in tags.problems] == [
        (path, f"line 2 of {path} has the unknown class 'herron': did you mean 'heron'?"),
        (path, f"line 2 of {path} has the unknown class 'lynx': the classes are cat, dog, small, heron"),
        (path, f"line 3 of {path} names the image 'q.jpg', which is not there: add the image or remove the line"),
        (path, f"line 4 of {path} has 3 columns: write image,class;class"),
        (path, f"line 5 of {path} has 1 columns: write image,class;class"),
    ]
    assert tags.classes[0].tolist() == [True, False, False]


@pytest.mark.parametrize(
    "content",
    [
        'image,classes,absent,annotated\na,cat,heron,\nb.2,,*,\nsub/c,cat,*,heron\nd,heron,"dog, small;*",\n',
        "annotated,Absent,image,classes\n,heron,a.jpg,cat\n,*,b.2,\nheron,*,sub/c,\n,,sub/c,cat\n,*,d,heron\n",
    ],
)
def test_optional_columns(tmp_path, content):
    tags = read(tmp_path / "tags.csv", content)
    assert tags.problems == []
    assert tags.has_absent
    assert tags.listed.all()
    assert tags.classes.tolist() == [[True, False, False], [False] * 3, [True, False, False], [False, False, True]]
    assert tags.absent.tolist() == [[False, False, True], [True] * 3, [False, True, False], [True, True, False]]
    assert tags.annotated.tolist() == [[False] * 3, [False] * 3, [False, False, True], [False] * 3]
    assert not read(tmp_path / "tags.csv", "image,classes,annotated\na,cat,heron\n").has_absent


def test_every_mistake_in_optional_columns_is_reported(tmp_path):
    path = tmp_path / "tags.csv"
    lines = ["a,cat,cot;*,", "b.2,,cat,dog", "sub/c,,,all", "d,*,,", "a,,heron;cat,heron", "b.2,cat,,"]
    tags = read(path, "\n".join(["image,classes,absent,annotated", *lines]))
    assert [problem.message for problem in tags.problems] == [
        f"line 2 of {path} has the unknown class 'cot': did you mean 'cat'?",
        f"line 3 of {path} has the unknown class 'dog': the classes are cat, dog, small, heron",
        f"line 4 of {path} has the unknown class 'all': the classes are cat, dog, small, heron",
        f"line 5 of {path} has the unknown class '*': the classes are cat, dog, small, heron",
        f"line 3 of {path} says that 'b.2' does not show 'cat', which is among its classes: remove one",
        f"line 6 of {path} says that 'a' does not show 'cat', which is among its classes: remove one",
    ]
    for header, mistake in (("note", "has the unknown column 'note'"), ("absent", "names a column twice")):
        tags = read(path, f"image,classes,absent,{header}\na,cat,,\nb.2,cat,\n")
        assert [problem.message for problem in tags.problems] == [
            f"line 1 of {path} {mistake}: the columns are image, classes, absent, annotated",
            f"line 3 of {path} has 3 columns: write image,classes,absent,{header}",
        ]


def test_lines_that_contradict_the_masks(tmp_path):
    path = tmp_path / "tags.csv"
    lines = ["a,,cat;heron,", "b.2,heron,,cat;heron", "sub/c,,,cat;heron", "d,,*,cat"]
    tags = read(path, "\n".join(["image,classes,absent,annotated", *lines]))
    shown = np.array([[True, True, False], [True, False, False], [False] * 3, [False, True, False]])
    problems = tags.contradictions(np.array([True, True, False, True]), shown)
    assert [problem.message for problem in problems] == [
        f"line 2 of {path} says that 'a' does not show 'cat', but its mask does: correct one of them",
        f"line 3 of {path} says that 'b.2' shows 'heron' and is annotated, but its mask does not: correct one of them",
        f"line 4 of {path} says what is annotated in 'sub/c', which has no mask: add it, or leave that column empty",
    ]
    assert tags.problems == []
    tags = read(path, "image,classes,annotated\na,,*\nsub/c,,*\n")
    (problem,) = tags.contradictions(np.array([True, True, False, True]), shown)
    assert problem.message.startswith(f"line 3 of {path} says what is annotated in 'sub/c', which has no mask")


def test_what_is_no_table(tmp_path):
    with pytest.raises(DataError, match="save it as CSV in UTF-8"):
        read(tmp_path / "tags.csv", "a,höhle\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"cannot read the tags .*missing\.csv"):
        Tags(tmp_path / "missing.csv", IMAGES, NAMES)


SKY, GRASS, CAT = range(3)


@pytest.fixture
def tagged(make_folder):
    """Masks of sky and grass in photo 0, of sky alone in photo 1; cat has tags only, also in photo 2 without a mask."""
    root = make_folder()
    masks = root / "annotations" / "training"
    for number, classes in ((0, 2), (1, 1)):
        file = masks / f"photo{number}.png"
        mask = np.minimum(np.asarray(Image.open(file)), classes - 1)
        mask[:5] = IGNORE
        Image.fromarray(mask).save(file)
    (masks / "photo2.png").unlink()
    (root / "tags.csv").write_text("image,classes\nphoto0,cat\nphoto1,grass\nphoto2.jpg,cat;sky\n")
    return root


def open_tagged(root):
    return FolderImages(root, "images/training", "annotations/training", tags="tags.csv")


def letters(states):
    return ["".join("UAPM"[state] for state in row) for row in states]


CAT_NOVEL = np.array([False, False, True])


@pytest.mark.parametrize(
    ("lines", "novel", "expected"),
    [  # masks: photo 0 sky and grass, photo 1 sky, photo 2 none
        (["image,classes", "photo0,cat", "photo1,grass", "photo2,cat;sky"], CAT_NOVEL, ["MMP", "MMA", "PUP"]),
        (["image,classes", "photo1,cat"], CAT_NOVEL, ["MMA", "MMP", "UUA"]),
        (["image,classes,absent", "photo1,cat,", "photo2,cat,sky"], CAT_NOVEL, ["MMU", "MMP", "AUP"]),
        (["image,classes,absent", "photo0,,*", "photo1,cat,", "photo2,cat,*"], CAT_NOVEL, ["MMA", "MMP", "AAP"]),
        (["image,annotated,classes", "photo0,grass,cat", "photo1,sky,grass"], CAT_NOVEL, ["UMP", "MPA", "UUA"]),
        (["image,classes,absent,annotated", "photo0,,*,grass;cat"], CAT_NOVEL, ["AMM", "MMU", "UUU"]),
        (["image,classes,absent,annotated", "photo0,,,*", "photo1,cat,,*"], CAT_NOVEL, ["MMM", "MMP", "UUU"]),
        (["image,classes,absent,annotated", "photo0,,cat,*", "photo1,,,"], CAT_NOVEL, ["MMA", "MMU", "UUU"]),
        (["image,classes,annotated", "photo0,cat,sky", "photo1,,cat"], ~CAT_NOVEL, ["MAP", "AAM", "AAU"]),
    ],
)  # fmt: skip
def test_what_each_photo_declares(tagged, lines, novel, expected):
    if not lines[-1].startswith("photo2"):  # it has no mask, so it needs a line
        lines = [*lines, "photo2" + "," * lines[0].count(",")]
    (tagged / "tags.csv").write_text("\n".join(lines))
    source = open_tagged(tagged)
    assert letters(source.states(novel)) == expected
    shown = source.survey.presence
    for row, present, mask in zip(source.states(np.ones(3, bool)), source.presence(), shown, strict=True):
        declared = (row == Knowledge.PRESENT) | ((row == Knowledge.MASK) & mask)
        assert np.array_equal(present, declared)


def test_masks_of_a_class_in_some_photos_and_tags_of_it_in_others(tagged):
    """Grass has a mask in photo 0, is a tag of photo 2 and of photo 1, whose mask is one of the sky alone."""
    lines = ["image,classes,absent,annotated", "photo0,cat,,", "photo1,grass,cat,sky", "photo2,grass,*,"]
    (tagged / "tags.csv").write_text("\n".join(lines))
    data = data_of(tagged)
    data.setup()
    assert data.class_split.novel_names == ("cat",)
    assert letters(data.train_dataset.knowledge) == ["MMP", "MPA", "APA"]
    for batch in data.train_dataloader():
        for name, states, label_map in zip(batch.names, batch.targets.states, batch.targets.label_map, strict=True):
            assert letters([states]) == [{"photo0": "MMP", "photo1": "MPA", "photo2": "APA"}[name]]
            assert (
                set(label_map.flatten().tolist()) <= {"photo0": {0, 1, 255}, "photo1": {0, 255}, "photo2": {255}}[name]
            )
    (tagged / "tags.csv").write_text("\n".join([*lines, "photo0,,sky,", "photo2,,,sky"]))
    with pytest.raises(DataError, match=r"line 5 of .*'photo0' does not show 'sky', but its mask does.*and 1 more"):
        open_tagged(tagged)


def data_of(root, **settings):
    transforms = {"train_transform": TrainTransform(16), "val_transform": EvalTransform()}
    return WeakShotDataModule.from_folders(
        root, **{**transforms, "split": 1, "num_workers": 0, "batch_size": 6, "max_steps": 2, **settings}
    )


def test_masks_and_tags_together(tagged):
    source = open_tagged(tagged)
    assert source.presence().tolist() == [[True, True, True], [True, True, False], [True, False, True]]
    assert by_tag(source).tolist() == [[False, False, True], [False, True, False], [True, False, True]]
    assert tag_only_classes(source) == ("cat",)
    assert [source.load(i)[1] is None for i in range(3)] == [False, False, True]


def test_what_training_gets(tagged):
    data = data_of(tagged)
    data.setup()
    assert data.class_split.novel_names == ("cat",)
    # grass is a tag of photo 1, but there the mask decides on base classes
    tags = {"photo0": [CAT], "photo1": [], "photo2": [SKY, CAT]}
    for batch in data.train_dataloader():
        assert batch.targets.annotated.any(1).tolist() == [name != "photo2" for name in batch.names]
        assert [row.nonzero()[:, 0].tolist() for row in batch.targets.tagged] == [tags[name] for name in batch.names]


@pytest.mark.parametrize("kind", ["broken link", "folder"])
def test_tags_that_cannot_be_read_are_not_ignored(kind, tagged):
    (tagged / "tags.csv").unlink()
    if kind == "folder":
        (tagged / "tags.csv").mkdir()
    else:
        (tagged / "tags.csv").symlink_to(tagged / "nowhere.csv")
    with pytest.raises(DataError, match=r"cannot read the tags .*tags\.csv .*save it as CSV"):
        data_of(tagged).setup()


def test_the_split_does_not_depend_on_what_is_read_first(tagged):
    for split in (1, 2, 3):
        data = data_of(tagged, split=split)
        data.setup("validate")
        data.setup("fit")
        assert data.class_split.novel_names == ("cat",)
    assert data_of(tagged, novel_classes=["grass"]).split_classes(open_tagged(tagged)).novel_names == ("grass",)


def test_tags_of_another_file(tagged):
    (tagged / "tags.csv").rename(tagged / "labels.csv")
    data = data_of(tagged, tags="labels.csv")
    data.setup()
    assert data.class_split.novel_names == ("cat",)
    with pytest.raises(DataError, match=r"photo2\.jpg has no mask"):
        data_of(tagged).setup()


def test_a_photo_without_a_mask_that_shows_no_novel_class_teaches_that(tagged):
    """Photo 2 says that no cat is there, and is drawn less often; without novel classes it says nothing."""
    (tagged / "tags.csv").write_text("image,classes\nphoto0,\nphoto1,cat\nphoto2,")
    data = data_of(tagged, mask_share=0.75, pairing=False, batch_size=1, max_steps=8)
    data.setup()
    assert letters(data.train_dataset.knowledge) == ["MMA", "MMP", "UUA"]
    names = [name for batch in data.train_dataloader() for name in batch.names]
    assert sorted(Counter(names[:4]).values()) == [1, 1, 2]
    assert names[:4].count("photo2") == names[4:].count("photo2") == 1
    data = data_of(tagged, supervision="base_only")
    data.setup()
    assert len(data.train_dataset) == 2


def test_paths_of_images_in_other_forms(tmp_path):
    tags = read(tmp_path / "tags.csv", "image,classes\n./a.jpg,cat\nsub//c.JPG,cat\n./b.2,cat\nd.jpg/,cat\nsub,cat\n")
    assert tags.classes[:, 0].all()
    assert [problem.message.partition("names")[2] for problem in tags.problems] == [
        " the image 'sub', which is not there: add the image or remove the line"
    ]


def test_many_lines_take_time_in_proportion(tmp_path):
    """A million lines take seconds; lines with the same mistake, too."""
    count = 20_000
    for name in ("heron;cat", "herron"):
        (tmp_path / "tags.csv").write_text("image,classes\n" + "".join(f"p{i}.jpg,{name}\n" for i in range(count)))
        start = time.process_time()
        tags = Tags(tmp_path / "tags.csv", [f"p{i}" for i in range(count)], NAMES)
        assert time.process_time() - start < 2  # 0.1 to 0.2 s; 3 s with a search for similar names in each line
        assert len(tags.problems) == (count if name == "herron" else 0)
        assert tags.classes.any(0).tolist() == ([False] * 3 if name == "herron" else [True, False, True])
