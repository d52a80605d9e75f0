"""Parts of the pixel similarity loss: sampling, pair loss, distillation, balance, and SimNet's quality."""

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from weakshot_seg.losses.similarity import (
    DISTILLATION,
    BalanceWeights,
    choose_class,
    cosine,
    pair_loss,
    pair_quality,
    sample_points,
)


def test_pair_loss_equals_balanced_cross_entropy_over_counted_pairs() -> None:
    logits = torch.randn(2, 4, 5, 2, dtype=torch.float64, requires_grad=True)
    same, counted = torch.rand(2, 4, 5) > 0.5, torch.rand(2, 4, 5) > 0.3
    weights = torch.tensor([0.2, 0.8], dtype=torch.float64)
    total, number = 0.0, 0
    for b, i, j in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(5)).tolist():
        if counted[b, i, j]:
            different, equal = logits[b, i, j].tolist()
            p = math.exp(equal) / (math.exp(equal) + math.exp(different))
            total += -0.8 * math.log(p) if same[b, i, j] else -0.2 * math.log(1 - p)
            number += 1
    assert pair_loss(logits, same, counted, weights).item() == pytest.approx(total / number)
    assert torch.autograd.gradcheck(lambda x: pair_loss(x, same, counted, weights), logits)


def test_no_counted_pair_is_zero_with_a_gradient() -> None:
    logits = torch.randn(3, 3, 2, requires_grad=True)
    nothing = torch.zeros(3, 3, dtype=torch.bool)
    loss = pair_loss(logits, nothing, nothing, torch.tensor([0.5, 0.5]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize(
    ("kind", "teacher", "student", "expected"),
    [
        ("ce", 0.8, 0.3, -0.8 * math.log(0.3) - 0.2 * math.log(0.7)),
        ("ce", 1.0, 0.0, -0.99 * math.log(0.01) - 0.01 * math.log(0.99)),
        ("ce", 0.0, 1.0, -0.01 * math.log(0.99) - 0.99 * math.log(0.01)),
        ("cce", 0.9, 0.5, -0.4 * math.log(1.5)),
        ("cce", 0.2, 0.5, -0.3 * math.log(1.5)),
        ("cce", 0.1, 0.0, -0.4 * math.log(2)),
        ("cce", 0.5, 0.7, 0.0),
        ("b0.5", 0.9, 0.5, -0.2),
        ("b0.5", 0.1, 0.5, 0.2),
    ],
)
def test_distillation_by_hand(kind: str, teacher: float, student: float, expected: float) -> None:
    value = DISTILLATION[kind](*torch.tensor([teacher, student], dtype=torch.float64))
    assert value.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", sorted(DISTILLATION))
def test_gradient_pulls_the_student_to_the_teachers_side(kind: str) -> None:
    teacher = torch.tensor([0.9, 0.1], dtype=torch.float64)
    student = torch.tensor([0.4, 0.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: DISTILLATION[kind](teacher, s), student)
    DISTILLATION[kind](teacher, student).sum().backward()
    assert student.grad is not None
    assert student.grad[0] < 0 < student.grad[1]


def test_balance_weights_are_the_other_kinds_share_of_the_last_steps() -> None:
    balance = BalanceWeights(history=4)
    pairs = [torch.rand(3, 5, 5) > share for share in (0.9, 0.5, 0.2, 0.7, 0.1, 0.6)]
    for step, same in enumerate(pairs):
        weights = balance(same)
        recent = pairs[max(0, step - 3) : step + 1]
        initial = 1 if step < 3 else 0  # the entry before the first step is the oldest of four
        positives = initial + sum(int(p.sum()) for p in recent)
        negatives = initial + sum(int((~p).sum()) for p in recent)
        total = positives + negatives
        assert weights.tolist() == pytest.approx([positives / total, negatives / total])


def test_cosine_of_all_pairs() -> None:
    first, second = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    expected = F.cosine_similarity(first[:, :, None], second[:, None], dim=-1)
    torch.testing.assert_close(cosine(first, second), expected)


def test_points_are_distinct_inside_the_region_and_equally_frequent() -> None:
    region = torch.zeros(2000, 20, dtype=torch.bool)
    region[:, ::2] = True
    points = sample_points(region, 2, torch.zeros_like(region))
    assert (points.shape, points.dtype) == ((2000, 2), torch.int64)
    assert (points[:, 0] != points[:, 1]).all()
    share = torch.bincount(points.flatten(), minlength=20) / 2000
    assert not share[1::2].any()
    torch.testing.assert_close(share[::2], torch.full((10,), 0.2), atol=0.04, rtol=0)


def test_a_small_region_is_taken_whole_and_the_rest_comes_from_anywhere() -> None:
    region = torch.zeros(50, 100, dtype=torch.bool)
    region[:, [3, 77, 78]] = True
    points = sample_points(region, 10, torch.zeros_like(region))
    others: set[int] = set()
    for row in points.tolist():
        assert len(set(row)) == 10
        assert {3, 77, 78} <= set(row)
        others |= set(row) - {3, 77, 78}
    assert len(others) > 90


def test_padding_is_drawn_last() -> None:
    region, padding = torch.zeros(20, 100, dtype=torch.bool), torch.zeros(20, 100, dtype=torch.bool)
    region[:, :3], padding[:, 10:] = True, True
    assert all(set(row) < set(range(10)) for row in sample_points(region, 9, padding).tolist())
    assert all(set(row) > set(range(10)) for row in sample_points(region, 11, padding).tolist())


def test_choose_class_is_uniform_among_the_candidates() -> None:
    candidates = torch.zeros(6000, 7, dtype=torch.bool)
    candidates[:, [1, 4, 6]] = True
    counts = torch.bincount(choose_class(candidates), minlength=7)
    assert counts[[0, 2, 3, 5]].sum() == 0
    assert (counts[[1, 4, 6]] > 1800).all()
    assert choose_class(torch.tensor([[False, False], [False, True]])).tolist() == [-1, 1]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("bias", [-100.0, 0.0, 100.0])
def test_quality_equals_scikit_learn(share: float, bias: float) -> None:
    """Also where one kind of pairs does not occur, or is never predicted."""
    logits, same, counted = torch.randn(4, 6, 7, 2), torch.rand(4, 6, 7) < share, torch.rand(4, 6, 7) < 0.6
    logits[..., 1] += bias
    quality = pair_quality(logits, same, counted)
    truth, decided = same[counted].int().numpy(), logits[counted].argmax(-1).numpy()
    columns = precision_recall_fscore_support(truth, decided, labels=[0, 1], zero_division=float("nan"))
    expected = {
        f"{name}_{kind}": torch.tensor(column[index], dtype=torch.float32)
        for name, column in zip(("precision", "recall", "f1"), columns, strict=False)
        for index, kind in enumerate(("dissimilar", "similar"))
    }
    expected["accuracy"] = torch.tensor(accuracy_score(truth, decided), dtype=torch.float32)
    torch.testing.assert_close(quality, expected, equal_nan=True)
    nothing = pair_quality(logits, same, torch.zeros_like(counted))
    assert all(value.isnan() for value in nothing.values())
