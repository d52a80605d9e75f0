"""``tags.csv``: its lines, images without masks, and what training gets of them."""

import numpy as np
import pytest
from PIL import Image

from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.data.readers.files import FolderImages
from weakshot_seg.data.source import by_tag, tag_only_classes
from weakshot_seg.data.tags import Tags
from weakshot_seg.data.transforms import EvalTransform, TrainTransform
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE

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
