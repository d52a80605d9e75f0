"""Where the configuration lies, and how the entry points speak of its errors."""

from __future__ import annotations

import errno
import functools
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from weakshot_seg.config.schema import check_settings
from weakshot_seg.errors import StoppedBySignal, UserError
from weakshot_seg.utils.run_lock import claim

R = TypeVar("R")
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_PLACE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)


def conf_dir() -> Path:
    """The absolute folder of the YAML files: inside the package of a wheel, beside ``src`` in a working copy.

    Raises:
        FileNotFoundError: the installation has no configuration.
    """
    package = Path(__file__).resolve().parents[1]
    places = (package / "conf", package.parents[1] / "conf")
    for place in places:
        if (place / "train.yaml").is_file():
            return place
    raise FileNotFoundError(f"no train.yaml in {places[0]} or {places[1]}: install weakshot-seg again")


def plain(config: Any) -> Any:
    """A configuration node as plain dicts and lists with everything resolved (safe to store in a checkpoint)."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def shipped_settings(name: str) -> dict[str, Any] | None:
    """Top-level settings of ``conf/<name>.yaml``, unresolved, groups with their choice; None: there is no such file."""
    file = conf_dir() / f"{name}.yaml"
    if not file.is_file():
        return None
    content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    assert isinstance(content, dict)
    settings: dict[str, Any] = {}
    for entry in content.pop("defaults", []):
        if isinstance(entry, dict):
            settings |= {group: choice for group, choice in entry.items() if not group.startswith("override ")}
        elif entry != "_self_":
            settings |= shipped_settings(entry) or {}
    return {str(key): value for key, value in (settings | content).items() if key != "hydra"}


def run_folder(parent: str, name: str, resume: bool) -> str:
    """Resolver ``${run_folder:PARENT,NAME,RESUME}``: the folder within ``parent`` for a run that is about to start.

    A new run never touches another one: while ``name`` holds checkpoints or metrics, or another process has taken it,
    ``name-2``, ``name-3``, ... are tried; the first free one is made and taken. With ``resume`` it is the newest run of
    that row. Hydra asks before it writes its first file.
    """
    latest, number = name, 1
    while _holds_run(folder := Path(parent, place := name if number == 1 else f"{name}-{number}")) or not (
        resume or claim(folder)
    ):
        latest, number = place, number + 1
    return latest if resume else place


def run_name(split: int, seed: int) -> str:
    """Resolver ``${run_name:SPLIT,SEED}``: the folder of a run within those of its name."""
    return f"split{split}-seed{seed}" if seed else f"split{split}"


class SweepStart(Callback):
    """Hydra callback: ``${hydra:callbacks.sweep_start.time}`` is the start of the job, in a sweep that of the sweep.

    The process that starts a sweep makes this object and thereby resolves the time; Hydra hands what it has resolved to
    all jobs, wherever they run.

    Args:
        time: ``${now:...}``.
    """

    def __init__(self, time: str) -> None:
        self.time = time


def entry_point(task: Callable[..., R]) -> Callable[..., R]:
    """Decorator under ``@hydra.main``: what the user can mend is one line on stderr and exit code 2, not a traceback.

    That is :class:`UserError` (also where Hydra wrapped it, because it was raised while an object was built), wrong
    settings found by Hydra, OmegaConf and Lightning, a full disk and a killed data loading process. Everything else is
    a bug and keeps its traceback, and so does everything with ``HYDRA_FULL_ERROR=1``. In a sweep all this is said at
    once, the other jobs go on, and the exit code is 1. A process that is asked to end says so in one line and ends with
    128 + the number of the signal. Settings are checked before the task sees them.
    """

    @functools.wraps(task)
    def guarded(*args: Any, **kwargs: Any) -> R:
        if multiprocessing.get_start_method(allow_none=True) == "loky":
            # hydra/launcher=parallel: joblib's way of starting processes, which data loading cannot use
            multiprocessing.set_start_method(None, force=True)
        try:
            if args and isinstance(args[0], DictConfig):
                check_settings(args[0], shipped_settings(str(HydraConfig.get().job.config_name)))
            return task(*args, **kwargs)
        except StoppedBySignal as stop:
            print(stop.message, file=sys.stderr)
            raise
        except (KeyboardInterrupt, SystemExit) as stop:
            # Lightning turns the one into the other
            if isinstance(stop, SystemExit) and not isinstance(stop.__context__, KeyboardInterrupt):
                raise
            print("interrupted", file=sys.stderr)
            raise SystemExit(128 + signal.SIGINT) from None
        except Exception as error:
            message = None if os.environ.get("HYDRA_FULL_ERROR") == "1" else mendable(error)
            in_sweep = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
            if message is None:
                if not in_sweep:
                    raise
                traceback.print_exc()
                message = f"{type(error).__name__}: {_one_line(error)}"
            print(f"error: {message}", file=sys.stderr, flush=True)
            if in_sweep:  # Hydra goes on with the other jobs; unlike others this error gets through to its process
                raise CompactHydraException(message) from error
            raise SystemExit(2) from None

    return guarded


def _holds_run(folder: Path) -> bool:
    return (folder / "metrics.json").exists() or any(folder.glob("checkpoints/*.ckpt"))


def mendable(error: BaseException) -> str | None:
    """The message of an error the user can mend, in one line; None if it is a bug."""
    chain = list(_causes(error))
    for cause in chain:
        # Lightning's error for settings is told by its name: importing it takes seconds
        if isinstance(cause, UserError) or type(cause).__name__ == "MisconfigurationException":
            return _one_line(cause)
        if isinstance(cause, OSError) and cause.errno in NO_SPACE:
            return (
                f"{_one_line(cause)}: make room; files written before are complete, and with resume=true a training "
                "goes on from them"
            )
        if isinstance(cause, OSError) and cause.errno in NO_PLACE and cause.filename is not None:
            return f"{cause.filename}: {cause.strerror}: choose another place, or give access to this one"
        if isinstance(cause, RuntimeError) and str(cause).startswith("DataLoader worker"):
            return (
                f"{_one_line(cause)} Most often the memory is full: lower data.num_workers or data.batch_size, or set "
                "data.num_workers=0; resume=true goes on from the last checkpoint"
            )
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} has no value: give one with {error.full_key}=..."
    # Hydra wraps whatever a constructor raises; only wrong names and arguments are the user's business.
    if isinstance(error, OmegaConfBaseException):
        return _one_line(error)
    if isinstance(error, HydraException) and all(
        isinstance(c, HydraException | TypeError | ImportError) for c in chain
    ):
        return _one_line(error)
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def requeued() -> bool:
    """Resolver ``${requeued:}``: whether SLURM runs this job again, so that it goes on by itself."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") != "0"


OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)
OmegaConf.register_new_resolver("run_name", run_name, replace=True)
OmegaConf.register_new_resolver("requeued", requeued, replace=True)
