"""``status.json``: which run a folder holds and how it ended, written from its first second."""

from __future__ import annotations

import json
import os
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

from pytorch_lightning.utilities import rank_zero_only

from weakshot_seg.errors import ConfigError
from weakshot_seg.utils.damage import noting_damage
from weakshot_seg.utils.files import lives, replacing

State = Literal["running", "finished", "failed", "interrupted"]


@dataclass(frozen=True)
class RunStatus:
    """How a run stands.

    Attributes:
        state: "failed" by an error, "interrupted" by Ctrl-C or a signal. A run that was killed stays "running".
        name: of the experiment.
        split: number of the split.
        seed: of the run.
        stage: "first" or "retrain".
        supervision: "weakshot", "base_only" or "full".
        started: local time, ISO 8601.
        ended: local time, ISO 8601.
        host: machine it runs on.
        pid: its process there.
        error: in one line.
        traceback: of the error.
    """

    state: State
    name: str
    split: int
    seed: int
    stage: str
    supervision: str
    started: str = ""
    ended: str | None = None
    host: str = ""
    pid: int = 0
    error: str | None = None
    traceback: str | None = None

    @classmethod
    def read(cls, folder: Path) -> RunStatus | None:
        """The status of a run; None if the folder has none.

        Raises:
            Exception: the file is damaged; one of :data:`~weakshot_seg.utils.damage.DAMAGE`.
        """
        try:
            status = cls(**json.loads((folder / "status.json").read_text("utf-8")))
        except FileNotFoundError:
            return None
        status._check()
        return status

    def _check(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int if field.type == "int" else str) and value is not field.default:
                raise TypeError(f"{field.name} is {type(value).__name__}")
        if self.state not in get_args(State):
            raise ValueError(f"state {self.state} is unknown")
        if not 0 <= self.pid < 2**31:  # the system takes no others
            raise ValueError(f"no process has the number {self.pid}")

    def write(self, folder: Path) -> None:
        """Writes ``status.json``, whole or not at all."""
        with replacing(folder / "status.json") as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @property
    def was_killed(self) -> bool:
        """It says "running", but was started on this machine and its process is gone."""
        return self.state == "running" and self.host == socket.gethostname() and not lives(self.pid)


@contextmanager
def recorded(folder: Path, *, name: str, split: int, seed: int, stage: str, supervision: str) -> Iterator[None]:
    """Keeps ``status.json`` of the run in ``folder`` while the block runs; errors pass through.

    Of several processes the first one writes, and whichever fails first. A command that is refused leaves the status of
    the run that is there: nothing has been done to it.
    """
    former = _readable(folder)
    status = RunStatus("running", name, split, seed, stage, supervision, _now(), host=socket.gethostname())
    status = replace(status, pid=os.getpid())
    is_first = getattr(rank_zero_only, "rank", 0) == 0  # Lightning sets it without declaring it
    if is_first:
        status.write(folder)
    try:
        yield
    except Exception as error:
        before = _readable(folder)
        if former is not None and (isinstance(error, ConfigError) or isinstance(error.__cause__, ConfigError)):
            former.write(folder)
        elif before is None or before.state != "failed":
            text = " ".join(str(error).split())
            line = f"{type(error).__name__}: {text}" if text else type(error).__name__
            trace = traceback.format_exc()
            replace(status, state="failed", ended=_now(), error=line, traceback=trace).write(folder)
        raise
    except BaseException:  # Ctrl-C, or a signal that Lightning turned into an exit
        if is_first:
            replace(status, state="interrupted", ended=_now()).write(folder)
        raise
    if is_first:
        replace(status, state="finished", ended=_now()).write(folder)


def _readable(folder: Path) -> RunStatus | None:
    """The status of a run; None without one, and for a damaged one: it will be replaced."""
    status = None
    with noting_damage(folder / "status.json", []):
        status = RunStatus.read(folder)
    return status


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
