"""SimNet, balance weights, and the pixel similarity losses with the given points."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from parity.golden import compare, our_name, read_simnet, read_targets
from weakshot_seg.losses import similarity
from weakshot_seg.losses.similarity import BalanceWeights, PixelSimilarityLoss, cosine
from weakshot_seg.models.simnet import SimNet
from weakshot_seg.structures import IGNORE, Assignment, SegOutput
from weakshot_seg.utils.embeddings import take_points


def on_map(net: SimNet, pairs: np.ndarray) -> Tensor:
    """P(same) [B, 1, H, W] of concatenated pair features [B, 2C, H, W]: each place is one pair."""
    points = torch.from_numpy(pairs).movedim(1, -1)
    first, second = points.flatten(0, 2)[:, None].chunk(2, dim=-1)
    return net(first, second).softmax(-1)[:, 0, 0, 1].view(points.shape[:3])[:, None]


def undo_training_step(net: SimNet, pairs: np.ndarray) -> None:
    """Takes one training step out of the running statistics: before = (after - 0.1 batch) / 0.9."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    after = [(m.running_mean.clone(), m.running_var.clone()) for m in norms]
    for norm in norms:
        norm.momentum = 1.0  # running statistics become those of the batch
    on_map(net.train(), pairs)
    for norm, (mean, variance) in zip(norms, after, strict=True):
        norm.running_mean.copy_((mean - 0.1 * norm.running_mean) / 0.9)
        norm.running_var.copy_((variance - 0.1 * norm.running_var) / 0.9)
        norm.num_batches_tracked -= 2
        norm.momentum = 0.1


@torch.no_grad()
def test_simnet(simnet_path: Path) -> None:
    arrays = np.load(simnet_path)
    net, after = read_simnet(arrays)
    assert after
    if all(torch.equal(net.state_dict()[name], value) for name, value in after.items()):
        undo_training_step(net, arrays["x"])  # the file's sd.* statistics were written after the training forward
    compare(simnet_path, on_map(net.eval(), arrays["x"]), arrays["out_eval"])
    compare(simnet_path, on_map(net.train(), arrays["x"]), arrays["out_train"])
    for name, value in after.items():
        compare(simnet_path, net.state_dict()[name], value)


def test_simnet_without_batch_norm(simnet_nobn_path: Path) -> None:
    arrays = np.load(simnet_nobn_path)
    net, _ = read_simnet(arrays)
    assert not [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    compare(simnet_nobn_path, on_map(net, arrays["x"]), arrays["out"])


def test_simnet_of_full_size_has_the_authors_parameters(simnet_shapes_path: Path) -> None:
    shapes = json.loads(simnet_shapes_path.read_text())
    theirs = {our_name(name): shape[:2] for name, shape in shapes.items()}
    hidden, pair_width = theirs["blocks.0.linear1.weight"]
    blocks = sum(name.endswith("linear1.weight") for name in theirs)
    net = SimNet(pair_width // 2, hidden, blocks)
    assert {name: list(value.shape) for name, value in net.state_dict().items()} == theirs


def test_balance_weights(balance_path: Path) -> None:
    """The authors count every fifth row and column of the pairs; we count all."""
    arrays = np.load(balance_path)
    balance = BalanceWeights(history=25)
    for targets, weights in zip(arrays["targets"], arrays["neg_pos_weights"], strict=True):
        compare(balance_path, balance(torch.from_numpy(targets[:, ::5, ::5]).bool()), weights)


class Given(nn.Module):
    """Balance weights out of the file."""

    def __init__(self, weights: np.ndarray) -> None:
        super().__init__()
        self.weights = torch.from_numpy(weights).float()

    def forward(self, same: Tensor, known: Tensor) -> Tensor:
        assert known.all()
        self.same = same
        return self.weights


class Case:
    """A pair file with its points put in the place of random ones."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.arrays = np.load(path)
        arrays = self.arrays
        leaves = [torch.from_numpy(arrays[k]) for k in ("pred_logits", "pred_masks", "pixel_features")]
        self.leaves = [leaf.requires_grad_() for leaf in leaves]
        class_logits, mask_logits, features = self.leaves
        self.output = SegOutput(class_logits[None], mask_logits[None], features)
        self.targets = read_targets(arrays, class_logits.shape[-1] - 1, paired=True)
        self.height, self.width = features.shape[-2:]
        self.shared = "distill_points" in arrays
        nowhere = np.full((2, 2, 2), -1.0)
        names = ("pos_points", "neg_points", "distill_points")
        self.points = [self.indices(arrays.get(name, nowhere)) for name in names]
        self.regions: list[Tensor] = []
        choice = torch.from_numpy(arrays["common_base_choice"]).view(1).long()
        monkeypatch.setattr(similarity, "sample_points", self.sample)
        monkeypatch.setattr(similarity, "choose_class", lambda candidates: choice)

    def indices(self, xy: np.ndarray) -> Tensor:
        column = (xy[..., 0] + 1) / 2 * (self.width - 1)
        row = (xy[..., 1] + 1) / 2 * (self.height - 1)
        assert np.abs(column - column.round()).max() < 1e-4  # points sit on pixels
        assert np.abs(row - row.round()).max() < 1e-4
        return torch.from_numpy((row.round() * self.width + column.round()).astype(np.int64))

    def sample(self, region: Tensor, count: int, padding: Tensor) -> Tensor:
        number = len(self.regions)
        self.regions.append(region)
        assert number == 2 or self.points[number].shape[1] == count  # 80 % inside the class, 20 % outside
        return self.points[number]

    def loss(self, net: SimNet, distillation: str) -> PixelSimilarityLoss:
        count = self.points[0].shape[1] + self.points[1].shape[1]
        loss = PixelSimilarityLoss(net, num_points=count, distillation=distillation, student_pairs="within")
        loss.balance = Given(self.arrays["balance_neg_pos_weight"])
        return loss


NOBODY = Assignment(torch.zeros(1, 1, 0, dtype=torch.int64))


@pytest.fixture
def case(pair_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(pair_path, monkeypatch)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("variant", ["ce_novel", "cce_novel", "b05_novel", "cce_full"])
def test_pair_losses(variant: str, mode: str, pair_path: Path, case: Case) -> None:
    kind, classes = variant.split("_")
    arrays, targets = case.arrays, case.targets
    net, after = read_simnet(arrays)
    if classes == "full":
        targets = replace(targets, novel=torch.ones_like(targets.novel))
    loss = case.loss(net.train(mode == "train"), {"b05": "b0.5"}.get(kind, kind))
    values = loss(case.output, targets, NOBODY)
    compare(pair_path, values["base"], arrays[f"{variant}_{mode}_loss_cro_sim"])
    compare(pair_path, values["novel"], arrays[f"{variant}_{mode}_loss_cro_dit"])
    if mode == "train" and case.shared:  # without a shared class the authors skip the teacher, we run it (DDP)
        for name, value in after.items():
            compare(pair_path, net.state_dict()[name], value)
    total = values["base"] + 0.5 * values["novel"]
    gradients = torch.autograd.grad(total, [*case.leaves, net.head.weight], allow_unused=True)
    names = ("pred_logits", "pred_masks", "pixel_features", "simnet_out_head_weight")
    for name, leaf, gradient in zip(names, [*case.leaves, net.head.weight], gradients, strict=True):
        if (key := f"{variant}_{mode}_grad_{name}") in arrays:
            ours = torch.zeros_like(leaf) if gradient is None else gradient
            theirs = torch.from_numpy(arrays[key])
            if theirs.numel() == 1:  # no gradient flows
                assert not ours.any()
            else:
                compare(pair_path, ours, theirs.view_as(ours))


def test_balance_weights_of_the_pairs(pair_path: Path) -> None:
    """Of a first step; the authors count every fifth row and column of the pairs, we count all."""
    arrays = np.load(pair_path)
    counted = torch.from_numpy(arrays["sim_target"])[:, ::5, ::5].bool()
    assert int((~counted).sum()) == arrays["balance_queue_neg"][-1]
    assert int(counted.sum()) == arrays["balance_queue_pos"][-1]
    compare(pair_path, BalanceWeights()(counted), arrays["balance_neg_pos_weight"])


def test_regions_targets_and_teacher(pair_path: Path, case: Case) -> None:
    arrays = case.arrays
    net, _ = read_simnet(arrays)
    loss = case.loss(net.eval(), "ce")
    loss(case.output, case.targets, NOBODY)
    base, padding, novel, ignore = (
        torch.from_numpy(arrays[f"region_{name}"]).bool().flatten(1) for name in ("base", "pad", "novel", "ignore")
    )
    choice = int(arrays["common_base_choice"])
    scale = case.targets.label_map.shape[-1] // case.width
    labels = case.targets.label_map[:, ::scale, ::scale].flatten(1)
    assert torch.equal(base, labels != IGNORE)
    inside, outside, region = case.regions
    assert torch.equal(inside, base if choice < 0 else labels == choice)
    assert torch.equal(outside, ~padding & ~inside)
    assert torch.equal(region, (novel | ignore) & ~base & ~padding)  # the authors' includes padding
    assert isinstance(loss.balance, Given)

    points = torch.cat(case.points[:2], dim=1)
    point_labels = labels.gather(1, points)
    valid = torch.from_numpy(arrays["sim_pair_valid"]).bool()
    is_base = point_labels != IGNORE
    assert torch.equal(is_base[:, :, None] | is_base[[1, 0]][:, None], valid)
    assert torch.equal(loss.balance.same[valid], torch.from_numpy(arrays["sim_target"]).bool()[valid])

    embeddings = case.output.pixel_embeddings.flatten(2)
    features = take_points(embeddings, points)
    compare(pair_path, net(features, features[[1, 0]]).softmax(-1)[..., 1], arrays["sim_pred_eval"])
    if "teacher_sim_eval" in arrays:
        features = take_points(embeddings, case.points[2])
        compare(pair_path, net(features, features[[1, 0]]).softmax(-1)[..., 1], arrays["teacher_sim_eval"])


def test_student_similarity(pair_path: Path, case: Case) -> None:
    arrays = case.arrays
    assert case.shared == bool((case.targets.tagged[0] & case.targets.tagged[1]).any())
    if not case.shared:
        assert "student_feats" not in arrays
        return
    masks = take_points(case.output.mask_logits[0].flatten(2), case.points[2]).sigmoid()
    classes = case.output.class_logits[0].softmax(-1)[..., :-1][..., case.targets.novel]
    compare(pair_path, masks @ classes, arrays["student_feats"])
    compare(pair_path, cosine(masks @ classes, masks @ classes), arrays["student_cos_before_relu"])
