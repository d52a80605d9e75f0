"""torch.compile as a setting."""

import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from weakshot_seg.errors import ConfigError

Backend = str | Callable[..., Any]


class Compilable(nn.Module):
    """A module without parameters around a function of tensors, so that it can be compiled in place."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        """What the function returns."""
        return self.function(*args)


def check_backend(backend: Backend, setting: str) -> None:
    """A ConfigError for a backend that ``torch.compile`` does not have, and "inductor" without a C++ compiler."""
    names = torch.compiler.list_backends(exclude_tags=None)
    if isinstance(backend, str) and backend not in names:
        raise ConfigError(f"{setting}={backend!r}: choose one of {names} or null")
    compilers = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "cl"]
    if backend == "inductor" and not any(map(shutil.which, compilers)):
        raise ConfigError(
            f"{setting}=inductor needs a C++ compiler, but there is no {' or '.join(compilers)} on the PATH: install "
            f"one (Debian: apt install g++), name it in the environment variable CXX, or set {setting}=null"
        )
