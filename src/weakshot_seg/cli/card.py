"""A trained model as a folder to give away: ``weakshot card ckpt=FILE out=DIR``."""

from __future__ import annotations

import logging
from importlib.metadata import version
from pathlib import Path

import hydra
from omegaconf import DictConfig

from weakshot_seg import __version__
from weakshot_seg.checkpoints.loading import module_of, read_model
from weakshot_seg.checkpoints.model_folder import CONFIG, WEIGHTS, SavedModel, write_folder
from weakshot_seg.config.compose import conf_dir, entry_point
from weakshot_seg.errors import ConfigError
from weakshot_seg.reporting.measured import Measured, read_metrics
from weakshot_seg.reporting.model_card import CardFacts, model_card
from weakshot_seg.utils.files import replacing

log = logging.getLogger(__name__)

LIBRARIES = ("torch", "timm", "pytorch-lightning", "safetensors")


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="card")
@entry_point
def main(cfg: DictConfig) -> None:
    """Writes ``model.safetensors``, ``config.json`` and ``README.md``."""
    saved = read_model(cfg.ckpt)
    out = Path(cfg.out).expanduser()
    if out.exists() and not out.is_dir():
        raise ConfigError(f"out={out} is a file: name a folder")
    module = module_of(saved, cfg.ckpt, cfg.allow_targets)  # refuses weights that do not fit their recipe
    facts = CardFacts(
        title=cfg.title or out.resolve().name,
        saved=saved,
        parameters=sum(parameter.numel() for parameter in module.model.parameters()),
        versions=[("weakshot_seg", __version__), *((name, version(name)) for name in LIBRARIES)],
        measured=find_metrics(cfg.metrics, cfg.ckpt, saved),
        dataset=str(cfg.dataset or saved.recipe.data.get("published") or saved.recipe.name or "unknown"),
        license=cfg.license,
    )
    write_folder(out, saved, __version__)
    with replacing(out / "README.md") as temporary:
        temporary.write_text(model_card(facts), encoding="utf-8")
    size = (out / WEIGHTS).stat().st_size / 1e6
    print(f"{out}: {WEIGHTS} ({size:.1f} MB), {CONFIG}, README.md (read it, and say what is missing)")
    print(f"predict:   weakshot predict ckpt={out} source=PHOTOS out=predictions")
    print(f"give away: hf upload USER/{out.resolve().name} {out}")


def find_metrics(given: str | None, ckpt: str, saved: SavedModel) -> Measured | None:
    """The metrics to show: those of a given file, or of the run the checkpoint lies in if they are of its weights.

    Raises:
        ConfigError: a given file cannot be read, or is about another model.
    """
    if given:
        measured = read_metrics(Path(given).expanduser(), saved.class_split)
        if measured.step != saved.step:
            raise ConfigError(
                f"metrics={given} is of a model after {measured.step} steps, but ckpt={ckpt} is one after {saved.step}"
            )
        return measured
    beside = Path(ckpt).expanduser().parent.parent / "metrics.json"
    if not beside.is_file():
        log.info("no metrics.json beside the checkpoint: the card has no numbers (metrics=FILE)")
        return None
    measured = read_metrics(beside, saved.class_split)
    if measured.step != saved.step:
        log.info("%s is of step %d, not %d: the card has no numbers (metrics=FILE)", beside, measured.step, saved.step)
        return None
    return measured


if __name__ == "__main__":
    main()
