"""``weakshot_seg.train`` and the command it stands for: the same run."""

import importlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from PIL import Image

import weakshot_seg
from weakshot_seg.cli import train as command_of_training
from weakshot_seg.errors import ConfigError, DataError

SETTINGS: dict[str, Any] = {
    "model": {
        "backbone": {"name": "test_resnet", "pretrained": False},
        **{"dim": 32, "pixel_dim": 64, "embedding_dim": 16, "num_layers": 2, "num_heads": 4, "ffn_dim": 32},
    },
    "loss": {"terms": {"similarity": {"num_points": 16, "simnet": {"hidden_dim": 16}}}},
    "optim": {"warmup_steps": 0},
    "trainer": {"accelerator": "cpu", "max_steps": 3, "val_check_interval": 3, "log_every_n_steps": 1},
    "callbacks": {"panels": {"num_images": 2}, "ranked": {"num_images": 1}},
}
SCENES = {
    "batch_size": 4,
    "num_workers": 0,
    **{"train": {"num_images": 16, "size": 32}, "val": {"num_images": 4}, "train_transform": {"crop_size": 32}},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(*words: str, **settings: Any) -> weakshot_seg.Run:
    return weakshot_seg.train(None, *words, **({"data": SCENES} | SETTINGS | settings))


def test_the_call_makes_the_run_of_the_command(
    folder: Path, command: Callable[..., None], metrics_of: Callable[[Path], dict[str, Any]]
) -> None:
    run = train("name=scenes", split=2)
    assert run.folder == folder / "outputs" / "scenes" / "split2"
    overrides = OmegaConf.load(run.folder / ".hydra" / "overrides.yaml")
    command(command_of_training.main, *map(str, overrides), folder=folder)  # the words of the call
    other = run.folder.with_name("split2-2")  # as after any other run
    assert metrics_of(run.folder) == metrics_of(other)
    assert {path.name for path in run.folder.iterdir()} == {path.name for path in other.iterdir()}
    for name in ("config.yaml", "overrides.yaml"):
        assert (run.folder / ".hydra" / name).read_text() == (other / ".hydra" / name).read_text()
    assert "split 2: 12 base classes" in (run.folder / "train.log").read_text()

    assert run.metrics is not None
    assert run.metrics.base_iou == json.loads((other / "metrics.json").read_text())["base_iou"]
    assert run.segmenter.predict(np.zeros((40, 50, 3), np.uint8)).labels.shape == (40, 50)
    panels = [Image.open(file) for file in sorted((run.folder / "pictures").iterdir())]
    assert np.array_equal(run.show(), np.concatenate([panel.convert("RGB") for panel in panels]))
    page = run._repr_html_()
    assert all(f">{name}</td>" in page for name in run.metrics.class_names)
    assert page.count("<img") == 1


def test_nothing_of_hydra_or_of_the_log_is_left(folder: Path) -> None:
    logger, before = logging.getLogger("weakshot_seg"), logging.root.handlers[:]
    state = (logger.level, logger.handlers[:], GlobalHydra.instance().hydra, HydraConfig.instance().cfg)
    train()
    with pytest.raises(ConfigError):
        train(split="x")
    assert (logger.level, logger.handlers, GlobalHydra.instance().hydra, HydraConfig.instance().cfg) == state
    assert logging.root.handlers == before
    assert Path.cwd() == folder


@pytest.mark.parametrize(
    ("words", "settings", "expected"),
    [
        (("-m",), {}, "-m is an option of the command line"),
        (("split",), {}, "split"),
        ((), {"splt": 1}, "splt"),
        ((), {"optim": {"lr": -1}}, "optim.lr=-1 must be a number"),
        ((), {"trainer": "tpu"}, "tpu"),
        ((), {"trainer": {"devices": 2}}, "trainer.devices=2: only the command"),
        ((), {"seed": object()}, "is no setting"),
        ((), {"weights": "no.ckpt"}, "no.ckpt: no such file"),
    ],
)
def test_what_cannot_work_is_an_error_and_no_exit(
    words: tuple[str, ...], settings: dict[str, Any], expected: str, folder: Path
) -> None:
    with pytest.raises(ConfigError, match=expected):
        train(*words, **settings)
    assert not list(folder.glob("outputs/*/*/checkpoints"))


def test_ctrl_c_saves_and_the_same_call_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = pl.LightningModule.optimizer_step

    def interrupted(module: pl.LightningModule, *args: Any, **kwargs: Any) -> None:
        step(module, *args, **kwargs)
        if module.global_step == 1:  # the second is being made
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(pl.LightningModule, "optimizer_step", interrupted)
        with pytest.raises(KeyboardInterrupt, match=r"step 2 is saved in .*last\.ckpt"):
            train()
    assert signal.getsignal(signal.SIGINT) == handler
    home = folder / "outputs" / "synthetic" / "split1"
    assert json.loads((home / "status.json").read_text())["state"] == "interrupted"
    run = train(resume=True)
    assert run.folder == home
    assert run.metrics is not None
    assert run.metrics.step == 3
    assert json.loads((home / "status.json").read_text())["state"] == "finished"


def test_photos_of_a_folder(tagged_photos: Path, folder: Path) -> None:
    data = {"train_transform": {"crop_size": 32, "short_edge": 40}, "val_transform": {"short_edge": 40}}
    data |= {"batch_size": 4, "num_workers": 0}
    found = weakshot_seg.Dataset.check(tagged_photos)
    assert found.ok, found.problems
    assert str(found).endswith(found.report.verdict)
    assert found._repr_html_().startswith("<iframe")
    run = weakshot_seg.train("folder", root=tagged_photos, **(SETTINGS | {"data": data}))
    assert run.folder == folder / "outputs" / "folder" / "split1"
    assert run.segmenter.split.novel_names


def test_a_folder_with_problems(tagged_photos: Path, folder: Path) -> None:
    broken = next((tagged_photos / "images" / "training").iterdir())
    broken.write_bytes(b"none")
    found = weakshot_seg.Dataset.check(tagged_photos)
    assert not found.ok
    assert any(broken.name in problem for problem in found.problems)
    assert not list(folder.glob("outputs"))


def test_a_run_without_pictures(folder: Path) -> None:
    run = weakshot_seg.Run(folder)
    assert run.metrics is None
    assert run._repr_html_() == ""
    with pytest.raises(DataError, match="there were no validation images"):
        run.show()


def test_a_result_shows_itself(eager: Path) -> None:
    result = weakshot_seg.load(eager, "cpu").predict(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))
    assert np.array_equal(Image.open(BytesIO(result._repr_png_())), result.overlay())
    assert all(f">{area.name}</td>" in result._repr_html_() for area in result.classes)


@pytest.mark.parametrize(
    "code",
    [
        "import weakshot_seg; f = weakshot_seg.train; import weakshot_seg.train",
        "import weakshot_seg.train; f = weakshot_seg.train",
        "from weakshot_seg.train import run_command; from weakshot_seg import train as f; import weakshot_seg",
        "from weakshot_seg import train as f; import weakshot_seg.train",
    ],
)
def test_function_and_module_are_one(code: str) -> None:
    code += "; assert callable(f) and f is weakshot_seg.train; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", f"import sys; {code}"], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_module_is_the_command() -> None:
    call = [sys.executable, "-m", "weakshot_seg.train", "experiment=coco", "--cfg", "job"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert "coco_stuff" in done.stdout
    assert not done.stderr
    assert importlib.import_module("weakshot_seg.train") is weakshot_seg.train
