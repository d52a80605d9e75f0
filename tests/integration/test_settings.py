"""The settings that the pages name in tables, and some that are easily forgotten, each in a short run."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weakshot_seg.config.compose import conf_dir
from weakshot_seg.data.synthetic.scenes import SyntheticScenes

Train = Callable[..., Path]
Metrics = Callable[[Path], dict[str, Any]]
HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
TABLES = (("train.md", "What people change"), ("predict.md", "Large images and test-time augmentation"))
TWO_STEPS = ("trainer.max_steps=2",)
# in test_wandb.py, tests/models, test_provenance.py
ELSEWHERE = ("logger=wandb", "model.backbone.name=", "weights=")


def documented() -> list[str]:
    """The overrides in tables of the pages, each as it stands there."""
    sections = [
        (HOW_TO / file).read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
        for file, title in TABLES
    ]
    rows = [line for section in sections for line in section.splitlines() if line.startswith("| ")]
    spans = [span for row in rows for span in re.findall(r"`([^`]+)`", row)]
    overrides = [span for span in spans if all("=" in word or word[0] == "~" for word in span.split())]
    return [span for span in dict.fromkeys(overrides) if not span.startswith(ELSEWHERE)]


def test_the_tables_are_found() -> None:
    assert {"~loss.terms.complement", "inference=sliding"} <= {*documented()}


@pytest.mark.parametrize("overrides", documented())
def test_documented(overrides: str, train: Train, metrics_of: Metrics, tmp_path: Path) -> None:
    metrics = metrics_of(train(tmp_path, *TWO_STEPS, *overrides.split()))
    assert metrics["step"] == 2
    settings = [word.removeprefix("data.").split("=") for word in overrides.split() if word[0] != "~"]
    facts = {name: value for name, value in settings if name in ("supervision", "label_scope")}
    assert metrics.items() >= facts.items()


@pytest.mark.parametrize("logger", sorted(path.stem for path in (conf_dir() / "logger").glob("[!w]*.yaml")))
def test_logger(logger: str, train: Train, metrics_of: Metrics, tmp_path: Path) -> None:
    assert metrics_of(train(tmp_path, *TWO_STEPS, f"logger={logger}"))["step"] == 2
    assert (tmp_path / "csv").exists() == (logger != "none")


def test_no_novel_class(train: Train, metrics_of: Metrics, tmp_path: Path) -> None:
    metrics = metrics_of(train(tmp_path, *TWO_STEPS, "data.novel_classes=[]"))
    assert metrics["novel_classes"] == []
    assert metrics["novel_iou"] is None
    assert metrics["base_iou"] == metrics["miou"]
    assert (tmp_path / "checkpoints" / "best.ckpt").is_file()


def test_validation_images_without_novel_classes(train: Train, metrics_of: Metrics, tmp_path: Path) -> None:
    absent = SyntheticScenes.class_names[SyntheticScenes("validation", 1, size=32).presence()[0].argmin()]
    metrics = metrics_of(train(tmp_path, *TWO_STEPS, "data.val.num_images=1", f"data.novel_classes=['{absent}']"))
    assert metrics["novel_classes"] == [absent]
    assert metrics["novel_iou"] is None


def test_nothing_is_left_to_do(train: Train, metrics_of: Metrics, tmp_path: Path) -> None:
    train(tmp_path, *TWO_STEPS, "trainer.val_check_interval=100")  # fewer steps than between validations
    assert metrics_of(train(tmp_path, *TWO_STEPS, "resume=true"))["step"] == 2
