"""Freed memory is used again instead of being mapped anew."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, torch
from weakshot_seg.utils.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def step():
    return [torch.ones(2**22) for _ in range(4)]  # 16 MB each
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    result = subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True)
    return int(result.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an option of glibc")
def test_page_faults() -> None:
    assert page_faults("keep") < 0.1 * page_faults("plain")
