"""Augmentation: what is drawn how often, and colours; images of any size are in ``tests/properties``."""

import colorsys
import pickle
import random

import numpy as np
import pytest

from weakshot_seg.data.transforms import EvalTransform, TrainTransform, ssd_color_jitter
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import IGNORE


def coded(height: int, width: int, classes: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A map of large blocks, and an image whose colour shows the class: 40 * id in all channels."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(classes, size=(-(-height // 16), -(-width // 16)), dtype=np.uint8)
    label_map = np.kron(blocks, np.ones((16, 16), np.uint8))[:height, :width]
    return np.repeat(label_map[:, :, None] * np.uint8(40), 3, axis=2), label_map


@pytest.mark.parametrize("scale", [(0.5, 0.5), (1.0, 1.0), (1.7, 1.7), (0.5, 2.0)])
def test_image_and_labels_stay_aligned(scale: tuple[float, float]) -> None:
    image, label_map = coded(64, 96)
    transform = TrainTransform(64, scale, color_jitter=False)
    for seed in range(30):
        new_image, new_map, padding = transform(image, label_map, seed)
        # Away from the borders of blocks, the colour still shows the class.
        agree = np.abs(new_image[..., 0].astype(int) - 40 * new_map.astype(int)) <= 4
        assert agree[~padding].mean() > (0.99 if scale == (1.0, 1.0) else 0.8)


def test_scale_range_is_used_evenly() -> None:
    image, label_map = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8)
    transform = TrainTransform(100, (0.5, 2.0), short_edge=40)
    sides = np.array([(~transform(image, label_map, seed)[2]).any(0).sum() for seed in range(400)])
    assert sides.min() >= 20
    assert sides.max() <= 80
    assert np.histogram(sides, 4, (20, 80))[0].min() > 60


def test_flip_is_drawn_with_its_probability() -> None:
    label_map = np.tile(np.arange(8, dtype=np.uint8), (8, 1))
    image = np.zeros((8, 8, 3), np.uint8)
    for flip, low, high in ((0.0, 0, 0), (1.0, 200, 200), (0.5, 70, 130)):
        transform = TrainTransform(8, (1.0, 1.0), flip=flip, color_jitter=False)
        flipped = sum(transform(image, label_map, seed)[1][0, 0] == 7 for seed in range(200))
        assert low <= flipped <= high


def test_crops_reach_every_place() -> None:
    label_map = np.arange(9, dtype=np.uint8).reshape(3, 3).repeat(10, 0).repeat(10, 1)
    transform = TrainTransform(10, (1.0, 1.0), short_edge=30, color_jitter=False)
    corners = {int(transform(np.zeros((30, 30, 3), np.uint8), label_map, seed)[1][0, 0]) for seed in range(200)}
    assert corners == set(range(9))


def test_category_limit_avoids_crops_of_one_class() -> None:
    label_map = np.zeros((100, 100), np.uint8)
    label_map[:, 60:] = 1
    image = np.zeros((100, 100, 3), np.uint8)

    def full(limit: float) -> float:
        transform = TrainTransform(30, (1.0, 1.0), short_edge=100, color_jitter=False, category_max_area=limit)
        maps = [transform(image, label_map, seed)[1] for seed in range(200)]
        return float(np.mean([max((m == 0).mean(), (m == 1).mean()) > 0.75 for m in maps]))

    assert full(1.0) > 0.7
    assert full(0.75) < 0.25  # ten tries, each with a chance of about 0.2
    unlabelled = np.full((100, 100), IGNORE, np.uint8)
    assert (TrainTransform(30, category_max_area=0.5)(image, unlabelled, 0)[1] == IGNORE).all()


def clip(values: list[float]) -> list[float]:
    return [min(max(value, 0.0), 255.0) for value in values]


JITTER = ssd_color_jitter()


def jitter(image: np.ndarray, seed: int) -> tuple[np.ndarray, dict[str, float]]:
    """The changed image, and what changed it: the parameters of those steps that were applied."""
    JITTER.set_random_state(np.random.default_rng(seed), random.Random(seed))
    out = JITTER(image=image)["image"]
    brightness, contrast, saturation, hue = (step.get_applied_params() for step in JITTER[0])
    drawn = {
        "brightness": brightness.get("beta"),
        "contrast": contrast.get("alpha"),
        "saturation": saturation.get("factor"),
        "hue": hue.get("hue_shift"),
    }
    return out, {name: value for name, value in drawn.items() if value is not None}


def one_by_one(image: np.ndarray, drawn: dict[str, float], contrast_last: bool) -> np.ndarray:
    """SSD's changes of colour pixel by pixel, with the hue in circles of 180 steps."""
    out = np.empty(image.shape)
    for place in np.ndindex(image.shape[:2]):
        pixel = clip([float(v) + drawn.get("brightness", 0) for v in image[place]])
        if not contrast_last:
            pixel = clip([v * drawn.get("contrast", 1) for v in pixel])
        h, s, v = colorsys.rgb_to_hsv(*(p / 255 for p in pixel))
        h, s = (h + drawn.get("hue", 0) / 180) % 1, min(s * drawn.get("saturation", 1), 1.0)
        pixel = [255 * p for p in colorsys.hsv_to_rgb(h, s, v)]
        if contrast_last:
            pixel = clip([p * drawn.get("contrast", 1) for p in pixel])
        out[place] = pixel
    return out


def test_colour_jitter_against_a_pixel_by_pixel_version() -> None:
    image = np.random.default_rng(0).integers(256, size=(6, 7, 3), dtype=np.uint8)
    contrast_last = []
    for seed in range(60):
        out, drawn = jitter(image, seed)
        errors = [np.abs(out - one_by_one(image, drawn, last)).max() for last in (False, True)]
        assert min(errors) < 10, drawn  # 8-bit steps of hue and saturation
        if max(errors) > 20:
            contrast_last.append(errors[1] < errors[0])
    assert 0.2 < np.mean(contrast_last) < 0.8


def test_colour_jitter_draws_from_the_ranges_of_ssd() -> None:
    image = np.zeros((1, 1, 3), np.uint8)
    draws = [jitter(image, seed)[1] for seed in range(1000)]
    for name, low, high in (
        ("brightness", -32, 32),
        ("contrast", 0.5, 1.5),
        ("saturation", 0.5, 1.5),
        ("hue", -18, 18),
    ):
        values = [drawn[name] for drawn in draws if name in drawn]
        assert 420 < len(values) < 580
        assert low <= min(values) < low + 0.05 * (high - low)
        assert high >= max(values) > high - 0.05 * (high - low)


def test_decisions_of_the_steps_are_independent() -> None:
    """Steps seeded alike would flip, brighten and turn the hue of the same images, by related amounts."""
    label_map = np.tile(np.arange(40, dtype=np.uint8), (40, 1))
    image = np.full((40, 40, 3), 100, np.uint8)
    transform = TrainTransform(20, (1.0, 2.0), short_edge=40)
    decisions = []
    for seed in range(1000):
        row = transform(image, label_map, seed)[1][0]
        steps = [step.get_applied_params() for step in transform._augment[2][0]]
        flipped = row[0] > row[-1]
        scale = transform._augment[0].get_applied_params()["scale"]
        left, top = transform._augment[1].get_applied_params()["crop_coords"][:2]
        room = 40 * scale - 20
        decisions.append([flipped, *map(bool, steps), scale, left / room, top / room])
    correlation = np.corrcoef(np.array(decisions).T) - np.eye(8)
    assert np.abs(correlation).max() < 0.15  # the deviation of chance is 0.032


def test_copies_in_workers_give_the_same_whatever_was_drawn_before() -> None:
    image, label_map = coded(40, 60)
    transform = TrainTransform(32)
    workers = [pickle.loads(pickle.dumps(transform)) for _ in range(2)]
    workers[1](image, label_map, 99)
    expected = [transform(image, label_map, seed) for seed in range(6)]
    assert len({out[0].tobytes() for out in expected}) == 6
    for seed in range(6):
        out = workers[seed % 2](image, label_map, seed)
        assert all(np.array_equal(a, b) for a, b in zip(out, expected[seed], strict=True))


def test_colour_jitter_off_and_on() -> None:
    image = np.random.default_rng(0).integers(256, size=(16, 16, 3), dtype=np.uint8)
    outs = [jitter(image, seed) for seed in range(100)]
    unchanged = [np.array_equal(out, image) for out, drawn in outs if not drawn]
    assert unchanged
    assert all(unchanged)
    still = TrainTransform(16, (1.0, 1.0), flip=0, color_jitter=False)
    assert all(np.array_equal(still(image, image[..., 0], seed)[0], image) for seed in range(5))
    lively = TrainTransform(16, (1.0, 1.0), flip=0)
    changed = [not np.array_equal(lively(image, image[..., 0], seed)[0], image) for seed in range(200)]
    assert 0.85 < np.mean(changed) <= 1  # 1 - 0.5 ** 4


def test_shrinking_averages_images_and_keeps_ids() -> None:
    checks = np.indices((80, 80)).sum(0) % 2 * 200
    image = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    assert (EvalTransform(20)(image) == 100).all()
    small, labels, _ = TrainTransform(20, (1.0, 1.0), color_jitter=False)(image, checks.astype(np.uint8), 0)
    assert (small == 100).all()
    assert set(np.unique(labels)) <= {0, 200}


def test_scales_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"scale is \[2.0, 1.0\]: give the lowest and the highest"):
        TrainTransform(8, (2.0, 1.0))
