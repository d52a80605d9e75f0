"""Outlines and surfaces of the synthetic scenes, as formulas.

Those of things in the object's own frame: ``x``, ``y`` (up) are float arrays of one shape, in units of its radius.
Those of stuff draw their random numbers at once and give what computes the tones in 0..1, float32 ``[size, size]``; the
size changes the resolution only.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating]
Shape = Callable[[Field, Field], Field]
"""(x, y) -> signed distance: negative inside, positive outside, with a slope of about 1 across the outline, so that
dividing by the size of a pixel gives soft edges. The figure fills about the unit disc."""
Texture = Callable[[Field, Field, Field, float], Field]
"""(x, y, signed distance to the outline, length of one repeat) -> tone in 0..1."""
Surface = Callable[[], Field]
"""() -> tone in 0..1 of stuff."""

TAU = 2 * math.pi
SQRT_HALF = 0.5**0.5
TIP = 1.2
"""Radius of the corners of pointed figures, which would look small within the unit disc."""


def step(field: Field, width: float) -> Field:
    """0 below zero, 1 above, with a linear ramp of ``width`` against jagged edges."""
    return np.clip(field / width + 0.5, 0, 1)


def _fold(x: Field, y: Field, sectors: int) -> tuple[Field, Field]:
    """Maps the plane onto half a sector of a figure with ``sectors`` mirror-symmetric arms, the first along +y."""
    sector = 2 * np.pi / sectors
    angle = np.arctan2(x, y)
    angle = np.abs(angle - sector * np.round(angle / sector))
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


def blob(rng: np.random.Generator) -> Shape:
    """A random lumpy outline unlike any of the named shapes."""
    waves = [(k, rng.uniform(-0.4, 0.4) / k, rng.uniform(0, 2 * math.pi)) for k in range(2, 6)]

    def distance(x: Field, y: Field) -> Field:
        angle = np.arctan2(y, x)
        outline = sum(swing * np.cos(k * angle + phase) for k, swing, phase in waves)
        return np.hypot(x, y) - 0.75 - outline

    return distance


def _heart(x: Field, y: Field) -> Field:
    """A square on its corner with a half disc on each of its upper sides."""
    half = 0.82
    x, y = np.abs(x), y + 0.1
    square = (x + np.abs(y) - half) * SQRT_HALF
    return np.minimum(square, np.hypot(x - half / 2, y - half / 2) - half * SQRT_HALF)


def _cross(x: Field, y: Field) -> Field:
    x, y = np.abs(x), np.abs(y)
    return np.maximum(np.maximum(x, y) - 1, np.minimum(x, y) - 0.34)


def _arrow(x: Field, y: Field) -> Field:
    """A broad head on a shaft."""
    x = np.abs(x)
    head, shaft = np.maximum(-y, (x + y - 1) * SQRT_HALF), np.maximum(x - 0.42, np.abs(y + 0.4) - 0.6)
    return np.minimum(head, shaft)


def _flower(x: Field, y: Field) -> Field:
    """Five round petals."""
    along, across = _fold(x, y, 5)
    return np.minimum(np.hypot(along - 0.62, across) - 0.38, np.hypot(x, y) - 0.5)


SHAPES: dict[str, Shape] = {
    "disc": lambda x, y: np.hypot(x, y) - 1,
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) - 0.8,
    "triangle": star(3, math.cos(math.pi / 3)),
    "star": star(5, 0.55),
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.7) - 0.3,
    "crescent": lambda x, y: np.maximum(np.hypot(x, y) - 1, 0.72 - np.hypot(x - 0.62, y)),
    "heart": _heart,
    "cross": _cross,
    "arrow": _arrow,
    "flower": _flower,
}
TEXTURES: dict[str, Texture] = {
    "plain": lambda x, y, depth, period: 0.75 + 0.2 * np.clip(y, -1, 1),  # fades a little from top to bottom
    "striped": lambda x, y, depth, period: step(np.sin(TAU * x / period), 0.8),
    "checkered": lambda x, y, depth, period: step(np.sin(TAU * x / period) * np.sin(TAU * y / period), 0.4),
    "dotted": lambda x, y, depth, period: step(np.cos(TAU * x / period) + np.cos(TAU * y / period) - 0.7, 0.8),
    "outlined": lambda x, y, depth, period: step(depth + 0.17, 0.1),  # a broad rim
    # sectors in turns light and dark, as on a nautical star with five points, and on a lifebuoy
    "faceted": lambda x, y, depth, period: step(np.sin(5 * np.arctan2(x, y)) * np.hypot(x, y), 0.3),
    "banded": lambda x, y, depth, period: step(np.sin(4 * np.arctan2(x, y)) * np.hypot(x, y), 0.4),
}


@cache
def grid(size: int) -> tuple[Field, Field]:
    """Pixel centres of an image in 0..1: ``x``, ``y`` (down), each float32 ``[size, size]``."""
    centres = ((np.arange(size) + 0.5) / size).astype(np.float32)
    x, y = np.meshgrid(centres, centres)
    x.flags.writeable = y.flags.writeable = False  # all scenes share them
    return x, y


def lattice(rng: np.random.Generator, rows: int, columns: int) -> Field:
    """Random values in 0..1 at the corners of ``rows`` x ``columns`` cells."""
    return rng.random((rows + 1, columns + 1), dtype=np.float32)


def value_noise(lattice: Field, size: int) -> Field:
    """Smooth noise in 0..1, float32 ``[size, size]``: a lattice interpolated by two matrix products."""
    rows, columns = lattice.shape
    return _interpolation(size, rows - 1) @ lattice @ _interpolation(size, columns - 1).T


@cache
def _interpolation(size: int, cells: int) -> Field:
    """The matrix ``[size, cells + 1]`` that smoothly interpolates ``cells + 1`` lattice values at ``size`` pixels."""
    position = (np.arange(size) + 0.5) / size * cells
    left = np.floor(position).astype(int)
    t = position - left
    t = t * t * (3 - 2 * t)
    matrix = np.zeros((size, cells + 1), dtype=np.float32)
    matrix[np.arange(size), left] = 1 - t
    matrix[np.arange(size), left + 1] = t
    return matrix


def _tilted(rng: np.random.Generator, most: float) -> Callable[[int], tuple[Field, Field]]:
    """The grid of a size, turned by at most ``most`` radians and shifted by a random offset."""
    angle, shift_x, shift_y = rng.uniform(-most, most), rng.random(), rng.random()
    cos, sin = math.cos(angle), math.sin(angle)

    def tilted(size: int) -> tuple[Field, Field]:
        x, y = grid(size)
        return cos * x - sin * y + shift_x, sin * x + cos * y + shift_y

    return tilted


def octaves(rng: np.random.Generator, size: int, coarse: tuple[int, int], fine: tuple[int, int]) -> Surface:
    """Noise of two grains, each given by its rows and columns."""
    broad, narrow = lattice(rng, *coarse), lattice(rng, *fine)
    return lambda: step(0.7 * value_noise(broad, size) + 0.3 * value_noise(narrow, size) - 0.5, 0.6)


def water(rng: np.random.Generator, size: int) -> Surface:
    """Waves: level lines about 7 % of the image apart, bent by noise."""
    tilted, period, bends = _tilted(rng, 0.25), rng.uniform(0.06, 0.09), lattice(rng, 4, 6)
    return lambda: 0.5 + 0.5 * np.sin(TAU * (tilted(size)[1] / period + 1.5 * value_noise(bends, size)))


def brick(rng: np.random.Generator, size: int) -> Surface:
    """Courses of bricks, each brick with its own tone in 0.5..1, with mortar (0) between them."""
    tilted, height, table = _tilted(rng, 0.2), rng.uniform(0.085, 0.12), rng.random(1024, dtype=np.float32)

    def tones() -> Field:
        x, y = tilted(size)
        row = (y + 1) / height
        course = np.floor(row)
        column = (x + 1) / (2 * height) + 0.5 * (course % 2)
        number = np.floor(column)
        # distance to the nearest joint, in units of a brick's height
        joint = np.minimum(0.5 - np.abs(row - course - 0.5), 1 - 2 * np.abs(column - number - 0.5))
        # at most 38 courses of 19 bricks: the table has a tone for each
        own = 1 - 0.5 * table[(course * 23 + number).astype(int) % 1024]
        return step(joint - 0.11, 0.12) * own

    return tones
