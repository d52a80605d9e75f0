"""The pixel similarity loss: its parts against loops, and the whole against explicit pairs of sampled pixels."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from random_batches import make_output, make_targets
from weakshot_seg.losses import similarity
from weakshot_seg.losses.similarity import DISTILLATION, PixelSimilarityLoss
from weakshot_seg.models.simnet import SimNet
from weakshot_seg.structures import IGNORE, Assignment, SegOutput

NOBODY = Assignment(torch.zeros(1, 1, 0, dtype=torch.int64))
SIZE = (6, 8)


def build(**options: object) -> PixelSimilarityLoss:
    simnet = SimNet(embedding_dim=3, hidden_dim=4, num_blocks=2)
    return PixelSimilarityLoss(simnet, **{"num_points": 10, **options}).eval()


class Spy:
    """Records regions and points of every draw."""

    def __init__(self) -> None:
        self.draws: list[tuple[Tensor, Tensor]] = []

    def __call__(self, region: Tensor, count: int, padding: Tensor) -> Tensor:
        points = torch.stack([torch.randperm(region.shape[1])[:count] for _ in region])
        points[:, 0] = region.float().argmax(1)  # at least one from the region, if there is one
        self.draws.append((region, points))
        return points


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    spy = Spy()
    monkeypatch.setattr(similarity, "sample_points", spy)
    return spy


def shrink(label_map: Tensor) -> list[int]:
    height, width = label_map.shape
    return [int(label_map[y * height // SIZE[0], x * width // SIZE[1]]) for y in range(SIZE[0]) for x in range(SIZE[1])]


def explicit(simnet: SimNet, first: Tensor, second: Tensor) -> float:
    """P(same) of one pair by SimNet, which tests/models/test_simnet.py compares with its formula."""
    return simnet(first[None, None], second[None, None]).softmax(-1)[0, 0, 0, 1].item()


def plain_scores(output: SegOutput, image: int, novel: list[int]) -> np.ndarray:
    """Novel class scores of every pixel: [hw, novel classes]."""
    classes = output.class_logits[-1, image].detach().softmax(-1).numpy()
    masks = output.mask_logits[-1, image].detach().flatten(1).sigmoid().numpy()
    return np.array([[sum(classes[:, c] * masks[:, x]) for c in novel] for x in range(masks.shape[1])])


def plain_cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))


@pytest.mark.parametrize("student_pairs", ["cross", "within"])
@pytest.mark.parametrize("distillation", ["ce", "cce", "b0.5"])
def test_the_whole_loss_equals_loops_over_sampled_pairs(student_pairs: str, distillation: str, spy: Spy) -> None:
    loss = build(num_points=5, student_pairs=student_pairs, distillation=distillation)
    targets = make_targets(  # pairs: share base 2 and tag 4; share tag 3 only; share a base class only; odd image
        [[0, 2], [1, 2], [], [1], [0], [0], [0, 1]],
        [[4], [3, 4], [3], [3], [3], [4], [3, 4]],
        size=(12, 16),
        padded_rows=3,
        paired=True,
    )
    output = make_output(images=7, layers=1, size=SIZE)
    values = loss(output, targets, NOBODY)

    (inside, points_in), (outside, points_out), (region, points_novel) = spy.draws
    labels = [shrink(m) for m in targets.label_map[:6]]
    padded = [shrink(p) for p in targets.padding[:6]]
    common = [2, 2, None, None, 0, 0]
    for image in range(6):
        for pixel in range(48):
            label, pad = labels[image][pixel], bool(padded[image][pixel])
            chosen = label != IGNORE if common[image] is None else label == common[image]
            assert inside[image, pixel] == chosen
            assert outside[image, pixel] == (not chosen and not pad)
            assert region[image, pixel] == (label == IGNORE and not pad)
    assert (points_in.shape[1], points_out.shape[1], points_novel.shape[1]) == (4, 1, 5)

    embeddings = output.pixel_embeddings.flatten(2)
    points = torch.cat([points_in, points_out], dim=1).tolist()
    entries = []
    for image in range(6):
        other = image ^ 1
        for a in points[image]:
            for b in points[other]:
                same = labels[image][a] == labels[other][b]
                counted = labels[image][a] != IGNORE or labels[other][b] != IGNORE
                entries.append((same, counted, explicit(loss.simnet, embeddings[image, :, a], embeddings[other, :, b])))
    positives, negatives = 1 + sum(e[0] for e in entries), 1 + sum(not e[0] for e in entries)
    weight = {True: negatives / (positives + negatives), False: positives / (positives + negatives)}
    counted_losses = [-weight[same] * math.log(p if same else 1 - p) for same, counted, p in entries if counted]
    assert values["base"].item() == pytest.approx(sum(counted_losses) / len(counted_losses), rel=1e-4)
    right = [(p > 0.5) == same for same, counted, p in entries if counted]
    assert loss.diagnostics()["pairs/accuracy"].item() == pytest.approx(sum(right) / len(right))

    scores = [plain_scores(output, image, [3, 4]) for image in range(4)]
    novel_points = points_novel.tolist()
    total = 0.0
    for image in range(4):  # the third pair shares no novel class
        other = image ^ 1
        for a in novel_points[image]:
            for j, b in enumerate(novel_points[other]):
                teacher = explicit(loss.simnet, embeddings[image, :, a], embeddings[other, :, b])
                of = image if student_pairs == "within" else other
                student = plain_cosine(scores[image][a], scores[of][novel_points[of][j]])
                pair = DISTILLATION[distillation](torch.tensor(teacher), torch.tensor(student).relu())
                total += pair.item() / 25
    assert values["novel"].item() == pytest.approx(total / 4, rel=1e-4)


def test_sim_loss_trains_simnet_alone_and_dist_loss_spares_it() -> None:
    loss, output = build(), make_output(size=SIZE)
    targets = make_targets([[0], [0]], [[3], [3]], paired=True)
    values = loss.train()(output, targets, NOBODY)
    leaves = [output.class_logits, output.mask_logits, output.pixel_embeddings, *loss.simnet.parameters()]
    base = torch.autograd.grad(values["base"], leaves, allow_unused=True)
    novel = torch.autograd.grad(values["novel"], leaves, allow_unused=True)
    assert base[:3] == (None, None, None)
    assert all(g is not None and g.isfinite().all() for g in base[3:])
    assert all(g is not None and g.abs().sum() > 0 for g in novel[:2])
    assert all(g is None for g in novel[2:])


@pytest.mark.parametrize(
    ("base", "tags", "paired", "zero"),
    [
        ([[0], [0]], [[3], [4]], True, {"novel"}),  # no shared novel class
        ([[0], [0]], [[], []], True, {"novel"}),
        ([[0], [0], [0], [0]], [[3], [4], [4], [3]], True, {"novel"}),  # shared across pairs, not within
        ([[], []], [[3], [3]], True, {"base"}),  # no pair with a base pixel
        ([[], []], [[0, 3], [0, 4]], True, {"base", "novel"}),  # share the tag of a base class
        ([[0]], [[3]], True, {"base", "novel"}),
        ([[0], [0]], [[3], [3]], False, {"base", "novel"}),
    ],
)
def test_parts_without_pairs_are_zero(
    base: list[list[int]], tags: list[list[int]], paired: bool, zero: set[str]
) -> None:
    values = build()(make_output(images=len(base), size=SIZE), make_targets(base, tags, paired=paired), NOBODY)
    assert {name for name, value in values.items() if value.item() == 0} == zero
    (values["base"] + values["novel"]).backward()


@pytest.mark.parametrize(
    ("states", "taught"),
    [
        (("MMAPA", "MMMPA"), True),
        (("AAAPA", "MMMPU"), True),  # no mask, but no base class either
        (("MMUPA", "MMMPA"), False),
        (("MMMPA", "MPMPA"), False),
        (("MMMPA", "MMMUA"), False),  # it may have no novel class in common
    ],
)
def test_similarity_is_distilled_where_no_unlabelled_pixel_can_be_base(states: tuple[str, str], taught: bool) -> None:
    targets = make_targets([[], []], states=states, paired=True)
    assert (build()(make_output(size=SIZE), targets, NOBODY)["novel"].item() != 0) == taught


@pytest.mark.parametrize("without_masks", [(2,), (3,), (2, 3)])
def test_pairs_without_masks_count_for_nothing(without_masks: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """A pixel without a mask may be of the other one's base class: "different" would be a wrong lesson."""
    monkeypatch.setattr(similarity, "sample_points", lambda region, count, padding: region.float().topk(count).indices)
    base, tags = [[0, 1], [0, 2], [1], [1]], [[3], [3], [3, 4], [3, 4]]
    output = make_output(images=4, layers=1, size=SIZE)
    results = []
    for images in (4, 2):
        torch.manual_seed(1)
        targets = make_targets(
            base[:images], tags[:images], paired=True, without_masks=without_masks if images == 4 else ()
        )
        torch.manual_seed(2)
        loss = build(history=3)
        part = SegOutput(output.class_logits, output.mask_logits, output.pixel_embeddings)
        if images == 2:
            part = SegOutput(part.class_logits[:, :2], part.mask_logits[:, :2], part.pixel_embeddings[:2])
        values = loss(part, targets, NOBODY)
        results.append([*(value.item() for value in values.values()), *loss.balance.counts.flatten().tolist()])
    assert results[0] == pytest.approx(results[1], rel=1e-5)
    assert all(value != 0 for value in results[0][:2])


def test_a_pair_counts_where_its_equality_is_known(spy: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an unlabelled pixel only the tagged and unknown classes of its image can be true, or none at all."""
    states = ["MMMPA", "MAMPA", "MUUPA", "UMMAP", "AMMUU", "PUMAA", "UUPPU", "AAAPP"]
    base = [[0, 1, 2], [0, 2], [0], [1, 2], [1, 2], [2], [], []]
    targets = make_targets(base, states=states, size=SIZE, paired=True)
    calls: list[tuple[Tensor, ...]] = []
    monkeypatch.setattr(similarity, "pair_loss", lambda logits, *rest: calls.append(rest) or logits.sum())
    loss = build(num_points=20)
    monkeypatch.setattr(loss.balance, "forward", lambda same, known: known)
    loss(make_output(images=8, layers=1, size=SIZE), targets, NOBODY)
    ((same, counted, in_balance),) = calls
    points = torch.cat([spy.draws[0][1], spy.draws[1][1]], dim=1).tolist()

    def possible(image: int, pixel: int) -> set[int]:
        label = int(targets.label_map[image].flatten()[pixel])
        return {label} if label != IGNORE else {c for c, s in enumerate(states[image]) if s in "PU"} | {IGNORE}

    kinds = set()
    for image in range(8):
        other = image ^ 1
        closed = not any(s in "PU" for i in (image, other) for s in states[i][:3])  # in both, base pixels have labels
        for i, a in enumerate(points[image]):
            for j, b in enumerate(points[other]):
                first, second = possible(image, a), possible(other, b)
                labelled = len(first) == 1 and IGNORE not in first, len(second) == 1 and IGNORE not in second
                known = any(labelled) and (not first & second or first == second)
                assert counted[image, i, j] == known
                assert in_balance[image, i, j] == (known or closed)
                assert not known or same[image, i, j] == (first == second)
                kinds.add((known, any(labelled), closed))
    assert len(kinds) == 5  # with a label in every way, without one never known
