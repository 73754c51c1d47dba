"""The embeddings file between the two stages: one HDF5 file in the schema of the published COOT code.

V videos with M clips in all: ``key`` (V,), ``clip_num`` and ``sent_num`` (V,), ``vid_emb`` and ``par_emb`` (V, 2D),
``clip_emb`` and ``sent_emb`` (M, D) video by video, ``vid_context`` and ``par_context`` (V, D). Each of the six is
L2-normalised; ``<name>_before_norm`` has it as the network gave it. Files without a text side are fine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from encoder.data.hdf5 import open_hdf5, read_array, readable, require_finite
from training.errors import CootmartError
from training.files import atomic_path, read_json

if TYPE_CHECKING:
    import torch

    from encoder.data.ragged import Batch
    from encoder.model import CootOutput, PairEncoder

VIDEO = ("vid_emb", "vid_context", "clip_emb")
TEXT = ("par_emb", "par_context", "sent_emb")
PER_CLIP = ("clip_emb", "sent_emb")
OLD_NAMES = {
    "vid_emb": "vid_norm",
    "vid_context": "vid_ctx_norm",
    "clip_emb": "clip_norm",
    "par_emb": "par_norm",
    "par_context": "par_ctx_norm",
    "sent_emb": "sent_norm",
}
KINDS = ("clip", "vid", "vidclip", "vidclipctx")
MODES = {"val": "val_1", "test": "val_1"}
"""ActivityNet keys end in the split they come from; both halves of its validation set come from val_1"""


@dataclass(frozen=True)
class Embeddings:
    """The L2-normalised embeddings of one file, in memory as float32."""

    path: str
    keys: list[str]
    """V datapoint keys"""
    clip_num: np.ndarray
    """clips of each video (V,) int64"""
    vid_emb: np.ndarray
    """(V, 2D)"""
    vid_context: np.ndarray
    """(V, D)"""
    clip_emb: np.ndarray
    """(M, D)"""
    par_emb: np.ndarray | None = None
    par_context: np.ndarray | None = None
    sent_emb: np.ndarray | None = None
    starts: np.ndarray = field(init=False)
    """first clip row of each video (V,)"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts", np.cumsum(self.clip_num) - self.clip_num)
        _check(self)

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def load(cls, path: str | Path) -> Embeddings:
        """Read a file whole; the older names of the published code are understood too.

        Raises:
            CootmartError: no such file, not HDF5, a data set missing, or sizes that contradict each other.
        """
        with open_hdf5(path) as file, readable(path):
            keys, clip_num = _index(file, Path(path))
            arrays = {name: _read(file, name) for name in VIDEO}
            arrays |= {name: _read(file, name) for name in TEXT if name in file or OLD_NAMES[name] in file}
        return cls(str(path), keys, clip_num, **arrays)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {key: i for i, key in enumerate(self.keys)}

    def find(self, name: str, mode: str = "val") -> int:
        """Row of video ``name``: the key itself, else ActivityNet's ``<name without v_>_<split>``.

        Raises:
            CootmartError: neither key is in the file.
        """
        for key in (name, f"{name[2:]}_{MODES.get(mode, mode)}"):
            if key in self._rows:
                return self._rows[key]
        raise CootmartError(
            f"{self.path}: no embedding of video {name!r} (nor {key!r}); found {len(self)} videos such as "
            f"{', '.join(self.keys[:3])}; embed the split that holds it"
        )

    def clips(self, i: int) -> np.ndarray:
        """Clip embeddings of video ``i`` -> (clip_num[i], D)."""
        return self.clip_emb[self.starts[i] : self.starts[i] + self.clip_num[i]]

    def features(self, name: str, kind: str, mode: str = "val") -> np.ndarray:
        """What a captioner sees of each clip of ``name`` -> (clip_num, dim).

        ``clip``: the clip (D). ``vid``: its video (2D). ``vidclip``: ``[video, clip]`` (3D).
        ``vidclipctx``: ``[video, video context, clip]`` (4D).
        """
        i = self.find(name, mode)
        clips = self.clips(i)  # (n, D)
        parts = {
            "clip": (),
            "vid": (self.vid_emb[i],),
            "vidclip": (self.vid_emb[i],),
            "vidclipctx": (self.vid_emb[i], self.vid_context[i]),
        }
        if kind not in parts:
            raise CootmartError(f"features of a clip: found {kind!r}, expected one of {', '.join(KINDS)}")
        shared = [np.broadcast_to(part, (len(clips), len(part))) for part in parts[kind]]
        return np.concatenate(shared + ([] if kind == "vid" else [clips]), axis=1)


def _index(file: h5py.File, path: Path) -> tuple[list[str], np.ndarray]:
    """Keys and clip numbers; the oldest files keep them in a JSON file of the same name."""
    if "key" not in file and path.with_suffix(".json").exists():
        index = read_json(path.with_suffix(".json"))
        if not {"vid_ids", "clip_nums"} <= index.keys():
            raise CootmartError(f"{path.with_suffix('.json')}: expected the lists vid_ids and clip_nums")
        return list(index["vid_ids"]), np.asarray(index["clip_nums"], np.int64)
    keys = [k.decode("utf-8") if isinstance(k, bytes) else str(k) for k in read_array(file, "key")]
    return keys, read_array(file, "clip_num").astype(np.int64)


def _read(file: h5py.File, name: str) -> np.ndarray:
    old = OLD_NAMES[name]
    x = read_array(file, old if name not in file and old in file else name)
    if x.ndim != 2 or x.dtype.kind != "f":
        raise CootmartError(f"{file.filename}: {name} is {x.dtype} {x.shape}, expected real numbers (rows, size)")
    return np.asarray(x, np.float32)


def _check(e: Embeddings) -> None:
    if len(set(e.keys)) < len(e.keys):
        twice = next(key for key in e.keys if e.keys.count(key) > 1)
        raise CootmartError(f"{e.path}: key {twice!r} occurs twice, expected each video once")
    if e.clip_num.shape != (len(e.keys),) or (e.clip_num < 0).any():
        found = f"shape {e.clip_num.shape}, smallest {e.clip_num.min(initial=0)}"
        raise CootmartError(f"{e.path}: clip_num: found {found}, expected {len(e.keys)} numbers, none negative")
    for name in (*VIDEO, *TEXT):
        x, rows = getattr(e, name), int(e.clip_num.sum()) if name in PER_CLIP else len(e.keys)
        if x is None:
            continue
        if len(x) != rows:
            raise CootmartError(f"{e.path}: {name} has {len(x)} rows, but key and clip_num ask for {rows}")
        require_finite(x, f"{e.path}: {name}")


class EmbeddingsWriter:
    """Writes an embeddings file batch by batch; the file appears whole at the end, or not at all.

    ``with EmbeddingsWriter(path) as out: out.append(keys, clip_num, arrays)`` for every batch.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._stack = ExitStack()
        self._seen: set[str] = set()
        self._names: tuple[str, ...] = ()

    def __enter__(self) -> EmbeddingsWriter:
        beside = self._stack.enter_context(atomic_path(self.path))
        self._file = self._stack.enter_context(h5py.File(beside, "w"))
        return self

    def __exit__(self, *error: object) -> bool | None:
        if error[0] is None and not self._seen:
            nothing = CootmartError(f"{self.path}: nothing to embed; is the split empty?")
            self._stack.__exit__(CootmartError, nothing, None)
            raise nothing
        return self._stack.__exit__(*error)

    def append(self, keys: Sequence[str], clip_num: Any, arrays: Mapping[str, np.ndarray]) -> None:
        """Add the videos of a batch.

        Args:
            keys: B datapoint keys, none of them seen before.
            clip_num: (B,) clips of each.
            arrays: raw (not normalised) network outputs under the six names of the schema; the text ones may be absent.

        Raises:
            CootmartError: a key comes twice, an array has the wrong number of rows, or holds NaN or a zero vector.
        """
        clip_num = np.asarray(clip_num, np.int64)
        self._require_new(keys)
        self._require_names(arrays)
        for name, raw in arrays.items():
            raw = np.asarray(raw, np.float32)
            self._require_rows(name, raw, keys, clip_num)
            self._extend(f"{name}_before_norm", raw)
            self._extend(name, raw / np.sqrt((raw * raw).sum(1, keepdims=True)))
        for name in ("clip_num", "sent_num") if "par_emb" in arrays else ("clip_num",):
            self._extend(name, clip_num)
        self._extend("key", np.asarray(keys, object), h5py.string_dtype("utf-8"))

    def _require_new(self, keys: Sequence[str]) -> None:
        for key in keys:
            if key in self._seen:
                raise CootmartError(f"{self.path}: key {key!r} comes twice, expected each video once")
            self._seen.add(key)

    def _require_names(self, arrays: Mapping[str, np.ndarray]) -> None:
        names = tuple(arrays)
        if set(names) not in ({*VIDEO}, {*VIDEO, *TEXT}) or (self._names and set(names) != set(self._names)):
            raise CootmartError(f"{self.path}: found arrays {', '.join(names)}, expected {', '.join(VIDEO + TEXT)}")
        self._names = names

    def _require_rows(self, name: str, raw: np.ndarray, keys: Sequence[str], clip_num: np.ndarray) -> None:
        rows = int(clip_num.sum()) if name in PER_CLIP else len(keys)
        if raw.ndim != 2 or len(raw) != rows or len(clip_num) != len(keys):
            raise CootmartError(f"{self.path}: {name} has shape {raw.shape}, expected ({rows}, size)")
        require_finite(raw, f"{self.path}: {name} of the batch with {keys[0]!r}")
        if not raw.any(1).all():
            raise CootmartError(f"{self.path}: {name} of the batch with {keys[0]!r} holds a zero vector")

    def _extend(self, name: str, rows: np.ndarray, dtype: Any = None) -> None:
        if name not in self._file:
            shape = (0, *rows.shape[1:])
            self._file.create_dataset(name, shape, dtype or rows.dtype, maxshape=(None, *shape[1:]), chunks=True)
        data = self._file[name]
        data.resize(len(data) + len(rows), axis=0)
        data[len(data) - len(rows) :] = rows


def output_arrays(output: CootOutput) -> dict[str, np.ndarray]:
    """The six raw arrays of the schema from what the model gives for a batch."""

    def numpy(x: torch.Tensor) -> np.ndarray:
        return x.detach().float().cpu().numpy()

    video, text = output.video, output.text
    tensors = (video.high, video.context, video.low, text.high, text.context, text.low)
    return {name: numpy(x) for name, x in zip(VIDEO + TEXT, tensors, strict=True)}


def write_embeddings(path: str | Path, model: PairEncoder, batches: Iterable[Batch]) -> Embeddings:
    """Embed every batch in one pass, write ``path``, and give what was written.

    Batches stay on their device, which has to be that of ``model``; the mode of ``model`` is put back at the end.
    """
    import torch

    training = model.training
    model.eval()
    try:
        with EmbeddingsWriter(path) as out, torch.inference_mode():
            for batch in batches:
                out.append(batch.keys, batch.clip_num.cpu(), output_arrays(model(batch)))
    finally:
        model.train(training)
    return Embeddings.load(path)
