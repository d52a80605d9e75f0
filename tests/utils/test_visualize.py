"""Label pictures: exact ids survive, colours are distinct, novel regions are marked, any size works."""

import io
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from weakshot_seg.structures import IGNORE, ClassSplit
from weakshot_seg.utils.visualize import NOVEL, label_png, labelled_overlay, legend, overlay, palette, panel

NAMES = ("sky", "grass", "cat", "a class with quite a long name")
SPLIT = ClassSplit(NAMES, (2,))
COLOURS = palette()


def scene(height: int = 24, width: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """An image and a map whose left half is class 0, right half class 2, first row unlabelled."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    labels = np.zeros((height, width), np.uint8)
    labels[:, width // 2 :] = 2
    labels[0] = IGNORE
    return image, labels


def contains(picture: Image.Image | np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.asarray(picture) == colour).all(-1).any())


@pytest.mark.parametrize(("num_classes", "apart"), [(28, 20), (81, 10), (171, 7), (254, 0)])
def test_colours_are_distinguishable_and_grey_for_unknown(num_classes: int, apart: float) -> None:
    assert (COLOURS.shape, COLOURS.dtype) == ((256, 3), np.uint8)
    assert len(set(COLOURS[IGNORE].tolist())) == 1
    rgb = np.concatenate([COLOURS[:num_classes], [NOVEL]]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(linear @ to_xyz.T / [0.9505, 1.0, 1.089]).T
    lab = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)  # CIELAB
    assert min(np.linalg.norm(a - b) for a, b in combinations(lab, 2)) > apart  # 2 is just noticeable


def test_label_png_keeps_ids_and_shows_the_palette() -> None:
    labels, file = scene()[1], io.BytesIO()
    label_png(labels).save(file, "PNG")
    with Image.open(file) as again:
        assert again.mode == "P"
        np.testing.assert_array_equal(np.asarray(again), labels)
        np.testing.assert_array_equal(np.asarray(again.convert("RGB")), COLOURS[labels])


def test_overlay_paints_labelled_pixels_only() -> None:
    image, labels = scene()
    solid = overlay(image, labels, alpha=1.0)
    np.testing.assert_array_equal(solid[0], image[0])
    np.testing.assert_array_equal(solid[1:], COLOURS[labels[1:]])
    tinted = overlay(image, labels, alpha=0.0)[1:]
    assert (tinted.max(-1) == tinted.min(-1)).all()  # only the brightness of the image is left


def test_novel_regions_are_outlined_and_hatched_and_others_untouched() -> None:
    image, labels = scene()
    marked, without = overlay(image, labels, novel=(2,)), overlay(image, labels)
    assert not contains(without, NOVEL)
    line = (marked == NOVEL).all(-1)
    assert line[:, 16:18].sum() > 40  # two pixels wide, along the border
    assert not line[:, :16].any()
    np.testing.assert_array_equal(marked[2:, :13], without[2:, :13])
    inner = (marked != without).any(-1)[4:, 20:]
    assert 0.1 < inner.mean() < 0.5


@pytest.mark.parametrize(("classes", "novel"), [((0, 1, 2, 3), (2,)), ((), ()), ((3,), (3,))])
def test_legend_lists_all_classes_and_marks_the_novel_ones(classes: tuple[int, ...], novel: tuple[int, ...]) -> None:
    picture = legend(classes, ClassSplit(NAMES, novel), width=300)
    assert picture.width == 300
    assert all(contains(picture, tuple(COLOURS[index].tolist())) for index in classes)
    assert contains(picture, NOVEL) == bool(novel)


def test_a_narrow_legend_takes_more_rows() -> None:
    wide, narrow = (legend(range(4), ClassSplit(NAMES, ()), width) for width in (2000, 100))
    assert narrow.height == 4 * wide.height


@pytest.mark.parametrize(("size", "view"), [((96, 96), 384), ((160, 120), 240), ((500, 400), 400), ((30, 2000), 640)])
def test_pictures_have_readable_sizes_and_mark_novel_classes(size: tuple[int, int], view: int) -> None:
    image, labels = scene(*size)
    picture = panel(image, labels, labels[::-1], SPLIT)
    assert 3 * view < picture.width < 3 * view + 60
    assert contains(picture, NOVEL)
    assert contains(labelled_overlay(image, labels, SPLIT), NOVEL)
    assert not contains(panel(image, labels, labels, ClassSplit(NAMES, (1,))), NOVEL)
    unknown = np.full_like(labels, IGNORE)  # not any label
    assert not contains(labelled_overlay(image, unknown, SPLIT), NOVEL)
    assert panel(image, unknown, unknown, SPLIT).width == picture.width
