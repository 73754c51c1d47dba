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
    """Softmax attention with dropout of every sequence of a layout on itself, by compiled kernels.

    Its gradient keeps nothing but queries, keys and values: weights, which grow with the square of a sequence, are
    computed again.
    """

    @staticmethod
    def forward(ctx, projected: Tensor, layout: Layout, heads: int, p: float) -> Tensor:
        """``projected`` (rows, 3 D): query, key and value side by side -> (rows, D)."""
        mixed = projected.new_empty(len(projected), projected.shape[1] // 3)
        scale = np.float32((mixed.shape[1] // heads) ** -0.5)
        ctx.how = layout.starts, layout.counts, layout.lengths, layout.width, heads, scale, dropout_stream(p)
        kernels.attend(projected, *ctx.how, torch.get_num_threads(), mixed)
        ctx.save_for_backward(projected)
        return mixed

    @staticmethod
    def backward(ctx, grad: Tensor):
        (projected,) = ctx.saved_tensors
        slopes = torch.empty_like(projected)
        kernels.attend_slope(projected, *ctx.how, torch.get_num_threads(), grad.contiguous(), slopes)
        return slopes, None, None, None


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
