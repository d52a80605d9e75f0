"""PASCAL VOC 2012, 21 classes: ``VOCdevkit/VOC2012`` as unpacked, also with the 10,582 masks that include SBD's."""

from weakshot_seg.data.images import read_mask
from weakshot_seg.data.readers.label_files import LabelFormat, LabelIds
from weakshot_seg.data.readers.layouts import Archive, KnownDataset, Layout, Part

IMAGES: dict[Part, str] = {"train": "JPEGImages", "val": "JPEGImages"}
LISTS: dict[Part, str] = {
    "train": "ImageSets/Segmentation/train.txt",
    "val": "ImageSets/Segmentation/val.txt",
}
FORMAT = LabelFormat(read_mask, LabelIds.contiguous(21))  # 0 is the background, 255 the rim between objects

VOC2012 = KnownDataset(
    name="voc2012",
    title="PASCAL VOC 2012",
    num_classes=21,
    layouts=(
        Layout(
            title="SegmentationClassAug",
            images=IMAGES,
            labels={"train": "SegmentationClassAug"},
            format=FORMAT,
            lists={"train": "ImageSets/Segmentation/trainaug.txt"},
        ),
        Layout(
            title="SegmentationClass",
            images=IMAGES,
            labels={"train": "SegmentationClass", "val": "SegmentationClass"},
            format=FORMAT,
            lists=LISTS,
        ),
        Layout(
            title="SegmentationClassAug",  # for validation only if need be: SBD's masks lack the rim between objects
            images=IMAGES,
            labels={"val": "SegmentationClassAug"},
            format=FORMAT,
            lists=LISTS,
        ),
    ),
    archive=Archive(
        url="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        checksum="md5:6cd6e144f989b92b3379bac3b3de84fd",  # as torchvision checks it
        counts={"train": 1464, "val": 1449},
    ),
    inner=("VOCdevkit/VOC2012", "VOC2012"),
)
