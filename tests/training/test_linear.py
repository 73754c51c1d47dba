"""The faster product gives the numbers and gradients of torch's, whatever the strides."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F

from training.linear import Linear, linear, product


def layouts() -> dict[str, torch.Tensor]:
    """(60, 24) matrices that lie differently in memory."""
    return {
        "rows": torch.randn(60, 24),
        "columns": torch.randn(24, 60).T,
        "part of wider rows": torch.randn(60, 48)[:, 24:],
        "every other row": torch.randn(120, 24)[::2],
        "one row": torch.randn(1, 24).expand(60, 24),
    }


@pytest.mark.parametrize("layout", layouts())
def test_values_and_gradients(layout):
    torch.manual_seed(0)
    x, weight, bias, dy = layouts()[layout].requires_grad_(), torch.randn(7, 24), torch.randn(7), torch.randn(60, 7)
    weight.requires_grad_(), bias.requires_grad_()
    results = []
    for function in (F.linear, linear):
        y = function(x, weight, bias)
        results.append((y, *torch.autograd.grad(y, (x, weight, bias), dy)))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


def test_more_dimensions_and_no_bias():
    x, layer = torch.randn(3, 5, 24), Linear(24, 7, bias=False)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight))
    assert layer(x[:0]).shape == (0, 5, 7)


def test_product():
    a, b = torch.randn(6, 90), torch.randn(90, 5)
    torch.testing.assert_close(product(a, b), a @ b)
    torch.testing.assert_close(product(a.double(), b.double()), a.double() @ b.double())


def test_autocast_decides_the_type():
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(torch.randn(4, 24), torch.randn(7, 24)).dtype == torch.bfloat16


def test_strided_rows_are_not_slow():
    x, dy = torch.randn(4000, 512)[:, :256], torch.randn(4000, 256)
    weight = torch.randn(256, 256, requires_grad=True)
    linear(x, weight).backward(dy)
    started = time.perf_counter()
    linear(x, weight).backward(dy)
    assert time.perf_counter() - started < 2.0, "oneDNN's path for such strides takes seconds"
