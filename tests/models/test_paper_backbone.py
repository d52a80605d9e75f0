"""The backbone of ``experiment=coco|ade20k`` is torchvision's ResNet-50 with frozen BatchNorm."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.feature_extraction import create_feature_extractor

from weakshot_seg.config.compose import conf_dir
from weakshot_seg.models.backbone import TimmBackbone


@pytest.fixture(scope="module")
def backbone() -> TimmBackbone:
    """As both experiments make it, but without the download."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        coco, ade20k = (
            compose("train", [f"experiment={name}", "data.root=DIR"]).model.backbone for name in ("coco", "ade20k")
        )
    assert coco == ade20k
    assert coco.pretrained
    assert coco.name == "resnet50.tv_in1k"
    return instantiate(coco, pretrained=False)


@torch.no_grad()
def test_it_computes_what_torchvision_computes(backbone: TimmBackbone) -> None:
    """Also with statistics and affine parameters of BatchNorm that are not those of a new network."""
    theirs = resnet50()
    for name, tensor in theirs.state_dict().items():
        if "bn" in name or "downsample.1" in name:
            tensor.copy_(torch.rand_like(tensor.float()) + 0.2)
    weights = {k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    backbone.net.load_state_dict(weights)
    images = torch.randn(1, 3, 64, 96)
    levels = create_feature_extractor(theirs.eval(), ["layer1", "layer2", "layer3", "layer4"])(images)
    for got, expected in zip(backbone.train()(images), levels.values(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5 * expected.std().item())


def test_training_changes_no_batch_norm(backbone: TimmBackbone) -> None:
    norms = {n: m for n, m in backbone.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    assert len(norms) == 53
    before = {name: tensor.clone() for norm in norms for name, tensor in norms[norm].state_dict(prefix=norm).items()}
    backbone.train()
    optimizer = torch.optim.SGD(backbone.parameters(), lr=1.0)
    sum(level.mean() for level in backbone(torch.randn(2, 3, 64, 64))).backward()
    optimizer.step()
    after: dict[str, Tensor] = {name: t for norm in norms for name, t in norms[norm].state_dict(prefix=norm).items()}
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is not None for n, p in backbone.named_parameters() if p.requires_grad)
    assert sum(p.requires_grad for p in backbone.parameters()) == 53  # all convolutions, also the stem
