"""Multi-head attention over packed rows: of sequences on themselves, and of one token on a sequence."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoder.packing import Layout
from training.dropout import attention
from training.kernels import attention as kernels
from training.kernels.compiled import usable
from training.kernels.scalars import dropout_stream
from training.linear import Linear, linear


class SelfAttention(torch.autograd.Function):
    """Softmax attention with dropout of every sequence of a layout on itself, by compiled kernels and batched products.

    Its gradient is written out to keep nothing but queries, keys and values: weights, which grow with the square of a
    sequence, are computed again.
    """

    @staticmethod
    def forward(ctx, projected: Tensor, layout: Layout, heads: int, p: float) -> Tensor:
        """``projected`` (rows, 3 D): query, key and value side by side -> (rows, D)."""
        ctx.layout, ctx.drops = layout, [dropout_stream(p) for _ in layout.parts()]
        mixed = projected.new_empty(len(projected), projected.shape[1] // 3)
        runs, kept = zip(layout.parts(), layout.split(projected), layout.split(mixed), ctx.drops, strict=True), []
        for part, rows, out, drop in runs:
            kept.append(_split(rows, part, heads, 3))
            query, key, value = kept[-1].flatten(1, 2)
            weights = torch.bmm(query, key.mT)  # (n H, T, T)
            kernels.softmax_drop(_heads(weights, heads), part.lengths, _scale(query), _heads(weights, heads), drop)
            kernels.merge_heads(_heads(torch.bmm(weights, value)[None], heads), part.starts, part.counts, out)
        ctx.save_for_backward(*kept)
        return mixed

    @staticmethod
    def backward(ctx, grad: Tensor):
        layout, kept = ctx.layout, ctx.saved_tensors
        heads = kept[0].shape[2]
        slopes = grad.new_empty(len(grad), 3 * grad.shape[1])
        runs = zip(layout.parts(), layout.split(grad.contiguous()), layout.split(slopes), strict=True)
        for (part, above, out), drop, split in zip(runs, ctx.drops, kept, strict=True):
            query, key, value = split.flatten(1, 2)
            (above,) = _split(above, part, heads, 1).flatten(1, 2)
            weights, scores = torch.bmm(query, key.mT), torch.bmm(above, value.mT)  # (n H, T, T)
            both = _heads(weights, heads), part.lengths, _scale(query), _heads(scores, heads)
            kernels.softmax_drop_slope(*both, drop)  # now the dropped weights and the slopes of their scores
            three = torch.empty_like(split).flatten(1, 2)
            torch.bmm(scores, key, out=three[0])
            torch.bmm(scores.mT, query, out=three[1])
            torch.bmm(weights.mT, above, out=three[2])
            kernels.merge_heads(_heads(three, heads), part.starts, part.counts, out)
        return slopes, None, None, None


def _split(rows: Tensor, part: Layout, heads: int, kinds: int) -> Tensor:
    """(rows, kinds D) -> (kinds, n, H, T, D / H), zeros where there is no token."""
    split = rows.new_empty(kinds, len(part.lengths), heads, part.width, rows.shape[1] // (kinds * heads))
    kernels.split_heads(rows, part.starts, part.counts, split)
    return split


def _heads(x: Tensor, heads: int) -> Tensor:
    """(..., n H, T, m) -> (..., n, H, T, m)."""
    return x.unflatten(-3, (-1, heads))


def _scale(query: Tensor) -> np.float32:
    return np.float32(query.shape[-1] ** -0.5)


class Attention(nn.Module):
    """Multi-head attention with a bias in all four projections; masked keys weigh exactly zero."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value, self.final = (Linear(size, size) for _ in range(4))

    def forward(self, query: Tensor, source: Tensor, queries: Layout, keys: Layout) -> Tensor:
        """Rows ``query`` in layout ``queries`` look at rows ``source`` in layout ``keys`` -> rows of ``queries``."""
        p = self.dropout if self.training else 0.0
        if query is not source:
            return self.final(self._look(query, source, queries, keys, p))
        three = (self.query, self.key, self.value)  # one product instead of three
        weight, bias = torch.cat([layer.weight for layer in three]), torch.cat([layer.bias for layer in three])
        projected = linear(query, weight, bias)  # (rows, 3 D)
        if usable(projected):
            return self.final(SelfAttention.apply(projected.contiguous(), keys, self.heads, p))
        runs = zip(keys.parts(), keys.split(projected), strict=True)
        mixed = [self._mix(part, rows, p) for part, rows in runs]
        return self.final(torch.cat(mixed) if len(mixed) > 1 else mixed[0])

    def _mix(self, part: Layout, rows: Tensor, p: float) -> Tensor:
        query, key, value = part.pad(rows).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (n, H, T, D/H)
        mask = None if part.is_full else part.mask[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, key, value, mask, p)
        return part.pack(mixed.transpose(1, 2).flatten(2))

    def _look(self, query: Tensor, source: Tensor, queries: Layout, keys: Layout, p: float) -> Tensor:
        projected = (self.query(query), queries), (self.key(source), keys), (self.value(source), keys)
        heads = (layout.pad(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for x, layout in projected)
        mask = None if keys.is_full else keys.mask[:, None, None, :]  # (n, 1, 1, T)
        return queries.pack(attention(*heads, mask, p).transpose(1, 2).flatten(2))
