"""Segments photos and videos: ``weakshot predict ckpt=FILE source=FILE|DIR|GLOB|- out=DIR``."""

import sys
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from weakshot_seg.checkpoints.building import load_module, weights_digest
from weakshot_seg.cli.entry_point import command
from weakshot_seg.config.compose import plain, several
from weakshot_seg.errors import ConfigError
from weakshot_seg.prediction.predict_files import FilePredictor
from weakshot_seg.prediction.records import Origin
from weakshot_seg.prediction.results import Results, Wanted
from weakshot_seg.prediction.segmenter import Segmenter
from weakshot_seg.prediction.sources import LeftOut, find_items


@command("predict")
def main(cfg: DictConfig) -> None:
    """Writes label maps, overlays, classes and scores; exit code 1 if some files could not be read."""
    out = Path(cfg.out).expanduser().absolute()
    left_out = LeftOut()
    items = find_items(several(cfg.source), left_out=left_out)
    module = load_module(cfg.ckpt, cfg.allow_targets)
    inference = plain(cfg.inference) if cfg.get("inference") else module.recipe.inference
    segmenter = Segmenter(module, cfg.device, instantiate(inference))
    resize = module.recipe.data["val_transform"]
    origin = Origin(str(cfg.ckpt), weights_digest(module.model), inference, resize)
    scores, known = several(cfg.scores), segmenter.split.names
    scores = list(known) if scores == ["all"] else list(dict.fromkeys(scores))
    if unknown := [name for name in scores if name not in known]:
        raise ConfigError(f"scores={unknown[0]}: no such class; the model knows {', '.join(known)}")
    wanted = Wanted(scores, cfg.overlay_size, cfg.overwrite, cfg.video_every, cfg.video_labels)
    results = Results(out, origin, segmenter.split, items, wanted)
    failures = FilePredictor(segmenter, results, cfg.threads, cfg.max_pixels).predict(items)
    others = f"; {left_out}" if left_out else ""
    print(f"{len(items) - len(failures)} of {len(items)} files are predicted: {cfg.out}{others}")
    if failures:
        print(f"{len(failures)} could not be:", *failures, sep="\n", file=sys.stderr)
        raise SystemExit(1)
