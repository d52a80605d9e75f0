"""Semantic inference against explicit sums."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from random_batches import make_output
from weakshot_seg.inference import semantic
from weakshot_seg.inference.semantic import ProposalScores, best_class, contenders, scores_of, semantic_scores
from weakshot_seg.structures import SegOutput

ALL = slice(None)


@pytest.mark.parametrize("gamma", [None, 0.0, 0.5, 2.0])
def test_scores_are_gated_sums_over_the_proposals(gamma: float | None) -> None:
    class_logits = torch.randn(2, 4, 6, dtype=torch.float64)
    mask_logits = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    presence = 3 * torch.randn(2, 5, dtype=torch.float64)
    output = SegOutput(class_logits[None], mask_logits[None], torch.zeros(1))
    if gamma is not None:
        output = replace(output, presence_logits=presence, presence_gamma=gamma)
    scores = semantic_scores(output.class_scores(), mask_logits.float())
    assert scores.shape == (2, 5, 3, 5)
    for b, c, y, x in torch.cartesian_prod(*map(torch.arange, scores.shape)).tolist():
        total = 0.0
        for q in range(4):
            exponentials = [math.exp(v) for v in class_logits[b, q].tolist()]
            probability = exponentials[c] / sum(exponentials)  # "no object" takes its share
            total += probability / (1 + math.exp(-mask_logits[b, q, y, x].item()))
        gate = (1 / (1 + math.exp(-presence[b, c].item()))) ** (gamma or 0.0)
        assert scores[b, c, y, x].item() == pytest.approx(gate * total, rel=1e-5)


def test_a_class_that_is_always_there_keeps_its_scores() -> None:
    """Such as the background; and one that never is goes, without a number that cannot be."""
    plain = make_output(classes=3)
    gated = replace(plain, presence_logits=torch.tensor([[30.0, 0.0, -1e4]] * 2), presence_gamma=0.5)
    ours, theirs = gated.class_scores(), plain.class_scores()
    assert torch.equal(ours[..., 0], theirs[..., 0])
    torch.testing.assert_close(ours[..., 1], theirs[..., 1] / math.sqrt(2))
    assert (ours[..., 2] == 0).all()


def test_the_best_of_some_classes() -> None:
    scores = ProposalScores(torch.rand(5, 6), torch.randn(5, 6, 8), (24, 32), (20, 30))
    planes = scores(ALL, (20, 30))
    planes[[0, 2, 3, 5]] = -1
    assert torch.equal(best_class(scores, (20, 30), candidates=(1, 4))[0].long(), planes.argmax(0))


@pytest.mark.parametrize(("content", "size"), [((16, 24), (16, 24)), ((13, 20), (13, 20)), ((13, 20), (29, 41))])
def test_masks_are_upsampled_cropped_and_scores_resized(content: tuple[int, int], size: tuple[int, int]) -> None:
    output = make_output(size=(4, 6), layers=3)
    got = scores_of(output, (16, 24), [(16, 24), content])[1](ALL, size)
    masks = F.interpolate(output.mask_logits[2, 1:], (16, 24), mode="bilinear", align_corners=False)
    scores = semantic_scores(output.class_scores()[1:], masks)[:, :, : content[0], : content[1]]
    expected = F.interpolate(scores, size, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
@pytest.mark.parametrize("size", [(9, 11), (23, 5)])
def test_classes_in_chunks_give_the_argmax_over_all(
    size: tuple[int, int], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scores,) = scores_of(make_output(images=1, classes=7, size=(4, 6)), (16, 24), [(13, 20)])
    monkeypatch.setattr(semantic, "SCORES_AT_ONCE", chunk * 13 * 20)
    winner = best_class(scores, size)[0]
    assert torch.equal(winner.long(), scores(ALL, size).argmax(0))
    assert len(winner.unique()) > 2


@pytest.mark.parametrize("at_once", [1, 40 * 50 * 60, 2**26])
@pytest.mark.parametrize("native", [(12, 16), (1, 16), (12, 1)])
def test_classes_that_cannot_win_are_left_out(
    native: tuple[int, int], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semantic, "SCORES_AT_ONCE", at_once)
    output = make_output(images=1, classes=40, queries=12, size=(3, 4))
    with torch.no_grad():
        output.class_logits.mul_(3)
    (scores,) = scores_of(output, (12, 16), [native])
    size = (50, 60)
    every = scores(ALL, size)
    few = contenders(scores, size)
    assert set(every.argmax(0).unique().tolist()) <= set(few)
    assert len(few) < 30
    assert few == sorted(few)
    winner, best = best_class(scores, size)
    assert torch.equal(winner.long(), every.argmax(0))
    torch.testing.assert_close(best, every.amax(0))  # a product of other shape rounds otherwise
    assert len(contenders(scores, native)) == 40


@pytest.mark.parametrize("chunk", [1, 2, 6])
def test_the_first_of_equal_classes_wins(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semantic, "SCORES_AT_ONCE", chunk * 16)
    class_scores = torch.tensor([[0.0, 0.3, 0.1, 0.3, 0.3]])
    scores = ProposalScores(class_scores, torch.randn(1, 4, 4), (4, 4), (4, 4))
    assert (best_class(scores, (4, 4))[0] == 1).all()


def test_scores_of_all_classes_are_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semantic, "SCORES_AT_ONCE", 20 * 60 * 70)
    (scores,) = scores_of(make_output(classes=200, images=1, size=(4, 6)), (16, 24), [(16, 20)])
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    with torch.no_grad(), Watch():
        best_class(scores, (60, 70))
    assert 15 * 60 * 70 <= largest <= 20 * 60 * 70
