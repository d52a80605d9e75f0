"""Parameter groups and schedule."""

import pytest
from torch import nn

from weakshot_seg.models.backbone import TimmBackbone
from weakshot_seg.models.simformer import SimFormer
from weakshot_seg.training.optim import PolyAdamW


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.backbone_like = nn.Linear(4, 4)
        self.norms = nn.ModuleList([nn.GroupNorm(2, 4), nn.LayerNorm(4)])
        self.queries = nn.Embedding(3, 4)
        self.tied = self.backbone_like
        self.frozen = nn.Linear(4, 4).requires_grad_(False)


def settings(module: nn.Module, recipe: PolyAdamW) -> dict[str, tuple[float, float]]:
    optimizer, _ = recipe.build(module, 100)
    names = {id(p): name for name, p in module.named_parameters()}
    return {
        names[id(p)]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]
    }


def test_every_trainable_parameter_once_with_its_rate_and_decay():
    fast, slow, decay = 2e-3, 2e-4, 0.05
    assert settings(Toy(), PolyAdamW(lr=fast, weight_decay=decay, backbone_factor=0.1)) == {
        "backbone.0.weight": (pytest.approx(slow), decay),
        "backbone.0.bias": (pytest.approx(slow), decay),
        "backbone.1.weight": (pytest.approx(slow), 0.0),
        "backbone.1.bias": (pytest.approx(slow), 0.0),
        "backbone_like.weight": (fast, decay),
        "backbone_like.bias": (fast, decay),
        "norms.0.weight": (fast, 0.0),
        "norms.0.bias": (fast, 0.0),
        "norms.1.weight": (fast, 0.0),
        "norms.1.bias": (fast, 0.0),
        "queries.weight": (fast, 0.0),
    }


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_position_embeddings_of_transformers_do_not_decay(name):
    small = {"embed_dim": 32, "num_heads": (1, 2, 4, 8), "depths": (1, 1, 1, 1)} if "swin" in name else {"depth": 3}
    groups = settings(SimFormer(3, TimmBackbone(name, **small), num_layers=1, dim=32), PolyAdamW())
    embeddings = {n: s for n, s in groups.items() if "pos_embed" in n or "relative_position_bias" in n}
    assert embeddings
    assert {decay for _, decay in embeddings.values()} == {0.0}


def test_warm_up_rises_linearly_and_ends_on_the_poly_curve():
    recipe = PolyAdamW(warmup_steps=4)
    plain = PolyAdamW()
    factors = [recipe.factor(step, 100) / plain.factor(step, 100) for step in range(6)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    assert all(recipe.factor(step, 100) > 0 for step in range(100))
    assert recipe.factor(101, 100) == 0  # beyond the end: no complex number
