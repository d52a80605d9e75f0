"""A trained model as a folder to give away: ``weakshot card ckpt=FILE out=DIR``."""

import logging
from importlib.metadata import version
from pathlib import Path

from omegaconf import DictConfig

from weakshot_seg import __version__
from weakshot_seg.checkpoints.building import module_of
from weakshot_seg.checkpoints.hub import CONFIG, WEIGHTS
from weakshot_seg.checkpoints.model_folder import write_folder
from weakshot_seg.checkpoints.reading import SavedModel, read_model
from weakshot_seg.cli.entry_point import command
from weakshot_seg.errors import ConfigError
from weakshot_seg.reporting.model_card import model_card
from weakshot_seg.reporting.pages import write_text
from weakshot_seg.reporting.results import Result
from weakshot_seg.reporting.run_page import run_page
from weakshot_seg.reporting.runs import read_run

log = logging.getLogger(__name__)

PAGE = "training.html"
LIBRARIES = ("torch", "timm", "pytorch-lightning", "safetensors")


@command("card")
def main(cfg: DictConfig) -> None:
    """Writes ``model.safetensors``, ``config.json``, ``README.md`` and, of a run with metrics, ``training.html``."""
    saved = read_model(cfg.ckpt)
    out = Path(cfg.out).expanduser()
    if out.exists() and not out.is_dir():
        raise ConfigError(f"out={out} is a file: name a folder")
    module = module_of(saved, cfg.ckpt, cfg.allow_targets)  # refuses weights that do not fit their recipe
    result = find_metrics(cfg.metrics, cfg.ckpt, saved)
    run = read_run(Path(cfg.ckpt).expanduser().parent.parent, "") if result and not cfg.metrics else None
    page = PAGE if run and run.result else None
    card = model_card(
        saved,
        result,
        page=page,
        title=cfg.title or out.resolve().name,
        dataset=str(cfg.dataset or saved.recipe.data.get("published") or saved.recipe.name or "unknown"),
        license=cfg.license,
        parameters=sum(parameter.numel() for parameter in module.model.parameters()),
        versions=[("weakshot_seg", __version__), *((name, version(name)) for name in LIBRARIES)],
    )
    write_folder(out, saved)
    write_text(out / "README.md", card)
    if run and page:
        write_text(out / page, run_page(run, None))
    size = (out / WEIGHTS).stat().st_size / 1e6
    files = ", ".join(filter(None, (f"{WEIGHTS} ({size:.1f} MB)", CONFIG, page, "README.md")))
    print(f"{out}: {files} (read it, and say what is missing)")
    print(f"predict:   weakshot predict ckpt={out} source=PHOTOS out=predictions")
    print(f"give away: hf upload USER/{out.resolve().name} {out}")


def find_metrics(given: str | None, ckpt: str, saved: SavedModel) -> Result | None:
    """The metrics to show: those of a given file, or of the run the checkpoint lies in if they are of its weights."""
    path = Path(given or Path(ckpt).parent.parent / "metrics.json").expanduser()
    if not given and not path.is_file():
        log.info("no metrics.json beside the checkpoint: the card has no numbers (metrics=FILE)")
        return None
    try:
        result = Result.read(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"metrics={path} is no metrics.json of weakshot evaluate ({error})") from error
    if result.class_names != saved.class_split.names or result.novel != set(saved.class_split.novel_names):
        raise ConfigError(f"metrics={path} is about other classes or another split than the checkpoint")
    if result.step == saved.step:
        return result
    steps = f"of a model after {result.step} steps, but ckpt={ckpt} is one after {saved.step}"
    if given:
        raise ConfigError(f"metrics={given} is {steps}")
    log.info("%s is %s: the card has no numbers (metrics=FILE)", path, steps)
    return None
