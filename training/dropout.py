"""Dropout whose random numbers do not cost more than the network: torch draws one Bernoulli number after another."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.linear import linear, product, weight_gradient

_LANES = 4  # 16-bit numbers in a 64-bit one
_LOWEST, _VALUES = -(2**15), 2**16


def keep_mask(shape: torch.Size, p: float) -> Tensor:
    """uint8, 0 with probability ``p`` (to 1/65536), else 1; the seed is drawn from torch's generator of the CPU.

    Not bool: torch converts bytes to numbers, and writes them, several times as fast.
    """
    count = shape.numel()
    seed = int(torch.empty((), dtype=torch.int64).random_())
    words = torch.from_numpy(np.random.SFC64(seed).random_raw(-(-count // _LANES)).view(np.int16))[:count]
    return torch.ge(words, _LOWEST + round(p * _VALUES), out=torch.empty(count, dtype=torch.uint8)).view(shape)


class _Drop(torch.autograd.Function):
    """What is kept for the gradient is one byte an element, not a float."""

    @staticmethod
    def forward(ctx, x: Tensor, p: float) -> Tensor:
        kept = keep_mask(x.shape, p)
        ctx.save_for_backward(kept)
        ctx.scale = 1 / (1 - p)
        return (x * kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return (grad * ctx.saved_tensors[0]).mul_(ctx.scale), None


class _DropGeluLinear(torch.autograd.Function):
    """Keeps x and a byte an element, and computes the input of the product again for the gradient."""

    @staticmethod
    def forward(ctx, x: Tensor, p: float, weight: Tensor, bias: Tensor) -> Tensor:
        kept, ctx.scale = keep_mask(x.shape, p), 1 / (1 - p)
        ctx.save_for_backward(x, kept, weight)
        return linear(F.gelu((x * kept).mul_(ctx.scale)), weight, bias)

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, kept, weight = ctx.saved_tensors
        dropped = (x * kept).mul_(ctx.scale)  # (rows, n)
        hidden = F.gelu(dropped)
        dweight = weight_gradient(grad, hidden.to(grad.dtype)).to(weight.dtype)
        below = product(grad, weight.to(grad.dtype)).to(x.dtype)
        below = (torch.ops.aten.gelu_backward(below, dropped) * kept).mul_(ctx.scale)
        return below, None, dweight, grad.sum(0, dtype=weight.dtype)


def drop_gelu_linear(x: Tensor, p: float, training: bool, weight: Tensor, bias: Tensor) -> Tensor:
    """``linear(gelu(dropout(x)), weight, bias)`` of rows x (rows, n), with less memory than one after the other."""
    if not training or p == 0 or x.device.type != "cpu":
        return linear(F.gelu(dropout(x, p, training)), weight, bias)
    return _DropGeluLinear.apply(x, p, weight, bias)


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Zero each element with probability ``p`` and scale the others by ``1 / (1 - p)``, in training only."""
    if not training or p == 0:
        return x
    return F.dropout(x, p) if x.device.type != "cpu" else _Drop.apply(x, p)


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
