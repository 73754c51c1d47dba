"""From a sequence of token vectors to one vector: attention-aware feature aggregation and its ablations.

Every pooler maps packed rows (rows, D) in a `Layout` of n sequences to (n, D). ``needs_padding`` tells the network to
keep padded positions in the computation, which the published average pooling counts in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from encoder.packing import Layout
from training.dropout import Dropout, drop_gelu_linear
from training.kernels import pooling
from training.kernels.compiled import usable
from training.kernels.scalars import dropout_stream
from training.linear import linear

MASKED = -32752.0  # the published fill value: finite, exp of it is 0 in float32


class AttentionPool(nn.Module):
    """Attention-aware feature aggregation (AF), equations 3-4 of the COOT paper with H heads.

    ``A = softmax_t(W2 gelu(W1 x_t + b1) + b2)`` for every output column on its own, ``pooled = sum_t A_t * x_t``.
    Each head reads all D columns and weighs D / H of them.
    """

    needs_padding = False

    def __init__(self, size: int, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.w1 = nn.Parameter(torch.empty(heads, size, hidden // heads))
        self.b1 = nn.Parameter(torch.empty(heads, hidden // heads))
        self.w2 = nn.Parameter(torch.empty(heads, hidden // heads, size // heads))
        self.b2 = nn.Parameter(torch.empty(heads, size // heads))
        self.dropout = Dropout(dropout)

    def logits(self, x: Tensor) -> Tensor:
        """(rows, D) before the softmax over time."""
        return self.dropout(self._logits(x))

    def _logits(self, x: Tensor) -> Tensor:
        heads = zip(self.w1, self.b1, self.w2, self.b2, strict=True)
        return torch.cat([self._head(x, *weights) for weights in heads], -1)  # (rows, D)

    def _head(self, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        hidden = linear(x, w1.T, b1)  # (rows, dh)
        return drop_gelu_linear(hidden, self.dropout.p, self.training, w2.T, b2)  # (rows, D / H)

    def weighted(self, x: Tensor, layout: Layout) -> Iterator[tuple[Layout, Tensor]]:
        """``A * x`` of each run of sequences (n, T, D); the columns of A sum to one over the real tokens."""
        runs = zip(layout.parts(), layout.split(self.logits(x)), layout.split(x), strict=True)
        for part, logits, values in runs:
            padded = part.pad(logits)
            padded = padded if part.is_full else padded.masked_fill(~part.mask[..., None], MASKED)
            yield part, self.dropout(padded.softmax(1)) * part.pad(values)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        if not usable(x) or x.dtype != torch.float32:
            return torch.cat([weighted.sum(1) for _, weighted in self.weighted(x, layout)])
        return _Pool.apply(self._logits(x), x, layout, self.dropout.p if self.training else 0.0)


class _Pool(torch.autograd.Function):
    """``sum_t drop(softmax_t(drop(logits))) * x``: (rows, D) of n sequences -> (n, D)."""

    @staticmethod
    def forward(ctx, logits: Tensor, x: Tensor, layout: Layout, p: float) -> Tensor:
        ctx.layout, ctx.drops = layout, (dropout_stream(p), dropout_stream(p))
        top, rate, pooled = x.new_empty(3, len(layout.lengths), x.shape[1])
        pooling.attention_pool(logits, x, layout.starts, layout.lengths, *ctx.drops, top, rate, pooled)
        ctx.save_for_backward(logits, x, top, rate, pooled)
        return pooled

    @staticmethod
    def backward(ctx, grad: Tensor):
        logits, x, *result = ctx.saved_tensors
        dlogits, dx, layout = torch.empty_like(logits), torch.empty_like(x), ctx.layout
        where = layout.starts, layout.counts, layout.lengths
        pooling.attention_pool_slope(logits, x, *where, *ctx.drops, *result, grad.contiguous(), dlogits, dx)
        return dlogits, dx, None, None


class StackedAttentionPool(nn.Module):
    """AF several times: every layer but the last weighs the tokens (``T A_t * x_t``), the last one sums them."""

    needs_padding = False

    def __init__(self, layers: int, size: int, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.pools = nn.ModuleList(AttentionPool(size, hidden, heads, dropout) for _ in range(layers))

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        for pool in self.pools[:-1]:
            parts = pool.weighted(x, layout)
            x = torch.cat([part.pack(weighted * part.lengths[:, None, None]) for part, weighted in parts])
        return self.pools[-1](x, layout)


def _filled(x: Tensor, layout: Layout, fill: float) -> Iterator[Tensor]:
    for part, values in zip(layout.parts(), layout.split(x), strict=True):
        yield part.pad(values).masked_fill(~part.mask[..., None], fill)


class MaxPool(nn.Module):
    """Largest value of each column over the real tokens."""

    needs_padding = False

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        return torch.cat([values.amax(1) for values in _filled(x, layout, MASKED)])


class MeanPool(nn.Module):
    """Mean over the real tokens, independent of what else is in the batch."""

    needs_padding = False

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        return torch.cat([values.sum(1) for values in _filled(x, layout, 0)]) / layout.lengths[:, None]


class PaddedMeanPool(nn.Module):
    """Averages that count padded positions, which are not zero after a transformer layer (Table 11 of the COOT paper).

    The published average sums all positions up to the longest sequence of the batch and divides by the true length,
    so it depends on what else is in the batch. It shapes the published numbers and is kept by name.
    """

    needs_padding = True

    def __init__(self, divide_by_width: bool = False) -> None:
        super().__init__()
        self.divide_by_width = divide_by_width

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        total = layout.pad(x).sum(1)
        return total / layout.width if self.divide_by_width else total / layout.lengths[:, None]


class FirstPool(nn.Module):
    """The first token, a learned CLS token put before the others."""

    needs_padding = False

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        return x[layout.positions == 0]


def truncated_normal_(tensor: Tensor, std: float) -> Tensor:
    """Fill with N(0, std²) cut at two standard deviations, by inverting the distribution function."""
    edge = math.erf(2 / math.sqrt(2))
    with torch.no_grad():
        return tensor.uniform_(-edge, edge).erfinv_().mul_(std * math.sqrt(2)).clamp_(-2 * std, 2 * std)
