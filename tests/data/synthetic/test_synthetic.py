"""The embedded scenes: repeatable, labelled as drawn, balanced, and no class given away by its colour."""

import pickle

import numpy as np
import pytest
from torch.utils.data import DataLoader

from weakshot_seg.data.synthetic.scenes import STUFF, THINGS, SyntheticScenes, _draw_item, _Item
from weakshot_seg.structures import IGNORE

SIZE = 64
K = 16


@pytest.fixture(scope="module")
def training():
    return SyntheticScenes("training", 300, SIZE)


@pytest.fixture(scope="module")
def validation():
    return SyntheticScenes("validation", 100, SIZE)


def stacked(scenes):
    images, labels = zip(*(scenes.load(i) for i in range(len(scenes))), strict=True)
    return np.stack(images), np.stack(labels)


def test_the_scenes_of_every_version_are_the_same(training):
    """The documented numbers belong to these pictures; summed, since the last bit of a sine differs by processor."""
    sums = [int(part.astype(np.int64).sum()) for part in stacked(training)]
    assert sums == pytest.approx([409_725_983, 8_117_500], rel=1e-4)


def test_scenes_depend_on_seed_part_and_index_only(training, validation):
    few, other = SyntheticScenes("training", 3, SIZE), SyntheticScenes("training", 3, SIZE, seed=1)
    for i in range(3):
        assert all(np.array_equal(a, b) for a, b in zip(few.load(i), training.load(i), strict=True))
        assert (few.load(i)[0] != other.load(i)[0]).any()
    everything = [scenes.load(i)[0].tobytes() for scenes in (training, validation) for i in range(len(scenes))]
    assert len(set(everything)) == len(training) + len(validation), "no scene comes twice"


def test_scenes_are_the_same_wherever_they_are_drawn(training):
    """In forked workers, which share what they draw, in a spawned one, which gets a copy, and here."""
    expected = [training.load(i) for i in range(6)]
    scenes = SyntheticScenes("training", 6, SIZE)
    loader = DataLoader(AsDataset(scenes), num_workers=2, batch_size=None, multiprocessing_context="fork")
    for drawn in (list(loader), [scenes.load(i) for i in range(6)]):
        assert all(
            np.array_equal(a, b) for pair in zip(drawn, expected, strict=True) for a, b in zip(*pair, strict=True)
        )
    copied = pickle.loads(pickle.dumps(SyntheticScenes("training", 6, SIZE)))
    assert all(np.array_equal(a, b) for a, b in zip(copied.load(5), expected[5], strict=True))


class AsDataset:
    """The scenes as a data set of PyTorch."""

    def __init__(self, scenes):
        self._scenes = scenes

    def __len__(self):
        return len(self._scenes)

    def __getitem__(self, index):
        return self._scenes.load(index)


def test_classes_come_often_and_are_visible(training):
    _, labels = stacked(training)
    pixels = np.stack([(labels == k).sum((1, 2)) for k in range(K)], axis=1)
    assert np.array_equal(training.presence(), pixels > 0)
    rates = (pixels > 0).mean(0)
    assert (rates[: len(STUFF)] >= 0.3).all()
    assert (rates[len(STUFF) :] >= 0.1).all()
    assert pixels[pixels > 0].min() >= 0.005 * SIZE**2
    assert (pixels[:, len(STUFF) :] > 0).any(1).all(), "every scene has a thing"
    assert 0.35 < (labels == IGNORE).any((1, 2)).mean() < 0.65
    assert set(np.unique(labels)) == {*range(K), IGNORE}


@pytest.mark.parametrize("name", THINGS)
def test_a_thing_lies_where_it_is_labelled(name):
    label = SyntheticScenes.class_names.index(name)
    image, labels = np.full((3, SIZE, SIZE), 2.0, np.float32), np.zeros((SIZE, SIZE), np.uint8)
    _draw_item(np.random.default_rng(0), _Item(label, THINGS[name], (0.4, 0.6), 0.25), labels)(image)
    hit = labels == label
    assert 0.05 < hit.mean() < 0.25
    # its colours are at most 1, the canvas is 2 and 1.3 in the shadow, so that paint and label can be compared
    painted = image.max(0) <= 1.001
    near = np.stack([np.roll(hit, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)])
    assert painted[near.all(0)].all()
    assert near.any(0)[painted].all(), "no paint beyond the soft edge"
    rows, columns = np.nonzero(hit)
    assert abs(rows.mean() / SIZE - 0.6) < 0.12
    assert abs(columns.mean() / SIZE - 0.4) < 0.12


def mean_iou(truth, guess):
    confusion = np.bincount(truth.astype(int) * K + guess, minlength=K * K).reshape(K, K)
    hits = np.diag(confusion)
    return 100 * (hits / (confusion.sum(0) + confusion.sum(1) - hits)).mean()


@pytest.mark.parametrize("balanced", [False, True])
def test_colour_alone_does_not_solve_it(training, validation, balanced):
    """The Bayes classifier of a pixel's colour (16 x 16 x 16 bins) stays far below any network."""

    def known(scenes):
        images, labels = stacked(scenes)
        red, green, blue = np.moveaxis(images[labels != IGNORE].astype(int) // 16, -1, 0)
        return (red * 16 + green) * 16 + blue, labels[labels != IGNORE]

    colours, labels = known(training)
    counts = np.bincount(colours * K + labels, minlength=16**3 * K).reshape(-1, K).astype(float)
    if balanced:
        counts /= counts.sum(0)
    unseen_colours, truth = known(validation)
    assert mean_iou(truth, counts.argmax(1)[unseen_colours]) < 20
    assert mean_iou(truth, truth.astype(int)) == 100, "all classes are there, so the mean is over 16"
