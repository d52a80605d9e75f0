"""What a checkpoint says of itself, what it is measured on, and a training that starts from it."""

import json
import re
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.checkpoints.compatibility import check_classes
from weakshot_seg.cli import evaluate, pseudo_label
from weakshot_seg.cli import train as training
from weakshot_seg.data.splits import make_split
from weakshot_seg.data.synthetic.scenes import SyntheticScenes
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import ClassSplit
from weakshot_seg.training.provenance import git_commit, library_versions

Refusal = Callable[..., str]
Command = Callable[..., None]
CPU = ("trainer.accelerator=cpu",)
SCENES = ("data=synthetic", "data.train.num_images=8", "data.val.num_images=2", "data.train.size=32")


def last(trained: Path) -> Path:
    return trained / "checkpoints" / "last.ckpt"


def test_a_checkpoint_says_what_made_it(trained: Path) -> None:
    ours = torch.load(last(trained), weights_only=True)["weakshot_seg"]
    split = make_split(SyntheticScenes.class_names, 1)
    assert tuple(ours["class_names"]) == split.names
    assert tuple(ours["novel"]) == split.novel
    assert ours["recipe"]["split"] == 1
    assert ours["label_scope"] == "image"
    model = load_module(last(trained)).model
    for name in ("mean", "std"):
        torch.testing.assert_close(torch.tensor(ours[name]), getattr(model, name).flatten())
    assert torch.__version__.startswith(ours["versions"]["torch"])
    assert {"python", "timm", "pytorch-lightning", "numpy"} <= ours["versions"].keys()
    assert ours["versions"] == library_versions()
    assert ours["git_commit"] == git_commit()


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=x", "-c", "user.email=x@y.z")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_the_commit_is_that_of_the_code(tmp_path: Path) -> None:
    code = tmp_path / "package"
    code.mkdir()
    (code / "a.py").write_text("1")
    assert git_commit(code) is None
    git(tmp_path, "init")
    assert git_commit.__wrapped__(code) is None  # a repository around it that knows nothing of it
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD").strip()
    assert git_commit.__wrapped__(code) == head
    (tmp_path / "results.txt").write_text("not code")
    assert git_commit.__wrapped__(code) == head
    (code / "a.py").write_text("2")
    assert git_commit.__wrapped__(code) == f"{head}-dirty"


def test_another_split_is_refused(trained: Path, refusal: Refusal, tmp_path: Path) -> None:
    line = refusal(evaluate.main, f"ckpt={last(trained)}", *SCENES, *CPU, "split=2", "hydra.run.dir=out")
    for part in (str(last(trained)), make_split(SyntheticScenes.class_names, 1).novel_names[0], "split=", "force=true"):
        assert part in line
    assert not (tmp_path / "out" / "metrics.json").exists()
    status = json.loads((tmp_path / "out" / "status.json").read_text())
    assert (status["state"], status["stage"]) == ("failed", "evaluate")
    assert "force=true" in refusal(pseudo_label.main, f"ckpt={last(trained)}", *SCENES, *CPU, "split=2", "out=labels")
    assert not (tmp_path / "labels").exists()


def test_another_split_by_force(trained: Path, command: Command, tmp_path: Path) -> None:
    run = ("hydra.run.dir=out", "callbacks.panels.num_images=1", "callbacks.ranked.num_images=1")
    arguments = (f"ckpt={last(trained)}", *SCENES, *CPU, "data.num_workers=0", "split=2", *run)
    command(evaluate.main, *arguments, "force=true", folder=tmp_path)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["novel_classes"] == list(make_split(SyntheticScenes.class_names, 1).novel_names)
    assert json.loads((tmp_path / "out" / "status.json").read_text())["state"] == "finished"
    assert "force=true" in (tmp_path / "out" / "evaluate.log").read_text()


ABC = ClassSplit(("a", "b", "c"), (2,))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (ClassSplit(("a", "b"), (1,)), "3 classes"),
        (ClassSplit(("a", "x", "c"), (2,)), "('b', 'x')"),
        (ClassSplit(("b", "a", "c"), (2,)), "2 differ"),
        (ClassSplit(("a", "b", "c"), (0,)), "novel classes c"),
        (ClassSplit(("a", "b", "c"), ()), "none"),
    ],
)
def test_what_differs_is_named(data: ClassSplit, text: str) -> None:
    for force in (False, True):
        fails = not force or data.num_classes != 3
        with pytest.raises(ConfigError, match=re.escape(text)) if fails else nullcontext():
            check_classes(ABC, data, "x.ckpt", force)
    check_classes(ClassSplit(ABC.names, ()), ABC, "x.ckpt")  # without novel classes it fits every split


def network(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return {name: t for name, t in state.items() if name.startswith("model.") or ".simnet." in name}


def test_training_starts_from_the_weights(trained: Path, train: Callable[..., Path], tmp_path: Path) -> None:
    """With a learning rate of zero the parameters at the end are those given, another seed notwithstanding."""
    still = ("trainer.max_steps=1", "optim.lr=0.0", "optim.weight_decay=0.0", "seed=5")
    given = network(trained)
    started = network(train(tmp_path / "run", *still, f"weights={trained}/checkpoints/last.ckpt", "split=2"))
    assert all(torch.equal(started[n], given[n]) for n in given if "running" not in n and "num_batches" not in n)


def test_weights_of_another_model_are_refused(
    trained: Path, refusal: Callable[..., str], small: tuple[str, ...], few_scenes: tuple[str, ...], tmp_path: Path
) -> None:
    path = f"{trained}/checkpoints/last.ckpt"
    settings = (*small, *few_scenes, f"hydra.run.dir={tmp_path}/run", f"weights={path}")
    line = refusal(training.main, *settings, "model.num_layers=1")
    assert f"weights={path} does not fit this model" in line
    assert "model.query_decoder.layers.1." in line


def test_a_compiler_that_is_missing_does_not_keep_from_predicting(trained: Path, tmp_path: Path) -> None:
    last = trained / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    for part in ("model", "loss"):
        assert checkpoint["weakshot_seg"]["recipe"][part]["compile"] is None
        checkpoint["weakshot_seg"]["recipe"][part]["compile"] = "compiler_of_another_machine"
    compiled = tmp_path / "compiled.ckpt"
    torch.save(checkpoint, compiled)
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        ours, plain = (load_module(path).eval().model(images) for path in (compiled, last))
    torch.testing.assert_close(ours.mask_logits, plain.mask_logits)
