"""The report of a GPU, in miniature on the CPU, and what becomes of parts that fail."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gpu_report
from benchmarks.parts import Finding, Report

SMALL = (
    *("model.backbone.name=test_resnet", "model.backbone.freeze_norm=true", "model.dim=32", "model.pixel_dim=32"),
    *("model.embedding_dim=32", "model.num_layers=2", "model.ffn_dim=32", "data.num_workers=0", "data.batch_size=2"),
    *("data.train_transform.crop_size=64", "data.train_transform.short_edge=64", "data.val_transform.short_edge=64"),
    *("trainer.max_steps=2", "page=false", "callbacks.panels.num_images=1", "callbacks.ranked.num_images=1"),
    *("loss.terms.similarity.simnet.hidden_dim=32", "loss.terms.similarity.num_points=16"),
)


def lines(folder: Path) -> dict[str, dict[str, Any]]:
    entries = map(json.loads, (folder / "report.jsonl").read_text().splitlines())
    return {entry.pop("part"): entry for entry in entries}


def test_in_miniature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "report"
    options = f"--out {out} --device cpu --toy --sizes 64 --batch 2 --variants float32 --rounds 1 --formats --"
    monkeypatch.setattr(sys, "argv", ["gpu_report.py", *options.split(), *SMALL])
    gpu_report.main()
    found = lines(out)
    problems = {name: entry["problem"] for name, entry in found.items() if entry["problem"]}
    assert set(problems) == {"two devices ddp", "two devices fsdp"}, problems
    page = (out / "report.md").read_text()
    assert all(f"\n## {name}\n" in page for name in found)

    step, loader = found["step 64 float32"]["values"], found["loader"]["values"]
    names = {"Hugging Face", "ours plain", "ours full", "ours all", "ours plain, weak targets"}
    assert set(step["step_seconds"]) == names
    assert min(step["peak_bytes"].values()) > 0
    assert 0 < loader["step_seconds"] < 1 / loader["steps_per_second"] * 3
    metrics = json.loads((out / "training" / "metrics.json").read_text())
    assert found["training"]["values"]["steps"] == 2
    assert found["training"]["values"]["miou"] == metrics["miou"]

    with pytest.raises(SystemExit):  # nothing is overwritten
        gpu_report.main()


class Brightness(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images.amax(1), images.float().mean(1)


def test_an_exported_program_runs_on_the_device(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    torch.export.save(torch.export.export(Brightness(), (images,)), tmp_path / "file.pt2")
    labels, scores = gpu_report.load_program(tmp_path / "file.pt2", "cpu")(images.numpy())
    assert np.array_equal(labels, images.numpy().max(1))
    assert np.allclose(scores, images.numpy().mean(1))


def sleeper(marks: Path) -> Finding:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    marks.write_text(f"{os.getpid()} {child.pid}")
    child.wait()
    raise AssertionError


def refuses() -> Finding:
    print("what it printed")
    raise ValueError("no such card")


def leaves() -> Finding:
    raise SystemExit(3)


def dies() -> Finding:
    os._exit(7)


def test_parts_that_fail_are_reported_and_the_others_run(tmp_path: Path) -> None:
    report, marks = Report(tmp_path, "title", 60), tmp_path / "marks"
    assert report.run("a", refuses) is None
    assert report.run("b", lambda: sleeper(marks), limit=1) is None
    assert report.run("c", dies) is None
    assert report.run("d", leaves) is None
    assert report.run("e", lambda: Finding({"x": 1}, "one")) == {"x": 1}
    found = lines(tmp_path)
    assert {name: entry["problem"] for name, entry in found.items()} == {
        "a": "failed: ValueError: no such card",
        "b": "not done within 1 s",
        "c": "the process ended with code 7; see logs/c.log",
        "d": "failed: SystemExit: 3",
        "e": None,
    }
    assert "what it printed" in (tmp_path / "logs" / "a.log").read_text()
    end = time.monotonic() + 10
    while any(map(alive, map(int, marks.read_text().split()))):
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_without_time_nothing_is_measured(tmp_path: Path) -> None:
    report = Report(tmp_path, "title", 0)
    assert report.run("a", refuses) is None
    assert lines(tmp_path)["a"]["problem"] == "no time was left"
