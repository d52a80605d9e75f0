r"""Draws the pictures of docs/explanation/method.md: what each loss sees, on generated scenes, by a trained network.

    python scripts/make_scenes.py scenes
    weakshot train experiment=folder data.root=scenes name=scenes trainer.max_steps=300 \
        data.train_transform.crop_size=96 data.train_transform.short_edge=96 data.val_transform.short_edge=96
    python scripts/draw_method.py outputs/scenes/split1/checkpoints/last.ckpt

The values are those of the training's own functions, on the 96 x 96 pixels that the network sees.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from draw_hero import INK_COLOUR, NETWORK_SIDE, NOVEL_COLOUR, SEED, SIDE, WRITTEN, labelled, pale, save, write_names
from weakshot_seg.checkpoints.building import module_of
from weakshot_seg.checkpoints.reading import read_model
from weakshot_seg.data.synthetic.scenes import draw_scene
from weakshot_seg.losses.functional import StridedGrid, mask_losses
from weakshot_seg.losses.similarity import cosine
from weakshot_seg.losses.terms import IGNORE_LOGIT
from weakshot_seg.structures import IGNORE, ClassSplit, Knowledge, SegOutput, WeakTargets
from weakshot_seg.training.teacher import OnlineTeacher
from weakshot_seg.utils.visualize import overlay

Bytes = NDArray[np.uint8]
OUT = Path(__file__).parents[1] / "docs" / "images"
SHRINK = SIDE // NETWORK_SIDE
STRIDE = 4
"""Pixels of the network's image for one of its mask logits."""
GRID = StridedGrid((NETWORK_SIDE, NETWORK_SIDE))
PROBABILITY = LinearSegmentedColormap.from_list("probability", ["#ffffff", "#08306b"])
PROBABILITY.set_bad("#d9dce2")
LOSS = LinearSegmentedColormap.from_list("loss", ["#ffffff", "#99000d"])
SAME, DIFFERENT = "#1a9850", "#d73027"
SCENES = (81, 86, 94)
PAIRS = 0  # seed of the pairs of pixels


@dataclass(frozen=True)
class Batch:
    """Three scenes, the first two a pair with masks, the last with tags alone, and what is made of them.

    ``photos`` are uint8 ``[SIDE, SIDE, 3]``, ``images`` what the network sees of them, uint8 ``[3, 3, 96, 96]``, and
    ``output`` its last layer's.
    """

    split: ClassSplit
    photos: list[Bytes]
    images: Tensor
    targets: WeakTargets
    output: SegOutput
    simnet: torch.nn.Module
    teacher: OnlineTeacher

    def mask(self, image: int, index: int) -> Tensor:
        """Mask logits ``[96, 96]`` of the query of a class."""
        return GRID.resize(self.output.mask_logits[-1, image, index])

    def tags(self, image: int) -> list[int]:
        """The classes known by tag only."""
        return self.targets.tagged[image].nonzero()[:, 0].tolist()

    def taught(self, image: int) -> Bytes:
        """The photo under the masks that are taught."""
        return labelled(self.photos[image], enlarged(self.targets.label_map[image].numpy()))


@torch.no_grad()
def make_batch(ckpt: Path, numbers: list[int]) -> Batch:
    """The scenes of these numbers, and what a trained network makes of them."""
    saved = read_model(ckpt)
    module, split = module_of(saved, ckpt), saved.class_split
    teacher: OnlineTeacher = instantiate(saved.recipe.teacher)
    teacher.attach(module.model, split.num_classes)
    own = {name.removeprefix("teacher."): t for name, t in saved.state.items() if name.startswith("teacher.")}
    teacher.load_state_dict(own)
    drawn = [draw_scene(np.random.default_rng([SEED, number]), SIDE) for number in numbers]
    photos = [paint() for _, paint in drawn]
    small = [Image.fromarray(photo).resize((NETWORK_SIDE, NETWORK_SIDE), Image.Resampling.BOX) for photo in photos]
    images = torch.from_numpy(np.stack([np.array(image) for image in small])).permute(0, 3, 1, 2)
    targets = known(split, torch.from_numpy(np.stack([labels[2::SHRINK, 2::SHRINK] for labels, _ in drawn])))
    output = module.model(images, last_only=True)
    return Batch(split, photos, images, targets, output, module.criterion.terms["similarity"].simnet, teacher)


def known(split: ClassSplit, labels: Tensor) -> WeakTargets:
    """What a training knows of label maps: masks of base classes and tags of novel ones; of the last image tags."""
    novel = split.is_novel()
    shown = torch.stack([(labels == index).flatten(1).any(1) for index in range(split.num_classes)], 1)
    states = torch.where(shown, Knowledge.PRESENT, Knowledge.ABSENT)
    states = torch.where(novel, states, Knowledge.MASK)
    states[-1, ~novel] = Knowledge.UNKNOWN
    label_map = labels.masked_fill(torch.isin(labels, torch.tensor(split.novel)), IGNORE)
    label_map[-1] = IGNORE
    return WeakTargets.collate(label_map, torch.zeros_like(labels, dtype=torch.bool), states.byte(), novel, paired=True)


def given(batch: Batch) -> Figure:
    """The photos of the batch: masks of base classes and tags of novel ones."""
    figure, axes = strip("a pair that shares a tag: anchor", "reference", "a photo with tags alone")
    for image, one in enumerate(axes):
        one.imshow(batch.taught(image))
        write_names(one, enlarged(batch.targets.label_map[image].numpy()), batch.split)
        write_tags(one, batch, image)
    return figure


def mask_loss(batch: Batch, index: int) -> Figure:
    """The mask of a base class against the network's."""
    name, mask = batch.split.names[index], batch.targets.label_map[0] == index
    figure, axes = strip("photo", f"taught: {name}", f"the mask of {name}", "focal loss")
    axes[0].imshow(batch.photos[0])
    axes[1].imshow(enlarged(mask.numpy()), cmap=PROBABILITY)
    show_loss(axes[2], axes[3], batch.mask(0, index), mask)
    return figure


def complement_loss(batch: Batch) -> Figure:
    """What the base masks leave over against the union of the novel masks and the faint plane."""
    tags, rest = batch.tags(0), batch.targets.label_map[0] == IGNORE
    names = " and ".join(batch.split.names[index] for index in tags)
    union = torch.stack([batch.mask(0, index) for index in tags]).amax(0).clamp(min=IGNORE_LOGIT)
    figure, axes = strip("masks of base classes", "taught: the rest", f"the mask of {names}", "focal loss")
    axes[0].imshow(batch.taught(0))
    write_names(axes[0], enlarged(batch.targets.label_map[0].numpy()), batch.split)
    axes[1].imshow(enlarged(rest.numpy()), cmap=PROBABILITY)
    show_loss(axes[2], axes[3], union, rest)
    return figure


def absence_loss(batch: Batch) -> Figure:
    """The largest mask of a class that is not in the image, against nothing."""
    absent = batch.targets.absent[0].nonzero()[:, 0].tolist()
    index = max(absent, key=lambda index: float(batch.mask(0, index).sigmoid().mean()))
    name = batch.split.names[index]
    figure, axes = strip("photo", f"taught: no {name} here", f"the mask of {name}", "focal loss")
    nothing = torch.zeros(NETWORK_SIDE, NETWORK_SIDE, dtype=torch.bool)
    axes[0].imshow(batch.photos[0])
    axes[1].imshow(enlarged(nothing.numpy()), cmap=PROBABILITY, vmin=0, vmax=1)
    show_loss(axes[2], axes[3], batch.mask(0, index), nothing)
    return figure


def similarity_pairs(batch: Batch) -> Figure:
    """Pairs of base pixels of the two images, and how sure SimNet is that they are of one class."""
    gap = SIDE // 3
    figure, (axes,) = strip("pixels of the anchor and of the reference; how sure SimNet is that they are of one class")
    figure.set_size_inches(7.2, 3.2)
    white = np.full((SIDE, gap, 3), 255, np.uint8)
    axes.imshow(np.hstack([batch.photos[0], white, batch.photos[1]]))
    axes.set_frame_on(False)
    labels = batch.targets.label_map[:2, 2::STRIDE, 2::STRIDE].flatten(1).numpy()
    shared = [index for index in np.intersect1d(*labels) if index != IGNORE]
    random = np.random.default_rng(PAIRS)

    def draw(image: int, of: NDArray[np.bool_]) -> int:
        return int(random.choice(np.flatnonzero(of & (labels[image] != IGNORE))))

    for number, index in enumerate([*shared, *shared]):
        first, second = draw(0, labels[0] == index), draw(1, (labels[1] == index) == (number < len(shared)))
        with torch.no_grad():
            logits = batch.simnet(embeddings(batch, 0)[None, first, None], embeddings(batch, 1)[None, second, None])
        x, y = np.add(place(second), (SIDE + gap, 0))
        colour = SAME if labels[0, first] == labels[1, second] else DIFFERENT
        ends = np.array([place(first), (x, y)])
        axes.plot(*ends.T, "o-", color=colour, markeredgecolor="white", linewidth=1.4, markersize=6)
        text = f"{100 * logits.softmax(-1)[0, 0, 0, 1]:.0f} %"
        axes.text(*ends[1] + (14, 4), text, color=colour, va="top", **WRITTEN)
    return figure


def distillation(batch: Batch) -> Figure:
    """How similar the pixels of the reference are to one novel pixel of the anchor: by SimNet, and by the masks."""
    tag = next(index for index in batch.tags(0) if index in batch.tags(1))
    rest = (batch.targets.label_map[:2] == IGNORE)[:, 2::STRIDE, 2::STRIDE]
    masks = batch.output.mask_logits[-1, :2].flatten(2).sigmoid().transpose(1, 2)  # [2, hw, Q]
    point = int((masks[0, :, tag] * rest[0].flatten()).argmax())
    with torch.no_grad():
        teacher = batch.simnet(embeddings(batch, 0)[None, point, None], embeddings(batch, 1)[None])
    classes = batch.output.class_logits[-1, :2].softmax(-1)[..., :-1] * batch.targets.novel
    scores = masks @ classes  # [2, hw, K]
    student = cosine(scores[:1, point, None], scores[1:])[0, 0].relu()
    figure, axes = strip("a novel pixel of the anchor", "reference", "like it: SimNet", "like it: masks and classes")
    for image in range(2):
        axes[image].imshow(batch.photos[image])
    axes[0].plot(*place(point), "o", color=NOVEL_COLOUR, markeredgecolor="white", markersize=9)
    for one, values in zip(axes[2:], (teacher.softmax(-1)[0, 0, :, 1], student), strict=True):
        show(one, square(values).where(rest[1], torch.nan))  # compared where no mask is
    return figure


def presence_loss(batch: Batch) -> Figure:
    """Which classes the head sees in the anchor."""
    figure = Figure((8, 3), layout="constrained", facecolor="white")
    photo, bars = figure.subplots(1, 2, width_ratios=(1, 1.5))
    finish(photo, "photo")
    photo.imshow(batch.photos[0])
    assert batch.output.presence_logits is not None
    values = batch.output.presence_logits[0].sigmoid().numpy()
    present = (batch.targets.with_mask | batch.targets.tagged)[0].numpy()
    bars.barh(batch.split.names, values, color=np.where(present, SAME, DIFFERENT))
    bars.plot(present.astype(float), range(len(present)), "|", color=INK_COLOUR, markersize=9)
    bars.set_title("how sure the head is; lines: taught", fontsize=10, loc="left", color=INK_COLOUR)
    bars.set(xlim=(-0.02, 1.02))
    bars.invert_yaxis()
    bars.tick_params(labelsize=8)
    for index in batch.split.novel:
        bars.get_yticklabels()[index].set_color(NOVEL_COLOUR)
    return figure


def teacher_labels(batch: Batch) -> Figure:
    """What the average of the weights finds in the photo without masks, and what it labels."""
    photo = batch.photos[-1]
    taught = batch.teacher(batch.images, batch.targets, 1.0).pseudo_map
    assert taught is not None
    scores = torch.einsum("bqk,bqhw->bkhw", batch.output.class_scores(), batch.output.mask_logits[-1].sigmoid())
    seen = F.interpolate(scores, (SIDE, SIDE), mode="bilinear")[-1].argmax(0).byte().numpy()
    figure, axes = strip("a photo with tags alone", "what the network sees", "the teacher's labels")
    labels = enlarged(taught[-1].numpy())
    for one, view in zip(axes, (pale(photo), seen, labels), strict=True):
        one.imshow(view if view.ndim == 3 else overlay(photo, view, 0.62, batch.split.novel))
        if view.ndim == 2:
            write_names(one, view, batch.split)
    write_tags(axes[0], batch, -1)
    return figure


def strip(*titles: str) -> tuple[Figure, list[Axes]]:
    """A row of pictures under their titles."""
    figure = Figure((2.7 * len(titles), 3), layout="constrained", facecolor="white")
    axes = list(figure.subplots(1, len(titles), squeeze=False)[0])
    for one, title in zip(axes, titles, strict=True):
        finish(one, title)
    return figure, axes


def finish(axes: Axes, title: str) -> None:
    """A title, and no ticks."""
    axes.set_title(title, fontsize=10, loc="left", color=INK_COLOUR)
    axes.set(xticks=[], yticks=[])


def show(axes: Axes, values: Tensor) -> None:
    """Probabilities."""
    axes.imshow(enlarged(values.numpy()), cmap=PROBABILITY, vmin=0, vmax=1)


def show_loss(left: Axes, right: Axes, logits: Tensor, mask: Tensor) -> None:
    """The mask of logits, and its focal loss at each pixel."""
    show(left, logits.sigmoid())
    losses = mask_losses(logits[..., None, None], mask[..., None, None]).focal  # each pixel a picture of its own
    right.imshow(enlarged(losses.numpy()), cmap=LOSS, vmin=0)
    right.text(SIDE - 8, SIDE - 8, f"mean {losses.mean():.4f}", ha="right", va="bottom", **WRITTEN)


def write_tags(axes: Axes, batch: Batch, image: int) -> None:
    """The tags of an image across its corner."""
    names = "\n".join(f"tag: {batch.split.names[index]}" for index in batch.tags(image))
    axes.text(8, 8, names, ha="left", va="top", color=NOVEL_COLOUR, **WRITTEN)


def enlarged(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """A square map ``[h, h]`` with ``SIDE`` pixels."""
    return values.repeat(SIDE // len(values), 0).repeat(SIDE // len(values), 1)


def embeddings(batch: Batch, image: int) -> Tensor:
    """Of all pixels of an image: ``[hw, C]``."""
    return batch.output.pixel_embeddings[image].flatten(1).T


def square(values: Tensor) -> Tensor:
    """Of all pixels as a picture: ``[hw]`` -> ``[h, h]``."""
    return values.unflatten(0, (NETWORK_SIDE // STRIDE, -1))


def place(point: int) -> tuple[float, float]:
    """Where a pixel of the embeddings is in the photo: (x, y)."""
    row, column = divmod(int(point), NETWORK_SIDE // STRIDE)
    return (column + 0.5) * SHRINK * STRIDE, (row + 0.5) * SHRINK * STRIDE


def main() -> None:
    """Draws all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ckpt", type=Path)
    parser.add_argument("--scenes", type=int, nargs=3, default=SCENES, help="anchor, reference, one with tags alone")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    batch = make_batch(args.ckpt, args.scenes)
    base = batch.targets.with_mask[0].nonzero()[:, 0].tolist()
    pictures = {
        "given": given(batch),
        "mask": mask_loss(batch, base[-1]),  # things come after stuff
        "complement": complement_loss(batch),
        "absence": absence_loss(batch),
        "pairs": similarity_pairs(batch),
        "distillation": distillation(batch),
        "presence": presence_loss(batch),
        "teacher": teacher_labels(batch),
    }
    for name, figure in pictures.items():
        save(figure, args.out / f"method-{name}.png", 110)


if __name__ == "__main__":
    main()
