"""A foreign model as it was read."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Source:
    """Tensors of a foreign model under our names, and what else its files tell.

    Attributes:
        tensors: under the names of our network (``backbone.net.``, ``pixel_decoder.``, ``query_decoder.``, ``head.``)
            and ``simnet.``.
        unexpected: foreign names that have no counterpart here.
        left_out: foreign tensors that hold nothing learned or are never used, by name.
        num_heads: attention heads of the transformer decoder, which no shape tells; None = unknown.
        class_names: ``K`` names; None = unknown.
        mean: RGB mean the backbone expects, for images in 0..1; None = ImageNet's.
        std: RGB standard deviation; None = ImageNet's.
    """

    tensors: dict[str, Tensor]
    unexpected: tuple[str, ...] = ()
    left_out: dict[str, Tensor] = field(default_factory=dict)
    num_heads: int | None = None
    class_names: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
