"""ADE20K, 150 classes: ``ADEChallengeData2016`` as unpacked, or with MaskFormer's annotations."""

from weakshot_seg.data.images import read_mask
from weakshot_seg.data.readers.label_files import LabelFormat, LabelIds
from weakshot_seg.data.readers.layouts import Archive, KnownDataset, Layout, Part

NUM_CLASSES = 150
IMAGES: dict[Part, str] = {"train": "images/training", "val": "images/validation"}

ADE20K = KnownDataset(
    name="ade20k",
    title="ADE20K",
    num_classes=NUM_CLASSES,
    layouts=(
        Layout(
            title="PNG of MaskFormer",
            images=IMAGES,
            labels={"train": "annotations_detectron2/training", "val": "annotations_detectron2/validation"},
            format=LabelFormat(read_mask, LabelIds.contiguous(NUM_CLASSES)),
        ),
        Layout(
            title="official PNG",
            images=IMAGES,
            labels={"train": "annotations/training", "val": "annotations/validation"},
            format=LabelFormat(read_mask, LabelIds.contiguous(NUM_CLASSES, offset=1)),
        ),
    ),
    archive=Archive(
        url="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
        checksum="sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",  # as GluonCV and others check it
        counts={"train": 20210, "val": 2000},
    ),
    inner=("ADEChallengeData2016",),
)
