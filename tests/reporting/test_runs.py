"""Runs are found and read in whatever state they were left."""

import json
import socket
import subprocess
import sys
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
    assert run.result is not None
    assert (run.result.base_iou, run.result.novel_iou, run.result.novel) == (50, 20, {"b"})


@pytest.mark.parametrize("error", [ValueError("split 2:\n no such class"), KeyError("x"), RuntimeError()])
def test_a_failed_run_tells_why(error: Exception, write_run: Write, tmp_path: Path) -> None:
    with pytest.raises(type(error)), recorded(tmp_path / "run", **TOY):
        write_run("run", IOU, ("b",))  # of a validation before
        raise error
    run = only(tmp_path)
    assert (run.state, run.result, run.name) == ("failed", None, "toy")
    assert run.reason == " ".join(f"{type(error).__name__}: {error}".removesuffix(": ").split())
    status = RunStatus.read(run.folder)
    assert status is not None
    assert "in test_a_failed_run_tells_why" in (status.traceback or "")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_run(stop: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(stop), recorded(tmp_path / "run", **TOY):
        raise stop
    run = only(tmp_path)
    assert (run.state, run.result) == ("interrupted", None)


def test_running_and_killed_runs_are_told_apart(tmp_path: Path) -> None:
    script = (
        "import os, signal; from pathlib import Path; from weakshot_seg.utils.run_status import recorded\n"
        f"with recorded(Path({str(tmp_path / 'run')!r}), **{TOY!r}): os.kill(os.getpid(), signal.SIGKILL)"
    )
    with recorded(tmp_path / "running", **TOY):
        assert subprocess.run([sys.executable, "-c", script]).returncode == -9
        killed, running = find_runs([tmp_path])
    assert (killed.state, running.state) == ("killed", "running")
    assert "gone" in (killed.reason or "")
    assert "since 20" in (running.reason or "")


def test_the_status_of_a_failure_survives_the_run_that_mends_it_only_until_then(tmp_path: Path) -> None:
    with pytest.raises(ValueError), recorded(tmp_path, **TOY):
        raise ValueError("x")
    with recorded(tmp_path, **TOY):
        status = RunStatus.read(tmp_path)
        assert status is not None
        assert (status.state, status.error, status.traceback) == ("running", None, None)


def test_runs_without_a_status_are_judged_by_their_steps(write_run: Write, tmp_path: Path) -> None:
    folder = write_run("run", IOU, ("b",), (), max_steps=250)
    (folder / "console.txt").write_text("training:  40%\rtraining: 41%\nRuntimeError: out of memory\n\n")
    run = only(tmp_path)
    assert (run.state, run.result) == ("unfinished", None)
    assert run.reason == "stopped after step 100 of 250; its log ends: RuntimeError: out of memory"
    (folder / ".hydra" / "config.yaml").write_text("trainer: {max_steps: 100}")
    assert only(tmp_path).state == "finished"


@pytest.mark.parametrize(
    "content",
    ["", '{"name": "toy", "cla', "[1, 2]", '{"name": "toy"}', '{"classes": 3}', "[" * 100_000 + "]" * 100_000],
)
def test_unreadable_metrics(content: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(content)
    run = only(tmp_path)
    assert (run.state, run.result) == ("unfinished", None)
    assert "metrics.json cannot be read" in (run.reason or "")


@pytest.mark.parametrize("mark", [".hydra", "checkpoints", "console.txt"])
def test_what_a_stopped_run_leaves_is_found(mark: str, tmp_path: Path) -> None:
    place = tmp_path / "out" / "run"
    (place / mark).mkdir(parents=True) if "." not in mark[1:] else (place.mkdir(parents=True), (place / mark).touch())
    run = only(tmp_path)
    assert run.folder == place
    assert (run.state, run.reason) == ("unfinished", "no metrics.json")


def test_a_run_within_a_run_is_one_of_its_own_with_the_same_settings(write_run: Write, tmp_path: Path) -> None:
    write_run("run", IOU, ("b",), ("variant=all",))
    write_run("run/retrain", IOU, ("b",), stage="retrain")
    (tmp_path / "run" / "pseudo_labels").mkdir()
    (tmp_path / "run" / "pseudo_labels" / "metrics.json").touch()  # not a run
    first, second = find_runs([tmp_path, tmp_path / "run"])
    assert (first.stage, second.stage) == ("first", "retrain")
    assert first.settings == second.settings == {"variant": "all"}


def test_an_evaluation_is_no_training(write_run: Write, tmp_path: Path) -> None:
    folder = write_run("run", IOU, ("b",), ("ckpt=x",))
    (folder / ".hydra" / "config.yaml").write_text("ckpt: x\ntrainer: {max_steps: 1700}")
    run = only(tmp_path)
    assert run.evaluated
    assert run.state == "finished"


def test_folders_without_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run in or below"):
        find_runs([tmp_path])
    with pytest.raises(DataError, match="no such folder"):
        find_runs([tmp_path / "nothing"])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"miou": "high"}, "ValueError: miou: Input should be a valid number"),
        ({"miou": float("inf")}, "miou: Input should be less than or equal to 101"),
        ({"step": float("inf")}, "step: Input should be a finite number"),
        ({"classes": []}, "classes: Tuple should have at least 1 item"),
    ],
)
def test_metrics_of_numbers_that_are_none(
    wrong: dict[str, object], told: str, write_run: Write, tmp_path: Path
) -> None:
    write_run("run", IOU, ("b",), **wrong)
    assert told in (only(tmp_path).reason or "")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"state": "running", "pid": "abc"}, "pid Input should be a valid integer"),
        ({"state": "running", "pid": 10**30}, "pid Input should be less than"),
        ({"state": "lost"}, "state Input should be 'running', 'finished', 'failed' or 'interrupted'"),
        ({"error": 5}, "error Input should be a valid string"),
        ("[" * 100_000, "Invalid JSON: recursion limit"),
        ("", "Invalid JSON: EOF"),
    ],
)
def test_a_run_with_a_damaged_status_is_not_finished(
    content: dict[str, object] | str, told: str, write_run: Write, tmp_path: Path
) -> None:
    whole = {"state": "finished", **TOY, "host": socket.gethostname()}
    file = write_run("run", IOU, ("b",)) / "status.json"
    file.write_text(content if isinstance(content, str) else json.dumps(whole | content))
    run = only(tmp_path)
    assert (run.state, run.result, run.name) == ("unfinished", None, "toy")
    assert (run.reason or "").startswith("status.json cannot be read (ValidationError: ")
    assert told in (run.reason or "")
    with pytest.raises(KeyError), recorded(run.folder, **TOY):
        file.write_text("{")  # the error is told all the same
        raise KeyError
    assert only(tmp_path).state == "failed"


@pytest.mark.parametrize(
    ("name", "content"),
    [("config", b"trainer: 3"), ("config", b"\xff\xfe"), ("config", b"- 1"), ("overrides", b"a: [")],
)
def test_a_run_with_damaged_settings_is_not_finished(
    name: str, content: bytes, write_run: Write, tmp_path: Path
) -> None:
    folder = write_run("run", IOU, ("b",), ())
    (folder / ".hydra" / f"{name}.yaml").write_bytes(content)
    run = only(tmp_path)
    assert (run.state, run.result) == ("unfinished", None)
    assert f"{name}.yaml cannot be read" in (run.reason or "")


def test_a_training_that_lightning_cut_short_is_not_finished(write_run: Write, tmp_path: Path) -> None:
    with recorded(tmp_path / "run", **TOY):
        write_run("run", IOU, ("b",), ("+trainer.max_time=00:00:01:00",), max_steps=250)
    run = only(tmp_path)
    assert (run.state, run.result, run.reason) == ("unfinished", None, "stopped after step 100 of 250")
