"""What an exported file says of itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from weakshot_seg import __version__
from weakshot_seg.training.module import WeakShotModule


@dataclass(frozen=True)
class Metadata:
    """Of a segmentation graph.

    Attributes:
        class_names: ``K`` names, by class id.
        novel: ``K`` flags, by class id: learned from tags instead of masks.
        input_type: Of ``images`` ``[B, 3, H, W]``: "uint8" or "float32".
        input_range: Of their values.
        color_order: Of their channels.
        normalised_inside: The graph itself computes ``(images / 255 - mean) / std``: give it none of that.
        mean: By channel, for images in 0..1.
        std: By channel, for images in 0..1.
        short_edge: Length to resize the shorter edge of an image to; None: its own.
        max_size: Limit of the longer edge then; None: no limit.
        outputs: What each output is.
        step: Optimiser steps of the training.
        weakshot_seg: Version of this library.
    """

    class_names: tuple[str, ...]
    novel: tuple[bool, ...]
    input_type: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    short_edge: int | None
    max_size: int | None
    step: int
    input_range: tuple[int, int] = (0, 255)
    color_order: str = "RGB"
    normalised_inside: bool = True
    outputs: tuple[str, ...] = (
        "labels: uint8 [B, H, W], class id of every pixel",
        "scores: float32 [B, K, H, W], at least 0, seldom above 1, not normalised over the classes",
    )
    weakshot_seg: str = __version__

    @classmethod
    def of(cls, module: WeakShotModule, input_type: str) -> Metadata:
        """Of a trained module; for ``input_type`` see the class."""
        resizing = module.recipe.data["val_transform"]
        return cls(
            class_names=module.class_split.names,
            novel=tuple(module.class_split.is_novel().tolist()),
            input_type=input_type,
            mean=tuple(module.model.mean.flatten().tolist()),
            std=tuple(module.model.std.flatten().tolist()),
            short_edge=resizing.get("short_edge"),
            max_size=resizing.get("max_size"),
            step=module.trained_steps,
        )

    def as_json(self) -> dict[str, str]:
        """Every field as a JSON text."""
        return {key: json.dumps(value, ensure_ascii=False) for key, value in asdict(self).items()}
