"""The building blocks of the COOT networks on packed rows: layer norm, positions, transformer layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoder.attention import Attention
from encoder.packing import Layout
from training.dropout import Dropout, drop_gelu_linear
from training.errors import CootmartError
from training.linear import Linear, linear, weight_gradient


class CootLayerNorm(nn.Module):
    """``gain * (x - mean) / (std + eps) + bias`` over the last dimension, with the unbiased standard deviation.

    It differs from `torch.nn.LayerNorm` in both: the n-1 divisor, and eps outside the root.
    """

    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return _Normalize.apply(x, self.gain, self.bias, self.eps)


def _standardized(x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``(x - mean) / (std + eps)``, mean, std, ``1 / (std + eps)`` of rows; ten times as fast as `torch.std_mean`."""
    mean = x.mean(-1, keepdim=True)
    centred = x - mean
    std = torch.linalg.vector_norm(centred, dim=-1, keepdim=True) / (x.shape[-1] - 1) ** 0.5
    rate = 1 / (std + eps)
    return centred.mul_(rate), mean, std, rate


class _Normalize(torch.autograd.Function):
    """`CootLayerNorm` with its gradient written out: half the passes over memory of the recorded one."""

    @staticmethod
    def forward(ctx, x: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
        unit, _, std, rate = _standardized(x, eps)
        ctx.save_for_backward(unit, gain, std, rate)
        return torch.addcmul(bias, unit, gain)

    @staticmethod
    def backward(ctx, grad: Tensor):
        unit, gain, std, rate = ctx.saved_tensors
        slopes = (grad * unit).flatten(0, -2).sum(0), grad.flatten(0, -2).sum(0), None
        if not ctx.needs_input_grad[0]:
            return None, *slopes
        g = grad * gain
        along = (g * unit).sum(-1, keepdim=True) / (std * (unit.shape[-1] - 1))
        along = torch.where(std > 0, along, 0)  # a constant row: the derivative of its deviation is taken as 0
        dx = (g - g.mean(-1, keepdim=True)).mul_(rate).addcmul_(unit, along, value=-1)
        return dx, *slopes


class NormLinear(torch.autograd.Function):
    """``linear(norm(x))`` of a `CootLayerNorm` and an `nn.Linear` over data x (rows, K), which needs no gradient.

    With ``u = (x - mean) / (std + eps)`` the product ``dy.T @ u`` holds the gradients of the weight *and* of the
    norm, so the product ``dy @ weight`` over all rows is not needed, nor are the K-wide intermediate results kept.
    """

    @staticmethod
    def forward(ctx, x: Tensor, eps: float, *parameters: Tensor) -> Tensor:
        gain, shift, weight, bias = parameters
        unit, mean, _, rate = _standardized(x, eps)
        y = linear(unit, weight * gain, bias + weight @ shift)
        ctx.save_for_backward(x, mean, rate, *parameters)
        return y

    @staticmethod
    def backward(ctx, dy: Tensor):
        x, mean, rate, gain, shift, weight, _ = ctx.saved_tensors
        both = weight_gradient(dy, (x - mean).mul_(rate).to(dy.dtype)).to(weight.dtype)  # (out, K)
        dbias = dy.sum(0, dtype=weight.dtype)
        dweight = both * gain + torch.outer(dbias, shift)
        return None, None, (both * weight).sum(0), dbias @ weight, dweight, dbias


def norm_linear(x: Tensor, norm: CootLayerNorm, layer: nn.Linear) -> Tensor:
    """``layer(norm(x))``, the faster way where nobody asks for the gradient of x."""
    if x.requires_grad:
        return layer(norm(x))
    return NormLinear.apply(x, norm.eps, norm.gain, norm.bias, layer.weight, layer.bias)


def position_table(length: int, size: int) -> Tensor:
    """COOT's sine table (length, size): ``sin(p / 10000^(2i/size))`` at even, ``cos`` of the same at odd columns i.

    ``i`` is the column itself, so neighbouring columns do not share a frequency, unlike in Vaswani et al.
    """
    column = torch.arange(size)
    angle = torch.arange(length)[:, None].float() / (10000 ** (2 * column.float() / size))
    return torch.where(column % 2 == 0, angle.sin(), angle.cos())


class PositionalEncoding(nn.Module):
    """Add the position table to packed rows; ``max_length`` rows are precomputed."""

    def __init__(self, size: int, max_length: int = 1000) -> None:
        super().__init__()
        self.register_buffer("table", position_table(max_length, size), persistent=False)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        if layout.width > len(self.table):
            found = f"a sequence of {layout.width} frames or words"
            raise CootmartError(f"{found}, expected at most {len(self.table)} (data.max_frames bounds frames)")
        return x + self.table.index_select(0, layout.positions)


class EncoderLayer(nn.Module):
    """Post-norm transformer layer: ``a = drop(LN(q + MHA(q, s, s)))``, ``out = LN(a + FF(a))``.

    The dropout after the first norm and the one before the GELU are those of the published model.
    """

    def __init__(self, size: int, heads: int, ff_size: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(size, heads, dropout)
        self.attention_norm = CootLayerNorm(size)
        self.up, self.down = Linear(size, ff_size), Linear(ff_size, size)
        self.feed_forward_norm = CootLayerNorm(size)
        self.dropout = Dropout(dropout)

    def forward(self, query: Tensor, source: Tensor, queries: Layout, keys: Layout) -> Tensor:
        attended = self.dropout(self.attention_norm(query + self.attention(query, source, queries, keys)))
        inner = self.up(attended), self.dropout.p, self.training
        forward = drop_gelu_linear(*inner, self.down.weight, self.down.bias)
        return self.feed_forward_norm(attended + self.dropout(forward))
