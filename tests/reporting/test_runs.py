"""Runs are found and read in whatever state they were left."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from weakshot_seg.errors import DataError
from weakshot_seg.reporting.runs import Run, find_runs
from weakshot_seg.utils.run_status import RunStatus, recorded

Write = Callable[..., Path]
IOU = {"a": 50.0, "b": 20.0}
TOY = {"name": "toy", "split": 2, "seed": 0, "stage": "first", "supervision": "weakshot"}


def only(folder: Path) -> Run:
    (run,) = find_runs([folder])
    return run


def test_a_finished_run(write_run: Write, tmp_path: Path) -> None:
    with recorded(tmp_path / "run", **TOY):
        write_run("run", IOU, ("b",), ("split=2", "+x.y=3", "~loss.terms.complement"), split=2)
    run = only(tmp_path)
    assert (run.state, run.reason, run.title) == ("finished", None, f"{tmp_path.name}/run")
    assert (run.name, run.split, run.seed, run.evaluated) == ("toy", 2, 0, False)
    assert run.settings == {"split": "2", "x.y": "3", "~loss.terms.complement": ""}
    assert (run.measured.base_iou, run.measured.novel_iou, run.measured.novel) == (1, 2, {"b"})


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (ValueError("split 2:\n no such class"), "failed", "ValueError: split 2: no such class"),
        (RuntimeError(), "failed", "RuntimeError"),
        (KeyboardInterrupt(), "interrupted", "stopped at"),
        (SystemExit(), "interrupted", "stopped at"),
    ],
)
def test_a_run_that_an_error_ended(
    error: BaseException, state: str, reason: str, write_run: Write, tmp_path: Path
) -> None:
    with pytest.raises(type(error)), recorded(tmp_path / "run", **TOY):
        write_run("run", IOU, ("b",))  # of a validation before
        raise error
    run = only(tmp_path)
    assert (run.state, run.result, run.name) == (state, None, "toy")
    assert (run.reason or "").startswith(reason)
    status = RunStatus.read(run.folder)
    assert status is not None
    assert ("in test_a_run_that_an_error_ended" in (status.traceback or "")) == (state == "failed")
    with recorded(run.folder, **TOY):  # once more
        status = RunStatus.read(run.folder)
        assert status is not None
        assert (status.state, status.error, status.traceback) == ("running", None, None)


def test_running_and_killed_runs_differ(tmp_path: Path) -> None:
    with recorded(tmp_path / "running", **TOY):
        if (child := os.fork()) == 0:
            with recorded(tmp_path / "run", **TOY):
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        killed, running = find_runs([tmp_path])
    assert (killed.state, running.state) == ("killed", "running")
    assert "gone" in (killed.reason or "")
    assert "since 20" in (running.reason or "")


@pytest.mark.parametrize(
    ("config", "with_status", "state", "reason"),
    [
        (
            "trainer: {max_steps: 250}",
            False,
            "unfinished",
            "stopped after step 100 of 250; its log ends: Error: memory",
        ),
        ("trainer: {max_steps: 250}", True, "unfinished", "stopped after step 100 of 250"),  # Lightning stopped it
        ("trainer: {max_steps: 100}", False, "finished", None),
        ("trainer: {max_steps: 1700}\nckpt: x", False, "finished", None),  # an evaluation
    ],
)
def test_runs_are_judged_by_their_steps(
    config: str, with_status: bool, state: str, reason: str | None, write_run: Write, tmp_path: Path
) -> None:
    with recorded(tmp_path / "run", **TOY):
        folder = write_run("run", IOU, ("b",), ())
    if not with_status:
        (folder / "status.json").unlink()
    (folder / "console.txt").write_text("training:  40%\rtraining: 41%\nError: memory\n\n")
    (folder / ".hydra" / "config.yaml").write_text(config)
    run = only(tmp_path)
    assert (run.state, run.reason, run.result is None) == (state, reason, state == "unfinished")
    assert run.evaluated == ("ckpt" in config)


@pytest.mark.parametrize("mark", [".hydra/x", "checkpoints/x", "console.txt"])
def test_what_a_stopped_run_leaves_is_found(mark: str, tmp_path: Path) -> None:
    place = tmp_path / "out" / "run"
    (place / mark).parent.mkdir(parents=True)
    (place / mark).touch()
    run = only(tmp_path)
    assert (run.folder, run.state, run.reason) == (place, "unfinished", "no metrics.json")


def test_a_run_within_a_run_is_one_of_its_own_with_the_same_settings(write_run: Write, tmp_path: Path) -> None:
    write_run("run", IOU, ("b",), ("variant=all",))
    write_run("run/retrain", IOU, ("b",), stage="retrain")
    (tmp_path / "run" / "pseudo_labels").mkdir()
    (tmp_path / "run" / "pseudo_labels" / "metrics.json").touch()  # not a run
    first, second = find_runs([tmp_path, tmp_path / "run"])
    assert (first.stage, second.stage) == ("first", "retrain")
    assert first.settings == second.settings == {"variant": "all"}


def test_folders_without_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run in or below"):
        find_runs([tmp_path])
    with pytest.raises(DataError, match="no such folder"):
        find_runs([tmp_path / "nothing"])


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("metrics.json", "", "Invalid JSON"),
        ("metrics.json", '{"name": "toy", "cla', "Invalid JSON"),
        ("metrics.json", "[" * 100_000 + "]" * 100_000, "recursion limit"),
        ("metrics.json", '{"name": "toy"}', "step: Field required"),
        ("metrics.json", {"miou": "high"}, "miou: Input should be a valid number"),
        ("metrics.json", {"miou": float("inf")}, "miou: Input should be less than or equal to 101"),
        ("metrics.json", {"step": float("inf")}, "step: Input should be a finite number"),
        ("metrics.json", {"classes": []}, "classes: Tuple should have at least 1 item"),
        ("status.json", "", "Invalid JSON"),
        ("status.json", "[" * 100_000, "recursion limit"),
        ("status.json", {"state": "running", "pid": "abc"}, "pid Input should be a valid integer"),
        ("status.json", {"state": "running", "pid": 10**30}, "pid Input should be less than"),
        ("status.json", {"state": "lost"}, "state Input should be 'running', 'finished'"),
        ("status.json", {"error": 5}, "error Input should be a valid string"),
        (".hydra/config.yaml", "trainer: 3", "AttributeError"),
        (".hydra/config.yaml", "\udcff\udcfe", "UnicodeDecodeError"),
        (".hydra/config.yaml", "- 1", "list instead of dict"),
        (".hydra/overrides.yaml", "a: [", "ParserError"),
    ],
)
def test_a_run_with_a_damaged_file_is_not_finished(
    file: str, change: dict[str, object] | str, reason: str, write_run: Write, tmp_path: Path
) -> None:
    with recorded(tmp_path / "run", **TOY):
        path = write_run("run", IOU, ("b",), ()) / file
    content = change if isinstance(change, str) else json.dumps(json.loads(path.read_text()) | change)
    path.write_text(content, errors="surrogateescape")
    run = only(tmp_path)
    assert (run.state, run.result, run.name) == ("unfinished", None, "toy")
    assert (run.reason or "").startswith(f"{path.name} cannot be read (")
    assert reason in (run.reason or "")
    with pytest.raises(KeyError), recorded(run.folder, **TOY):
        path.write_text("{")  # the error is recorded all the same
        raise KeyError
    assert only(tmp_path).state == "failed"
