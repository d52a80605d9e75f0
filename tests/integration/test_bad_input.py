"""What cannot work is refused before training starts: exit code 2 and one line with the culprit and the remedy."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from weakshot_seg import train
from weakshot_seg.data.datamodule import WeakShotDataModule

CASES = {
    "missing root": (("data=folder", "data.root=/nowhere/at/all"), ("/nowhere/at/all", "data.root")),
    "no root": (("data=folder",), ("data.root",)),
    "unknown class": (("data.novel_classes=[hart,cross]",), ("'hart'", "did you mean", "'heart'")),
    "unknown backbone": (("model.backbone.name=resnet5O",), ("resnet5O", "did you mean", "resnet50")),
    "missing weights": (
        ("model.backbone.checkpoint=/nowhere.pth",),
        ("model.backbone.checkpoint=/nowhere.pth", "no such"),
    ),
    "unknown supervision": (("supervision=weak",), ("'weak'", "weakshot, base_only, full")),
    "impossible size": (("data.train.size=50",), ("50", "multiple of 32")),
    "unknown distillation": (("loss.terms.similarity.distillation=kl",), ("kl", "cce")),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(
    case: str, small: tuple[str, ...], few_scenes: tuple[str, ...], refusal: Callable[..., str], tmp_path: Path
) -> None:
    bad, expected = CASES[case]
    scenes = () if "data=folder" in bad else few_scenes
    line = refusal(train.main, *small, *scenes, *bad)
    for part in expected:
        assert part in line
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_broken_photo_is_named(
    small: tuple[str, ...], refusal: Callable[..., str], write_images: Callable[..., None], tmp_path: Path
) -> None:
    for part in ("training", "validation"):
        write_images(tmp_path / "images" / part, tmp_path / "annotations" / part, [(0, 1), (1, 2)])
    (tmp_path / "classes.txt").write_text("sky\ngrass\ncat")
    broken = tmp_path / "images" / "training" / "photo 1.jpg"
    broken.write_bytes(broken.read_bytes()[:700])
    line = refusal(train.main, *small, "experiment=folder", *small, f"data.root={tmp_path}")
    assert str(broken) in line
    assert "replace or remove it" in line


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["truncated", "gone", "other size"])
def test_a_file_spoilt_after_the_check_is_named(
    kind: str,
    workers: int,
    small: tuple[str, ...],
    refusal: Callable[..., str],
    write_images: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for part in ("training", "validation"):
        write_images(tmp_path / "images" / part, tmp_path / "annotations" / part, [(0, 1), (1, 2)])
    (tmp_path / "classes.txt").write_text("sky\ngrass\ncat")
    photo = tmp_path / "images" / "training" / "photo 1.jpg"

    def spoil(self: WeakShotDataModule, stage: str) -> None:
        whole(self, stage)
        if kind == "truncated":
            photo.write_bytes(photo.read_bytes()[:700])
        elif kind == "gone":
            photo.unlink(missing_ok=True)
        else:
            Image.new("RGB", (99, 98)).save(photo)

    whole = WeakShotDataModule.setup
    monkeypatch.setattr(WeakShotDataModule, "setup", spoil)
    line = refusal(
        train.main, *small, "experiment=folder", *small, f"data.root={tmp_path}", f"data.num_workers={workers}"
    )
    assert ("mask of photo 1 is" if kind == "other size" else str(photo)) in line


@pytest.mark.parametrize("spoilt", ["other model", "truncated checkpoint"])
def test_what_cannot_be_resumed(
    spoilt: str,
    trained: Path,
    small: tuple[str, ...],
    few_scenes: tuple[str, ...],
    refusal: Callable[..., str],
    tmp_path: Path,
) -> None:
    last = tmp_path / "checkpoints" / "last.ckpt"
    content = (trained / "checkpoints" / "last.ckpt").read_bytes()
    last.parent.mkdir()
    last.write_bytes(content if spoilt == "other model" else content[:1000])
    changed = ("model.dim=64",) if spoilt == "other model" else ()
    line = refusal(
        train.main, *small, *few_scenes, *changed, "resume=true", "trainer.max_steps=6", f"hydra.run.dir={tmp_path}"
    )
    assert str(last) in line


def test_a_diverged_training_stops(
    small: tuple[str, ...], few_scenes: tuple[str, ...], refusal: Callable[..., str], tmp_path: Path
) -> None:
    line = refusal(
        train.main, *small, *few_scenes, "optim.lr=1e9", "trainer.gradient_clip_val=null", "max_skipped_steps=1"
    )
    assert "lower optim.lr" in line
