"""The criterion on any batch: finite, indifferent to the order of queries, to neighbours and to padding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from properties.batches import SEEDS, Batch, batches, say
from weakshot_seg.losses.assignments import ClassQueries, GpuHungarianMatcher, HungarianMatcher
from weakshot_seg.losses.criterion import Criterion
from weakshot_seg.losses.point_mask import PointMaskLoss
from weakshot_seg.losses.similarity import DISTILLATION, PixelSimilarityLoss
from weakshot_seg.losses.terms import AbsenceLoss, ClassificationLoss, ComplementLoss, LossTerm, MaskLoss
from weakshot_seg.models.simnet import SimNet

SCALES = st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e4])
KINDS = ("hungarian", "points", "gpu solver", "class queries")


def criterion(kind, history=25, distillation="cce", num_points=10):
    similarity = PixelSimilarityLoss(SimNet(3, 4, 2), num_points=num_points, distillation=distillation, history=history)
    terms: dict[str, LossTerm] = {"classification": ClassificationLoss()}
    if kind == "class queries":
        terms |= {"absence": AbsenceLoss(), "mask": MaskLoss(stride=2), "complement": ComplementLoss(stride=2)}
        assignment: nn.Module = ClassQueries()
    else:
        masks = PointMaskLoss(num_points=12) if kind == "points" else MaskLoss()
        terms |= {"mask": masks, "complement": ComplementLoss()}
        assignment = GpuHungarianMatcher() if kind == "gpu solver" else HungarianMatcher()
    return Criterion(assignment, terms | {"similarity": similarity})


def queries_of(kind, batch, spare=1):
    return len(batch.novel) + (0 if kind == "class queries" else spare)


def judge(module, output, targets):
    """The losses with the same random numbers and pair counts in every call."""
    torch.manual_seed(5)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    losses = module(output, targets)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            value.copy_(state[name])
    return losses


def assert_close(ours, theirs, without="nothing"):
    for name in ours.parts:
        if not name.startswith(without):
            torch.testing.assert_close(
                ours.parts[name], theirs.parts[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.mark.parametrize("distillation", DISTILLATION)
@pytest.mark.parametrize("kind", KINDS)
@given(batch=batches(), seed=SEEDS, scale=SCALES, stride=st.sampled_from([1, 4]))
def test_losses_and_gradients_are_finite(kind, distillation, batch, seed, scale, stride):
    module = criterion(kind, history=1, distillation=distillation)
    saying = say(batch, queries_of(kind, batch), seed, scale, stride)
    for _ in range(2):  # the second step weighs pairs by what the first has seen
        losses = module(saying.output(), batch.targets())
        assert losses.total.isfinite(), losses.parts
        assert all(value.isfinite() for value in losses.parts.values()), losses.parts
        assert all(gradient.isfinite().all() for gradient in saying.gradients(losses.total))
        trained = torch.autograd.grad(losses.total, list(module.parameters()), allow_unused=True)
        assert all(gradient is None or gradient.isfinite().all() for gradient in trained)
    assert all(value.isfinite().all() for value in module.state_dict().values())


@pytest.mark.parametrize("kind", ["hungarian", "points"])
@given(batch=batches(), seed=SEEDS, order=st.randoms(use_true_random=False))
def test_the_order_of_queries_is_of_no_account(kind, batch, seed, order):
    saying = say(batch, queries := queries_of(kind, batch, spare=3), seed)
    index = torch.tensor(sorted(range(queries), key=lambda _: order.random()))
    moved = replace(
        saying, class_logits=saying.class_logits[:, :, index], mask_embeddings=saying.mask_embeddings[:, :, index]
    )
    module, targets = criterion(kind), batch.targets()
    before, after = judge(module, saying.output(), targets), judge(module, moved.output(), targets)
    assert_close(before, after)
    for ours, theirs in zip(saying.gradients(before.total), saying.gradients(after.total), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def part_of(batch, images):
    maps, padding, states = (array[images] for array in (batch.label_maps, batch.padding, batch.states))
    return Batch(maps, padding, states, batch.novel, batch.paired)


def of_images(saying, images):
    embeddings = saying.mask_embeddings[:, images]
    return replace(
        saying, class_logits=saying.class_logits[:, images], mask_embeddings=embeddings,
        pixel_embeddings=saying.pixel_embeddings[images],
    ).output()  # fmt: skip


@pytest.mark.parametrize("kind", ["hungarian", "class queries"])
@given(batch=batches(most_images=3), seed=SEEDS)
def test_a_batch_is_the_sum_of_its_images(kind, batch, seed):
    """Each loss times what it is divided by: neighbours, and the empty slots they bring, change nothing of an image."""
    saying, module = say(batch, queries_of(kind, batch), seed), criterion(kind)

    def amounts(losses, targets):
        present = max(sum(targets.counts), 1)
        masks = max(targets.mask_index.shape[1], 1)
        covered = targets.annotated.any(1) & (
            targets.unlabelled.any(1) if kind == "class queries" else targets.tagged.any(1) & ~targets.unknown.any(1)
        )
        times = {"mask": masks, "complement": int(covered.sum()), "absence": present}
        return {
            name: value * times[term]
            for name, value in losses.parts.items()
            if (term := name.split("/")[0]) in times
        }  # fmt: skip

    whole = amounts(judge(module, saying.output(), batch.targets()), batch.targets())
    total = dict.fromkeys(whole, torch.zeros(()))
    for image in range(len(batch.states)):
        single = part_of(batch, slice(image, image + 1)).targets()
        alone = amounts(judge(module, of_images(saying, slice(image, image + 1)), single), single)
        total = {name: total[name] + alone[name] for name in whole}
    for name in whole:
        torch.testing.assert_close(whole[name], total[name], rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("kind", KINDS)
@given(batch=batches(), seed=SEEDS, more=st.integers(1, 3))
def test_empty_slots_are_of_no_account(kind, batch, seed, more):
    targets = batch.targets()
    fuller = replace(
        targets,
        classes=torch.nn.functional.pad(targets.classes, (0, more), value=-1),
        tag_slots=torch.nn.functional.pad(targets.tag_slots, (0, more), value=-1),
        unknown_classes=torch.nn.functional.pad(targets.unknown_classes, (0, more), value=-1),
    )
    saying, module = say(batch, queries_of(kind, batch, spare=4), seed), criterion(kind)
    first, second = (judge(module, saying.output(), t) for t in (targets, fuller))
    for name in first.parts:
        torch.testing.assert_close(first.parts[name], second.parts[name])


@given(batch=batches(least_size=5), seed=SEEDS)
def test_no_similarity_is_taught_on_padding(batch, seed):
    """Whatever the network says of padded pixels, as long as an image has enough others to draw from."""
    points = 5
    assume(((~batch.padding).sum((1, 2)) >= points).all())
    saying = say(batch, len(batch.novel), seed, stride=1)
    term, targets = criterion("class queries", num_points=points).terms["similarity"], batch.targets()
    noise = torch.randn(saying.pixel_embeddings.shape, generator=torch.Generator().manual_seed(seed))
    changed = saying.pixel_embeddings + 9 * noise * torch.from_numpy(batch.padding)[:, None]
    results = []
    for embeddings in (saying.pixel_embeddings, changed):
        output = replace(saying, pixel_embeddings=embeddings).output()
        results.append(judge(Criterion(ClassQueries(), {"similarity": term}), output, targets))
    for name in results[0].parts:
        assert torch.equal(results[0].parts[name], results[1].parts[name]), name
