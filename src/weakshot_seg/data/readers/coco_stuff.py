"""COCO-Stuff-10K, 171 classes: versions 1.1 and 1.0 as unpacked, or MaskFormer's PNG masks."""

from weakshot_seg.data.readers.labels import LabelFormat
from weakshot_seg.data.readers.mat_files import is_mat73, read_mat5, read_mat73
from weakshot_seg.data.readers.official import KnownDataset, Layout, Part

UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
"""Ids of COCO between 1 and 182 that no class of COCO-Stuff has."""
IDS = tuple(i for i in range(1, 183) if i not in UNUSED)
PARTS: dict[Part, str] = {"train": "train", "val": "test"}

COCO_STUFF_10K = KnownDataset(
    name="coco_stuff_10k",
    title="COCO-Stuff-10K",
    num_classes=len(IDS),
    layouts=(
        Layout(
            title="PNG of MaskFormer",
            parts=PARTS,
            images="images_detectron2/{}",
            labels="annotations_detectron2/{}",
            format=LabelFormat(range(len(IDS))),
        ),
        Layout(
            title="v1.0",  # 1 is unlabelled, 2..172 are the classes in the order of v1.1
            parts=PARTS,
            images="images",
            labels="annotations",
            format=LabelFormat(range(2, 2 + len(IDS)), read=read_mat73),
            names="imageLists/{}.txt",
            accepts=is_mat73,
        ),
        Layout(
            title="v1.1",
            parts=PARTS,
            images="images",
            labels="annotations",
            format=LabelFormat(IDS, ignore_label=0, read=read_mat5),
            names="imageLists/{}.txt",
        ),
    ),
    url="http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/cocostuff-10k-v1.1.zip",
    checksum=None,  # none is published; the archive has a checksum of each of its files
    counts={"train": 9000, "val": 1000},
)
