"""Padded and packed views of the same tokens: whatever looks at one token at a time runs without padding."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Packing:
    """Which of the ``n_sequences`` x ``length`` positions have a row in packed matrices (all when ``rows`` is None)."""

    n_sequences: int
    length: int
    rows: Tensor | None  # (P,) int64, ascending places in the flattened (n_sequences, length)
    _moves: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False)

    def pack(self, padded: Tensor) -> Tensor:
        """(T, L, D) -> (P, D)."""
        flat = padded.reshape(self.n_sequences * self.length, -1)
        return flat if self.rows is None else flat.index_select(0, self.rows)

    def unpack(self, packed: Tensor) -> Tensor:
        """(P, D) -> (T, L, D), zeros at positions without a row."""
        n, length, size = self.n_sequences, self.length, packed.shape[-1]
        if self.rows is not None:
            packed = packed.new_zeros(n * length, size).index_copy_(0, self.rows, packed)
        return packed.view(n, length, size)

    def split_heads(self, packed: Tensor, n_heads: int, kinds: int = 1) -> tuple[Tensor, ...]:
        """Queries, keys, ... side by side, (P, kinds D) -> ``kinds`` times (T, H, L, D/H).

        Positions without a row repeat the first row: nobody may look at them, and `merge_heads` leaves them out.
        """
        if self.rows is None:
            padded = packed.view(self.n_sequences, self.length, kinds, n_heads, -1)
            return padded.permute(2, 0, 3, 1, 4).unbind()
        return _Spread.apply(packed, kinds, self.n_sequences, *self._moves_of(n_heads))

    def merge_heads(self, heads: Tensor) -> Tensor:
        """(T, H, L, D/H) -> (P, D)."""
        if self.rows is None:
            return heads.transpose(1, 2).reshape(self.n_sequences * self.length, -1)
        return _Collect.apply(heads, self._moves_of(heads.shape[1])[1])

    def find(self, places: Tensor) -> Tensor:
        """Rows (K,) of packed matrices for ``places`` (K,) in the flattened (T, L)."""
        return places if self.rows is None else torch.searchsorted(self.rows, places)

    def _moves_of(self, n_heads: int) -> tuple[Tensor, Tensor]:
        """The packed row of each place (T, 1, L), and of each head of a packed row its place in (T, H, L): (P, H)."""
        if n_heads not in self._moves:
            count = self.n_sequences * self.length
            row = self.rows.new_zeros(count)
            row[self.rows] = torch.arange(len(self.rows), device=row.device)
            place = torch.arange(count * n_heads, device=row.device).view(self.n_sequences, n_heads, self.length)
            place = place.transpose(1, 2).reshape(count, n_heads)[self.rows]
            self._moves[n_heads] = row.view(self.n_sequences, 1, self.length), place
        return self._moves[n_heads]


class _Spread(torch.autograd.Function):
    """One pass over memory each way, where padding, splitting and transposing would take one each."""

    @staticmethod
    def forward(ctx, packed: Tensor, kinds: int, n: int, row: Tensor, place: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(place)
        n_heads = place.shape[1]
        pieces = packed.reshape(len(packed) * kinds * n_heads, -1)
        first = row * (kinds * n_heads) + torch.arange(n_heads, device=row.device)[:, None]  # (T, H, L)
        spread = (pieces.index_select(0, (first + kind * n_heads).flatten()) for kind in range(kinds))
        return tuple(x.view(*first.shape, -1) for x in spread)

    @staticmethod
    def backward(ctx, *slopes: Tensor):
        (place,) = ctx.saved_tensors
        return torch.cat([_collect(slope, place) for slope in slopes], 1), None, None, None, None


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx, heads: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        ctx.shape = heads.shape
        return _collect(heads, place)

    @staticmethod
    def backward(ctx, slope: Tensor):
        (place,) = ctx.saved_tensors
        pieces = slope.reshape(place.numel(), -1)
        heads = slope.new_zeros(ctx.shape).flatten(0, 2)
        return heads.index_copy_(0, place.flatten(), pieces).view(ctx.shape), None


def _collect(heads: Tensor, place: Tensor) -> Tensor:
    """(T, H, L, d) -> (P, H d)."""
    return heads.reshape(-1, heads.shape[-1]).index_select(0, place.flatten()).view(len(place), -1)


def pick(rows: Tensor | None, *packed: Tensor) -> tuple[Tensor, ...]:
    """Only ``rows`` (K,) of packed matrices (P, D); all of them when None."""
    return packed if rows is None else tuple(x.index_select(0, rows) for x in packed)
