"""Outlines of the synthetic things, as signed distances on a grid.

Every function takes coordinates ``x``, ``y`` (float arrays of one shape) in the object's own frame and in units of its
radius: the figure fills about the unit disc, ``y`` points up. It returns an array of that shape: negative inside,
positive outside, with a slope of about 1 across the outline, so that dividing by the size of a pixel gives soft edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating]
Shape = Callable[[Field, Field], Field]

SQRT_HALF = 0.5**0.5
TIP = 1.2  # radius of the corners of pointed figures, which would look small within the unit disc


def _fold(x: Field, y: Field, sectors: int) -> tuple[Field, Field]:
    """Maps the plane onto half a sector of a figure with ``sectors`` mirror-symmetric arms, the first along +y."""
    step = 2 * np.pi / sectors
    angle = np.arctan2(x, y)
    angle = np.abs(angle - step * np.round(angle / step))
    radius = np.hypot(x, y)
    return radius * np.cos(angle), radius * np.sin(angle)


def star(points: int, inner: float) -> Shape:
    """A star whose inner corners lie ``inner`` times as far out as its tips; ``cos(pi / points)`` makes a polygon."""
    corner_x, corner_y = inner * math.cos(math.pi / points), inner * math.sin(math.pi / points)
    length = math.hypot(1 - corner_x, corner_y)
    normal_x, normal_y = corner_y / length, (1 - corner_x) / length

    def distance(x: Field, y: Field) -> Field:
        along, across = _fold(x, y, points)
        return (along - TIP) * normal_x + across * normal_y

    return distance


def polygon(corners: int) -> Shape:
    """A regular polygon, the first corner on top."""
    return star(corners, math.cos(math.pi / corners))


def square(x: Field, y: Field) -> Field:
    """A square."""
    return np.maximum(np.abs(x), np.abs(y)) - 0.8


def disc(x: Field, y: Field) -> Field:
    """A disc."""
    return np.hypot(x, y) - 1


def ring(x: Field, y: Field) -> Field:
    """A ring with a hole of less than half its size."""
    return np.abs(np.hypot(x, y) - 0.7) - 0.3


def crescent(x: Field, y: Field) -> Field:
    """A moon: a disc without a smaller one shifted to the right."""
    return np.maximum(disc(x, y), 0.72 - np.hypot(x - 0.62, y))


def heart(x: Field, y: Field) -> Field:
    """A heart: a square on its corner with a half disc on each of its upper sides."""
    half = 0.82
    x, y = np.abs(x), y + 0.1
    square = (x + np.abs(y) - half) * SQRT_HALF
    lobe = np.hypot(x - half / 2, y - half / 2) - half * SQRT_HALF
    return np.minimum(square, lobe)


def cross(x: Field, y: Field) -> Field:
    """A plus sign with thick arms."""
    x, y = np.abs(x), np.abs(y)
    return np.maximum(np.maximum(x, y) - 1, np.minimum(x, y) - 0.34)


def arrow(x: Field, y: Field) -> Field:
    """An arrow that points up: a broad head on a shaft."""
    x = np.abs(x)
    head = np.maximum(-y, (x + y - 1) * SQRT_HALF)
    shaft = np.maximum(x - 0.42, np.abs(y + 0.4) - 0.6)
    return np.minimum(head, shaft)


def flower(x: Field, y: Field) -> Field:
    """A flower with five round petals."""
    along, across = _fold(x, y, 5)
    return np.minimum(np.hypot(along - 0.62, across) - 0.38, np.hypot(x, y) - 0.5)


def blob(rng: np.random.Generator) -> Shape:
    """A random lumpy outline unlike any of the named shapes."""
    waves = [(k, rng.uniform(-0.4, 0.4) / k, rng.uniform(0, 2 * math.pi)) for k in range(2, 6)]

    def distance(x: Field, y: Field) -> Field:
        angle = np.arctan2(y, x)
        outline = sum(swing * np.cos(k * angle + phase) for k, swing, phase in waves)
        return np.hypot(x, y) - 0.75 - outline

    return distance
