"""``index.html`` of the run that a command has just ended."""

import shlex
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from weakshot_seg.utils.run_status import is_first_process


def show_run(cfg: DictConfig, command: str, second_stage: str | None = None) -> None:
    """Writes the page of the run in ``cfg.output_dir`` and says where, if ``cfg.page``; ``second_stage`` is a link."""
    if not (cfg.page and is_first_process()):
        return
    from weakshot_seg.reporting.run_page import Origin, write_run_page  # takes a second, which training need not wait

    hydra = HydraConfig.get()
    words = [word for word in hydra.overrides.task if not word.startswith("resume=")]
    lines = [shlex.join(["cd", hydra.runtime.cwd]), shlex.join(["weakshot", command, *words])]
    page = write_run_page(Path(cfg.output_dir), Origin(lines, OmegaConf.to_yaml(cfg, resolve=True), second_stage))
    if page:
        print(f"{'page:':12} {page}")
