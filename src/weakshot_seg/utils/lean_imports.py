"""Lightning and timm import torchmetrics, wandb and more for features of theirs that a command does not use."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from unittest.mock import patch

UNUSED = ("transformers", "matplotlib", "scipy", "wandb")  # whoever uses them imports them afterwards


def import_lightning() -> None:
    """Imports ``pytorch_lightning`` and ``timm`` as if :data:`UNUSED` were not installed, which saves two seconds.

    For commands only: in a process of the user's, torchmetrics would go on without text metrics and plots.
    """
    with suppress(ImportError), _hidden(*UNUSED):  # of versions that look for packages in another way: all is imported
        for library in ("pytorch_lightning", "timm"):
            importlib.import_module(library)


@contextmanager
def _hidden(*packages: str) -> Iterator[None]:
    """Meanwhile, packages that are not imported yet cannot be, and torchmetrics finds no version of them."""

    def installed(name: str) -> str:
        if name in hidden:
            raise PackageNotFoundError(name)
        return version(name)

    hidden = [name for name in packages if name not in sys.modules]
    try:
        for name in hidden:
            sys.modules[name] = None  # type: ignore[assignment]  # the import system's own way to say so
        with patch("lightning_utilities.core.imports._version", installed, create=True):
            yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
