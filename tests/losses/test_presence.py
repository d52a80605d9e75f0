"""The loss of the presence head against a loop over what each image says of its classes."""

import math
from dataclasses import replace

import pytest
import torch

from random_batches import make_output, make_targets
from weakshot_seg.errors import ConfigError
from weakshot_seg.losses.assignments import ClassQueries
from weakshot_seg.losses.presence import PresenceLoss

STATES = ["MAMPA", "UMUAP", "UUPUA", "APMPU", "MMMAA"]
SEEN = [[0, 2], [1], [], [], [1]]  # classes with pixels: of class 2 in the fourth image, none is in the crop
THERE = [[0, 2, 3], [1, 4], [2], [1, 3], [1]]


def test_cross_entropy_of_what_is_known() -> None:
    output, targets = make_output(images=5, queries=5), make_targets(SEEN, states=STATES)
    logits = torch.randn(5, 5, requires_grad=True)
    term, output = PresenceLoss(weight=3.0), replace(output, presence_logits=logits)
    loss = term(output, targets, ClassQueries()(output, targets))["cross_entropy"]
    total, gradient = 0.0, torch.zeros(5, 5)
    for image, letters in enumerate(STATES):
        for class_id, letter in enumerate(letters):
            if letter != "U":
                p = 1 / (1 + math.exp(-logits[image, class_id].item()))
                there = class_id in THERE[image]
                total -= math.log(p if there else 1 - p) / 5
                gradient[image, class_id] = (p - there) / 5
    assert loss.item() == pytest.approx(total, rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, gradient)
    assert ((logits.grad == 0) == torch.tensor([[letter == "U" for letter in row] for row in STATES])).all()


def test_a_network_without_the_head_is_refused() -> None:
    output, targets = make_output(queries=5), make_targets([[0], [1]], [[3], []])
    with pytest.raises(ConfigError, match=r"^loss\.terms\.presence .* set model\.presence_gamma=0\.5"):
        PresenceLoss()(output, targets, ClassQueries()(output, targets))
