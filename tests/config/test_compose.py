"""Where the configuration is found, where runs go, and what a user sees of mistakes."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from processes import CONTEXT
from weakshot_seg.config.compose import conf_dir, entry_point, plain, run_folder
from weakshot_seg.errors import ConfigError, DataError


def refuse(**settings: int) -> None:
    raise DataError(f"folder\nis missing {settings}")


def stumble() -> None:
    raise RuntimeError("a bug")


def finish_run(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "metrics.json").write_text("{}")


def exit_of(task: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> str:
    """Runs a task that must end with code 2 and one line, and returns the line."""
    with pytest.raises(SystemExit) as caught:
        entry_point(task)()
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_conf_dir_is_absolute_and_holds_the_main_configuration() -> None:
    assert conf_dir().is_absolute()
    assert (conf_dir() / "train.yaml").is_file()


def test_plain_resolves_to_builtin_types() -> None:
    node = OmegaConf.create({"a": 1, "b": {"c": "${a}", "d": ["${a}", "x"]}})
    result = plain(node)
    assert result == {"a": 1, "b": {"c": 1, "d": [1, "x"]}}
    assert type(result["b"]) is dict
    assert type(result["b"]["d"]) is list
    with pytest.raises(MissingMandatoryValue):
        plain(OmegaConf.create({"a": "???"}))


def test_a_new_run_never_enters_the_folder_of_an_earlier_one(tmp_path: Path) -> None:
    root, folder = str(tmp_path), tmp_path / "split1"
    assert run_folder(root, "split1", resume=False) == "split1"
    (folder / ".hydra").mkdir(parents=True)  # a run that ended before its first checkpoint left nothing worth keeping
    assert run_folder(root, "split1", resume=False) == "split1"
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").touch()
    assert run_folder(root, "split1", resume=False) == "split1-2"
    finish_run(tmp_path / "split1-2")
    assert run_folder(root, "split1", resume=False) == "split1-3"


def enter(root: str, start: Any, end: Any, places: Any) -> None:
    """A job that is about to start while others are."""
    start.wait()
    places.put(run_folder(root, "split1", resume=False))
    end.wait()


def test_jobs_that_start_at_the_same_moment_get_folders_of_their_own(tmp_path: Path) -> None:
    finish_run(tmp_path / "split1")
    (tmp_path / "split1-3").mkdir()  # of a run that left nothing
    start, end, places = CONTEXT.Barrier(8), CONTEXT.Barrier(9), CONTEXT.Queue()
    jobs = [CONTEXT.Process(target=enter, args=(str(tmp_path), start, end, places)) for _ in range(8)]
    for job in jobs:
        job.start()
    found = [places.get(timeout=60) for _ in jobs]
    assert sorted(found) == [f"split1-{number}" for number in range(2, 10)]
    end.wait()
    for job in jobs:
        job.join()
    assert run_folder(str(tmp_path), "split1", resume=False) == "split1-2"  # they have left it, and nothing in it


def test_resume_enters_the_newest_run(tmp_path: Path) -> None:
    assert run_folder(str(tmp_path), "split1", resume=True) == "split1"
    finish_run(tmp_path / "split1")
    assert run_folder(str(tmp_path), "split1", resume=True) == "split1"
    finish_run(tmp_path / "split1-2")
    assert run_folder(str(tmp_path), "split1", resume=True) == "split1-2"


def test_run_folder_is_a_resolver(tmp_path: Path) -> None:
    cfg = OmegaConf.create({"root": str(tmp_path), "resume": False, "dir": "${run_folder:${root},split1,${resume}}"})
    assert cfg.dir == "split1"
    finish_run(tmp_path / "split1")
    assert cfg.dir == "split1-2"


def test_every_seed_has_a_folder_of_its_own() -> None:
    cfg = OmegaConf.create({"split": 3, "seed": 0, "name": "${run_name:${split},${seed}}"})
    assert cfg.name == "split3"
    cfg.seed = 12
    assert cfg.name == "split3-seed12"


def test_jobs_of_a_sweep_get_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
    def job(cfg: DictConfig) -> None:
        folders.append(Path(HydraConfig.get().runtime.output_dir).relative_to(tmp_path / "outputs"))
        (tmp_path / "outputs" / folders[-1] / "metrics.json").write_text("{}")

    quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["job", "-m", "split=1,2", "seed=0,1", *quiet])
    job()
    monkeypatch.setattr(sys, "argv", ["job", "name=other", *quiet])
    job()
    names = ["synthetic/split1", "synthetic/split1-seed1", "synthetic/split2", "synthetic/split2-seed1", "other/split1"]
    assert folders == [Path(name) for name in names]


def test_an_error_of_the_user_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of(refuse, capsys) == "error: folder is missing {}"


def test_an_error_of_the_user_within_instantiate_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    node = {"_target_": f"{__name__}.refuse", "size": 3}
    with pytest.raises(InstantiationException):
        instantiate(node)
    assert exit_of(lambda: instantiate(node), capsys) == "error: folder is missing {'size': 3}"


@pytest.mark.parametrize(
    ("task", "culprit"),
    [
        (lambda: OmegaConf.create({"ckpt": "???"}).ckpt, "ckpt"),
        (lambda: OmegaConf.create({"a": "${nothing}"}).a, "nothing"),
        (lambda: instantiate({"_target_": "weakshot_seg.structures.ClassSplit", "nmes": []}), "nmes"),
        (lambda: instantiate({"_target_": "weakshot_seg.structures.Nothing"}), "Nothing"),
    ],
)
def test_wrong_settings_are_one_line(
    task: Callable[[], object], culprit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert culprit in exit_of(task, capsys)


class Unpicklable(Exception):
    """As are ``HfHubHTTPError`` and others whose arguments are not those of their ``Exception``."""

    def __init__(self, text: str, *, response: int) -> None:
        super().__init__(f"{text} {response}")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DataError("no\nsuch class"), "no such class"),
        (RuntimeError("a bug"), "RuntimeError: a bug"),
        (Unpicklable("code", response=404), "Unpicklable: code 404"),
    ],
)
def test_a_failed_job_of_a_sweep_does_not_stop_the_others(
    error: Exception, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished: list[int] = []
    said: list[str] = []

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
    @entry_point
    def job(cfg: DictConfig) -> None:
        if cfg.split == 2:
            raise error
        said.append(capsys.readouterr().err)
        finished.append(cfg.split)

    quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["job", "-m", "split=1,2,3", *quiet])
    with pytest.raises(SystemExit) as caught:
        job()
    assert caught.value.code == 1
    assert finished == [1, 3]
    assert said[0] == ""
    assert said[1].endswith(f"error: {told}\n")  # at once
    assert ("Traceback" in said[1]) == (not isinstance(error, DataError))
    told_last = capsys.readouterr().err
    assert told in told_last
    assert "Traceback" not in told_last


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


def test_hydra_full_error_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(DataError):
        entry_point(refuse)()


def test_entry_point_passes_arguments_and_result() -> None:
    @entry_point
    def task(a: int, b: int = 0) -> int:
        return a + b

    assert task(1, b=2) == 3
    assert task.__name__ == "task"
    assert issubclass(ConfigError, ValueError)
