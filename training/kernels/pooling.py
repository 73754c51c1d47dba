"""Attention-aware pooling: every column of a sequence is averaged with weights of its own.

Sequence ``s`` of ``n`` has ``counts[s]`` rows from row ``starts[s]`` on; the first ``lengths[s]`` are real tokens.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from training.kernels.compiled import device_function, kernel
from training.kernels.rows import drop_row
from training.kernels.scalars import exp, f32, of_row, random_bits, read, scale_of


@device_function
def _raise(x, top):
    for i in range(len(x)):
        top[i] = max(top[i], x[i])


@device_function
def _add(logits, x, top, total, pooled, drop):
    """Add the exponentials of a row of logits to ``total``, and to ``pooled`` what they make of x."""
    scale = scale_of(drop)
    for i in range(len(x)):
        weight = exp(logits[i] - top[i])
        total[i] += weight
        pooled[i] += weight * (scale if random_bits(i, drop) >= drop[2] else f32(0)) * read(x, i)


@device_function
def _divide(rate, pooled):
    for i in range(len(rate)):
        rate[i] = f32(1) / rate[i]
        pooled[i] = pooled[i] * rate[i]


@kernel
def attention_pool(logits, x, starts, lengths, before, after, top, rate, out):
    """``out = sum_t drop(softmax_t(drop(logits))) * x`` of each sequence (n, D).

    ``top`` and ``rate`` (n, D) are the largest logit of a column and 1 over the sum of exponentials; ``before`` and
    ``after`` are the dropouts of logits and weights.
    """
    for s in prange(len(lengths)):
        row = np.empty(x.shape[1], np.float32)
        first, last = starts[s], starts[s] + lengths[s]
        top[s], rate[s], out[s] = f32(-3e38), f32(0), f32(0)
        for r in range(first, last):
            drop_row(logits[r], row, of_row(r, before))
            _raise(row, top[s])
        for r in range(first, last):
            drop_row(logits[r], row, of_row(r, before))
            _add(row, x[r], top[s], rate[s], out[s], of_row(r, after))
        _divide(rate[s], out[s])


@device_function
def _slope_row(logits, x, top, rate, pooled, above, dlogits, dx, drop):
    scale = scale_of(drop)
    for i in range(len(x)):
        weight = exp(logits[i] - top[i]) * rate[i]
        kept = scale if random_bits(i, drop) >= drop[2] else f32(0)
        dx[i] = above[i] * weight * kept
        dlogits[i] = above[i] * weight * (read(x, i) * kept - pooled[i])


@kernel
def attention_pool_slope(logits, x, starts, counts, lengths, before, after, top, rate, pooled, above, dlogits, dx):
    """Slopes of ``logits`` and ``x`` (rows, D), given the slopes ``above`` (n, D) of what `attention_pool` gave."""
    for s in prange(len(lengths)):
        row, inner = np.empty(x.shape[1], np.float32), np.empty(x.shape[1], np.float32)
        for r in range(starts[s], starts[s] + lengths[s]):
            drop_row(logits[r], row, of_row(r, before))
            _slope_row(row, x[r], top[s], rate[s], pooled[s], above[s], inner, dx[r], of_row(r, after))
            drop_row(inner, dlogits[r], of_row(r, before))
        for r in range(starts[s] + lengths[s], starts[s] + counts[s]):
            dlogits[r] = 0
            dx[r] = f32(0)
