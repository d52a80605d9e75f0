"""Parts of a measurement, each in a process of its own, with results that are written as they come."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finding:
    """What a part measured.

    Attributes:
        values: plain containers and dataclasses, for JSON.
        text: Markdown.
    """

    values: dict[str, Any]
    text: str


Measure = Callable[[], Finding]


class Report:
    """``report.jsonl`` with a line for each part, ``report.md``, and what the parts printed in ``logs``.

    Args:
        folder: for these files, new or without them.
        title: heading of the page.
        seconds: what all parts have together.
    """

    def __init__(self, folder: Path, title: str, seconds: float) -> None:
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        self._folder, self._end = folder, time.monotonic() + seconds
        self._lines, self._page = folder / "report.jsonl", folder / "report.md"
        self._lines.write_text("")
        self._page.write_text(f"# {title}\n")

    @property
    def seconds_left(self) -> float:
        """Of all parts."""
        return self._end - time.monotonic()

    def run(self, name: str, measure: Measure, limit: float = float("inf")) -> dict[str, Any] | None:
        """Measures in a forked process and writes down the result, or why there is none; returns the values.

        The process, and what it has started, is ended after ``limit`` seconds, or when no time is left. CUDA must not
        be in use in this one.
        """
        print(f"{name} ...", flush=True)
        begin, limit = time.monotonic(), min(limit, self.seconds_left)
        if limit <= 0:
            finding, problem = None, "no time was left"
        else:
            finding, problem = _in_a_process(measure, self._folder / "logs" / f"{name}.log".replace(" ", "_"), limit)
        seconds = time.monotonic() - begin
        values = None if finding is None else finding.values
        line = {"part": name, "seconds": round(seconds, 1), "problem": problem, "values": values}
        with self._lines.open("a") as file:
            file.write(json.dumps(line, default=asdict) + "\n")
        with self._page.open("a") as file:
            file.write(f"\n## {name}\n\n{problem if finding is None else finding.text}\n\n({seconds:.0f} s)\n")
        print(f"{name}: {problem or 'done'}, {seconds:.0f} s", flush=True)
        return values


def _in_a_process(measure: Measure, log: Path, limit: float) -> tuple[Finding | None, str | None]:
    """What was found, or in words why nothing was."""
    context = multiprocessing.get_context("fork")  # PyTorch and transformers are imported once
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(measure, log, sender))
    process.start()
    sender.close()
    try:
        if not receiver.poll(limit):
            return None, f"not done within {limit:.0f} s"
        finding, problem = receiver.recv()
        return finding, problem
    except EOFError:
        process.join()
        return None, f"the process ended with code {process.exitcode}; see {log.parent.name}/{log.name}"
    finally:
        try:
            os.killpg(process.pid or 0, signal.SIGKILL)  # and the workers it has started
        except (ProcessLookupError, PermissionError):
            process.kill()
        process.join()


def _measure(measure: Measure, log: Path, sender: Connection) -> None:
    os.setsid()
    with log.open("w") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1, closefd=False), os.fdopen(2, "w", 1, closefd=False)
        try:
            answer = measure(), None
        except BaseException as error:  # SystemExit of a command, too: it is one part that fails
            traceback.print_exc()
            answer = None, f"failed: {type(error).__name__}: {error}"
        sender.send(answer)
