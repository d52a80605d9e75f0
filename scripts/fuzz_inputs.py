"""Reads files with changes at random: each is read as it is, or refused in a line; nothing else may happen.

    python scripts/fuzz_inputs.py [--inputs N] [--seed S] [--only KIND[:NUMBER] ...]

A line for each kind, with the inputs that were read and judged by a second reader, read, and refused. A fault is an
exception that is no refusal, more than ``LIMIT`` seconds of CPU time, or something read that the file does not hold; it
is printed with its KIND:NUMBER, which runs it alone, and the exit code is 1.
"""

import argparse
import faulthandler
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from fuzzing import checkpoints, exports, pictures, tables
from fuzzing.verdict import Refused, Unjudged

LIMIT = 5.0
"""Seconds of CPU time for one input."""
HANG = 300
"""Seconds of one input after which the run ends."""
KINDS: dict[str, tuple[float, Callable[[Random, Path], None]]] = {
    "mask": (0.3, pictures.mask),
    "photo": (0.2, pictures.photo),
    "tags": (0.15, tables.tags),
    "classes": (0.12, tables.classes),
    "export": (0.1, exports.export),
    "checkpoint": (0.05, checkpoints.checkpoint),
    "model_folder": (0.03, checkpoints.model_folder),
    "detectron2": (0.03, checkpoints.detectron2),
    "backbone": (0.02, checkpoints.backbone),
}
"""Share of the inputs, and what changes and reads one in an empty folder."""


def outcome(kind: str, number: int, seed: int, folder: Path) -> tuple[str, str]:
    """What came of one input ("read", "unjudged", "refused" or "fault"), and why."""
    start = time.process_time()
    signal.alarm(HANG)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        try:
            KINDS[kind][1](Random(f"{seed} {kind} {number}"), Path(place))
            result = "read", ""
        except Refused as error:
            result = "refused", str(error)
        except Unjudged as error:
            result = "unjudged", str(error)
        except Exception:
            result = "fault", traceback.format_exc()
    signal.alarm(0)
    spent = time.process_time() - start
    return ("fault", f"took {spent:.1f} s of CPU time\n") if spent > LIMIT else result


def fuzz(inputs: int, seed: int, only: Sequence[str] = ()) -> dict[str, Counter[str]]:
    """Tries ``inputs`` files, prints faults, and counts the outcomes of each kind."""
    counts = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind, (share, _) in KINDS.items():
            numbers = [int(word.partition(":")[2] or -1) for word in only if word.partition(":")[0] == kind]
            if only and not numbers:
                continue
            counts[kind] = Counter[str]()
            for number in range(round(share * inputs)) if not only or -1 in numbers else numbers:
                result, reason = outcome(kind, number, seed, Path(folder))
                counts[kind][result] += 1
                if result == "fault":
                    print(f"FAULT {kind}:{number}\n{reason}", flush=True)
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=(), help=f"KIND or KIND:NUMBER; kinds: {', '.join(KINDS)}")
    options = parser.parse_args(arguments)
    counts = fuzz(options.inputs, options.seed, options.only)
    results = ("read", "unjudged", "refused", "fault")
    print(f"{'':14}" + "".join(f"{result:>10}" for result in results))
    for kind, of_kind in counts.items():
        print(f"{kind:14}" + "".join(f"{of_kind[result]:10,}" for result in results))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory: {peak:.0f} MB")
    return int(any(of_kind["fault"] for of_kind in counts.values()))


if __name__ == "__main__":
    faulthandler.register(signal.SIGALRM, file=sys.stdout, chain=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders in C write there what they think of each file
    sys.exit(main())
