"""The presence head: its formula, and that it leaves the rest of the network as it is."""

import torch
import torch.nn.functional as F

from models.small import small_simformer
from weakshot_seg.models.presence import PresenceHead
from weakshot_seg.structures import SegOutput


def test_linear_on_the_normalised_mean_and_maximum() -> None:
    head = PresenceHead(3, 4)
    assert (head.classify.bias == -2).all()
    feature = torch.randn(2, 3, 5, 6)
    for image, logits in zip(feature, head(feature), strict=True):
        values = [[channel.sum() / 30 for channel in image], [channel.max() for channel in image]]
        pooled = torch.tensor(values).flatten()
        normalised = (pooled - pooled.mean()) / (pooled.var(correction=0) + 1e-5).sqrt()
        torch.testing.assert_close(logits, F.linear(normalised, head.classify.weight, head.classify.bias))


def outputs_of(output: SegOutput) -> list[torch.Tensor]:
    return [output.class_logits, output.mask_logits, output.pixel_embeddings]


def test_without_it_the_network_is_as_it_was() -> None:
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    plain, gated = small_simformer(), small_simformer(presence_gamma=0.5)
    assert not any("presence" in name for name in plain.state_dict())
    ours, theirs = gated(images), plain(images)
    assert theirs.presence_logits is None
    assert all(torch.equal(a, b) for a, b in zip(outputs_of(ours), outputs_of(theirs), strict=True))
    assert ours.presence_logits.shape == (2, 5)
    assert not torch.equal(ours.class_scores(), theirs.class_scores())
    free = small_simformer(presence_gamma=0)(images)
    assert torch.equal(free.presence_logits, ours.presence_logits)
    assert torch.equal(free.class_scores(), theirs.class_scores())
    assert torch.equal(gated(images, last_only=True).presence_logits, ours.presence_logits)
    torch.testing.assert_close(gated(images[:1]).presence_logits, ours.presence_logits[:1])
    assert ours.last().presence_logits is ours.presence_logits
    torch.testing.assert_close(ours.last().class_scores(), ours.class_scores())


def test_it_teaches_the_backbone() -> None:
    model = small_simformer(presence_gamma=0.5).train()
    model(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)).presence_logits.sum().backward()
    taught = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert {name.split(".")[0] for name in taught} == {"backbone", "presence"}
    stem = next(parameter for name, parameter in model.named_parameters() if name in taught)
    assert stem.grad.abs().sum() > 0
