"""The recipes against the paper's table, and on several devices."""

import os
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from official_layouts import random_maps, write_coco
from weakshot_seg.config.compose import conf_dir

COMMON = {
    "optim._target_": "weakshot_seg.training.optim.PolyAdamW",
    "optim.lr": 1e-4,
    "optim.backbone_factor": 0.1,
    "optim.weight_decay": 1e-4,
    "optim.power": 0.9,
    "optim.warmup_steps": 0,
    "data.batch_size": 8,
    "data.pairing": True,
    "data.train_transform.flip": 0.5,
    "data.train_transform.color_jitter": 1.0,
    "data.train_transform.category_max_area": 1.0,
    "trainer.gradient_clip_val": 0.01,
    "trainer.accumulate_grad_batches": 1,
    "trainer.precision": "bf16-mixed",
    "model.num_queries": 100,
    "loss.assignment._target_": "weakshot_seg.losses.assignments.HungarianMatcher",
}


# experiment: crop, its range of scales, limit of the longer edge, steps, and the weights of two terms
PAPER = {
    "coco": (640, [0.5, 1.5], 2560, 60_000, 0.15, 0.1),
    "ade20k": (512, [0.5, 2.0], 2048, 160_000, 0.2, 0.5),
    "voc": (512, [0.5, 2.0], 2048, 60_000, 0.15, 0.1),
}


@pytest.mark.parametrize("experiment", PAPER)
def test_values(experiment):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", [f"experiment={experiment}"])
    crop, scale, limit, steps, complement, similarity = PAPER[experiment]
    expected = COMMON | {
        "data.train_transform.crop_size": crop,
        "data.train_transform.short_edge": crop,
        "data.train_transform.max_size": limit,
        "data.train_transform.scale": scale,
        "data.val_transform.short_edge": crop,
        "data.val_transform.max_size": limit,
        "trainer.max_steps": steps,
        "loss.terms.complement.weight": complement,
        "loss.terms.similarity.novel_weight": similarity,
    }
    found = {name: OmegaConf.select(config, name) for name in expected}
    assert {k: list(v) if OmegaConf.is_list(v) else v for k, v in found.items()} == expected


def test_on_two_processes(small, metrics_of, tmp_path):
    """Both want the cache at once; one run of two processes comes out."""
    write_coco(tmp_path / "data", random_maps(171, train=8, val=3))
    command = [
        *(sys.executable, "-m", "weakshot_seg.train", "experiment=coco", *small, f"data.root={tmp_path}/data"),
        *("trainer=ddp", "trainer.devices=2", "trainer.sync_batchnorm=false", "trainer.accumulate_grad_batches=2"),
        *("data.batch_size=2", "data.train_transform.crop_size=32", "data.train_transform.short_edge=40"),
        *("data.val_transform.short_edge=40", "trainer.max_steps=2", "logger=none"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert metrics_of(tmp_path / "outputs/coco/split1")["step"] == 2
    assert "8 images per step: 2 per batch, 2 device(s), 2 batch(es)" in finished.stdout + finished.stderr
    assert len([path for path in (tmp_path / "data/.weakshot_seg").iterdir() if path.is_dir()]) == 2
