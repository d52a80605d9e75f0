"""Charts show the numbers they are given, whatever the names."""

import base64
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from weakshot_seg.reporting.curves import Line
from weakshot_seg.reporting.figures import Bar, Picture, bar_chart, confusion_chart, line_chart


def line(y: list[float]) -> Line:
    values = np.array(y)
    return Line(np.arange(len(y), dtype=float), values, values, values)


def axes_of(chart: Any, *args: Any) -> Axes:
    axes: Axes = chart.__wrapped__(*args).axes[0]
    return axes


def texts(picture: Picture) -> set[str | None]:
    kind, data = picture.source.split(",")
    assert kind == "data:image/svg+xml;base64"
    return {text.text for text in ET.fromstring(base64.b64decode(data)).iter("{http://www.w3.org/2000/svg}text")}


@pytest.mark.parametrize(
    ("values", "scale"),
    [([3.0, 2.0, 1.0], "linear"), ([1000.0, 100.0, 10.0], "log"), ([0.0, 100.0], "linear"), ([5.0, 5.0], "linear")],
)
def test_a_wide_range_is_logarithmic(values: list[float], scale: str) -> None:
    axes = axes_of(line_chart, "loss", [(line(values), "red")])
    assert axes.get_yscale() == scale
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == values


def test_bars_are_as_long_as_their_values() -> None:
    bars = [Bar("a", 25.0, False, "25.0", mark=50.0), Bar("b", 100.0, True, "100.0"), Bar("c", None, True, "-")]
    axes: Any = axes_of(bar_chart, "IoU", bars)
    assert [patch.get_bbox().width for patch in axes.patches] == [25, 100, 0]
    marks = [segment for segment in axes.collections[-1].get_segments() if segment.size]
    assert [mark[:, 0].tolist() for mark in marks] == [[50, 50]]
    assert {"a", "b", "c", "25.0", "100.0", "-", "0", "50"} <= texts(bar_chart("IoU", bars))


def test_a_confusion_matrix_is_in_percent_of_the_true_class() -> None:
    matrix = "run", np.array([[1, 3], [0, 0]]), ["sky", "cat"], frozenset({"cat"})
    shares = np.ma.filled(axes_of(confusion_chart, *matrix).images[0].get_array(), np.nan)
    np.testing.assert_array_equal(shares, [[25, 75], [np.nan, np.nan]])
    assert {"sky", "cat ★", "predicted", "true"} <= texts(confusion_chart(*matrix))


@pytest.mark.parametrize("name", ["<b>&amp;\"'", "$x_{$", "\udce9\x00\n", "熊猫 🐼", "x" * 300, ""])
def test_odd_names_and_values_make_a_picture(name: str) -> None:
    assert len(texts(bar_chart(name, [Bar(name, 5.0, True, name)]))) > 2
    assert len(texts(confusion_chart(name, np.ones((1, 1), np.int64), [name], frozenset()))) > 2
    shown = texts(line_chart(name, [(line(values), "red") for values in ([], [2.0], [0.0, 0.0])]))
    assert name in shown or name[:1] not in ("<", "$")
