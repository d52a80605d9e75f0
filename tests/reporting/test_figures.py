"""Charts show the numbers they are given, whatever the names."""

import base64
import xml.etree.ElementTree as ET
from typing import cast

import numpy as np
import pytest
from matplotlib.figure import Figure

from weakshot_seg.reporting.curves import Line
from weakshot_seg.reporting.figures import Bar, Picture, bar_chart, line_chart


def line(y: list[float]) -> Line:
    values = np.array(y)
    return Line(np.arange(len(y), dtype=float), values, values, values)


def texts(picture: Picture) -> list[str | None]:
    kind, data = picture.source.split(",")
    assert kind == "data:image/svg+xml;base64"
    root = ET.fromstring(base64.b64decode(data))
    return [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize(
    ("values", "scale"),
    [([3.0, 2.0, 1.0], "linear"), ([1000.0, 100.0, 10.0], "log"), ([0.0, 100.0], "linear"), ([5.0, 5.0], "linear")],
)
def test_a_wide_range_is_logarithmic(values: list[float], scale: str) -> None:
    figure = cast(Figure, line_chart.__wrapped__("loss", [(line(values), "red")]))  # type: ignore[attr-defined]
    (axes,) = figure.axes
    assert axes.get_yscale() == scale
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == values


def test_bars_are_as_long_as_their_values() -> None:
    bars = [Bar("a", 25.0, False, "25.0", mark=50.0), Bar("b", 100.0, True, "100.0"), Bar("c", None, True, "-")]
    (axes,) = cast(Figure, bar_chart.__wrapped__("IoU", bars)).axes  # type: ignore[attr-defined]
    assert [patch.get_bbox().width for patch in axes.patches] == [25, 100, 0]
    marks = [segment for segment in axes.collections[-1].get_segments() if segment.size]  # type: ignore[attr-defined]
    assert [mark[:, 0].tolist() for mark in marks] == [[50, 50]]
    assert {"a", "b", "c", "25.0", "100.0", "-", "0", "50"} <= set(texts(bar_chart("IoU", bars)))


@pytest.mark.parametrize("name", ["<b>&amp;\"'", "$x_{$", "\udce9\x00\n", "熊猫 🐼", "x" * 300, ""])
def test_odd_names_and_values_make_a_picture(name: str) -> None:
    assert len(texts(bar_chart(name, [Bar(name, 5.0, True, name)]))) > 2
    shown = texts(line_chart(name, [(line(values), "red") for values in ([], [2.0], [0.0, 0.0])]))
    if name[:1] in ("<", "$"):
        assert name in shown
