"""Curves of resumed, long and broken logs."""

from pathlib import Path

import numpy as np
import pytest

from weakshot_seg.reporting.curves import BINS, mean_line, read_curves

START = "epoch,step,train/loss,val/miou\n0,9,5.0,\n0,19,4.0,\n0,19,,7.5\n0,29,nan,\n0,39,3.0,\n0,4"


@pytest.mark.parametrize(
    ("logs", "loss"),
    [
        ({}, None),
        ({"0": START}, [[9, 19, 39], [5, 4, 3]]),
        (
            {"0": START, "2": "step,train/loss\n39,1.0\n", "10": "step,train/loss\n29,2.5\n49,2\n"},
            [[9, 19, 29, 49], [5, 4, 2.5, 2]],
        ),
        (
            {"1": "step,train/loss\n9,5.0\ninf,4.0\n19,1e300\n29,3.0\n", "x": START},
            [[9, 29], [5, 3]],
        ),  # x: a copy of the user's
    ],
)
def test_a_resumed_session_replaces_what_it_did_again(logs: dict[str, str], loss: object, tmp_path: Path) -> None:
    for version, rows in logs.items():
        (tmp_path / f"version_{version}").mkdir()
        (tmp_path / f"version_{version}" / "metrics.csv").write_text(rows)
    curves = {name: [values.tolist() for values in curve] for name, curve in read_curves(tmp_path).items()}
    others = {"val/miou": [[19], [7.5]]} if "0" in logs else {}
    assert curves == (others | {"train/loss": loss} if loss else {})


def test_the_line_of_a_group_is_mean_and_range() -> None:
    steps = np.array([10.0, 20.0, 30.0])
    line = mean_line([(steps, np.array([1.0, 2, 3])), (steps[:2], np.array([3.0, 6]))])
    assert [values.tolist() for values in line] == [[10, 20, 30], [2, 4, 3], [1, 2, 3], [3, 6, 3]]


def test_long_logs_are_averaged() -> None:
    steps = np.arange(10.0 * BINS)
    line = mean_line([(steps, 2 * steps)])
    assert len(line.steps) == BINS
    assert line.mean.mean() == pytest.approx((2 * steps).mean())
    assert line.mean[0] == pytest.approx(2 * steps[:10].mean())
