"""Activation checkpointing: blocks keep their input only and compute the rest again in the backward pass."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from types import MethodType
from typing import Any, cast

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_blocks(module: nn.Module) -> None:
    """Has every block within ``module`` recompute its activations in backward (Chen et al., arXiv 1604.06174).

    A block is a composed module in an ``nn.Sequential`` or ``nn.ModuleList``, the outermost one: a residual block of a
    backbone, a layer of a transformer. Losses, gradients and BatchNorm statistics stay what they are, and so do the
    names of the weights. Without gradients and in evaluation mode nothing changes.
    """
    for child in module.children():
        composed = type(child) not in (nn.Sequential, nn.ModuleList) and any(True for _ in child.children())
        if composed and type(module) in (nn.Sequential, nn.ModuleList):
            # bound to the module, so that copies of it call themselves
            child.forward = partial(_run, cast(MethodType, child.forward))
        else:
            checkpoint_blocks(child)


def _run(forward: MethodType, *args: Any, **kwargs: Any) -> Any:
    """Calls a block's ``forward`` under checkpointing if it is being trained."""
    block = cast(nn.Module, forward.__self__)
    if not (block.training and torch.is_grad_enabled()):
        return forward(*args, **kwargs)
    return checkpoint(
        forward, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), _counted_already(block)), **kwargs
    )


@contextmanager
def _counted_already(block: nn.Module) -> Iterator[None]:
    """Within it, BatchNorm normalises by its batch as always but does not count it a second time."""
    norms = [m for m in block.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    counting = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms if norm.training]
    for norm, _, _ in counting:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, count in counting:
            norm.momentum, norm.num_batches_tracked = momentum, count
