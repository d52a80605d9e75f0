"""Pseudo-labels: the rule, the files, what is refused, what is measured, and that true novel masks play no part."""

import json
from dataclasses import astuple, replace

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sklearn.metrics import jaccard_score

from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.data.pseudo_labels import (
    KEY,
    Manifest,
    PseudoLabels,
    agreement_counts,
    candidate_classes,
    label_files,
    measure,
    pseudo_map,
)
from weakshot_seg.data.source import Selection
from weakshot_seg.data.transforms import EvalTransform, TrainTransform
from weakshot_seg.data.weak_labels import WeakShotDataset
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.structures import IGNORE, ClassSplit, Knowledge, SampleRequest

NOVEL = (2, 5)
CLASSES = 8


def split_of(source):
    return ClassSplit(source.class_names, NOVEL)


@pytest.fixture
def dataset(make_images):
    source = make_images()
    return WeakShotDataset(source, split_of(source), TrainTransform(32))


@pytest.fixture
def predictions(dataset):
    """Half right: the true map with noise in every other row."""
    rng = np.random.default_rng(5)
    maps = []
    for index in range(len(dataset)):
        truth = dataset.source.load(index)[1]
        noise = rng.integers(CLASSES, size=truth.shape).astype(np.uint8)
        maps.append(np.where((truth == IGNORE) | (np.arange(len(truth)) % 2 == 0)[:, None], noise, truth))
    return maps


@pytest.fixture
def folder(dataset, predictions, tmp_path):
    """Complete pseudo-labels, written without the code under test but for the manifest and the counts."""
    for index, predicted in enumerate(predictions):
        known = dataset.load(index)[1]
        labels = explicit_rule(predicted, known, dataset.known[index])
        file = tmp_path / "labels" / f"image {index}.png"
        file.parent.mkdir(exist_ok=True)
        text = PngInfo()
        is_novel = dataset.split.is_novel().numpy()
        text.add_text(KEY, json.dumps(agreement_counts(predicted, labels, known, dataset.known[index], is_novel)))
        Image.fromarray(labels).save(file, pnginfo=text)
    of_data = dataset.split.names, dataset.split.novel_names, len(dataset)
    Manifest("a.ckpt", "0" * 64, 10, 1, *of_data, {}, {}, complete=True).write(tmp_path)
    return tmp_path


def explicit_rule(predicted, known, labels):
    result = np.full_like(known, IGNORE)
    for y, x in np.ndindex(known.shape):
        if known[y, x] != IGNORE:
            result[y, x] = known[y, x]
        elif predicted[y, x] in NOVEL and labels[predicted[y, x]]:
            result[y, x] = predicted[y, x]
    return result


def test_the_rule(dataset, predictions):
    refused = 0
    for index, predicted in enumerate(predictions):
        known, labels = dataset.load(index)[1], dataset.known[index]
        found = pseudo_map(predicted, known, dataset.knowledge[index])
        assert found.dtype == np.uint8
        assert np.array_equal(found, explicit_rule(predicted, known, labels))
        refused += int(((known == IGNORE) & np.isin(predicted, NOVEL) & (found == IGNORE)).sum())
    assert refused > 50  # novel predictions that no label of the image backs


def test_without_masks_tags_of_base_classes_count_too():
    predicted = np.array([[0, 1, 2, 5]], np.uint8)
    states = np.where(np.isin(np.arange(CLASSES), [0, 2]), Knowledge.PRESENT, Knowledge.UNKNOWN)
    nothing = np.full_like(predicted, IGNORE)
    assert pseudo_map(predicted, nothing, states).tolist() == [[0, IGNORE, 2, IGNORE]]
    states[[0, 5]] = Knowledge.MASK
    masked = np.array([[IGNORE, IGNORE, IGNORE, 0]], np.uint8)
    assert pseudo_map(predicted, masked, states).tolist() == [[IGNORE, IGNORE, 2, 0]]


@pytest.mark.parametrize("kept", [None, (5, 3, 0)])
def test_candidates_follow_from_masks_and_tags(kept, make_images):
    """Also where some images have been left out."""
    source = make_images()
    source.maps = [*source.maps]
    source.labels, source.maps[3] = source.presence(), None  # all that is known of it are tags
    images = Selection(source, kept) if kept else source
    dataset = WeakShotDataset(images, split_of(source), TrainTransform(32))
    base = set(range(CLASSES)) - set(NOVEL)
    for kind in ("all", "image", "novel"):
        for index, row in zip(kept or range(len(source)), candidate_classes(dataset, kind), strict=True):
            present = set(np.flatnonzero(source.labels[index]).tolist())
            expected = {"all": base | set(NOVEL), "image": present, "novel": present & set(NOVEL) or present}[kind]
            expected |= base if index == 3 else set()  # its tags may be incomplete
            assert set(np.flatnonzero(row).tolist()) == expected, (kind, index)
    with pytest.raises(ConfigError, match="unknown candidates 'none': use one of all, image, novel"):
        candidate_classes(dataset, "none")


def test_retraining_is_fully_supervised_by_the_files(make_images, folder):
    nothing = make_images()
    nothing.maps[3][:] = np.where(nothing.maps[3] == NOVEL[0], NOVEL[0], IGNORE)  # no base pixel, one novel tag
    Image.fromarray(np.full_like(nothing.maps[3], IGNORE)).save(folder / "labels" / "image 3.png")
    nothing.maps[3][:12, :12] = NOVEL[0]
    settings = {"novel_classes": [nothing.class_names[c] for c in NOVEL], "pseudo_labels": folder, "num_workers": 0}
    data = WeakShotDataModule(lambda: nothing, make_images, TrainTransform(32), EvalTransform(), 1, **settings)
    data.setup("fit")
    assert data.class_split.novel == NOVEL  # for the evaluation
    assert data.train_dataset.split.novel == ()
    train = data.train_dataset
    assert len(train) == len(nothing) - 1  # nothing is known of one image
    for index in range(len(train)):
        labels = train.source.load(index)[1]
        with Image.open(folder / "labels" / f"{train.source.name(index)}.png") as file:
            assert np.array_equal(labels, np.array(file))
        assert np.flatnonzero(train.known[index]).tolist() == sorted(set(labels.ravel()) - {IGNORE})
        sample = train[SampleRequest(index, index)]
        assert (sample.states == Knowledge.MASK).all()
        assert set(sample.label_map.flatten().tolist()) <= set(labels.ravel().tolist()) | {IGNORE}
    assert train.known[:, list(NOVEL)].any(0).all()


def test_photos_without_masks_stay_open(make_images, folder):
    """Their labels are masks of what they show; tags without a pixel stay tags, all else as unknown as before."""
    source = make_images()
    source.labels = source.presence()
    tagged = {3: [2], 5: [5], 8: [2, 5]}
    shown = {3: {2}, 5: set(), 8: {5}}
    for index, tags in tagged.items():
        ids = np.full_like(source.maps[index], IGNORE)
        for class_id in shown[index]:
            ids[3:9, :20] = class_id
        Image.fromarray(ids).save(folder / "labels" / f"image {index}.png")
        source.maps[index], source.labels[index] = None, np.isin(np.arange(CLASSES), tags)
    source.declared = source.states(split_of(source).is_novel().numpy())
    source.declared[10, [0, 1]] = Knowledge.UNKNOWN  # nobody looked for these base classes, in spite of a mask
    ids = np.array(Image.open(folder / "labels" / "image 10.png"))
    Image.fromarray(np.where(np.isin(ids, [0, 1]), IGNORE, ids).astype(np.uint8)).save(folder / "labels/image 10.png")
    settings = {"novel_classes": [source.class_names[c] for c in NOVEL], "pseudo_labels": folder, "num_workers": 0}
    data = WeakShotDataModule(lambda: source, None, TrainTransform(32), EvalTransform(), 1, **settings)
    data.setup("fit")
    train, base = data.train_dataset, set(range(CLASSES)) - set(NOVEL)
    assert len(train) == len(source)
    for index in range(len(train)):
        states = train[SampleRequest(index, index)].states.numpy()
        if index in tagged:
            kinds = {c: Knowledge.UNKNOWN if c in base else Knowledge.ABSENT for c in range(CLASSES)}
            kinds |= dict.fromkeys(tagged[index], Knowledge.PRESENT) | dict.fromkeys(shown[index], Knowledge.MASK)
            assert states.tolist() == list(kinds.values()), index
            assert np.flatnonzero(train.known[index]).tolist() == tagged[index]
        elif index == 10:
            assert (states[:2] == Knowledge.UNKNOWN).all()
            assert (states[sorted(base - {0, 1})] == Knowledge.MASK).all()
        else:
            assert (states == Knowledge.MASK).all()
    batch = next(iter(data.train_dataloader()))
    novel_absent = batch.targets.absent[:, list(NOVEL)]
    assert not (batch.targets.absent & batch.targets.unknown).any()
    assert novel_absent.any()


def test_measuring(dataset, predictions, folder):
    """Quality as scikit-learn sees it, agreement by counting pixel by pixel."""
    files = label_files(folder, dataset)
    agreement, quality = measure(files, dataset)
    truth = np.concatenate([dataset.source.load(i)[1].ravel() for i in range(len(dataset))])
    labels = np.concatenate([np.array(Image.open(file)).ravel() for file in files])
    predicted = np.concatenate([p.ravel() for p in predictions])
    tags = [dataset.known[i] for i in range(len(dataset)) for _ in range(predictions[i].size)]
    counted = truth != IGNORE
    expected = 100 * jaccard_score(truth[counted], labels[counted], labels=list(NOVEL), average=None)
    assert list(quality.iou.values()) == pytest.approx(expected.tolist())
    assert quality.novel_iou == pytest.approx(expected.mean())
    assert tuple(quality.iou) == dataset.split.novel_names

    hits = base = novel = tagged = outside = labelled = 0
    for t, p, label, known in zip(truth, predicted, labels, tags, strict=True):
        if t != IGNORE and t not in NOVEL:
            base, hits = base + 1, hits + (p == t)
        else:
            outside, labelled = outside + 1, labelled + (label != IGNORE)
            novel, tagged = novel + (p in NOVEL), tagged + (p in NOVEL and known[p])
    pairs = [(i, c) for i in range(len(dataset)) for c in NOVEL if dataset.known[i, c]]
    found = sum(c in np.array(Image.open(files[i])) for i, c in pairs)
    shares = [hits / base, tagged / novel, found / len(pairs), labelled / outside]
    assert astuple(agreement) == pytest.approx([100 * share for share in shares])
    narrow = replace(agreement, base_accuracy=None, tag_precision=None)
    assert measure(files, dataset, free=False) == (narrow, quality)


def test_nothing_to_measure(dataset, folder):
    """Without true novel masks (tags alone) there is no quality, and no error."""
    for labels in dataset.source.maps:
        labels[np.isin(labels, NOVEL)] = IGNORE
    dataset.source.maps[3] = None
    dataset.source.load = lambda index: (dataset.source.images[index], dataset.source.maps[index])
    agreement, quality = measure(label_files(folder, dataset), dataset)
    assert quality.novel_iou is None
    assert agreement.labelled > 0


def test_what_is_refused(dataset, folder, make_images):
    manifest = Manifest.read(folder)
    for changed, problem in (
        ({"complete": False}, "unfinished"),
        ({"class_names": ("a", "b")}, r"other data \(class_names: a, b\)"),
        ({"novel_classes": ("class 1", "class 2"), "split": 3}, r"other data \(novel_classes: class 1, .*split=3"),
        ({"num_images": 11}, r"other data \(num_images: 11\) than this training \(12\)"),
    ):
        replace(manifest, **changed).write(folder)
        with pytest.raises(DataError, match=problem) as caught:
            PseudoLabels(dataset, folder)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)
    manifest.write(folder)
    PseudoLabels(dataset, folder)
    others = make_images(seed=1)
    with pytest.raises(DataError, match="other images: those of image 0"):
        PseudoLabels(WeakShotDataset(others, split_of(others), TrainTransform(32)), folder)
    file = folder / "labels" / "image 7.png"
    Image.open(file).save(file, pnginfo=None)  # drops the text
    with pytest.raises(DataError, match=r"cannot read the counts in .*image 7\.png .*remove it"):
        measure(label_files(folder, dataset), dataset)
    for spoil in (lambda: file.write_bytes(b"broken"), file.unlink):
        spoil()
        with pytest.raises(DataError, match=r"image 7\.png"):
            PseudoLabels(dataset, folder)
    dataset.source.name = lambda index: f"image {index // 2}"
    with pytest.raises(DataError, match="two training images are named image 0"):
        label_files(folder, dataset)


@pytest.mark.parametrize("text", [None, "{", "[]", json.dumps({"step": 1})])
def test_a_folder_without_a_manifest_of_ours(text, dataset, tmp_path):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"weakshot pseudo-label ckpt=\.\.\. out=") as caught:
        PseudoLabels(dataset, tmp_path)
    assert str(tmp_path) in str(caught.value)
