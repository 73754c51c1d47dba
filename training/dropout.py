"""Dropout whose random numbers do not cost more than the network, alone and as a part of what stands beside it.

On a CPU compiled kernels draw the random bits of an element from its place and a seed, and draw them again for the
gradient, so that nothing is kept. Elsewhere, and in other types than float32 and bfloat16, torch's operations work.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.kernels import rows
from training.kernels.compiled import usable
from training.kernels.scalars import dropout_stream
from training.linear import linear, product, slopes


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, p: float) -> Tensor:
        ctx.drop = dropout_stream(p)
        return _dropped(x, ctx.drop)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return _dropped(grad, ctx.drop), None


def _dropped(x: Tensor, drop: tuple) -> Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    rows.dropout(x.view(-1, x.shape[-1]), out.view(-1, x.shape[-1]), drop)
    return out


class _DropGeluLinear(torch.autograd.Function):
    """Keeps x, and computes the input of the product again for the gradient."""

    @staticmethod
    def forward(ctx, x: Tensor, p: float, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.drop = dropout_stream(p)
        ctx.save_for_backward(x, weight)
        hidden = torch.empty_like(x)
        rows.drop_gelu(x, hidden, ctx.drop)
        return linear(hidden, weight, bias)

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, weight = ctx.saved_tensors
        hidden, dx = torch.empty_like(x), product(grad, weight.to(grad.dtype)).to(x.dtype).contiguous()  # (rows, n)
        rows.drop_gelu_slope(x, dx, hidden, ctx.drop)
        dweight, dbias = slopes(grad, hidden.to(grad.dtype))
        return dx, None, dweight.to(weight.dtype), dbias.to(weight.dtype)


def drop_gelu_linear(x: Tensor, p: float, training: bool, weight: Tensor, bias: Tensor) -> Tensor:
    """``linear(gelu(dropout(x)), weight, bias)`` of rows x (rows, n), with less memory than one after the other."""
    if not usable(x):
        return linear(F.gelu(dropout(x, p, training)), weight, bias)
    return _DropGeluLinear.apply(x.contiguous(), p if training else 0.0, weight, bias)


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Zero each element with probability ``p`` and scale the others by ``1 / (1 - p)``, in training only."""
    if not training or p == 0:
        return x
    return _Drop.apply(x, p) if usable(x) and x.numel() > 0 else F.dropout(x, p)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    p: float = 0.0,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Scaled dot-product attention whose weights are dropped with probability ``p``.

    Args:
        query: (n, H, Tq, d). key, value: (n, H, Tk, d).
        mask: bool, broadcastable to (n, H, Tq, Tk), True where a query may look.
        causal: query i looks at keys 0..i only.
        scale: of the scores, ``d ** -0.5`` by default.
    """
    if p == 0 or query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, mask, p, causal, scale=scale)
    if causal:
        mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
    scores = query @ (key * (scale or key.shape[-1] ** -0.5)).transpose(-2, -1)  # (n, H, Tq, Tk)
    scores = scores if mask is None else scores.masked_fill_(~mask, -torch.inf)
    return dropout(scores.softmax(-1), p, training=True) @ value


class Dropout(nn.Module):
    """`dropout` as a module, in the place of `torch.nn.Dropout`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, self.training)
