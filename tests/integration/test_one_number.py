"""Every number of one model is the same: validations of its training, ``evaluate``, and the files of ``predict``.

The photos have many sizes, the novel class has tags alone, and the ids in the masks are shifted.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.checkpoints.data_settings import data_of
from weakshot_seg.cli import card, evaluate, predict, train
from weakshot_seg.inference import tta
from weakshot_seg.inference.semantic import Inference, WholeImage
from weakshot_seg.inference.sliding import SlidingWindow
from weakshot_seg.prediction.segmenter import Segmenter

Command = Callable[..., None]
NAMES = ("sky", "grass", "chair", "cat")
OFFSET = 3
CPU = "trainer.accelerator=cpu"
SIZES = ("data.val_transform.short_edge=40", "data.train_transform.crop_size=32", "data.train_transform.short_edge=40")
VIEWS = (
    "inference=tta",
    "inference.scales=[0.8]",
    "inference@inference.inner=sliding",
    "inference.inner.window=32",
)


@pytest.fixture(scope="module")
def root(write_images: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    shifted = {"unlabelled": 0}
    for part, present in (
        ("training", [(0, 1), (0, 2), (1, 2), (0, 1, 2)]),
        ("validation", [(0, 1, 3), (1, 3), (2, 3), (0, 2), (0, 1), (1, 2, 3), (3, 0)]),
    ):
        ids = [[i + OFFSET for i in classes] for classes in present]
        write_images(root / "images" / part, root / "annotations" / part, ids, **shifted)
    (root / "classes.txt").write_text("\n".join(NAMES))
    (root / "tags.csv").write_text("image,classes\nphoto 0.jpg,cat\nphoto 3.jpg,cat\n")
    return root


@pytest.fixture(scope="module")
def run(command: Command, small: Sequence[str], root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training whose validations see windows of mirrored and scaled photos; until several classes are predicted."""
    folder = tmp_path_factory.mktemp("run")
    steps = ("trainer.max_steps=20", "trainer.val_check_interval=20", "trainer.precision=bf16-mixed", "optim.lr=0.003")
    data = (f"data.root={root}", f"data.label_offset={OFFSET}", "data.val_batch_size=2")
    command(
        train.main, "experiment=folder", *small, *steps, *data, *SIZES, *VIEWS, f"hydra.run.dir={folder}", folder=folder
    )
    return folder


@pytest.fixture
def measure(command: Command, run: Path, tmp_path: Path) -> Callable[..., np.ndarray]:
    """``weakshot evaluate``; returns the confusion matrix."""

    def measured(*settings: str) -> np.ndarray:
        out = tmp_path / f"measured {len(list(tmp_path.iterdir()))}"
        ckpt = run / "checkpoints" / "last.ckpt"
        command(evaluate.main, f"ckpt={ckpt}", CPU, *settings, f"hydra.run.dir={out}", folder=tmp_path)
        return confusion(out)

    return measured


@pytest.fixture
def written(command: Command, run: Path, root: Path, tmp_path: Path) -> Callable[..., np.ndarray]:
    """``weakshot predict``; returns the confusion matrix of its files, counted here."""

    def counted(*settings: str) -> np.ndarray:
        out = tmp_path / f"written {len(list(tmp_path.iterdir()))}"
        arguments = (f"ckpt={run}/checkpoints/last.ckpt", f"source={root}/images/validation", "device=cpu")
        command(predict.main, *arguments, f"out={out}", "overlay_size=0", *settings, folder=tmp_path)
        count = np.zeros((len(NAMES), len(NAMES)), np.int64)
        for file in (root / "annotations" / "validation").iterdir():
            true, found = (np.asarray(Image.open(path)).astype(int) for path in (file, out / "labels" / file.name))
            np.add.at(count, (true[true >= OFFSET] - OFFSET, found[true >= OFFSET]), 1)
        return count

    return counted


def confusion(folder: Path) -> np.ndarray:
    return np.loadtxt(folder / "confusion.csv", np.int64, delimiter=",")


def test_training_evaluation_and_files(
    run: Path,
    root: Path,
    measure: Callable[..., np.ndarray],
    written: Callable[..., np.ndarray],
    metrics_of: Callable[[Path], dict[str, Any]],
    tmp_path: Path,
) -> None:
    trained = confusion(run)
    assert np.count_nonzero(trained.sum(0)) > 1  # several classes are predicted
    assert np.array_equal(trained, written())
    assert np.array_equal(trained, measure())
    assert metrics_of(tmp_path / "measured 1") == metrics_of(run)
    assert np.array_equal(trained, measure("data=folder", f"data.root={root}"))  # the defaults of conf play no part
    assert np.array_equal(trained, measure("data.val_batch_size=8", "trainer.precision=bf16-mixed"))


@pytest.mark.parametrize(
    "inference",
    [WholeImage(), SlidingWindow(32, batch_size=3), tta.TestTimeAugmentation(SlidingWindow(32), [0.7, 1.3])],
)
def test_label_maps_are_those_of_single_photos(inference: Inference, run: Path, root: Path) -> None:
    """Bit by bit, for batches of any size, in validation and in pseudo-labelling."""
    ckpt = run / "checkpoints" / "last.ckpt"
    module = load_module(ckpt)
    segmenter = Segmenter(module, "cpu", inference)
    module.inference = inference
    data, _ = data_of(module, ckpt, None, {})
    data.setup("fit")
    every = np.ones((len(data.train_dataset), len(NAMES)), bool)
    with torch.inference_mode():
        for part, load in (
            ("validation", data.val_dataloader),
            ("training", lambda: data.whole_images(range(len(every)), every)),
        ):
            alone = {file.stem: segmenter.predict(file).labels for file in (root / "images" / part).iterdir()}
            assert len({labels.shape for labels in alone.values()}) > 2
            assert len({index for labels in alone.values() for index in np.unique(labels)}) > 1
            for size in (1, 3, 8):
                data._val_batch_size = size
                samples = {
                    s.name: labels
                    for batch in load()
                    for s, labels in zip(batch, module.predict_step(batch), strict=True)
                }
                assert samples.keys() == alone.keys()
                assert all(np.array_equal(labels, alone[name]) for name, labels in samples.items())


def test_what_is_named_wins(
    run: Path, root: Path, measure: Callable[..., np.ndarray], refusal: Callable[..., str], tmp_path: Path
) -> None:
    trained, moved = confusion(run), tmp_path / "moved"
    moved.symlink_to(root)
    assert np.array_equal(trained, measure(f"data.root={moved}"))
    larger = measure("data.val_transform.short_edge=64")
    assert not np.array_equal(trained, larger)
    assert np.array_equal(larger, measure("data=folder", f"data.root={moved}", "data.val_transform.short_edge=64"))
    for settings, problem in (
        (["data.novel_classes=[sky]"], "novel classes cat, but those of the data are sky"),
        (["data.label_offset=0"], "mask"),
        (["data.roots=x"], "did you mean root?"),
        ([f"data.root={moved}/gone"], "gone does not exist: set data.root"),
    ):
        assert problem in refusal(evaluate.main, f"ckpt={run}/checkpoints/last.ckpt", CPU, *settings)


def test_a_model_folder_keeps_what_decides(run: Path, root: Path, command: Command, tmp_path: Path) -> None:
    command(card.main, f"ckpt={run}/checkpoints/last.ckpt", f"out={tmp_path}/model", folder=tmp_path)
    settings = (f"ckpt={tmp_path}/model", CPU, "data=folder", f"data.root={root}", f"hydra.run.dir={tmp_path}/out")
    command(evaluate.main, *settings, folder=tmp_path)
    assert np.array_equal(confusion(tmp_path / "out"), confusion(run))
