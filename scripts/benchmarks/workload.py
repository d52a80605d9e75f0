"""Images and targets of the step benchmark: the same random scenes for every contestant."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from weakshot_seg.structures import IGNORE, Knowledge, WeakTargets

SEGMENTS = 12
"""Regions of a scene; about as many classes as an image of COCO-Stuff shows."""


@dataclass(frozen=True)
class Workload:
    """A training batch.

    Attributes:
        images: uint8 ``[B, 3, H, W]``.
        full: targets with masks of all classes.
        weak: the same scenes with every fourth class novel: known by tag only; images 2i and 2i+1 are a pair.
        open: as ``weak``, but of the second image of a pair nothing is known beside its tags.
        masks: for each image float 0/1 ``[N_i, H, W]``, the masks of ``full`` as transformers takes them.
        classes: for each image int64 ``[N_i]``.
    """

    images: Tensor
    full: WeakTargets
    weak: WeakTargets
    open: WeakTargets
    masks: list[Tensor]
    classes: list[Tensor]


def make_workload(size: int, batch: int, num_classes: int, device: torch.device, seed: int = 0) -> Workload:
    """Random scenes of ``SEGMENTS`` regions (nearest of random centres), with a strip of padding at the bottom.

    Of fewer regions if there are few classes.
    """
    generator = torch.Generator().manual_seed(seed)
    segments = min(SEGMENTS, num_classes // 2)
    grid = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij"), -1).float()
    label_maps = torch.empty(batch, size, size, dtype=torch.uint8)
    pool = torch.randperm(num_classes, generator=generator)[: 2 * segments]  # images share classes, as pairs do
    for label_map in label_maps:
        centres = torch.rand(segments, 2, generator=generator) * size
        nearest = torch.cdist(grid.view(-1, 2), centres).argmin(1).view(size, size)
        chosen = pool[torch.randperm(len(pool), generator=generator)[:segments]]
        label_map[:] = chosen[nearest].to(torch.uint8)
    padding = torch.zeros(batch, size, size, dtype=torch.bool)
    padding[:, size - size // 16 :] = True
    label_maps[padding] = IGNORE
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=generator)

    novel = torch.zeros(num_classes, dtype=torch.bool)
    novel[::4] = True
    all_masks = torch.full((batch, num_classes), Knowledge.MASK, dtype=torch.uint8)
    full = WeakTargets.collate(label_maps, padding, all_masks, torch.zeros_like(novel))
    hidden = label_maps.clone()
    hidden[torch.cat([novel, torch.zeros(256 - num_classes, dtype=torch.bool)])[label_maps.long()]] = IGNORE
    tags = torch.where(full.with_mask, Knowledge.PRESENT, Knowledge.ABSENT)
    states = torch.where(novel, tags, Knowledge.MASK).to(torch.uint8)
    weak = WeakTargets.collate(hidden, padding, states, novel, paired=True)
    hidden, states = hidden.clone(), states.clone()
    hidden[1::2] = IGNORE
    states[1::2, ~novel] = Knowledge.UNKNOWN
    without_masks = WeakTargets.collate(hidden, padding, states, novel, paired=True)

    classes = [row.nonzero()[:, 0] for row in full.with_mask]
    masks = [(m == c[:, None, None]).float().to(device) for m, c in zip(label_maps, classes, strict=True)]
    targets = (part.to(device) for part in (full, weak, without_masks))
    return Workload(images.to(device), *targets, masks, [c.to(device) for c in classes])
