"""The authors' evaluation, also where classes have no ground truth; and their splits."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from parity.golden import compare
from weakshot_seg.data.splits import make_split, published_class_names
from weakshot_seg.structures import ClassSplit
from weakshot_seg.training.metrics import SegmentationMetrics


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_evaluation(evaluation_path: Path) -> None:
    stored, facts = np.load(evaluation_path), json.loads(evaluation_path.with_suffix(".json").read_text())
    split = ClassSplit(tuple(facts["names"]), tuple(facts["novel"]))
    assert split.num_classes == facts["num_classes"]
    metrics = SegmentationMetrics(split)
    for prediction, truth in zip(stored["pred"], stored["gt"], strict=True):
        metrics.update([torch.from_numpy(prediction)], [torch.from_numpy(truth)])
    theirs = torch.from_numpy(stored["conf_pred_by_gt"].astype(np.int64))
    assert torch.equal(metrics.confusion, theirs[:-1, :-1].T)  # the last column is ignored pixels
    report, expected = metrics.report(), facts["metrics"]
    ours = {
        "mIoU": report.miou_strict,  # a class that was predicted but has no ground truth counts as 0
        "fwIoU": report.frequency_weighted_iou,
        "pACC": report.pixel_accuracy,
        "mACC": report.mean_accuracy,
        "BaseIoU": report.base_iou,
        "NovelIoU": report.novel_iou,
        "BaseACC": report.base_accuracy,
        "NovelACC": report.novel_accuracy,
    }
    ours |= {f"IoU-{name}": value for name, value in zip(split.names, report.iou, strict=True)}
    ours |= {f"ACC-{name}": value for name, value in zip(split.names, report.accuracy, strict=True)}
    assert ours.keys() == expected.keys()
    assert [name for name in ours if ours[name] is None] == [name for name in ours if expected[name] is None]
    known = [name for name in ours if ours[name] is not None]
    compare(evaluation_path, [ours[name] for name in known], [expected[name] for name in known])


def test_splits(splits_path: Path) -> None:
    stored = json.loads(splits_path.read_text())
    datasets = {name: numbered for name, numbered in stored.items() if name in stored["class_names"]}
    assert datasets
    for name, numbered in datasets.items():
        names = published_class_names(name)
        assert list(names) == [given.strip() for given in stored["class_names"][name]]
        for number, novel in numbered.items():
            assert list(make_split(names, int(number), published=name).novel) == sorted(novel)
