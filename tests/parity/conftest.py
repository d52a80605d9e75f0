"""Golden numbers of the authors' implementation: where they are, how they are read, and how far off we are.

The folder is ``$WEAKSHOT_PARITY_DIR`` (default: this one). Files are found by pattern; a pattern without a file gives
one test that fails. Seeds, sizes and class counts come from the files.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from weakshot_seg.models.simnet import SimNet
from weakshot_seg.structures import IGNORE, WeakTargets

FOLDER = Path(os.environ.get("WEAKSHOT_PARITY_DIR", Path(__file__).parent))
PATTERNS = {
    "loss_path": "loss_*.npz",
    "pair_path": "pair_*.npz",
    "balance_path": "balance_sequence*.npz",
    "simnet_path": "simnet_[0-9]*.npz",
    "simnet_nobn_path": "simnet_nobn*.npz",
    "simnet_shapes_path": "simnet_full_shapes*.json",
    "inference_path": "semantic_inference_*.npz",
    "tiny_path": "tiny_model_*.safetensors",
    "step_path": "tiny_train_step_*.npz",
    "optimizer_path": "optimizer_*.json",
    "state_path": "state_dict_*_R50.json",
}

largest: dict[str, float] = {}

Arrays = Mapping[str, np.ndarray]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, pattern in PATTERNS.items():
        if name in metafunc.fixturenames:
            paths = sorted(FOLDER.glob(pattern)) or [FOLDER / pattern]
            metafunc.parametrize(name, paths, ids=[path.name for path in paths])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if largest:
        terminalreporter.section("largest absolute difference from the stored numbers")
        for name, difference in sorted(largest.items()):
            terminalreporter.line(f"{difference:9.1e}  {name}")


@pytest.fixture
def compare() -> Callable[..., None]:
    """Asserts rtol 1e-4, atol 1e-5 and notes the largest absolute difference of the file.

    ``summed``: the numbers are sums of large terms that cancel, whose rounding grows with their spread, not with the
    sum; then atol is 1e-5 of the spread, where that is above 1.
    """

    def check(path: Path, ours: object, theirs: object, summed: bool = False) -> None:
        got = torch.as_tensor(ours).detach().double()
        expected = torch.as_tensor(theirs).double()
        assert got.shape == expected.shape
        if got.numel():
            largest[path.name] = max(largest.get(path.name, 0.0), (got - expected).abs().max().item())
        spread = max(1.0, expected.std().item()) if summed else 1.0
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5 * spread)

    return check


def numbered(name: str, arrays: Arrays) -> list[np.ndarray]:
    """t0_name, t1_name, ..."""
    return [arrays[f"t{i}_{name}"] for i in range(len(arrays)) if f"t{i}_{name}" in arrays]


def novel_classes(num_classes: int) -> Tensor:
    """Bool [K]: every class that some file of the toy set-up calls novel or gives without a mask."""
    novel = torch.zeros(num_classes, dtype=torch.bool)
    for path in FOLDER.glob("eval_*.json"):
        novel[json.loads(path.read_text())["novel"]] = True
    for path in [*FOLDER.glob("loss_*.npz"), *FOLDER.glob("pair_*.npz")]:
        arrays = np.load(path)
        for labels, has_mask in zip(numbered("labels", arrays), numbered("has_masks", arrays), strict=True):
            novel[torch.from_numpy(labels[~has_mask])] = True
    return novel


@pytest.fixture(scope="session")
def read_targets() -> Callable[..., WeakTargets]:
    """Targets of a file: base masks become a label map, labels without a mask become tags."""

    def read(arrays: Arrays, num_classes: int, paired: bool = False) -> WeakTargets:
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
        targets = WeakTargets.collate(torch.stack(maps), padding, torch.stack(tags), novel_classes(num_classes), paired)
        for image, labels in enumerate(numbered("labels", arrays)):
            assert targets.classes[image, : targets.counts[image]].tolist() == labels.tolist()
        return targets

    return read


NAMES = [
    (r"sem_seg_head\.pixel_decoder\.(adapter|layer)_(\d)\.norm\.", r"\1_\2.1."),
    (r"sem_seg_head\.pixel_decoder\.(adapter|layer)_(\d)\.weight", r"\1_\2.0.weight"),
    (r"adapter_1", "pixel_decoder.laterals.0"),
    (r"adapter_2", "pixel_decoder.laterals.1"),
    (r"adapter_3", "pixel_decoder.laterals.2"),
    (r"layer_1", "pixel_decoder.outputs.0"),
    (r"layer_2", "pixel_decoder.outputs.1"),
    (r"layer_3", "pixel_decoder.outputs.2"),
    (r"layer_4", "pixel_decoder.top"),
    (r"sem_seg_head\.pixel_decoder\.mask_features", "pixel_decoder.embed"),
    (r"sem_seg_head\.predictor\.input_proj", "query_decoder.project"),
    (r"sem_seg_head\.predictor\.query_embed", "query_decoder.queries"),
    (r"sem_seg_head\.predictor\.class_embed", "head.classify"),
    (r"sem_seg_head\.predictor\.mask_embed\.layers", "head.mask_embed"),
    (r"sem_seg_head\.predictor\.transformer\.decoder", "query_decoder"),
    (r"self_attn\.", "self_attention."),
    (r"multihead_attn\.", "cross_attention."),
    (r"criterion\.cro_pixel_sim_net\.", "simnet."),
    (r"fc_branch\.layers\.block(\d+)\.layer(\d)", r"blocks.\1.linear\2"),
    (r"fc_branch\.layers\.block(\d+)\.bn(\d)", r"blocks.\1.norm\2"),
    (r"fc_branch\.layers\.block(\d+)\.sqz", r"blocks.\1.skip"),
    (r"out_head", "head"),
]


@pytest.fixture(scope="session")
def our_name() -> Callable[[str], str]:
    """The authors' parameter name -> ours (everything but the backbone)."""

    def rename(name: str) -> str:
        for theirs, ours in NAMES:
            name = re.sub(theirs, ours, name)
        return name

    return rename


@pytest.fixture(scope="session")
def read_simnet(our_name: Callable[[str], str]) -> Callable[..., tuple[SimNet, dict[str, Tensor]]]:
    """SimNet with the ``sd.*`` tensors of a file, and its ``after_train.*`` statistics under our names."""

    def rename(arrays: Arrays, prefix: str) -> dict[str, Tensor]:
        tensors = {k.removeprefix(prefix): torch.from_numpy(arrays[k]) for k in arrays if k.startswith(prefix)}
        return {our_name(k): v[:, :, 0, 0] if v.dim() == 4 else v for k, v in tensors.items()}

    def read(arrays: Arrays) -> tuple[SimNet, dict[str, Tensor]]:
        state = rename(arrays, "sd.")
        hidden, pair_width = state["blocks.0.linear1.weight"].shape
        blocks = len({k.split(".")[1] for k in state if k.startswith("blocks.")})
        net = SimNet(pair_width // 2, hidden, blocks, batch_norm="blocks.0.norm1.weight" in state)
        net.load_state_dict(state)
        return net, rename(arrays, "after_train.")

    return read
