"""The building blocks of the COOT networks on packed rows: layer norm, positions, transformer layer."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoder.attention import Attention
from encoder.packing import Layout
from training.dropout import Dropout, drop_gelu_linear, dropout
from training.errors import CootmartError
from training.kernels import norms
from training.kernels.compiled import usable
from training.kernels.scalars import dropout_stream
from training.linear import Linear, linear, slopes


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

    def of_sum(self, x: Tensor, z: Tensor, before: float, after: float) -> Tensor:
        """``drop(norm(x + drop(z)))`` of rows; z with probability ``before``, the result with ``after``."""
        if usable(x, z, self.gain) and x.dtype == torch.float32:
            return _AddNorm.apply(x.contiguous(), z.contiguous(), self.gain, self.bias, self.eps, before, after)
        return dropout(self(x + dropout(z, before, before > 0)), after, after > 0)


def _standardized(x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``(x - mean) / (std + eps)``, mean, std, ``1 / (std + eps)`` of rows; ten times as fast as `torch.std_mean`."""
    mean = x.mean(-1, keepdim=True)
    centred = x - mean
    std = torch.linalg.vector_norm(centred, dim=-1, keepdim=True) / (x.shape[-1] - 1) ** 0.5
    rate = 1 / (std + eps)
    return centred.mul_(rate), mean, std, rate


def _unit(x: Tensor, eps: float, spare: int) -> Tensor:
    """``(x - mean) / (std + eps)`` of rows (rows, K), then ``spare`` rows of zeros."""
    if not usable(x) or x.dtype != torch.float32:
        return F.pad(_standardized(x, eps)[0], (0, 0, 0, spare))
    unit = x.new_empty(len(x) + spare, x.shape[1])
    norms.standardize(x.contiguous(), np.float32(eps), unit)
    unit[len(x) :] = 0
    return unit


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
        dgain, dbias = (grad * unit).flatten(0, -2).sum(0), grad.flatten(0, -2).sum(0)
        if not ctx.needs_input_grad[0]:
            return None, dgain, dbias, None
        g = grad * gain
        along = (g * unit).sum(-1, keepdim=True) / (std * (unit.shape[-1] - 1))
        along = torch.where(std > 0, along, 0)  # a constant row: the derivative of its deviation is taken as 0
        dx = (g - g.mean(-1, keepdim=True)).mul_(rate).addcmul_(unit, along, value=-1)
        return dx, dgain, dbias, None


class _AddNorm(torch.autograd.Function):
    """``drop(norm(x + drop(z)))`` of rows (rows, D) in one pass; only the sum is kept."""

    @staticmethod
    def forward(ctx, x: Tensor, z: Tensor, gain: Tensor, bias: Tensor, eps: float, *p: float) -> Tensor:
        ctx.eps, ctx.drops, ctx.z = eps, tuple(map(dropout_stream, p)), z.dtype
        total, out = torch.empty_like(x), torch.empty_like(x)
        norms.add_norm(x, z, gain, bias, np.float32(eps), *ctx.drops, total, out)
        ctx.save_for_backward(total, gain)
        return out

    @staticmethod
    def backward(ctx, grad: Tensor):
        total, gain = ctx.saved_tensors
        dx, dz = torch.empty_like(total), torch.empty_like(total, dtype=ctx.z)
        parts = total.new_empty(norms.CHUNKS, 2, total.shape[1])
        norms.add_norm_slope(grad.contiguous(), total, gain, np.float32(ctx.eps), *ctx.drops, dx, dz, parts)
        return dx, dz, *parts.sum(0), None, None, None


class NormLinear(torch.autograd.Function):
    """``linear(norm(x))`` of a `CootLayerNorm` and an `nn.Linear` over data x (rows, K), which needs no gradient.

    With ``u = (x - mean) / (std + eps)`` the product ``dy.T @ u`` holds the gradients of the weight *and* of the
    norm, so the product ``dy @ weight`` over all rows is not needed, nor are the K-wide intermediate results kept.
    """

    @staticmethod
    def forward(ctx, x: Tensor, spare: int, eps: float, *parameters: Tensor) -> Tensor:
        gain, shift, weight, bias = parameters
        y = linear(_unit(x, eps, spare), weight * gain, bias + weight @ shift)
        ctx.save_for_backward(x, *parameters)
        ctx.eps, ctx.spare = eps, spare
        return y

    @staticmethod
    def backward(ctx, dy: Tensor):
        x, gain, shift, weight, _ = ctx.saved_tensors
        both, dbias = slopes(dy, _unit(x, ctx.eps, ctx.spare).to(dy.dtype))  # (out, K), (out,)
        dweight = both * gain + torch.outer(dbias, shift)
        return None, None, None, (both * weight).sum(0), dbias @ weight, dweight, dbias


def norm_linear(x: Tensor, norm: CootLayerNorm, layer: nn.Linear, spare: int = 0) -> Tensor:
    """``layer(norm(x))`` and ``spare`` rows more, the faster way where nobody asks for the gradient of x."""
    if x.requires_grad:
        return layer(norm(F.pad(x, (0, 0, 0, spare))))
    return NormLinear.apply(x, spare, norm.eps, norm.gain, norm.bias, layer.weight, layer.bias)


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
        p = self.dropout.p if self.training else 0.0
        attended = self.attention_norm.of_sum(query, self.attention(query, source, queries, keys), 0.0, p)
        forward = drop_gelu_linear(self.up(attended), p, self.training, self.down.weight, self.down.bias)
        return self.feed_forward_norm.of_sum(attended, forward, p, 0.0)
