"""The paper's model, its parameter names and shapes, its learning rates and weight decays."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from parity.golden import our_name
from weakshot_seg.models.backbone import TimmBackbone
from weakshot_seg.models.simformer import SimFormer
from weakshot_seg.models.simnet import SimNet
from weakshot_seg.training.optim import PolyAdamW


def paper_model(num_classes: int, num_queries: int, simnet: bool) -> nn.Module:
    """Network and SimNet of the paper (no memory is allocated)."""
    with torch.device("meta"):
        model: nn.Module = SimFormer(num_classes, TimmBackbone("resnet50", freeze_norm=True), num_queries)
        if simnet:
            model.add_module("simnet", SimNet(256, 256, 3))
    return model


def as_linear(shape: list[int]) -> list[int]:
    """1x1 convolutions of SimNet are linear layers here."""
    return shape[:2] if shape[2:] == [1, 1] else shape


def test_names_and_shapes_of_the_full_model(state_path: Path) -> None:
    entries = json.loads(state_path.read_text())
    shapes = {name: list(entry["shape"] if isinstance(entry, dict) else entry) for name, entry in entries.items()}
    num_queries = shapes["sem_seg_head.predictor.query_embed.weight"][0]
    num_classes = shapes["sem_seg_head.predictor.class_embed.bias"][0] - 1
    simnet = any("cro_pixel_sim_net" in name for name in shapes)
    ours = {name: list(t.shape) for name, t in paper_model(num_classes, num_queries, simnet).state_dict().items()}

    unlearned = ("criterion.empty_weight", "criterion.ingore_th")
    theirs = {our_name(n): as_linear(s) if "sim_net" in n else s for n, s in shapes.items() if n not in unlearned}
    counters = [n for n in ours if n.startswith("backbone.") and n.endswith("num_batches_tracked")]
    assert {n: s for n, s in ours.items() if n not in counters} == theirs


def test_learning_rate_and_weight_decay_of_every_parameter(optimizer_path: Path) -> None:
    theirs = {name: tuple(v) for name, v in json.loads(optimizer_path.read_text())["param_lr_weightdecay"].items()}
    model = paper_model(num_classes=171, num_queries=100, simnet=any("sim_net" in name for name in theirs))
    optimizer, _ = PolyAdamW().build(model, 60000)
    names = {id(p): name for name, p in model.named_parameters()}
    groups = optimizer.param_groups
    ours = {names[id(p)]: [g["lr"], g["weight_decay"]] for g in groups for p in g["params"]}
    assert ours == {our_name(name): pytest.approx(values, rel=1e-6) for name, values in theirs.items()}
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.999)}
    assert {group["eps"] for group in optimizer.param_groups} == {1e-8}


def test_poly_schedule(optimizer_path: Path) -> None:
    stored, recipe = json.loads(optimizer_path.read_text()), PolyAdamW()
    tables = {key: value for key, value in stored.items() if key.startswith("poly_lr_head_backbone_by_iter_max")}
    for key, table in tables.items():
        for step, (head, backbone) in table.items():
            rate = recipe.lr * recipe.factor(int(step), int(key.rsplit("max", 1)[1]))
            assert (rate, rate * recipe.backbone_factor) == pytest.approx((head, backbone), rel=1e-6)
    (max_steps,) = (int(key.rsplit("max", 1)[1]) for key in tables)
    for key, rate in stored.items():
        if key.startswith("formula_check_"):
            step = int(key.rsplit("_", 1)[1])
            assert recipe.lr * recipe.factor(step, max_steps) == pytest.approx(rate, rel=1e-6)
