"""Steps that are not finite: a skipped one is as if it had never been, and nothing asks the device on the way."""

import logging
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from weakshot_seg.errors import DivergedError
from weakshot_seg.training.step_guard import StepGuard

NAN, INF = torch.nan, torch.inf


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))


def train(guard: StepGuard, batches: Tensor, factors: Sequence[float], accumulate: int = 1) -> nn.Sequential:
    """Trains on batches whose losses are multiplied by the factors, with a report after each; keeps AdamW's moments."""
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    guard.start(model, device=torch.device("cpu"))
    for number, (batch, factor) in enumerate(zip(batches, factors, strict=True)):
        step = number // accumulate
        guard.begin(step, 0.1, (f"image {number}",))
        loss = model(batch).square().mean()
        parts = {"a/x": loss * factor, "b/y": loss}
        guard.watch(parts["a/x"] + parts["b/y"], parts).backward()
        if number % accumulate == accumulate - 1:
            gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
            guard.decide(torch.nn.utils.get_total_norm(gradients), optimizer)
            optimizer.step()
            optimizer.zero_grad()
        guard.report()
    model.moments = optimizer.state_dict()["state"]
    return model


def assert_same(first: nn.Sequential, second: nn.Sequential) -> None:
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(first.moments, second.moments, rtol=0, atol=0)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_skipped_step_is_as_if_it_had_never_been(bad):
    """Weights, moments, their step counters and statistics of BatchNorm are those of a training without it."""
    batches = torch.randn(6, 8, 3)
    guard = StepGuard()
    with_it = train(guard, batches, [1, 1, bad, 1, bad, 1])
    assert guard.skipped == 2
    assert_same(with_it, train(StepGuard(), batches[[0, 1, 3, 5]], [1] * 4))
    assert not torch.equal(with_it[0].weight, network()[0].weight)


@pytest.mark.parametrize(("bad", "in_image"), [(4, False), (6, True), (7, False)])
def test_a_step_of_several_batches_is_skipped_as_a_whole(bad, in_image, caplog):
    """Whichever of them it was, and its images are named."""
    batches, factors = torch.randn(12, 8, 3), [1.0] * 12
    spoilt = batches.clone()
    if in_image:
        spoilt[bad, 5, 2] = NAN
    else:
        factors[bad] = NAN
    guard = StepGuard()
    with caplog.at_level(logging.WARNING):
        with_it = train(guard, spoilt, factors, accumulate=4)
    assert guard.skipped == 1
    assert_same(with_it, train(StepGuard(), batches[[0, 1, 2, 3, 8, 9, 10, 11]], [1] * 8, accumulate=4))
    said = [record.getMessage() for record in caplog.records if record.name == StepGuard.__module__]
    assert len(said) == 1
    assert f"step 1: a/x is nan{', b/y is nan' * in_image} (learning rate 0.1; images image {bad})" in said[0]


def test_too_many_in_a_row_are_an_error():
    with pytest.raises(DivergedError, match=r"^3 steps in a row .* step 5: a/x is inf \(learning rate 0.1; images ima"):
        train(StepGuard(limit=3), torch.randn(6, 8, 3), [NAN, NAN, 1, NAN, NAN, INF])


def test_gradients_alone_are_distinguished_from_the_loss():
    guard = StepGuard(limit=1)
    guard.start(nn.Linear(1, 1), device=torch.device("cpu"))
    guard.begin(7, 0.5, ("image",))
    guard.watch(torch.tensor(1.0, requires_grad=True), {"a/x": torch.tensor(1.0)})
    guard.decide(torch.tensor(INF), torch.optim.AdamW([nn.Parameter(torch.ones(1))], fused=True))
    with pytest.raises(DivergedError, match="step 7: the gradients are not finite, though the loss is"):
        guard.report()


def test_the_host_never_waits_for_the_device():
    """On the meta device there is nothing to wait for: to read a number is an error."""
    guard, model = StepGuard(), network().to("meta")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    optimizer.defaults["fused"] = True  # there is no such kernel for this device; it is not run
    guard.start(model, device=torch.device("meta"))
    for step in range(2):
        guard.begin(step, 0.1, ("image",))
        loss = model(torch.randn(8, 3, device="meta")).square().mean()
        guard.watch(loss, {"a/x": loss}).backward()
        guard.decide(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]), optimizer)
    assert optimizer.found_inf.device.type == "meta"
    with pytest.raises(RuntimeError):
        guard.report()
