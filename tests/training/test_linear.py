"""The faster product gives the numbers and gradients of torch's, whatever the strides."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F

from training.linear import Linear, linear, packed, product, rounded, slopes


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


@pytest.mark.parametrize("rows", [1, 16, 17, 250, 513, 640])
def test_rows_are_rounded_up_unseen(rows):
    torch.manual_seed(0)
    x, weight, dy = (
        torch.randn(rows, 24, requires_grad=True),
        torch.randn(7, 24, requires_grad=True),
        torch.randn(rows, 7),
    )
    y = linear(x, weight)
    assert y.shape == (rows, 7)
    found = torch.autograd.grad(y, (x, weight), dy)
    torch.testing.assert_close((y, *found), (x @ weight.T, dy @ weight, dy.T @ x), rtol=1e-4, atol=1e-4)


def test_few_numbers_of_rows_reach_onednn():
    assert len({rounded(rows) for rows in range(1, 4097)}) < 110
    assert all(rows <= rounded(rows) <= max(rows + 15, 1.13 * rows) for rows in range(1, 4097))


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


@pytest.mark.parametrize("shape", [(600, 24, 8), (600, 8, 24), (37, 5, 5), (1, 3, 2)])
def test_slopes_are_the_product_and_the_sum_over_all_rows(shape):
    rows, m, n = shape
    grad, x = torch.randn(rows, m), torch.randn(rows, n)
    dweight, dbias = slopes(grad, x)
    torch.testing.assert_close(dweight, grad.T @ x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dbias, grad.sum(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [0, 1, 16, 37, 600])
def test_packed_weights_give_the_same_product(rows):
    layer, x = Linear(24, 40), torch.randn(rows, 3, 24)
    with torch.no_grad():
        other = torch.randn(40, 24)  # so that a layer that does not look at it is found out
        layer.packed = packed(other)
        torch.testing.assert_close(layer(x), F.linear(x, other, layer.bias))
        torch.testing.assert_close(layer.times(x, None), F.linear(x, other))


def test_packed_weights_are_for_float32_only():
    weight = torch.randn(4, 4).double()
    assert packed(weight) is weight
    with torch.autocast("cpu", torch.bfloat16):
        assert packed(weight.float()).is_mkldnn is False


def test_gradients_take_the_weight_itself():
    layer, x = Linear(8, 8), torch.randn(5, 8)
    layer(x).sum().backward()
    expected, layer.weight.grad = layer.weight.grad, None
    layer.packed = packed(torch.zeros(8, 8))
    layer(x).sum().backward()
    assert torch.equal(layer.weight.grad, expected)
