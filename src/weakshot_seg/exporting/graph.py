"""The network from pixels to classes as one module of pure tensors, and its trace for any batch and size."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import SegOutput
from weakshot_seg.utils.padding import MULTIPLE, PADDING_VALUE

INPUT = "images"
OUTPUTS = ("labels", "scores")
AXES = {0: "batch", 2: "height", 3: "width"}
"""Axes of the input that may have any length, and their names in ONNX."""


class SegmentationGraph(nn.Module):
    """Does what ``inference=whole`` does, for images of one size; normalisation, padding and upsampling are within.

    No branch and no slice depends on the size, so that a trace holds for all sizes.

    ``network``: images ``[B, 3, H, W]``, RGB 0..255 -> :class:`~weakshot_seg.structures.SegOutput`, in evaluation mode.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """RGB images 0..255 ``[B, 3, H, W]`` -> labels uint8 ``[B, H, W]``, scores float32 ``[B, K, H, W]``."""
        size = images.shape[-2:]
        height, width = ((length + MULTIPLE - 1) // MULTIPLE * MULTIPLE for length in size)
        bordered = F.pad(images.float(), (0, MULTIPLE - 1, 0, MULTIPLE - 1), value=float(PADDING_VALUE))
        output: SegOutput = self.network(_crop(bordered, height, width), last_only=True)
        masks = F.interpolate(output.mask_logits[-1], (height, width), mode="bilinear", align_corners=False)
        # semantic_scores() goes through the batch in a loop, which would fix its size
        maps = output.class_scores().transpose(1, 2) @ masks.sigmoid().flatten(2)  # [B, K, HW]
        scores = _crop(maps.view(maps.shape[0], maps.shape[1], height, width), *size)
        return scores.argmax(1).to(torch.uint8), scores


def _crop(images: Tensor, height: int, width: int) -> Tensor:
    """The top left part. A slice is contiguous at some sizes only, on which a trace would then insist."""
    for axis, length in ((-2, height), (-1, width)):
        images = images.index_select(axis, torch.arange(length, device=images.device))
    return images


def trace(graph: SegmentationGraph, dtype: torch.dtype) -> torch.export.ExportedProgram:
    """The graph (on the CPU) for images of a type, of any size; a ConfigError if torch.export cannot follow it."""
    example = torch.zeros(2, 3, 3 * MULTIPLE + 8, 4 * MULTIPLE + 8, dtype=dtype)  # lengths of 1 would be constants
    shapes = (dict.fromkeys(AXES, torch.export.Dim.DYNAMIC),)
    try:
        with torch.no_grad():
            return torch.export.export(graph, (example,), dynamic_shapes=shapes)
    except Exception as error:  # whatever it and the network raise
        reason = f"{type(error).__name__}: {(str(error) or '-').strip().splitlines()[0]}"
        raise ConfigError(f"torch.export cannot follow this network for any image size ({reason})") from error


class _TimeIsUp(BaseException):
    """Not an Exception: PyTorch catches those while it traces."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """A ConfigError in a block of the main thread that takes longer: some networks' sizes can be solved never."""

    def end(*_: object) -> None:
        raise _TimeIsUp

    former = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again: an exception while something is deleted is lost
    try:
        yield
    except _TimeIsUp:
        problem = f"the export for any image size has taken {seconds:g} seconds and was ended"
        remedy = "choose another backbone, or allow more time with time_limit=SECONDS"
        raise ConfigError(f"{problem}: {remedy}") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
