"""Memory of the CPU between training steps."""

from __future__ import annotations

import ctypes
import os

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # <malloc.h>


def keep_freed_memory() -> bool:
    """Lets glibc keep freed blocks for the next step; else every large tensor is mapped anew and zeroed page by page.

    On CPUs that is a third of the time of the pixel pairs. The peak is as before, but the process holds it throughout.

    Returns:
        Whether it is in force: not without glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    return all(mallopt(*option) for option in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**28)))
