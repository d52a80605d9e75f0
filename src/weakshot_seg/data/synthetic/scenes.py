"""The embedded data set: generated scenes of 4 stuff and 12 thing classes; no file is read.

Stuff regions with wavy borders tile the image, 1 to 4 things lie on them and partly hide each other, and about half of
the scenes hold unlabelled clutter. Shape and texture distinguish the classes; colours hardly do.
"""

import colorsys
import math
import mmap
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal, NamedTuple, get_args

import numpy as np
from annotated_types import MultipleOf
from numpy.typing import NDArray
from tqdm import tqdm

from weakshot_seg.data.source import present_classes
from weakshot_seg.data.synthetic import patterns
from weakshot_seg.data.synthetic.patterns import (
    SHAPES,
    TAU,
    TEXTURES,
    Field,
    Shape,
    Texture,
    blob,
    grid,
    lattice,
    value_noise,
)
from weakshot_seg.structures import IGNORE
from weakshot_seg.utils.ranges import Count, NonNegativeInt

Part = Literal["training", "validation"]
Bytes = NDArray[np.uint8]
Size = Annotated[Count, MultipleOf(32)]


class Thing(NamedTuple):
    """A foreground class: its outline, its texture and the middle of its hues (in turns of the colour wheel)."""

    shape: Shape
    texture: Texture
    hue: float


# The hues of neighbours overlap, so that the texture must decide.
STUFF = {
    "sky": (partial(patterns.octaves, coarse=(4, 3), fine=(9, 6)), (0.45, 0.75)),  # soft clouds
    "grass": (partial(patterns.octaves, coarse=(9, 34), fine=(20, 40)), (0.10, 0.40)),  # upright blades
    "water": (patterns.water, (0.35, 0.70)),
    "brick": (patterns.brick, (-0.10, 0.25)),
}
"""Texture of each background class, and the range of its hues in turns of the colour wheel."""
# Some share the shape, some the texture and some the hue, and hues overlap (HUE_JITTER): no cue alone decides.
HUE_JITTER = 0.12
THINGS = {
    name: Thing(SHAPES[shape], TEXTURES[texture], sixths / 6)
    for name, shape, texture, sixths in (
        ("striped disc", "disc", "striped", 0),
        ("checkered disc", "disc", "checkered", 3),
        ("striped square", "square", "striped", 1),
        ("dotted square", "square", "dotted", 4),
        ("checkered triangle", "triangle", "checkered", 2),
        ("dotted flower", "flower", "dotted", 0),
        ("nautical star", "star", "faceted", 5),
        ("lifebuoy", "ring", "banded", 1),
        ("heart", "heart", "plain", 3),
        ("crescent", "crescent", "plain", 2),
        ("cross", "cross", "outlined", 4),
        ("arrow", "arrow", "outlined", 5),
    )
}
CLUTTER_TEXTURES = tuple(TEXTURES.values())[:5]


class _Item(NamedTuple):
    """One object of a scene; lengths in units of the image side."""

    label: int
    thing: Thing
    centre: tuple[float, float]
    radius: float


class SyntheticScenes:
    """Generated scenes with full label maps, drawn when first loaded; implements ``LabelledImages``.

    Scene ``index`` depends on (seed, part, index) and the size only, not on ``num_images``; the parts share no scene.
    ``size`` is the side of the square images in pixels; everything in a scene scales with it.
    """

    class_names: tuple[str, ...] = (*STUFF, *THINGS)

    def __init__(self, part: Part, num_images: Count, size: Size = 96, seed: NonNegativeInt = 0) -> None:
        self.part = part
        self._seed, self._size = seed, size
        # RGB and label of every pixel, and whether a scene is drawn; forked worker processes share this memory.
        memory = np.frombuffer(mmap.mmap(-1, num_images * (size * size * 4 + 1)), dtype=np.uint8)
        self._drawn, scenes = np.split(memory, [num_images])
        self._scenes = scenes.reshape(num_images, size, size, 4)
        self._presence = np.empty((num_images, len(self.class_names)), dtype=bool)
        for index in tqdm(range(num_images), f"labels of {part} scenes", delay=3, leave=False, disable=None):
            self._presence[index] = present_classes(self._draw(index)[0], len(self.class_names))

    def _draw(self, index: int) -> tuple[Bytes, Callable[[], Bytes]]:
        part = get_args(Part).index(self.part)
        return draw_scene(np.random.default_rng(np.random.SeedSequence([self._seed, part, index])), self._size)

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self._scenes)

    def name(self, index: int) -> str:
        """Such as "training_00042"."""
        return f"{self.part}_{index:05d}"

    def load(self, index: int) -> tuple[Bytes, Bytes]:
        """See ``LabelledImages``; copies."""
        scene = self._scenes[index]
        if not self._drawn[index]:
            labels, paint = self._draw(index)
            scene[..., :3], scene[..., 3] = paint(), labels
            self._drawn[index] = True
        return scene[..., :3].copy(), scene[..., 3].copy()

    def presence(self) -> NDArray[np.bool_]:
        """Which classes each scene shows: bool ``[len, K]``, a copy."""
        return self._presence.copy()


def draw_scene(rng: np.random.Generator, size: int) -> tuple[Bytes, Callable[[], Bytes]]:
    """Draws the label map of a scene, uint8 ``[size, size]`` with hard edges.

    The second result paints the image, RGB uint8 ``[size, size, 3]`` with soft edges; to be called once at most.
    """
    labels, stuff = _draw_stuff(rng, size)
    items = _place_items(rng)
    things = [_draw_item(rng, items[i], labels) for i in rng.permutation(len(items))]

    def paint() -> Bytes:
        image = stuff()
        for thing in things:
            thing(image)
        return _develop(rng, image)

    return labels, paint


def _draw_stuff(rng: np.random.Generator, size: int) -> tuple[Bytes, Callable[[], Field]]:
    """Label map uint8 ``[size, size]`` of 2 or 3 stuff classes, and what paints the image float32 ``[3, size, size]``.

    The regions are the Voronoi cells of as many sites around the centre, with borders bent by noise.
    """
    kinds = rng.permutation(len(STUFF))[: rng.integers(2, 4)]
    start = rng.random()
    bent_x, bent_y = (axis + 0.3 * (value_noise(lattice(rng, 5, 5), size) - 0.5) for axis in grid(size))
    nearness = np.empty((len(kinds), size, size), dtype=np.float32)
    for i in range(len(kinds)):
        angle, distance = TAU * (start + (i + rng.uniform(-0.15, 0.15)) / len(kinds)), rng.uniform(0.2, 0.4)
        site_x, site_y = 0.5 + distance * math.cos(angle), 0.5 + distance * math.sin(angle)
        nearness[i] = -np.hypot(bent_x - site_x, bent_y - site_y)
    looks = [tuple(STUFF.values())[kind] for kind in kinds]
    surfaces = [(texture(rng, size), _stuff_colours(rng, hues)) for texture, hues in looks]

    def paint() -> Field:
        # a softmax whose temperature is about a pixel gives the borders soft edges
        weights = np.exp((nearness - nearness.max(0)) * (1.5 * size))
        weights /= weights.sum(0)
        image = np.zeros((3, size, size), dtype=np.float32)
        for weight, (tone, colours) in zip(weights, surfaces, strict=True):
            image += weight * _tint(tone(), *colours)
        return image

    return kinds[nearness.argmax(0)].astype(np.uint8), paint


def _place_items(rng: np.random.Generator) -> list[_Item]:
    """Chooses the things and the clutter of a scene; they may overlap, but never so far that one vanishes."""
    items: list[_Item] = []
    kinds = tuple(THINGS.values())
    for _ in range(rng.integers(1, 5)):
        kind = int(rng.integers(len(kinds)))
        _place(rng, items, len(STUFF) + kind, kinds[kind], rng.uniform(0.17, 0.30))
    for _ in range(rng.integers(1, 4) if rng.random() < 0.5 else 0):
        texture = CLUTTER_TEXTURES[rng.integers(len(CLUTTER_TEXTURES))]
        _place(rng, items, IGNORE, Thing(blob(rng), texture, rng.random()), rng.uniform(0.05, 0.1))
    return items


def _place(rng: np.random.Generator, items: list[_Item], label: int, thing: Thing, radius: float) -> None:
    """Adds an item at the first of 16 random places that leaves all others mostly visible, or leaves it out."""
    for _ in range(16):
        centre = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)
        if all(math.dist(centre, other.centre) > 0.65 * (radius + other.radius) for other in items):
            items.append(_Item(label, thing, centre, radius))
            return


def _draw_item(rng: np.random.Generator, item: _Item, labels: Bytes) -> Callable[[Field], None]:
    """Draws an item over the labels, in place.

    The result paints it with a soft shadow over an image float ``[3, size, size]``, in place.
    """
    size = len(labels)
    left, top = (max(int((c - 1.6 * item.radius) * size), 0) for c in item.centre)
    right, bottom = (int((c + 1.6 * item.radius) * size) + 1 for c in item.centre)
    window = slice(top, bottom), slice(left, right)
    x, y = grid(size)
    x, y = (x[window] - item.centre[0]) / item.radius, (item.centre[1] - y[window]) / item.radius
    angle, stretch = rng.uniform(0, TAU), math.exp(rng.uniform(-0.15, 0.15))
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = (cos * x + sin * y) * stretch, (cos * y - sin * x) / stretch
    depth = item.thing.shape(x, y)
    labels[window][depth < 0] = item.label
    period, colours = rng.uniform(0.065, 0.095) / item.radius, _thing_colours(rng, item.thing.hue)

    def paint(image: Field) -> None:
        cover = np.clip(0.5 - depth * (item.radius * size), 0, 1)
        shade = 1 - 0.35 * np.clip(1 - depth / 0.15, 0, 1)
        tint = _tint(item.thing.texture(x, y, depth, period), *colours)
        image[:, *window] = (1 - cover) * shade * image[:, *window] + cover * tint

    return paint


def _colour(hue: float, saturation: float, value: float) -> Field:
    """RGB in 0..1 of a colour; ``hue`` in turns."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), dtype=np.float32)


def _stuff_colours(rng: np.random.Generator, hues: tuple[float, float]) -> tuple[Field, Field]:
    """The colours of tones 0 and 1 of a stuff texture: nearly one hue, dark and light."""
    hue, saturation, value = rng.uniform(*hues), rng.uniform(0.2, 0.7), rng.uniform(0.55, 0.95)
    dark = _colour(hue + rng.uniform(-0.05, 0.05), saturation, value * rng.uniform(0.4, 0.65))
    return dark, _colour(hue, saturation * rng.uniform(0.4, 1), value)


def _thing_colours(rng: np.random.Generator, hue: float) -> tuple[Field, Field]:
    """The colours of tones 0 and 1 of a thing: one dark and one light, in either order, around one hue."""
    hue += rng.uniform(-HUE_JITTER, HUE_JITTER)
    dark = _colour(hue + rng.uniform(-0.05, 0.05), rng.uniform(0.4, 0.9), rng.uniform(0.15, 0.45))
    light = _colour(hue, rng.uniform(0.2, 0.8), rng.uniform(0.7, 1))
    return (dark, light) if rng.random() < 0.5 else (light, dark)


def _tint(tone: Field, low: Field, high: Field) -> Field:
    """Blends two colours by tone: float32 ``[3, h, w]``."""
    low, high = low[:, None, None], high[:, None, None]
    return low + tone * (high - low)


def _develop(rng: np.random.Generator, image: Field) -> Bytes:
    """Slanting light, brightness, contrast and sensor noise; float ``[3, size, size]`` to uint8 ``[size, size, 3]``."""
    x, y = grid(image.shape[-1])
    light = rng.uniform(0.85, 1.1) + rng.uniform(-0.35, 0.35) * (x - 0.5) + rng.uniform(-0.35, 0.35) * (y - 0.5)
    image = (image * light - 0.5) * rng.uniform(0.8, 1.1) + 0.5
    image += rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(0.01, 0.03)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)
