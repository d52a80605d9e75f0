"""Whether an exported file computes what the model computes, and how fast: measured, and reported as text and JSON."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from weakshot_seg.exporting.formats import Images, Run
from weakshot_seg.inference.semantic import Network, WholeImage
from weakshot_seg.utils.padding import MULTIPLE
from weakshot_seg.utils.tables import aligned

Pixels = NDArray[np.uint8]

SMALL = (17, 23)  # below one block of padding
ROUNDS = 21
PAUSE = 0.05  # seconds before each timed run, in which the waiting threads of the other runtime leave the cores


@dataclass(frozen=True)
class Agreement:
    """Of a file and the model on a batch of images of one size."""

    images: int
    height: int
    width: int
    max_difference: float  # of two scores; NaN if one is
    argmax_agreement: float  # share of the pixels whose highest score is that of the same class, 0..1


@dataclass(frozen=True)
class Tolerance:
    """What every batch must keep within, see :class:`Agreement`."""

    max_difference: float
    min_agreement: float


@dataclass(frozen=True)
class Speed:
    """Median seconds for one batch on the CPU, and the median ratio file / model of runs one after the other."""

    threads: int
    file: float
    model: float
    ratio: float


@dataclass(frozen=True)
class Report:
    """How an exported file agrees with its model."""

    file: str
    format: str
    ckpt: str
    step: int  # of the optimiser
    compared_on: str  # where the images are from
    batches: Sequence[Agreement]
    tolerance: Tolerance
    versions: dict[str, str]  # of the libraries
    speed: Speed | None = None
    calibrated_on: str | None = None  # where the images are from that 8 bits were chosen on

    @property
    def totals(self) -> tuple[float, float]:
        """Largest difference of all batches, NaN if one is, and their lowest agreement."""
        values = np.array([(batch.max_difference, -batch.argmax_agreement) for batch in self.batches])
        difference, agreement = np.max(values, 0).tolist()
        return difference, -agreement

    @property
    def passed(self) -> bool:
        """All batches are within the tolerance."""
        difference, agreement = self.totals
        return difference <= self.tolerance.max_difference and agreement >= self.tolerance.min_agreement  # not for NaN

    def as_json(self) -> str:
        """All of it. A difference that is NaN is null."""
        total = {"passed": self.passed, **dict(zip(("max_difference", "argmax_agreement"), self.totals, strict=True))}
        finite = json.loads(json.dumps({"file": self.file, **total, **asdict(self)}), parse_constant=lambda _: None)
        return json.dumps(finite, indent=2, ensure_ascii=False) + "\n"

    def as_text(self) -> str:
        """A table of the batches, the verdict, and the speed."""
        rows = [("images", "size", "largest difference", "same class")]
        values = [(f"{b.images}", f"{b.width}x{b.height}", b.max_difference, b.argmax_agreement) for b in self.batches]
        for images, size, difference, same in [*values, ("", "in all", *self.totals)]:
            rows.append((images, size, f"{difference:.1e}", f"{100 * same:.3f} %"))
        rows.append(("", "limit", f"{self.tolerance.max_difference:g}", f"{100 * self.tolerance.min_agreement:g} %"))
        text = f"{self.format} beside the model, on {self.compared_on}:\n\n{aligned(rows, '>>>>')}"
        if s := self.speed:
            text += f"\nspeed on the CPU, {s.threads} threads, the first batch: {self.format} {1000 * s.file:.1f} ms, "
            text += f"PyTorch {1000 * s.model:.1f} ms (medians; ratio {s.ratio:.2f})"
        return text


def runner(network: Network) -> Run:
    """A network as this library applies it (``inference=whole``), with the inputs and outputs of an exported file."""

    @torch.inference_mode()
    def run(images: Images) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        found = (WholeImage()(network, image) for image in torch.from_numpy(images))
        scores = torch.stack([one(slice(None), (images.shape[2], images.shape[3])) for one in found])
        return scores.argmax(1).to(torch.uint8).numpy(), scores.numpy()

    return run


def compare(run: Run, model: Run, batches: Sequence[Images]) -> Iterator[Agreement]:
    """Compares batch by batch."""
    for images in batches:
        (labels, scores), (true_labels, true_scores) = run(images), model(images)
        count, _, height, width = images.shape
        difference = float(np.abs(scores - true_scores).max())
        yield Agreement(count, height, width, difference, float((labels == true_labels).mean()))


def batches_of(photos: Sequence[Pixels], dtype: str) -> list[Images]:
    """Every photo ``[h, w, 3]`` alone; then several in one size: the first one's, a multiple of 32, odd, very small."""
    height, width = photos[0].shape[:2]
    even = (-(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE)
    odd = (height * 5 // 4 | 1, width * 4 // 3 | 1)
    batches = [photo[None] for photo in photos]
    for count, (h, w) in ((max(2, len(photos)), (height, width)), (2, even), (1, odd), (3, SMALL)):
        chosen = (photos[i % len(photos)] for i in range(count))
        batches.append(np.stack([np.asarray(Image.fromarray(photo).resize((w, h))) for photo in chosen]))
    return [as_batch(batch, dtype) for batch in batches]


def as_batch(photos: Pixels, dtype: str) -> Images:
    """Photos ``[B, h, w, 3]`` as an exported file takes them."""
    return np.ascontiguousarray(photos.transpose(0, 3, 1, 2), dtype)


def measure(run: Run, model: Run, images: Images) -> Speed:
    """Times a file and the model, taking turns, after a round that does not count."""
    rounds = np.array([(_seconds(run, images), _seconds(model, images)) for _ in range(ROUNDS + 1)][1:])
    file, ours = np.median(rounds, 0).tolist()
    return Speed(torch.get_num_threads(), file, ours, float(np.median(rounds[:, 0] / rounds[:, 1])))


def _seconds(run: Run, images: Images) -> float:
    time.sleep(PAUSE)
    start = time.perf_counter()
    run(images)
    return time.perf_counter() - start
