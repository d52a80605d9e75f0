"""How golden files are read and compared."""

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from random_batches import states_by_tags
from weakshot_seg.conversion.detectron2 import from_detectron2
from weakshot_seg.models.simnet import SimNet
from weakshot_seg.structures import IGNORE, WeakTargets

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("WEAKSHOT_PARITY_DIR", HERE))
Arrays = Mapping[str, np.ndarray]

largest: dict[str, float] = {}
"""Largest absolute difference in each file."""


def compare(path: Path, ours: object, theirs: object, summed: bool = False) -> None:
    """Asserts rtol 1e-4, atol 1e-5 and notes the largest absolute difference of the file.

    ``summed``: the numbers are sums of large terms that cancel, and the rounding of the stored float32 grows with their
    spread, not with the sum. Then one number in a thousand may be off by more, up to 1e-5 of the spread.
    """
    got = torch.as_tensor(ours).detach().double()
    expected = torch.as_tensor(theirs).double()
    assert got.shape == expected.shape
    if got.numel():
        largest[path.name] = max(largest.get(path.name, 0.0), (got - expected).abs().max().item())
    spread = 1.0
    if summed:
        off = (got - expected).abs() > 1e-5 + 1e-4 * expected.abs()
        assert off.double().mean() < 1e-3
        spread = max(spread, expected.std().item())
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5 * spread)


def numbered(name: str, arrays: Arrays) -> list[np.ndarray]:
    """t0_name, t1_name, ..."""
    return [arrays[f"t{i}_{name}"] for i in range(len(arrays)) if f"t{i}_{name}" in arrays]


@cache
def novel_classes(num_classes: int) -> Tensor:
    """Bool [K]: the novel classes of the toy set-up.

    They are named by its evaluations. In a folder without these they are all that some file gives without a mask, in
    that folder or among our own files.
    """
    novel = torch.zeros(num_classes, dtype=torch.bool)
    for folder in (FOLDER, HERE):
        for path in folder.glob("eval_*.json"):
            facts = json.loads(path.read_text())
            if facts["num_classes"] == num_classes:
                novel[facts["novel"]] = True
                return novel
    for path in (p for folder in (FOLDER, HERE) for kind in ("loss", "pair") for p in folder.glob(f"{kind}_*.npz")):
        arrays = np.load(path)
        if arrays["pred_logits"].shape[-1] == num_classes + 1:
            for labels, has_mask in zip(numbered("labels", arrays), numbered("has_masks", arrays), strict=True):
                novel[torch.from_numpy(labels[~has_mask])] = True
    return novel


def read_targets(arrays: Arrays, num_classes: int, paired: bool = False) -> WeakTargets:
    """Targets of a file: base masks become a label map, labels without a mask become tags."""
    maps, tags = [], []
    for labels, masks, has_mask in zip(
        numbered("labels", arrays), numbered("masks", arrays), numbered("has_masks", arrays), strict=True
    ):
        label_map = torch.full(masks.shape[1:], IGNORE, dtype=torch.uint8)
        row = torch.zeros(num_classes, dtype=torch.bool)
        for label, mask, known in zip(labels.tolist(), masks, has_mask, strict=True):
            row[label] = not known
            label_map[torch.from_numpy(mask).bool()] = label
        maps.append(label_map)
        tags.append(row)
    padding = torch.stack([torch.from_numpy(p).bool() for p in numbered("pad_region", arrays)])
    novel = novel_classes(num_classes)
    targets = WeakTargets.collate(torch.stack(maps), padding, states_by_tags(torch.stack(tags), novel), novel, paired)
    for image, labels in enumerate(numbered("labels", arrays)):
        assert targets.classes[image, : targets.counts[image]].tolist() == labels.tolist()
    return targets


def our_name(name: str) -> str:
    """The authors' name of a tensor -> ours, by the table that converts their weights."""
    whole = f"criterion.cro_pixel_sim_net.{name}" if name.startswith(("fc_branch", "out_head")) else name
    (ours,) = from_detectron2({whole: torch.zeros(1, 1, 1, 1)}).tensors
    return ours.removeprefix("simnet.") if whole != name else ours


def of_simnet(arrays: Arrays, prefix: str) -> dict[str, Tensor]:
    tensors = {k.removeprefix(prefix): torch.from_numpy(arrays[k]) for k in arrays if k.startswith(prefix)}
    return {our_name(k): v[:, :, 0, 0] if v.dim() == 4 else v for k, v in tensors.items()}


def read_simnet(arrays: Arrays) -> tuple[SimNet, dict[str, Tensor]]:
    """SimNet with the ``sd.*`` tensors of a file, and its ``after_train.*`` statistics under our names."""
    state = of_simnet(arrays, "sd.")
    hidden, pair_width = state["blocks.0.linear1.weight"].shape
    blocks = len({k.split(".")[1] for k in state if k.startswith("blocks.")})
    net = SimNet(pair_width // 2, hidden, blocks, batch_norm="blocks.0.norm1.weight" in state)
    net.load_state_dict(state)
    return net, of_simnet(arrays, "after_train.")
