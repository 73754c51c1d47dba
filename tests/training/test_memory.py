"""Freed memory is kept for the next step, but not without bound."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import re, torch
from training import memory

def resident():
    return int(re.search(r"VmRSS:\\s*(\\d+) kB", open("/proc/self/status", encoding="utf-8").read())[1]) / 1024

memory._EXCESS = 500 << 20
memory.keep_freed_memory()
before = resident()
for megabytes in (60, 800):
    blocks = [torch.ones(1 << 18) for _ in range(megabytes)]
    del blocks
    kept = resident() - before
    memory.give_back_excess()
    print(round(kept), round(resident() - before))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="these are knobs of glibc")
def test_little_is_kept_and_much_is_given_back():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    (kept, still), (more, left) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert kept > 50 and still > 50, "60 MB stay for the next step"
    assert more > 750 and left < 100, "800 MB are too much to keep"
