"""The composed criterion: odd batches, invariances, what it may read, and how often it waits for the device."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from weakshot_seg.data.weak_labels import WeakShotDataset
from weakshot_seg.losses.assignments import ClassQueries, HungarianMatcher
from weakshot_seg.losses.criterion import Criterion
from weakshot_seg.losses.similarity import PixelSimilarityLoss
from weakshot_seg.losses.terms import AbsenceLoss, ClassificationLoss, ComplementLoss, MaskLoss
from weakshot_seg.models.simnet import SimNet
from weakshot_seg.structures import IGNORE, ClassSplit, SampleRequest, SegOutput, WeakBatch, WeakTargets

MakeOutput = Callable[..., SegOutput]
MakeTargets = Callable[..., WeakTargets]


def criterion(class_queries: bool = False, stride: int = 1) -> Criterion:
    terms = {
        "classification": ClassificationLoss(),
        "mask": MaskLoss(stride=stride),
        "complement": ComplementLoss(stride=stride),
        "similarity": PixelSimilarityLoss(SimNet(3, 4, 2), num_points=10),
    }
    if class_queries:
        terms["absence"] = AbsenceLoss()
    return Criterion(ClassQueries() if class_queries else HungarianMatcher(), terms)


def gradients(loss: Tensor, output: SegOutput) -> dict[str, Tensor]:
    leaves = {"class_logits": output.class_logits, "mask_logits": output.mask_logits}
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


BATCHES: dict[str, tuple[list[list[int]], list[list[int]], int]] = {  # base classes, tags, padded rows of 8
    "mixed": ([[0, 2], [1, 2]], [[3], [3, 4]], 2),
    "no class at all": ([[], []], [[], []], 0),
    "only novel": ([[], []], [[3], [3, 4]], 1),
    "only base": ([[0, 1], [2]], [[], []], 0),
    "one image empty": ([[0, 1], []], [[3], []], 1),
    "all padding": ([[], []], [[], []], 8),
    "all padding but tags": ([[], []], [[3], [3]], 8),
    "one image": ([[0]], [[3]], 1),
    "three images": ([[0], [0, 1], [2]], [[3], [3], [4]], 1),
    "every class": ([[0, 1, 2]] * 2, [[3, 4]] * 2, 0),
}


@pytest.mark.parametrize("class_queries", [False, True])
@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("name", BATCHES)
def test_every_batch_gives_finite_losses_and_gradients(
    name: str, paired: bool, class_queries: bool, make_output: MakeOutput, make_targets: MakeTargets
) -> None:
    base, tags, padded_rows = BATCHES[name]
    targets = make_targets(base, tags, padded_rows=padded_rows, paired=paired)
    output = make_output(images=len(base), queries=5)
    module = criterion(class_queries)
    losses = module(output, targets)
    assert losses.total.isfinite()
    assert all(value.isfinite() and value.dim() == 0 for value in losses.parts.values())
    losses.total.backward()
    for parameter in [output.class_logits, output.mask_logits]:
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    for parameter in module.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_parts_that_have_nothing_to_say_are_zero(make_output: MakeOutput, make_targets: MakeTargets) -> None:
    def parts(base: list[list[int]], tags: list[list[int]]) -> set[str]:
        losses = criterion()(make_output(), make_targets(base, tags, paired=True))
        return {name for name, value in losses.parts.items() if value.item() == 0}

    mask, complement = {"mask/focal", "mask/dice"}, {"complement/focal", "complement/dice"}
    assert parts([[0], [0]], [[3], [3]]) == set()
    assert parts([[], []], [[3], [3]]) == {*mask, "similarity/base"}
    assert parts([[0], [1]], [[], []]) == {*complement, "similarity/novel"}
    assert parts([[], []], [[], []]) == {*mask, *complement, "similarity/base", "similarity/novel"}


def test_terms_can_be_left_out(make_output: MakeOutput, make_targets: MakeTargets) -> None:
    output, targets = make_output(), make_targets([[0, 1], [2]], [[3], [4]])
    terms = {"a": MaskLoss(), "b": ClassificationLoss()}
    losses = Criterion(HungarianMatcher(), terms, without=["a", "c"])(output, targets)
    assert set(losses.parts) == {"b/cross_entropy"}


def test_the_total_is_the_weighted_sum_of_the_parts_of_the_right_layers(
    make_output: MakeOutput, make_targets: MakeTargets
) -> None:
    output, targets = make_output(layers=3), make_targets([[0, 1], [2]], [[3], [4]])
    terms = {"a": MaskLoss(weight=0.5, focal_weight=7, dice_weight=3), "b": MaskLoss(weight=2.0, layers="last")}
    losses = Criterion(HungarianMatcher(), terms)(output, targets)
    p = losses.parts
    assert set(p) == {"a/focal", "a/dice", "b/focal", "b/dice"}
    expected = 0.5 * (7 * p["a/focal"] + 3 * p["a/dice"]) + 2 * (20 * p["b/focal"] + p["b/dice"])
    torch.testing.assert_close(losses.total, expected)
    torch.testing.assert_close(losses.weighted["a/focal"], 3.5 * p["a/focal"])
    assert set(losses.weighted) == set(p)
    assert sum(losses.weighted.values()).item() == losses.total.item()
    single = [
        MaskLoss()(part, targets, HungarianMatcher()(part, targets))["dice"]
        for part in (
            SegOutput(output.class_logits[i : i + 1], output.mask_logits[i : i + 1], output.pixel_embeddings)
            for i in range(3)
        )
    ]
    torch.testing.assert_close(p["a/dice"], torch.stack(single).sum())
    torch.testing.assert_close(p["b/dice"], single[-1])


def test_diagnostics_are_those_of_the_latest_batch(make_output: MakeOutput, make_targets: MakeTargets) -> None:
    module, output = criterion(), make_output()
    assert module.diagnostics() == {}
    module(output, make_targets([[0, 1], [0]], [[3], [3]], paired=True))
    assert not any(value.requires_grad for value in module.diagnostics().values())
    module(output, make_targets([[0, 1], [0]], [[3], [3]]))
    assert module.diagnostics() == {}  # no pairs


def test_permuting_queries_leaves_the_hungarian_losses_unchanged(
    make_output: MakeOutput, make_targets: MakeTargets
) -> None:
    output, targets = make_output(queries=7), make_targets([[0, 1], [2]], [[3], [3, 4]], paired=True)
    order = torch.randperm(7)
    shuffled = replace(
        output, class_logits=output.class_logits[:, :, order], mask_logits=output.mask_logits[:, :, order]
    )
    module = criterion().eval()
    state, noise = {k: v.clone() for k, v in module.state_dict().items()}, torch.get_rng_state()
    plain = module(output, targets)
    module.load_state_dict(state)
    torch.set_rng_state(noise)
    moved = module(shuffled, targets)
    for name in plain.parts:
        torch.testing.assert_close(moved.parts[name], plain.parts[name])


def test_half_precision_outputs_are_judged_in_float32(make_output: MakeOutput, make_targets: MakeTargets) -> None:
    output, targets = make_output(), make_targets([[0, 1], [2]], [[3], [4]])
    half = SegOutput(output.class_logits.bfloat16(), output.mask_logits.bfloat16(), output.pixel_embeddings.bfloat16())
    module = criterion()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = module(half, targets)
    assert losses.total.dtype == torch.float32
    torch.testing.assert_close(losses.total, module(half.float(), targets).total)


def test_losses_learn_the_truth(make_output: MakeOutput, make_targets: MakeTargets) -> None:
    """Free logits, trained by the criterion, end with the right classes and base masks."""
    targets = make_targets([[0, 2], [1]], [[3], [3]], size=(8, 8), padded_rows=0)
    class_logits = nn.Parameter(torch.randn(1, 2, 5, 6))
    mask_logits = nn.Parameter(torch.randn(1, 2, 5, 8, 8))
    optimizer = torch.optim.Adam([class_logits, mask_logits], lr=0.3)
    module = Criterion(
        HungarianMatcher(), {"a": ClassificationLoss(), "b": MaskLoss(), "c": ComplementLoss(weight=1.0)}
    )
    for _ in range(80):
        optimizer.zero_grad()
        module(SegOutput(class_logits, mask_logits, torch.zeros(2, 1, 8, 8)), targets).total.backward()
        optimizer.step()
    for image, present in enumerate([[0, 2, 3], [1, 3]]):
        said = class_logits[0, image].argmax(-1).tolist()
        assert sorted(c for c in said if c < 5) == present
        for c in present:
            truth = targets.label_map[image] == (IGNORE if c == 3 else c)
            assert torch.equal(mask_logits[0, image, said.index(c)] > 0, truth)


class TwoScenes:
    """Two images of base and novel pixels; ``poison`` shuffles the ids among novel pixels, keeping the set."""

    class_names = tuple("abcdef")

    def __init__(self, poison: bool) -> None:
        rng = np.random.default_rng(3)
        self.images = rng.integers(0, 256, (2, 8, 12, 3), dtype=np.uint8)
        self.maps = rng.choice(np.array([0, 1, 3, 4, 5, IGNORE], dtype=np.uint8), (2, 8, 12))
        if poison:
            for label_map in self.maps:
                novel = np.isin(label_map, [3, 4, 5])
                shuffled = np.random.default_rng(9).permutation(label_map[novel])
                assert (shuffled != label_map[novel]).any()
                label_map[novel] = shuffled

    def __len__(self) -> int:
        return 2

    def name(self, index: int) -> str:
        return str(index)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.images[index], self.maps[index]

    def presence(self) -> np.ndarray:
        return np.array([[(m == c).any() for c in range(6)] for m in self.maps])


def test_poisoned_novel_pixels_change_no_loss(make_output: MakeOutput) -> None:
    def unchanged(image: np.ndarray, label_map: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return image, label_map, np.zeros(label_map.shape, dtype=bool)

    split = ClassSplit(TwoScenes.class_names, (3, 4, 5))
    output = make_output(classes=6, queries=6)
    module = criterion(class_queries=True)
    state, noise = {k: v.clone() for k, v in module.state_dict().items()}, torch.get_rng_state()
    results = []
    for poison in (False, True):
        dataset = WeakShotDataset(TwoScenes(poison), split, unchanged)
        batch = WeakBatch.collate([dataset[SampleRequest(i, 0)] for i in range(2)], split.is_novel(), paired=True)
        module.load_state_dict(state)
        torch.set_rng_state(noise)
        losses = module(output, batch.targets)
        results.append((losses, gradients(losses.total, output)))
    (clean, clean_gradients), (poisoned, poisoned_gradients) = results
    assert all(value.item() != 0 for value in clean.parts.values())
    for name in clean.parts:
        assert torch.equal(clean.parts[name], poisoned.parts[name])
    for name in clean_gradients:
        assert torch.equal(clean_gradients[name], poisoned_gradients[name])


WAITS = ("cpu", "item", "tolist", "numpy", "__bool__", "__int__", "__float__", "__index__", "nonzero", "unique")


class HostCopies(TorchFunctionMode):
    """Lists the calls that would make the host wait if the criterion's inputs were on an accelerator.

    Tensors that come of the inputs are followed; what ``cpu()`` gives, and what is made on the host (small random
    numbers), may be read freely.
    """

    def __init__(self, *device_tensors: Tensor) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.on_device = {id(t): t for t in device_tensors}  # keeps them alive, so that ids stay unique

    def __torch_function__(
        self, func: Callable[..., object], types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        flat = [x for a in (*args, *kwargs.values()) for x in (a if isinstance(a, list | tuple) else [a])]
        involved = any(id(x) in self.on_device for x in flat) or isinstance(kwargs.get("device"), torch.device)
        masked = name in ("__getitem__", "__setitem__", "index_put_") and any(
            isinstance(x, Tensor) and x.dtype == torch.bool and id(x) in self.on_device for x in flat[1:]
        )
        ragged = name == "repeat_interleave" and any(isinstance(x, Tensor) for x in flat[1:])
        if involved and (name in WAITS or masked or ragged):
            self.calls.append(name)
        result = func(*args, **kwargs)
        if name == "cpu":
            return result.clone()
        if involved:
            for x in result if isinstance(result, list | tuple) else [result]:
                if isinstance(x, Tensor):
                    self.on_device[id(x)] = x
        return result


class ScalarReads(TorchDispatchMode):
    """Counts operators whose result's value or size must be read, on any tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_dispatch__(
        self, func: Callable[..., object], types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        name = str(func)
        if any(word in name for word in ("local_scalar_dense", "nonzero", "masked_select", "unique")):
            self.calls.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("class_queries", "copies"), [(False, ["cpu"]), (True, [])])
def test_one_copy_to_the_host_for_the_whole_matching_and_no_other_wait(
    class_queries: bool, copies: list[str], make_output: MakeOutput, make_targets: MakeTargets
) -> None:
    output = make_output(images=4, queries=5, layers=3)
    targets = make_targets([[0, 1], [0], [2], []], [[3], [3, 4], [], [4]], paired=True)
    module = criterion(class_queries, stride=2)
    tensors = [v for part in (output, targets) for v in vars(part).values() if isinstance(v, Tensor)]
    with HostCopies(*tensors, *module.parameters(), *module.buffers()) as mode:
        module(output, targets)
        assert len(module.diagnostics()) == 7
    assert mode.calls == copies
    with ScalarReads() as reader:
        module(output, targets)
        module.diagnostics()
    assert reader.calls == []


def test_the_wait_counter_can_fail() -> None:
    tensor = torch.rand(3)
    with HostCopies(tensor) as mode:
        doubled = tensor * 2
        doubled[doubled > 0]
        if doubled.sum() > 0:
            doubled.max().item()
        host = doubled.cpu()
        host.tolist()
    assert mode.calls == ["__getitem__", "__bool__", "item", "cpu"]
    with ScalarReads() as reader:
        tensor.sum().item()
    assert len(reader.calls) == 1
