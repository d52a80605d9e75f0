"""Draws docs/images/hero.png: a photo, the masks taught, the tags given, and the prediction, on a generated scene.

make train && python scripts/draw_hero.py outputs/synthetic/split1/checkpoints/last.ckpt
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.data.synthetic.scenes import draw_scene
from weakshot_seg.structures import IGNORE, ClassSplit
from weakshot_seg.training.module import WeakShotModule
from weakshot_seg.utils.visualize import INK, NOVEL, overlay

Bytes = NDArray[np.uint8]
SIDE, NETWORK_SIDE = 384, 96
"""Pixels of the scene as it is shown, and as ``make train`` trains on it."""
SEED = 2026  # of scenes that no training has seen
TITLES = ("photo", "taught: masks of base classes", "given: tags of novel classes", "predicted")
INK_COLOUR, NOVEL_COLOUR = np.array(INK) / 255, np.array(NOVEL) / 255
WRITTEN: dict[str, Any] = {"weight": "bold", "path_effects": [withStroke(linewidth=2.5, foreground="white")]}
CENTRE = WRITTEN | {"ha": "center", "va": "center"}


def draw(ckpt: str, number: int, out: Path) -> None:
    """Draws the strip for one scene."""
    module = load_module(ckpt)
    split = module.class_split
    labels, paint = draw_scene(np.random.default_rng([SEED, number]), SIDE)
    photo = paint()
    taught = np.where(np.isin(labels, split.novel), IGNORE, labels).astype(np.uint8)
    predicted = predict(module, photo)

    figure = Figure((10.8, 3), layout="constrained", facecolor="white")
    axes: list[Axes] = list(figure.subplots(1, len(TITLES)))
    views = (photo, labelled(photo, taught), pale(photo), overlay(photo, predicted, 0.62, split.novel))
    for one, title, view in zip(axes, TITLES, views, strict=True):
        one.imshow(view)
        one.set_title(title, fontsize=10, loc="left", color=INK_COLOUR)
        one.set_axis_off()
    write_names(axes[1], taught, split)
    write_names(axes[3], predicted, split)
    tags = [split.names[i] for i in split.novel if (labels == i).mean() > 0.01]
    axes[2].text(SIDE / 2, SIDE / 2, "\n\n".join(tags), color=NOVEL_COLOUR, fontsize=13, **CENTRE)
    save(figure, out)


def labelled(photo: Bytes, labels: Bytes) -> Bytes:
    """The photo under its labels, in grey where it has none."""
    grey = (170 + 0.3 * photo.mean(2, keepdims=True)).astype(np.uint8).repeat(3, 2)
    return np.where((labels != IGNORE)[..., None], overlay(photo, labels, 0.62), grey)


def pale(photo: Bytes) -> Bytes:
    """A ground to write on."""
    return (0.35 * photo + 0.65 * 255).astype(np.uint8)


def save(figure: Figure, out: Path, dpi: int = 125) -> None:
    """As a small PNG file."""
    figure.savefig(out, dpi=dpi, metadata={"Software": None})
    Image.open(out).convert("RGB").quantize(256).save(out, optimize=True)


@torch.no_grad()
def predict(module: WeakShotModule, photo: Bytes) -> Bytes:
    """The label map of a scene at the size it is shown in, by the network at the size it was trained on."""
    small = Image.fromarray(photo).resize((NETWORK_SIDE, NETWORK_SIDE), Image.Resampling.BOX)
    output = module.model.eval()(torch.from_numpy(np.array(small)).permute(2, 0, 1)[None], last_only=True)
    scores = torch.einsum("bqk,bqhw->bkhw", output.class_scores(), output.mask_logits[-1].sigmoid())
    enlarged = F.interpolate(scores, (SIDE, SIDE), mode="bilinear")[0]
    return enlarged.argmax(0).numpy().astype(np.uint8)


def write_names(axes: Axes, labels: Bytes, split: ClassSplit) -> None:
    """Writes the name of each class at the innermost pixel of its largest region."""
    for index in np.setdiff1d(np.unique(labels), [IGNORE]):
        regions, count = ndimage.label(labels == index)
        areas = ndimage.sum_labels(labels == index, regions, range(1, count + 1))
        if areas.max() < labels.size / 100:
            continue
        inside = np.pad(regions == 1 + int(areas.argmax()), 1)
        y, x = np.unravel_index(ndimage.distance_transform_edt(inside).argmax(), inside.shape)
        colour = NOVEL_COLOUR if index in split.novel else INK_COLOUR
        name = split.names[index].replace(" ", "\n")
        x, y = np.clip(x, 40, SIDE - 40), np.clip(y, 14, SIDE - 14)
        axes.text(x, y, name, color=colour, fontsize=8.5, **CENTRE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ckpt")
    parser.add_argument("--scene", type=int, default=143, help="number of the scene")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images" / "hero.png")
    arguments = parser.parse_args()
    draw(arguments.ckpt, arguments.scene, arguments.out)
