"""The numbers of a report against plain loops, scikit-learn."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score, recall_score
from torch.overrides import TorchFunctionMode

from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE, ClassSplit
from weakshot_seg.training.metrics import SegmentationMetrics, SegmentationReport, image_miou, on_host

NAMES = tuple("abcdefg")
SPLIT = ClassSplit(NAMES, (1, 4, 6))


def random_maps(seed: int, absent: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and truth [3, 20, 17], about half right; ``absent`` classes have no ground truth."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([i for i in [*range(len(NAMES)), IGNORE] if i not in absent], (3, 20, 17)).astype(np.uint8)
    guess = rng.integers(0, len(NAMES), truth.shape).astype(np.uint8)
    return np.where((rng.random(truth.shape) < 0.5) & (truth != IGNORE), truth, guess).astype(np.uint8), truth


def report_of(prediction: np.ndarray, truth: np.ndarray, split: ClassSplit = SPLIT) -> SegmentationReport:
    metrics = SegmentationMetrics(split)
    metrics.update(list(torch.from_numpy(prediction)), list(torch.from_numpy(truth)))
    return metrics.report()


def loop_iou(prediction: np.ndarray, truth: np.ndarray, index: int) -> float | None:
    both = either = there = 0
    for p, t in zip(prediction.ravel(), truth.ravel(), strict=True):
        if t == IGNORE:
            continue
        both += p == index == t
        either += index in (p, t)
        there += t == index
    return 100 * both / either if there else None


@pytest.mark.parametrize("absent", [(), (0,), (1, 4), (1, 4, 6)])
def test_iou_equals_loops_and_means_skip_classes_without_ground_truth(absent):
    prediction, truth = random_maps(0, absent)
    report = report_of(prediction, truth)
    expected = [loop_iou(prediction, truth, index) for index in range(len(NAMES))]
    assert report.iou == pytest.approx(expected)

    def mean(ids: tuple[int, ...]) -> float | None:
        known = [v for v in (expected[i] for i in ids) if v is not None]
        return sum(known) / len(known) if known else None

    base, novel = mean((0, 2, 3, 5)), mean((1, 4, 6))
    assert (report.base_iou, report.novel_iou, report.miou) == pytest.approx((base, novel, mean(tuple(range(7)))))
    assert report.harmonic_iou == (None if novel is None else pytest.approx(2 / (1 / base + 1 / novel)))


def test_equals_scikit_learn():
    prediction, truth = random_maps(7)
    report = report_of(prediction, truth)
    p, t = prediction[truth != IGNORE], truth[truth != IGNORE]
    assert report.iou == pytest.approx(100 * jaccard_score(t, p, average=None))
    assert report.frequency_weighted_iou == pytest.approx(100 * jaccard_score(t, p, average="weighted"))
    assert report.accuracy == pytest.approx(100 * recall_score(t, p, average=None))
    assert report.mean_accuracy == pytest.approx(100 * recall_score(t, p, average="macro"))
    assert report.pixel_accuracy == pytest.approx(100 * np.mean(p == t))
    assert report.pixels == pytest.approx(100 * np.bincount(t) / t.size)
    np.testing.assert_array_equal(report.confusion, confusion_matrix(t, p))  # true classes in rows


class Reads(TorchFunctionMode):
    """Counts what makes the host wait on a GPU."""

    count = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        waits = ("cpu", "item", "tolist", "numpy", "__bool__", "__int__", "__float__", "nonzero", "bincount")
        masked = function.__name__ == "__getitem__" and isinstance(args[1], torch.Tensor)  # how many are chosen?
        self.count += function.__name__ in waits or masked
        return function(*args, **(kwargs or {}))


def test_the_host_waits_as_often_for_many_images_as_for_one():
    metrics, counts = SegmentationMetrics(SPLIT), []
    for images in (1, 8):
        maps = [torch.randint(len(NAMES), (9, 5 + index)).byte() for index in range(images)]
        with Reads() as reads:
            predictions = on_host(maps)
            metrics.update(predictions, maps)
        assert all(torch.equal(ours, given) for ours, given in zip(predictions, maps, strict=True))
        counts.append(reads.count)
    assert counts[0] == counts[1]
    assert metrics.confusion.trace() == metrics.confusion.sum() > 0


def test_without_a_right_pixel_all_means_are_zero():
    split = ClassSplit(("x", "y"), (1,))
    report = report_of(np.array([[[1, 0]]], np.uint8), np.array([[[0, 1]]], np.uint8), split)
    assert (report.miou, report.harmonic_iou, report.pixel_accuracy) == (0, 0, 0)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_counted_and_no_novel_class_are_none_not_an_error():
    empty = SegmentationMetrics(SPLIT).report()
    assert set(empty.summary().values()) == {None}
    prediction, truth = random_maps(0)
    supervised = report_of(prediction, truth, ClassSplit(NAMES, ()))
    assert supervised.novel_iou is None
    assert supervised.harmonic_iou is None
    assert supervised.base_iou == supervised.miou
    assert "novel *" in supervised.table()


def test_parts_sum_up_and_reset_forgets():
    prediction, truth = map(torch.from_numpy, random_maps(1))
    parts = SegmentationMetrics(SPLIT)
    for one_prediction, one_truth in zip(prediction, truth, strict=True):
        parts.update([one_prediction[:7]], [one_truth[:7]])
        parts.update([one_prediction[7:]], [one_truth[7:]])
    assert parts.report() == report_of(prediction.numpy(), truth.numpy())
    parts.reset()
    assert not parts.confusion.any()


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (torch.zeros(2, 2), torch.zeros(2, 3), "predicted map"),
        (torch.zeros(2, 2), torch.full((2, 2), 7), "true map holds class id 7"),
        (torch.full((2, 2), 7), torch.zeros(2, 2), "predicted map holds class id 7"),
        (torch.full((2, 2), IGNORE), torch.zeros(2, 2), "predicted map holds class id 255"),
    ],
)
def test_bad_maps_are_named(prediction, truth, message):
    with pytest.raises(DataError, match=message):
        SegmentationMetrics(SPLIT).update([prediction.byte()], [truth.byte()])


def test_dict_is_json_and_table_is_aligned():
    report = report_of(*random_maps(5, absent=(0, 6)))
    again = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert again["classes"][0] == {"id": 0, "name": "a", "novel": False, "iou": None, "accuracy": None, "pixels": 0.0}
    assert [c["novel"] for c in again["classes"]] == SPLIT.is_novel().tolist()
    assert again["novel_iou"] == report.novel_iou
    means, classes = (block.splitlines() for block in report.table().split("\n\n"))
    assert [line.split()[0] for line in means[1:]] == ["base", "novel", "all", "harmonic", "per"]
    assert len(classes) == 1 + len(NAMES)
    assert len({len(line) for line in classes}) == 1
    assert [" * " in line for line in classes[1:]] == SPLIT.is_novel().tolist()
    assert f"{report.iou[1]:.1f}" in classes[2]


def test_miou_of_an_image_is_the_mean_over_its_classes():
    prediction, truth = (maps[0] for maps in random_maps(0, absent=(3,)))
    known = [v for v in (loop_iou(prediction, truth, index) for index in range(len(NAMES))) if v is not None]
    assert image_miou(prediction, truth) == pytest.approx(sum(known) / len(known))
    assert image_miou(truth, np.full_like(truth, IGNORE)) is None


def test_one_class_is_no_scalar():
    prediction, truth = np.zeros((1, 2, 3), np.uint8), np.array([[[0, 0, IGNORE], [0, IGNORE, 0]]], np.uint8)
    report = report_of(prediction, truth, ClassSplit(("lake",), ()))
    assert report.confusion.tolist() == [[4]]
    assert (report.miou, report.base_iou, report.pixel_accuracy) == (100, 100, 100)
    assert report_of(prediction, np.full_like(truth, IGNORE), ClassSplit(("lake",), ())).miou is None
