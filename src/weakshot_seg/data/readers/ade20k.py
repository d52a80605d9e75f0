"""ADE20K, 150 classes: ``ADEChallengeData2016`` as unpacked, or with MaskFormer's annotations."""

from weakshot_seg.data.checks import LabelFormat
from weakshot_seg.data.readers.official import KnownDataset, Layout, Part

PARTS: dict[Part, str] = {"train": "training", "val": "validation"}

ADE20K = KnownDataset(
    name="ade20k",
    title="ADE20K",
    num_classes=150,
    layouts=(
        Layout("PNG of MaskFormer", PARTS, "images/{}", "annotations_detectron2/{}", LabelFormat(range(150))),
        Layout("official PNG", PARTS, "images/{}", "annotations/{}", LabelFormat(range(1, 151))),
    ),
    inner=("ADEChallengeData2016",),
)
