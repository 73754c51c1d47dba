"""Dropout and GELU over rows (rows, n)."""

from __future__ import annotations

import numpy as np
from numba import prange

from training.kernels.compiled import CHUNKS, chunk, device_function, kernel
from training.kernels.scalars import exp, f32, normal_cdf, of_row, random_bits, read, scale_of, write


@device_function
def drop_row(x, out, drop):
    """``out = x / (1 - p)``, or 0 where the random bits of this place say so."""
    if drop[2] == 0:
        for i in range(len(x)):
            write(out, i, read(x, i))
        return
    scale = scale_of(drop)
    for i in range(len(x)):
        write(out, i, read(x, i) * scale if random_bits(i, drop) >= drop[2] else f32(0))


@device_function
def _gelu_row(x, out):
    for i in range(len(x)):
        write(out, i, x[i] * normal_cdf(x[i], exp(f32(-0.5) * x[i] * x[i])))


@device_function
def _gelu_slope_row(x, above, hidden, slope):
    for i in range(len(x)):
        bell = exp(f32(-0.5) * x[i] * x[i])
        cdf = normal_cdf(x[i], bell)
        write(hidden, i, x[i] * cdf)
        slope[i] = read(above, i) * (cdf + x[i] * bell * f32(0.3989422804))  # the last is 1 / sqrt(2 pi)


@kernel
def dropout(x, out, drop):
    """``out = dropout(x)``; of the gradient it makes the gradient."""
    for r in prange(len(x)):
        drop_row(x[r], out[r], of_row(r, drop))


@kernel
def drop_gelu(x, out, drop):
    """``out = gelu(dropout(x))``."""
    for c in prange(CHUNKS):
        inner = np.empty(x.shape[1], np.float32)
        for r in range(chunk(c, len(x)), chunk(c + 1, len(x))):
            drop_row(x[r], inner, of_row(r, drop))
            _gelu_row(inner, out[r])


@kernel
def drop_gelu_slope(x, above, hidden, drop):
    """``hidden = gelu(dropout(x))`` once more; the slope of x takes the place of the one ``above``, that of hidden."""
    for c in prange(CHUNKS):
        inner, below = np.empty(x.shape[1], np.float32), np.empty(x.shape[1], np.float32)
        for r in range(chunk(c, len(x)), chunk(c + 1, len(x))):
            drop_row(x[r], inner, of_row(r, drop))
            _gelu_slope_row(inner, above[r], hidden[r], below)
            drop_row(below, above[r], of_row(r, drop))
