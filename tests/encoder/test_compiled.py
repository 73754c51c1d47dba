"""Norm of a sum and attention-aware pooling, as compiled, against the formulas in float64 with the same dropout."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from encoder.layers import CootLayerNorm
from encoder.packing import Layout
from encoder.pooling import AttentionPool
from training.kernels.rows import dropout
from training.kernels.scalars import dropout_stream

SEED = 3


def masks(rows: int, columns: int, *p: float) -> list[Tensor]:
    """What dropouts with probabilities ``p``, drawn one after the other from `SEED` on, multiply rows with."""
    torch.manual_seed(SEED)
    kept = [torch.empty(rows, columns) for _ in p]
    for mask, share in zip(kept, p, strict=True):
        dropout(torch.ones(rows, columns), mask, dropout_stream(share))
    torch.manual_seed(SEED)
    return [mask.double() for mask in kept]


def exact(*tensors: Tensor) -> list[Tensor]:
    return [x.detach().double().requires_grad_() for x in tensors]


def assert_same(got: Tensor, expected: Tensor, inputs: list[Tensor], exact_inputs: list[Tensor], loose: float) -> None:
    """Values and the gradients of all inputs."""
    torch.testing.assert_close(got.double(), expected, atol=loose, rtol=loose)
    above = torch.randn_like(expected)
    slopes = torch.autograd.grad(got, inputs, above.to(got.dtype))
    for one, right in zip(slopes, torch.autograd.grad(expected, exact_inputs, above), strict=True):
        torch.testing.assert_close(one.double(), right, atol=loose, rtol=loose)


@pytest.mark.parametrize("p", [(0.0, 0.0), (0.3, 0.0), (0.0, 0.5), (0.2, 0.4)])
@pytest.mark.parametrize(("kind", "loose"), [(torch.float32, 2e-5), (torch.bfloat16, 0.05)])
def test_norm_of_a_sum(p, kind, loose):
    torch.manual_seed(0)
    x, z, norm = (
        torch.randn(130, 48, requires_grad=True),
        torch.randn(130, 48).to(kind).requires_grad_(),
        CootLayerNorm(48),
    )
    torch.nn.init.normal_(norm.gain)
    torch.nn.init.normal_(norm.bias)
    inputs = [x, z, norm.gain, norm.bias]
    x64, z64, gain, bias = exact_inputs = exact(*inputs)
    before, after = masks(130, 48, *p)
    total = x64 + z64 * before
    unit = (total - total.mean(-1, keepdim=True)) / (total.std(-1, keepdim=True) + norm.eps)
    assert_same(norm.of_sum(x, z, *p), (unit * gain + bias) * after, inputs, exact_inputs, loose)


def test_norm_of_constant_rows_has_a_finite_gradient():
    x = torch.ones(3, 8, requires_grad=True)
    y = CootLayerNorm(8).of_sum(x, torch.zeros(3, 8), 0.0, 0.0)
    y.square().sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("dense", [False, True])
def test_attention_pool(p, dense):
    torch.manual_seed(0)
    lengths = torch.tensor([1, 4, 9, 30])
    layout = Layout.padded(lengths, 30) if dense else Layout.packed(lengths)
    pool = AttentionPool(16, 8, 2, p)
    for parameter in pool.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(int(layout.counts.sum()), 16, requires_grad=True)
    hidden_masks = masks(len(x), 4, p, p)
    before, after = masks(len(x), 16, p, p, p, p)[2:]
    x64, w1, b1, w2, b2 = exact_inputs = exact(x, pool.w1, pool.b1, pool.w2, pool.b2)
    heads = []
    for h, mask in enumerate(hidden_masks):
        heads.append(torch.nn.functional.gelu((x64 @ w1[h] + b1[h]) * mask) @ w2[h] + b2[h])
    logits, expected = torch.cat(heads, 1) * before, []
    for first, length in zip(layout.starts.tolist(), lengths.tolist(), strict=True):
        real = slice(first, first + length)
        expected.append((logits[real].softmax(0) * after[real] * x64[real]).sum(0))
    got = pool.train()(x, layout)
    assert_same(got, torch.stack(expected), [x, pool.w1, pool.b1, pool.w2, pool.b2], exact_inputs, 1e-4)
