"""Curves of resumed, long and broken logs, and the charts made of them."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from weakshot_seg.reporting.charts import Bar, Line, bar_chart, line_chart, nice_ticks
from weakshot_seg.reporting.curves import BINS, mean_line, read_curves

SVG = "{http://www.w3.org/2000/svg}"


def write_log(folder: Path, version: int, rows: str) -> None:
    (folder / "csv" / f"version_{version}").mkdir(parents=True)
    (folder / "csv" / f"version_{version}" / "metrics.csv").write_text(rows)


def picture(svg: str) -> ET.Element:
    return ET.fromstring(svg.replace("<svg ", f'<svg xmlns="{SVG[1:-1]}" ', 1))


def test_a_resumed_session_replaces_what_it_did_again(tmp_path: Path) -> None:
    write_log(tmp_path, 0, "epoch,step,train/loss,val/miou\n0,9,5.0,\n0,19,4.0,\n0,19,,7.5\n0,29,nan,\n0,39,3.0,\n0,4")
    write_log(tmp_path, 2, "step,train/loss\n39,1.0\n")
    write_log(tmp_path, 10, "step,train/loss\n29,2.5\n49,2.0\n")
    curves = read_curves(tmp_path)
    assert curves.keys() == {"train/loss", "val/miou"}
    assert [a.tolist() for a in curves["train/loss"]] == [[9, 19, 29, 49], [5, 4, 2.5, 2]]
    assert [a.tolist() for a in curves["val/miou"]] == [[19], [7.5]]


def test_what_is_no_number_is_skipped(tmp_path: Path) -> None:
    write_log(tmp_path, 0, "step,train/loss\n9,5.0\ninf,4.0\n19,1e300\n29,3.0\n")
    (tmp_path / "csv" / "version_0").rename(tmp_path / "csv" / "version_1")
    write_log(tmp_path, 0, "step,train/loss\n1,7.0\n")
    (tmp_path / "csv" / "version_0").rename(tmp_path / "csv" / "version_x")  # a copy of the user's
    assert [a.tolist() for a in read_curves(tmp_path)["train/loss"]] == [[9, 29], [5, 3]]


def test_a_run_without_logs_has_no_curves(tmp_path: Path) -> None:
    assert read_curves(tmp_path) == {}


def test_the_line_of_a_group_is_mean_and_range() -> None:
    steps = np.array([10.0, 20.0, 30.0])
    line = mean_line("x", "red", [(steps, np.array([1.0, 2, 3])), (steps[:2], np.array([3.0, 6]))])
    assert line.x.tolist() == [10, 20, 30]
    assert line.y.tolist() == [2, 4, 3]
    assert line.low.tolist() == [1, 2, 3]
    assert line.high.tolist() == [3, 6, 3]


def test_long_logs_are_averaged() -> None:
    steps = np.arange(10.0 * BINS)
    line = mean_line("x", "red", [(steps, 2 * steps)])
    assert len(line.x) == BINS
    assert line.y.mean() == pytest.approx((2 * steps).mean())
    assert line.y[0] == pytest.approx(2 * steps[:10].mean())


@pytest.mark.parametrize(("low", "high"), [(0, 100), (-0.2, 0.01), (3, 3.0004), (1, 1e6)])
def test_ticks_are_few_round_and_within(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 6
    assert low <= ticks[0]
    assert ticks[-1] <= high * (1 + 1e-9)
    assert f"{ticks[1] - ticks[0]:.3e}"[0:5] in ("1.000", "2.000", "5.000")
    assert np.diff(ticks) == pytest.approx(ticks[1] - ticks[0])


def line(y: list[float]) -> Line:
    values = np.array(y)
    return Line("x", "red", np.arange(len(y), dtype=float), values, values, values)


def test_a_falling_line_falls() -> None:
    chart = picture(line_chart("loss", [line([3.0, 2.0, 1.0])]))
    (path,) = chart.iter(f"{SVG}polyline")
    points = [tuple(map(float, pair.split(","))) for pair in path.get("points", "").split()]
    assert [x for x, _ in points] == sorted({x for x, _ in points})
    assert [y for _, y in points] == sorted({y for _, y in points})  # y points down
    x, y = zip(*points, strict=True)
    assert x[2] - x[1] == pytest.approx(x[1] - x[0], abs=0.2)
    assert y[2] - y[1] == pytest.approx(y[1] - y[0], abs=0.2)


def test_a_wide_range_is_logarithmic() -> None:
    chart = picture(line_chart("loss", [line([1000.0, 100.0, 10.0])]))
    (path,) = chart.iter(f"{SVG}polyline")
    y = [float(pair.split(",")[1]) for pair in path.get("points", "").split()]
    assert y[2] - y[1] == pytest.approx(y[1] - y[0], abs=0.2)
    assert "logarithmic" in [text.text for text in chart.iter(f"{SVG}text")]


@pytest.mark.parametrize("values", [[], [2.0], [5.0, 5.0], [0.0, 0.0], [float("nan"), 1.0]])
def test_odd_lines_make_a_picture(values: list[float]) -> None:
    chart = picture(line_chart("loss", [line(values)]))
    numbers = [
        value for element in chart.iter() for name, value in element.attrib.items() if name in "cx cy x1 y1 points"
    ]
    assert "nan" not in " ".join(numbers)


def test_bars_are_as_long_as_their_values() -> None:
    bars = [Bar("a", 25.0, "blue", "25.0", mark=50.0), Bar("b", 100.0, "red", "100.0"), Bar("c", None, "red", "-")]
    rects = list(picture(bar_chart("IoU", bars)).iter(f"{SVG}rect"))
    widths = {rect.get("fill"): float(rect.get("width", "")) for rect in rects}
    assert widths["red"] == pytest.approx(4 * widths["blue"], abs=0.2)
    assert len(rects) == 3  # two bars and a mark
