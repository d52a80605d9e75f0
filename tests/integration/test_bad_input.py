"""What cannot work is refused before training starts: exit code 2 and one line with the culprit and the remedy."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from weakshot_seg.cli import check, train
from weakshot_seg.data.datamodule import WeakShotDataModule

QUERIES = "loss/assignment=hungarian model.num_queries"
CASES = {
    "data=folder data.root=/nowhere/at/all": ("/nowhere/at/all", "data.root"),
    "data.novel_classes=[hart,cross]": ("'hart'", "did you mean", "'heart'"),
    "data.split_file=nowhere.json": ("nowhere.json", "data.split_file"),
    "data.train_transform.scale=[2.0,0.5]": ("scale", "[2.0, 0.5]"),
    "model.backbone.name=resnet5O": ("resnet5O", "did you mean", "resnet50"),
    "model.backbone.checkpoint=/nowhere.pth": ("model.backbone.checkpoint=/nowhere.pth", "no such"),
    "loss.terms.similarity.distillation=kl": ("kl", "cce"),
    "trainer.accelerator=cpu trainer.devices=99": ("trainer.devices=99", "CPU"),
    "trainer.precision=64": ("trainer.precision=64", "bf16-mixed"),
    "trainer.accelerator=abacus": ("trainer", "abacus"),
    "stage=retrain": ("stage=retrain", "pseudo_labels"),
    "pseudo_labels=DIR": ("stage=retrain", "pseudo_labels"),
    "retrain=true stage=retrain pseudo_labels=DIR": ("retrain=true", "stage=retrain"),
    "retrain=true supervision=full": ("supervision=weakshot", "full"),
    "model.num_queries=20": ("model.num_queries", "20"),
    f"{QUERIES}=16": ("loss.terms.absence", "class queries"),
    f"{QUERIES}=1 ~loss.terms.absence": ("model.num_queries",),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(
    case: str, small: tuple[str, ...], few_scenes: tuple[str, ...], refusal: Callable[..., str], tmp_path: Path
) -> None:
    scenes = () if "data=folder" in case else few_scenes
    line = refusal(train.main, *small, *scenes, *case.split())
    assert all(part in line for part in CASES[case]), line
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(("argument", "part"), [("model=huge", "model/huge"), ("optim.rate=1", "rate")])
def test_hydra_refuses_by_itself(
    argument: str, part: str, command: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        command(train.main, argument, folder=tmp_path)
    message = capsys.readouterr().err
    assert part in message
    assert "Traceback" not in message


def test_results_that_have_no_place(few_scenes: tuple[str, ...], refusal: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = refusal(check.main, *few_scenes, f"html={tmp_path}/file/page.html")
    assert f"{tmp_path}/file" in line
    assert "choose another place" in line


@pytest.fixture
def photos(write_images: Callable[..., None], tmp_path: Path) -> Path:
    """A training image; with its whole data set of 2 + 2 images and 3 classes."""
    for part in ("training", "validation"):
        write_images(tmp_path / "images" / part, tmp_path / "annotations" / part, [(0, 1), (1, 2)])
    (tmp_path / "classes.txt").write_text("sky\ngrass\ncat")
    return tmp_path / "images" / "training" / "photo 1.jpg"


def test_a_broken_photo_is_named(small: tuple[str, ...], refusal: Callable[..., str], photos: Path) -> None:
    photos.write_bytes(photos.read_bytes()[:700])
    line = refusal(train.main, *small, "experiment=folder", *small, f"data.root={photos.parents[2]}")
    assert str(photos) in line
    assert "replace or remove it" in line


@pytest.mark.parametrize(("kind", "workers"), [("truncated", 2), ("gone", 0), ("other size", 0)])
def test_a_file_spoilt_after_the_check_is_named(
    kind: str,
    workers: int,
    small: tuple[str, ...],
    refusal: Callable[..., str],
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def spoil(self: WeakShotDataModule, stage: str) -> None:
        whole(self, stage)
        if kind == "truncated":
            photos.write_bytes(photos.read_bytes()[:700])
        elif kind == "gone":
            photos.unlink(missing_ok=True)
        else:
            Image.new("RGB", (99, 98)).save(photos)

    whole = WeakShotDataModule.setup
    monkeypatch.setattr(WeakShotDataModule, "setup", spoil)
    own = ("experiment=folder", f"data.root={photos.parents[2]}", *small, f"data.num_workers={workers}")
    line = refusal(train.main, *own)
    assert ("mask of photo 1 is" if kind == "other size" else str(photos)) in line


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


def test_batch_norm_of_one_value(
    small: tuple[str, ...], few_scenes: tuple[str, ...], refusal: Callable[..., str]
) -> None:
    """One image of one coarse pixel."""
    alone = ("data.batch_size=1", "~loss.terms.similarity", "model.backbone.freeze_norm=false")
    line = refusal(train.main, *small, *few_scenes, *alone)
    assert "data.batch_size=2" in line
    assert "model.backbone.freeze_norm=true" in line
