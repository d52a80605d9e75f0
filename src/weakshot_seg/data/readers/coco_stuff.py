"""COCO-Stuff-10K, 171 classes: versions 1.1 and 1.0 as unpacked, or MaskFormer's PNG masks."""

from weakshot_seg.data.images import read_mask
from weakshot_seg.data.readers.label_files import LabelFormat, LabelIds
from weakshot_seg.data.readers.layouts import Archive, KnownDataset, Layout, Part
from weakshot_seg.data.readers.mat_files import HDF5_HEADERS, read_mat5, read_mat73

UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
"""Ids of COCO between 1 and 182 that no class of COCO-Stuff has."""
IDS = tuple(i for i in range(1, 183) if i not in UNUSED)
NUM_CLASSES = len(IDS)

IMAGES: dict[Part, str] = {"train": "images", "val": "images"}
ANNOTATIONS: dict[Part, str] = {"train": "annotations", "val": "annotations"}
LISTS: dict[Part, str] = {"train": "imageLists/train.txt", "val": "imageLists/test.txt"}

COCO_STUFF_10K = KnownDataset(
    name="coco_stuff_10k",
    title="COCO-Stuff-10K",
    num_classes=NUM_CLASSES,
    layouts=(
        Layout(
            title="PNG of MaskFormer",
            images={"train": "images_detectron2/train", "val": "images_detectron2/test"},
            labels={"train": "annotations_detectron2/train", "val": "annotations_detectron2/test"},
            format=LabelFormat(read_mask, LabelIds.contiguous(NUM_CLASSES)),
        ),
        Layout(
            title="v1.0",  # 1 is unlabelled, 2..172 are the classes in the order of v1.1
            images=IMAGES,
            labels=ANNOTATIONS,
            format=LabelFormat(read_mat73, LabelIds.contiguous(NUM_CLASSES, offset=2)),
            lists=LISTS,
            suffix=".mat",
            headers=HDF5_HEADERS,
            copied=True,
        ),
        Layout(
            title="v1.1",
            images=IMAGES,
            labels=ANNOTATIONS,
            format=LabelFormat(read_mat5, LabelIds.listed(IDS, unlabelled=0)),
            lists=LISTS,
            suffix=".mat",
            copied=True,
        ),
    ),
    archive=Archive(
        url="http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/cocostuff-10k-v1.1.zip",
        checksum=None,  # none is published; the archive has a checksum of each of its files
        counts={"train": 9000, "val": 1000},
    ),
)
