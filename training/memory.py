"""How the process takes memory from the system."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let glibc reuse the memory of freed tensors instead of giving it back to the system after every operation.

    Large tensors otherwise come as fresh pages that the kernel has to clear each time, which can take longer than
    the arithmetic. Elsewhere than on Linux this does nothing; it never changes a result.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # a Linux without glibc
        return
    mallopt(_M_MMAP_THRESHOLD, 1 << 30)
    mallopt(_M_TRIM_THRESHOLD, -1)  # never
