"""What is refused before Hydra makes its folder: secrets, and references to settings that do not exist."""

from collections.abc import Callable
from pathlib import Path

import pytest

from weakshot_seg import train
from weakshot_seg.cli import check, evaluate, predict

SECRET = "5ec2e7" * 6 + "abcd"
NOTHING = {
    "name": (train.main, "name=${nothing}"),
    "part of a name": (train.main, "name=run-${nothing}-1"),
    "nested": (train.main, "data.split_file=${data.nothing}"),
    "deeper": (train.main, "loss.terms.similarity.distillation=${loss.terms.nothing.distillation}"),
    "folder": (train.main, "hydra.run.dir=${nothing}"),
    "sweep": (train.main, "hydra.sweep.dir=${nothing}/x"),
    "within a list": (train.main, "data.novel_classes=[disc,'${nothing}']"),
    "predict": (predict.main, "out=${nothing}"),
    "evaluate": (evaluate.main, "ckpt=${nothing}"),
    "check": (check.main, "html=${nothing}"),
}


@pytest.mark.parametrize("case", NOTHING)
@pytest.mark.parametrize("sweep", [(), ("-m",)])
def test_references_to_nothing(
    case: str, sweep: tuple[str, ...], small: tuple[str, ...], refusal: Callable[..., str], tmp_path: Path
) -> None:
    main, setting = NOTHING[case]
    line = refusal(main, *sweep, *(small if main is train.main else ()), setting)  # small: if it did start
    assert line.startswith(f"error: {setting.split('=')[0]}")
    assert "nothing" in line
    assert "no setting" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("setting", "reason"),
    {
        "name=${oc.env:NOT_SET}": "Environment variable 'NOT_SET' not found",
        "data.split_file=${oc.env:NOT_SET}/splits.json": "Environment variable 'NOT_SET' not found",
        "data.novel_classes=[disc,'${oc.env:NOT_SET}']": "Environment variable 'NOT_SET' not found",
        "name=${.nothing}": "Interpolation key 'nothing' not found",
        "data.train.seed=${....nothing}": "",
        "name=${nothing:1}": "Unsupported interpolation type nothing",
        "name=${name}": "",
    }.items(),
)
def test_what_cannot_be_resolved(
    setting: str, reason: str, small: tuple[str, ...], refusal: Callable[..., str], tmp_path: Path
) -> None:
    line = refusal(train.main, *small, setting)
    assert line.startswith(f"error: {setting.split('=')[0]}")
    assert f"cannot be resolved ({reason}" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("setting", "place", "told"),
    [
        ("hydra.run.dir=file", "file", "File exists"),
        ("hydra.run.dir=file/run", "file/run", "Not a directory"),
        ("hydra.sweep.dir=file", "file", "Not a directory"),
        (f"name={300 * 'x'}", 300 * "x", "File name too long"),
    ],
)
def test_places_that_cannot_be_written(
    setting: str, place: str, told: str, small: tuple[str, ...], refusal: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("precious")
    line = refusal(train.main, *small, setting)
    assert f"nothing can be written to {place}" in line.replace("outputs/", "")
    assert told in line
    assert (tmp_path / "file").read_text() == "precious"


def test_a_sweep_that_has_no_place(small: tuple[str, ...], refusal: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "nothing can be written to file" in refusal(train.main, "-m", *small, "split=1,2", "hydra.sweep.dir=file")


def test_results_of_other_commands_that_have_no_place(refusal: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    images = ("data.train.num_images=4", "data.val.num_images=2", "data.train.size=32")
    line = refusal(check.main, *images, f"html={tmp_path}/file/page.html")
    assert f"{tmp_path}/file" in line
    assert "choose another place" in line


def test_other_references_work(train: Callable[..., Path], tmp_path: Path) -> None:
    own = ("+side=x", "name=${side}-${hydra:runtime.choices.data}-${split}", "trainer.max_steps=1")
    assert (train(tmp_path, *own) / "metrics.json").is_file()


@pytest.mark.parametrize(
    "setting",
    [
        "+logger.api_key=SECRET",
        "logger=wandb +logger.wandb.api_key=SECRET",
        "logger=wandb +logger.wandb.settings.api_key=SECRET",
        "+hydra.job.env_set.WANDB_API_KEY=SECRET",
        "+logger.wandb.settings.api_key=${oc.env:WANDB_API_KEY}",
    ],
)
@pytest.mark.parametrize("sweep", [(), ("-m",)])
def test_secrets_are_no_settings(
    setting: str,
    sweep: tuple[str, ...],
    small: tuple[str, ...],
    refusal: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    line = refusal(train.main, *sweep, *small, *setting.replace("SECRET", SECRET).split())
    assert SECRET not in line
    assert "WANDB_API_KEY" in line
    assert "wandb login" in line
    assert not list(tmp_path.iterdir())
