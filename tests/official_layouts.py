"""Writes miniatures of published data sets in the exact layouts of their downloads."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from PIL import Image

Maps = Mapping[str, Sequence[np.ndarray]]
"""For "train" and "val": maps of class ids 0..K-1 and 255."""

COCO_IDS = np.array([i for i in range(1, 183) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)])
COLOURS = np.random.default_rng(0).integers(30, 226, (256, 3))
VOC_PALETTE = bytes(range(256)) * 3


def random_maps(num_classes, train, val, size=(40, 54)):
    """Maps of 4x4 blocks; the highest and the lowest class and unlabelled pixels are in the first of each part."""
    rng = np.random.default_rng(num_classes)
    blocks = rng.integers(num_classes, size=(train + val, 4, 4)).astype(np.uint8)
    blocks[[0, train], 0] = [0, num_classes - 1, 255, 0]
    maps = [np.array(Image.fromarray(b).resize(size[::-1], Image.Resampling.NEAREST)) for b in blocks]
    return {"train": maps[:train], "val": maps[train:]}


def made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_photo(path, label_map):
    """A JPEG that shows each class in its own colour."""
    noise = np.random.default_rng(label_map.size).integers(-20, 20, (*label_map.shape, 3))
    Image.fromarray((COLOURS[label_map] + noise).astype(np.uint8)).save(made(path))


def write_png(path, stored, palette=False):
    image = Image.fromarray(stored.astype(np.uint8))
    if palette:
        image.putpalette(VOC_PALETTE)
    image.save(made(path))


def write_mat5(path, label_map):
    """As in COCO-Stuff-10K v1.1: compressed, with other variables beside S."""
    stored = np.append(COCO_IDS, [0] * 85)[np.minimum(label_map, 171)]
    others = {"names": np.array(["unlabeled", "person"], dtype=object), "regionMapStuff": np.ones((3, 2))}
    scipy.io.savemat(made(path), {"S": stored.astype(np.uint16), **others}, do_compression=True)


def write_mat73(path, label_map, user_block=True):
    """As in COCO-Stuff-10K v1.0: HDF5 with columns first, after the 512 bytes that MATLAB puts before it."""
    stored = np.where(label_map == 255, 1, label_map.astype(int) + 2)
    with h5py.File(made(path), "w", userblock_size=512 if user_block else 0) as file:
        file.create_dataset("S", data=stored.T.astype(np.uint16), chunks=True, compression="gzip")
        file["S"].attrs["MATLAB_class"] = np.bytes_("uint16")
        file.create_dataset("captions", data=np.zeros((1, 5)))
    if user_block:
        text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Oct 17 15:04:11 2016 HDF5 schema 1.00 ."
        with path.open("r+b") as file:
            file.write(text.ljust(116) + bytes(8) + b"\x00\x02IM")


def write_coco(root, maps, write_mat=write_mat5):
    numbers = {part: range(start, start + len(maps[part])) for part, start in (("train", 9), ("val", 500))}
    (root / "imageLists").mkdir(parents=True)
    for part, file in (("train", "train"), ("val", "test")):
        names = [f"COCO_train2014_{number:012d}" for number in numbers[part]]
        (root / f"imageLists/{file}.txt").write_text("".join(f"{name}\n" for name in names))
        for name, label_map in zip(names, maps[part], strict=True):
            write_photo(root / f"images/{name}.jpg", label_map)
            write_mat(root / f"annotations/{name}.mat", label_map)


FOLDERS = ("training", "validation")


def write_pairs(root, maps, images, labels, folders=FOLDERS, first=0):
    """Photos and masks of one name; the first class is stored as ``first``."""
    for part, folder in zip(("train", "val"), folders, strict=True):
        for number, label_map in enumerate(maps[part]):
            write_photo(root / images / folder / f"photo_{number:08d}.jpg", label_map)
            write_png(root / labels / folder / f"photo_{number:08d}.png", label_map + np.uint8(first))  # 255 + 1 is 0


def write_voc(root, maps):
    root = root / "VOCdevkit" / "VOC2012"
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    write_photo(root / "JPEGImages/2007_000027.jpg", maps["train"][0])  # most images have no mask
    for part, year in (("train", 2008), ("val", 2009)):
        names = [f"{year}_{number:06d}" for number in range(len(maps[part]))]
        (root / f"ImageSets/Segmentation/{part}.txt").write_text("".join(f"{name}\n" for name in names))
        for name, label_map in zip(names, maps[part], strict=True):
            write_photo(root / f"JPEGImages/{name}.jpg", label_map)
            write_png(root / f"SegmentationClass/{name}.png", label_map, palette=True)


def write_voc_aug(root, maps):
    """The first training image is in the official list, the others in ``trainaug.txt`` alone."""
    write_voc(root, {"train": maps["train"][:1], "val": maps["val"]})
    inner = root / "VOCdevkit" / "VOC2012"
    names = [f"2008_{number:06d}" for number in range(len(maps["train"]))]
    (inner / "ImageSets/Segmentation/trainaug.txt").write_text("\n".join(names))
    for name, label_map in zip(names, maps["train"], strict=True):
        write_photo(inner / f"JPEGImages/{name}.jpg", label_map)
        write_png(inner / f"SegmentationClassAug/{name}.png", label_map)


NUM_CLASSES = {"coco_stuff_10k": 171, "ade20k": 150, "voc2012": 21}
LAYOUTS: dict[str, tuple[str, Callable[[Path, Maps], None]]] = {
    "COCO-Stuff v1.1": ("coco_stuff_10k", write_coco),
    "COCO-Stuff v1.0": ("coco_stuff_10k", partial(write_coco, write_mat=write_mat73)),
    "COCO-Stuff of MaskFormer": (
        "coco_stuff_10k",
        partial(write_pairs, images="images_detectron2", labels="annotations_detectron2", folders=("train", "test")),
    ),
    "ADE20K": ("ade20k", partial(write_pairs, images="images", labels="annotations", first=1)),
    "ADE20K of MaskFormer": ("ade20k", partial(write_pairs, images="images", labels="annotations_detectron2")),
    "VOC": ("voc2012", write_voc),
    "VOC with SBD": ("voc2012", write_voc_aug),
}
"""Name of the data set and writer of each layout."""
