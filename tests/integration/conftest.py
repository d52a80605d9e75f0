"""Short runs of the real commands, in this process: an import takes longer than such a run."""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.cli import train as training
from weakshot_seg.data.splits import make_split
from weakshot_seg.data.synthetic.scenes import SyntheticScenes

Command = Callable[..., None]

SMALL_MODEL = (
    "model.backbone.name=test_resnet",  # timm's own toy
    "model.backbone.pretrained=false",
    "model.dim=32",
    "model.pixel_dim=64",
    "model.embedding_dim=16",
    "model.num_layers=2",
    "model.num_heads=4",
    "model.ffn_dim=32",
    "loss.terms.similarity.num_points=16",
    "loss.terms.similarity.simnet.hidden_dim=16",
)
SHORT_RUN = (
    "data.num_workers=0",
    "data.batch_size=4",
    "optim.warmup_steps=0",
    "trainer.accelerator=cpu",
    "trainer.max_steps=4",
    "trainer.val_check_interval=2",
    "trainer.log_every_n_steps=1",
    "callbacks.panels.num_images=1",
    "callbacks.ranked.num_images=1",
    "page=false",
)
FEW_SCENES = (
    "data.train.num_images=16",
    "data.val.num_images=4",
    "data.train.size=32",
    "data.train_transform.crop_size=32",
)


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Overrides that make any experiment a matter of seconds."""
    return SMALL_MODEL + SHORT_RUN


@pytest.fixture(scope="session")
def few_scenes() -> tuple[str, ...]:
    """Overrides for a few tiny scenes."""
    return FEW_SCENES


@pytest.fixture(scope="session")
def command() -> Command:
    """Calls an entry point as the shell would: ``command(main, "split=2", folder=working_directory)``."""

    def call(main: Callable[[], object], *arguments: str, folder: Path) -> None:
        loggers = {logger: logger.handlers[:] for logger in (logging.getLogger(), logging.getLogger("wandb"))}
        level = logging.getLogger().level
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(sys, "argv", ["weakshot_seg", *arguments])
            try:
                main()
            finally:  # Hydra takes over the root logger, and W&B's goes on writing to the folder of the run
                for logger, handlers in loggers.items():
                    for handler in set(logger.handlers) - set(handlers):
                        handler.close()
                    logger.handlers[:] = handlers
                logging.getLogger().setLevel(level)

    return call


@pytest.fixture(scope="session")
def train(command: Command) -> Callable[..., Path]:
    """Trains on a few scenes in ``folder``; returns the folder of the results."""

    def run(folder: Path, *overrides: str) -> Path:
        arguments = (*SMALL_MODEL, *SHORT_RUN, *FEW_SCENES, *overrides, f"hydra.run.dir={folder}")
        folder.mkdir(parents=True, exist_ok=True)
        command(training.main, *arguments, folder=folder)
        return folder

    return run


@pytest.fixture(scope="session")
def trained(train: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A finished run on a few scenes, for all tests that need a checkpoint; only to be read."""
    if worker_id == "master":
        return train(tmp_path_factory.mktemp("trained"), "page=true")
    folder = tmp_path_factory.getbasetemp().parent / "trained"  # the first process of pytest-xdist trains for all
    with FileLock(f"{folder}.lock"):
        return folder if (folder / "status.json").exists() else train(folder, "page=true")


@pytest.fixture(scope="session")
def eager(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a short run, changed so that it predicts all novel classes: a few steps alone predict none."""
    path = trained / "checkpoints" / "last.ckpt"
    scenes = SyntheticScenes("training", 16, size=32)
    images = torch.stack([torch.from_numpy(scenes.load(i)[0]).permute(2, 0, 1) for i in range(16)])
    with torch.no_grad():
        output = load_module(path).model(images, last_only=True)
    checkpoint, novel = torch.load(path, weights_only=True), list(make_split(scenes.class_names, 1).novel)
    state = checkpoint["state_dict"]
    state["model.pixel_decoder.embed.bias"] -= output.pixel_embeddings.mean((0, 2, 3))  # no proposal has all pixels
    state["model.head.mask_embed.2.weight"] *= 30
    state["model.head.classify.bias"][novel] += 5 - output.class_logits[0, ..., novel].mean((0, 1))
    path = tmp_path_factory.mktemp("eager") / "eager.ckpt"
    torch.save(checkpoint, path)
    return path


@pytest.fixture
def refusal(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> Callable[..., str]:
    """Calls an entry point that must end with exit code 2 and one line on stderr; returns that line."""

    def call(main: Callable[[], object], *arguments: str) -> str:
        with pytest.raises(SystemExit) as caught:
            command(main, *arguments, folder=tmp_path)
        lines = [line for line in capsys.readouterr().err.splitlines() if line and "%|" not in line]  # no progress bars
        assert caught.value.code == 2, lines
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        return lines[0]

    return call


@pytest.fixture(scope="session")
def metrics_of() -> Callable[[Path], dict[str, Any]]:
    """The contents of a run's ``metrics.json`` but for the time it took."""

    def read(folder: Path) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
        assert content.pop("seconds") >= 0
        return content

    return read


@pytest.fixture(scope="session")
def write_images() -> Callable[..., None]:
    """Writes photos of different sizes and their masks: 3 x 3 blocks, each coloured by its id."""

    def write(
        images: Path, masks: Path, present: Sequence[Sequence[int]], unlabelled: int = 255, smallest: int = 48
    ) -> None:
        rng = np.random.default_rng(len(present))
        colours = np.random.default_rng(0).integers(30, 226, (256, 3))
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for number, ids in enumerate(present):
            height, width = smallest + 7 * (number % 3), smallest + 11 * (number % 4)
            blocks = np.resize(np.array([*ids, unlabelled], np.uint8), 9).reshape(3, 3)
            mask = np.asarray(Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST))
            photo = colours[mask] + rng.integers(-20, 20, (height, width, 3))
            Image.fromarray(photo.astype(np.uint8)).save(images / f"photo {number}.jpg")
            indexed = Image.fromarray(mask)
            indexed.putpalette(colours.astype(np.uint8).tobytes())
            indexed.save(masks / f"photo {number}.png")

    return write


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Permutes the ids among the pixels of some classes in every training image; the label sets stay.

    Returns a list that gets the number of changed pixels of every image loaded.
    """

    def apply(classes: tuple[int, ...]) -> list[int]:
        load, changed = SyntheticScenes.load, []

        def poisoned(scenes: SyntheticScenes, index: int) -> tuple[np.ndarray, np.ndarray]:
            image, labels = load(scenes, index)
            if scenes.part == "training":
                where, before = np.isin(labels, classes), labels.copy()
                labels[where] = np.random.default_rng(index).permutation(before[where])
                changed.append(int((labels != before).sum()))
            return image, labels

        monkeypatch.setattr(SyntheticScenes, "load", poisoned)
        return changed

    return apply


@pytest.fixture
def tagged_photos(write_images: Callable[..., None], tmp_path: Path) -> Path:
    """Photos whose novel classes (cat, dog) have tags and no masks: with both, with masks alone, with tags alone."""
    root = tmp_path / "tagged"
    masks = root / "annotations" / "training"
    write_images(root / "images" / "training", masks, [(1, 2), (1, 9), (2, 9), (1, 2), (1,), (2,)])
    for number in (4, 5):
        (masks / f"photo {number}.png").unlink()
    lines = [
        "image,classes",
        "photo 0.jpg,cat",
        "photo 1.jpg, cat; dog",
        "photo 3,",
        "photo 4.jpg,cat",
        "photo 5,dog;sky",
    ]
    (root / "tags.csv").write_text("\n".join(lines))
    names = {1: "sky", 2: "grass", 5: "cat", 7: "dog", 9: "chair"}
    (root / "classes.json").write_text(
        json.dumps({"info": {}, "categories": [{"id": i, "name": name} for i, name in names.items()]})
    )
    return root


@pytest.fixture
def train_tagged(command: Command, tagged_photos: Path, tmp_path: Path) -> Callable[..., Path]:
    """Trains on the tagged photos for three steps; returns the folder of the results."""

    def run(*overrides: str) -> Path:
        crops = ("crop_size=32", "short_edge=40")
        arguments = (
            "experiment=folder",
            *SMALL_MODEL,
            *SHORT_RUN,
            *(f"data.train_transform.{setting}" for setting in crops),
            "data.val_transform.short_edge=40",
            "trainer.max_steps=3",
            f"data.root={tagged_photos}",
        )
        command(training.main, *arguments, *overrides, folder=tmp_path)
        return tmp_path / "outputs" / "folder" / "split1"

    return run
