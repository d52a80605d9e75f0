"""Classification, mask, complement and absence loss against naive per-image loops written from the method."""

import math

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


@pytest.fixture
def mixed() -> tuple[SegOutput, WeakTargets, Assignment]:
    output = make_output(images=5, queries=6, layers=3, dtype=torch.float64)
    targets = make_targets(**MIXED, size=(9, 13), padded_rows=2)
    return output, targets, HungarianMatcher()(output.float(), targets)


@pytest.mark.parametrize("no_object", [0.1, 1.0, 0.0])
def test_classification_is_weighted_cross_entropy(
    no_object: float, mixed: tuple[SegOutput, WeakTargets, Assignment]
) -> None:
    output, targets, assignment = mixed
    weight = torch.tensor([1.0] * 5 + [no_object], dtype=torch.float64)
    plain = torch.zeros((), dtype=torch.float64)
    for layer in range(3):
        labels = torch.full((5, 6), 5)
        for image in range(5):
            for query, label in pairs(targets, assignment, layer, image):
                labels[image, query] = label
        plain = plain + F.cross_entropy(output.class_logits[layer].flatten(0, 1), labels.flatten(), weight)
    ours = ClassificationLoss(no_object=no_object)(output, targets, assignment)
    assert set(ours) == {"cross_entropy"}
    same_with_gradients(ours["cross_entropy"], plain, output.class_logits)


def test_classification_without_any_weight_is_zero() -> None:
    output, targets = make_output(), make_targets([[], []], [[], []])
    assignment = Assignment(torch.zeros(2, 2, 0, dtype=torch.int64))
    loss = ClassificationLoss(no_object=0.0)(output, targets, assignment)["cross_entropy"]
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, output.class_logits)[0].any()


def test_mask_loss_is_the_mean_over_base_masks(mixed: tuple[SegOutput, WeakTargets, Assignment]) -> None:
    output, targets, assignment = mixed
    focal = dice = torch.zeros((), dtype=torch.float64)
    count = 0
    for image in range(5):
        label_map = targets.label_map[image]
        for layer in range(3):
            for query, label in pairs(targets, assignment, layer, image):
                if (label_map == label).any():
                    f, d = plain_losses(
                        upsample(output.mask_logits[layer, image, query], label_map.shape), label_map == label
                    )
                    focal, dice, count = focal + f, dice + d, count + (layer == 0)
    assert count == 6
    ours = MaskLoss()(output, targets, assignment)
    same_with_gradients(ours["focal"], focal / count, output.mask_logits)
    same_with_gradients(ours["dice"], dice / count, output.mask_logits)


def plain_complement(output: SegOutput, targets: WeakTargets, assignment: Assignment) -> tuple[Tensor, Tensor]:
    """Method section 4.3, image by image."""
    focal = dice = torch.zeros((), dtype=torch.float64)
    with_tags = [i for i in range(len(targets.label_map)) if targets.tagged[i].any()]
    for layer in range(len(output.mask_logits)):
        for image in with_tags:
            label_map = targets.label_map[image]
            union = torch.full(label_map.shape, math.log(0.05 / 0.95), dtype=torch.float64)
            for query, label in pairs(targets, assignment, layer, image):
                if targets.tagged[image, label]:
                    union = torch.maximum(union, upsample(output.mask_logits[layer, image, query], label_map.shape))
            region = (label_map == IGNORE) & ~targets.padding[image]
            f, d = plain_losses(union, region)
            focal, dice = focal + f, dice + d
    return focal / max(1, len(with_tags)), dice / max(1, len(with_tags))


def test_complement_loss_equals_a_loop_over_images(mixed: tuple[SegOutput, WeakTargets, Assignment]) -> None:
    output, targets, assignment = mixed
    ours = ComplementLoss()(output, targets, assignment)
    focal, dice = plain_complement(output, targets, assignment)
    torch.testing.assert_close(ours["focal"], focal, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours["dice"], dice, rtol=1e-4, atol=1e-5)
    (ours_grad,) = torch.autograd.grad(ours["focal"] + ours["dice"], output.mask_logits)
    (plain_grad,) = torch.autograd.grad(focal + dice, output.mask_logits)
    torch.testing.assert_close(ours_grad, plain_grad, rtol=1e-4, atol=1e-6)
    assert ours_grad[:, 3:].abs().sum() == 0  # images without a tag


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


def test_absence_loss_is_the_focal_loss_of_absent_classes() -> None:
    targets = make_targets(**MIXED)
    output = make_output(images=5, queries=5, dtype=torch.float64)
    plain = torch.zeros((), dtype=torch.float64)
    present = [{*base, *tags} for base, tags in zip(MIXED["base"], MIXED["tags"], strict=True)]
    for layer in range(2):
        for image in range(5):
            for absent in set(range(5)) - present[image]:
                logits = output.mask_logits[layer, image, absent]
                plain = plain + plain_losses(logits, torch.zeros_like(logits, dtype=torch.bool))[0]
    ours = AbsenceLoss()(output, targets, Assignment(targets.classes.clamp(min=0).expand(2, -1, -1), by_class=True))[
        "focal"
    ]
    same_with_gradients(ours, plain / sum(map(len, present)), output.mask_logits)


class TestImagesWithoutMasks:
    """Nothing is known of their pixels, and of base classes only what is tagged; classes 3 and 4 are novel."""

    WITHOUT = (1, 3, 4)
    BASE = ([0, 2], [], [], [], [])  # the third has a mask without a labelled pixel
    TAGS = ([3], [3], [4], [0, 4], [1])

    @pytest.fixture
    def targets(self) -> WeakTargets:
        return make_targets(self.BASE, self.TAGS, without_masks=self.WITHOUT)

    def test_complement_leaves_them_out(self, targets: WeakTargets) -> None:
        output = make_output(images=5, dtype=torch.float64)
        assignment = HungarianMatcher()(output.float(), targets)
        ours = ComplementLoss()(output, targets, assignment)
        rows = [0, 2]
        known = WeakTargets.collate(targets.label_map[rows], targets.padding[rows], targets.tagged[rows], targets.novel)
        part = SegOutput(output.class_logits[:, rows], output.mask_logits[:, rows], output.pixel_embeddings[rows])
        plain = plain_complement(part, known, Assignment(assignment.queries[:, rows]))
        for value, expected in zip(ours.values(), plain, strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)
        (gradient,) = torch.autograd.grad(ours["focal"] + ours["dice"], output.mask_logits)
        assert not gradient[:, self.WITHOUT].any()

    def test_classification_lets_proposals_be_base_classes(self, targets: WeakTargets) -> None:
        output = make_output(images=5, layers=1, dtype=torch.float64)
        assignment = HungarianMatcher()(output.float(), targets)
        total, weights = torch.zeros((), dtype=torch.float64), 0.0
        for image in range(5):
            matched = dict(pairs(targets, assignment, 0, image))
            maybe = set() if image not in self.WITHOUT else {0, 1, 2} - set(self.TAGS[image])
            for query in range(6):
                p = output.class_logits[0, image, query].softmax(0)
                right = [matched[query]] if query in matched else [5, *maybe]
                weight = 1.0 if query in matched else 0.1
                total, weights = total - weight * sum(p[k] for k in right).log(), weights + weight
        ours = ClassificationLoss()(output, targets, assignment)["cross_entropy"]
        same_with_gradients(ours, total / weights, output.class_logits)

    def test_absence_is_known_of_novel_classes_alone(self, targets: WeakTargets) -> None:
        output = make_output(images=5, queries=5, layers=1, dtype=torch.float64)
        absent = ({1, 4}, {4}, {0, 1, 2, 3}, {3}, {3, 4})
        plain = torch.zeros((), dtype=torch.float64)
        for image, classes in enumerate(absent):
            for query in classes:
                logits = output.mask_logits[0, image, query]
                plain = plain + plain_losses(logits, torch.zeros_like(logits, dtype=torch.bool))[0]
        ours = AbsenceLoss()(output, targets, ClassQueries()(output, targets))["focal"]
        same_with_gradients(ours, plain / 8, output.mask_logits)  # 3 + 1 + 1 + 2 + 1 labels
