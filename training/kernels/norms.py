"""COOT's layer norm of a sum, with dropout before and after it, over rows (rows, n)."""

from __future__ import annotations

import numpy as np
from numba import prange

from training.kernels.compiled import CHUNKS, chunk, device_function, kernel
from training.kernels.rows import drop_row
from training.kernels.scalars import f32, of_row, read, write


@device_function
def _statistics(x, eps):
    """Mean, deviation (n-1 divisor) and ``1 / (deviation + eps)`` of a row."""
    total = f32(0)
    for i in range(len(x)):
        total += x[i]
    mean = total / f32(len(x))
    squares = f32(0)
    for i in range(len(x)):
        squares += (x[i] - mean) * (x[i] - mean)
    std = np.sqrt(squares / f32(len(x) - 1))
    return mean, std, f32(1) / (std + eps)


@device_function
def _add_row(x, z, out):
    for i in range(len(x)):
        out[i] = read(x, i) + z[i]


@device_function
def _scale_row(x, mean, rate, gain, bias, out):
    for i in range(len(x)):
        out[i] = (x[i] - mean) * rate * gain[i] + bias[i]


@kernel
def add_norm(x, z, gain, bias, eps, before, after, total, out):
    """``total = x + drop(z)``, ``out = drop(norm(total))``; ``before`` and ``after`` are these two dropouts."""
    for c in prange(CHUNKS):
        row = np.empty(x.shape[1], np.float32)
        for r in range(chunk(c, len(x)), chunk(c + 1, len(x))):
            drop_row(z[r], row, of_row(r, before))
            _add_row(x[r], row, total[r])
            mean, _, rate = _statistics(total[r], eps)
            _scale_row(total[r], mean, rate, gain, bias, row)
            drop_row(row, out[r], of_row(r, after))


@device_function
def _sums_row(g, x, mean, rate, gain, dgain, dbias):
    """Adds to the slopes of gain and bias; the sum of ``g * gain`` and that of ``g * gain * unit``."""
    plain, along = f32(0), f32(0)
    for i in range(len(x)):
        unit = (x[i] - mean) * rate
        dgain[i] += g[i] * unit
        dbias[i] += g[i]
        plain += g[i] * gain[i]
        along += g[i] * gain[i] * unit
    return plain, along


@device_function
def _slope_row(g, x, mean, rate, gain, plain, along, out):
    for i in range(len(x)):
        out[i] = (g[i] * gain[i] - plain) * rate - (x[i] - mean) * rate * along


@kernel
def add_norm_slope(above, total, gain, eps, before, after, dx, dz, parts):
    """Slopes ``dx`` and ``dz`` of the two summands, and ``parts`` (CHUNKS, 2, n) of those of gain and bias."""
    n = total.shape[1]
    for c in prange(CHUNKS):
        g = np.empty(n, np.float32)
        parts[c] = f32(0)
        for r in range(chunk(c, len(total)), chunk(c + 1, len(total))):
            drop_row(above[r], g, of_row(r, after))
            mean, std, rate = _statistics(total[r], eps)
            plain, along = _sums_row(g, total[r], mean, rate, gain, parts[c, 0], parts[c, 1])
            along = along / (std * f32(n - 1)) if std > f32(0) else f32(0)  # a constant row: see `CootLayerNorm`
            _slope_row(g, total[r], mean, rate, gain, plain / f32(n), along, dx[r])
            drop_row(dx[r], dz[r], of_row(r, before))


@device_function
def _standardize_row(x, mean, rate, out):
    for i in range(len(x)):
        write(out, i, (x[i] - mean) * rate)


@kernel
def standardize(x, eps, out):
    """``out = (x - mean) / (deviation + eps)`` of each row."""
    for r in prange(len(x)):
        mean, _, rate = _statistics(x[r], eps)
        _standardize_row(x[r], mean, rate, out[r])
