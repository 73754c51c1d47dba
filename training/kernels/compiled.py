"""How the kernels of this package are compiled and run, and which tensors they take."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numba
import numpy as np
import torch
from torch import Tensor

CHUNKS = 64
"""parts of the rows that threads take in turns; what a thread needs beside its rows is made once a part"""

_HERE = Path(__file__).parent
_SOURCES = b"".join(path.read_bytes() for path in sorted(_HERE.glob("*.py")))
_FOLDER = _HERE / "__pycache__" / hashlib.sha256(_SOURCES).hexdigest()[:16]
_KINDS = (torch.float32, torch.bfloat16)
# Sums may be taken in any order, but NaN and infinity stay what they are: a loss that is not finite must be seen.
_FAST_MATH = {"nsz", "reassoc", "contract", "arcp", "afn"}


numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]  # torch's own threads, where OpenMP has them
_OPTIONS = {"fastmath": _FAST_MATH, "error_model": "numpy", "nogil": True}

device_function = numba.njit(**_OPTIONS)
"""A function that kernels call."""


@cache
def _compiled(function: Callable, *kinds: torch.dtype) -> Callable:
    """``function`` by numba for tensors of these types; kept on disk until a file of this package changes.

    numba itself looks at the file of the function alone, not at those of the functions that it calls. Types have
    their own folders: numba's index of one that is common to all loses entries when two processes write to it.
    """
    folder = _FOLDER / "-".join(str(kind).removeprefix("torch.") for kind in dict.fromkeys(kinds))
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, numba.config.CACHE_DIR or str(folder)
    try:
        return numba.njit(parallel=True, cache=True, **_OPTIONS)(function)
    finally:
        numba.config.CACHE_DIR = before


def kernel(function: Callable) -> Callable:
    """A parallel kernel over NumPy arrays, given as tensors, run by as many threads as torch uses."""

    def launch(*arguments) -> None:
        _start_threads()
        numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
        compiled = _compiled(function, *(a.dtype for a in arguments if isinstance(a, Tensor)))
        compiled(*(_array(a) if isinstance(a, Tensor) else a for a in arguments))

    launch.__name__, launch.__doc__ = function.__name__, function.__doc__
    return launch


@cache
def _start_threads() -> None:
    """Once a process: numba's first look at its threads sets the number of OpenMP's, which are torch's as well."""
    threads = torch.get_num_threads()
    numba.get_num_threads()
    torch.set_num_threads(threads)


def usable(*tensors: Tensor) -> bool:
    """Whether kernels take these: float32 or bfloat16 on a CPU."""
    return all(x.device.type == "cpu" and x.dtype in _KINDS for x in tensors)


def _array(x: Tensor) -> np.ndarray:
    """The memory of a contiguous tensor; bfloat16, which NumPy does not know, as uint16."""
    x = x.detach() if x.requires_grad else x
    return x.view(torch.int16).numpy().view(np.uint16) if x.dtype == torch.bfloat16 else x.numpy()


@device_function
def chunk(c, rows):
    """First row of part ``c``."""
    return c * rows // CHUNKS
