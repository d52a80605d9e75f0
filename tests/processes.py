"""Trainings in processes of their own, to be killed in earnest.

They are forked from a server that has imported everything once: an import takes longer than such a run.
"""

import logging
import multiprocessing
import os
import pydoc
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

Fault = Callable[[], None]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["weakshot_seg.cli.train", "weakshot_seg.data.transforms", "weakshot_seg.training.callbacks.results", "processes"]
)


@dataclass
class Job:
    """A running or ended process and the file of its output."""

    process: BaseProcess
    log: Path

    def finish(self, seconds: float = 120) -> int:
        """Waits; returns the exit code (negative: the signal that killed it)."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"still running:\n{self.output}")
        return self.process.exitcode

    @property
    def output(self) -> str:
        return self.log.read_text()


def start(folder: Path, *arguments: str, fault: Fault | None = None) -> Job:
    """Starts ``weakshot_seg.train`` in ``folder``; ``fault`` is called in its process before."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"console-{len(list(folder.glob('console-*')))}.txt"
    log.touch()
    process = CONTEXT.Process(target=_main, args=(folder, arguments, log, fault))
    process.start()
    return Job(process, log)


def _main(folder: Path, arguments: tuple[str, ...], log: Path, fault: Fault | None) -> None:
    from weakshot_seg.cli import train

    os.setsid()  # as a shell or SLURM would: signals can be sent to the group
    os.chdir(folder)
    os.environ.pop("WANDB_SERVICE", None)  # of a run in the tests' own process
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # of data loading processes, as in any other process
    sys.argv = ["weakshot_seg", *arguments]
    if fault is not None:
        fault()
    try:
        train.main()
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()


@dataclass
class Signal:
    """Sends a signal when a function is called for the n-th time in a process."""

    number: int
    owner: str  # full name of the class or module of the function
    function: str
    call: int  # n, from 1
    group: bool = False  # also to the data loading processes

    def __call__(self) -> None:
        owner: Any = pydoc.locate(self.owner)
        original, calls = getattr(owner, self.function), 0

        def faulty(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == self.call:  # by another process: workers obey their parent
                target = f"{'-' if self.group else ''}{os.getpid()}"
                subprocess.run(["kill", f"-{int(self.number)}", "--", target], check=True, start_new_session=True)
            return original(*args, **kwargs)

        setattr(owner, self.function, faulty)


@dataclass
class Environment:
    """Sets variables, then injects another fault."""

    variables: dict[str, str]
    fault: Fault | None = None

    def __call__(self) -> None:
        os.environ.update(self.variables)
        if self.fault is not None:
            self.fault()


@dataclass
class Distributed:
    """Makes a process one of several, as ``torchrun`` would.

    The loss of the second step of ``bad_rank`` is NaN, and the trained parameters before each step and after the last
    go to ``rank-<rank>.pt`` in ``folder``.
    """

    rank: int
    world_size: int
    folder: Path
    bad_rank: int

    def __call__(self) -> None:
        from pytorch_lightning.utilities import rank_zero_only

        with closing(socket.socket()) as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        file = self.folder / "port"
        if self.rank == 0:
            file.with_suffix(".new").write_text(str(port))
            file.with_suffix(".new").rename(file)
        while not file.exists():
            time.sleep(0.05)
        ranks = {"RANK": self.rank, "LOCAL_RANK": self.rank, "GROUP_RANK": 0, "WORLD_SIZE": self.world_size}
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": file.read_text(), "TORCHELASTIC_RUN_ID": "test"}
        os.environ.update({name: str(value) for name, value in (ranks | address).items()})
        rank_zero_only.rank = self.rank  # Lightning has been imported before
        self._spoil()

    def _spoil(self) -> None:
        from weakshot_seg.training.module import WeakShotModule

        begin, end = WeakShotModule.on_train_batch_start, WeakShotModule.on_train_end
        step = WeakShotModule.training_step
        states: list[dict[str, torch.Tensor]] = []

        def keep(module: WeakShotModule) -> None:
            states.append({name: p.detach().clone() for name, p in module.named_parameters()})

        def on_start(module: WeakShotModule, *args: Any) -> None:
            keep(module)
            begin(module, *args)

        def on_step(module: WeakShotModule, batch: Any, batch_idx: int) -> torch.Tensor:
            loss = step(module, batch, batch_idx)
            return loss * torch.nan if batch_idx == 1 and self.rank == self.bad_rank else loss

        def on_end(module: WeakShotModule) -> None:
            keep(module)
            torch.save(states, self.folder / f"rank-{self.rank}.pt")
            end(module)

        WeakShotModule.on_train_batch_start = on_start
        WeakShotModule.training_step = on_step
        WeakShotModule.on_train_end = on_end
