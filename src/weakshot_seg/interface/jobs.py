"""A command as a call: with the settings, checks, folders and files of the command line."""

import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, run_job
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from weakshot_seg.cli.entry_point import mendable, quote_settings
from weakshot_seg.config.compose import conf_dir
from weakshot_seg.config.preflight import prepare
from weakshot_seg.config.presets import with_preset
from weakshot_seg.errors import ConfigError, StoppedBySignal, UserError

FORMAT = logging.Formatter("[%(asctime)s] %(message)s", "%H:%M:%S")  # of conf/hydra


def run(command: str, words: Sequence[str], task: Callable[[DictConfig], Any]) -> tuple[Path, Any]:
    """Calls ``task`` with ``conf/<command>.yaml`` and the words of a command line; returns its folder and its result.

    A UserError says what cannot work. Ctrl-C ends it as the command: after a training has saved its state, with a
    KeyboardInterrupt that says where.
    """
    if options := [word for word in words if word.startswith("-")]:
        raise ConfigError(f"{options[0]} is an option of the command line: only settings KEY=VALUE can be given here")
    words = with_preset(command, quote_settings(words))
    with (
        _errors_of_the_user(HydraException, OmegaConfBaseException),
        initialize_config_dir(str(conf_dir()), job_name=command, version_base="1.3"),
    ):
        config = compose(command, list(words), return_hydra_config=True)
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())
    with _errors_of_the_user(), _interrupts():
        prepare(config)
        done: JobReturn = run_job(
            task_function=_returning_errors(task),
            config=config,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
            hydra_context=context,
            configure_logging=False,  # that is the user's
        )
        result, error = done.return_value
        if error:
            raise error
        assert done.hydra_cfg is not None
        return Path(done.hydra_cfg.hydra.runtime.output_dir), result


def _returning_errors(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], tuple[Any, Exception | None]]:
    """Hydra would print all settings first."""

    def guarded(cfg: DictConfig) -> tuple[Any, Exception | None]:
        try:
            return task(cfg), None
        except Exception as error:
            return None, error

    return guarded


@contextmanager
def messages(file: Path) -> Iterator[None]:
    """Meanwhile, the package's messages go to a file, and to the screen unless the user has set up logging."""
    logger, root = logging.getLogger("weakshot_seg"), logging.getLogger()
    handlers: list[logging.Handler] = [logging.FileHandler(file, encoding="utf-8")]
    handlers += [] if root.handlers else [logging.StreamHandler(sys.stdout)]
    level = logger.level
    logger.setLevel(min(level or logging.INFO, logging.INFO))
    for handler in handlers:
        handler.setFormatter(FORMAT)
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(level)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


@contextmanager
def _errors_of_the_user(*composing: type[Exception]) -> Iterator[None]:
    """What the user can mend is a UserError, whatever Hydra has wrapped it in; so is any error of ``composing``."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if message := mendable(error) or (str(error) if isinstance(error, composing) else None):
            raise ConfigError(message) from error
        raise


@contextmanager
def _interrupts() -> Iterator[None]:
    """Ctrl-C is a KeyboardInterrupt again, for which a notebook halts and lives on; commands exit."""
    try:
        yield
    except StoppedBySignal as stop:
        if stop.code != 128 + signal.SIGINT:
            raise
        raise KeyboardInterrupt(stop.message) from None
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning's doing
            raise KeyboardInterrupt from None
        raise
