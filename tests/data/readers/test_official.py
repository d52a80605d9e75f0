"""Published data sets in every layout, and their cache: whole, right, renewed when needed, shared."""

import logging
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from official_layouts import (
    LAYOUTS,
    NUM_CLASSES,
    random_maps,
    write_coco,
    write_coco_v10,
    write_mat73,
    write_png,
    write_voc,
)
from weakshot_seg.data.checks import BadFiles
from weakshot_seg.data.readers.ade20k import ADE20K
from weakshot_seg.data.readers.coco_stuff import COCO_STUFF_10K
from weakshot_seg.data.readers.official import KnownDataset, OfficialImages, Part
from weakshot_seg.data.readers.voc import VOC2012
from weakshot_seg.data.splits import published_class_names
from weakshot_seg.errors import DataError

DATASETS = {dataset.name: dataset for dataset in (ADE20K, COCO_STUFF_10K, VOC2012)}


def read(dataset: KnownDataset, root: Path, part: Part = "train", **settings: Any) -> OfficialImages:
    return OfficialImages(dataset, root, part, published_class_names(dataset.name), **settings)


def caches(root: Path, part: str = "*") -> list[Path]:
    """All finished caches; there must be nothing unfinished."""
    entries = list((root / ".weakshot_seg").glob("*"))
    assert not [path for path in entries if path.name.startswith(".") and path.suffix != ".lock"]
    return sorted(path for path in entries if path.match(f"*-{part}-*") and not path.name.startswith("."))


def label_file(root: Path, number: int = 9) -> Path:
    return root / f"annotations/COCO_train2014_{number:012d}.mat"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str, tmp_path: Path) -> None:
    name, write = LAYOUTS[layout]
    maps = random_maps(NUM_CLASSES[name], train=3, val=2)
    write(tmp_path, maps)
    for part in ("train", "val"):
        for _ in range(2):  # builds the cache, then uses it
            source = read(DATASETS[name], tmp_path, part)
            assert len(source) == len(maps[part])
            for i, expected in enumerate(maps[part]):
                image, label_map = source.load(i)
                assert np.array_equal(label_map, expected)
                assert (image.shape, image.dtype, label_map.dtype) == ((*expected.shape, 3), np.uint8, np.uint8)
                present = [bool((expected == c).any()) for c in range(NUM_CLASSES[name])]
                assert source.presence()[i].tolist() == present
    assert len(caches(tmp_path)) == 2
    copies = list((tmp_path / ".weakshot_seg").rglob("*.png"))
    assert len(copies) == (5 if "v1." in layout else 0)


def test_ids_of_coco_stuff_are_those_of_its_label_list(tmp_path: Path) -> None:
    """A few lines of the official labels.txt; what the list skips is refused."""
    official = {
        1: "person",
        13: "stop sign",
        27: "backpack",
        31: "handbag",
        90: "toothbrush",
        92: "banner",
        182: "wood",
    }
    write_coco(tmp_path, random_maps(171, train=1, val=1))
    stored = np.array([[*official, 0]], dtype=np.uint8)
    scipy.io.savemat(label_file(tmp_path), {"S": stored.repeat(40, 0)})
    Image.new("RGB", (8, 40)).save(tmp_path / "images/COCO_train2014_000000000009.jpg")
    source = read(COCO_STUFF_10K, tmp_path)
    row = source.load(0)[1][0]
    assert [source.class_names[i] for i in row[:-1]] == list(official.values())
    assert row[-1] == 255
    scipy.io.savemat(label_file(tmp_path), {"S": np.where(stored == 13, 12, stored).repeat(40, 0)})
    with pytest.raises(BadFiles, match=r"mat has the id 12, but the 171 class names allow 1 to 182: replace it"):
        read(COCO_STUFF_10K, tmp_path)


@pytest.mark.parametrize("level", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_may_be_given_at_any_level(level: str, tmp_path: Path) -> None:
    write_voc(tmp_path, random_maps(21, train=2, val=1))
    assert len(read(VOC2012, tmp_path / level)) == 2


def test_voc_with_the_masks_of_sbd_alone(tmp_path: Path) -> None:
    LAYOUTS["VOC with SBD"][1](tmp_path, maps := random_maps(21, train=2, val=2))
    inner = tmp_path / "VOCdevkit/VOC2012"
    for path in (inner / "SegmentationClass").iterdir():
        write_png(inner / "SegmentationClassAug" / path.name, np.array(Image.open(path)))
        path.unlink()
    (inner / "SegmentationClass").rmdir()
    for part in ("train", "val"):
        source = read(VOC2012, tmp_path, part)
        assert [np.array_equal(source.load(i)[1], m) for i, m in enumerate(maps[part])] == [True, True]


def test_a_folder_of_no_known_layout(tmp_path: Path) -> None:
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


def test_missing_files_are_all_named(tmp_path: Path) -> None:
    write_coco(tmp_path, random_maps(171, train=4, val=1))
    label_file(tmp_path, 10).unlink()
    photo = tmp_path / "images/COCO_train2014_000000000012.jpg"
    photo.unlink()
    with pytest.raises(BadFiles, match=r"000010.mat is missing, but .*train.txt names it.* \(and 1 more\)$") as caught:
        read(COCO_STUFF_10K, tmp_path)
    assert [problem.message.split(" is missing")[0] for problem in caught.value.problems] == [
        str(label_file(tmp_path, 10)),
        str(photo),
    ]


def test_broken_files_are_all_named_and_nothing_is_kept(tmp_path: Path) -> None:
    maps = random_maps(171, train=7, val=1)
    write_coco(tmp_path, maps)
    whole = label_file(tmp_path, 9).read_bytes()
    label_file(tmp_path, 9).write_bytes(whole[: len(whole) // 2])
    label_file(tmp_path, 10).write_bytes(b"")
    scipy.io.savemat(label_file(tmp_path, 11), {"labels": maps["train"][0]})
    scipy.io.savemat(label_file(tmp_path, 12), {"S": np.full((40, 54), 300)})
    scipy.io.savemat(label_file(tmp_path, 13), {"S": np.zeros((54, 40))})
    photo = tmp_path / "images/COCO_train2014_000000000014.jpg"
    photo.write_bytes(photo.read_bytes()[:600])
    with pytest.raises(BadFiles) as caught:
        read(COCO_STUFF_10K, tmp_path)
    expected = [
        (label_file(tmp_path, 9), "cannot read mask"),
        (label_file(tmp_path, 10), "cannot read mask"),
        (label_file(tmp_path, 11), "KeyError: 'S'"),
        (label_file(tmp_path, 12), "ids up to 300, but a map of ids 0 to 255"),
        (label_file(tmp_path, 13), "is 40x54 but its image is 54x40"),
        (photo, "cannot read image"),
    ]
    problems = caught.value.problems
    assert len(problems) == len(expected)
    assert all(
        p.file == file and str(file) in p.message and what in p.message and "\n" not in p.message
        for p, (file, what) in zip(problems, expected, strict=True)
    )
    assert caches(tmp_path) == []


def test_broken_files_of_matlab_73(tmp_path: Path) -> None:
    write_coco_v10(tmp_path, random_maps(171, train=3, val=1))
    whole = label_file(tmp_path, 9).read_bytes()
    label_file(tmp_path, 9).write_bytes(whole[: len(whole) // 2])
    with h5py.File(label_file(tmp_path, 10), "w", userblock_size=512) as file:
        file["T"] = np.zeros((3, 3))
    with h5py.File(label_file(tmp_path, 11), "w", userblock_size=512) as file:
        file["S"] = np.zeros((3, 3, 3))
    with pytest.raises(BadFiles) as caught:
        read(COCO_STUFF_10K, tmp_path)
    assert len(caught.value.problems) == 3
    assert "S has the shape (3, 3, 3)" in caught.value.problems[2].message


def test_hdf5_without_matlabs_header(tmp_path: Path) -> None:
    maps = random_maps(171, train=2, val=1)
    write_coco(tmp_path, maps, lambda path, label_map: write_mat73(path, label_map, user_block=False))
    assert np.array_equal(read(COCO_STUFF_10K, tmp_path).load(1)[1], maps["train"][1])


def test_version_1_0_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_coco_v10(tmp_path, random_maps(171, train=1, val=1))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match=r"needs h5py: pip install 'weakshot-seg\[coco\]'"):
        read(COCO_STUFF_10K, tmp_path)


@pytest.mark.parametrize("change", ["labels", "image", "list"])
def test_a_changed_source_renews_the_cache(change: str, tmp_path: Path) -> None:
    maps = random_maps(171, train=3, val=1)
    write_coco(tmp_path, maps)
    before = read(COCO_STUFF_10K, tmp_path)
    first = caches(tmp_path)
    if change == "labels":
        label_file(tmp_path, 9).write_bytes(label_file(tmp_path, 10).read_bytes())
    elif change == "image":
        photo = tmp_path / "images/COCO_train2014_000000000009.jpg"
        Image.open(photo).save(photo, quality=30)
    else:
        names = (tmp_path / "imageLists/train.txt").read_text().splitlines()
        (tmp_path / "imageLists/train.txt").write_text("\n".join(names[1:]))
    after = read(COCO_STUFF_10K, tmp_path)
    assert len(caches(tmp_path)) == 2
    assert caches(tmp_path) != first
    assert len(after) == (2 if change == "list" else 3)
    assert np.array_equal(after.load(0)[1], maps["train"][0 if change == "image" else 1])
    assert np.array_equal(before.load(0)[1], maps["train"][0])  # who uses the former one is not disturbed


def test_the_source_may_move(tmp_path: Path) -> None:
    write_coco(tmp_path / "a", random_maps(171, train=2, val=1))
    read(COCO_STUFF_10K, tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    read(COCO_STUFF_10K, tmp_path / "b")
    assert len(caches(tmp_path / "b")) == 1


def test_what_a_killed_build_left_is_not_used(tmp_path: Path) -> None:
    write_coco(tmp_path, maps := random_maps(171, train=2, val=1))
    read(COCO_STUFF_10K, tmp_path)
    (place,) = caches(tmp_path)
    place.rename(place.with_name(f".{place.name}.tmp"))
    left = next(place.with_name(f".{place.name}.tmp").rglob("*.png"))
    left.write_bytes(left.read_bytes()[:50])
    source = read(COCO_STUFF_10K, tmp_path)
    assert caches(tmp_path) == [place]
    assert np.array_equal(source.load(0)[1], maps["train"][0])


def test_a_damaged_cache_is_named(tmp_path: Path) -> None:
    write_voc(tmp_path, random_maps(21, train=2, val=1))
    read(VOC2012, tmp_path)
    (place,) = caches(tmp_path)
    whole = dict(np.load(place / "survey.npz"))
    spoilt = {"objects": np.array([print], dtype=object), "other": np.zeros((2, 20), bool), "type": np.zeros((2, 21))}
    contents = [b"", b"no arrays", (place / "survey.npz").read_bytes()[:300]]
    for name, array in spoilt.items():
        np.savez(tmp_path / f"{name}.npz", **(whole | {"presence": array}))
        contents.append((tmp_path / f"{name}.npz").read_bytes())
    np.save(tmp_path / "array.npy", whole["presence"])
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive, archive.open("presence.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|b1", "fortran_order": False, "shape": (2**60, 21)})
    contents += [(tmp_path / name).read_bytes() for name in ("array.npy", "huge.npz")]
    for content in contents:
        (place / "survey.npz").write_bytes(content)
        with pytest.raises(DataError, match=rf"the cache {place} is damaged \(.*\): remove it$"):
            read(VOC2012, tmp_path)


def test_several_processes_build_at_once(tmp_path: Path) -> None:
    write_coco(tmp_path, maps := random_maps(171, train=40, val=1))
    script = (
        "import logging, sys; from pathlib import Path\n"
        "from weakshot_seg.data.readers.coco_stuff import COCO_STUFF_10K as D\n"
        "from weakshot_seg.data.readers.official import OfficialImages; logging.basicConfig(level=20)\n"
        "source = OfficialImages(D, Path(sys.argv[1]), 'train', [str(i) for i in range(171)])\n"
        "print(sum(int(source.load(i)[1].sum()) for i in range(len(source))))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    expected = f"{sum(int(label_map.sum()) for label_map in maps['train'])}\n"
    assert [process.communicate(timeout=300)[0] for process in processes] == [expected] * 3
    assert len(caches(tmp_path)) == 1


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    write_voc(tmp_path, random_maps(21, train=2, val=1))
    (tmp_path / ".weakshot_seg").write_text("a file, not a folder")
    with pytest.raises(DataError, match=r"cannot write the cache of labels to .* \(.*\): set data.cache_dir"):
        read(VOC2012, tmp_path)
    elsewhere = tmp_path / "else" / "where"
    read(VOC2012, tmp_path, cache_dir=elsewhere)
    assert len([path for path in elsewhere.iterdir() if path.is_dir()]) == 1


def test_many_files_are_read_by_several_processes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And the random numbers of what follows are as if nothing had been built."""
    write_voc(tmp_path, maps := random_maps(21, train=70, val=1, size=(8, 8)))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with caplog.at_level(logging.INFO):
        presence = read(VOC2012, tmp_path).presence()
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(presence, [[(m == c).any() for c in range(21)] for m in maps["train"]])
    assert "PASCAL VOC 2012 (SegmentationClass): 70 images for train" in caplog.text
