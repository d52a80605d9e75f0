"""Charts as inline SVG: lines over steps and horizontal bars. Every text is escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

COLOURS = ("#2f6db5", "#e0803a", "#3d9970", "#b04a9d", "#7a6a52", "#c9a227", "#5bb5c9", "#d1495b")
"""Distinct on white, also for most people who see fewer colours."""
INK, GRID, TEXT = "#222630", "#e6e8ec", "#6b7280"


@dataclass(frozen=True)
class Line:
    """A line of a chart and the range around it.

    Attributes:
        label: shown when the mouse rests on it.
        colour: CSS colour.
        x: float ``[n]``, ascending.
        y: float ``[n]``; gaps are NaN.
        low: float ``[n]``, lower end of the range.
        high: float ``[n]``, upper end.
    """

    label: str
    colour: str
    x: FloatArray
    y: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class Bar:
    """A horizontal bar.

    Attributes:
        label: to its left.
        value: length, 0..100; None: no bar.
        colour: CSS colour.
        text: to its right.
        deviation: half the length of a whisker at its end.
        mark: position of a line across, 0..100.
    """

    label: str
    value: float | None
    colour: str
    text: str
    deviation: float | None = None
    mark: float | None = None


def line_chart(title: str, lines: Sequence[Line], width: int = 360, height: int = 220) -> str:
    """An SVG picture of lines over steps; logarithmic if all values are positive and span more than a factor of 50."""
    left, right, top, bottom = 52, 12, 30, 26
    points = [line for line in lines if np.isfinite(line.y).any()]
    nothing = [np.array([0.0, 1.0])]
    values = np.concatenate([v[np.isfinite(v)] for line in points for v in (line.low, line.high)] or nothing)
    steps = np.concatenate([line.x for line in points] or nothing)
    log = bool(values.min() > 0 and values.max() > 50 * values.min())
    lowest, highest = _limits(np.log10(values) if log else values)
    first, last = _limits(steps)

    def across(x: FloatArray | float) -> FloatArray:
        return np.asarray(left + (np.asarray(x) - first) / (last - first) * (width - left - right))

    def down(y: FloatArray | float) -> FloatArray:
        y = np.log10(y) if log else np.asarray(y)
        return np.asarray(height - bottom - (y - lowest) / (highest - lowest) * (height - top - bottom))

    parts = [_text(left, 16, title, "start", INK, 600)]
    if log:
        parts.append(_text(width - right, 16, "logarithmic", "end"))
    for tick in _log_ticks(lowest, highest) if log else nice_ticks(lowest, highest):
        at = float(down(tick))
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{at:.1f}" y2="{at:.1f}" stroke="{GRID}"/>')
        parts.append(_text(left - 6, at + 4, _number(tick), "end"))
    for tick in nice_ticks(first, last, 4):
        parts.append(_text(float(across(tick)), height - 8, _number(tick), "middle"))
    for line in points:
        shown = np.isfinite(line.y)
        x, y, low, high = (part[shown] for part in (line.x, line.y, line.low, line.high))
        label = f"<title>{escape(line.label)}</title>"
        if (high > low).any():
            outline = _points(across(np.r_[x, x[::-1]]), down(np.r_[low, high[::-1]]))
            parts.append(f'<polygon points="{outline}" fill="{line.colour}" opacity=".14">{label}</polygon>')
        if len(x) > 1:
            path = f'points="{_points(across(x), down(y))}" fill="none" stroke="{line.colour}" stroke-width="1.6"'
            parts.append(f'<polyline {path} stroke-linejoin="round">{label}</polyline>')
        if len(x) <= 12:
            parts += [
                f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="2.6" fill="{line.colour}">{label}</circle>'
                for cx, cy in zip(across(x), down(y), strict=True)
            ]
    return _svg(width, height, title, parts)


def bar_chart(title: str, bars: Sequence[Bar], width: int = 540, label_width: int = 190) -> str:
    """An SVG picture of horizontal bars from 0 to 100, one below the other."""
    row, top, room = 20, 22, 84
    scale = (width - label_width - room) / 100
    height = top + row * len(bars) + 4
    parts = []
    for tick in range(0, 101, 25):
        x = label_width + tick * scale
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}" y2="{height}" stroke="{GRID}"/>')
        parts.append(_text(x, 12, str(tick), "middle"))
    for number, bar in enumerate(bars):
        y = top + row * number
        most = max(4, label_width // 7)
        label = bar.label if len(bar.label) <= most else bar.label[: most - 1] + "…"
        parts.append(_text(label_width - 8, y + 13, label, "end", INK))
        told = f"<title>{escape(f'{bar.label}: {bar.text}')}</title>"
        start = max(0.0, min(100.0, bar.value or 0.0))
        if bar.value is not None:
            size = f'y="{y + 3}" width="{max(start * scale, 1):.1f}" height="{row - 7}"'
            parts.append(f'<rect x="{label_width}" {size} rx="2" fill="{bar.colour}">{told}</rect>')
        end = max(start, bar.mark or 0)
        if bar.deviation:
            low, high = max(0.0, start - bar.deviation), min(100.0, start + bar.deviation)
            parts.append(_rule(label_width + low * scale, label_width + high * scale, y + row / 2 - 0.5, 1))
            end = max(end, high)
        if bar.mark is not None:
            x = label_width + bar.mark * scale
            parts.append(f'<rect x="{x - 1:.1f}" y="{y + 1}" width="2" height="{row - 3}" fill="{INK}"/>')
        parts.append(_text(label_width + end * scale + 6, y + 13, bar.text, "start"))
    return _svg(width, height, title, parts)


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    every = max(1, math.ceil(len(powers) / 5))
    return [10.0**power for power in powers if power % every == 0]


def _limits(values: FloatArray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 0.5 * abs(high) or 0.5
    return low - margin, high + margin


def _number(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:.4g}"


def _points(x: FloatArray, y: FloatArray) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _rule(x1: float, x2: float, y: float, width: float) -> str:
    return f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{INK}" stroke-width="{width}"/>'


def _text(x: float, y: float, content: str, anchor: str, colour: str = TEXT, weight: int = 400) -> str:
    style = f'text-anchor="{anchor}" fill="{colour}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(content)}</text>'


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg {size} role="img" aria-label="{escape(title)}" font-size="11.5">{"".join(parts)}</svg>'
