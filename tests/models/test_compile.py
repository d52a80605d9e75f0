"""torch.compile of the network's parts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx

from weakshot_seg.errors import ConfigError
from weakshot_seg.models.backbone import TimmBackbone
from weakshot_seg.models.simformer import SimFormer

SMALL = {"dim": 16, "pixel_dim": 32, "embedding_dim": 8, "num_layers": 2, "num_heads": 4, "ffn_dim": 24, "dropout": 0.0}


def make(**options: Any) -> SimFormer:
    torch.manual_seed(1)
    return SimFormer(5, TimmBackbone("resnet10t"), num_queries=7, **SMALL, **options)


@pytest.fixture
def graphs() -> list[fx.GraphModule]:
    torch.compiler.reset()
    return []


def test_parts_are_whole_graphs_and_give_the_same_step(graphs: list[fx.GraphModule]) -> None:
    def backend(graph: fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    plain, compiled = make().train(), make(compile=backend).train()
    assert plain.state_dict().keys() == compiled.state_dict().keys()
    outputs = [model(images) for model in (plain, compiled)]
    assert len(graphs) == 4  # backbone, pixel decoder, query decoder, heads: none is cut in pieces
    for output in outputs:
        (output.class_logits.square().mean() + output.mask_logits.square().mean()).backward()
    torch.testing.assert_close(outputs[1].mask_logits, outputs[0].mask_logits)
    torch.testing.assert_close(outputs[1].class_logits, outputs[0].class_logits)
    for (key, ours), theirs in zip(compiled.named_parameters(), plain.named_parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs[1].grad, rtol=1e-4, atol=1e-6, msg=key)


def test_unknown_backend() -> None:
    with pytest.raises(ConfigError, match=r"model.compile='inductr': choose one of .*inductor"):
        make(compile="inductr")


def test_compiled_and_checkpointed() -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        make(compile="eager", activation_checkpointing=True)
