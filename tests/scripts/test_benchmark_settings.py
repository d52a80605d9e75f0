"""The folders of a benchmark's settings, as the library reads them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark_settings import make_setting
from weakshot_seg.data.readers.files import FolderImages
from weakshot_seg.errors import DataError
from weakshot_seg.structures import Knowledge

WITHOUT_NOVEL = 60
NAMES = ["background", "cat", "dog"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two photos of cats (one with a dog), and many of dogs; the cat is novel in split 3."""
    root = tmp_path / "root"
    shown = [[0, 1], [0, 1, 2], *[[0, 2]] * WITHOUT_NOVEL]
    for part, photos in {"training": shown, "validation": shown[:1]}.items():
        for number, ids in enumerate(photos):
            for kind, suffix in (("images", "jpg"), ("annotations", "png")):
                path = root / kind / part / "sub" / f"{number:02}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                mask = np.resize(np.array([*ids, 255], np.uint8), (8, 8))
                Image.fromarray(mask).save(path)
    (root / "classes.txt").write_text("\n".join(NAMES))
    (root / "splits.json").write_text(json.dumps({"3": [1]}))
    return root


def states(folder: Path, part: str = "training") -> np.ndarray:
    tags = "tags.csv" if part == "training" and (folder / "tags.csv").exists() else None
    images = FolderImages(folder, f"images/{part}", f"annotations/{part}", tags=tags)
    return images.states(np.array([False, True, False]))


def test_tags_take_the_place_of_masks_with_novel_classes(root: Path, tmp_path: Path) -> None:
    assert make_setting(root, tmp_path / "out", 3, "tags_only").novel_names == ("cat",)
    found = states(tmp_path / "out")
    tagged = [Knowledge.UNKNOWN, Knowledge.PRESENT, Knowledge.UNKNOWN]
    masked = [Knowledge.MASK, Knowledge.ABSENT, Knowledge.MASK]
    assert found.tolist() == [tagged] * 2 + [masked] * WITHOUT_NOVEL
    assert (states(tmp_path / "out", "validation") == states(root, "validation")).all()


def test_complete_is_the_same_data(root: Path, tmp_path: Path) -> None:
    make_setting(root, tmp_path / "out", 3, "complete")
    assert (states(tmp_path / "out") == states(root)).all()


def test_few_masks_are_some_of_those_of_tags_only(root: Path, tmp_path: Path) -> None:
    make_setting(root, tmp_path / "out", 3, "few_masks")
    make_setting(root, tmp_path / "again", 3, "few_masks")
    found = states(tmp_path / "out")
    assert (found == states(tmp_path / "again")).all()
    masked = (found == Knowledge.MASK).any(1)
    assert not masked[:2].any()
    assert 1 <= masked.sum() <= WITHOUT_NOVEL / 4  # 6 are expected
    assert (found[2:, 1] == Knowledge.ABSENT).all()


def test_photos_without_masks_and_full_folders_are_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not empty"):
        make_setting(root, root, 3, "complete")
    (root / "annotations" / "training" / "sub" / "01.png").unlink()
    with pytest.raises(DataError, match="has no mask"):
        make_setting(root, tmp_path / "out", 3, "tags_only")


def test_so_many_photos_of_a_kind(root: Path, tmp_path: Path) -> None:
    names = []
    for masks in (5, 20):
        make_setting(root, tmp_path / str(masks), 3, "tags_only", tags=1, masks=masks)
        found = states(tmp_path / str(masks))
        assert (found == Knowledge.PRESENT).any(1).sum() == 1
        assert (found == Knowledge.MASK).any(1).sum() == len(found) - 1 == masks
        names.append({path.name for path in (tmp_path / str(masks) / "images/training").rglob("*.*")})
    assert names[0] < names[1]
