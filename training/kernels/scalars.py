"""What kernels do to one number: random bits, exponential, normal distribution, bfloat16."""

from __future__ import annotations

import numpy as np
import torch
from numba import types
from numba.extending import overload

from training.kernels.compiled import device_function

f32, i32, u32 = np.float32, np.int32, np.uint32


def dropout_stream(p: float) -> tuple[np.uint32, np.uint32, np.uint32]:
    """One dropout with probability ``p``: the key of its random bits, drawn from torch's generator of the CPU, and the
    threshold below which they drop a number. Whoever has it can make the same choices again.
    """
    seed = int(torch.empty((), dtype=torch.int64).random_()) if p else 0
    return u32(seed & 0xFFFFFFFF), u32(seed >> 32), u32(min(round(p * 2**32), 2**32 - 1))


@device_function
def random_bits(i, drop):
    """32 random bits, the ``i``-th of a stream: a counter mixed by multiplications and shifts, so nothing is kept."""
    h = u32(u32(u32(i) * u32(0x9E3779B1)) + drop[0])
    h = u32(h ^ (h >> u32(16)))
    h = u32(u32(h * u32(0x21F0AAAD)) ^ drop[1])
    h = u32(h ^ (h >> u32(15)))
    h = u32(h * u32(0x735A2D97))
    return u32(h ^ (h >> u32(15)))


@device_function
def of_row(r, drop):
    """The stream of row ``r``."""
    return random_bits(r, drop), u32(drop[1] + u32(r)), drop[2]


@device_function
def scale_of(drop):
    """``1 / (1 - p)``."""
    return f32(2.0**32 / (2.0**32 - drop[2]))


@device_function
def exp(x):
    """e^x to 2e-7 of itself, for x up to 88; below e^-87 it is that."""
    x = max(x, f32(-87))  # in this order NaN stays NaN
    n = np.floor(x * f32(1.44269504) + f32(0.5))
    r = x - n * f32(0.693359375) - n * f32(-2.12194440e-4)  # log 2 in two parts
    p = f32(1 / 5040)
    for c in (f32(1 / 720), f32(1 / 120), f32(1 / 24), f32(1 / 6), f32(1 / 2), f32(1), f32(1)):
        p = p * r + c
    return p * i32(i32(i32(n) + i32(127)) << i32(23)).view(np.float32)


@device_function
def normal_cdf(x, bell):
    """P(N(0, 1) < x) to 2e-7, given ``bell = e^(-x²/2)`` (Abramowitz and Stegun 7.1.26)."""
    t = f32(1) / (f32(1) + f32(0.3275911 * 0.5**0.5) * abs(x))
    p = f32(1.061405429)
    for c in (f32(-1.453152027), f32(1.421413741), f32(-0.284496736), f32(0.254829592)):
        p = p * t + c
    tail = f32(0.5) * p * t * bell
    return tail if x < f32(0) else f32(1) - tail


def read(x, i):
    """Number ``i`` of a row of float32, or of bfloat16 given as uint16."""
    return _widened(x, i) if x.dtype == np.uint16 else x[i]


def write(x, i, value):
    """The reverse of `read`; bfloat16 is rounded to the nearest, ties to even."""
    return _rounded(x, i, value) if x.dtype == np.uint16 else _stored(x, i, value)


def _widened(x, i):
    return u32(u32(x[i]) << u32(16)).view(np.float32)


def _stored(x, i, value):
    x[i] = value


def _rounded(x, i, value):
    x[i] = _half(value)


@device_function
def _half(value):
    bits = f32(value).view(np.uint32)
    up = u32(bits + u32(0x7FFF) + u32((bits >> u32(16)) & u32(1)))
    return np.uint16(up >> u32(16)) if value == value else np.uint16(0x7FC0)  # else some NaN would end as 0


@overload(read, inline="always")  # compiled code takes one way for each type
def _read(x, i):
    return _widened if x.dtype == types.uint16 else lambda x, i: x[i]


@overload(write, inline="always")
def _write(x, i, value):
    return _rounded if x.dtype == types.uint16 else _stored
