"""Augmentation: what is drawn how often, and colours; images of any size are in ``tests/properties``."""

import colorsys
import pickle
import random

import numpy as np
import pytest

from weakshot_seg.data.transforms import EvalTransform, TrainTransform, ssd_color_jitter
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import IGNORE


def test_scale_range_is_used_evenly():
    image, label_map = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8)
    transform = TrainTransform(100, (0.5, 2.0), short_edge=40)
    sides = np.array([(~transform(image, label_map, seed)[2]).any(0).sum() for seed in range(400)])
    assert sides.min() >= 20
    assert sides.max() <= 80
    assert np.histogram(sides, 4, (20, 80))[0].min() > 60


def test_crops_reach_every_place():
    label_map = np.arange(9, dtype=np.uint8).reshape(3, 3).repeat(10, 0).repeat(10, 1)
    transform = TrainTransform(10, (1.0, 1.0), short_edge=30, color_jitter=False)
    corners = {int(transform(np.zeros((30, 30, 3), np.uint8), label_map, seed)[1][0, 0]) for seed in range(200)}
    assert corners == set(range(9))


def test_category_limit_avoids_crops_of_one_class():
    label_map = np.zeros((100, 100), np.uint8)
    label_map[:, 60:] = 1
    image = np.zeros((100, 100, 3), np.uint8)

    def full(limit):
        transform = TrainTransform(30, (1.0, 1.0), short_edge=100, color_jitter=False, category_max_area=limit)
        maps = [transform(image, label_map, seed)[1] for seed in range(200)]
        return float(np.mean([max((m == 0).mean(), (m == 1).mean()) > 0.75 for m in maps]))

    assert full(1.0) > 0.7
    assert full(0.75) < 0.25  # ten tries, each with a chance of about 0.2
    unlabelled = np.full((100, 100), IGNORE, np.uint8)
    assert (TrainTransform(30, category_max_area=0.5)(image, unlabelled, 0)[1] == IGNORE).all()


def clip(values):
    return [min(max(value, 0.0), 255.0) for value in values]


JITTER = ssd_color_jitter()


def jitter(image, seed):
    """The changed image, and what changed it: the parameters of those steps that were applied."""
    JITTER.set_random_state(np.random.default_rng(seed), random.Random(seed))
    out = JITTER(image=image)["image"]
    brightness, contrast, saturation, hue = (step.get_applied_params() for step in JITTER[0])
    drawn = {"brightness": brightness.get("beta"), "contrast": contrast.get("alpha")}
    drawn |= {"saturation": saturation.get("factor"), "hue": hue.get("hue_shift")}
    return out, {name: value for name, value in drawn.items() if value is not None}


def one_by_one(image, drawn, contrast_last):
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


def test_colour_jitter_against_a_pixel_by_pixel_version():
    image = np.random.default_rng(0).integers(256, size=(6, 7, 3), dtype=np.uint8)
    contrast_last = []
    for seed in range(60):
        out, drawn = jitter(image, seed)
        errors = [np.abs(out - one_by_one(image, drawn, last)).max() for last in (False, True)]
        assert min(errors) < 10, drawn  # 8-bit steps of hue and saturation
        if max(errors) > 20:
            contrast_last.append(errors[1] < errors[0])
    assert 0.2 < np.mean(contrast_last) < 0.8


def test_colour_jitter_draws_from_the_ranges_of_ssd():
    image = np.zeros((1, 1, 3), np.uint8)
    draws = [jitter(image, seed)[1] for seed in range(1000)]
    ranges = {"brightness": (-32, 32), "contrast": (0.5, 1.5), "saturation": (0.5, 1.5), "hue": (-18, 18)}
    for name, (low, high) in ranges.items():
        values = [drawn[name] for drawn in draws if name in drawn]
        assert 420 < len(values) < 580
        assert low <= min(values) < low + 0.05 * (high - low)
        assert high >= max(values) > high - 0.05 * (high - low)


def test_decisions_of_the_steps_are_independent():
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


def test_workers_and_jitter():
    """Copies in workers give the same whatever was drawn before; most images change."""
    image = np.random.default_rng(0).integers(256, size=(16, 16, 3), dtype=np.uint8)
    transform = TrainTransform(16, (1.0, 1.0), flip=0)
    worker = pickle.loads(pickle.dumps(transform))
    outs = [transform(image, image[..., 0], seed)[0] for seed in range(200)]
    assert all(np.array_equal(worker(image, image[..., 0], seed)[0], outs[seed]) for seed in (7, 3, 150))
    assert 0.85 < np.mean([not np.array_equal(out, image) for out in outs]) <= 1  # 1 - 0.5 ** 4


def test_shrinking_averages_images_and_keeps_ids():
    checks = np.indices((80, 80)).sum(0) % 2 * 200
    image = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    assert (EvalTransform(20)(image) == 100).all()
    small, labels, _ = TrainTransform(20, (1.0, 1.0), color_jitter=False)(image, checks.astype(np.uint8), 0)
    assert (small == 100).all()
    assert set(np.unique(labels)) <= {0, 200}


def test_scales_in_the_wrong_order_are_refused():
    with pytest.raises(ConfigError, match=r"scale is \[2.0, 1.0\]: give the lowest and the highest"):
        TrainTransform(8, (2.0, 1.0))
