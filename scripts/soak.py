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

import numpy as np
import pytorch_lightning as pl
import torch

from weakshot_seg.utils.tables import aligned

SETTINGS = (
    "trainer.max_steps=1000000",
    "trainer.val_check_interval=100",
    "trainer.accelerator=cpu",
    "data.batch_size=4",
    "data.num_workers=2",
    "data.val.num_images=20",
    "model.dropout=0.1",
)
WARM_UP = 20
"""Steps of a session after which its memory is compared with that of other sessions."""
SETTLED = 250
"""Steps of a session after which its memory should grow no more: two validations have taken theirs."""
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
class Sample:
    """One look at the processes of a session.

    Attributes:
        second: Since the start of the soak.
        step: The last step done.
        main_mb: Resident memory of the training process.
        workers_mb: Of its data loading processes together; pages shared among them count several times.
        handles: Open files of the training process.
    """

    second: float
    step: int
    main_mb: float
    workers_mb: float
    handles: int


@dataclass
class Session:
    """One process of the training, from its start to its end.

    Attributes:
        pid: Of the process, and thereby of all that it started.
        ended: How: "killed", "killed with workers" or "asked to end".
        exit_code: Of the process.
        seconds: It lasted.
        started_from: Step of the checkpoint that it found, 0 if none.
        first_step: It did, None if it was killed before.
        last_step: It did.
        saved_step: Step of the checkpoint it left.
        samples: Of memory and handles, one per second from the first step on.
    """

    pid: int
    ended: str
    exit_code: int
    seconds: float
    started_from: int
    first_step: int | None
    last_step: int | None
    saved_step: int
    samples: list[Sample] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Steps done and not saved."""
        return max(0, (self.last_step or 0) - self.saved_step)

    def age(self, sample: Sample) -> int:
        """Steps done in this session when the sample was taken."""
        return sample.step - self.started_from


@dataclass
class Soak:
    """All sessions so far.

    Attributes:
        out: Folder of the run and of all that is left behind.
        save_every: Steps from one checkpoint to the next.
        overrides: Settings of the training.
        losses: Of every step, as hexadecimal floats.
        wrong: Everything that must not be.
    """

    out: Path
    save_every: int
    overrides: Sequence[str]
    sessions: list[Session] = field(default_factory=list)
    losses: dict[int, str] = field(default_factory=dict)
    repeated: int = 0
    wrong: list[str] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)

    @property
    def run(self) -> Path:
        """Folder of the training."""
        return self.out / "run"

    def train(self, seconds: float, number: signal.Signals, with_workers: bool = False) -> None:
        """Runs one session and sends it the signal after some seconds."""
        index, began = len(self.sessions), time.monotonic()
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
        if process.poll() is None:
            os.killpg(process.pid, number) if with_workers else process.send_signal(number)
        code = process.wait()
        ended = "asked to end" if number != signal.SIGKILL else "killed with workers" if with_workers else "killed"
        if code != (-number if number == signal.SIGKILL else 128 + number):
            self.wrong.append(f"session {index} ended with exit code {code}: see console-{index}.txt")
        done = self.compare(steps)
        first, last = (done[0], done[-1]) if done else (None, None)
        seconds = round(time.monotonic() - began, 1)
        saved = self.saved_step()
        self.sessions.append(Session(process.pid, ended, code, seconds, found, first, last, saved, samples))
        self.check(self.sessions[-1])
        now = f"{time.monotonic() - self.start:6.0f} s"
        print(f"{now}  session {index}, {ended}: steps {first} to {last}, {saved} saved", flush=True)

    def settings(self, steps: Path) -> list[str]:
        """Arguments of ``weakshot_seg.train``, with a log of the steps."""
        log = ["+callbacks.steps._target_=soak.StepLog", f"+callbacks.steps.file={steps}"]
        log += [f"callbacks.last.every_n_steps={self.save_every}"]
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
        return Sample(round(time.monotonic() - self.start, 1), step, resident_mb(pid), workers, handles)

    def compare(self, file: Path) -> list[int]:
        """Steps in the file; those that an earlier session did as well must have had the same loss."""
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        for step, loss in ((int(step), loss) for step, loss in lines):
            if step in self.losses:
                self.repeated += 1
                if self.losses[step] != loss:
                    was, now = (float.fromhex(value) for value in (self.losses[step], loss))
                    self.wrong.append(f"the loss of step {step} was {was} and is {now} when repeated")
            self.losses[step] = loss
        return [int(step) for step, _ in lines]

    def check(self, session: Session) -> None:
        """A session goes on right after the checkpoint it found, and nothing of those before is left."""
        if session.first_step is not None and session.first_step != session.started_from + 1:
            self.wrong.append(f"a session found step {session.started_from} saved and began with {session.first_step}")
        if session.saved_step < session.started_from:
            self.wrong.append(f"a session found step {session.started_from} saved and left step {session.saved_step}")
        if session.lost > self.save_every:
            self.wrong.append(f"a session lost {session.lost} steps, more than are between two checkpoints")
        for before in self.sessions[:-1]:  # they ended long ago
            self.wrong += [f"process {pid} outlived its killed parent" for pid in members(before.pid)]


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


@dataclass(frozen=True)
class Course:
    """How a number went over time.

    Attributes:
        least: Of all.
        most: Of all.
        per_minute: Growth by least squares.
    """

    least: float
    most: float
    per_minute: float

    @classmethod
    def of(cls, rows: Sequence[tuple[float, float]]) -> Course | None:
        """From rows of (second, value); None for fewer than three."""
        if len(rows) < 3:
            return None
        seconds, values = np.array(rows).T
        return cls(values.min().round(1), values.max().round(1), round(60 * np.polyfit(seconds, values, 1)[0], 2))


@dataclass(frozen=True)
class Summary:
    """What the sessions show.

    Attributes:
        minutes: All of it took.
        kills: In all.
        kills_with_workers: Those that hit the data loading processes as well.
        kills_before_a_step: Those within the start of the training.
        steps: Of the training at the end.
        steps_missing: Of these, done by no session.
        steps_repeated: Done again after a kill, with the same loss to the last bit (or see ``wrong``).
        most_steps_lost: By a kill.
        mean_steps_lost: By a kill.
        start_mb: Memory of the training process soon after its start, over the sessions.
        calm_mb: The same within the undisturbed session.
        calm_workers_mb: Of its data loading processes.
        calm_handles: Its open files.
        leftover_files: Half-written files at the end.
        wrong: Everything that must not be.
    """

    minutes: float
    kills: int
    kills_with_workers: int
    kills_before_a_step: int
    steps: int
    steps_missing: int
    steps_repeated: int
    most_steps_lost: int
    mean_steps_lost: float
    start_mb: Course | None
    calm_mb: Course | None
    calm_workers_mb: Course | None
    calm_handles: Course | None
    leftover_files: tuple[str, ...]
    wrong: tuple[str, ...]

    @classmethod
    def of(cls, soak: Soak) -> Summary:
        """Adds to what is wrong: missing steps, memory that grows (2 % in ten minutes), handles, files left behind."""
        *killed, calm = soak.sessions
        steps, wrong = max(soak.losses, default=0), list(soak.wrong)
        missing = sum(step not in soak.losses for step in range(1, steps + 1))
        files = tuple(str(path.relative_to(soak.out)) for path in soak.out.rglob(".*.tmp"))
        starts = [next((s for s in session.samples if session.age(s) >= WARM_UP), None) for session in killed]
        settled = [s for s in calm.samples if calm.age(s) >= SETTLED]
        start_mb = Course.of([(s.second, s.main_mb) for s in starts if s is not None])
        calm_mb, workers_mb, handles = (
            Course.of([(s.second, getattr(s, name)) for s in settled]) for name in ("main_mb", "workers_mb", "handles")
        )
        courses = {"memory over sessions": start_mb, "memory": calm_mb, "memory of the workers": workers_mb}
        for name, course in {**courses, "number of open files": handles}.items():
            if course is not None and 10 * course.per_minute > 0.02 * course.most:
                wrong.append(f"the {name} grows by {course.per_minute} per minute")
        wrong += [f"{missing} steps are missing"] * bool(missing)
        wrong += [f"{len(files)} half-written files are left"] * bool(files)
        lost = [session.lost for session in killed]
        return cls(
            round((time.monotonic() - soak.start) / 60, 1),
            len(killed),
            sum(session.ended == "killed with workers" for session in killed),
            sum(session.first_step is None for session in killed),
            steps,
            missing,
            soak.repeated,
            max(lost, default=0),
            round(float(np.mean(lost)), 1) if lost else 0.0,
            start_mb,
            calm_mb,
            workers_mb,
            handles,
            files,
            tuple(wrong),
        )

    def table(self) -> str:
        """One line per number."""
        rows = [(name.replace("_", " "), getattr(self, name)) for name in asdict(self)]
        shown = [
            (name, f"{v.least:g} to {v.most:g}, {v.per_minute:+g} per minute" if isinstance(v, Course) else f"{v or 0}")
            for name, v in rows[:-2]
        ]
        return aligned([*shown, *((name, "; ".join(v) or "none") for name, v in rows[-2:])], "<<")


def main() -> None:
    """Parses the command line, trains and kills, reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="with kills")
    parser.add_argument("--calm", type=float, default=5, help="minutes without, afterwards")
    parser.add_argument("--kill-after", type=float, nargs=2, default=(20, 60), metavar="SECONDS", help="least and most")
    parser.add_argument("--save-every", type=int, default=20, metavar="STEPS", help="between two checkpoints")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--out", type=Path, default=Path("outputs/soak"), help="a new folder")
    parser.add_argument("overrides", nargs="*", help="for the training, after --")
    args = parser.parse_args()
    args.out = args.out.absolute()
    args.out.mkdir(parents=True)
    chance = random.Random(args.seed)
    soak = Soak(args.out, args.save_every, args.overrides)
    while time.monotonic() - soak.start < 60 * args.minutes:
        soak.train(chance.uniform(*args.kill_after), signal.SIGKILL, with_workers=chance.random() < 0.5)
    soak.train(60 * args.calm, signal.SIGTERM)
    found = Summary.of(soak)
    sessions = [asdict(session) for session in soak.sessions]
    (args.out / "soak.json").write_text(json.dumps({**asdict(found), "sessions": sessions}, indent=1) + "\n")
    print(f"\n{found.table()}\n\n{args.out / 'soak.json'}")
    sys.exit(bool(found.wrong))


if __name__ == "__main__":
    main()
