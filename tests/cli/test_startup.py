"""What a command does not need is not imported: its answer would wait for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark_startup import ANSWERS, COMPLETED

HEAVY = {"torch", "torchmetrics", "pytorch_lightning", "timm", "torchvision", "transformers", "albumentations", "cv2"}
HEAVY |= {"scipy", "matplotlib", "wandb", "numpy", "pandas", "sklearn"}
LISTING = """
import atexit, sys
atexit.register(lambda: print("\\nMODULES", *{name.split(".")[0] for name in sys.modules}))
"""
MAIN = "from weakshot_seg.__main__ import main\nmain()"
SMALL = (
    *(
        "model.backbone.name=test_resnet",
        "model.dim=32",
        "model.ffn_dim=32",
        "data.num_workers=0",
        "trainer.max_steps=1",
    ),
    *("data.train.num_images=8", "data.val.num_images=4", "data.train.size=32", "data.train_transform.crop_size=32"),
    *("trainer.accelerator=cpu", "trainer.val_check_interval=1"),
)


def imported(code: str, *arguments: str, folder: Path) -> tuple[set[str], str]:
    """Packages that a process has imported when it ends, and what it wrote."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COMP_LINE": COMPLETED}
    call = [sys.executable, "-c", LISTING + code, *arguments]
    done = subprocess.run(call, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    printed, _, modules = done.stdout.rpartition("MODULES")
    return set(modules.split()), printed + done.stderr


@pytest.mark.parametrize("arguments", ANSWERS)
def test_answers_come_without_pytorch(arguments: str, tmp_path: Path) -> None:
    modules, printed = imported(MAIN, *arguments.split(), folder=tmp_path)
    assert "hydra" in modules
    assert modules & HEAVY == set()
    assert "Traceback" not in printed
    words = {"-sc": "optim.lr=", "--help": "weakshot", "--cfg": "optim:"}
    assert next((text for option, text in words.items() if option in arguments), "error: ") in printed
    assert not list(tmp_path.iterdir())


def test_the_package_itself_is_light(tmp_path: Path) -> None:
    modules, _ = imported("import weakshot_seg", folder=tmp_path)
    assert "weakshot_seg" in modules
    assert modules & (HEAVY | {"hydra", "pydantic"}) == set()


def test_a_training_imports_what_it_uses(tmp_path: Path) -> None:
    modules, printed = imported(MAIN, "train", *SMALL, folder=tmp_path)
    assert "checkpoints:" in printed
    assert {"torch", "timm", "torchmetrics"} <= modules
    assert modules & {"transformers", "wandb", "pandas", "sklearn"} == set()
