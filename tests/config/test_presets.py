"""The preset of ``experiment=folder``: that of the machine, one that is named, or that of the run that is resumed."""

import json
import os
import stat

import pytest
import yaml

from composing import compose_all, compose_own
from weakshot_seg.config.compose import conf_dir
from weakshot_seg.config.presets import (
    NEEDED,
    TRAINING_FILES,
    gpu_memory,
    memory_of,
    photo_steps,
    suited,
    with_preset,
)
from weakshot_seg.config.schema import check_settings
from weakshot_seg.training.provenance import FILES

FOLDER = ("experiment=folder", "data.root=DIR")
# as nvidia-smi 550 writes it
TWO = "0, GPU-11a9c0ae-6f2c-8f2b-1e5b-000000000000, 24564\n1, GPU-77b1f1f0-0000-0000-0000-000000000000, 8188\n"


@pytest.mark.parametrize(
    ("memory", "preset"),
    [(None, "laptop"), (4096, "laptop"), (7982, "gpu_small"), (16_376, "gpu_small"), (23_028, "gpu"), (81_559, "gpu")],
)
def test_what_suits_a_machine(memory, preset):
    assert suited(memory) == preset
    assert with_preset("train", FOLDER, lambda: memory) == [*FOLDER, f"preset={preset}"]


def test_where_no_preset_is_chosen():
    def asked():
        raise AssertionError("the GPU was looked for")

    for command, *words in (
        ("train",),
        ("train", "--help"),
        ("train", "experiment=coco", "data.root=folder"),
        ("train", "data=folder"),
        ("train", *FOLDER, "preset=gpu"),
        ("evaluate", "experiment=folder"),
    ):
        assert with_preset(command, words, asked) == words
    assert with_preset("train", [*FOLDER, "trainer.accelerator=cpu"], asked)[-1] == "preset=laptop"
    assert with_preset("check", ["experiment=[folder,ablation]"], lambda: 24_564)[-1] == "preset=gpu"


def test_the_visible_gpu_counts():
    for visible, memory in ((None, 24_564), ("0,1", 24_564), ("1", 8188), ("GPU-77b1", 8188), ("", None), ("-1", None)):
        assert memory_of(TWO, visible) == memory, visible
    assert memory_of("0, GPU-1, [N/A]\n", None) is None
    assert memory_of("No devices were found\n", None) is None


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands in for the tool")
def test_the_drivers_tool_is_asked(tmp_path, monkeypatch):
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    (tmp_path / "list").write_text(TWO)
    tool.write_text(f'#!/bin/sh\n[ "$1" = --query-gpu=index,uuid,memory.total ] && cat {tmp_path}/list\n')
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    torch = tmp_path / "torch" / "lib"
    torch.mkdir(parents=True)
    (torch.parent / "__init__.py").touch()
    monkeypatch.setenv("PATH", str(tool.parent), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(
        "weakshot_seg.config.presets.find_spec", lambda name: type("", (), {"origin": torch.parent / "__init__.py"})
    )
    assert gpu_memory() is None  # a PyTorch for CPUs
    (torch / "libtorch_cuda.so").touch()
    assert gpu_memory() == 24_564
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpu_memory() == 8188
    tool.write_text("#!/bin/sh\nexit 9\n")  # as without a driver
    assert gpu_memory() is None


def test_a_resumed_run_keeps_its_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved = tmp_path / "outputs/folder/split1/.hydra"
    saved.mkdir(parents=True)
    (saved.parent / "checkpoints").mkdir()
    (saved.parent / "checkpoints/last.ckpt").touch()
    for written, preset in ({"preset": "gpu_small"}, "gpu_small"), ({"name": "folder"}, "laptop"):
        (saved / "config.yaml").write_text(yaml.safe_dump(written))
        assert with_preset("train", [*FOLDER, "resume=true"], lambda: 24_564)[-1] == f"preset={preset}"
    assert with_preset("train", FOLDER, lambda: 24_564)[-1] == "preset=gpu"
    assert with_preset("train", [*FOLDER, "resume=true", "split=2"], lambda: 24_564)[-1] == "preset=gpu"  # a new run
    named = [*FOLDER, "resume=true", "preset=laptop"]
    assert with_preset("train", named) == named


def begun(folder, preset):
    """What a run has written when it is interrupted."""
    for name, text in ((".hydra/config.yaml", yaml.safe_dump({"preset": preset})), ("checkpoints/last.ckpt", "")):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("words", "run"),
    [
        (["split=1,2", "-m"], "folder/split2"),  # the first of them was not begun
        (["-m", "split=1,2", "seed=0,7", "name=herons"], "herons/split1-seed7"),
        (["--multirun", "split=range(1,4)", "hydra/launcher=parallel"], "folder/split3"),
        (["-m", "experiment=[folder,ablation]", "split=3"], "ablation/folder/all/split3"),
    ],
)
def test_a_resumed_sweep_keeps_its_preset(words, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun(tmp_path / "outputs" / run, "gpu_small")
    (tmp_path / "outputs" / run / "metrics.json").touch()  # finished ones count as well
    assert "preset=gpu_small" in with_preset("train", [*FOLDER, "resume=true", *words], lambda: 24_564)
    assert "preset=gpu" in with_preset("train", [*FOLDER, *words], lambda: 24_564)


def test_requeued_jobs_keep_their_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun(tmp_path / "outputs/folder/split1", "gpu_small")
    begun(tmp_path / "outputs/folder/split2-2", "laptop")
    begun(tmp_path / "outputs/folder/split2", "gpu")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert with_preset("train", FOLDER, lambda: 24_564)[-1] == "preset=gpu_small"
    assert with_preset("train", [*FOLDER, "split=2"], lambda: 24_564)[-1] == "preset=laptop"  # the newest of its row
    assert "preset=gpu_small" in with_preset("train", [*FOLDER, "-m", "split=1,2"], lambda: 24_564)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    assert with_preset("train", FOLDER, lambda: 24_564)[-1] == "preset=gpu"


@pytest.mark.parametrize("preset", sorted(path.stem for path in (conf_dir() / "preset").glob("*.yaml")))
def test_presets_are_settings_that_can_be_changed(preset, tmp_path):
    (tmp_path / "images/training").mkdir(parents=True)
    words = ("experiment=folder", f"data.root={tmp_path}", f"preset={preset}")
    settings = compose_own("train", *words)
    check_settings(settings, "train")
    assert settings.preset == preset
    assert settings.data.batch_size * settings.trainer.accumulate_grad_batches == 8
    assert settings.data.train_transform.crop_size == (160 if preset == "laptop" else 512)
    assert compose_own("train", *words, "data.train_transform.crop_size=99").data.train_transform.crop_size == 99
    assert compose_all("train", *words).hydra.runtime.choices.preset == preset
    assert preset == "laptop" or preset in NEEDED


def test_steps_for_photos(tmp_path):
    assert TRAINING_FILES == FILES
    photos, run = tmp_path / "photos", tmp_path / "run"
    run.mkdir()
    (run / FILES).write_text(json.dumps(dict.fromkeys(map(str, range(500)), "0")))
    for count, steps in ((0, 1000), (40, 1000), (500, 1300), (2000, 2600)):
        photos.mkdir(exist_ok=True)
        for number in range(count):
            (photos / f"{number}.jpg").touch()
        assert photo_steps(2600, str(photos), False, str(run)) == steps
        assert photo_steps(2600, str(photos), True, str(run)) == 1300  # those that the run began with
        assert photo_steps(2600, str(photos), True, str(tmp_path)) == steps
    assert photo_steps(2600, str(tmp_path / "nowhere"), False, "") == 1000
    (tmp_path / "images").mkdir()
    (photos).rename(tmp_path / "images/training")
    settings = compose_own("train", "experiment=folder", f"data.root={tmp_path}")
    assert (settings.trainer.max_steps, settings.data.max_steps) == (2600, 2600)
    assert compose_own("train", "experiment=folder", "data.root=DIR", "trainer.max_steps=7").data.max_steps == 7
