"""Which photos to annotate next: ``weakshot rank ckpt=FILE source=PHOTOS out=DIR``."""

import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.cli.entry_point import command
from weakshot_seg.config.compose import several
from weakshot_seg.data.images import read_image
from weakshot_seg.errors import DataError
from weakshot_seg.prediction.contact_sheet import contact_sheet
from weakshot_seg.prediction.predict_files import in_threads
from weakshot_seg.prediction.ranking import choose, pooled_features, uncertainty, unit
from weakshot_seg.prediction.records import Item
from weakshot_seg.prediction.segmenter import Pixels, Segmenter
from weakshot_seg.prediction.sources import LeftOut, find_items
from weakshot_seg.training.module import WeakShotModule
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.tables import csv_text

HEAD = ("rank", "image", "uncertainty", "distance", "classes")
NAMED = 5  # classes of an image in the table, the largest
ON_SHEET = 60  # photos


@dataclass(frozen=True)
class Seen:
    """What the model says of a photo."""

    path: Path
    uncertainty: float
    features: Tensor
    classes: str  # the largest first


@command("rank")
def main(cfg: DictConfig) -> None:
    """Writes ``ranking.csv`` and ``contact_sheet.png``; exit code 1 if some photos could not be read."""
    left_out = LeftOut()
    given = find_items(several(cfg.source), left_out=left_out)
    labelled = find_items(several(cfg.labelled), "labelled") if cfg.labelled is not None else []
    known = {item.path.resolve() for item in labelled}
    todo = [item for item in given if not item.is_video and item.path.resolve() not in known]
    if not todo:
        raise DataError("there is nothing to rank: all photos of source are labelled or videos; name others")
    module, failures = load_module(cfg.ckpt, cfg.allow_targets), list[str]()
    segmenter = Segmenter(module, cfg.device)
    before = look_at(segmenter, module, [item for item in labelled if not item.is_video], cfg.threads, failures)
    seen = look_at(segmenter, module, todo, cfg.threads, failures)
    if not seen:
        raise DataError(f"no photo of source could be read: {failures[-1]}")
    features, values = unit([one.features for one in seen]), np.array([one.uncertainty for one in seen])
    chosen = choose(values, features, cfg.number, cfg.diversity, unit([one.features for one in before]))
    out = Path(cfg.out).expanduser().absolute()
    write_table(out / "ranking.csv", [(seen[place], distance) for place, distance in chosen])
    draw_sheet(out / "contact_sheet.png", [seen[place] for place, _ in chosen[:ON_SHEET]])
    print(f"{len(chosen)} of {len(seen)} photos are ranked: {cfg.out}")
    if others := len(given) - len(todo):
        print(f"{others} that are labelled or videos are left out")
    if left_out:
        print(left_out)
    if failures:
        print(f"{len(failures)} could not be read:", *failures, sep="\n", file=sys.stderr)
        raise SystemExit(1)


def look_at(
    segmenter: Segmenter, module: WeakShotModule, items: Sequence[Item], threads: int, failures: list[str]
) -> list[Seen]:
    """What the ``module`` of the segmenter says of photos; messages about those that cannot be read go to ``failures``.

    Several views of a photo (windows, flips) count as their mean.
    """
    found = []
    with pooled_features(module.model.backbone) as features:
        for item, pixels in read(items, threads, failures):
            features.clear()
            result = segmenter.predict(pixels)
            pooled = torch.stack(features).mean(0)
            classes = "; ".join(area.name for area in result.classes[:NAMED])
            height, width = result.labels.shape
            found.append(Seen(item.path, uncertainty(result.raw_scores, (height, width)), pooled, classes))
    return found


def read(items: Sequence[Item], threads: int, failures: list[str]) -> Iterator[tuple[Item, Pixels]]:
    """Photos that can be read, with a bar of progress."""

    def attempt(item: Item) -> tuple[Item, Pixels | DataError]:
        try:
            return item, read_image(item.path, "replace or remove it")
        except DataError as error:
            return item, error

    for item, pixels in tqdm(in_threads(attempt, items, threads), "looking", len(items), unit="photo", disable=None):
        if isinstance(pixels, DataError):
            failures.append(str(pixels))
        else:
            yield item, pixels


def write_table(path: Path, ranked: Sequence[tuple[Seen, float]]) -> None:
    """``ranking.csv``: the best first."""
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file)
        table.writerow(HEAD)
        for rank, (one, distance) in enumerate(ranked, 1):
            numbers = (f"{one.uncertainty:.4f}", f"{distance:.4f}")
            table.writerow((rank, csv_text(str(one.path)), *numbers, csv_text(one.classes)))


def draw_sheet(path: Path, ranked: Sequence[Seen]) -> None:
    """The photos with their rank, uncertainty, name and largest classes."""
    first = (f"{rank}   uncertainty {one.uncertainty:.2f}" for rank, one in enumerate(ranked, 1))
    lines = ((text, one.path.name, one.classes) for text, one in zip(first, ranked, strict=True))
    photos = (Image.fromarray(read_image(one.path, "replace or remove it", verify=False)) for one in ranked)
    with replacing(path) as part:
        contact_sheet(zip(photos, lines, strict=True), len(ranked)).save(part, "PNG")
