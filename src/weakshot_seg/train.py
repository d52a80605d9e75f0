"""``weakshot_seg.train(...)`` trains from Python; ``python -m weakshot_seg.train`` is ``weakshot train``."""

import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from weakshot_seg.cli.entry_point import run_command

if TYPE_CHECKING:
    from weakshot_seg.interface.run import Run


class CallableModule(ModuleType):
    """This module, which is also the function of its name: importing it must not hide ``weakshot_seg.train``."""

    def __call__(
        self,
        experiment: str | None = None,
        *words: str,
        root: str | os.PathLike[str] | None = None,
        novel: Sequence[str] | None = None,
        **settings: Any,
    ) -> "Run":
        """See :func:`weakshot_seg.interface.training.train`."""
        from weakshot_seg.interface import training

        return training.train(experiment, *words, root=root, novel=novel, **settings)


if __name__ == "__main__":
    run_command("train")
else:
    sys.modules[__name__].__class__ = CallableModule
