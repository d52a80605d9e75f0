"""A page to try a model in the browser: ``weakshot app ckpt=FILE``."""

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image

from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.cli.entry_point import command
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.errors import ConfigError, UserError
from weakshot_seg.prediction.segmenter import Segmenter
from weakshot_seg.structures import ClassSplit

log = logging.getLogger(__name__)


@command("app")
def main(cfg: DictConfig) -> None:
    """Serves the page until it is interrupted."""
    try:
        from weakshot_seg.demo.page import build_page, serve
    except ImportError as error:
        raise ConfigError(f"the page needs gradio ({error}): pip install -e '.[app]'") from error
    module = load_module(cfg.ckpt, cfg.allow_targets)
    with tempfile.TemporaryDirectory() as folder:
        examples = write_examples(module.recipe.data, module.class_split, cfg.examples, Path(folder))
        page = build_page(Segmenter(module, cfg.device), title(cfg.ckpt), examples, cfg.proposals, cfg.max_megapixels)
        serve(page, cfg.host, cfg.port, cfg.share)
        page.block_thread()


def title(ckpt: str) -> str:
    """A name of the model: of its run and file, or of its folder."""
    path = Path(ckpt).expanduser().resolve()
    if path.suffix != ".ckpt":
        return path.name if path.exists() else ckpt
    return " / ".join([part for part in path.with_suffix("").parts if part not in ("checkpoints", "last")][-2:])


def write_examples(data: dict[str, Any], split: ClassSplit, most: int, folder: Path) -> list[Path]:
    """Writes ``most`` validation images of a training, those with novel classes first; none if they are not there."""
    if "_target_" not in data or most < 1:
        return []
    try:
        # for a few images not all need to be read
        made: WeakShotDataModule = instantiate(data | ({"verify": False} if "verify" in data else {}))
        if made.make_val is None:
            return []
        source = made.make_val()
        novel = source.presence()[:, list(split.novel)]
        ranked = np.argsort(-novel.sum(1), kind="stable")[:most]
        files = {folder / f"{source.name(i).replace('/', '_')}.png": i for i in ranked.tolist()}
        for file, index in files.items():
            Image.fromarray(source.load(index)[0]).save(file)
        return list(files)
    except (UserError, HydraException) as error:
        log.info("no examples: %s", " ".join(str(error).split()))
        return []
