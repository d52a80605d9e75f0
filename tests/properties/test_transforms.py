"""Augmentation and resizing of images of any size."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from properties.batches import SEEDS
from weakshot_seg.data.transforms import EvalTransform, TrainTransform
from weakshot_seg.structures import IGNORE
from weakshot_seg.utils.padding import PADDING_VALUE

SIDES = st.integers(1, 70)
SHORT = st.none() | st.integers(1, 60)


def scene(height, width, seed):
    """An image whose red channel is its label map."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([0, 1, 5, IGNORE], dtype=np.uint8), (height, width))
    return np.stack([labels, *rng.integers(256, size=(2, height, width), dtype=np.uint8)], axis=-1), labels


@given(
    height=SIDES, width=SIDES, crop=st.integers(1, 48), short=SHORT, limit=SHORT, low=st.floats(0.05, 1),
    factor=st.floats(1, 4), flip=st.floats(0, 1), jitter=st.floats(0, 2), share=st.floats(0.01, 1), seed=SEEDS,
)  # fmt: skip
def test_crops_of_any_image(
    height, width, crop, short, limit, low, factor, flip,
    jitter, share, seed,
):  # fmt: skip
    transform = TrainTransform(crop, (low, low * factor), short, limit, flip, jitter, share)
    image, labels = scene(height, width, seed)
    before = image.copy(), labels.copy()
    made, label_map, padding = transform(image, labels, seed)
    assert np.array_equal(image, before[0])
    assert np.array_equal(labels, before[1])
    assert made.shape == (crop, crop, 3)
    assert label_map.shape == padding.shape == (crop, crop)
    assert (made.dtype, label_map.dtype, padding.dtype) == (np.uint8, np.uint8, np.bool_)
    assert set(np.unique(label_map)) <= set(np.unique(labels)) | {IGNORE}
    assert (label_map[padding] == IGNORE).all()
    assert (made[padding] == PADDING_VALUE).all()
    content = ~padding  # a rectangle at the top left, never empty
    assert content[0, 0]
    assert np.array_equal(content, np.outer(content[:, 0], content[0]))
    assert (np.diff(content[:, 0].astype(int)) <= 0).all()
    assert (np.diff(content[0].astype(int)) <= 0).all()
    for ours, theirs in zip((made, label_map, padding), transform(image, labels, seed), strict=True):
        assert np.array_equal(ours, theirs)


@given(height=SIDES, width=SIDES, crop=st.integers(1, 48), flip=st.sampled_from([0, 0.5, 1]), seed=SEEDS)
def test_image_and_labels_move_together(height, width, crop, flip, seed):
    image, labels = scene(height, width, seed)
    transform = TrainTransform(crop, (1, 1), min(height, width), flip=flip, color_jitter=False)
    made, label_map, padding = transform(image, labels, seed)
    assert np.array_equal(made[~padding][:, 0], label_map[~padding])
    windows = np.lib.stride_tricks.sliding_window_view(image, (min(crop, height), min(crop, width)), (0, 1))
    content = made[: min(crop, height), : min(crop, width)].transpose(2, 0, 1)
    found = [(windows == side).all((2, 3, 4)).any() for side in (content, content[:, :, ::-1])]
    assert found[0] if flip == 0 else found[1] if flip == 1 else any(found)


@given(height=SIDES, width=SIDES, short=SHORT, limit=SHORT, seed=SEEDS)
def test_sizes_for_evaluation(height, width, short, limit, seed):
    image, _ = scene(height, width, seed)
    made = EvalTransform(short, limit)(image)
    factor = (short or min(height, width)) / min(height, width)
    if limit is not None:
        factor = min(factor, limit / max(height, width))
    assert made.dtype == np.uint8
    assert made.ndim == 3
    for got, side in zip(made.shape[:2], (height, width), strict=True):
        assert abs(got - max(1, side * factor)) <= 1
    if factor == 1:
        assert np.array_equal(made, image)
