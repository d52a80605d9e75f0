"""Surfaces of the synthetic scenes: patterns of tones in 0..1, which the scene turns into colours.

*Stuff* patterns fill a whole square image: ``pattern(rng, size)`` returns float32 ``[size, size]``. *Thing* patterns
live in the object's frame: ``pattern(x, y, depth, period)`` takes the coordinates of :mod:`shapes`, the signed distance
to the outline and the length of one repeat, all in units of the object's radius. The image size changes the resolution
only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from weakshot_seg.data.synthetic.shapes import Field

StuffTexture = Callable[[np.random.Generator, int], Field]
ThingTexture = Callable[[Field, Field, Field, float], Field]

TAU = 2 * math.pi


@lru_cache(maxsize=64)
def grid(size: int) -> tuple[Field, Field]:
    """Pixel centres of an image in 0..1: ``x``, ``y`` (down), each float32 ``[size, size]``, read-only."""
    centres = ((np.arange(size) + 0.5) / size).astype(np.float32)
    x, y = (np.ascontiguousarray(a) for a in np.meshgrid(centres, centres))
    x.flags.writeable = y.flags.writeable = False
    return x, y


@lru_cache(maxsize=64)
def _interpolation(size: int, cells: int) -> Field:
    """The matrix ``[size, cells + 1]`` that smoothly interpolates ``cells + 1`` lattice values at ``size`` pixels."""
    position = (np.arange(size) + 0.5) / size * cells
    left = np.floor(position).astype(int)
    t = position - left
    t = t * t * (3 - 2 * t)
    matrix = np.zeros((size, cells + 1), dtype=np.float32)
    matrix[np.arange(size), left] = 1 - t
    matrix[np.arange(size), left + 1] = t
    matrix.flags.writeable = False
    return matrix


def value_noise(rng: np.random.Generator, size: int, rows: int, columns: int) -> Field:
    """Smooth noise in 0..1: a random lattice of ``rows`` x ``columns`` cells, interpolated by two matrix products."""
    lattice = rng.random((rows + 1, columns + 1), dtype=np.float32)
    return _interpolation(size, rows) @ lattice @ _interpolation(size, columns).T


def _step(field: Field, width: float) -> Field:
    """0 below zero, 1 above, with a linear ramp of ``width`` against jagged edges."""
    return np.clip(field / width + 0.5, 0, 1)


def _tilted(rng: np.random.Generator, size: int, most: float) -> tuple[Field, Field]:
    """The grid turned by at most ``most`` radians and shifted by a random offset."""
    x, y = grid(size)
    angle = rng.uniform(-most, most)
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * x - sin * y + rng.random(), sin * x + cos * y + rng.random()


def sky(rng: np.random.Generator, size: int) -> Field:
    """Soft clouds: two octaves of coarse noise."""
    clouds = 0.7 * value_noise(rng, size, 4, 3) + 0.3 * value_noise(rng, size, 9, 6)
    return _step(clouds - 0.5, 0.6)


def grass(rng: np.random.Generator, size: int) -> Field:
    """Upright blades: fine noise, stretched downwards."""
    blades = 0.7 * value_noise(rng, size, 9, 34) + 0.3 * value_noise(rng, size, 20, 40)
    return _step(blades - 0.5, 0.6)


def water(rng: np.random.Generator, size: int) -> Field:
    """Waves: level lines about 7 % of the image apart, bent by noise."""
    _, y = _tilted(rng, size, 0.25)
    period = rng.uniform(0.06, 0.09)
    phase = y / period + 1.5 * value_noise(rng, size, 4, 6)
    return 0.5 + 0.5 * np.sin(TAU * phase)


def brick(rng: np.random.Generator, size: int) -> Field:
    """Courses of bricks, each brick with its own tone in 0.5..1, with mortar (0) between them."""
    x, y = _tilted(rng, size, 0.2)
    height = rng.uniform(0.085, 0.12)
    row = (y + 1) / height
    course = np.floor(row)
    column = (x + 1) / (2 * height) + 0.5 * (course % 2)
    number = np.floor(column)
    # distance to the nearest joint, in units of a brick's height
    joint = np.minimum(0.5 - np.abs(row - course - 0.5), 1 - 2 * np.abs(column - number - 0.5))
    # at most 38 courses of 19 bricks: the table has a tone for each
    tones = 1 - 0.5 * rng.random(1024, dtype=np.float32)[(course * 23 + number).astype(int) % 1024]
    return _step(joint - 0.11, 0.12) * tones


def plain(x: Field, y: Field, depth: Field, period: float) -> Field:
    """One colour that fades a little from top to bottom."""
    return 0.75 + 0.2 * np.clip(y, -1, 1)


def striped(x: Field, y: Field, depth: Field, period: float) -> Field:
    """Straight stripes."""
    return _step(np.sin(TAU * x / period), 0.8)


def checkered(x: Field, y: Field, depth: Field, period: float) -> Field:
    """A chequerboard."""
    return _step(np.sin(TAU * x / period) * np.sin(TAU * y / period), 0.4)


def dotted(x: Field, y: Field, depth: Field, period: float) -> Field:
    """Round dots on a square lattice."""
    return _step(np.cos(TAU * x / period) + np.cos(TAU * y / period) - 0.7, 0.8)


def outlined(x: Field, y: Field, depth: Field, period: float) -> Field:
    """A broad rim along the outline."""
    return _step(depth + 0.17, 0.1)


def faceted(x: Field, y: Field, depth: Field, period: float) -> Field:
    """Ten sectors in turns light and dark, as on a nautical star with five points."""
    return _step(np.sin(5 * np.arctan2(x, y)) * np.hypot(x, y), 0.3)


def banded(x: Field, y: Field, depth: Field, period: float) -> Field:
    """Eight sectors in turns light and dark, as on a lifebuoy."""
    return _step(np.sin(4 * np.arctan2(x, y)) * np.hypot(x, y), 0.4)
