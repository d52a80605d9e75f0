"""Random targets and outputs of the network."""

from collections.abc import Sequence

import torch
from torch import Tensor

from weakshot_seg.structures import IGNORE, Knowledge, SegOutput, WeakTargets


def make_output(
    images: int = 2,
    classes: int = 5,
    queries: int = 6,
    layers: int = 2,
    size: tuple[int, int] = (4, 6),
    dtype: torch.dtype = torch.float32,
) -> SegOutput:
    """Random network outputs whose tensors are leaves that ask for gradients."""

    def leaf(*shape: int) -> Tensor:
        return (2 * torch.randn(*shape, dtype=dtype)).requires_grad_()

    return SegOutput(
        leaf(layers, images, queries, classes + 1), leaf(layers, images, queries, *size), leaf(images, 3, *size)
    )


def states_by_tags(tags: Tensor, novel: Tensor, has_masks: Tensor | None = None) -> Tensor:
    """The paper's states: base classes by the mask, others by tags (bool ``[B, K]``); without mask unknown."""
    unmasked = torch.where(novel, Knowledge.ABSENT, Knowledge.UNKNOWN)
    base = torch.where(novel, Knowledge.ABSENT, Knowledge.MASK)
    states = base.expand(tags.shape) if has_masks is None else torch.where(has_masks[:, None], base, unmasked)
    return torch.where(tags, Knowledge.PRESENT, states).to(torch.uint8)


def make_targets(
    base: Sequence[Sequence[int]],
    tags: Sequence[Sequence[int]] = (),
    size: tuple[int, int] = (8, 12),
    padded_rows: int = 1,
    paired: bool = False,
    without_masks: Sequence[int] = (),
    states: Sequence[str] = (),
) -> WeakTargets:
    """Targets of hand-made images: each a set of base classes with pixels and a set of classes with tags.

    Of the five classes, 3 and 4 are novel. ``states`` are given instead of tags by the first letters of their names,
    such as "MMAPU".
    """
    label_maps, padding = [], []
    for present in base:
        choices = torch.tensor([*present, IGNORE], dtype=torch.uint8)
        label_map = choices[torch.randint(len(choices), size)]
        label_map[0, : len(choices)] = choices  # every class has a pixel
        pad = torch.zeros(size, dtype=torch.bool)
        pad[size[0] - padded_rows :] = True
        label_map[pad] = IGNORE
        label_maps.append(label_map)
        padding.append(pad)
    tag_table = torch.zeros(len(base), 5, dtype=torch.bool)
    for row, ids in zip(tag_table, tags, strict=not states):
        row[list(ids)] = True
    has_masks = torch.tensor([image not in without_masks for image in range(len(base))])
    for image in without_masks:
        label_maps[image][:] = IGNORE
    maps = torch.stack(label_maps), torch.stack(padding)
    novel = torch.arange(5) >= 3
    table = states_by_tags(tag_table, novel, has_masks)
    if states:
        table = torch.tensor([["UAPM".index(letter) for letter in row] for row in states], dtype=torch.uint8)
    return WeakTargets.collate(*maps, table, novel, paired)
