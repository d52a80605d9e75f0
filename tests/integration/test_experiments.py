"""Every experiment runs from the first step to the last picture, on tiny data in the layout it asks for."""

import math

import numpy as np
import pytest
import torch
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from composing import compose_all, compose_own
from official_layouts import LAYOUTS
from run_rows import training_rows
from weakshot_seg.cli import report, train
from weakshot_seg.config.compose import conf_dir
from weakshot_seg.data.splits import make_split, published_class_names
from weakshot_seg.data.synthetic.scenes import SyntheticScenes
from weakshot_seg.structures import IGNORE

EXPERIMENTS = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))
WORDS = ("sky", "grass", "cat", "dog", "chair")
FOLDERS = ("images/training", "annotations/training", "images/validation", "annotations/validation")
SMALL_CROPS = (
    *(f"data.train_transform.{setting}" for setting in ("crop_size=32", "short_edge=40", "max_size=80")),
    *("data.val_transform.short_edge=40", "data.val_transform.max_size=80", "data.val_batch_size=2"),
)


def check_run(folder, metrics, novel, split=1, pictures=1):
    """A finished run of four steps leaves all it promises."""
    assert (metrics["step"], metrics["split"], metrics["supervision"]) == (4, split, "weakshot")
    assert metrics["novel_classes"] == list(novel)
    assert [c["name"] for c in metrics["classes"] if c["novel"]] == list(novel)
    assert all(math.isfinite(metrics[name]) for name in ("novel_iou", "base_iou", "miou"))
    panels = sorted((folder / "pictures").iterdir())
    assert len(panels) == pictures
    assert all(Image.open(panel).size > (64, 32) for panel in panels)
    losses = [float(row["train/loss"]) for row in training_rows(folder)]
    assert len(losses) == 4
    assert all(map(math.isfinite, losses))
    for name in ("last", "best"):
        checkpoint = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert checkpoint["weakshot_seg"]["recipe"]["split"] == split
        assert all(weights.isfinite().all() for weights in checkpoint["state_dict"].values())


def test_all_experiments_are_run():
    assert EXPERIMENTS == ["ablation", "ade20k", "coco", "folder", "voc"]


def test_default(trained, metrics_of):
    check_run(trained, metrics_of(trained), make_split(SyntheticScenes.class_names, 1).novel_names)


def test_folder(command, small, write_images, metrics_of, tmp_path):
    root = tmp_path / "my photos"
    write_images(root / FOLDERS[0], root / FOLDERS[1], [(0, 2), (1, 3), (0, 3, 4), (2, 1), (4, 0)])
    write_images(root / FOLDERS[2], root / FOLDERS[3], [(0, 1, 2), (3, 4)])
    (root / "classes.txt").write_text("\n".join(WORDS))
    settings = (*small, *SMALL_CROPS, f"data.root='{root}'", "data.novel_classes=[cat,dog]")
    command(train.main, "experiment=folder", *settings, folder=tmp_path)
    folder = tmp_path / "outputs" / "folder" / "split1"
    check_run(folder, metrics_of(folder), ("cat", "dog"))
    assert all(math.isfinite(float(row["train/presence/cross_entropy"])) for row in training_rows(folder))


def test_the_presence_head_is_for_photos_of_ones_own():
    for experiment in EXPERIMENTS:
        needed = [] if experiment == "ablation" else ["data.root=DIR"]
        for choice, used in ((None, experiment == "folder"), ("none", False), ("head", True)):
            chosen = [f"loss/presence={choice}"] if choice else []
            settings = compose_own("train", f"experiment={experiment}", *needed, *chosen)
            assert (settings.model.presence_gamma == 0.5) == used
            assert ("presence" in settings.loss.terms) == used


@pytest.mark.parametrize(
    ("experiment", "layout", "overrides"),
    [
        ("coco", "COCO-Stuff v1.1", ("data.batch_size=2", "trainer.accumulate_grad_batches=2")),
        ("ade20k", "ADE20K", ("data.label_scope=crop",)),
        ("voc", "VOC", ()),
    ],
)
def test_published(experiment, layout, overrides, command, small, metrics_of, tmp_path):
    published, write = LAYOUTS[layout]
    split = make_split(published_class_names(published), 3, published=published)
    ids = [*split.base[-4:], *split.novel[-4:], IGNORE]
    rng = np.random.default_rng(0)
    blocks = rng.choice(ids, (9, 5, 7)).astype(np.uint8)
    maps = [block.repeat(9 + i % 3, 0).repeat(11 - i % 2, 1) for i, block in enumerate(blocks)]
    write(tmp_path / "data", {"train": maps[:6], "val": maps[6:]})
    settings = (*small, *SMALL_CROPS, *overrides, "split=3", "callbacks.panels.num_images=2")
    command(train.main, f"experiment={experiment}", *settings, f"data.root={tmp_path}/data", folder=tmp_path)
    folder = tmp_path / "outputs" / experiment / "split3"
    check_run(folder, metrics_of(folder), split.novel_names, split=3, pictures=2)


def sweep(*arguments):
    """The jobs of ``-m experiment=ablation``."""
    sweeper = compose_all("train", "experiment=ablation").hydra.sweeper
    params = [f"{name}={values}" for name, values in sweeper.params.items()]
    parsed = OverridesParser.create().parse_overrides([*params, *arguments])
    (batch,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return [dict(override.split("=", 1) for override in job) for job in batch]


def test_ablation_has_all_variants_on_all_splits():
    variants = sorted(path.stem for path in (conf_dir() / "variant").glob("*.yaml"))
    jobs = sorted((job["variant"], job["split"]) for job in sweep())
    assert jobs == sorted((variant, split) for variant in variants for split in "1234")
    assert [job["variant"] for job in sweep("split=2", "variant=all,neither")] == ["all", "neither"]


TERMS = {"classification", "mask", "absence", "complement", "similarity"}
VARIANTS = {  # terms, supervision, re-training
    "base_only": (TERMS, "base_only", False),
    "neither": (TERMS - {"complement", "similarity"}, "weakshot", False),
    "with_complement": (TERMS - {"similarity"}, "weakshot", False),
    "with_similarity": (TERMS - {"complement"}, "weakshot", False),
    "all": (TERMS, "weakshot", True),
    "fully_supervised": (TERMS, "full", False),
}


def test_ablation(command, small, few_scenes, metrics_of, tmp_path):
    """Every variant trains what it says, in a folder of its own, and the report has a row of it."""
    one_step = ("trainer.max_steps=1", "~callbacks.panels", "~callbacks.ranked", "split=2")
    command(train.main, "-m", "experiment=ablation", *small, *few_scenes, *one_step, folder=tmp_path)
    root = tmp_path / "outputs" / "ablation" / "synthetic"
    assert {path.name for path in root.iterdir()} == set(VARIANTS)
    for variant, (terms, supervision, retrained) in VARIANTS.items():
        folder = root / variant / "split2"
        metrics = metrics_of(folder)
        assert (metrics["supervision"], metrics["stage"], metrics["split"]) == (supervision, "first", 2)
        (row,) = training_rows(folder)
        names = {name.split("/")[1] for name in row if name.count("/") == 2} - {"pairs"}
        assert names == terms, variant
        assert (folder / "retrain" / "metrics.json").exists() == retrained
    report.report([root], tmp_path / "report", pictures=0)
    lines = (tmp_path / "report.md").read_text().splitlines()
    titles = [line.split(" | ")[0] for line in lines if line.startswith("| ablation/synthetic/")]
    names = [title.removeprefix("| ablation/synthetic/").replace("\\", "") for title in titles]
    assert names[:7] == [*[*VARIANTS][:5], "all, re-trained", "fully_supervised"]
    for part, count in {"complement": 2, "similarity": 2, "image-level labels": 1, "re-training": 1}.items():
        assert sum(f"| {part} |" in line for line in lines) == count, part


def test_ablation_of_another_experiment(command, tmp_path, capsys):
    settings = ("experiment=[folder,ablation]", "data.root=x", "variant=neither")
    command(train.main, *settings, "--cfg", "job", folder=tmp_path)
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"]["backbone"]["name"] == "tf_efficientnet_lite0"
    assert config["loss"]["without"] == ["complement", "similarity"]
    assert config["name"].startswith("ablation/")
