"""The settings of each command, their types and ranges; ``conf/COMMAND.yaml`` holds the values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypedDict

from weakshot_seg.utils.ranges import Count, NonNegative, NonNegativeInt, Port, Positive, Seed, Share, Threads

Group = Annotated[dict[str, Any], "Settings from a file of conf/<its name>, which name what they build in _target_."]
Supervision = Literal["weakshot", "base_only", "full"]
Candidates = Literal["all", "image", "novel"]


class Model(TypedDict):
    """A trained model, read from a file."""

    ckpt: str
    allow_targets: Sequence[str]


class Run(TypedDict):
    """What a run is called by."""

    name: str
    split: int
    supervision: Supervision
    seed: Seed
    output_dir: str


class Train(Run):
    """Of ``python -m weakshot_seg.train``."""

    data: Group
    model: Group
    loss: Group
    optim: Group
    trainer: Group
    callbacks: Group
    logger: Group
    inference: Group
    stage: Literal["first", "retrain"]
    weights: str | None
    max_skipped_steps: NonNegativeInt
    retrain: bool
    candidates: Candidates
    pseudo_labels: str | None
    resume: bool


class Check(Train):
    """Of ``weakshot check``: the data of any training."""

    html: str | None
    thumbnails: NonNegativeInt


class Evaluate(Model, Run):
    """Of ``weakshot evaluate``."""

    inference: Group
    data: Group | None
    trainer: Group
    callbacks: Group
    force: bool


class PseudoLabel(Model):
    """Of ``weakshot pseudo-label``."""

    out: str
    candidates: Candidates | None
    inference: Group
    data: Group | None
    trainer: Group
    split: int
    supervision: Supervision
    seed: Seed
    force: bool
    output_dir: str


class Predict(Model):
    """Of ``weakshot predict``."""

    source: str | Sequence[str]
    out: str
    overwrite: bool
    scores: str | Sequence[str]
    overlay_size: NonNegativeInt
    inference: Group
    batch_size: Count
    threads: Threads
    device: str
    video_every: Count
    video_labels: bool


class Export(Model):
    """Of ``weakshot export``."""

    format: Literal["onnx", "torch_export"]
    out: str | None
    input_type: Literal["uint8", "float32"]
    check_images: str | Sequence[str] | None
    num_images: Count
    max_difference: NonNegative
    min_agreement: Share
    time_limit: Positive
    benchmark: bool


class Convert(TypedDict):
    """Of ``weakshot convert``."""

    source: str
    out: str
    overrides: Sequence[str]
    split: int | None
    classes: str | None
    partial: bool
    verbose: bool
    allow_targets: Sequence[str]


class Card(Model):
    """Of ``weakshot card``."""

    out: str
    metrics: str | None
    title: str | None
    dataset: str | None
    license: str | None


class App(Model):
    """Of ``weakshot app``."""

    device: str
    host: str
    port: Port | None
    share: bool
    proposals: Count
    examples: NonNegativeInt
    max_megapixels: Positive


class Report(TypedDict):
    """Of ``weakshot report``."""

    runs: str | Sequence[str]
    out: str
    pictures: NonNegativeInt


COMMANDS: dict[str, type] = {
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "pseudo_label": PseudoLabel,
    "check": Check,
    "report": Report,
    "export": Export,
    "convert": Convert,
    "app": App,
    "card": Card,
}
"""By the name of the file in ``conf``."""
