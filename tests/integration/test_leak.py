"""The leak rule from end to end: training does not notice when the pixels of novel classes change places."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from run_rows import training_rows
from weakshot_seg.data.splits import make_split
from weakshot_seg.data.synthetic.scenes import SyntheticScenes

Train = Callable[..., Path]
SPLIT = make_split(SyntheticScenes.class_names, 1)
THREE_STEPS = ("trainer.max_steps=3", "trainer.val_check_interval=3", "data.train_transform.scale=[0.5,2.0]")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


@pytest.fixture(scope="module")
def clean(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("clean"), *THREE_STEPS)


@pytest.mark.parametrize(("classes", "seen"), [(SPLIT.novel, False), (SPLIT.base, True)])
def test_only_base_pixels_are_seen(
    classes: tuple[int, ...], seen: bool, clean: Path, train: Train, poison: Callable[..., list[int]], tmp_path: Path
) -> None:
    changed = poison(classes)
    folder = train(tmp_path, *THREE_STEPS)
    assert sum(changed) > 100
    assert len(training_rows(folder)) == 3
    assert (training_rows(folder)[0] != training_rows(clean)[0]) == seen
    if not seen:
        assert training_rows(folder) == training_rows(clean)
        ours, theirs = weights(folder), weights(clean)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


PARTLY = (
    "image,classes,absent,annotated\nphoto 0,cat;chair,,\nphoto 1,cat,grass,chair\nphoto 4,cat,*,\nphoto 5,dog;sky,,\n"
)


@pytest.mark.parametrize("partly", [False, True])
def test_novel_pixels_are_never_seen_beside_tags(
    partly: bool, train_tagged: Callable[..., Path], tagged_photos: Path, tmp_path: Path
) -> None:
    """Masks that do show cat (5) and dog (7), tags of them, and images with tags alone: then 5 and 7 change places.

    So do sky (1), cat and dog in the mask of a photo that declares to annotate chairs alone.
    """
    if partly:
        (tagged_photos / "tags.csv").write_text(PARTLY)
    masks = [tagged_photos / "annotations" / "training" / f"photo {number}.png" for number in range(4)]
    states = []
    for part in ("clean", "poisoned"):
        for file in masks:
            mask = np.asarray(Image.open(file)).copy()
            if part == "clean":
                mask[:4], mask[-4:] = 5, 7
            else:
                novel = np.isin(mask, (5, 7))
                assert novel.any()
                mask[novel] = 5 + 7 - mask[novel]
                if partly and file.stem == "photo 1":
                    hidden = np.isin(mask, (1, 5, 7))
                    mask[hidden] = np.random.default_rng(0).permutation(mask[hidden])
            Image.fromarray(mask).save(file)
        train_tagged("data.novel_classes=[cat,dog]", f"hydra.run.dir={tmp_path / part}")
        states.append((training_rows(tmp_path / part), weights(tmp_path / part)))
    (clean_losses, clean), (poisoned_losses, poisoned) = states
    assert len(clean_losses) == 3
    assert clean_losses == poisoned_losses
    assert all(torch.equal(clean[name], poisoned[name]) for name in clean)
