"""Predicts pseudo-labels for re-training: ``weakshot pseudo-label ckpt=FILE out=DIR``.

Settings: ``conf/pseudo_label.yaml``. An interrupted call goes on where it stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.callbacks import BasePredictionWriter

from weakshot_seg.checkpoints.loading import load_module, own_data, weights_digest
from weakshot_seg.checkpoints.same_classes import check_classes
from weakshot_seg.config.compose import conf_dir, entry_point, plain
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.data.pseudo_labels import Candidates, Manifest, label_files, pseudo_map
from weakshot_seg.data.pseudo_quality import Votes, measure
from weakshot_seg.data.weak_labels import WeakShotDataset
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import EvalBatch
from weakshot_seg.training.callbacks.progress import TrainingProgress
from weakshot_seg.training.trainer import make_trainer
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.visualize import label_png, palette

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="pseudo_label")
@entry_point
def main(cfg: DictConfig) -> float | None:
    """Labels all training images; prints and returns their novel IoU."""
    return make_pseudo_labels(
        cfg.ckpt, cfg.out, cfg.inference, cfg.trainer, cfg.candidates, cfg.get("data"), cfg.allow_targets, cfg.force
    )


def make_pseudo_labels(
    ckpt: str | Path,
    out: str | Path,
    inference: DictConfig,
    trainer: DictConfig,
    candidates: Candidates | None = None,
    data: DictConfig | None = None,
    allow_targets: Sequence[str] = (),
    force: bool = False,
) -> float | None:
    """Labels the training images of a checkpoint, those that have no file yet.

    Args:
        ckpt: of the first stage.
        out: folder, see :mod:`~weakshot_seg.data.pseudo_labels`.
        inference: makes an :class:`~weakshot_seg.inference.semantic.Inference`.
        trainer: makes a ``Trainer``.
        candidates: see :data:`~weakshot_seg.data.pseudo_labels.Candidates`; None: as the recipe of the checkpoint says.
        data: makes a :class:`WeakShotDataModule`; None: the checkpoint's own.
        allow_targets: see :func:`~weakshot_seg.checkpoints.loading.load_module`.
        force: see :func:`~weakshot_seg.checkpoints.same_classes.check_classes`.

    Returns:
        Novel IoU of the pseudo-labels in percent; None without true novel masks, and on all processes but the first.

    Raises:
        ConfigError: the checkpoint knows no image-level labels, has other classes than the data, or ``out`` holds
            pseudo-labels of something else.
    """
    out = Path(out).expanduser()
    module = load_module(ckpt, allow_targets)
    recipe = plain(data) if data else own_data(module, ckpt)
    if recipe.get("supervision") != "weakshot" or recipe.get("pseudo_labels") or not module.class_split.novel:
        raise ConfigError(
            f"ckpt={ckpt}: pseudo-labels come from a first stage with image-level labels, not from "
            f"supervision={recipe.get('supervision')} or stage=retrain"
        )
    candidates = candidates or module.recipe.candidates or "all"
    images: WeakShotDataModule = instantiate(recipe)
    images.setup("fit")
    dataset = images.train_dataset
    check_classes(module.class_split, dataset.split, ckpt, force)
    manifest = Manifest(
        checkpoint=str(ckpt),
        weights=weights_digest(module.model),
        step=module.trained_steps,
        split=module.recipe.split or 0,
        class_names=list(dataset.split.names),
        novel_classes=list(dataset.split.novel_names),
        num_images=len(dataset),
        inference=plain(inference),
        val_transform=recipe["val_transform"],
        candidates=candidates,
    )
    _check_resumable(manifest, out)
    files = label_files(out, dataset)
    module.inference = instantiate(inference)
    runner = make_trainer(
        trainer, logger=False, callbacks=[PseudoLabelWriter(files, dataset), TrainingProgress(refresh_rate=1)]
    )
    if runner.is_global_zero and not (out / "manifest.json").exists():
        manifest.write(out)
    missing = sum(not file.exists() for file in files)
    log.info("pseudo-labels: %d of %d images to predict, to %s", missing, len(files), out)
    if missing:
        share = _share(files, images.val_batch_size, runner.global_rank, runner.world_size)
        runner.predict(module, images.whole_images(share, candidates), return_predictions=False)
    runner.strategy.barrier()  # the first process measures the files of all
    iou = None
    if runner.is_global_zero:
        agreement, quality = measure(files, dataset)
        if candidates != "all":  # these judge predictions that were free to be wrong
            agreement |= {"base_accuracy": None, "tag_precision": None}
        replace(manifest, complete=True, agreement=agreement, quality=quality).write(out)
        iou = quality["novel_iou"]
        print(f"\n{_summary(agreement, iou)}\npseudo-labels: {out}\n")
    runner.strategy.barrier()
    return iou


class PseudoLabelWriter(BasePredictionWriter):
    """Writes the pseudo-labels of every predicted batch, each file whole or not at all.

    Args:
        files: PNG file of each training image.
        dataset: the training images.
    """

    def __init__(self, files: Sequence[Path], dataset: WeakShotDataset) -> None:
        super().__init__(write_interval="batch")
        self._index = {dataset.source.name(index): index for index in range(len(dataset))}
        self._files = files
        self._labels = dataset.known
        self._split = dataset.split
        self._colours = palette(dataset.split.num_classes)

    def write_on_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: Sequence[torch.Tensor],
        batch_indices: Any,
        batch: EvalBatch,
        *_: Any,
    ) -> None:
        """``batch.truths`` are the maps that training may see."""
        for name, predicted, known in zip(batch.names, prediction, batch.truths, strict=True):
            index = self._index[name]
            votes, hidden = predicted.cpu().numpy(), known.cpu().numpy()
            labels = pseudo_map(votes, hidden, self._labels[index], self._split.is_novel().numpy())
            text = Votes.count(votes, labels, hidden, self._split.novel).png_text()
            with replacing(self._files[index]) as temporary:
                label_png(labels, self._colours).save(temporary, "PNG", pnginfo=text)


def _check_resumable(manifest: Manifest, out: Path) -> None:
    if not (out / "manifest.json").exists():
        if any(out.glob("labels/**/*.png")):
            raise ConfigError(f"out={out} holds label maps without a manifest: give another folder or remove them")
        return
    before = Manifest.read(out)
    for field in ("weights", "class_names", "novel_classes", "num_images", "inference", "val_transform", "candidates"):
        if getattr(before, field) != getattr(manifest, field):
            raise ConfigError(
                f"out={out} holds pseudo-labels of another {field} (ckpt={before.checkpoint}, step {before.step}): "
                "give another folder or remove it"
            )


def _share(files: Sequence[Path], batch_size: int, rank: int, world_size: int) -> list[int]:
    """The images this process has still to predict, at least one batch: all processes must take part.

    Whole batches, always of the same images: padding depends on the neighbours in a batch, and labels should not depend
    on interruptions. What others write in the meantime changes nothing.
    """
    starts = range(0, len(files), batch_size)
    batches = [range(start, min(start + batch_size, len(files))) for start in starts]
    mine = batches[rank::world_size] or batches[:1]
    todo = [batch for batch in mine if not all(files[index].exists() for index in batch)]
    return [index for batch in todo or mine[:1] for index in batch]


def _summary(agreement: dict[str, Any], iou: float | None) -> str:
    rows = {"novel IoU on the training images (true masks, measured only)": iou} | {
        "base accuracy of the predictions": agreement["base_accuracy"],
        "novel predictions among the image's labels": agreement["tag_precision"],
        "image-level labels with pixels": agreement["tags_found"],
        "pixels outside the base masks with a label": agreement["labelled"],
    }
    return "\n".join(f"{name:62s}{'-' if value is None else f'{value:.1f}':>6s}" for name, value in rows.items())


if __name__ == "__main__":
    main()
