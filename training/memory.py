"""How the process takes memory from the system."""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_EXCESS = 2 << 30
"""bytes of freed memory that the process keeps"""


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is the one whose knobs these are."""
    try:
        library = ctypes.CDLL("libc.so.6") if sys.platform.startswith("linux") else None
        return library if hasattr(library, "mallinfo2") else None
    except OSError:  # a Linux without glibc
        return None


class _Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "used", "free", "keepcost")
    ]


def keep_freed_memory() -> None:
    """Let glibc reuse the memory of freed tensors instead of giving it back to the system after every operation.

    Large tensors otherwise come as fresh pages that the kernel has to clear each time, which can take longer than
    the arithmetic. Elsewhere than on Linux this does nothing; it never changes a result.
    """
    library = _glibc()
    if library is None:
        return
    library.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
    library.mallopt(_M_TRIM_THRESHOLD, -1)  # never
    library.mallopt(_M_ARENA_MAX, 1)  # else each thread that loads data would keep a heap of its own


def give_back_excess() -> None:
    """Return freed memory to the system if there is much of it.

    Batches differ in size, so freed blocks seldom fit the next ones, and a heap that keeps them all would grow to
    several times what is in use.
    """
    library = _glibc()
    if library is None:
        return
    library.mallinfo2.restype = _Mallinfo
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    if pages * resource.getpagesize() - library.mallinfo2().used > _EXCESS:
        library.malloc_trim(0)
