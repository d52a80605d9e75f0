"""Which of ``conf/preset`` ``experiment=folder`` takes on this machine, and how long it trains on so many photos."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import product
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from weakshot_seg.config.compose import conf_dir

LAPTOP = "laptop"
NEEDED = {"gpu": 20_000, "gpu_small": 7_000}
"""MiB of a GPU: drivers report a little less than 24 and 8 GB."""
QUERY = ("--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits")
COMMANDS = ("train", "check")
TRAINING_FILES = "training_files.json"  # of training.provenance: what a run began with
USUAL, FEWEST, MOST = 2000, 0.4, 4.0
"""Photos for which the number of steps is as given, and the limits of its factor for fewer and more."""


def with_preset(command: str, words: Sequence[str], memory: Callable[[], int | None] | None = None) -> list[str]:
    """The words of a command line, with ``preset=NAME`` if ``experiment=folder`` is among them and no preset is.

    A run that is resumed keeps its own, a sweep that of its first run. ``memory`` gives that of the GPU in MiB, None:
    there is none.
    """
    settings = dict(word.split("=", 1) for word in words if "=" in word)
    if command not in COMMANDS or "preset" in settings or not re.search(r"\bfolder\b", settings.get("experiment", "")):
        return list(words)
    chosen = None
    if settings.get("resume", "").lower() == "true" or os.environ.get("SLURM_RESTART_COUNT", "0") != "0":
        chosen = _of_run(words)
    if chosen is None:
        on_cpu = settings.get("trainer.accelerator") == "cpu"
        chosen = LAPTOP if on_cpu else suited(None if on_cpu else (memory or gpu_memory)())
    experiment = max(place for place, word in enumerate(words) if word.startswith("experiment="))
    options = (place for place, word in enumerate(words) if place > experiment and word.startswith("-"))
    at = next(options, len(words))  # argparse takes no settings after the options that follow the first ones
    return [*words[:at], f"preset={chosen}", *words[at:]]


def suited(memory: int | None) -> str:
    """The preset for a GPU with so many MiB; None: there is no GPU."""
    return next((name for name, least in NEEDED.items() if memory is not None and memory >= least), LAPTOP)


def gpu_memory() -> int | None:
    """MiB of the NVIDIA GPU that a training would use; None: there is none, or this PyTorch uses none.

    It asks the driver's own tool: importing PyTorch takes seconds.
    """
    tool, visible = shutil.which("nvidia-smi"), os.environ.get("CUDA_VISIBLE_DEVICES")
    torch = find_spec("torch")
    built = torch is not None and torch.origin and any((Path(torch.origin).parent / "lib").glob("*torch_cuda*"))
    if not (tool and built):
        return None
    try:
        done = subprocess.run([tool, *QUERY], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return memory_of(done.stdout, visible)


def memory_of(listing: str, visible: str | None) -> int | None:
    """MiB of the first GPU that ``CUDA_VISIBLE_DEVICES`` names, in what ``nvidia-smi`` lists for :data:`QUERY`."""
    wanted = "0" if visible is None else visible.split(",")[0].strip()
    for line in listing.splitlines():
        index, uuid, memory = (cell.strip() for cell in [*line.split(","), "", ""][:3])
        if wanted and (index == wanted or (not wanted.isdecimal() and uuid.startswith(wanted))):
            return int(memory) if memory.isdecimal() else None
    return None


def photo_steps(steps: int, folder: str, resume: bool, run: str) -> int:
    """Resolver ``${photo_steps:STEPS,FOLDER,RESUME,RUN}``: steps for the photos in a folder, or those a run began with.

    STEPS for 2,000 photos; for others with the root of their number, rounded to 100: each is seen less often the more
    there are.
    """
    count = 0
    with suppress(OSError, ValueError, TypeError):  # commands without a folder of their own have no run
        begun = Path(run) / TRAINING_FILES
        if resume and begun.is_file():
            count = len(json.loads(begun.read_bytes()))
    count = count or _count_files(Path(folder).expanduser())
    factor = min(max((count / USUAL) ** 0.5, FEWEST), MOST)
    return max(100 * round(steps * factor / 100), 1)


def _count_files(folder: Path) -> int:
    return sum(not name.startswith(".") for _, _, names in os.walk(folder, followlinks=False) for name in names)


def _of_run(words: Sequence[str]) -> str | None:
    """The preset of the run that these words go on with, of a sweep that of the first; None if there is none."""
    before = HydraConfig.instance().cfg
    settings = [word for word in words if not word.startswith("-")]
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            if not {"-m", "--multirun"}.isdisjoint(words):
                config = compose("train", next(_jobs(settings)), return_hydra_config=True)
                settings = [f"{key}={values}" for key, values in (config.hydra.sweeper.params or {}).items()] + settings
            for job in _jobs(settings):
                config = compose("train", job, return_hydra_config=True)
                HydraConfig.instance().set_config(config)
                saved = Path(config.hydra.run.dir) / ".hydra" / "config.yaml"
                if saved.is_file():
                    return str(OmegaConf.select(OmegaConf.load(saved), "preset") or LAPTOP)
    except Exception:  # what is wrong with the settings, the command itself reports
        return None
    finally:
        HydraConfig.instance().cfg = before
    return None


def _jobs(settings: Sequence[str]) -> Iterator[list[str]]:
    """The settings of each job of a sweep, as Hydra's own sweeper combines them; of equal keys the last counts."""
    choices = {}
    for setting in OverridesParser.create().parse_overrides(list(settings)):
        key = setting.get_key_element()
        swept = setting.is_sweep_override()
        values = list(setting.sweep_string_iterator()) if swept else [setting.get_value_element_as_str()]
        choices[key] = [f"{key}={value}" for value in values]
    yield from map(list, product(*choices.values()))


OmegaConf.register_new_resolver("photo_steps", photo_steps, replace=True)
