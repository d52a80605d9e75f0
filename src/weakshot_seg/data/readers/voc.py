"""PASCAL VOC 2012, 21 classes: ``VOCdevkit/VOC2012`` as unpacked, also with the 10,582 masks that include SBD's."""

from weakshot_seg.data.checks import LabelFormat
from weakshot_seg.data.readers.official import KnownDataset, Layout, Part


def _layout(labels: str, parts: dict[Part, str]) -> Layout:
    format = LabelFormat(range(21))  # 0 is the background, 255 the rim between objects
    return Layout(labels, parts, "JPEGImages", labels, format, "ImageSets/Segmentation/{}.txt")


VOC2012 = KnownDataset(
    name="voc2012",
    title="PASCAL VOC 2012",
    num_classes=21,
    layouts=(
        _layout("SegmentationClassAug", {"train": "trainaug"}),
        _layout("SegmentationClass", {"train": "train", "val": "val"}),
        _layout("SegmentationClassAug", {"val": "val"}),  # only if need be: SBD's masks lack the rim between objects
    ),
    inner=("VOCdevkit/VOC2012", "VOC2012"),
)
