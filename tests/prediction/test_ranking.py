"""Which photos to annotate next, against closed forms and brute force."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont
from torch import Tensor, nn

from weakshot_seg.inference.semantic import Classes, Scores, Size, resize
from weakshot_seg.prediction import ranking
from weakshot_seg.prediction.contact_sheet import EDGE, GAP, contact_sheet, shortened
from weakshot_seg.prediction.ranking import choose, pooled_features, uncertainty, unit
from weakshot_seg.utils.visualize import INK, PAPER


class Planes(Scores):
    """Given scores ``[K, h, w]``."""

    def __init__(self, planes: Tensor) -> None:
        self.planes, self.num_classes, self.pixels = planes, len(planes), planes[0].numel()

    def __call__(self, classes: Classes, size: Size) -> Tensor:
        return resize(self.planes[None, classes], size)[0]


def test_uncertainty_is_the_mean_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    planes = torch.zeros(4, 2, 3)
    planes[0, 0] = 0.7  # sure: 0
    planes[:, 1, 0] = 0.2  # all alike: 1
    planes[:2, 1, 1] = 5.0  # two of four alike: log 2 / log 4
    #                    (1, 2) has no scores at all: 1
    expected = (3 * 0 + 1 + 0.5 + 1) / 6
    assert uncertainty(Planes(planes), (2, 3)) == pytest.approx(expected, abs=1e-6)
    random = torch.rand(5, 7, 6, generator=torch.Generator().manual_seed(0))
    p = random / random.sum(0)
    expected = float(-(p * p.log()).sum(0).mean()) / math.log(5)
    assert uncertainty(Planes(random), (7, 6)) == pytest.approx(expected, abs=1e-5)
    monkeypatch.setattr(ranking, "SCORES_AT_ONCE", 2 * 42)  # two classes at a time
    assert uncertainty(Planes(random), (7, 6)) == pytest.approx(expected, abs=1e-5)
    assert uncertainty(Planes(random[:1]), (7, 6)) == 0


def test_features_are_means_of_the_deepest() -> None:
    class Backbone(nn.Module):
        def forward(self, images: Tensor) -> list[Tensor]:
            return [images * 0, images + 1]

    backbone, images = Backbone(), torch.rand(2, 3, 4, 5)
    with pooled_features(backbone) as found:
        backbone(images)
    backbone(images)
    torch.testing.assert_close(torch.stack(found), images.mean((2, 3)) + 1)
    rows = unit(found)
    np.testing.assert_allclose((rows**2).sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(rows[0] * float(found[0].norm()), found[0], rtol=1e-6)


def brute_force(values: list[float], features: np.ndarray, number: int, power: float, known: np.ndarray) -> list:
    chosen: list[tuple[int, float]] = []
    while len(chosen) < min(number, len(values)):
        taken = [index for index, _ in chosen]
        best = (-1, -1.0, 0.0)
        for index in set(range(len(values))) - set(taken):
            others = [*known, *(features[other] for other in taken)]
            nearest = min((math.dist(features[index], other) for other in others), default=1.0)
            gain = values[index] * nearest**power
            if gain > best[1]:
                best = (index, gain, nearest)
        chosen.append((best[0], best[2]))
    return chosen


@pytest.mark.parametrize("power", [0, 1, 2.5])
@pytest.mark.parametrize("known", [0, 3])
def test_choice_is_that_of_brute_force(power: float, known: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "DISTANCES_AT_ONCE", 20)
    rng = np.random.default_rng(known)
    features = unit(list(torch.from_numpy(rng.normal(size=(12 + known, 4)).astype(np.float32))))
    values, seen = rng.random(12), features[12:]
    for number in (5, 40):
        found = choose(values, features[:12], number, power, seen)
        expected = brute_force(values.tolist(), features[:12], number, power, seen)
        assert [index for index, _ in found] == [index for index, _ in expected]
        np.testing.assert_allclose([d for _, d in found], [d for _, d in expected], atol=1e-3)


def test_two_of_a_kind_are_not_chosen_one_after_the_other() -> None:
    features = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    values, nothing = np.array([0.9, 0.8, 0.5]), np.empty((0, 0), np.float32)
    assert [index for index, _ in choose(values, features, 3, 1, nothing)] == [0, 2, 1]
    assert [index for index, _ in choose(values, features, 3, 0, nothing)] == [0, 1, 2]
    assert choose(values, features, 1, 1, features[:1])[0] == (2, pytest.approx(math.sqrt(2)))


def test_contact_sheet() -> None:
    pictures = [(Image.new("RGB", (40 * (i + 1), 30), (i * 30, 0, 0)), (f"{i}", "name")) for i in range(8)]
    sheet = np.asarray(contact_sheet(pictures, 8))
    assert sheet.shape[1] == GAP + 6 * (EDGE + GAP)
    row = (sheet.shape[0] - GAP) // 2
    for i in range(8):
        x, y = GAP + i % 6 * (EDGE + GAP), GAP + i // 6 * row
        assert sheet[y + EDGE - 5, x + EDGE // 2].tolist() == [i * 30, 0, 0]
        below = sheet[y + EDGE + 1 : y + row, x : x + EDGE]
        assert (below == INK).all(-1).any()
    assert (sheet[-row:, GAP + 2 * (EDGE + GAP) :] == PAPER).all()  # nothing after the last


def test_long_names_keep_their_ends() -> None:
    font = ImageFont.load_default(12)
    name = "a" * 90 + "0017.jpg"
    short = shortened(name, font, EDGE)
    assert font.getlength(short) <= EDGE < font.getlength(name)
    assert short.startswith("aaa")
    assert "..." in short
    assert short.endswith("0017.jpg")
    assert shortened("a.jpg\n", font, EDGE) == "a.jpg?"
