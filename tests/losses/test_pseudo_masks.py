"""The loss on a teacher's map against autograd and a loop over images and classes."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from random_batches import make_output, make_targets
from weakshot_seg.errors import ConfigError
from weakshot_seg.losses.assignments import ClassQueries, HungarianMatcher
from weakshot_seg.losses.pseudo_masks import PseudoMaskLoss
from weakshot_seg.structures import IGNORE

STATES = ["UUUAP", "MMMAA", "UUUAA", "UAUPP"]
SEEN = [[], [0, 1], [], []]


def focal_and_dice(logits: Tensor, mask: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    p, y = logits.sigmoid()[known], mask.float()[known]
    entropy = F.binary_cross_entropy_with_logits(logits[known], y, reduction="none")
    focal = (torch.where(y > 0, 0.25, 0.75) * (p - y) ** 2 * entropy).sum() / logits.numel()
    return focal, 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)


def test_sure_pixels_teach_the_classes_that_an_image_leaves_open() -> None:
    output, targets = make_output(images=4, queries=5), make_targets(SEEN, states=STATES)
    labels = torch.full((4, 4, 6), IGNORE, dtype=torch.uint8)
    labels[0, :, :3], labels[0, 2:, 3:] = 4, 0
    labels[3, 0], labels[3, 1] = 2, 4
    targets = replace(targets, pseudo_map=labels)
    losses = PseudoMaskLoss()(output, targets, ClassQueries()(output, targets))

    expected = {"focal": torch.zeros(()), "dice": torch.zeros(())}
    for image, states in enumerate(STATES):
        known = labels[image] != IGNORE
        for class_id, state in enumerate(states):
            for layer in range(2):
                if state in "UP" and known.any():
                    mask = labels[image] == class_id
                    focal, dice = focal_and_dice(output.mask_logits[layer, image, class_id], mask, known)
                    expected["focal"] = expected["focal"] + focal
                    expected["dice"] = expected["dice"] + dice * mask.any()
    count = 4 + 2  # two classes in each of two maps, and the true masks of the second image
    for part, value in expected.items():
        torch.testing.assert_close(losses[part], value / count)
        (gradient,) = torch.autograd.grad(losses[part], output.mask_logits, retain_graph=True)
        (by_loop,) = torch.autograd.grad(value / count, output.mask_logits, retain_graph=True)
        torch.testing.assert_close(gradient, by_loop)
        assert not gradient[:, 1:3].any()  # an image of masks, and one of which nothing is sure


def test_no_map_teaches_nothing() -> None:
    output, targets = make_output(images=4, queries=5), make_targets(SEEN, states=STATES)
    losses = PseudoMaskLoss()(output, targets, ClassQueries()(output, targets))
    (gradient,) = torch.autograd.grad(sum(losses.values(), torch.zeros(())), output.mask_logits)
    assert not gradient.any()
    assert {part: value.item() for part, value in losses.items()} == {"focal": 0.0, "dice": 0.0}


def test_matched_proposals_are_refused() -> None:
    output, targets = make_output(images=4, queries=6), make_targets(SEEN, states=STATES)
    with pytest.raises(ConfigError, match=r"loss\.terms\.pseudo_masks needs class queries.* loss/teacher=none"):
        PseudoMaskLoss()(output, targets, HungarianMatcher()(output, targets))
