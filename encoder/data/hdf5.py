"""HDF5 files opened and read with messages that name file and key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from training.errors import CootmartError


@contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """Turn the library's errors inside the block into a `CootmartError` about ``path``."""
    try:
        yield
    except FileNotFoundError:
        raise CootmartError(f"{path}: no such file") from None
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        MemoryError,
    ) as error:  # all of them from damaged bytes
        what = "a folder" if Path(path).is_dir() else f"no readable HDF5 file ({error})"
        raise CootmartError(f"{path}: {what}; is it complete? write or download it again") from None


def open_hdf5(path: str | Path) -> h5py.File:
    """``path`` open for reading.

    Raises:
        CootmartError: it is missing, truncated, or another format.
    """
    with readable(path):
        return h5py.File(path, "r")


def read_array(file: h5py.File, key: str) -> np.ndarray:
    """Data set ``key`` of ``file``, whole.

    Raises:
        CootmartError: the key is missing, a group, or its bytes cannot be read.
    """
    path = file.filename
    with readable(path):
        found = file.get(key)
        if not isinstance(found, h5py.Dataset):
            raise CootmartError(f"{path}: no data set {key!r}; found {_some(file)}")
        return found[()]


def names(file: h5py.File) -> list[str]:
    """Names at the root of ``file``, sorted."""
    with readable(file.filename):
        return [str(name) for name in file]


def _some(file: h5py.File, count: int = 8) -> str:
    found = names(file)
    return ", ".join(found[:count]) + (f" and {len(found) - count} more" if len(found) > count else "")


def require_finite(x: np.ndarray, where: str) -> None:
    """Raise `CootmartError` about ``where`` when ``x`` holds NaN or infinity."""
    if x.size and not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0][0])
        raise CootmartError(f"{where}: row {row} holds NaN or infinity, expected finite numbers; write it again")
