"""Multi-head attention over packed rows: of sequences on themselves, and of one token on a sequence."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoder.packing import Layout
from training.dropout import attention, keep_mask
from training.linear import Linear, linear


class SelfAttention(torch.autograd.Function):
    """Softmax attention with dropout of every sequence of a layout on itself, on a CPU.

    Its gradient is written out to keep little: weights, which grow with the square of a sequence, are computed
    again, and what all runs of sequences give goes straight to one tensor.
    """

    @staticmethod
    def forward(ctx, projected: Tensor, layout: Layout, heads: int, p: float) -> Tensor:
        """``projected`` (rows, 3 D): query, key and value side by side -> (rows, D)."""
        mixed, kept = [], []
        for part, rows in zip(layout.parts(), layout.split(projected), strict=True):
            query, key, value = _heads(part, rows, heads)
            weights = _weights(part, query, key)
            kept.append(keep_mask(weights.shape, p))
            values = torch.bmm((weights * kept[-1]).to(value.dtype), value).mul_(1 / (1 - p))
            mixed.append(_rows(part, values))
        ctx.save_for_backward(projected, *kept)
        ctx.layout, ctx.heads, ctx.p = layout, heads, p
        return torch.cat(mixed) if len(mixed) > 1 else mixed[0]

    @staticmethod
    def backward(ctx, grad: Tensor):
        projected, *kept = ctx.saved_tensors
        slopes, above = [], grad * (1 / (1 - ctx.p))
        split = map(ctx.layout.split, (projected, above))
        for part, rows, given, mask in zip(ctx.layout.parts(), *split, kept, strict=True):
            three = SelfAttention._slopes(_heads(part, rows, ctx.heads), _heads(part, given, ctx.heads, 1), mask, part)
            three = three.view(3, len(part.lengths), ctx.heads, part.width, -1).permute(1, 3, 0, 2, 4)
            slopes.append(part.pack(three.flatten(2)))
        return (torch.cat(slopes) if len(slopes) > 1 else slopes[0]), None, None, None

    @staticmethod
    def _slopes(heads: Iterable[Tensor], above: Iterable[Tensor], kept: Tensor, part: Layout) -> Tensor:
        """Slopes (3, n H, T, d) of query, key and value, given those of what the weights make of the values."""
        (query, key, value), (above,) = heads, above
        weights = _weights(part, query, key)  # (n H, T, T)
        slopes = query.new_empty(3, *query.shape)
        torch.bmm((weights * kept).to(value.dtype).mT, above, out=slopes[2])
        dropped = torch.bmm(above, value.mT).to(weights.dtype).mul_(kept)
        scores = torch._softmax_backward_data(dropped, weights, -1, weights.dtype).mul_(_scale(query)).to(value.dtype)
        torch.bmm(scores, key, out=slopes[0])
        torch.bmm(scores.mT, query, out=slopes[1])
        return slopes


def _heads(part: Layout, rows: Tensor, heads: int, kinds: int = 3) -> tuple[Tensor, ...]:
    """(rows, kinds D) -> ``kinds`` times (n H, T, D / H), zeros where there is no token."""
    padded = part.pad(rows).unflatten(-1, (kinds, heads, -1))  # (n, T, kinds, H, D/H)
    return padded.permute(2, 0, 3, 1, 4).reshape(kinds, -1, part.width, padded.shape[-1]).unbind()


def _rows(part: Layout, heads: Tensor) -> Tensor:
    """(n H, T, D / H) -> (rows, D)."""
    return part.pack(heads.view(len(part.lengths), -1, *heads.shape[1:]).transpose(1, 2).flatten(2))


def _weights(part: Layout, query: Tensor, key: Tensor) -> Tensor:
    """(n H, T, T), float32 at least; masked keys weigh exactly zero."""
    bias = torch.zeros(part.mask.shape, dtype=query.dtype).masked_fill_(~part.mask, -torch.inf)
    bias = bias.repeat_interleave(len(query) // len(bias), 0)[:, None]  # (n H, 1, T)
    scores = torch.baddbmm(bias, query, key.mT, beta=0 if part.is_full else 1, alpha=_scale(query))
    return scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))


def _scale(query: Tensor) -> float:
    return query.shape[-1] ** -0.5


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
        if p and projected.device.type == "cpu":
            return self.final(SelfAttention.apply(projected, keys, self.heads, p))
        runs = zip(keys.parts(), keys.split(projected), strict=True)
        mixed = [self._mix(part, rows, p) for part, rows in runs]
        return self.final(torch.cat(mixed) if len(mixed) > 1 else mixed[0])

    def _mix(self, part: Layout, rows: Tensor, p: float) -> Tensor:
        if rows.device.type == "cpu":  # p is 0 there; two batched products take half as long as the fused attention
            query, key, value = _heads(part, rows, self.heads)
            return _rows(part, torch.bmm(_weights(part, query, key).to(value.dtype), value))
        query, key, value = part.pad(rows).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (n, H, T, D/H)
        mask = None if part.is_full else part.mask[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, key, value, mask, p)
        return part.pack(mixed.transpose(1, 2).flatten(2))

    def _look(self, query: Tensor, source: Tensor, queries: Layout, keys: Layout, p: float) -> Tensor:
        projected = (self.query(query), queries), (self.key(source), keys), (self.value(source), keys)
        heads = (layout.pad(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for x, layout in projected)
        mask = None if keys.is_full else keys.mask[:, None, None, :]  # (n, 1, 1, T)
        return queries.pack(attention(*heads, mask, p).transpose(1, 2).flatten(2))
