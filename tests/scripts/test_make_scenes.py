"""The folder of generated scenes, as the library reads it."""

from pathlib import Path

import numpy as np
import pytest

from make_scenes import NOVEL, make_scenes
from weakshot_seg.data.readers.files import FolderImages
from weakshot_seg.data.synthetic.scenes import SyntheticScenes
from weakshot_seg.errors import DataError
from weakshot_seg.structures import Knowledge


def test_tags_stand_for_the_masks_of_novel_classes(tmp_path: Path) -> None:
    make_scenes(tmp_path / "scenes", 40, 2, 32)
    truth = SyntheticScenes("training", 40, 32).presence()
    novel = np.isin(SyntheticScenes.class_names, NOVEL)
    images = FolderImages(tmp_path / "scenes", "images/training", "annotations/training", tags="tags.csv")
    states = images.states(novel)
    assert ((states[:, novel] == Knowledge.PRESENT) == truth[:, novel]).all()
    drawn = np.array([np.isin(np.arange(len(novel)), images.load(index)[1]) for index in range(40)])
    assert not drawn[:, novel].any()
    masks = (states == Knowledge.MASK).any(1)
    tagged = truth[:, novel].any(1)
    assert masks[~tagged].all()
    assert 0 < masks[tagged].sum() < tagged.sum()
    assert (drawn[masks][:, ~novel] == truth[masks][:, ~novel]).all()
    whole = FolderImages(tmp_path / "scenes", "images/validation", "annotations/validation")
    assert (whole.presence() == SyntheticScenes("validation", 2, 32).presence()).all()
    with pytest.raises(DataError, match="is not empty"):
        make_scenes(tmp_path / "scenes", 1, 1, 32)
