"""Freed memory is used again instead of being mapped anew."""

import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, sys, torch
from weakshot_seg.training.memory import keep_freed_memory

class Mallinfo(ctypes.Structure):  # <malloc.h>
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split())]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Mallinfo
if sys.argv[1] == "keep":
    assert keep_freed_memory()
tensors = [torch.ones(2**22) for _ in range(4)]  # 16 MB each
mapped = mallinfo().hblkhd  # bytes that go back to the system as soon as they are freed
del tensors
print(mapped, mallinfo().fordblks)  # and free bytes that the process keeps
"""
TENSORS = 4 * 4 * 2**22


def memory(mode: str) -> tuple[int, int]:
    """Bytes in mappings of their own while four tensors live, free bytes the process keeps afterwards."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD"))}
    command = [sys.executable, "-c", SCRIPT, mode]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    mapped, kept = result.stdout.split()
    return int(mapped), int(kept)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an option of glibc")
def test_freed_memory_is_kept() -> None:
    mapped, kept = memory("plain")
    assert mapped >= TENSORS
    assert kept < TENSORS
    mapped, kept = memory("keep")
    assert mapped < TENSORS / 10
    assert kept >= TENSORS
