"""A long training on synthetic scenes that is killed again and again: what it loses, and whether anything leaks.

    nice -n 5 python scripts/soak.py --minutes 30 --out outputs/soak
    python scripts/soak.py --minutes 5 --kill-after 10 15 --save-every 5

SIGKILL hits the training every 20 to 60 seconds, half of the time together with its data loading processes, and the
same command with ``resume=true`` goes on at once. Then it runs undisturbed for some minutes and is asked to end by
SIGTERM. Every step is written down when it is done, with its loss to the last bit, so that steps done twice can be
compared. What follows ``--`` goes to ``weakshot_seg.train``. Writes ``soak.json``; exit code 1 if anything was lost or
leaked. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from soak_report import Record, Sample, Session, Summary

SETTINGS = (
    "trainer.max_steps=1000000",
    "trainer.val_check_interval=100",
    "trainer.accelerator=cpu",
    "data.batch_size=4",
    "data.num_workers=2",
    "data.val.num_images=20",
    "model.dropout=0.1",
)
MB = 2**20


class StepLog(pl.Callback):
    """Appends "step loss" to a file after every step; what was written outlives SIGKILL.

    Args:
        file: Its path.
    """

    def __init__(self, file: str) -> None:
        self.file = file

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        """Writes the line in one call."""
        with open(self.file, "ab", buffering=0) as file:
            file.write(f"{trainer.global_step} {outputs['loss'].item().hex()}\n".encode())


@dataclass
class Soak:
    """A training that is run again and again.

    Attributes:
        out: Folder of the run and of all that is left behind.
        overrides: Settings of the training.
        record: What it has shown so far.
        start: When it began.
    """

    out: Path
    overrides: Sequence[str]
    record: Record
    start: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Time so far."""
        return time.monotonic() - self.start

    @property
    def run(self) -> Path:
        """Folder of the training."""
        return self.out / "run"

    def train(self, seconds: float, number: signal.Signals, with_workers: bool = False) -> None:
        """Runs one session and sends it the signal after some seconds."""
        index, began = len(self.record.sessions), time.monotonic()
        steps = self.out / f"steps-{index}.txt"
        found = self.saved_step()
        with (self.out / f"console-{index}.txt").open("w") as console:
            process = subprocess.Popen(
                [sys.executable, "-m", "weakshot_seg.train", *self.settings(steps)],
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path[1:]])},
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        samples = []
        while process.poll() is None and time.monotonic() < began + seconds:
            time.sleep(1)
            if (step := last_step(steps)) is not None:
                samples.append(self.look(process.pid, step))
        ended = "ended by itself"
        if process.poll() is None:
            ended = "asked to end" if number != signal.SIGKILL else "killed with workers" if with_workers else "killed"
            os.killpg(process.pid, number) if with_workers else process.send_signal(number)
        code = process.wait()
        if code != (-number if number == signal.SIGKILL else 128 + number):
            self.record.wrong.append(f"session {index} ended with exit code {code}: see console-{index}.txt")
        done = self.record.compare(steps)
        first, last = (done[0], done[-1]) if done else (None, None)
        seconds = round(time.monotonic() - began, 1)
        saved = self.saved_step()
        self.record.add(Session(process.pid, ended, code, seconds, found, first, last, saved, samples))
        for before in self.record.sessions[:-1]:  # they ended long ago
            self.record.wrong += [f"process {pid} outlived its killed parent" for pid in members(before.pid)]
        now = f"{self.seconds:6.0f} s"
        print(f"{now}  session {index}, {ended}: steps {first} to {last}, {saved} saved", flush=True)

    def settings(self, steps: Path) -> list[str]:
        """Arguments of ``weakshot_seg.train``, with a log of the steps."""
        log = ["+callbacks.steps._target_=soak.StepLog", f"+callbacks.steps.file={steps}"]
        log += [f"callbacks.last.every_n_steps={self.record.save_every}"]
        return [*SETTINGS, *self.overrides, *log, f"hydra.run.dir={self.run}", "resume=true"]

    def saved_step(self) -> int:
        """Step of the checkpoint that a resumed training takes; 0 without one."""
        for name in ("new", "last", "previous"):
            file = self.run / "checkpoints" / f"{name}.ckpt"
            if file.exists():
                return int(torch.load(file, weights_only=True, map_location="cpu")["global_step"])
        return 0

    def look(self, pid: int, step: int) -> Sample:
        """Memory and handles of a training process now."""
        workers = sum(resident_mb(child) for child in children(pid))
        handles = len(os.listdir(f"/proc/{pid}/fd")) if Path(f"/proc/{pid}/fd").exists() else 0
        return Sample(round(self.seconds, 1), step, resident_mb(pid), workers, handles)


def members(session: int) -> Iterator[int]:
    """Living processes of a session of the system, named by its first process, whoever their parent is by now."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, *_, leader = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:  # it has just ended
                continue
            if int(leader) == session and state != "Z":
                yield int(entry.name)


def children(pid: int) -> Iterator[int]:
    """Processes that a process has started."""
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            yield from map(int, thread.read_text().split())
        except OSError:  # it has just ended
            continue


def resident_mb(pid: int) -> float:
    """Resident memory of a process, 0 if it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def last_step(file: Path) -> int | None:
    """The step in the last line of a step log, None before the first."""
    try:
        lines = file.read_bytes().splitlines()
    except OSError:
        return None
    return int(lines[-1].split()[0]) if lines else None


def main() -> None:
    """Parses the command line, trains and kills, reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="with kills")
    parser.add_argument("--calm", type=float, default=15, help="minutes without, afterwards")
    parser.add_argument("--kill-after", type=float, nargs=2, default=(20, 60), metavar="SECONDS", help="least and most")
    parser.add_argument("--save-every", type=int, default=20, metavar="STEPS", help="between two checkpoints")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--out", type=Path, default=Path("outputs/soak"), help="a new folder")
    parser.add_argument("overrides", nargs="*", help="for the training, after --")
    args = parser.parse_args()
    args.out = args.out.absolute()
    args.out.mkdir(parents=True)
    chance = random.Random(args.seed)
    soak = Soak(args.out, args.overrides, Record(args.save_every))
    while soak.seconds < 60 * args.minutes and not soak.record.wrong:
        soak.train(chance.uniform(*args.kill_after), signal.SIGKILL, with_workers=chance.random() < 0.5)
    soak.train(60 * args.calm, signal.SIGTERM)
    found = Summary.of(soak.record, args.out, soak.seconds / 60)
    sessions = [asdict(session) for session in soak.record.sessions]
    (args.out / "soak.json").write_text(json.dumps({**asdict(found), "sessions": sessions}, indent=1) + "\n")
    print(f"\n{found.table()}\n\n{args.out / 'soak.json'}")
    sys.exit(bool(found.wrong))


if __name__ == "__main__":
    main()
