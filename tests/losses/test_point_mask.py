"""The point-sampled mask loss against the loss on all pixels and plain interpolation."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from random_batches import make_output, make_targets
from weakshot_seg.losses.assignments import HungarianMatcher
from weakshot_seg.losses.point_mask import PointMaskLoss, labels_at, logits_at
from weakshot_seg.losses.terms import MaskLoss


def centres(height: int, width: int) -> Tensor:
    """Pixel centres [HW, 2] as (x, y)."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x / width, y / height], -1).view(-1, 2)


def test_logits_and_labels_at_pixel_centres_are_those_of_resizing() -> None:
    logits = torch.randn(3, 4, 6)
    points = centres(9, 13).expand(3, -1, -1)
    resized = F.interpolate(logits[:, None], (9, 13), mode="bilinear", align_corners=False)
    torch.testing.assert_close(logits_at(logits, points), resized.flatten(1))
    labels = torch.randint(0, 5, (2, 9, 13), dtype=torch.uint8)
    assert torch.equal(labels_at(labels, torch.tensor([1, 0, 1]), points), labels[[1, 0, 1]].flatten(1))


class AllPixels(PointMaskLoss):
    def draw(self, logits: Tensor) -> Tensor:
        return centres(9, 13).expand(len(logits), -1, -1)


@pytest.mark.parametrize(
    ("term", "tolerance"), [(AllPixels(), 1e-4), (PointMaskLoss(num_points=20000, importance=0.0), 0.05)]
)
def test_on_all_pixels_it_is_the_mask_loss_and_near_it_on_uniform_points(term: PointMaskLoss, tolerance: float) -> None:
    targets = make_targets(base=[[0, 2], [1]], tags=[[3], []], size=(9, 13))
    output = make_output(images=2, queries=6)
    assignment = HungarianMatcher()(output, targets)
    results = []
    for loss in (term, MaskLoss()):
        parts = loss(output, targets, assignment)
        gradient = torch.autograd.grad(20 * parts["focal"] + parts["dice"], output.mask_logits)[0]
        results.append((parts["focal"].detach(), parts["dice"].detach(), gradient))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=tolerance, atol=1e-6 if tolerance < 0.01 else 0.02)


def test_points_gather_where_the_mask_is_undecided() -> None:
    logits = torch.linspace(-8, 8, 33).expand(2, 33, 33)  # undecided along the vertical middle
    term = PointMaskLoss(num_points=400, oversample=4.0, importance=0.75)
    points = term.draw(logits)
    assert points.shape == (2, 400, 2)
    assert ((points >= 0) & (points < 1)).all()
    distance = (points[..., 0] - 0.5).abs()
    assert distance[:, :300].max() < 0.15  # the least decided 300 of 1600 lie within 0.09 or so
    assert distance[:, 300:].max() > 0.35


def test_no_mask_at_all() -> None:
    targets = make_targets(base=[[]], tags=[[3]], size=(9, 13))
    output = make_output(images=1, queries=6)
    parts = PointMaskLoss(num_points=8)(output, targets, HungarianMatcher()(output, targets))
    assert parts["focal"] == parts["dice"] == 0
    (parts["focal"] + parts["dice"]).backward()
