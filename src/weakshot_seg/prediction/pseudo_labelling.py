"""Pseudo-labels of the training images, for the second stage (method section 7)."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from PIL.PngImagePlugin import PngInfo
from pytorch_lightning.callbacks import BasePredictionWriter

from weakshot_seg.checkpoints.building import load_module, weights_digest
from weakshot_seg.checkpoints.compatibility import check_classes
from weakshot_seg.checkpoints.data_settings import data_of
from weakshot_seg.data.pseudo_labels import (
    FILE,
    KEY,
    Candidates,
    Manifest,
    agreement_counts,
    candidate_classes,
    label_files,
    measure,
    pseudo_map,
)
from weakshot_seg.data.weak_labels import WeakShotDataset
from weakshot_seg.errors import ConfigError
from weakshot_seg.training.callbacks.progress import TrainingProgress
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.tables import aligned, number_text
from weakshot_seg.utils.visualize import label_png

log = logging.getLogger(__name__)


def make_pseudo_labels(
    ckpt: str | Path,
    out: str | Path,
    inference: dict[str, Any] | None,
    make_trainer: Callable[..., pl.Trainer],
    candidates: Candidates | None = None,
    data: dict[str, Any] | None = None,
    named: Mapping[str, Any] | None = None,
    allow_targets: Sequence[str] = (),
    force: bool = False,
) -> float | None:
    """Labels the training images of a checkpoint, those that have no file yet, and measures all labels.

    The arguments are settings of ``conf/pseudo_label.yaml``; ``make_trainer`` gets a ``logger`` and ``callbacks``. For
    ``data`` and those of them that are ``named`` see :func:`~weakshot_seg.checkpoints.data_settings.data_of`.
    Returns the novel IoU in percent; None without true novel masks, and on all processes but the first.

    Raises:
        ConfigError: the checkpoint knows no image-level labels, has other classes than the data, or ``out`` holds
            pseudo-labels of something else.
    """
    out = Path(out).expanduser()
    module = load_module(ckpt, allow_targets)
    images, settings = data_of(module, ckpt, data, named or {})
    if settings.get("supervision") != "weakshot" or settings.get("pseudo_labels") or not module.class_split.novel:
        raise ConfigError(
            f"ckpt={ckpt}: pseudo-labels come from a first stage with image-level labels, not from "
            f"supervision={settings.get('supervision')} or stage=retrain"
        )
    candidates = candidates or module.recipe.candidates or "all"
    images.setup("fit")
    dataset = images.train_dataset
    check_classes(module.class_split, dataset.split, ckpt, force)
    manifest = Manifest(
        checkpoint=str(ckpt),
        weights=weights_digest(module.model),
        step=module.trained_steps,
        split=module.recipe.split,
        class_names=dataset.split.names,
        novel_classes=dataset.split.novel_names,
        num_images=len(dataset),
        inference=inference or module.recipe.inference,
        val_transform=settings["val_transform"],
        candidates=candidates,
    )
    has_manifest = (out / FILE).exists()
    if has_manifest:
        Manifest.read(out).check_same(manifest, out)
    elif any(out.glob("labels/**/*.png")):
        raise ConfigError(f"out={out} holds label maps without a manifest: give another folder or remove them")
    files = label_files(out, dataset)
    module.inference = instantiate(manifest.inference)
    callbacks = [PseudoLabelWriter(files, dataset), TrainingProgress(refresh_rate=1)]
    trainer = make_trainer(logger=False, callbacks=callbacks)
    if trainer.is_global_zero and not has_manifest:
        manifest.write(out)
    missing = sum(not file.exists() for file in files)
    log.info("pseudo-labels: %d of %d images to predict, to %s", missing, len(files), out)
    if missing:
        share = _share(files, trainer.global_rank, trainer.world_size)
        loader = images.whole_images(share, candidate_classes(dataset, candidates))
        trainer.predict(module, loader, return_predictions=False)
    trainer.strategy.barrier()  # the first process measures the files of all
    iou = None
    if trainer.is_global_zero:
        agreement, quality = measure(files, dataset, free=candidates == "all")
        replace(manifest, complete=True, agreement=agreement, quality=quality).write(out)
        iou = quality.novel_iou
        rows = {
            "novel IoU on the training images (true masks, measured only)": iou,
            "base accuracy of the predictions": agreement.base_accuracy,
            "novel predictions among the image's labels": agreement.tag_precision,
            "image-level labels with pixels": agreement.tags_found,
            "pixels outside the base masks with a label": agreement.labelled,
        }
        summary = aligned([(name, number_text(value)) for name, value in rows.items()], "<>")
        print(f"\n{summary}\npseudo-labels: {out}\n")
    trainer.strategy.barrier()
    return iou


class PseudoLabelWriter(BasePredictionWriter):
    """Writes the pseudo-labels of every predicted batch, each file (one for each image) whole or not at all."""

    def __init__(self, files: Sequence[Path], dataset: WeakShotDataset) -> None:
        super().__init__(write_interval="batch")
        self._files = {dataset.source.name(index): (file, index) for index, file in enumerate(files)}
        self._dataset = dataset
        self._is_novel = dataset.split.is_novel().numpy()

    def write_on_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: Any,
        batch_indices: Any,
        batch: Any,
        *_: Any,
    ) -> None:
        """The true maps of the batch are those that training may see."""
        for sample, map_of_ids in zip(batch, prediction, strict=True):
            file, index = self._files[sample.name]
            predicted, known = map_of_ids.cpu().numpy(), sample.truth.numpy()
            labels = pseudo_map(predicted, known, self._dataset.knowledge[index])
            text = PngInfo()
            counts = agreement_counts(predicted, labels, known, self._dataset.known[index], self._is_novel)
            text.add_text(KEY, json.dumps(counts))
            with replacing(file) as temporary:
                label_png(labels).save(temporary, "PNG", pnginfo=text)


def _share(files: Sequence[Path], rank: int, world_size: int) -> list[int]:
    """The images this process has still to predict, at least one: all processes must take part."""
    mine = range(len(files))[rank::world_size] or range(1)
    return [index for index in mine if not files[index].exists()] or [mine[0]]
