"""What is refused before Hydra makes its folder: secrets, references to nothing, places that cannot be written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from composing import compose_all
from weakshot_seg.config.preflight import Preflight

SECRET = "5ec2e7" * 6 + "abcd"
NOTHING = (
    "train name=${nothing}",
    "train name=run-${nothing}-1",
    "train data.split_file=${data.nothing}",
    "train data.split_file=${.nothing}",
    "train loss.terms.similarity.distillation=${loss.terms.nothing.distillation}",
    "train hydra.run.dir=${nothing}",
    "train hydra.sweep.dir=${nothing}/x",
    "train data.novel_classes=[disc,'${nothing}']",
    "predict source=a ckpt=a out=${nothing}",
    "evaluate ckpt=${nothing}",
    "check html=${nothing}",
)
UNRESOLVED = {
    "name=${oc.env:NOT_SET}": "Environment variable 'NOT_SET' not found",
    "data.split_file=${oc.env:NOT_SET}/splits.json": "Environment variable 'NOT_SET' not found",
    "data.novel_classes=[disc,'${oc.env:NOT_SET}']": "Environment variable 'NOT_SET' not found",
    "data.train.seed=${....nothing}": "",
    "name=${nothing:1}": "Unsupported interpolation type nothing",
    "name=${name}": "",
}
SECRETS = (
    "+logger.api_key=SECRET",
    "logger=wandb +logger.wandb.api_key=SECRET",
    "logger=wandb +logger.wandb.settings.api_key=SECRET",
    "+hydra.job.env_set.WANDB_API_KEY=SECRET",
    "+logger.wandb.settings.api_key=${oc.env:WANDB_API_KEY}",
)
PLACES = (
    ("hydra.run.dir=file", "file", "File exists"),
    ("hydra.run.dir=file/run", "file/run", "Not a directory"),
    ("hydra.sweep.dir=file", "file", "Not a directory"),
    (f"name={300 * 'x'}", 300 * "x", "File name too long"),
)
Refused = Callable[..., str]


@pytest.fixture(params=[False, True], ids=["run", "sweep"])
def in_sweep(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """The line with which ``weakshot COMMAND SETTING ...`` ends before anything is made."""
    monkeypatch.chdir(tmp_path)

    def call(command: str, *settings: str, sweep: bool = False) -> str:
        config = compose_all(command, *settings)
        with pytest.raises(SystemExit, match="2"):
            (Preflight().on_multirun_start if sweep else Preflight().on_run_start)(config)
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert {path.name for path in tmp_path.iterdir()} <= {"file"} or "nothing can be written" in line
        return line

    return call


@pytest.mark.parametrize("call", NOTHING)
def test_references_to_nothing(call: str, in_sweep: bool, refused: Refused) -> None:
    line = refused(*call.split(), sweep=in_sweep)
    assert line.startswith(f"error: {call.split()[-1].split('=')[0]}")
    assert "cannot be resolved" in line
    assert "nothing" in line


@pytest.mark.parametrize("setting", UNRESOLVED)
def test_what_cannot_be_resolved(setting: str, refused: Refused) -> None:
    line = refused("train", setting)
    assert line.startswith(f"error: {setting.split('=')[0]}")
    assert f"cannot be resolved ({UNRESOLVED[setting]}" in line


@pytest.mark.parametrize("settings", SECRETS)
def test_secrets_are_no_settings(
    settings: str, in_sweep: bool, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    line = refused("train", *settings.replace("SECRET", SECRET).split(), sweep=in_sweep)
    assert SECRET not in line
    assert "WANDB_API_KEY" in line
    assert "wandb login" in line


@pytest.mark.parametrize(("setting", "place", "reason"), PLACES)
def test_places_that_cannot_be_written(setting: str, place: str, reason: str, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    line = refused("train", setting, sweep=False)
    assert f"nothing can be written to {place}" in line.replace("outputs/", "")
    assert reason in line
    assert (tmp_path / "file").read_text() == "precious"


def test_a_sweep_that_has_no_place(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "nothing can be written to file" in refused("train", "hydra.sweep.dir=file", sweep=True)


def test_other_references_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = compose_all("train", "+side=x", "name=${side}-${hydra:runtime.choices.data}-${split}")
    Preflight().on_run_start(config)
    assert Path(config.hydra.run.dir) == Path("outputs/x-synthetic-1/split1")
    assert Path(config.hydra.run.dir).is_dir()
