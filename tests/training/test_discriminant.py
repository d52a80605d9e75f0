"""Linear discriminant analysis against scikit-learn's and against known Gaussians."""

import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from weakshot_seg.structures import IGNORE
from weakshot_seg.training.discriminant import WIDTH, Discriminant

CENTRES = torch.tensor([[0.0, 0.0, 0.0], [9.0, 0.0, 5.0], [9.0, 8.0, 0.0], [2.0, 9.0, 6.0]])
GROUND, DOG, PERSON, CAT = range(4)
SIDE = 12


def pixels_of(label_maps: Tensor, seed: int = 0) -> Tensor:
    """Features ``[B, 3, h, w]`` of the classes that the maps say, with noise that differs by direction."""
    noise = torch.randn(*label_maps.shape, 3, generator=torch.Generator().manual_seed(seed))
    mixed = noise @ torch.tensor([[1.0, 0.3, 0.0], [0.0, 0.8, 0.4], [0.0, 0.0, 0.5]])
    return (CENTRES[label_maps.long()] + mixed).movedim(-1, 1)


def thirds(*classes: int) -> Tensor:
    """A map with three stripes."""
    return torch.tensor(classes, dtype=torch.uint8).repeat_interleave(SIDE // 3).expand(SIDE, SIDE)


def test_labels_make_the_classes_of_lda() -> None:
    maps = torch.stack(8 * [thirds(GROUND, DOG, PERSON)])
    x = pixels_of(maps)
    seen = Discriminant(3, 4)
    seen.learn(x, maps)
    slope, offset = seen._lines()
    flat, labels = x.movedim(1, -1).reshape(-1, 3), maps.flatten()
    other = LinearDiscriminantAnalysis(solver="lsqr", priors=[1 / 3] * 3, store_covariance=True).fit(flat, labels)
    covariance = torch.from_numpy(other.covariance_).float()
    covariance = 0.9 * covariance + 0.1 * covariance.diagonal().diag()
    for k in range(3):
        gaussian = torch.distributions.MultivariateNormal(torch.from_numpy(other.means_[k]).float(), covariance)
        ground = torch.distributions.MultivariateNormal(torch.from_numpy(other.means_[0]).float(), covariance)
        ours = (flat @ slope + offset)[:, k] - (flat @ slope + offset)[:, 0]
        torch.testing.assert_close(ours, gaussian.log_prob(flat) - ground.log_prob(flat), rtol=1e-3, atol=1e-2)


def test_a_tag_is_what_masks_do_not_know() -> None:
    """Persons stand beside cats, and no mask ever shows a cat."""
    seen = Discriminant(3, 4)
    tags, unknown = torch.tensor([[False, False, False, True]]), torch.tensor([[True, True, True, False]])
    tagged = thirds(GROUND, PERSON, CAT)[None]
    for step in range(250):
        maps = torch.stack([thirds(GROUND, DOG, PERSON), thirds(GROUND, GROUND, DOG)])
        seen.learn(pixels_of(maps, step), maps)
        if step < 30:
            seen.assume(pixels_of(tagged, 1000 + step), tags, tagged != GROUND)
        else:
            looks = seen.explain(pixels_of(tagged, 1000 + step), tags, unknown, tagged != GROUND)
    assert (looks == tagged)[tagged != GROUND].float().mean() > 0.95
    torch.testing.assert_close(seen.total[1, CAT] / seen.weight[1, CAT], CENTRES[CAT], rtol=0, atol=0.25)
    assert not seen.weight[1, :CAT].any()


def test_only_labels_and_regions_count() -> None:
    seen, maps = Discriminant(3, 4), torch.full((1, SIDE, SIDE), IGNORE, dtype=torch.uint8)
    seen.learn(pixels_of(torch.zeros_like(maps)), maps)
    none = torch.zeros(1, 4, dtype=torch.bool)
    seen.explain(pixels_of(torch.zeros_like(maps)), ~none, none, maps != IGNORE)
    assert not any(buffer.any() for buffer in (seen.weight, seen.total, seen.second, seen.area))
    # without any evidence, what is tagged is there
    looks = seen.explain(pixels_of(torch.zeros_like(maps)), torch.arange(4)[None] == CAT, ~none, maps == IGNORE)
    assert (looks == CAT).all()


def test_wide_features_are_projected_alike() -> None:
    features = [torch.randn(2, 400, 4, 4), torch.randn(2, 300, 2, 2)]
    first, second = (Discriminant(700, 3).pixels(features) for _ in range(2))
    assert first.shape == (2, WIDTH, 4, 4)
    assert torch.equal(first, second)
    narrow = Discriminant(3, 3).pixels([torch.ones(2, 2, 4, 4), torch.full((2, 1, 2, 2), 2.0)])
    assert torch.equal(narrow, torch.tensor([1.0, 1.0, 2.0])[None, :, None, None].expand(2, 3, 4, 4))
