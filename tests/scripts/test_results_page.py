"""The page of results, on runs whose means are computed by hand."""

import json
from pathlib import Path

import pytest

import results_page
from weakshot_seg.errors import DataError


def write_run(folder: Path, split: int, novel: str, *overrides: str, state: str = "finished", **ious: float) -> None:
    facts = {"name": "folder", "split": split, "seed": 0, "stage": "first", "supervision": "weakshot"}
    classes = [{"name": name, "novel": name == novel, "iou": iou} for name, iou in ious.items()]
    result = {"step": 800, "seconds": 600.0, "classes": classes, "base_iou": None, "novel_iou": None, "miou": None}
    (folder / ".hydra").mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(result | facts))
    (folder / "status.json").write_text(json.dumps(facts | {"state": state}))
    (folder / ".hydra" / "overrides.yaml").write_text(json.dumps(["preset=laptop", f"split={split}", *overrides]))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    places = tmp_path / "runs" / "animals" / "runs"
    write_run(places / "full" / "split1", 1, "cat", "supervision=full", cat=80.0, dog=40.0)
    write_run(places / "tags" / "split1", 1, "cat", cat=60.0, dog=30.0)
    write_run(places / "tags" / "split2", 2, "dog", cat=70.0, dog=30.0)
    write_run(places / "tags" / "split2" / "retrain", 2, "dog", cat=70.0, dog=36.0)
    return tmp_path / "runs"


def test_tables_and_facts(runs: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.md"
    (tmp_path / "other.md").write_text("Larger crops.\n")
    text.write_text('# Results\n{{ facts("animals") }}\n{{ table("animals") }}\n{% include "other.md" %}\n')
    lines = results_page.page(text, runs).rstrip().splitlines()
    assert lines[1] == (
        "4 trainings of 800 steps, split 1, 2, seed 0, 10 minutes each (median); settings: `preset=laptop`"
    )
    assert lines[4:] == [
        "| full | 2 | 60.0 ± 28.3 | 60.0 ± 28.3 | 100 % |",  # base 40 and 80, novel 80 and 40
        "| tags | 2 | 50.0 ± 28.3 | 45.0 ± 21.2 | 75 % |",  # base 30 and 70, novel 60 and 30, of 60
        "| tags, re-trained | 1 | 70.0 | 36.0 | 90 % |",  # of 40
        "Larger crops.",
    ]
    text.write_text('{{ table("animals", only=["tags, re-trained", "tags"], full="none") }}')
    chosen = results_page.page(text, runs).splitlines()[2:]
    assert chosen == ["| tags, re-trained | 1 | 70.0 | 36.0 | - |", "| tags | 2 | 50.0 ± 28.3 | 45.0 ± 21.2 | - |"]


def test_what_is_missing_is_named(runs: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.md"
    for call, message in (
        ('table("animals", only=["cam"])', "animals has no runs of cam, only of full, tags, tags, re-trained"),
        ('table("photos")', "photos: no such folder"),
    ):
        text.write_text(f"{{{{ {call} }}}}")
        with pytest.raises(DataError, match=message):
            results_page.page(text, runs)
    write_run(runs / "animals" / "runs" / "tags" / "split3", 3, "cat", state="failed", cat=1.0, dog=1.0)
    text.write_text('{{ table("animals") }}')
    with pytest.raises(DataError, match=r"means need finished runs: .*split3 is failed"):
        results_page.page(text, runs)
