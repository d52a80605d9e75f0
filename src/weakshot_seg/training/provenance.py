"""What made a result: versions of libraries, the git commit of this package, and the files it was trained on."""

import json
import logging
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from weakshot_seg.utils.files import noting_damage, replacing
from weakshot_seg.utils.tables import first_few

FILES = "training_files.json"
LIBRARIES = ("weakshot-seg", "torch", "pytorch-lightning", "timm", "albumentations", "numpy", "scipy", "hydra-core")

log = logging.getLogger(__name__)


@cache
def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide on numbers, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # such as this package itself with PYTHONPATH=src
            continue
    return found


@cache
def git_commit(folder: Path = Path(__file__).parent) -> str | None:
    """The commit of the repository of some code, with ``-dirty`` if files of it were changed; None without git."""

    def git(*arguments: str) -> str | None:
        try:
            return subprocess.check_output(
                ["git", *arguments], cwd=folder, stderr=subprocess.DEVNULL, text=True, timeout=10
            ).strip()
        except (OSError, subprocess.SubprocessError):
            return None

    if not git("ls-files", "--", "."):  # another repository around an installed package says nothing of it
        return None
    return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def note_files(folder: Path, digests: dict[str, str], resumed: bool) -> None:
    """Keeps what the files of a run were, by name; a ``resumed`` run logs which have changed since it began."""
    path = folder / FILES
    if not (resumed and path.exists()):
        if digests:
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(digests, indent=0) + "\n", encoding="ascii")
        return
    damage: list[str] = []
    with noting_damage(path, damage):
        before: dict[str, str] = json.loads(path.read_text(encoding="ascii"))
        parts = (
            ("changed", [name for name in digests if before.get(name, digests[name]) != digests[name]]),
            ("new", [name for name in digests if name not in before]),
            ("gone", [name for name in before if name not in digests]),
        )
        if texts := [f"{len(names)} {what} ({first_few(names)})" for what, names in parts if names]:
            log.warning("the training images are not those that the run began with: %s", ", ".join(texts))
    for remark in damage:
        log.warning("%s", remark)
