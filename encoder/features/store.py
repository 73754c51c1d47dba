"""Frame features of many videos: read from the published file layouts, checked, and written to one HDF5 file."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

import h5py
import numpy as np

from encoder.data.hdf5 import names, open_hdf5, read_array, require_finite
from training.errors import CootmartError
from training.files import atomic_path

DAMAGED = (
    *(KeyError, ValueError, OSError, EOFError, MemoryError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
"""what reading damaged npz files raises"""
MEMORY = 2 << 30
"""bytes of features that a store keeps after their first use; what does not fit is read again every time"""


class Features(ABC):
    """Arrays (T, D) by key, read when first asked for and kept in memory as far as ``memory`` bytes go.

    Args:
        path: for messages.
        dim: the width D every array must have; None takes that of the first one read.
    """

    def __init__(self, path: str | Path, dim: int | None = None, memory: int = MEMORY) -> None:
        self.path, self.dim, self.memory = str(path), dim, memory
        self._kept: dict[str, np.ndarray] = {}

    @abstractmethod
    def __contains__(self, key: str) -> bool: ...

    @abstractmethod
    def _read(self, key: str) -> np.ndarray:
        """The array of ``key`` as stored."""

    def require(self, keys: Iterable[str]) -> None:
        """Raise `CootmartError` with the first of ``keys`` that is missing, and how many are."""
        keys = list(keys)
        if missing := [key for key in keys if key not in self]:
            first = repr(missing[0]) + (f" ({len(missing)} of {len(keys)} are missing)" if len(keys) > 1 else "")
            raise CootmartError(
                f"{self.path}: no features of {first}; make them, or take the video out of the annotations"
            )

    def read(self, key: str) -> np.ndarray:
        """Features of ``key`` -> (T, D) with T >= 1, float16 or float32.

        Raises:
            CootmartError: the key is missing; the array is not (T, D), has another width, or holds NaN.
        """
        if key in self._kept:
            return self._kept[key]
        x = checked(self._read(key), self.dim, f"{self.path}: {key}")
        self.dim = x.shape[1]
        if x.nbytes <= self.memory:
            self.memory -= x.nbytes
            self._kept[key] = x
        return x


def checked(x: np.ndarray, dim: int | None, where: str) -> np.ndarray:
    """``x`` as float16 or float32, or `CootmartError` about ``where`` unless it is (T >= 1, dim) and finite."""
    if x.ndim != 2 or not len(x) or x.dtype.kind not in "fiu":
        raise CootmartError(f"{where}: found {x.dtype} {x.shape}, expected numbers (rows, width), not empty")
    if dim and x.shape[1] != dim:
        raise CootmartError(f"{where}: features have width {x.shape[1]}, expected {dim} as in the model or before")
    if x.dtype not in (np.float16, np.float32):
        with np.errstate(over="ignore"):  # becomes infinite, which is refused below
            x = x.astype(np.float32)
    require_finite(x, where)
    return x


class Hdf5Features(Features):
    """One HDF5 file with a data set (T, D) a key."""

    def __init__(self, path: str | Path, dim: int | None = None, memory: int = MEMORY) -> None:
        super().__init__(path, dim, memory)
        self._file = open_hdf5(path)
        self._keys = dict.fromkeys(names(self._file))

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def keys(self) -> list[str]:
        """All keys, sorted."""
        return list(self._keys)

    def _read(self, key: str) -> np.ndarray:
        return read_array(self._file, key)


class NpzFeatures(Features):
    """The published ActivityNet folder: ``v_<key>.npz`` with ``frame_scores`` (T, 1, D, 1, 1)."""

    def __init__(self, path: str | Path, dim: int | None = None, memory: int = MEMORY) -> None:
        super().__init__(path, dim, memory)
        if not next(Path(path).glob("v_*.npz"), None):
            raise CootmartError(f"{path}: no file v_<video>.npz in this folder")

    def _file(self, key: str) -> Path:
        return Path(self.path) / f"v_{key}.npz"

    def __contains__(self, key: str) -> bool:
        return self._file(key).exists()

    def _read(self, key: str) -> np.ndarray:
        try:
            with np.load(self._file(key), allow_pickle=False) as arrays:
                x = arrays["frame_scores"]
        except FileNotFoundError:
            raise CootmartError(f"{self._file(key)}: no such file") from None
        except DAMAGED as error:
            raise CootmartError(f"{self._file(key)}: no readable array frame_scores ({error})") from None
        return x.reshape(len(x), math.prod(x.shape[1:])) if x.ndim in (2, 5) else x


class JoinedFeatures(Features):
    """Several stores side by side, for example 2D and 3D features of the same frames: widths add up."""

    def __init__(self, parts: list[Features], dim: int | None = None, memory: int = MEMORY) -> None:
        super().__init__("+".join(part.path for part in parts), dim, memory)
        self._parts = parts

    def __contains__(self, key: str) -> bool:
        return all(key in part for part in self._parts)

    def _read(self, key: str) -> np.ndarray:
        arrays = [part.read(key) for part in self._parts]
        if len({len(x) for x in arrays}) > 1:
            counts = " and ".join(str(len(x)) for x in arrays)
            raise CootmartError(f"{self.path}: {key}: the files hold {counts} frames, expected equally many")
        return np.concatenate(arrays, 1)


def open_features(path: str | Path, dim: int | None = None, memory: int = MEMORY) -> Features:
    """The store at ``path``: an HDF5 file, a folder of ``v_<key>.npz``, or several joined by ``+``."""
    if "+" in str(path) and not Path(path).exists():
        return JoinedFeatures([open_features(part, memory=0) for part in str(path).split("+")], dim, memory)
    kind = NpzFeatures if Path(path).is_dir() else Hdf5Features
    return kind(path, dim, memory)


def write_features(
    path: str | Path, items: Iterable[tuple[str, np.ndarray]], recipe: Mapping[str, str | float] | None = None
) -> int:
    """Write (key, array (T, D)) pairs to one HDF5 file as they come; the file appears whole at the end.

    Args:
        recipe: how the features were made, kept as attributes of the file.

    Returns:
        How many videos were written.

    Raises:
        CootmartError: a key comes twice, widths differ, or an array is empty or holds NaN.
    """
    dim = None
    with atomic_path(path) as beside, h5py.File(beside, "w") as file:
        for key, x in items:
            if key in file:
                raise CootmartError(f"{path}: features of {key!r} come twice, expected each video once")
            x = checked(np.asarray(x), dim, f"{path}: {key}")
            dim = x.shape[1]
            file.create_dataset(key, data=x)
        file.attrs.update(recipe or {})
        return len(file)
