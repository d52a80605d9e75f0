"""Splits, batches and outputs. Target slots: tests/properties/test_targets.py."""

import pytest
import torch
from torch import Tensor

from weakshot_seg.structures import ClassSplit, Knowledge, SegOutput, WeakBatch, WeakSample

CLASSES = 6
NOVEL = torch.tensor([False, False, True, False, True, True])


@pytest.fixture
def batch() -> WeakBatch:
    samples = [
        WeakSample(
            image=torch.randint(0, 256, (3, 4, 5), dtype=torch.uint8),
            label_map=torch.randint(0, 2, (4, 5), dtype=torch.uint8),
            padding=torch.zeros(4, 5, dtype=torch.bool),
            states=torch.where(NOVEL, torch.randint(3, (CLASSES,)), Knowledge.MASK).to(torch.uint8),
            name=f"image {i}",
        )
        for i in range(3)
    ]
    return WeakBatch.collate(samples, NOVEL, paired=True)


def test_a_batch_keeps_order_names_and_pairing(batch: WeakBatch) -> None:
    assert batch.images.shape == (3, 3, 4, 5)
    assert batch.names == ("image 0", "image 1", "image 2")
    assert batch.targets.paired
    assert batch.targets.label_map.shape == batch.targets.padding.shape == (3, 4, 5)


def tensors(part: object) -> list[Tensor]:
    values = list(vars(part).values())
    return [v for v in values if isinstance(v, Tensor)] + [
        t for v in values if hasattr(v, "counts") for t in tensors(v)
    ]


def test_to_moves_every_tensor_and_keeps_the_rest(batch: WeakBatch) -> None:
    moved = batch.to("meta")
    assert len(tensors(moved)) == 11
    assert all(t.device.type == "meta" for t in tensors(moved))
    assert (moved.names, moved.targets.counts, moved.targets.paired) == (batch.names, batch.targets.counts, True)
    same = batch.to(torch.device("cpu"), non_blocking=True)
    assert all(torch.equal(a, b) for a, b in zip(tensors(batch), tensors(same), strict=True))


def test_pin_memory_reaches_every_tensor(batch: WeakBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[int] = []

    def pin_memory(tensor: Tensor) -> Tensor:
        pinned.append(id(tensor))
        return tensor

    monkeypatch.setattr(Tensor, "pin_memory", pin_memory)  # page-locked memory needs an accelerator
    assert torch.equal(batch.pin_memory().images, batch.images)
    assert sorted(pinned) == sorted(id(t) for t in tensors(batch))


def test_base_and_novel_partition_the_classes() -> None:
    split = ClassSplit(tuple("abcdef"), (5, 2, 4))
    assert split.num_classes == 6
    assert split.novel == (2, 4, 5)
    assert split.base == (0, 1, 3)
    assert split.novel_names == ("c", "e", "f")
    assert torch.equal(split.is_novel(), NOVEL)


@pytest.mark.parametrize(
    ("names", "novel", "message"),
    [
        (("a", "b", "a", "c", "c"), (), "given twice: a, c"),
        (("a", "b"), (2,), r"0\.\.1, got \[2\]"),
        (("a", "b"), (-1,), "distinct and in"),
        (("a", "b", "c"), (1, 1), "distinct"),
        (("a", "b"), (0, 1), "at least one base class"),
        ((), (), "0 classes"),
        (tuple(map(str, range(255))), (), "1 to 254"),
    ],
)
def test_impossible_splits_are_refused(names: tuple[str, ...], novel: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassSplit(names, novel)


def test_last_layer_of_an_output() -> None:
    output = SegOutput(torch.randn(3, 2, 4, 6), torch.randn(3, 2, 4, 5, 5), torch.randn(2, 8, 5, 5))
    last = output.last()
    assert torch.equal(last.class_logits, output.class_logits[2:])
    assert torch.equal(last.mask_logits, output.mask_logits[2:])
    assert last.pixel_embeddings is output.pixel_embeddings


@pytest.mark.parametrize("factored", [False, True])
def test_chosen_masks_and_pixels_are_parts_of_all_masks(factored: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(2, 3, 5, 4, dtype=torch.float64, generator=generator).requires_grad_()  # [L, B, Q, C]
    pixels = torch.randn(3, 4, 6, 7, dtype=torch.float64, generator=generator).requires_grad_()
    logits = torch.einsum("lbqc,bchw->lbqhw", embeddings, pixels)
    output = SegOutput(torch.zeros(2, 3, 5, 9), logits, pixels, embeddings if factored else None)
    queries = torch.randint(5, (2, 3, 2), generator=generator)
    points = torch.randint(42, (2, 3), generator=generator)

    of, at = output.masks_of(queries), output.masks_at(points)
    wanted_of = torch.stack([torch.stack([logits[x, b, queries[x, b]] for b in range(3)]) for x in range(2)])
    wanted_at = torch.stack([logits[-1, b].flatten(1)[:, points[b]].T for b in range(2)])
    torch.testing.assert_close(of, wanted_of)
    torch.testing.assert_close(at, wanted_at)
    wanted = torch.autograd.grad(wanted_of.sin().sum() + wanted_at.cos().sum(), [embeddings, pixels], retain_graph=True)
    got = torch.autograd.grad(of.sin().sum() + at.cos().sum(), [embeddings, pixels])
    torch.testing.assert_close(got, wanted)
    last = output.last()
    torch.testing.assert_close(last.masks_of(queries[-1:]), of[-1:])
    assert last.float().masks_at(points).dtype == torch.float32
