"""Padded and packed views of the same tokens: whatever looks at one token at a time runs without padding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Which of the ``n_sequences`` x ``length`` positions have a row in packed matrices (all when ``rows`` is None)."""

    n_sequences: int
    length: int
    rows: Tensor | None  # (P,) int64, ascending places in the flattened (n_sequences, length)

    def pack(self, padded: Tensor) -> Tensor:
        """(T, L, D) -> (P, D)."""
        flat = padded.reshape(self.n_sequences * self.length, -1)
        return flat if self.rows is None else flat.index_select(0, self.rows)

    def unpack(self, packed: Tensor) -> Tensor:
        """(P, D) -> (T, L, D), zeros at positions without a row."""
        n, length, size = self.n_sequences, self.length, packed.shape[-1]
        if self.rows is not None:
            packed = packed.new_zeros(n * length, size).index_copy(0, self.rows, packed)
        return packed.view(n, length, size)

    def find(self, places: Tensor) -> Tensor:
        """Rows (K,) of packed matrices for ``places`` (K,) in the flattened (T, L)."""
        return places if self.rows is None else torch.searchsorted(self.rows, places)


def pick(rows: Tensor | None, *packed: Tensor) -> tuple[Tensor, ...]:
    """Only ``rows`` (K,) of packed matrices (P, D); all of them when None."""
    return packed if rows is None else tuple(x.index_select(0, rows) for x in packed)
