"""Ranges of numbers as types: constructors are annotated with them, and settings are checked by these annotations.

Numbers without another upper end are limited to what a computer could take.
"""

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

Count = Annotated[int, Ge(1), Le(10**9)]
Channels = Annotated[int, Ge(1), Le(2**16)]
Layers = Annotated[int, Ge(1), Le(1000)]
Workers = Annotated[int, Ge(0), Le(1000)]
Threads = Annotated[int, Ge(1), Le(1000)]
LabelId = Annotated[int, Ge(0), Le(255)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
Port = Annotated[int, Ge(0), Le(65535)]
NonNegativeInt = Annotated[int, Ge(0), Le(10**9)]
NonNegative = Annotated[float, Ge(0), Le(1e9)]
Positive = Annotated[float, Gt(0), Le(1e9)]
Scale = Annotated[float, Gt(0), Le(100)]
Share = Annotated[float, Ge(0), Le(1)]
PositiveShare = Annotated[float, Gt(0), Le(1)]
BelowOne = Annotated[float, Ge(0), Lt(1)]
