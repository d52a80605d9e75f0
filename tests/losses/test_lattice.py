"""The pixel lattice against plain bilinear upsampling and slicing."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from weakshot_seg.losses.lattice import PixelLattice
from weakshot_seg.structures import SegOutput

MakeOutput = Callable[..., SegOutput]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(16, 24), (15, 23), (17, 9), (3, 2), (4, 6)])
def test_upsample_is_bilinear_at_the_lattice(stride: int, size: tuple[int, int], make_output: MakeOutput) -> None:
    output = make_output(images=3, queries=5, layers=2, size=(4, 6), dtype=torch.float64)
    image = torch.tensor([2, 0, 0, 1])
    queries = torch.randint(5, (2, 4))
    full = F.interpolate(output.mask_logits.flatten(0, 1), size, mode="bilinear", align_corners=False)
    full = full.unflatten(0, (2, 3))
    for top in range(min(stride, size[0])):
        for left in range(min(stride, size[1])):
            lattice = PixelLattice(size, slice(top, None, stride), slice(left, None, stride))
            got = lattice.upsample(output, image, queries)
            for layer in range(2):
                for m in range(4):
                    plain = full[layer, image[m], queries[layer, m], top::stride, left::stride]
                    torch.testing.assert_close(got[layer, m], plain, rtol=1e-10, atol=1e-10)


def test_upsample_passes_gradients_like_interpolate(make_output: MakeOutput) -> None:
    output = make_output(images=1, queries=2, layers=1, size=(3, 5), dtype=torch.float64)
    lattice = PixelLattice.draw((7, 11), 1)
    weight = torch.randn(7, 11, dtype=torch.float64)
    (lattice.upsample(output, torch.tensor([0]), torch.tensor([[1]])) * weight).sum().backward()
    plain = output.mask_logits.detach().clone().requires_grad_()
    (F.interpolate(plain[:, :, 1], (7, 11), mode="bilinear", align_corners=False) * weight).sum().backward()
    torch.testing.assert_close(output.mask_logits.grad, plain.grad)


def test_pick_takes_the_same_pixels_as_upsample() -> None:
    rows = torch.arange(5.0)[:, None].expand(5, 7)
    lattice = PixelLattice((5, 7), slice(1, None, 2), slice(2, None, 3))
    assert lattice.pick(rows).tolist() == [[1, 1], [3, 3]]


def test_stride_one_takes_every_pixel_without_drawing_a_random_number() -> None:
    before = torch.get_rng_state()
    lattice = PixelLattice.draw((3, 4), 1)
    assert lattice.pick(torch.ones(3, 4)).sum() == 12
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("stride", [2, 3])
def test_over_the_steps_all_pixels_come_up_equally_often(stride: int) -> None:
    size = (6, 9)
    counts: Counter[int] = Counter()
    pixels = torch.arange(54).view(size)
    draws = 600
    for _ in range(draws):
        counts.update(PixelLattice.draw(size, stride).pick(pixels).flatten().tolist())
    assert len(counts) == 54
    expected = draws / stride**2
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())
