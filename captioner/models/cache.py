"""What decoding remembers between two words."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor


def select_rows(value: Any, rows: Tensor) -> Any:
    """``value`` with the rows (first dimension) of all its tensors chosen by ``rows`` (R',) int64."""
    if isinstance(value, Tensor):
        return value.index_select(0, rows)
    if isinstance(value, list | tuple):
        return type(value)(select_rows(item, rows) for item in value)
    return value.select(rows) if isinstance(value, Rows) else value


@dataclass
class Rows:
    """Base of records whose tensors have one row a sentence; rows can be repeated and reordered (beams)."""

    shared: ClassVar[tuple[str, ...]] = ()
    """fields that are the same for all rows"""

    def select(self, rows: Tensor) -> Any:
        """A new record with the given rows (R',) int64, which may repeat."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return type(self)(**{k: v if k in self.shared else select_rows(v, rows) for k, v in values.items()})


@dataclass
class KeyValueCache(Rows):
    """Keys and values of the positions seen so far, in buffers with room for all."""

    key: Tensor  # (R, room, H, d), as the projection gives them
    value: Tensor  # (R, room, H, d)
    length: int = 0

    @classmethod
    def empty(cls, n_rows: int, n_heads: int, room: int, like: Tensor) -> KeyValueCache:
        """Room for ``room`` positions; dtype, device and D from ``like`` (..., D)."""
        size = like.shape[-1] // n_heads
        key, value = (like.new_empty(n_rows, room, n_heads, size) for _ in range(2))
        return cls(key, value)

    def select(self, rows: Tensor) -> KeyValueCache:
        """A new cache with the given rows; only what has been stored is copied."""
        chosen = [x.new_empty(len(rows), *x.shape[1:]) for x in (self.key, self.value)]
        for new, old in zip(chosen, (self.key, self.value), strict=True):
            torch.index_select(old[:, : self.length], 0, rows, out=new[:, : self.length])
        return KeyValueCache(*chosen, self.length)

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store (R, H, n, d) after what is there and return all keys and values so far (R, H, length, d)."""
        end = self.length + key.shape[2]
        self.key[:, self.length : end] = key.transpose(1, 2)
        self.value[:, self.length : end] = value.transpose(1, 2)
        self.length = end
        return self.key[:, :end].transpose(1, 2), self.value[:, :end].transpose(1, 2)


def causal(n_new: int, n_seen: int, device: torch.device) -> Tensor | None:
    """Mask (n_new, n_seen + n_new) for a chunk of positions after ``n_seen`` earlier ones; None for one position."""
    if n_new == 1:
        return None
    return torch.ones(n_new, n_seen + n_new, dtype=torch.bool, device=device).tril(n_seen)
