"""Products and transposes in vector registers, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from training.kernels.compiled import device_function
from training.kernels.products import multiply, multiply_turned
from training.kernels.transpose import turn
from training.kernels.views import at, cut


@pytest.mark.parametrize("columns", [16, 32, 48, 64, 80, 144])
@pytest.mark.parametrize(("rows", "depth"), [(16, 1), (32, 5), (48, 130)])
def test_products_of_all_widths_of_tiles(rows, columns, depth):
    draw = np.random.default_rng(0)
    a, b = (draw.standard_normal(shape, np.float32) for shape in ((rows, depth + 3), (depth, columns + 5)))
    out = np.full((rows, columns + 1), 7, np.float32)
    expected = a[:, :depth].astype(np.float64) @ b[:, :columns]
    for first, product in ((a, multiply), (np.ascontiguousarray(a.T), multiply_turned)):
        product(first, b, out, rows, columns, depth)
        np.testing.assert_allclose(out[:, :columns], expected, rtol=1e-5, atol=1e-4)
        assert (out[:, columns:] == 7).all()


@device_function
def turned(x, row, column, out):
    turn(x, row, column, out)


def test_one_block_is_turned_and_no_other():
    x, out = np.arange(40 * 70, dtype=np.float32).reshape(40, 70), np.zeros((70, 40), np.float32)
    turned(x, 3, 20, out)
    np.testing.assert_array_equal(out[20:36, 3:19], x[3:19, 20:36].T)
    assert np.count_nonzero(out) == 16 * 16


@device_function
def viewed(x, page, row, first, size):
    return cut(at(at(x, page), row), first, size).sum()


def test_views_are_parts_of_the_array():
    x = np.arange(2 * 3 * 10.0).reshape(2, 3, 10)
    assert viewed(x, 1, 2, 4, 3) == x[1, 2, 4:7].sum()
