"""Photos set aside for validation: of each class alike, never trained on, and the same in every later command."""

import json
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from array_images import ArrayImages
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.data.set_aside import FEWEST, SetAside, stratified_draw
from weakshot_seg.data.transforms import EvalTransform, TrainTransform
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE


@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 6)),
    density=st.floats(0.05, 0.9),
    share=st.floats(0.05, 0.6),
    seed=st.integers(0, 99),
)
def test_no_class_loses_its_last_image(shape, density, share, seed):
    shown = np.random.default_rng(seed).random(shape) < density
    drawn = stratified_draw(shown, share, seed)
    assert (shown[~drawn].any(0) == shown.any(0)).all()
    assert not drawn[~shown.any(1)].any()
    assert np.array_equal(drawn, stratified_draw(shown, share, seed))


def test_each_class_has_about_the_same_share():
    """Of classes without overlap exactly; where classes overlap, nearer than images drawn blindly."""
    counts = (50, 10, 5, 3, 1)
    apart = np.repeat(np.eye(5, dtype=bool), counts, axis=0)
    assert apart[stratified_draw(apart, 0.2, 0)].sum(0).tolist() == [10, 2, 1, 1, 0]
    rng = np.random.default_rng(0)
    shown = rng.random((200, 12)) < np.linspace(0.02, 0.5, 12)
    drawn = stratified_draw(shown, 0.2, 1)
    assert drawn.sum() == pytest.approx(40, abs=6)

    def error(chosen):
        return np.abs(shown[chosen].sum(0) - 0.2 * shown.sum(0)).sum()

    blind = [error(rng.permutation(200)[: drawn.sum()]) for _ in range(50)]
    assert error(drawn) < min(blind)
    assert not np.array_equal(drawn, stratified_draw(shown, 0.2, 2))


@pytest.fixture
def photos(make_folder):
    """A folder of twelve photos with masks, a row of the same class each, and two with tags alone."""
    from PIL import Image

    root = make_folder(("sky", "grass", "cat"))
    for part in ("images", "annotations"):
        for path in (root / part / "validation").iterdir():
            path.unlink()
        (root / part / "validation").rmdir()
    for number in range(14):
        pixels = np.full((24, 24, 3), 10 * number, np.uint8)
        Image.fromarray(pixels).save(root / f"images/training/photo{number}.jpg")
        (root / f"annotations/training/photo{number}.png").unlink(missing_ok=True)
        if number < 12:
            ids = np.zeros((24, 24), np.uint8)
            ids[:8] = 1 + number % 2
            Image.fromarray(ids).save(root / f"annotations/training/photo{number}.png")
    (root / "tags.csv").write_text("photo12,cat\nphoto13,cat\n")
    return root


def data_of(root, **settings):
    transforms = {"train_transform": TrainTransform(16), "val_transform": EvalTransform()}
    sizes = {"split": 1, "batch_size": 4, "num_workers": 0, "max_steps": 30, "novel_classes": ["cat"]}
    return WeakShotDataModule.from_folders(root, **transforms | sizes | {"val_fraction": 0.25} | settings)


def measured(data):
    return {sample.name for batch in data.val_dataloader() for sample in batch}


def trained(data):
    return {name for batch in data.train_dataloader() for name in batch.names}


def test_what_is_measured_never_trains(photos, caplog):
    data = data_of(photos)
    with caplog.at_level(logging.INFO):
        data.setup("fit")
    assert "3 of the 12 photos with masks are set aside" in caplog.text
    names = measured(data)
    assert len(names) == 3
    assert sorted(names) == sorted(data.set_aside.names)
    assert trained(data) == {f"photo{i}" for i in range(14)} - names
    for sample in (sample for batch in data.val_dataloader() for sample in batch):
        row = 1 + int(sample.name.removeprefix("photo")) % 2
        assert (sample.truth[:8] == row).all()  # all classes, novel ones too
    for other in ({"split": 3}, {"seed": 5}, {"novel_classes": ["grass"]}, {"supervision": "base_only"}):
        same = data_of(photos, **other)
        same.setup("fit")
        assert measured(same) == names
    moved = data_of(photos, val_seed=1)
    moved.setup("validate")
    assert measured(moved) != names


def test_named_photos_take_the_place_of_a_draw(photos, tmp_path, caplog):
    (tmp_path / "names.json").write_text(json.dumps(["photo1", "photo3", "gone"]))
    for chosen in (["photo1", "photo3", "gone"], str(tmp_path / "names.json")):
        data = data_of(photos, val_photos=chosen)
        data.setup("fit")
        assert measured(data) == {"photo1", "photo3"}
        assert not trained(data) & {"photo1", "photo3"}
        assert "1 of 3 validation photos are gone: gone" in caplog.text
    with pytest.raises(DataError, match=r"none of the 1 validation photos \(other\) is there"):
        data_of(photos, val_photos=["other"]).setup("validate")
    (tmp_path / "names.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match="cannot read the validation photos"):
        data_of(photos, val_photos=str(tmp_path / "names.json"))


@pytest.mark.parametrize("settings", [{"val_fraction": 0.0}, {"val_photos": []}])
def test_nothing_is_set_aside(photos, settings):
    data = data_of(photos, **settings)
    data.setup("fit")
    assert data.make_val is None
    assert len(trained(data)) == 14
    with pytest.raises(DataError, match="no validation images"):
        data_of(photos, **settings).setup("validate")


def test_a_validation_folder_is_used_instead(make_folder):
    data = data_of(make_folder())
    data.setup("fit")
    assert data.set_aside is None
    assert measured(data) == {"photo0"}
    assert len(data.train_dataset) == 3


def test_few_masks_are_all_trained_on():
    for count in (FEWEST - 1, FEWEST):
        maps = [np.full((4, 4), i % 2, np.uint8) for i in range(count)] + [np.full((4, 4), IGNORE, np.uint8)] * 9
        images = [np.zeros((4, 4, 3), np.uint8) for _ in maps]
        parts = SetAside(lambda maps=maps, images=images: ArrayImages(images, maps, 2), 0.2, 0)
        assert len(parts.validation()) == (2 if count == FEWEST else 0)
        assert len(parts.training()) == len(maps) - len(parts.validation())
