"""Two processes do what one would do with the union of their batches."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from weakshot_seg.cli import evaluate
from weakshot_seg.structures import IGNORE

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
SCRIPT = Path(__file__).with_name("rank_gradients.py")


def start(*arguments: object, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen[str]) -> None:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output[-3000:]


def inputs() -> dict[str, torch.Tensor]:
    """Four images, two pairs; the halves differ in the number of classes of each kind, but not in their pixels.

    Each pair has one base class in common, so that chance has no choice.
    """
    base = [(0, 1), (0, 2), (1,), (1, 2)]
    tags = [(3, 4), (3,), (), (4,)]
    generator = torch.Generator().manual_seed(0)
    label_maps = torch.stack(
        [torch.tensor([*ids, IGNORE])[torch.randint(len(ids) + 1, (8, 12), generator=generator)] for ids in base]
    ).to(torch.uint8)
    padding = torch.zeros(4, 8, 12, dtype=torch.bool)
    padding[1, 6:] = True
    label_maps[padding] = IGNORE
    tag_table = torch.zeros(4, 5, dtype=torch.bool)
    for row, ids in zip(tag_table, tags, strict=True):
        row[list(ids)] = True
    return {
        "label_maps": label_maps,
        "padding": padding,
        "tags": tag_table,
        "novel": torch.tensor([False, False, False, True, True]),
        "class_logits": torch.randn(2, 4, 5, 6, generator=generator),
        "mask_logits": torch.randn(2, 4, 5, 4, 6, generator=generator),
        "pixel_embeddings": torch.randn(4, 3, 4, 6, generator=generator),
    }


def test_mean_gradient_of_the_ranks_is_that_of_the_union(tmp_path: Path) -> None:
    """Logits belong to images: their gradients are put together. SimNet's weights are shared: theirs are averaged."""
    for name, world_size in {"ranks": 2, "union": 1}.items():
        (tmp_path / name).mkdir()
        torch.save(inputs(), tmp_path / name / "inputs.pt")
        arguments = [(SCRIPT, tmp_path / name, rank, world_size) for rank in range(world_size)]
        for process in [start(*a, folder=tmp_path) for a in arguments]:
            finish(process)
    first, second = (torch.load(tmp_path / "ranks" / f"gradients-{rank}.pt") for rank in (0, 1))
    union = torch.load(tmp_path / "union" / "gradients-0.pt")
    terms = {name.split("/")[0] for name in union}
    assert terms == {"classification", "mask", "complement", "absence", "similarity"}
    for name, expected in union.items():
        assert expected.abs().sum() > 0, name
        of_images = name.endswith("_logits")
        found = torch.cat([first[name], second[name]], dim=1) / 2 if of_images else (first[name] + second[name]) / 2
        # the class balance of the similarity begins with one pair of each kind, however many processes there are
        rtol = 2e-3 if name.startswith("similarity/simnet") else 1e-4
        torch.testing.assert_close(found, expected, rtol=rtol, atol=1e-7, msg=lambda text, n=name: f"{n}: {text}")


def test_training_on_two_processes(
    small: tuple[str, ...],
    few_scenes: tuple[str, ...],
    command: Callable[..., None],
    metrics_of: Callable[[Path], dict[str, Any]],
    tmp_path: Path,
) -> None:
    """It ends, and what two processes measured together is what one measures alone."""
    two = ("trainer=ddp", "trainer.devices=2", "trainer.sync_batchnorm=false", "data.val.num_images=3")
    arguments = ("-m", "weakshot_seg.train", *two, *small, *few_scenes, *two[-1:])
    finish(start(*arguments, folder=tmp_path))
    run = tmp_path / "outputs" / "synthetic" / "split1"
    assert list((tmp_path / "outputs" / "synthetic").iterdir()) == [run]
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    command(
        evaluate.main,
        f"ckpt={run}/checkpoints/last.ckpt",
        "trainer.accelerator=cpu",
        f"hydra.run.dir={tmp_path}/alone",
        folder=tmp_path,
    )
    assert metrics_of(tmp_path / "alone") == metrics_of(run)
