"""Masks from class activation maps, the usual way to learn from tags: what the library is compared with.

    python scripts/cam_baseline.py ROOT OUT --background background --overrides split=1 model.backbone.checkpoint=FILE
    python -m weakshot_seg.train experiment=folder data.root=OUT supervision=full split=1 data.split_file=...

A classifier of the backbone of experiment=folder learns from the masks and tags of ROOT which classes are in a photo.
What activates it for a class (CAM, arXiv 1512.04150) becomes the mask of photos that have tags alone. OUT is a data
folder with these masks and the true ones, on which plain MaskFormer is trained. From which share of its maximum on an
activation is a mask is chosen on the photos with masks. Pixels below it are --background, or without a label.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import hydra
import numpy as np
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from PIL import Image
from torch import Tensor, nn

from benchmark_settings import MASKS, SPLITS, TRAINING, link_files, link_validation, new_folder
from weakshot_seg.config.compose import conf_dir
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.data.evaluation import model_input
from weakshot_seg.data.readers.files import pair_files
from weakshot_seg.data.source import Image as Pixels
from weakshot_seg.errors import UserError
from weakshot_seg.models.backbone import TimmBackbone, normalise
from weakshot_seg.structures import IGNORE, Knowledge

Transform = Callable[[Pixels], Pixels]
THRESHOLDS = np.arange(0.1, 0.9, 0.05)
SAMPLES = 200
"""Photos with masks on which the threshold is chosen."""
SURE = 0.5
"""Probability from which on a class without a tag takes part, too."""
LR, BACKBONE_LR, WEIGHT_DECAY = 1e-3, 1e-4, 0.05


class Classifier(nn.Module):
    """A linear classifier of the features at strides 16 and 32, whose mean over the pixels says what is in a photo."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: TimmBackbone, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.classify = nn.ModuleList(
            nn.Conv2d(channels, num_classes, 1, bias=False) for channels in backbone.channels[2:]
        )
        self.register_buffer("mean", torch.tensor(backbone.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """RGB 0..255 ``[B, 3, H, W]`` -> activations ``[B, K, H/16, W/16]``."""
        levels = self.backbone(normalise(images, self.mean, self.std))[2:]
        fine, coarse = (layer(level) for layer, level in zip(self.classify, levels, strict=True))
        return fine + F.interpolate(coarse, fine.shape[-2:], mode="bilinear")


def train(data: WeakShotDataModule, backbone: TimmBackbone) -> Classifier:
    """As many steps as the data module has batches."""
    model = Classifier(backbone, data.class_split.num_classes).train()
    groups = [
        {"params": model.backbone.parameters(), "lr": BACKBONE_LR},
        {"params": model.classify.parameters(), "lr": LR},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
    loader = data.train_dataloader()
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, len(loader), power=0.9)
    for batch in loader:
        targets = batch.targets
        there, known = (targets.with_mask | targets.tagged).float(), (~targets.unknown).float()
        logits = model(batch.images).mean((2, 3))
        loss = F.binary_cross_entropy_with_logits(logits, there, weight=known, reduction="sum") / len(logits)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def activations(model: Classifier, pixels: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Of one photo ``[3, H, W]``: maps ``[K, *size]``, each 0 to 1 at its maximum, and probabilities ``[K]``."""
    maps = model(torch.stack([pixels, pixels.flip(-1)]))
    probabilities = maps.mean((0, 2, 3)).sigmoid()
    mean = F.interpolate((maps[0] + maps[1].flip(-1))[None], list(size), mode="bilinear")[0].clamp(min=0)
    return mean / mean.amax((1, 2), keepdim=True).clamp(min=1e-6), probabilities


def masks(
    model: Classifier, data: WeakShotDataModule, transform: Transform, indices: Sequence[int], skip: int | None
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """The highest activation ``[h, w]`` and its class, of the classes that are known or seem to be in each photo."""
    dataset = data.train_dataset
    for index in indices:
        image, _ = dataset.load(index)
        maps, probabilities = activations(model, model_input(image, transform), image.shape[:2])
        states = torch.from_numpy(dataset.knowledge[index])
        candidates = torch.from_numpy(dataset.known[index]) | ((states == Knowledge.UNKNOWN) & (probabilities > SURE))
        if skip is not None:
            candidates[skip] = False
        yield index, *maps.masked_fill(~candidates[:, None, None], 0).max(0)


def choose_threshold(
    model: Classifier, data: WeakShotDataModule, transform: Transform, indices: Sequence[int], skip: int | None
) -> float:
    """Of :data:`THRESHOLDS`, that of the highest mean IoU of the classes with masks in these photos."""
    classes = data.class_split.num_classes
    both, either = np.zeros((2, len(THRESHOLDS), classes))
    for index, highest, which in masks(model, data, transform, indices, skip):
        true = data.train_dataset.load(index)[1]
        assert true is not None
        known = true != IGNORE
        for row, threshold in enumerate(THRESHOLDS):
            mine = np.where(highest.numpy() > threshold, which.numpy(), IGNORE)[known]
            counts = [np.bincount(labels, minlength=IGNORE + 1)[:classes] for labels in (mine, true[known])]
            same = np.bincount(mine[mine == true[known]], minlength=IGNORE + 1)[:classes]
            both[row] += same
            either[row] += counts[0] + counts[1] - same
    seen = either.min(0) > 0  # with true pixels, or found at every threshold
    if skip is not None:
        seen[skip] = False
    return float(THRESHOLDS[(both[:, seen] / either[:, seen]).mean(1).argmax()])


def main() -> None:
    """Learns, and writes the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--background", help="class of the pixels that nothing activates; default: no label")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--overrides", nargs="+", default=[], help="settings, as of a training")
    args = parser.parse_args()
    try:
        print(make_masks(args.root.resolve(), args.out, args.background, args.steps, args.overrides))
    except UserError as error:
        parser.error(str(error))


def make_masks(root: Path, out: Path, background: str | None, steps: int, overrides: Sequence[str]) -> str:
    """Fills ``out``, which must be new or empty, and says what was done."""
    new_folder(out)
    own = [f"data.root={root}", f"trainer.max_steps={steps}", "output_dir=null", "resume=false", "name=cam"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", ["experiment=folder", "preset=laptop", *own, *overrides])
    torch.manual_seed(config.seed)
    data: WeakShotDataModule = hydra.utils.instantiate(config.data)
    data.setup("fit")
    dataset, names = data.train_dataset, data.class_split.names
    if background is not None and background not in names:
        raise UserError(f"--background {background} is no class: use one of {', '.join(names)}")
    skip = None if background is None else names.index(background)
    transform = hydra.utils.instantiate(config.data.val_transform)
    model = train(data, hydra.utils.instantiate(config.model.backbone))
    annotated = (dataset.knowledge == Knowledge.MASK).any(1)
    with_masks, tags_alone = np.flatnonzero(annotated), np.flatnonzero(~annotated & dataset.known.any(1))
    some = np.random.default_rng(config.seed).permutation(with_masks)[:SAMPLES].tolist()
    threshold = choose_threshold(model, data, transform, some, skip)
    files = {file.name: file for file in pair_files(root / TRAINING, root / MASKS)[0]}
    for index in with_masks.tolist():
        link_files(root, out, files[dataset.name(index)])
    rest = IGNORE if skip is None else skip
    for index, highest, which in masks(model, data, transform, tags_alone.tolist(), skip):
        file = files[dataset.name(index)]
        link_files(root, out, replace(file, labels=None))
        place = out / MASKS / file.image.relative_to(root / TRAINING).with_suffix(".png")
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(torch.where(highest > threshold, which, rest).to(torch.uint8).numpy()).save(place)
    link_validation(root, out)
    if (root / SPLITS).exists():
        (out / SPLITS).symlink_to(root / SPLITS)
    return f"{out}: {len(with_masks)} true masks, {len(tags_alone)} from activations above {threshold:.2f}"


if __name__ == "__main__":
    main()
