"""What a user sees of mistakes."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from weakshot_seg.cli.entry_point import command, entry_point
from weakshot_seg.errors import DataError


def refuse(**settings: int) -> None:
    raise DataError(f"folder\nis missing {settings}")


def stumble() -> None:
    raise RuntimeError("a bug")


@pytest.mark.parametrize(
    ("task", "part"),
    [
        (refuse, "error: folder is missing {}"),
        (lambda: instantiate({"_target_": f"{__name__}.refuse", "size": 3}), "error: folder is missing {'size': 3}"),
        (lambda: OmegaConf.create({"ckpt": "???"}).ckpt, "ckpt"),
        (lambda: OmegaConf.create({"a": "${nothing}"}).a, "nothing"),
        (lambda: instantiate({"_target_": "weakshot_seg.structures.ClassSplit", "nmes": []}), "nmes"),
        (lambda: instantiate({"_target_": "weakshot_seg.structures.Nothing"}), "Nothing"),
    ],
)
def test_an_error_of_the_user_is_one_line(
    task: Callable[[], object], part: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[refuse.__module__])
    with pytest.raises(SystemExit) as caught:
        entry_point(task)()
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert part in line
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Exception, match=part.split()[-1].strip("{}3':") or "missing"):
        entry_point(task)()


class Unpicklable(Exception):
    """As are ``HfHubHTTPError`` and others whose arguments are not those of their ``Exception``."""

    def __init__(self, text: str, *, response: int) -> None:
        super().__init__(f"{text} {response}")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DataError("no\nsuch class"), "no such class"),
        (Unpicklable("code", response=404), "Unpicklable: code 404"),
    ],
)
def test_a_failed_job_of_a_sweep_does_not_stop_the_others(
    error: Exception, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished: list[int] = []
    printed: list[str] = []

    @command("train")
    def job(cfg: DictConfig) -> None:
        if cfg.split == 2:
            raise error
        printed.append(capsys.readouterr().err)
        finished.append(cfg.split)

    quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["job", "-m", "split=1,2,3", *quiet])
    with pytest.raises(SystemExit) as caught:
        job()
    assert caught.value.code == 1
    assert finished == [1, 3]
    assert printed[0] == ""
    assert printed[1].endswith(f"error: {line}\n")  # at once
    assert ("Traceback" in printed[1]) == (not isinstance(error, DataError))
    summary = capsys.readouterr().err
    assert line in summary
    assert "Traceback" not in summary


def test_the_error_of_a_job_comes_back_from_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise Unpicklable("code", response=404)

    monkeypatch.setattr(HydraConfig, "initialized", staticmethod(lambda: True))
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: OmegaConf.create({"mode": RunMode.MULTIRUN})))
    with pytest.raises(CompactHydraException) as caught:
        entry_point(fail)()
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(caught.value.__cause__))
    assert str(pickle.loads(pickle.dumps(caught.value))) == "Unpicklable: code 404"


def test_bugs_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        entry_point(stumble)()
    with pytest.raises(InstantiationException, match="a bug"):
        entry_point(lambda: instantiate({"_target_": f"{__name__}.stumble"}))()


def test_settings_arrive_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(sys, "argv", ["job", "ckpt=modèle (1).ckpt", "source=a"])
    monkeypatch.chdir(tmp_path)
    command("predict")(lambda cfg: seen.append(cfg.ckpt))()
    assert seen == ["modèle (1).ckpt"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["photos"], "'photos' is no setting: settings are written KEY=VALUE"),
        (["source=[a,b"], "'source=[a,b' cannot be read: brackets"),
        (["ckpt=a", "source=${a} 'b'"], "cannot be read"),
    ],
)
def test_what_hydra_cannot_read_is_one_line(
    words: list[str], part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["job", *words])
    with pytest.raises(SystemExit, match="2"):
        command("predict")(stumble)()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert part in line
    assert "weakshot predict --help" in line


def test_a_module_of_a_command_is_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """``python -m weakshot_seg.cli.pseudo_label`` would end without having done anything."""
    monkeypatch.setattr(stumble, "__module__", "__main__")
    with pytest.raises(SystemExit, match="error: run weakshot pseudo-label, or python -m weakshot_seg pseudo-label"):
        command("pseudo_label")(stumble)
