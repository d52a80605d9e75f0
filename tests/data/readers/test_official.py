"""Published data sets in every layout, and their cache: whole, right, renewed when needed, shared."""

import sys
import zipfile
from functools import partial

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from official_layouts import LAYOUTS, NUM_CLASSES, random_maps, write_coco, write_mat73, write_png, write_voc
from weakshot_seg.data.checks import BadFiles, survey_of
from weakshot_seg.data.readers.ade20k import ADE20K
from weakshot_seg.data.readers.coco_stuff import COCO_STUFF_10K
from weakshot_seg.data.readers.official import OfficialImages
from weakshot_seg.data.readers.voc import VOC2012
from weakshot_seg.data.splits import published_class_names
from weakshot_seg.errors import DataError

DATASETS = {dataset.name: dataset for dataset in (ADE20K, COCO_STUFF_10K, VOC2012)}


def read(dataset, root, part="train", **settings):
    return OfficialImages(dataset, root, part, published_class_names(dataset.name), **settings)


read_coco = partial(read, COCO_STUFF_10K)


def maps_of(source):
    return [source.load(index)[1] for index in range(len(source))]


def equal(found, expected):
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


def caches(root):
    """All finished caches; there must be nothing unfinished."""
    entries = list((root / ".weakshot_seg").glob("*"))
    assert not [path for path in entries if path.name.startswith(".") and path.suffix != ".lock"]
    return sorted(path for path in entries if not path.name.startswith("."))


def problems_of(root):
    with pytest.raises(BadFiles) as caught:
        read_coco(root)
    return [(problem.file, problem.message) for problem in caught.value.problems]


def label_file(root, number=9):
    return root / f"annotations/COCO_train2014_{number:012d}.mat"


def photo(root, number=9):
    return root / f"images/COCO_train2014_{number:012d}.jpg"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, tmp_path):
    name, write = LAYOUTS[layout]
    classes = range(NUM_CLASSES[name])
    maps = random_maps(len(classes), train=3, val=2)
    write(tmp_path, maps)
    root = tmp_path / {"VOC": "VOCdevkit", "VOC with SBD": "VOCdevkit/VOC2012"}.get(layout, ".")  # any level will do
    for part in ("train", "val"):
        for _ in range(2):  # builds the cache, then uses it
            source = read(DATASETS[name], root, part)
            assert equal(maps_of(source), maps[part])
            survey = survey_of(source)
            for i, expected in enumerate(maps[part]):
                image, label_map = source.load(i)
                assert (image.shape, image.dtype, label_map.dtype) == ((*expected.shape, 3), np.uint8, np.uint8)
                assert survey.sizes[i].tolist() == list(expected.shape)
                assert source.presence()[i].tolist() == [bool((expected == c).any()) for c in classes]
            assert survey.pixels.tolist() == [sum(int((m == c).sum()) for m in maps[part]) for c in classes]
    assert len(caches(root)) == 2
    copies = list((root / ".weakshot_seg").rglob("*.png"))
    assert len(copies) == (5 if "v1." in layout else 0)


def test_ids_of_coco_stuff_are_those_of_its_label_list(tmp_path):
    """A few lines of the official labels.txt; what the list skips is refused."""
    official = {1: "person", 13: "stop sign", 27: "backpack", 31: "handbag", 92: "banner", 182: "wood"}
    write_coco(tmp_path, random_maps(171, train=1, val=1))
    stored = np.array([[*official, 0]], dtype=np.uint8)
    scipy.io.savemat(label_file(tmp_path), {"S": stored.repeat(40, 0)})
    Image.new("RGB", (7, 40)).save(photo(tmp_path))
    source = read_coco(tmp_path)
    row = source.load(0)[1][0]
    assert [source.class_names[i] for i in row[:-1]] == list(official.values())
    assert row[-1] == 255
    scipy.io.savemat(label_file(tmp_path), {"S": np.where(stored == 13, 12, stored).repeat(40, 0)})
    ((_, message),) = problems_of(tmp_path)
    assert "mat has the id 12, but the 171 class names allow 1 to 182: replace it" in message


def test_voc_with_the_masks_of_sbd_alone(tmp_path):
    LAYOUTS["VOC with SBD"][1](tmp_path, maps := random_maps(21, train=2, val=2))
    inner = tmp_path / "VOCdevkit/VOC2012"
    for path in (inner / "SegmentationClass").iterdir():
        write_png(inner / "SegmentationClassAug" / path.name, np.array(Image.open(path)))
        path.unlink()
    (inner / "SegmentationClass").rmdir()
    for part in ("train", "val"):
        assert equal(maps_of(read(VOC2012, tmp_path, part)), maps[part])


def test_a_folder_of_no_known_layout(tmp_path):
    with pytest.raises(DataError) as caught:
        read(ADE20K, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} does not hold ADE20K: looked there or ADEChallengeData2016 for images/training + "
        "annotations_detectron2/training; or images/training + annotations/training. Set data.root to the folder that "
        "holds them, or fetch the data with scripts/prepare_data.py ade20k --root DIR --download"
    )
    with pytest.raises(DataError, match=r"nowhere does not exist: set data.root"):
        read(ADE20K, tmp_path / "nowhere")
    with pytest.raises(DataError, match="2 class names given, but ADE20K has 150 classes"):
        OfficialImages(ADE20K, tmp_path, "train", ["cat", "dog"])


def test_broken_files_are_all_named_and_nothing_is_kept(tmp_path):
    write_coco(tmp_path, maps := random_maps(171, train=7, val=1))
    whole = label_file(tmp_path, 9).read_bytes()
    label_file(tmp_path, 9).write_bytes(whole[: len(whole) // 2])
    label_file(tmp_path, 10).write_bytes(b"")
    scipy.io.savemat(label_file(tmp_path, 11), {"labels": maps["train"][0]})
    scipy.io.savemat(label_file(tmp_path, 12), {"S": np.full((40, 54), 300)})
    scipy.io.savemat(label_file(tmp_path, 13), {"S": np.zeros((54, 40))})
    photo(tmp_path, 14).write_bytes(photo(tmp_path, 14).read_bytes()[:600])
    expected = [
        (label_file(tmp_path, 9), "cannot read mask"),
        (label_file(tmp_path, 10), "cannot read mask"),
        (label_file(tmp_path, 11), "KeyError: 'S'"),
        (label_file(tmp_path, 12), "ids up to 300, but a map of ids 0 to 255"),
        (label_file(tmp_path, 13), "is 40x54 but its image is 54x40"),
        (photo(tmp_path, 14), "cannot read image"),
    ]
    for (file, message), (culprit, what) in zip(problems_of(tmp_path), expected, strict=True):
        assert file == culprit
        assert str(file) in message
        assert what in message
        assert "\n" not in message
    assert caches(tmp_path) == []
    missing = [label_file(tmp_path, 10), photo(tmp_path, 12)]
    for path in missing:
        path.unlink()
    assert [file for file, message in problems_of(tmp_path) if f"is missing, but {tmp_path}" in message] == missing


def test_broken_files_of_matlab_73(tmp_path, monkeypatch):
    write_coco(tmp_path, random_maps(171, train=4, val=1), write_mat73)
    whole = label_file(tmp_path, 9).read_bytes()
    label_file(tmp_path, 9).write_bytes(whole[: len(whole) // 2])
    write_mat73(label_file(tmp_path, 12), np.zeros((40, 54)), user_block=False)  # without MATLAB's header
    for number, name in ((10, "T"), (11, "S")):
        with h5py.File(label_file(tmp_path, number), "w", userblock_size=512) as file:
            file[name] = np.zeros((3, 3, 3))
    messages = [message for _, message in problems_of(tmp_path)]
    assert len(messages) == 3
    assert "S has the shape (3, 3, 3)" in messages[2]
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "needs h5py: pip install" in problems_of(tmp_path)[3][1]


@pytest.mark.parametrize("change", ["labels", "image", "list"])
def test_a_changed_source_renews_the_cache_but_not_one_that_moved(change, tmp_path):
    write_coco(tmp_path / "former place", maps := random_maps(171, train=3, val=1))
    read_coco(tmp_path / "former place")
    tmp_path = (tmp_path / "former place").rename(tmp_path / "place")
    before, expected = read_coco(tmp_path), list(maps["train"])
    assert len(caches(tmp_path)) == 1
    if change == "labels":
        label_file(tmp_path, 9).write_bytes(label_file(tmp_path, 10).read_bytes())
        expected[0] = expected[1]
    elif change == "image":
        Image.open(photo(tmp_path)).save(photo(tmp_path), quality=30)
    else:
        names = (tmp_path / "imageLists/train.txt").read_text().splitlines()
        (tmp_path / "imageLists/train.txt").write_text("\n".join(names[1:]))
        expected = expected[1:]
    assert equal(maps_of(read_coco(tmp_path)), expected)
    assert len(caches(tmp_path)) == 2
    assert equal(maps_of(before), maps["train"])  # who uses the former one is not disturbed


def test_what_a_killed_build_left_is_not_used(tmp_path):
    write_coco(tmp_path, maps := random_maps(171, train=2, val=1))
    read_coco(tmp_path)
    (place,) = caches(tmp_path)
    left = place.rename(place.with_name(f".{place.name}.tmp"))
    for path in left.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:50])
    assert equal(maps_of(read_coco(tmp_path)), maps["train"])
    assert caches(tmp_path) == [place]


def test_a_damaged_cache_is_named(tmp_path):
    write_voc(tmp_path, random_maps(21, train=2, val=1))
    read(VOC2012, tmp_path)
    (place,) = caches(tmp_path)
    survey = place / "survey.npz"
    whole, content = dict(np.load(survey)), survey.read_bytes()
    damaged = [b"", b"no arrays", content[:300], content[:-30]]
    np.savez(survey, **(whole | {"presence": np.array([print], dtype=object)}))
    damaged.append(survey.read_bytes())
    with zipfile.ZipFile(survey, "w") as archive, archive.open("presence.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|b1", "fortran_order": False, "shape": (2**60, 21)})
    for content in (*damaged, survey.read_bytes()):
        survey.write_bytes(content)
        with pytest.raises(DataError, match=rf"cannot read the cache {place} \(.*\): remove it$"):
            read(VOC2012, tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path):
    write_voc(tmp_path, random_maps(21, train=2, val=1))
    (tmp_path / ".weakshot_seg").write_text("a file, not a folder")
    with pytest.raises(DataError, match=r"cannot write the cache of labels to .* \(.*\): set data.cache_dir"):
        read(VOC2012, tmp_path)
    elsewhere = tmp_path / "else" / "where"
    read(VOC2012, tmp_path, cache_dir=elsewhere)
    assert len([path for path in elsewhere.iterdir() if path.is_dir()]) == 1
