"""What a soak (``soak.py``) has seen: sessions, the loss of every step, and whatever must not be; and its summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from weakshot_seg.utils.tables import aligned

WARM_UP = 20
"""Steps of a session after which its memory is compared with that of other sessions."""
SETTLED = 2500
"""Steps of a session after which its memory should grow no more: until then the allocator's pools fill up, by 14 MB."""
FEWEST = 10
"""Sessions from which on a growth over sessions is distinguished from chance: they differ by 30 MB."""


@dataclass
class Sample:
    """The processes of a session at one moment.

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
        ended: How: "killed", "killed with workers", "asked to end" or "ended by itself".
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
class Record:
    """All sessions so far.

    Attributes:
        save_every: Steps from one checkpoint to the next.
        sessions: In order.
        losses: Of every step, as hexadecimal floats.
        repeated: Steps done again after a kill.
        wrong: Everything that must not be.
    """

    save_every: int
    sessions: list[Session] = field(default_factory=list)
    losses: dict[int, str] = field(default_factory=dict)
    repeated: int = 0
    wrong: list[str] = field(default_factory=list)

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

    def add(self, session: Session) -> None:
        """A session goes on right after the checkpoint it found, and loses nothing that is older than the next."""
        found, first, saved = session.started_from, session.first_step, session.saved_step
        if first is not None and first != found + 1:
            self.wrong.append(f"a session found step {found} saved and began with {first}")
        if saved < found:
            self.wrong.append(f"a session found step {found} saved and left step {saved}")
        if session.lost > self.save_every:
            self.wrong.append(f"a session lost {session.lost} steps, more than are between two checkpoints")
        self.sessions.append(session)


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

    def __str__(self) -> str:
        return f"{self.least:g} to {self.most:g}, {self.per_minute:+g} per minute"

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
        start_mb: Memory of the training process soon after its start, over the sessions; None: too few to tell.
        calm_mb: The same within the undisturbed session; None, as in the next two: too short to tell.
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
    def of(cls, record: Record, out: Path, minutes: float) -> Summary:
        """Adds to what is wrong: missing steps, files left over, growth by 2 % of memory or 5 files in ten minutes."""
        *killed, calm = record.sessions
        steps, wrong = max(record.losses, default=0), list(record.wrong)
        missing = sum(step not in record.losses for step in range(1, steps + 1))
        files = tuple(str(path.relative_to(out)) for path in out.rglob(".*.tmp"))
        starts = [next((s for s in session.samples if session.age(s) >= WARM_UP), None) for session in killed]
        settled = [s for s in calm.samples if calm.age(s) >= SETTLED]
        started = [(s.second, s.main_mb) for s in starts if s is not None]
        start_mb = Course.of(started) if len(started) >= FEWEST else None
        calm_mb, workers_mb, handles = (
            Course.of([(s.second, getattr(s, name)) for s in settled]) for name in ("main_mb", "workers_mb", "handles")
        )
        memory = {"memory over sessions": start_mb, "memory": calm_mb, "memory of the workers": workers_mb}
        allowed = {name: (course, 0.02 * course.most) for name, course in memory.items() if course is not None}
        if handles is not None:
            allowed["number of open files"] = (handles, 5)  # validations open some for a moment
        for name, (course, growth) in allowed.items():
            if 10 * course.per_minute > growth:
                wrong.append(f"the {name} grows by {course.per_minute} per minute")
        wrong += [f"{missing} steps are missing"] * bool(missing)
        wrong += [f"{len(files)} half-written files are left"] * bool(files)
        lost = [session.lost for session in killed]
        return cls(
            round(minutes, 1),
            sum(session.ended.startswith("killed") for session in killed),
            sum(session.ended == "killed with workers" for session in killed),
            sum(session.first_step is None and session.ended.startswith("killed") for session in killed),
            steps,
            missing,
            record.repeated,
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
        shown = [(name, "not judged: too short" if v is None else str(v)) for name, v in rows[:-2]]
        return aligned([*shown, *((name, "; ".join(v) or "none") for name, v in rows[-2:])], "<<")
