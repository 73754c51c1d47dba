"""The building blocks of the COOT networks: sequences without padding, layer norm, positions, attention.

Everything that works on one token at a time (projections, norms, feed-forward) runs on *packed* rows, the tokens of
all sequences back to back, so no padded frame is ever multiplied. Attention and pooling, which look along a
sequence, use a `Layout` to see the same rows as a padded batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.dropout import Dropout, attention
from training.errors import CootmartError
from training.linear import Linear, linear, product

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
        return packed.new_zeros(n * self.width, size).index_copy(0, self.rows, packed).view(n, self.width, size)

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
        both = product(dy.T, (x - mean).mul_(rate).to(dy.dtype)).to(weight.dtype)  # (out, K)
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


class Attention(nn.Module):
    """Multi-head attention with a bias in all four projections; masked keys weigh exactly zero."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value, self.final = (Linear(size, size) for _ in range(4))

    def _project(self, query: Tensor, source: Tensor) -> tuple[Tensor, ...]:
        if query is not source:
            return self.query(query), self.key(source), self.value(source)
        three = (self.query, self.key, self.value)  # one product instead of three
        weight, bias = torch.cat([layer.weight for layer in three]), torch.cat([layer.bias for layer in three])
        return linear(query, weight, bias).chunk(3, -1)

    def _heads(self, layout: Layout, x: Tensor) -> Tensor:
        return layout.pad(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (n, H, T, D/H)

    def forward(self, query: Tensor, source: Tensor, queries: Layout, keys: Layout) -> Tensor:
        """Rows ``query`` in layout ``queries`` look at rows ``source`` in layout ``keys`` -> rows of ``queries``."""
        q, k, v = self._project(query, source)
        runs = zip(queries.parts(), keys.parts(), queries.split(q), keys.split(k), keys.split(v), strict=True)
        mixed = [self._mix(*run) for run in runs]
        return self.final(torch.cat(mixed) if len(mixed) > 1 else mixed[0])

    def _mix(self, queries: Layout, keys: Layout, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mask = None if keys.is_full else keys.mask[:, None, None, :]  # (n, 1, 1, T)
        heads = self._heads(queries, q), self._heads(keys, k), self._heads(keys, v)
        mixed = attention(*heads, mask, self.dropout if self.training else 0.0)
        return queries.pack(mixed.transpose(1, 2).flatten(2))


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
        hidden = F.gelu(self.dropout(self.up(attended)))
        return self.feed_forward_norm(attended + self.dropout(self.down(hidden)))
