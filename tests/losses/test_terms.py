"""Classification, mask, complement and absence loss against naive per-image loops written from the method."""

import itertools
import math
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from random_batches import make_output, make_targets
from weakshot_seg.errors import ConfigError
from weakshot_seg.losses.assignments import ClassQueries, HungarianMatcher
from weakshot_seg.losses.terms import AbsenceLoss, ClassificationLoss, ComplementLoss, MaskLoss
from weakshot_seg.structures import IGNORE, Assignment, SegOutput, WeakTargets

MIXED = {"base": [[0, 2], [1], [], [0, 1, 2], []], "tags": [[3], [3, 4], [4], [], []]}
# nothing is known of the pixels of some images, and of base classes there only what is tagged; 3 and 4 are novel
UNKNOWN = {"base": [[0, 2], [], [], [], []], "tags": [[3], [3], [4], [0, 4], [1]], "without_masks": (1, 3, 4)}
MANY = {"base": [[0, 2], [1], [], [2], []], "states": ["MAMPA", "UMUAP", "UUPUA", "APMPU", "MMMAA"]}
CASES = {  # with the classes of each image that may be there or not, and those that are not
    "masks": (MIXED, [()] * 5, [(1, 4), (0, 2), (0, 1, 2, 3), (3, 4), (0, 1, 2, 3, 4)]),
    "images without masks": (UNKNOWN, [(), (0, 1, 2), (), (1, 2), (0, 2)], [(1, 4), (4,), (0, 1, 2, 3), (3,), (3, 4)]),
    "all states": (MANY, [(), (0, 2), (0, 1, 3), (4,), ()], [(1, 4), (3,), (4,), (0,), (0, 1, 2, 3, 4)]),
}


class Case(NamedTuple):
    output: SegOutput
    targets: WeakTargets
    assignment: Assignment
    maybe: list[tuple[int, ...]]


def pairs(targets: WeakTargets, assignment: Assignment, layer: int, image: int) -> list[tuple[int, int]]:
    """(query, class) of the targets of an image, read off label map and tags."""
    present = sorted(set(targets.label_map[image].flatten().tolist()) - {IGNORE})
    classes = present + targets.tagged[image].nonzero()[:, 0].tolist()
    return list(zip(assignment.queries[layer, image].tolist(), classes, strict=False))


def plain_losses(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    p, y = logits.sigmoid(), mask.to(logits.dtype)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
    confidence = p * y + (1 - p) * (1 - y)
    focal = ((0.25 * y + 0.75 * (1 - y)) * (1 - confidence) ** 2 * cross_entropy).mean()
    return focal, 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)


def upsample(logits: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(logits[None, None], size, mode="bilinear", align_corners=False)[0, 0]


def same_with_gradients(ours: Tensor, plain: Tensor, leaf: Tensor) -> None:
    torch.testing.assert_close(ours.double(), plain.double(), rtol=1e-5, atol=1e-6)
    (our_grad,) = torch.autograd.grad(ours, leaf, retain_graph=True)
    (plain_grad,) = torch.autograd.grad(plain, leaf, retain_graph=True)
    torch.testing.assert_close(our_grad, plain_grad, rtol=1e-5, atol=1e-7)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    sets, maybe, _ = CASES[request.param]
    output = make_output(images=5, queries=6, layers=3, dtype=torch.float64)
    targets = make_targets(**sets, size=(9, 13), padded_rows=2)
    return Case(output, targets, HungarianMatcher()(output.float(), targets), maybe)


@pytest.mark.parametrize("no_object", [0.1, 1.0, 0.0])
def test_classification_is_weighted_cross_entropy(no_object: float, case: Case) -> None:
    plain = torch.zeros((), dtype=torch.float64)
    for layer in range(3):
        total, weights = torch.zeros((), dtype=torch.float64), 0.0
        for image in range(5):
            matched = dict(pairs(case.targets, case.assignment, layer, image))
            for query in range(6):
                p = case.output.class_logits[layer, image, query].softmax(0)
                right = [matched[query]] if query in matched else [5, *case.maybe[image]]
                weight = 1.0 if query in matched else no_object
                total, weights = total - weight * sum(p[k] for k in right).log(), weights + weight
        plain = plain + total / weights
    ours = ClassificationLoss(no_object=no_object)(case.output, case.targets, case.assignment)
    same_with_gradients(ours["cross_entropy"], plain, case.output.class_logits)


@pytest.mark.parametrize("name", CASES)
def test_class_queries_learn_nothing_of_classes_that_may_be_there(name: str) -> None:
    sets, maybe, absent = CASES[name]
    output, targets = make_output(images=5, queries=5, dtype=torch.float64), make_targets(**sets)
    plain = torch.zeros((), dtype=torch.float64)
    for layer in range(2):
        total, weights = torch.zeros((), dtype=torch.float64), 0.0
        for image, query in itertools.product(range(5), range(5)):
            if query not in maybe[image]:
                right, weight = (5, 0.1) if query in absent[image] else (query, 1.0)
                total = total - weight * output.class_logits[layer, image, query].softmax(0)[right].log()
                weights += weight
        plain = plain + total / weights
    ours = ClassificationLoss()(output, targets, ClassQueries()(output, targets))["cross_entropy"]
    same_with_gradients(ours, plain, output.class_logits)


def test_classification_without_any_weight_is_zero() -> None:
    output, targets = make_output(), make_targets([[], []], [[], []])
    assignment = Assignment(torch.zeros(2, 2, 0, dtype=torch.int64))
    loss = ClassificationLoss(no_object=0.0)(output, targets, assignment)["cross_entropy"]
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, output.class_logits)[0].any()


def test_mask_loss_is_the_mean_over_base_masks(case: Case) -> None:
    output, targets = case.output, case.targets
    losses = []
    for layer, image in itertools.product(range(3), range(5)):
        label_map = targets.label_map[image]
        for query, label in pairs(targets, case.assignment, layer, image):
            if (label_map == label).any():
                logits = upsample(output.mask_logits[layer, image, query], label_map.shape)
                losses.append(plain_losses(logits, label_map == label))
    assert len(losses) == 3 * targets.mask_index.shape[1]
    ours = MaskLoss()(output, targets, case.assignment)
    for name, plain in zip(("focal", "dice"), zip(*losses, strict=True), strict=True):
        same_with_gradients(ours[name], 3 * sum(plain) / len(losses), output.mask_logits)


@pytest.mark.parametrize("by_class", [False, True])
def test_complement_loss_equals_a_loop_over_images(by_class: bool, case: Case) -> None:
    """Method section 4.3, image by image; images without masks are left out.

    So are those with classes that may be there or not, unless there is a query for each of these.
    """
    targets, assignment, output = case.targets, case.assignment, case.output
    if by_class:
        output = make_output(images=5, queries=5, layers=3, dtype=torch.float64)
        assignment = ClassQueries()(output, targets)
    masked = [i for i in range(5) if targets.annotated[i].any() and (by_class or not case.maybe[i])]
    counted = [i for i in masked if targets.tagged[i].any() or case.maybe[i]]
    losses = []
    for layer, image in itertools.product(range(3), counted):
        label_map = targets.label_map[image]
        queries = [q for q, label in pairs(targets, assignment, layer, image) if targets.tagged[image, label]]
        union = torch.full(label_map.shape, math.log(0.05 / 0.95), dtype=torch.float64)
        for query in [*queries, *case.maybe[image]]:
            union = torch.maximum(union, upsample(output.mask_logits[layer, image, query], label_map.shape))
        losses.append(plain_losses(union, (label_map == IGNORE) & ~targets.padding[image]))
    ours = ComplementLoss()(output, targets, assignment)
    plain = dict(zip(("focal", "dice"), (sum(x) / len(counted) for x in zip(*losses, strict=True)), strict=True))
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
    ours_grad, plain_grad = (torch.autograd.grad(sum(x.values()), output.mask_logits)[0] for x in (ours, plain))
    torch.testing.assert_close(ours_grad, plain_grad, rtol=1e-4, atol=1e-6)
    assert not ours_grad[:, [i for i in range(5) if i not in counted]].any()


def test_complement_of_an_image_without_base_is_everything_but_padding() -> None:
    targets = make_targets([[]], [[3]], padded_rows=4)  # 8 rows
    output = make_output(images=1, queries=1, layers=1, size=(8, 12))
    assignment = Assignment(torch.zeros(1, 1, 1, dtype=torch.int64))
    right = torch.full((1, 1, 1, 8, 12), -20.0)
    right[..., :4, :] = 20.0
    losses = ComplementLoss()(SegOutput(output.class_logits, right, output.pixel_embeddings), targets, assignment)
    # outside, the ignore plane still claims 5 %
    assert losses["focal"].item() == pytest.approx(0.5 * 0.75 * 0.05**2 * -math.log(0.95), rel=1e-3)
    assert losses["dice"].item() == pytest.approx(1 - (2 * 48 + 1) / (48 + 48 * 0.05 + 48 + 1), rel=1e-3)


@pytest.mark.parametrize("term", [MaskLoss, ComplementLoss])
def test_strided_terms_average_to_the_full_one(term: type[MaskLoss | ComplementLoss]) -> None:
    targets = make_targets(**MIXED, size=(8, 12))
    output = make_output(images=5)
    assignment = HungarianMatcher()(output, targets)
    full = term()(output, targets, assignment)["focal"]
    seen = {round(term(stride=2)(output, targets, assignment)["focal"].item(), 6) for _ in range(60)}
    assert len(seen) == 4  # one value per start of the lattice
    assert sum(seen) / 4 == pytest.approx(full.item(), rel=1e-4)


def test_absence_loss_refuses_proposals_that_are_not_assigned_by_class() -> None:
    output, targets = make_output(images=1, queries=5), make_targets([[0]], [[3]])
    with pytest.raises(ConfigError, match="class_queries"):
        AbsenceLoss()(output, targets, HungarianMatcher()(output, targets))


@pytest.mark.parametrize("name", CASES)
def test_absence_loss_is_the_focal_loss_of_absent_classes(name: str) -> None:
    sets, _, absent = CASES[name]
    output, targets = make_output(images=5, queries=5, dtype=torch.float64), make_targets(**sets)
    plain = [
        plain_losses(output.mask_logits[layer, image, query], torch.zeros(4, 6))[0]
        for layer in range(2)
        for image, queries in enumerate(absent)
        for query in queries
    ]
    ours = AbsenceLoss()(output, targets, ClassQueries()(output, targets))["focal"]
    same_with_gradients(ours, sum(plain) / sum(targets.counts), output.mask_logits)
