"""Images per second of one loader worker at the COCO recipe, against torchvision on the same files in the same process.

    python scripts/benchmark_loader.py                  # needs torchvision
    python scripts/benchmark_loader.py --clock wall     # on an idle machine

Photos of 640x480 as JPEG and masks as palette PNG, in the layout of VOC 2012. Steps of both: decode image and mask,
resize the shorter edge to 320..960, crop 640, SSD colour jitter, flip, pad to 640, uint8 tensors. Ours also hides the
novel classes and marks the padding. torchvision runs on tensors and on Pillow images and is compared at its faster. All
take turns, round by round; one thread each, as in a worker.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.datasets import VOCSegmentation
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from benchmarks.timing import Spread, alternate, ratio
from weakshot_seg.data.readers.official import OfficialImages
from weakshot_seg.data.readers.voc import VOC2012
from weakshot_seg.data.splits import published_class_names
from weakshot_seg.data.synthetic.scenes import draw_scene
from weakshot_seg.data.transforms import TrainTransform
from weakshot_seg.data.weak_labels import WeakShotDataset
from weakshot_seg.structures import ClassSplit, SampleRequest

WIDTH, HEIGHT, CROP, LIMIT = 640, 480, 640, 2560
SCALE = (0.5, 1.5)
OURS = "ours"


class TorchvisionSteps:
    """The steps of the COCO recipe in torchvision's terms, on tensors or on Pillow images."""

    def __init__(self, tensors: bool) -> None:
        self._tensors = tensors
        low, high = (round(factor * CROP) for factor in SCALE)
        self._resize = v2.RandomShortestSize(list(range(low, high + 1)), LIMIT)
        brightness, contrast, saturation, hue = (
            v2.RandomApply([v2.ColorJitter(**{name: value})], 0.5)
            for name, value in {"brightness": 32 / 255, "contrast": 0.5, "saturation": 0.5, "hue": 0.1}.items()
        )
        self._jitter = v2.RandomChoice(
            [
                v2.Compose([brightness, contrast, saturation, hue]),
                v2.Compose([brightness, saturation, hue, contrast]),
            ]
        )
        self._flip = v2.RandomHorizontalFlip()

    def __call__(self, photo: Image.Image, labels: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
        """An RGB and an indexed picture to uint8 ``[3, 640, 640]`` and ``[640, 640]``."""
        image: Any = F.to_image(photo) if self._tensors else photo
        mask: Any = tv_tensors.Mask(F.pil_to_tensor(labels))
        image, mask = self._resize(image, mask)
        height, width = F.get_size(image)
        top, left = random.randint(0, max(height - CROP, 0)), random.randint(0, max(width - CROP, 0))
        height, width = min(height, CROP), min(width, CROP)
        image, mask = (F.crop(item, top, left, height, width) for item in (image, mask))
        image, mask = self._flip(self._jitter(image), mask)
        rest = [0, 0, CROP - width, CROP - height]
        image, mask = F.pad(image, rest, fill=128), F.pad(mask, rest, fill=255)
        return (image if self._tensors else F.pil_to_tensor(image)), mask[0]


def main() -> None:
    """Parses the command line, measures, writes ``OUT.json`` and ``OUT.md`` and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24, help="per round")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="cpu", help="cpu: also right beside other work")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark_loader"), help="without suffix")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), args.images)
        runs = {OURS: ours(Path(folder))} | {
            f"torchvision, {kind}": torchvision(Path(folder), kind == "tensors") for kind in ("tensors", "Pillow")
        }
        seconds = alternate(runs, args.rounds, 2, torch.device("cpu"), args.clock)
    speed = {name: Spread.of([args.images / s for s in values]) for name, values in seconds.items()}
    rival = max(list(runs)[1:], key=lambda name: speed[name].median)
    quotient = ratio(seconds, rival, OURS)
    text = "\n".join(
        [
            f"{args.images} images of {WIDTH}x{HEIGHT}, {args.rounds} paired rounds, {args.clock} clock, one thread; "
            f"load {os.getloadavg()[0]:.1f}",
            "",
            "| | images/s per worker | quartiles |",
            "|---|---|---|",
            *(f"| {name} | {s.median:.1f} | {s.low:.1f} - {s.high:.1f} |" for name, s in speed.items()),
            f"| ratio of ours to {rival} | {quotient.median:.2f} | {quotient.low:.2f} - {quotient.high:.2f} |",
            "",
        ]
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.with_suffix(".md").write_text(text)
    content = {"images_per_second": speed, "ratio": quotient, "rival": rival}
    args.out.with_suffix(".json").write_text(json.dumps(content, indent=1, default=asdict))
    print(text)


def write_files(root: Path, count: int) -> None:
    """Generated scenes in the layout of VOC 2012."""
    inner = root / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (inner / folder).mkdir(parents=True)
    names = [f"2012_{number:06d}" for number in range(count)]
    (inner / "ImageSets/Segmentation/train.txt").write_text("\n".join(names))
    for number, name in enumerate(names):
        labels, paint = draw_scene(np.random.default_rng(number), WIDTH)
        Image.fromarray(paint()[:HEIGHT]).save(inner / "JPEGImages" / f"{name}.jpg", quality=92)
        mask = Image.fromarray(labels[:HEIGHT])
        mask.putpalette(bytes(range(256)) * 3)
        mask.save(inner / "SegmentationClass" / f"{name}.png")


def ours(root: Path) -> Callable[[], None]:
    """One pass over all images, as a worker of ours makes it."""
    source = OfficialImages(VOC2012, root, "train", published_class_names(VOC2012.name))
    transform = TrainTransform(CROP, SCALE, CROP, LIMIT)
    dataset = WeakShotDataset(source, ClassSplit(source.class_names, (2, 5, 9, 13)), transform)
    seed = iter(range(10**9))

    def run() -> None:
        for index in range(len(dataset)):
            sample = dataset[SampleRequest(index, next(seed))]
            assert sample.image.shape == (3, CROP, CROP)

    return run


def torchvision(root: Path, tensors: bool) -> Callable[[], None]:
    """One pass over all images with torchvision."""
    dataset = VOCSegmentation(str(root), image_set="train", transforms=TorchvisionSteps(tensors))

    def run() -> None:
        for index in range(len(dataset)):
            image, mask = dataset[index]
            assert (image.shape, mask.shape) == ((3, CROP, CROP), (CROP, CROP))

    return run


if __name__ == "__main__":
    main()
