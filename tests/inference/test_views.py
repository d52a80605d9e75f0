"""Sliding windows and test-time augmentation against explicit sums in float64."""

import math
import weakref
from collections.abc import Callable
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from weakshot_seg.inference import semantic, sliding, tta
from weakshot_seg.inference.semantic import Inference, WholeImage, best_class
from weakshot_seg.inference.sliding import SlidingWindow, StreamedScores
from weakshot_seg.structures import SegOutput

ALL = slice(None)
CLASSES, QUERIES, GAMMA = 5, 4, 0.7
Planes = np.ndarray


class ToyNetwork:
    """An output that depends on the image, and on where things are in it; remembers the sizes of its inputs."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.to_masks = torch.randn(QUERIES, 3, 4, 4, generator=generator) / 300
        self.to_classes = torch.randn(QUERIES * (CLASSES + 1), 3, generator=generator) / 60
        self.to_presence = torch.randn(CLASSES, 3, generator=generator) / 20
        self.sizes: list[tuple[int, ...]] = []

    def __call__(self, images: torch.Tensor) -> SegOutput:
        self.sizes.append(tuple(images.shape))
        images = images.float() - 128  # padding is 0
        masks = F.conv2d(images, self.to_masks, stride=4)
        masks = masks + torch.linspace(-1, 1, masks.shape[-1])  # not symmetric
        classes = (images.mean((2, 3)) @ self.to_classes.T).view(-1, QUERIES, CLASSES + 1)
        presence = images.mean((2, 3)) @ self.to_presence.T
        return SegOutput(classes[None], masks[None], torch.zeros(1), None, presence, GAMMA)


def resized(planes: Planes, size: tuple[int, int]) -> Planes:
    """Bilinearly, by OpenCV."""
    return np.stack([cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR) for plane in planes])


def scores_of_image(image: torch.Tensor) -> Planes:
    """The scores of an unpadded image ``[3, h, w]`` at its own size."""
    _, height, width = image.shape
    padded = torch.full((1, 3, math.ceil(height / 32) * 32, math.ceil(width / 32) * 32), 128.0)
    padded[0, :, :height, :width] = image
    output = ToyNetwork()(padded)
    masks = resized(output.mask_logits[0, 0].double().numpy(), padded.shape[-2:])[:, :height, :width]
    scores = np.zeros((CLASSES, height, width))
    for logits, mask in zip(output.class_logits[0, 0].double().numpy(), masks, strict=True):
        exponentials = np.exp(logits)
        for c in range(CLASSES):
            scores[c] += exponentials[c] / exponentials.sum() / (1 + np.exp(-mask))
    presence = 1 / (1 + np.exp(-output.presence_logits[0].double().numpy()))
    return scores * presence[:, None, None] ** GAMMA


def windows_of_image(image: torch.Tensor, corners: list[tuple[int, int]], window: tuple[int, int]) -> Planes:
    _, height, width = image.shape
    total, count = np.zeros((CLASSES, height, width)), np.zeros((height, width))
    for top, left in corners:
        place = slice(top, top + window[0]), slice(left, left + window[1])
        total[:, *place] += scores_of_image(image[:, *place])
        count[place] += 1
    assert count.min() > 0
    return total / count


@pytest.fixture(params=[(40, 56), (33, 64)])
def image(request: pytest.FixtureRequest) -> torch.Tensor:
    return torch.randint(256, (3, *request.param), dtype=torch.uint8)


def check(
    inference: Inference, image: torch.Tensor, size: tuple[int, int], expect: Callable[[torch.Tensor], Planes]
) -> None:
    scores = inference(ToyNetwork(), image)
    ours = scores(ALL, size)
    torch.testing.assert_close(ours.double(), torch.from_numpy(expect(image)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores(slice(1, 3), size), ours[1:3])
    with mock.patch.object(semantic, "SCORES_AT_ONCE", 2 * scores.pixels):
        assert torch.equal(best_class(scores, size)[0].long(), ours.argmax(0))


@pytest.mark.parametrize("size", [(40, 56), (50, 41)])
def test_whole(image: torch.Tensor, size: tuple[int, int]) -> None:
    check(WholeImage(), image, size, lambda image: resized(scores_of_image(image), size))


PLACES = {
    32: {
        (40, 56): [(0, 0), (0, 16), (0, 24), (8, 0), (8, 16), (8, 24)],  # stride 16, the last one moved inside
        (33, 64): [(0, 0), (0, 16), (0, 32), (1, 0), (1, 16), (1, 32)],
    },
    48: {(40, 56): [(0, 0), (0, 8)], (33, 64): [(0, 0), (0, 16)]},  # beyond one edge
}


@pytest.mark.parametrize(("window", "overlap"), [(32, 0.5), (48, 0.0)])
def test_sliding(window: int, overlap: float, image: torch.Tensor) -> None:
    def expect(image: torch.Tensor) -> Planes:
        height, width = image.shape[1:]
        parts = windows_of_image(image, PLACES[window][height, width], (min(height, window), window))
        return resized(parts, (45, 50))

    check(SlidingWindow(window, overlap), image, (45, 50), expect)


def test_windows_go_through_the_network_a_few_at_a_time(image: torch.Tensor) -> None:
    network = ToyNetwork()
    SlidingWindow(32, overlap=0.5, batch_size=4)(network, image)
    assert network.sizes == [(4, 3, 32, 32), (2, 3, 32, 32)]


@pytest.mark.parametrize(("window", "overlap"), [(32, 0.5), (32, 0.0), (48, 0.7)])
@pytest.mark.parametrize("candidates", [None, [1, 3, 4]])
def test_very_large_images_are_done_in_stripes(
    window: int, overlap: float, candidates: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bits, and only the outputs of the windows of a stripe in memory."""
    image, network, size = torch.randint(256, (3, 200, 90), dtype=torch.uint8), ToyNetwork(), (200, 90)
    inference = SlidingWindow(window, overlap, batch_size=4)
    kept = inference(network, image)
    monkeypatch.setattr(sliding, "KEPT_AT_ONCE", 0)
    alive, most = weakref.WeakSet[torch.Tensor](), 0

    def watched(images: torch.Tensor) -> SegOutput:
        nonlocal most
        output = network(images)
        alive.add(output.mask_logits)
        most = max(most, len(alive))
        return output

    streamed = inference(watched, image)
    assert isinstance(streamed, StreamedScores)
    for ours, theirs in zip(best_class(streamed, size, candidates), best_class(kept, size, candidates), strict=True):
        assert torch.equal(ours, theirs)
    for shown in (size, (70, 100)):
        assert torch.equal(streamed(slice(1, 3), shown), kept(slice(1, 3), shown))
    across = len(inference._starts(90))
    rows = 1 + math.ceil(window / max(1, round(window * (1 - overlap))))
    assert most <= rows * across / 4 + 2
    assert overlap or most < across * len(inference._starts(200)) / 4


def scaled(image: torch.Tensor, scale: float) -> torch.Tensor:
    """By Pillow: bilinearly where it grows, averaged by a triangle where it shrinks."""
    size = round(image.shape[2] * scale), round(image.shape[1] * scale)
    channels = [Image.fromarray(channel.float().numpy()).resize(size, Image.Resampling.BILINEAR) for channel in image]
    return torch.from_numpy(np.stack(channels))


def mean_over_views(image: torch.Tensor, size: tuple[int, int], see: Callable[[torch.Tensor], Planes]) -> Planes:
    views = []
    for scale in (0.5, 1.0, 1.5):
        view = scaled(image, scale)
        views.append(resized(see(view), size))
        views.append(resized(see(view.flip(-1)), size)[:, :, ::-1])
    return np.mean(views, axis=0)


def test_scales_and_flip(image: torch.Tensor) -> None:
    size = (44, 60)
    augmented = tta.TestTimeAugmentation(WholeImage(), [0.5, 1.0, 1.5])
    check(augmented, image, size, lambda image: mean_over_views(image, size, scores_of_image))


def test_windows_at_every_scale(image: torch.Tensor) -> None:
    size = (40, 56)

    def see(image: torch.Tensor) -> Planes:
        height, width = image.shape[1:]
        tops, lefts = ([min(i * 32, max(n - 32, 0)) for i in range(math.ceil(n / 32))] for n in (height, width))
        corners = [(top, left) for top in tops for left in lefts]
        return windows_of_image(image, corners, (min(32, height), min(32, width)))

    augmented = tta.TestTimeAugmentation(SlidingWindow(32, overlap=0.0), [0.5, 1.0, 1.5])
    check(augmented, image, size, lambda image: mean_over_views(image, size, see))


def test_without_flip_and_scales_nothing_changes(image: torch.Tensor) -> None:
    network = ToyNetwork()
    ours = tta.TestTimeAugmentation(WholeImage(), [1.0], flip=False)(network, image)
    assert network.sizes == [(1, 3, 64, 64)]
    assert torch.equal(ours(ALL, (30, 40)), WholeImage()(network, image)(ALL, (30, 40)))
