"""The products of a training step are all found, and replayed in their shapes and layouts."""

from collections import Counter

import pytest
import torch
from torch import nn

from benchmarks.floor import PHASES, Products, markdown, measure_floor, step_in_phases
from benchmarks.recipes import recipe, settings_of
from benchmarks.workload import make_workload

SMALL = ("model.backbone.name=test_resnet", "model.dim=32", "model.pixel_dim=32", "model.num_layers=1")


def test_products_are_counted_by_phase() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))
    net.to(memory_format=torch.channels_last)
    images = torch.zeros(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    with Products() as products:
        products.phase = "forward"
        loss = net(images).sum()
        products.phase = "backward"
        loss.backward()
    counts: Counter[tuple[str, str]] = Counter()
    for (phase, call), count in products.counts.items():
        counts[phase, str(call[0])] += count
    assert counts == {
        ("forward", "aten.convolution.default"): 1,
        ("forward", "aten.addmm.default"): 1,
        ("backward", "aten.convolution_backward.default"): 1,
        ("backward", "aten.mm.default"): 2,  # for the input and the weight of the linear layer
    }
    forward = next(given for call, given in products.arguments.items() if str(call[0]) == "aten.convolution.default")
    image, weight = (like.make() for like in forward[0][:2])
    assert (image.shape, image.stride()) == (images.shape, images.stride())
    assert (weight.shape, weight.stride()) == (net[0].weight.shape, net[0].weight.stride())


@pytest.mark.parametrize("words", [(), ("experiment=folder", "preset=laptop", "data.root=X", "trainer.max_steps=1")])
def test_a_training_beside_its_floor(words: tuple[str, ...]) -> None:
    work = make_workload(64, 2, 4, torch.device("cpu"))
    ours = recipe("small", settings_of([*words, *SMALL]), 4, work, "32", "cpu")
    calls = []
    convolutions = [m for m in ours.module.modules() if isinstance(m, nn.Conv2d)]
    for module in convolutions:
        module.register_forward_hook(lambda module, *_: calls.append(module))
    with Products() as products:
        step_in_phases(ours, lambda phase: setattr(products, "phase", phase))
    found = products.counts.items()
    counted = sum(n for (phase, call), n in found if str(call[0]) == "aten.convolution.default" and phase == "forward")
    assert counted == len(calls) * (2 if ours.teacher else 1)  # the teacher is a network of its own
    assert not [call for phase, call in products.counts if phase == "optimiser"]

    found = measure_floor([ours], 2, 0, "wall")["small"]
    assert found["optimiser"]["ratio"] is None
    assert found["whole"]["step"].median == pytest.approx(sum(found[phase]["step"].median for phase in PHASES))
    assert found["whole"]["floor"].median > found["forward"]["floor"].median > 0
    assert markdown({"small": found}).count("\n") == 2 + 5
