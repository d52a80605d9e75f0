"""The settings of each command, their types and ranges; ``conf/COMMAND.yaml`` holds the values."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from weakshot_seg.utils.ranges import Count, NonNegative, NonNegativeInt, Port, Positive, Seed, Share, Threads

Group = Annotated[dict[str, Any], "settings from a file of conf/<its name>, which name what they build in _target_"]
GROUPS = ("trainer", "model", "data", "loss", "optim", "teacher", "callbacks", "logger", "inference")
"""All groups that are built; those first that others refer to."""
Candidates = Literal["all", "image", "novel"]
Several = str | Sequence[str]

MODEL: dict[str, Any] = {"ckpt": str, "allow_targets": Sequence[str]}
RUN = {"split": int, "supervision": Literal["weakshot", "base_only", "full"], "seed": Seed, "output_dir": str}
MEASURE = MODEL | RUN | {"trainer": Group, "inference": Group | None, "data": Group | None, "force": bool}
TRAIN = RUN | {
    "name": str,
    **dict.fromkeys(GROUPS, Group),
    "preset": str | None,
    "stage": Literal["first", "retrain"],
    "weights": str | None,
    "partial": bool,
    "max_skipped_steps": NonNegativeInt,
    "retrain": bool,
    "candidates": Candidates,
    "pseudo_labels": str | None,
    "resume": bool,
    "page": bool,
}
PREDICT = MODEL | {
    "source": Several,
    "out": str,
    "overwrite": bool,
    "scores": Several,
    "overlay_size": NonNegativeInt,
    "max_pixels": Count,
    "inference": Group | None,
    "threads": Threads,
    "device": str,
    "video_every": Count,
    "video_labels": bool,
}
RANK = MODEL | {
    "source": Several,
    "labelled": Several | None,
    "out": str,
    "number": Count,
    "diversity": NonNegative,
    "threads": Threads,
    "device": str,
}
EXPORT = MODEL | {
    "format": Literal["onnx", "torch_export", "openvino"],
    "int8": Several | None,
    "out": str | None,
    "input_type": Literal["uint8", "float32"],
    "check_images": Several | None,
    "num_images": Count,
    "max_difference": NonNegative | None,
    "min_agreement": Share | None,
    "time_limit": Positive,
    "benchmark": bool,
}
CONVERT: dict[str, Any] = {
    "source": str,
    "out": str,
    "overrides": Sequence[str],
    "split": int | None,
    "classes": str | None,
    "partial": bool,
    "verbose": bool,
    "allow_targets": Sequence[str],
}
APP = MODEL | {"device": str, "host": str, "port": Port | None, "share": bool, "proposals": Count}
IMPORT: dict[str, Any] = {
    "source": Several,
    "out": str,
    "format": Literal[
        "auto",
        "coco",
        "cvat",
        "labelme",
        "label_studio",
        "yolo",
        "supervisely",
        "cityscapes",
        "masks",
        "csv",
        "folders",
    ],
    "images": Several | None,
    "validation": Several | None,
    "only": Sequence[str] | None,
    **dict.fromkeys(("classes", "image_column", "class_column"), str | None),
    "unnamed": Literal["absent", "unknown"],
    "copy": bool,
}
COMMANDS: dict[str, dict[str, Any]] = {
    "train": TRAIN,
    "check": TRAIN | {"html": str | None, "thumbnails": NonNegativeInt},
    "evaluate": MEASURE | {"name": str, "callbacks": Group, "page": bool},
    "pseudo_label": MEASURE | {"out": str, "candidates": Candidates | None},
    "import": IMPORT,
    "predict": PREDICT,
    "rank": RANK,
    "export": EXPORT,
    "convert": CONVERT,
    "report": {"runs": Several, "out": str, "pictures": NonNegativeInt},
    "app": APP | {"examples": NonNegativeInt, "max_megapixels": Positive},
    "card": MODEL | {"out": str, **dict.fromkeys(("metrics", "title", "dataset", "license"), str | None)},
}
