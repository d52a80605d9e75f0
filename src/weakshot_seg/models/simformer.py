"""SimFormer's network (arXiv 2210.02270): MaskFormer (arXiv 2107.06278) assembled from its parts."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.errors import ConfigError
from weakshot_seg.models.backbone import STRIDES, TimmBackbone, normalise
from weakshot_seg.models.checkpointing import checkpoint_blocks
from weakshot_seg.models.pixel_decoder import FPNPixelDecoder
from weakshot_seg.models.presence import PresenceHead
from weakshot_seg.models.query_decoder import QueryDecoder
from weakshot_seg.structures import SegOutput
from weakshot_seg.utils.compiling import Backend, check_backend
from weakshot_seg.utils.embeddings import mask_products
from weakshot_seg.utils.ranges import BelowOne, Channels, Count, GroupedChannels, Layers, NonNegative, SineChannels


class SimFormer(nn.Module):
    """Proposals with a class and a mask each, the mask being proposal-pixel similarity.

    Args:
        num_classes: ``K``.
        backbone: gives strides 4, 8, 16, 32.
        num_queries: ``Q``; None = one per class.
        dim, pixel_dim: widths of the transformer decoder and the pixel decoder.
        embedding_dim: channels ``C`` of pixel and mask embeddings.
        num_layers, num_heads, ffn_dim, dropout: of the transformer decoder; it has ``L`` layers.
        memory_stride: stride of the feature the queries attend to: 32 as in the paper, 16 or 8 for small images.
        memory: whose feature that is: the backbone's, as in the paper, or the pixel decoder's (deep at every stride).
        masked_attention: the decoder of Mask2Former: learned query features that predict before the first layer
            (L + 1 outputs) and attend within their masks.
        presence_gamma: a head says which classes are in an image, and the scores of a prediction are multiplied by
            presence^gamma (ours). None: no such head, as in the paper.
        activation_checkpointing: keep less of the forward pass in memory and compute it again in backward.
        compile: backend of ``torch.compile`` ("inductor") for the four parts of the network; None = as written.

    Raises:
        ConfigError: no such compiler, or both compiled and checkpointed.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        num_classes: int,
        backbone: TimmBackbone,
        num_queries: Channels | None = 100,
        dim: SineChannels = 256,
        pixel_dim: GroupedChannels = 256,
        embedding_dim: Channels = 256,
        num_layers: Layers = 6,
        num_heads: Count = 8,
        ffn_dim: Channels = 2048,
        dropout: BelowOne = 0.1,
        memory_stride: Literal[4, 8, 16, 32] = 32,
        memory: Literal["backbone", "pixel_decoder"] = "backbone",
        masked_attention: bool = False,
        presence_gamma: NonNegative | None = None,
        activation_checkpointing: bool = False,
        compile: Backend | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_queries = num_queries or num_classes
        self.memory_level = STRIDES.index(memory_stride)
        self.backbone = backbone
        self.pixel_decoder = FPNPixelDecoder(backbone.channels, pixel_dim, embedding_dim)
        self.memory = memory
        memory_channels = backbone.channels[self.memory_level] if memory == "backbone" else pixel_dim
        self.query_decoder = QueryDecoder(
            memory_channels, self.num_queries, dim, num_layers, num_heads, ffn_dim, dropout, masked_attention
        )
        self.head = ProposalHead(dim, num_classes, embedding_dim)
        self.presence = None if presence_gamma is None else PresenceHead(backbone.channels[-1], num_classes)
        self.presence_gamma = presence_gamma or 0.0
        self.register_buffer("mean", torch.tensor(backbone.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std).view(3, 1, 1), persistent=False)

        parts = (self.backbone, self.pixel_decoder, self.query_decoder, self.head)
        if activation_checkpointing:
            for part in parts:
                checkpoint_blocks(part)
        if compile is not None:
            check_backend(compile, "model.compile")
            if activation_checkpointing:
                raise ConfigError("model.compile and model.activation_checkpointing exclude each other")
            for part in parts:
                part.compile(backend=compile)

    def forward(self, images: Tensor, last_only: bool = False) -> SegOutput:
        """RGB images 0..255 ``[B, 3, H, W]`` (uint8 or float) -> outputs of all decoder layers, or of the last (L = 1).

        Predictions need the last layer only; the masks of the others are a large part of the work.
        """
        return self.decode(self.encode(images), last_only)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Features of the backbone at strides 4, 8, 16 and 32."""
        features: list[Tensor] = self.backbone(normalise(images, self.mean, self.std))
        return features

    def decode(self, features: list[Tensor], last_only: bool = False) -> SegOutput:
        """The outputs of features, as :meth:`forward`."""
        pixel_embeddings, decoded = self.pixel_decoder(features)
        memory = (features if self.memory == "backbone" else decoded)[self.memory_level]
        proposals = self.query_decoder(memory, pixel_embeddings, self.head.mask_embeddings)  # [L, B, Q, dim]
        class_logits, mask_embeddings = self.head(proposals[-1:] if last_only else proposals)
        mask_logits = mask_products(mask_embeddings, pixel_embeddings)
        presence = None if self.presence is None else self.presence(features[-1])
        return SegOutput(class_logits, mask_logits, pixel_embeddings, mask_embeddings, presence, self.presence_gamma)


class ProposalHead(nn.Module):
    """Linear classifier to K+1 classes (last = no object) and a 3-layer MLP to mask embeddings (method section 2)."""

    def __init__(self, dim: int, num_classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.classify = nn.Linear(dim, num_classes + 1)
        self.mask_embed = nn.ModuleList([nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, embedding_dim)])

    def forward(self, proposals: Tensor) -> tuple[Tensor, Tensor]:
        """``[..., dim]`` -> (class logits ``[..., K+1]``, mask embeddings ``[..., C]``)."""
        return self.classify(proposals), self.mask_embeddings(proposals)

    def mask_embeddings(self, proposals: Tensor) -> Tensor:
        """``[..., dim]`` -> mask embeddings ``[..., C]``."""
        first, second, third = self.mask_embed
        return third(F.relu(second(F.relu(first(proposals)))))
