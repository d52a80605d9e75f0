"""How pairing and loading grow with the data set: index building, drawing pairs, loading batches of synthetic labels.

    python scripts/benchmark_scale.py                            # 1k, 10k, 100k and 1M images
    python scripts/benchmark_scale.py --images 1000 1000000 --classes 150

Class frequencies are log-normal, as those of COCO-Stuff are (six classes per image, the rarest in a few of ten
thousand). Images are made, not read: what grows with the data set is measured, not the disk. Times are seconds of this
process on the CPU, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from weakshot_seg.data.pairing import PairSampler
from weakshot_seg.data.weak_labels import WeakShotDataset
from weakshot_seg.structures import IGNORE, ClassSplit, WeakBatch

SIDE = 64
BATCH = 8
CHUNK = 50_000


@dataclass(frozen=True)
class Result:
    """Measurements of one size.

    Attributes:
        images: of the data set.
        labels: image-level labels of all images.
        index_seconds: to build the index of references.
        first_batch_seconds: to the first batch, the permutation of the first epoch included.
        draw_microseconds: to draw one sample of a pair, mean.
        load_microseconds: to load one sample into a batch, drawing included.
        peak_memory_mb: most memory of the process so far, the table of labels included.
    """

    images: int
    labels: int
    index_seconds: float
    first_batch_seconds: float
    draw_microseconds: float
    load_microseconds: float
    peak_memory_mb: float


class LabelTable:
    """Images of ``SIDE`` x ``SIDE`` pixels in vertical stripes of their classes; implements ``LabelledImages``."""

    def __init__(self, images: int, classes: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.class_names = tuple(f"class {i}" for i in range(classes))
        frequency = np.exp(rng.normal(-4, 1.2, classes)).clip(2e-4, 0.5)
        self._presence = np.empty((images, classes), dtype=bool)
        for start in range(0, images, CHUNK):
            part = self._presence[start : start + CHUNK]
            part[:] = rng.random(part.shape, dtype=np.float32) < frequency

    def __len__(self) -> int:
        return len(self._presence)

    def name(self, index: int) -> str:
        """See ``LabelledImages``."""
        return str(index)

    def load(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """See ``LabelledImages``."""
        ids = self._presence[index].nonzero()[0].astype(np.uint8)
        row = ids[np.arange(SIDE) * len(ids) // SIDE] if len(ids) else np.full(SIDE, IGNORE, dtype=np.uint8)
        label_map = np.broadcast_to(row, (SIDE, SIDE))
        return np.repeat(label_map[..., None], 3, axis=2), label_map

    def presence(self) -> NDArray[np.bool_]:
        """See ``LabelledImages``."""
        return self._presence


def main() -> None:
    """Parses the command line, measures, writes ``OUT.json`` and ``OUT.md`` and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--classes", type=int, default=171)
    parser.add_argument("--batches", type=int, default=2000, help="batches drawn for the mean")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark_scale"), help="without suffix")
    args = parser.parse_args()
    results = [measure(images, args.classes, args.batches) for images in args.images]
    text = markdown(results, args.classes)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.with_suffix(".json").write_text(json.dumps([asdict(result) for result in results], indent=1))
    args.out.with_suffix(".md").write_text(text)
    print(text)


def measure(images: int, classes: int, batches: int) -> Result:
    """Builds, draws and loads with a quarter of the classes novel."""
    source = LabelTable(images, classes)
    split = ClassSplit(source.class_names, tuple(range(0, classes, 4)))
    dataset = WeakShotDataset(source, split, lambda image, label_map, seed: (image, label_map, label_map == IGNORE))
    start = time.process_time()
    sampler = PairSampler(dataset.known, split, BATCH, batches + 1, seed=0)
    index_seconds = time.process_time() - start

    start = time.process_time()
    stream = iter(sampler)
    next(stream)
    first = time.process_time() - start
    start = time.process_time()
    drawn = sum(len(batch) for batch in stream)
    draw_seconds = time.process_time() - start

    few = PairSampler(dataset.known, split, BATCH, max(1, batches // 10), seed=1)
    collate = partial(WeakBatch.collate, novel=split.is_novel(), paired=True)
    loader = DataLoader(dataset, batch_sampler=few, collate_fn=collate)
    next(iter(loader))
    start = time.process_time()
    loaded = sum(len(batch.images) for batch in loader)
    load_seconds = time.process_time() - start
    return Result(
        images=images,
        labels=int(dataset.known.sum()),
        index_seconds=index_seconds,
        first_batch_seconds=first,
        draw_microseconds=draw_seconds / drawn * 1e6,
        load_microseconds=load_seconds / loaded * 1e6,
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def markdown(results: list[Result], classes: int) -> str:
    """The table of all sizes."""
    lines = [
        f"{classes} classes, batches of {BATCH}, CPU time of one process, NumPy {np.__version__}",
        "",
        "| images | labels | index, s | first batch, s | draw, us per sample | load, us per sample | memory, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.images:,} | {r.labels:,} | {r.index_seconds:.3f} | {r.first_batch_seconds:.3f} "
        f"| {r.draw_microseconds:.1f} | {r.load_microseconds:.0f} | {r.peak_memory_mb:.0f} |"
        for r in results
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
