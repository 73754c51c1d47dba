"""Compiled kernels: random bits, exponential, GELU and bfloat16 by themselves; what is built of them against torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from training.kernels import attention, rows
from training.kernels.compiled import usable
from training.kernels.scalars import dropout_stream
from training.kernels.transpose import TILE, transpose

ROOT = Path(__file__).parent.parent.parent


def kept(shape: tuple[int, int], drop: tuple) -> Tensor:
    """What a dropout multiplies rows with."""
    out = torch.empty(shape)
    rows.dropout(torch.ones(shape), out, drop)
    return out


def test_random_bits_are_alike_everywhere():
    p, n = 0.3, 1024
    mask = kept((n, n), dropout_stream(p)) == 0
    edge = 6 * (p * (1 - p) / n) ** 0.5
    assert (mask.float().mean(0) - p).abs().max() < edge
    assert (mask.float().mean(1) - p).abs().max() < edge
    for other in (mask.roll(1, 0), mask.roll(1, 1), kept((n, n), dropout_stream(p)) == 0, mask.T):
        both = (mask & other).float().mean().item()
        assert both == pytest.approx(p * p, abs=6 * (p * p / n**2) ** 0.5), "neighbours, calls: independent"


def test_gelu_over_its_whole_range():
    x = torch.linspace(-100, 100, 400_001).view(1, -1)
    x = torch.cat([x, torch.linspace(-12, 12, 400_001).view(1, -1)])
    out = torch.empty_like(x)
    rows.drop_gelu(x, out, dropout_stream(0.0))
    assert (out.double() - F.gelu(x.double())).abs().max() < 1e-6
    hidden, slope, exact = torch.empty_like(x), torch.ones_like(x), x.double().requires_grad_()
    rows.drop_gelu_slope(x, slope, hidden, dropout_stream(0.0))
    F.gelu(exact).sum().backward()
    torch.testing.assert_close(hidden, out, atol=1e-6, rtol=0)
    assert (slope.double() - exact.grad).abs().max() < 1e-6


def test_what_is_not_a_number_stays_so():
    x = torch.tensor([[1.0, torch.nan, torch.inf] + [0.0] * 61])
    out = torch.empty_like(x)
    rows.drop_gelu(x, out, dropout_stream(0.0))
    assert out[0, 0].isfinite() and out[0, 1].isnan() and not out[0, 2].isfinite()
    rows.dropout(x, out, dropout_stream(1e-6))
    assert out.isnan().any()


def test_attention_to_what_is_not_a_number_is_not_one_either():
    rows, out = torch.randn(40, 3 * 8), torch.empty(40, 8)
    rows[5, 2] = torch.nan  # a query of the first of two heads
    one = torch.zeros(1, dtype=torch.int64), torch.tensor([40]), torch.tensor([40]), 40
    attention.attend(rows, *one, 2, np.float32(1), dropout_stream(0.0), 2, out)
    assert out[5, :4].isnan().all()
    assert out[:5].isfinite().all() and out[5, 4:].isfinite().all()


def test_every_bfloat16_nan_stays_one():
    x = torch.full((1, 64), -1, dtype=torch.int16).view(torch.bfloat16)  # all bits set
    out = torch.empty(1, 64, dtype=torch.bfloat16)
    rows.dropout(x, out, dropout_stream(0.0))
    assert x.isnan().all() and out.isnan().all()
    full = torch.full((1, 64), 2**31 - 1, dtype=torch.int32).view(torch.float32)
    rows.dropout(full, out, dropout_stream(0.0))
    assert out.isnan().all()


def test_the_first_kernel_leaves_torch_its_number_of_threads():
    code = """
        import torch
        torch.set_num_threads(1)
        from training.dropout import dropout
        dropout(torch.ones(9, 9), 0.5, True)
        print(torch.get_num_threads())
    """
    run = subprocess.run([sys.executable, "-c", dedent(code)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "1"


def test_bfloat16_is_rounded_as_torch_does():
    x = torch.cat([torch.randn(3, 1000) * 10.0**k for k in (-30, -3, 0, 5, 30)] + [torch.full((1, 1000), torch.inf)])
    out = torch.empty_like(x, dtype=torch.bfloat16)
    rows.dropout(x, out, dropout_stream(0.0))
    assert out.equal(x.bfloat16())
    back = torch.empty_like(x)
    rows.dropout(out, back, dropout_stream(0.0))
    assert back.equal(out.float())


@pytest.mark.parametrize("shape", [(1, 1), (70, 130), (64, 64), (200, 3), (16, 33)])
def test_transpose_and_zeros_behind_it(shape):
    x = torch.randn(shape)
    out = torch.full((shape[1], shape[0] + 5), torch.nan)
    sums = torch.empty(-(-shape[0] // TILE), shape[1])
    transpose(x, out, sums)
    assert out.equal(F.pad(x.T, (0, 5)))
    torch.testing.assert_close(sums.sum(0), x.sum(0), rtol=1e-5, atol=1e-5)


def test_threads_change_nothing():
    x, drop, threads = torch.randn(300, 77), dropout_stream(0.4), torch.get_num_threads()
    results = []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            results.append(torch.empty_like(x))
            rows.drop_gelu(x, results[-1], drop)
    finally:
        torch.set_num_threads(threads)
    assert results[0].equal(results[1])


def test_which_tensors_kernels_take():
    assert usable(torch.ones(2), torch.ones(2).bfloat16())
    assert not usable(torch.ones(2), torch.ones(2).double())
    assert not usable(torch.ones(2, device="meta"))
