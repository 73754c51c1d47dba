"""Sequences without padding: how tokens of all sequences, back to back, form a padded batch.

Everything that works on one token at a time (projections, norms, feed-forward) runs on *packed* rows, so no padded
frame is ever multiplied. Attention and pooling, which look along a sequence, use a `Layout` to see the same rows as a
padded batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

SMALL_RUN = 512  # rows; one call for a little padding beats many calls


class Layout:
    """How rows of a packed matrix form ``n`` sequences of at most ``T`` tokens.

    A *packed* layout has only real tokens. A *dense* layout keeps ``T`` rows a sequence, padding included, for the
    parts of the published model in which padded positions take part.
    """

    def __init__(self, lengths: Tensor, width: int, dense: bool) -> None:
        steps = torch.arange(width, device=lengths.device)
        self.lengths, self.width, self.dense = lengths, width, dense
        self._parts: list[Layout] | None = None
        self.mask = steps < lengths[:, None]  # (n, T) True = real
        self.is_full = dense and bool(self.mask.all())
        if dense:
            self.positions = steps.repeat(len(lengths))  # (n*T,)
        else:
            self.rows = self.mask.flatten().nonzero().squeeze(1)  # (total,) place in the padded batch
            self.positions = self.rows % width  # (total,)
            self.is_full = len(self.rows) == self.mask.numel()

    @classmethod
    def packed(cls, lengths: Tensor, width: int = 0) -> Layout:
        """Sequences of ``lengths`` (n,) int64 back to back, real tokens only; padded views are ``width`` or longer."""
        return cls(lengths, max(int(lengths.max()), width), dense=False)

    @classmethod
    def padded(cls, lengths: Tensor, width: int) -> Layout:
        """Sequences of ``width`` rows each, of which the first ``lengths`` (n,) are real."""
        return cls(lengths, width, dense=True)

    @cached_property
    def counts(self) -> Tensor:
        """Rows of each sequence (n,)."""
        return torch.full_like(self.lengths, self.width) if self.dense else self.lengths

    @cached_property
    def starts(self) -> Tensor:
        """First row of each sequence (n,)."""
        return self.counts.cumsum(0) - self.counts

    def parts(self) -> list[Layout]:
        """Runs of neighbouring sequences of similar length; `split` gives their rows.

        With sequences in order of length hardly any padding is left, and where all of a run are equally long, `pad`
        is a view. A run goes on while padding stays below an eighth of its rows, or while it is small.
        """
        if self._parts is None:
            self._parts = [self] if self.dense else [Layout.packed(lengths) for lengths in _runs(self.lengths)]
        return self._parts

    def split(self, packed: Tensor) -> tuple[Tensor, ...]:
        """(rows, D) -> the rows of each of `parts`, as views."""
        return packed.split([len(part.positions) for part in self.parts()])

    def pad(self, packed: Tensor) -> Tensor:
        """(rows, D) -> (n, T, D), zeros where there is no token."""
        n, size = len(self.lengths), packed.shape[-1]
        if self.dense or self.is_full:
            return packed.view(n, self.width, size)
        return packed.new_zeros(n * self.width, size).index_copy_(0, self.rows, packed).view(n, self.width, size)

    def pack(self, padded: Tensor) -> Tensor:
        """(n, T, D) -> (rows, D), the inverse of `pad`."""
        flat = padded.reshape(-1, padded.shape[-1])
        return flat if self.dense or self.is_full else flat.index_select(0, self.rows)


def _runs(lengths: Tensor) -> Iterator[Tensor]:
    first = rows = longest = 0
    for i, size in enumerate(lengths.tolist()):
        widest = max(longest, size)
        if rows > SMALL_RUN and (i + 1 - first) * widest > 1.125 * (rows + size):
            yield lengths[first:i]
            first, rows, widest = i, 0, size
        rows, longest = rows + size, widest
    yield lengths[first:]
