"""Every run gets a folder of its own, and nothing is made before it starts."""

import multiprocessing
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

import weakshot_seg.utils.run_status  # noqa: F401  before the forks
from weakshot_seg.cli.entry_point import command
from weakshot_seg.config.run_folders import run_folder

CONTEXT = multiprocessing.get_context("fork")


def finish_run(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "metrics.json").write_text("{}")


def enter(root: str, start: Any, end: Any, places: Any) -> None:
    """A job that is about to start while others are."""
    start.wait()
    places.put(run_folder(root, "split1", resume=False, job=0))
    end.wait()


def test_jobs_that_start_at_the_same_moment_get_folders_of_their_own(tmp_path: Path) -> None:
    finish_run(tmp_path / "split1")
    (tmp_path / "split1-3").mkdir()  # of a run that left nothing
    start, end, places = CONTEXT.Barrier(4), CONTEXT.Barrier(5), CONTEXT.Queue()
    jobs = [CONTEXT.Process(target=enter, args=(str(tmp_path), start, end, places)) for _ in range(4)]
    for job in jobs:
        job.start()
    found = [places.get(timeout=60) for _ in jobs]
    assert sorted(found) == [f"split1-{number}" for number in range(2, 6)]
    end.wait()
    for job in jobs:
        job.join()
    assert run_folder(str(tmp_path), "split1", resume=False, job=0) == "split1-2"  # all have left


def test_a_new_run_never_enters_the_folder_of_an_earlier_one(tmp_path: Path) -> None:
    root, folder = str(tmp_path), tmp_path / "split1"
    assert run_folder(root, "split1", resume=False) == run_folder(root, "split1", resume=True) == "split1"
    assert not folder.exists()  # nothing has started
    (folder / ".hydra").mkdir(parents=True)  # a run that ended before its first checkpoint left nothing worth keeping
    assert run_folder(root, "split1", resume=False) == "split1"
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").touch()
    assert run_folder(root, "split1", resume=False) == "split1-2"
    finish_run(tmp_path / "split1-2")
    assert run_folder(root, "split1", resume=False, job=3) == "split1-3"
    assert run_folder(root, "split1", resume=True) == "split1-2"  # the newest


def test_every_seed_has_a_folder_of_its_own() -> None:
    cfg = OmegaConf.create({"split": 3, "seed": 0, "name": "${run_name:${split},${seed}}"})
    assert cfg.name == "split3"
    cfg.seed = 12
    assert cfg.name == "split3-seed12"


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Runs the train command with an empty task; returns the folders of its jobs."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> list[str]:
        folders: list[str] = []

        @command("train")
        def task(cfg: DictConfig) -> None:
            folder = Path(HydraConfig.get().runtime.output_dir)
            assert cfg.output_dir == str(folder)
            folders.append(folder.relative_to(tmp_path / "outputs").as_posix())
            finish_run(folder)

        quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
        monkeypatch.setattr(sys, "argv", ["job", *arguments, *quiet])
        task()
        return folders

    return run


def test_jobs_of_a_sweep_get_folders_of_their_own(job: Callable[..., list[str]], tmp_path: Path) -> None:
    names = ["split1", "split1-seed1", "split2", "split2-seed1"]
    assert job("-m", "split=1,2", "seed=0,1") == [f"synthetic/{name}" for name in names]
    assert job("-m", "optim.lr=0.1,0.2", "split=2") == ["synthetic/split2-2", "synthetic/split2-3"]
    assert job("name=other") == ["other/split1"]
    assert job("name=other") == ["other/split1-2"]
    assert "dir: outputs/other/split1-2\n" in (tmp_path / "outputs/other/split1-2/.hydra/hydra.yaml").read_text()
    assert not (tmp_path / "outputs/other/split1-3").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--cfg", "job", "--resolve"], 0), (["--cfg", "hydra"], 0), (["--help"], 0), (["optim.lr=-1"], 2)],
)
def test_what_does_not_start_makes_no_folder(
    arguments: list[str], code: int, job: Callable[..., list[str]], tmp_path: Path
) -> None:
    ended = pytest.raises(SystemExit, match=str(code)) if "--cfg" not in arguments else nullcontext()
    with ended:
        assert job(*arguments) == []
    assert not list(tmp_path.iterdir())
