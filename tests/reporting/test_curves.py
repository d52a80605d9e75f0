"""Curves of resumed, long and broken logs."""

from pathlib import Path

import numpy as np
import pytest

from weakshot_seg.reporting.curves import BINS, mean_line, read_curves


def write_log(folder: Path, version: int, rows: str) -> None:
    (folder / "csv" / f"version_{version}").mkdir(parents=True)
    (folder / "csv" / f"version_{version}" / "metrics.csv").write_text(rows)


def test_a_resumed_session_replaces_what_it_did_again(tmp_path: Path) -> None:
    write_log(tmp_path, 0, "epoch,step,train/loss,val/miou\n0,9,5.0,\n0,19,4.0,\n0,19,,7.5\n0,29,nan,\n0,39,3.0,\n0,4")
    write_log(tmp_path, 2, "step,train/loss\n39,1.0\n")
    write_log(tmp_path, 10, "step,train/loss\n29,2.5\n49,2.0\n")
    curves = read_curves(tmp_path)
    assert curves.keys() == {"train/loss", "val/miou"}
    assert [a.tolist() for a in curves["train/loss"]] == [[9, 19, 29, 49], [5, 4, 2.5, 2]]
    assert [a.tolist() for a in curves["val/miou"]] == [[19], [7.5]]


def test_what_is_no_number_is_skipped(tmp_path: Path) -> None:
    write_log(tmp_path, 0, "step,train/loss\n9,5.0\ninf,4.0\n19,1e300\n29,3.0\n")
    (tmp_path / "csv" / "version_0").rename(tmp_path / "csv" / "version_1")
    write_log(tmp_path, 0, "step,train/loss\n1,7.0\n")
    (tmp_path / "csv" / "version_0").rename(tmp_path / "csv" / "version_x")  # a copy of the user's
    assert [a.tolist() for a in read_curves(tmp_path)["train/loss"]] == [[9, 29], [5, 3]]


def test_a_run_without_logs_has_no_curves(tmp_path: Path) -> None:
    assert read_curves(tmp_path) == {}


def test_the_line_of_a_group_is_mean_and_range() -> None:
    steps = np.array([10.0, 20.0, 30.0])
    line = mean_line([(steps, np.array([1.0, 2, 3])), (steps[:2], np.array([3.0, 6]))])
    assert line.steps.tolist() == [10, 20, 30]
    assert line.mean.tolist() == [2, 4, 3]
    assert line.low.tolist() == [1, 2, 3]
    assert line.high.tolist() == [3, 6, 3]


def test_long_logs_are_averaged() -> None:
    steps = np.arange(10.0 * BINS)
    line = mean_line([(steps, 2 * steps)])
    assert len(line.steps) == BINS
    assert line.mean.mean() == pytest.approx((2 * steps).mean())
    assert line.mean[0] == pytest.approx(2 * steps[:10].mean())
