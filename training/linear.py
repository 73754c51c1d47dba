"""Linear layers whose products go to oneDNN: on CPUs that MKL does not know it is twice as fast, elsewhere equal.

torch takes oneDNN for convolutions and bfloat16, but MKL for products of float32 matrices. The op called here is the
one `torch.compile` calls. On other devices, in other types and where torch has no oneDNN all this is `F.linear`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.kernels.transpose import TILE, transpose

_HAS_ONEDNN = torch.backends.mkldnn.is_available() and all(
    hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight")
)
_FEW_ROWS = 32  # a hint for the order in memory


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x W^T + b``: (..., n), (m, n) or what `packed` made of it, (m,) -> (..., m)."""
    if weight.is_mkldnn:
        return _product(x, weight, bias)
    if not _for_onednn(x, weight):
        return F.linear(x, weight, bias)
    return _Product.apply(x, weight, bias) if torch.is_grad_enabled() else _product(x, weight, bias)


def _for_onednn(x: Tensor, weight: Tensor) -> bool:
    if not _HAS_ONEDNN or not torch.backends.mkldnn.enabled or torch.is_autocast_enabled("cpu"):
        return False
    return x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and x.numel() > 0


def packed(weight: Tensor) -> Tensor:
    """``weight`` (m, n) as oneDNN reads it fastest, for many products with few rows and no gradient; else itself."""
    if not _for_onednn(weight, weight):
        return weight
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _FEW_ROWS)


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of matrices, without a gradient."""
    return _product(a, b.T) if _for_onednn(a, b) else a @ b


def rounded(rows: int) -> int:
    """``rows`` or a few more: for every new number of rows oneDNN writes new code, which takes a millisecond."""
    step = 1 if rows <= 16 else 16 if rows <= 512 else 64
    return -(-rows // step) * step


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x W^T + b``: (..., n), (m, n), (m,) -> (..., m)."""
    rows = x if x.dim() == 2 else x.flatten(0, -2)
    y = _onednn(_padded(rows), weight, bias)
    y = y if len(y) == len(rows) else y[: len(rows)]
    return y if x.dim() == 2 else y.view(*x.shape[:-1], len(weight))


def slopes(grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Of weight and bias, ``grad^T x`` and ``sum_P grad`` of (P, m) and (P, n), in float32 at least."""
    if not _for_onednn(grad, x):
        kind = torch.promote_types(grad.dtype, torch.float32)
        return (grad.T @ x).to(kind), grad.sum(0, dtype=kind)
    if grad.shape[1] > x.shape[1]:  # oneDNN wants a transposed copy of the first: let that be the smaller
        return slopes(x, grad)[0].T, grad.sum(0)
    columns = grad.new_empty(grad.shape[1], rounded(len(x)))
    sums = grad.new_empty(-(-len(grad) // TILE), grad.shape[1])
    transpose(grad.contiguous(), columns, sums)
    return _onednn(columns, _padded(x).T), sums.sum(0)


def _padded(rows: Tensor) -> Tensor:
    count, total = len(rows), rounded(len(rows))
    if count == total:
        return rows
    padded = rows.new_empty(total, rows.shape[1])  # F.pad would write everything twice
    padded[:count], padded[count:] = rows, 0
    return padded


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(_dense(x), _dense(weight), bias, "none", [], "")


def _dense(x: Tensor) -> Tensor:
    """Row by row or column by column; what oneDNN does with other strides can take a thousand times as long."""
    return x if x.is_mkldnn or x.is_contiguous() or (x.dim() == 2 and x.T.is_contiguous()) else x.contiguous()


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, weight = ctx.saved_tensors
        rows = grad.flatten(0, -2)  # (P, m)
        dx = _product(grad, weight.T) if ctx.needs_input_grad[0] else None
        dweight, dbias = slopes(rows, x.flatten(0, -2)) if any(ctx.needs_input_grad[1:]) else (None, None)
        return dx, dweight, dbias if ctx.needs_input_grad[2] else None


class Linear(nn.Linear):
    """`torch.nn.Linear` by `linear`."""

    packed: Tensor | None = None
    """the weight as `packed` gives it, while many products without a gradient follow"""

    def forward(self, x: Tensor) -> Tensor:
        return self.times(x, self.bias)

    def times(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """`forward` with another bias."""
        weight = self.packed
        return linear(x, self.weight if weight is None or torch.is_grad_enabled() else weight, bias)
