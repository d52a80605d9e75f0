"""Backgrounds of the synthetic scenes: random tones in 0..1 for a whole square image.

Each is a function ``(rng, size)`` that returns float32 ``[size, size]``; the size changes the resolution only.
"""

from __future__ import annotations

import math

import numpy as np

from weakshot_seg.data.synthetic.things import TAU, Field, step


def grid(size: int) -> tuple[Field, Field]:
    """Pixel centres of an image in 0..1: ``x``, ``y`` (down), each float32 ``[size, size]``."""
    centres = ((np.arange(size) + 0.5) / size).astype(np.float32)
    x, y = np.meshgrid(centres, centres)
    return x, y


def value_noise(rng: np.random.Generator, size: int, rows: int, columns: int) -> Field:
    """Smooth noise in 0..1: a random lattice of ``rows`` x ``columns`` cells, interpolated by two matrix products."""
    lattice = rng.random((rows + 1, columns + 1), dtype=np.float32)
    return _interpolation(size, rows) @ lattice @ _interpolation(size, columns).T


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


def _tilted(rng: np.random.Generator, size: int, most: float) -> tuple[Field, Field]:
    """The grid turned by at most ``most`` radians and shifted by a random offset."""
    x, y = grid(size)
    angle = rng.uniform(-most, most)
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * x - sin * y + rng.random(), sin * x + cos * y + rng.random()


def sky(rng: np.random.Generator, size: int) -> Field:
    """Soft clouds: two octaves of coarse noise."""
    clouds = 0.7 * value_noise(rng, size, 4, 3) + 0.3 * value_noise(rng, size, 9, 6)
    return step(clouds - 0.5, 0.6)


def grass(rng: np.random.Generator, size: int) -> Field:
    """Upright blades: fine noise, stretched downwards."""
    blades = 0.7 * value_noise(rng, size, 9, 34) + 0.3 * value_noise(rng, size, 20, 40)
    return step(blades - 0.5, 0.6)


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
    return step(joint - 0.11, 0.12) * tones
