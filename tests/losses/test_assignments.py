"""Assignment against explicit costs and brute force over all permutations."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from random_batches import make_output, make_targets, states_by_tags
from weakshot_seg.errors import ConfigError
from weakshot_seg.losses import assignments
from weakshot_seg.losses.assignments import ClassQueries, GpuHungarianMatcher, HungarianMatcher
from weakshot_seg.structures import IGNORE, SegOutput, WeakTargets


def plain_cost(
    output: SegOutput, targets: WeakTargets, layer: int, image: int, weights: tuple[float, ...] = (1.0, 20.0, 1.0)
) -> np.ndarray:
    """Method section 3 by loops: [Q, n targets] of one image; targets are base classes, then tags, ascending."""
    logits = output.class_logits[layer, image].detach().double().numpy()
    masks = output.mask_logits[layer, image].detach().double().numpy()
    label_map = targets.label_map[image].numpy()
    height, width = masks.shape[1:]
    rows = [y * label_map.shape[0] // height for y in range(height)]
    columns = [x * label_map.shape[1] // width for x in range(width)]
    small = label_map[np.ix_(rows, columns)]
    present = sorted(set(label_map.flatten().tolist()) - {IGNORE})
    classes = present + [c for c in range(logits.shape[1] - 1) if targets.tagged[image, c]]
    cost = np.zeros((len(logits), len(classes)))
    for q in range(len(logits)):
        probability = np.exp(logits[q]) / np.exp(logits[q]).sum()
        p = 1 / (1 + np.exp(-masks[q]))
        for n, c in enumerate(classes):
            cost[q, n] = -weights[0] * probability[c]
            y = small == c
            if y.any():
                focal = np.where(y, -0.25 * (1 - p) ** 2 * np.log(p), -0.75 * p**2 * np.log(1 - p)).mean()
                dice = 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
                cost[q, n] += weights[1] * focal + weights[2] * dice
    return cost


def best(cost: np.ndarray) -> list[int]:
    """The query of each target, by all permutations."""
    choices = itertools.permutations(range(len(cost)), cost.shape[1])
    return list(min(choices, key=lambda chosen: math.fsum(cost[q, n] for n, q in enumerate(chosen))))


MIXED = {"base": [[0, 2], [1], [], [0, 1, 2], [0, 1, 2]], "tags": [[3], [3, 4], [4], [], [3, 4]]}


@pytest.mark.parametrize("weights", [(1.0, 20.0, 1.0), (2.0, 0.0, 3.0)])
def test_cost_equals_explicit_loops(weights: tuple[float, float, float]) -> None:
    targets = make_targets(**MIXED, size=(9, 13))  # not a multiple of the logits' 4 x 6
    output = make_output(images=5, queries=6)
    cost = HungarianMatcher(*weights).cost(output, targets).detach().numpy()
    for layer in range(2):
        for image, count in enumerate(targets.counts):
            expected = plain_cost(output, targets, layer, image, weights)
            np.testing.assert_allclose(cost[layer, image, :, :count], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("matcher", [HungarianMatcher(), GpuHungarianMatcher()])
def test_assignment_is_the_best_of_all_permutations(matcher: HungarianMatcher) -> None:
    targets = make_targets(**MIXED)
    output = make_output(images=5, queries=5, layers=3)  # the last image has as many classes
    assignment = matcher(output, targets)
    assert assignment.queries.shape == (3, 5, targets.classes.shape[1])
    assert assignment.queries.dtype == torch.int64
    assert 0 <= assignment.queries.min() <= assignment.queries.max() < 5
    for layer in range(3):
        for image, count in enumerate(targets.counts):
            assert assignment.queries[layer, image, :count].tolist() == best(plain_cost(output, targets, layer, image))


def test_a_mask_that_vanishes_at_low_resolution_counts_as_none_and_keeps_its_place() -> None:
    label_map = torch.zeros(1, 16, 24, dtype=torch.uint8)
    label_map[:, 8:] = 2
    label_map[0, 5, 5] = 1  # not on the grid of every fourth pixel
    novel = torch.arange(4) == 3
    states = states_by_tags(novel[None], novel)
    targets = WeakTargets.collate(label_map, torch.zeros(1, 16, 24, dtype=torch.bool), states, novel)
    assert targets.classes.tolist() == [[0, 1, 2, 3]]
    output, matcher = make_output(images=1, classes=4, queries=4, layers=1, size=(4, 6)), HungarianMatcher()
    probability = output.class_logits.softmax(-1)
    torch.testing.assert_close(matcher.cost(output, targets)[0, 0, :, 1], -probability[0, 0, :, 1])
    assert matcher(output, targets).queries[0, 0].tolist() == best(plain_cost(output, targets, 0, 0))


def test_more_targets_than_queries_is_an_error_that_names_the_remedy() -> None:
    with pytest.raises(ConfigError, match=r"4 classes, .* 3 queries.*num_queries=4"):
        HungarianMatcher()(make_output(queries=3), make_targets([[0], [0, 1, 2]], [[3], [4]]))


def test_class_query_k_answers_for_class_k() -> None:
    assignment = ClassQueries()(make_output(queries=5, layers=3), make_targets([[0, 2], [1]], [[4], []]))
    assert assignment.queries[:, 0].tolist() == 3 * [[0, 2, 4]]
    assert (assignment.queries[:, 1, 0] == 1).all()
    assert 0 <= assignment.queries.min() <= assignment.queries.max() < 5


@pytest.mark.parametrize("queries", [4, 6])
def test_any_other_number_of_class_queries_is_an_error(queries: int) -> None:
    with pytest.raises(ConfigError, match=f"num_queries must be null or 5, not {queries}"):
        ClassQueries()(make_output(queries=queries), make_targets([[0], [1]], [[], []]))


@pytest.mark.parametrize("matcher", [HungarianMatcher(), GpuHungarianMatcher()])
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_an_image_that_is_not_finite_does_not_disturb_the_others(matcher: HungarianMatcher, wrong: float) -> None:
    targets, output = make_targets(**MIXED, size=(9, 13)), make_output(images=5, queries=6)
    expected = matcher(output, targets).queries
    for name in ("class_logits", "mask_logits"):
        logits = getattr(output, name).detach().clone()
        logits[:, 1] = wrong
        queries = matcher(replace(output, **{name: logits}), targets).queries
        assert torch.equal(queries[:, [0, 2, 3, 4]], expected[:, [0, 2, 3, 4]])
        for row in queries[:, 1, : targets.counts[1]].tolist():
            assert len(set(row)) == targets.counts[1]
            assert set(row) <= set(range(6))


def test_gpu_matcher_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignments, "batch_linear_assignment", None)
    with pytest.raises(ConfigError, match=r"weakshot-seg\[gpu\]"):
        GpuHungarianMatcher()
