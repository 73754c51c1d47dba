"""Self-attention of packed sequences, one head of one sequence after the other, all of it in the cache.

Sequence ``s`` of ``n`` has ``counts[s]`` rows from row ``starts[s]`` on; the first ``lengths[s]`` are real tokens, at
which others may look. Rows (P, 3 D) hold queries, keys and values side by side, each the D / H columns of H heads.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from training.kernels.compiled import device_function, kernel
from training.kernels.products import SIDE, multiply, multiply_turned
from training.kernels.rows import drop_row
from training.kernels.scalars import exp, f32, i32, of_row, read, write
from training.kernels.transpose import turn
from training.kernels.views import at, cut


@device_function
def _rounded(n):
    return -(-n // SIDE) * SIDE


@device_function
def _take(rows, first, count, start, size, out):
    """``count`` rows from ``first`` on, columns from ``start`` on, into heads (H, T, d) of ``size`` columns."""
    for t in range(count):
        row = at(rows, first + t)
        for h in range(len(out)):
            part, to = cut(row, start + h * size, size), at(at(out, h), t)
            for i in range(size):
                to[i] = read(part, i)


@device_function
def _give(head, first, count, start, size, rows):
    """One head (T, d) into ``count`` rows from ``first`` on, columns from ``start`` on."""
    for t in range(count):
        part, row = at(head, t), cut(at(rows, first + t), start, size)
        for i in range(size):
            write(row, i, part[i])


@device_function
def _turn(x, count, size, out):
    """``out = x.T`` of ``count`` rows with ``size`` columns."""
    for t in range(0, _rounded(count), SIDE):
        for i in range(0, _rounded(size), SIDE):
            turn(x, t, i, out)


@device_function
def _ordered(bits):
    """The bits of a float32 as an integer that is larger where the number is, and back."""
    return i32(bits ^ i32(i32(bits >> i32(31)) & i32(0x7FFFFFFF)))


@device_function
def _largest(x):
    top = i32(-0x80000000)  # as integers: of floats, NaN allowed, a processor finds the largest one by one
    for i in range(len(x)):
        top = max(top, _ordered(f32(x[i]).view(np.int32)))
    return i32(_ordered(top)).view(np.float32)


@device_function
def _softmax_row(x, scale, out):
    """Softmax of ``scale * x``."""
    top, total = _largest(x), f32(0)
    for i in range(len(x)):
        out[i] = exp((x[i] - top) * scale)
        total += out[i]
    rate = f32(1) / total
    for i in range(len(x)):
        out[i] = out[i] * rate


@device_function
def _slope_row(weights, above, scale, out):
    """Slopes of the scores of a row of `_softmax_row`."""
    total = f32(0)
    for i in range(len(weights)):
        total += weights[i] * above[i]
    for i in range(len(weights)):
        out[i] = weights[i] * (above[i] - total) * scale


@kernel
def attend(rows, starts, counts, lengths, width, heads, scale, drop, threads, out):
    """``out = drop(softmax(scale * Q K^T)) V`` (P, D); ``width`` is the largest of ``counts``."""
    size, most = out.shape[1] // heads, _rounded(width)
    deep = _rounded(size)
    for c in prange(threads):  # each takes long and short sequences, which come in order of length
        taken = np.empty((3, heads, most, deep), np.float32)
        query, key, value = at(taken, 0), at(taken, 1), at(taken, 2)
        keys, scores = np.empty((deep, most), np.float32), np.empty((most, most), np.float32)
        mixed, weights = np.empty((most, deep), np.float32), np.empty(most, np.float32)
        for s in range(c, len(starts), threads):
            first, count, length = starts[s], counts[s], lengths[s]
            tall, wide, row = _rounded(count), _rounded(length), cut(weights, 0, length)
            for k in range(3):
                _take(rows, first, count, k * heads * size, size, at(taken, k))
            for h in range(heads):
                _turn(at(key, h), length, size, keys)
                multiply(at(query, h), keys, scores, tall, wide, size)
                for t in range(count):
                    score = cut(at(scores, t), 0, length)
                    _softmax_row(score, scale, row)
                    drop_row(row, score, of_row((s * heads + h) * width + t, drop))
                multiply(scores, at(value, h), mixed, tall, deep, length)
                _give(mixed, first, count, h * size, size, out)


@kernel
def attend_slope(rows, starts, counts, lengths, width, heads, scale, drop, threads, above, out):
    """Slopes ``out`` (P, 3 D) of ``rows``, given those ``above`` (P, D) of what `attend` gave."""
    size, most = above.shape[1] // heads, _rounded(width)
    deep = _rounded(size)
    for c in prange(threads):
        taken = np.empty((4, heads, most, deep), np.float32)
        query, key, value, upper = at(taken, 0), at(taken, 1), at(taken, 2), at(taken, 3)
        turned, mixed = np.empty((deep, most), np.float32), np.empty((most, deep), np.float32)
        scores, slopes = np.empty((most, most), np.float32), np.empty((most, most), np.float32)
        weights, inner = np.empty(most, np.float32), np.empty(most, np.float32)
        for s in range(c, len(starts), threads):
            first, count, length = starts[s], counts[s], lengths[s]
            tall, wide = _rounded(count), _rounded(length)
            weight, slope_of_weight = cut(weights, 0, length), cut(inner, 0, length)
            for k in range(3):
                _take(rows, first, count, k * heads * size, size, at(taken, k))
            _take(above, first, count, 0, size, upper)
            for h in range(heads):
                _turn(at(key, h), length, size, turned)
                multiply(at(query, h), turned, scores, tall, wide, size)
                _turn(at(value, h), length, size, turned)
                multiply(at(upper, h), turned, slopes, tall, wide, size)
                for t in range(count):
                    own = of_row((s * heads + h) * width + t, drop)
                    score, slope = cut(at(scores, t), 0, length), cut(at(slopes, t), 0, length)
                    _softmax_row(score, scale, weight)
                    drop_row(weight, score, own)
                    drop_row(slope, slope_of_weight, own)
                    _slope_row(weight, slope_of_weight, scale, slope)
                multiply(slopes, at(key, h), mixed, tall, deep, length)
                _give(mixed, first, count, h * size, size, out)
                multiply_turned(slopes, at(query, h), mixed, wide, deep, count)
                _give(mixed, first, length, (heads + h) * size, size, out)
                multiply_turned(scores, at(upper, h), mixed, wide, deep, count)
                _give(mixed, first, length, (2 * heads + h) * size, size, out)
            for t in range(first + length, first + count):
                out[t, heads * size :] = 0
