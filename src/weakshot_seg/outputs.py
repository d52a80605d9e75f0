"""What the network says of a batch, and which of its proposals answer for which targets: output -> assignment.

For the letters of the axes see :mod:`weakshot_seg.structures`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from weakshot_seg.utils.points import take_points


@dataclass(frozen=True)
class SegOutput:
    """What the network says of a batch, for all decoder layers (the last layer is the prediction).

    Attributes:
        class_logits: float ``[L, B, Q, K+1]``, the last class is "no object".
        mask_logits: float ``[L, B, Q, h, w]`` at stride 4.
        pixel_embeddings: float ``[B, C, h, w]``.
        mask_embeddings: float ``[L, B, Q, C]``, whose product with the pixel embeddings ``mask_logits`` are. With them
            the gradients of a few masks need not pass through all of them. None: only the logits are known.
    """

    class_logits: Tensor
    mask_logits: Tensor
    pixel_embeddings: Tensor
    mask_embeddings: Tensor | None = None

    def masks_of(self, queries: Tensor) -> Tensor:
        """Mask logits ``[L, B, S, h, w]`` of some proposals of every layer and image (int64 ``[L, B, S]``)."""
        if self.mask_embeddings is None:
            index = queries[..., None, None].expand(-1, -1, -1, *self.mask_logits.shape[-2:])
            return self.mask_logits.gather(2, index)
        index = queries[..., None].expand(-1, -1, -1, self.mask_embeddings.shape[-1])
        chosen = self.mask_embeddings.gather(2, index).transpose(0, 1)  # [B, L, S, C]
        masks = chosen.flatten(1, 2) @ self.pixel_embeddings.flatten(2)  # [B, LS, hw]
        return masks.view(*chosen.shape[:3], *self.mask_logits.shape[-2:]).transpose(0, 1)

    def masks_at(self, points: Tensor) -> Tensor:
        """Mask logits of the last layer at pixels: int64 ``[b, J]`` of the first b images -> float ``[b, J, Q]``."""
        images = len(points)
        if self.mask_embeddings is None:
            return take_points(self.mask_logits[-1, :images].flatten(2), points)
        pixels = take_points(self.pixel_embeddings[:images].flatten(2), points)  # [b, J, C]
        return pixels @ self.mask_embeddings[-1, :images].transpose(1, 2)

    def last(self) -> SegOutput:
        """The last decoder layer alone (L = 1)."""
        embeddings = None if self.mask_embeddings is None else self.mask_embeddings[-1:]
        return SegOutput(self.class_logits[-1:], self.mask_logits[-1:], self.pixel_embeddings, embeddings)

    def float(self) -> SegOutput:
        """The same in float32: losses and matching never run in half precision."""
        embeddings = None if self.mask_embeddings is None else self.mask_embeddings.float()
        return SegOutput(self.class_logits.float(), self.mask_logits.float(), self.pixel_embeddings.float(), embeddings)


@dataclass(frozen=True)
class Assignment:
    """Which proposal answers for which target.

    Attributes:
        queries: int64 ``[L, B, N]``, the proposal of each target slot; arbitrary (but valid) in padding slots.
        by_class: proposal k answers for class k in every image, also when the class is absent.
    """

    queries: Tensor
    by_class: bool = False

    def last(self) -> Assignment:
        """The last decoder layer alone (L = 1)."""
        return Assignment(self.queries[-1:], self.by_class)
