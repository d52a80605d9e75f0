"""Dataclasses that go to a device as a whole."""

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Movable:
    """Moves every tensor field of a dataclass, also nested ones; Lightning and the DataLoader call it."""

    def _map(self, name: str, *args: object, **kwargs: object) -> Self:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        mapped = {k: getattr(v, name)(*args, **kwargs) for k, v in values.items() if isinstance(v, Tensor | Movable)}
        return replace(self, **mapped)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same on ``device``."""
        return self._map("to", device, non_blocking=non_blocking)

    def pin_memory(self) -> Self:
        """The same in page-locked memory (for asynchronous copies to a GPU)."""
        return self._map("pin_memory")
