"""What the commands have in common: settings are checked, and errors of the user are one line."""

import errno
import functools
import importlib
import keyword
import multiprocessing
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import CompactHydraException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from weakshot_seg.cli import settings  # noqa: F401  its resolver is used in conf/hydra
from weakshot_seg.config.compose import conf_dir
from weakshot_seg.config.presets import with_preset
from weakshot_seg.config.schema import check_settings
from weakshot_seg.errors import StoppedBySignal, UserError

R = TypeVar("R")
SOURCES_FIRST = ("import",)  # commands whose first arguments may be sources without source=
OWN_DATA = ("evaluate", "pseudo_label")  # commands that know their data: data.root=DIR alone will do
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_PLACE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
WRONG_CALL = (HydraException, TypeError, ImportError)
SETTING = re.compile(r"([+~]*[\w./@$-]+)=(.+)", re.DOTALL)


def command(name: str) -> Callable[[Callable[[DictConfig], R]], Callable[[], None]]:
    """Decorator of a main function: calls it with ``conf/<name>.yaml`` and the settings of the command line."""
    shown = name.replace("_", "-")

    def decorate(task: Callable[[DictConfig], R]) -> Callable[[], None]:
        if task.__module__ == "__main__":  # python -m weakshot_seg.cli.train
            raise SystemExit(f"error: run weakshot {shown}, or python -m weakshot_seg {shown}")
        run = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(entry_point(task))

        @functools.wraps(task)
        def main() -> None:
            arguments = name_sources(sys.argv[1:]) if name in SOURCES_FIRST else sys.argv[1:]
            words = with_preset(name, quote_settings(arguments))
            if problem := unreadable(words):
                print(f"error: {problem}; weakshot {shown} --help lists them", file=sys.stderr)
                raise SystemExit(2)
            sys.argv[1:] = add_data(words) if name in OWN_DATA else words
            run()

        return main

    return decorate


def run_command(name: str, *words: str) -> None:
    """Runs a command of :mod:`weakshot_seg.cli`, which is imported when its settings have been checked.

    The ``words`` stand before the settings on the command line: Lightning starts other processes with all of it.
    """

    def task(cfg: DictConfig) -> Any:
        sys.argv[1:1] = words
        try:
            return task_of(name)(cfg)
        finally:
            del sys.argv[1 : 1 + len(words)]

    task.__module__ = module_of(name)  # Hydra names the log file after it
    command(name)(task)()


def task_of(name: str) -> Callable[[DictConfig], Any]:
    """The main function of a command, to be called with settings that have been checked."""
    task: Callable[[DictConfig], Any] = importlib.import_module(module_of(name)).main.__wrapped__
    return task


def module_of(name: str) -> str:
    """The full name of the module of a command."""
    return f"weakshot_seg.cli.{name}_" if keyword.iskeyword(name) else f"weakshot_seg.cli.{name}"


def entry_point(task: Callable[..., R]) -> Callable[..., R]:
    """Decorator: what the user can mend (see :func:`mendable`) is one line on stderr and exit code 2, not a traceback.

    Everything else is a bug and keeps its traceback, and so does everything with ``HYDRA_FULL_ERROR=1``. In a sweep
    errors are printed at once, the other jobs go on, and the exit code is 1. A process that is asked to end prints one
    line and ends with 128 + the number of the signal.

    The settings of a job of a sweep are checked here, those of a single run before Hydra writes anything.
    """

    @functools.wraps(task)
    def guarded(*args: Any, **kwargs: Any) -> R:
        in_sweep = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
        if multiprocessing.get_start_method(allow_none=True) == "loky":
            # hydra/launcher=parallel: joblib's way of starting processes, which data loading cannot use
            multiprocessing.set_start_method(None, force=True)
        try:
            if in_sweep and args:
                check_settings(args[0], HydraConfig.get().job.config_name)
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


def mendable(error: BaseException) -> str | None:
    """The message of an error the user can mend, in one line; None if it is a bug."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    for cause in chain:
        # Lightning's error for settings is known by its name: importing it takes seconds
        if isinstance(cause, UserError) or type(cause).__name__ == "MisconfigurationException":
            return _one_line(cause)
        if isinstance(cause, OSError) and cause.errno in NO_SPACE:
            return f"{_one_line(cause)}: make room, and run the same again (a training: with resume=true)"
        if isinstance(cause, OSError) and cause.errno in NO_PLACE and cause.filename is not None:
            return f"{cause.filename}: {cause.strerror}: choose another place, or give access to this one"
        if isinstance(cause, RuntimeError) and str(cause).startswith("DataLoader worker"):
            return (
                f"{_one_line(cause)} Most often the memory is full: lower data.batch_size, or set "
                "data.num_workers=0; resume=true goes on from the last checkpoint"
            )
    # Hydra wraps whatever a constructor raises; only wrong names and arguments are the user's business.
    wrong = isinstance(error, HydraException) and all(isinstance(cause, WRONG_CALL) for cause in chain)
    return _one_line(error) if wrong or isinstance(error, OmegaConfBaseException) else None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def quote_settings(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command line, with quotes around what Hydra's grammar takes only so, as in ``Größe (1)``.

    Commas separate the items of a list ``[a,b]``, and in a multirun (``-m``) the values of a sweep.
    """
    multirun = not {"-m", "--multirun"}.isdisjoint(arguments)
    return [_quoted(argument, multirun) for argument in arguments]


def name_sources(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command line, with ``source=[...]`` for those before the first setting or option."""
    sources = list(takewhile(lambda argument: "=" not in argument and not argument.startswith("-"), arguments))
    if not sources:
        return list(arguments)
    quoted = ",".join(QuotedString(source, Quote.single).with_quotes() for source in sources)
    return [f"source=[{quoted}]", *arguments[len(sources) :]]


def add_data(arguments: Sequence[str]) -> list[str]:
    """The arguments, with settings of the data such that Hydra takes them without a file of ``conf/data``."""
    return [f"++{argument}" if argument.startswith("data.") else argument for argument in arguments]


def unreadable(arguments: Sequence[str]) -> str:
    """What is wrong with the first argument that Hydra's grammar cannot take for a setting, in a line, or ""."""
    for position, argument in enumerate(arguments):
        if argument.startswith("-"):
            continue
        if position == 0 and "=" not in argument and not argument.startswith("~"):
            return f"{argument!r} is no setting: settings are written KEY=VALUE"
        if SETTING.fullmatch(argument) and not _is_readable(argument):
            return f"{argument!r} cannot be read: brackets, quotes or ${{...}} in the value do not match"
    return ""


def _quoted(argument: str, multirun: bool) -> str:
    setting = SETTING.fullmatch(argument)
    if (
        setting is None
        or argument.startswith("-")
        or re.search(r"""\$\{|^['"]""", setting[2])
        or _is_readable(argument)
    ):
        return argument
    key, value = setting.groups()
    if value[0] + value[-1] == "[]":
        changed = f"{key}=[{_each(key, value[1:-1].split(','))}]"
    elif value[0] in "[{":
        return argument
    else:
        changed = f"{key}={_each(key, value.split(',') if multirun else [value])}"
    return changed if _is_readable(changed) else argument


def _each(key: str, values: Sequence[str]) -> str:
    quoted = [QuotedString(value.strip(), Quote.single).with_quotes() for value in values]
    return ",".join(old if _is_readable(f"{key}={old}") else new for old, new in zip(values, quoted, strict=True))


def _is_readable(argument: str) -> bool:
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    return True
