"""Which code made a result: versions of libraries, and the git commit of this package."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("weakshot-seg", "torch", "pytorch-lightning", "timm", "albumentations", "numpy", "scipy", "hydra-core")


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
