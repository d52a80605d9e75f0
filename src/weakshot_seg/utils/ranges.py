"""Ranges of numbers as types: constructors are annotated with them, and the check of settings reads them there."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

Count = Annotated[int, Ge(1)]
Channels = Annotated[int, Ge(1), Le(2**16)]
Layers = Annotated[int, Ge(1), Le(1000)]
NonNegativeInt = Annotated[int, Ge(0)]
NonNegative = Annotated[float, Ge(0), Le(1e9)]
Positive = Annotated[float, Gt(0), Le(1e9)]
Share = Annotated[float, Ge(0), Le(1)]
PositiveShare = Annotated[float, Gt(0), Le(1)]
BelowOne = Annotated[float, Ge(0), Lt(1)]
