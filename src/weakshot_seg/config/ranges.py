"""The ranges of numbers in settings, by the name of the setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included unless ``is_open``, which leaves out the one that it names.

    Without ``high`` any number that a computer could take.
    """

    low: float
    high: float = 1e9
    is_open: Literal["", "low", "high"] = ""

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high and value != {"low": self.low, "high": self.high}.get(self.is_open)

    def __str__(self) -> str:
        if self.high == Range.high:
            return f"{'more than' if self.is_open else 'at least'} {self.low:g} and at most {self.high:g}"
        ends = {"": "", "low": f", but not {self.low:g}", "high": f", but not {self.high:g}"}
        return f"between {self.low:g} and {self.high:g}{ends[self.is_open]}"


COUNT, NOT_NEGATIVE, POSITIVE, SHARE = Range(1), Range(0), Range(0, is_open="low"), Range(0, 1)
BELOW_ONE, CHANNELS, LAYERS = Range(0, 1, "high"), Range(1, 2**16), Range(1, 1000)
RANGES: dict[str, Range] = {
    # top level
    "seed": Range(0, 2**32 - 1),
    "port": Range(0, 65535),
    "proposals": COUNT,
    "examples": NOT_NEGATIVE,
    "thumbnails": NOT_NEGATIVE,
    "max_megapixels": POSITIVE,
    "overlay_size": NOT_NEGATIVE,
    "threads": Range(1, 1000),
    "max_difference": NOT_NEGATIVE,
    "min_agreement": SHARE,
    # data
    "batch_size": COUNT,
    "val_batch_size": COUNT,
    "num_workers": Range(0, 1000),
    "accumulate": COUNT,
    "novel_ratio": Range(0, 1, "low"),
    "label_offset": Range(0, 255),
    "ignore_label": Range(0, 255),
    "crop_size": COUNT,
    "short_edge": COUNT,
    "max_size": COUNT,
    "scale": Range(0, 100, "low"),
    "flip": SHARE,
    "color_jitter": NOT_NEGATIVE,
    "category_max_area": Range(0, 1, "low"),
    "num_images": NOT_NEGATIVE,
    "size": COUNT,
    # model
    "num_queries": CHANNELS,
    "dim": CHANNELS,
    "pixel_dim": CHANNELS,
    "embedding_dim": CHANNELS,
    "hidden_dim": CHANNELS,
    "ffn_dim": CHANNELS,
    "num_layers": LAYERS,
    "num_blocks": LAYERS,
    "num_heads": COUNT,
    "dropout": BELOW_ONE,
    # loss
    "weight": NOT_NEGATIVE,
    "no_object": NOT_NEGATIVE,
    "class_weight": NOT_NEGATIVE,
    "focal_weight": NOT_NEGATIVE,
    "dice_weight": NOT_NEGATIVE,
    "base_weight": NOT_NEGATIVE,
    "novel_weight": NOT_NEGATIVE,
    "stride": COUNT,
    "num_points": COUNT,
    "oversample": Range(1, 1000),
    "importance": SHARE,
    "inside_share": SHARE,
    "history": Range(1, 10**6),
    # optimiser and trainer
    "lr": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "backbone_factor": NOT_NEGATIVE,
    "power": NOT_NEGATIVE,
    "warmup_steps": NOT_NEGATIVE,
    "max_steps": COUNT,
    "accumulate_grad_batches": COUNT,
    "gradient_clip_val": NOT_NEGATIVE,
    "val_check_interval": POSITIVE,
    "log_every_n_steps": NOT_NEGATIVE,
    "num_sanity_val_steps": Range(-1),
    "num_nodes": COUNT,
    # callbacks and inference
    "refresh_rate": NOT_NEGATIVE,
    "every_n_steps": COUNT,
    "window": COUNT,
    "overlap": BELOW_ONE,
    "scales": Range(0, 100, "low"),
}
"""By the name of the argument, wherever a class or function of this package, Lightning or Hydra takes it."""
