"""The composed criterion: sums of the right parts and layers, and how often it waits for the device."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from weakshot_seg.losses.assignments import ClassQueries, HungarianMatcher
from weakshot_seg.losses.criterion import Criterion
from weakshot_seg.losses.similarity import PixelSimilarityLoss
from weakshot_seg.losses.terms import AbsenceLoss, ClassificationLoss, ComplementLoss, MaskLoss
from weakshot_seg.models.simnet import SimNet
from weakshot_seg.structures import IGNORE, SegOutput, WeakTargets

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


def test_parts_of_which_nothing_is_known_are_zero(make_output: MakeOutput, make_targets: MakeTargets) -> None:
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


def test_losses_of_half_precision_outputs_are_in_float32(make_output: MakeOutput, make_targets: MakeTargets) -> None:
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
        best = class_logits[0, image].argmax(-1).tolist()
        assert sorted(c for c in best if c < 5) == present
        for c in present:
            truth = targets.label_map[image] == (IGNORE if c == 3 else c)
            assert torch.equal(mask_logits[0, image, best.index(c)] > 0, truth)


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
