"""Ranges of numbers as types: constructors are annotated with them, and settings are checked by these annotations.

So are texts with rules. Numbers without another upper end are limited to what a computer could take.
"""

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt, MultipleOf, Predicate, doc

Count = Annotated[int, Ge(1), Le(10**9)]
Channels = Annotated[int, Ge(1), Le(2**16)]
GroupedChannels = Annotated[int, Ge(32), Le(2**16), MultipleOf(32)]  # of GroupNorm
SineChannels = Annotated[int, Ge(4), Le(2**16), MultipleOf(4)]  # with positions: sines and cosines of x and y
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
WandbProject = Annotated[
    str,
    Predicate(lambda name: 0 < len(name) <= 128 and not any(sign in name for sign in "/\\#?%:")),
    doc("a name of at most 128 characters, none of them / \\ # ? % : (a team goes to +logger.wandb.entity)"),
]
