"""The curve of tags and masks, of runs made by hand."""

import json
from pathlib import Path

from PIL import Image

from benchmark_amounts import Job, draw, measured


def write_run(out: Path, job: Job, cat: float, dog: float, state: str = "finished") -> None:
    folder = job.folder(out, "runs")
    folder.mkdir(parents=True)
    facts = {"name": "folder", "split": job.split, "seed": 0, "stage": "first", "supervision": "weakshot"}
    classes = [{"name": "cat", "novel": True, "iou": cat}, {"name": "dog", "novel": False, "iou": dog}]
    result = {"step": 400, "seconds": 1.0, "classes": classes, "base_iou": dog, "novel_iou": cat, "miou": None}
    (folder / "metrics.json").write_text(json.dumps(result | facts))
    (folder / "status.json").write_text(json.dumps(facts | {"state": state}))


def test_each_kind_is_judged_by_the_classes_that_it_teaches(tmp_path: Path) -> None:
    write_run(tmp_path, Job("tags", 10, 1), 20.0, 70.0)
    write_run(tmp_path, Job("tags", 10, 2), 30.0, 70.0)
    write_run(tmp_path, Job("tags", 100, 1), 50.0, 70.0)
    write_run(tmp_path, Job("masks", 10, 1), 50.0, 40.0)
    write_run(tmp_path, Job("masks", 30, 1), 50.0, 60.0, state="failed")
    assert measured(tmp_path) == {"tags": {10: [20.0, 30.0], 100: [50.0]}, "masks": {10: [40.0]}}
    draw(tmp_path)
    assert (tmp_path / "amounts.md").read_text().splitlines()[2:] == [
        "| 10 | novel IoU by tagged photos | 25.0 ± 7.1 | 2 |",
        "| 100 | novel IoU by tagged photos | 50.0 | 1 |",
        "| 10 | base IoU by photos with masks | 40.0 | 1 |",
    ]
    assert Image.open(tmp_path / "amounts.png").width > 600
