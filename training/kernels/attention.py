"""What self-attention does beside its products: heads out of packed rows and back, softmax with dropout.

Sequence ``s`` of ``n`` has ``counts[s]`` rows from row ``starts[s]`` on; the first ``lengths[s]`` are real tokens, at
which others may look. Heads stand padded to the longest sequence.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from training.kernels.compiled import device_function, kernel
from training.kernels.rows import drop_row
from training.kernels.scalars import exp, f32, of_row, read, write


@kernel
def split_heads(rows, starts, counts, out):
    """Rows (P, kinds H d) -> (kinds, n, H, T, d), zeros where there is no row."""
    kinds, n, heads, width, size = out.shape
    for s in prange(n):
        for k in range(kinds):
            for h in range(heads):
                first = (k * heads + h) * size
                for t in range(counts[s]):
                    row = starts[s] + t
                    for i in range(size):
                        out[k, s, h, t, i] = rows[row, first + i]
                for t in range(counts[s], width):
                    for i in range(size):
                        out[k, s, h, t, i] = 0


@kernel
def merge_heads(heads, starts, counts, out):
    """The reverse of `split_heads`: rows of these sequences in ``out`` (P, kinds H d)."""
    kinds, n, n_heads, _, size = heads.shape
    for s in prange(n):
        for t in range(counts[s]):
            row = starts[s] + t
            for k in range(kinds):
                for h in range(n_heads):
                    first = (k * n_heads + h) * size
                    for i in range(size):
                        out[row, first + i] = heads[k, s, h, t, i]


@device_function
def _softmax_row(x, length, scale, out):
    """Softmax of the first ``length`` of ``scale * x``; the others are 0."""
    top = f32(-3e38)
    for i in range(length):
        top = max(top, read(x, i))
    total = f32(0)
    for i in range(length):
        out[i] = exp((read(x, i) - top) * scale)
        total += out[i]
    rate = f32(1) / total
    for i in range(length):
        out[i] = out[i] * rate
    for i in range(length, len(out)):
        out[i] = f32(0)


@kernel
def softmax_drop(scores, lengths, scale, out, drop):
    """``out = dropout(softmax(scale * scores))`` of (n, H, T, T) along the last, keys beyond ``lengths`` left out."""
    n, heads, width, _ = scores.shape
    for sh in prange(n * heads):
        s, h = sh // heads, sh % heads
        row = np.empty(width, np.float32)
        for t in range(width):
            _softmax_row(scores[s, h, t], lengths[s], scale, row)
            drop_row(row, out[s, h, t], of_row(sh * width + t, drop))


@device_function
def _slope_row(weights, above, scale, out):
    total = f32(0)
    for i in range(len(weights)):
        total += weights[i] * above[i]
    for i in range(len(weights)):
        write(out, i, weights[i] * (above[i] - total) * scale)


@kernel
def softmax_drop_slope(scores, lengths, scale, above, drop):
    """Replace ``scores`` by what `softmax_drop` made of them, and ``above``, the slopes of that, by those of scores."""
    n, heads, width, _ = scores.shape
    for sh in prange(n * heads):
        s, h = sh // heads, sh % heads
        weights, inner = np.empty(width, np.float32), np.empty(width, np.float32)
        for t in range(width):
            own = of_row(sh * width + t, drop)
            _softmax_row(scores[s, h, t], lengths[s], scale, weights)
            drop_row(weights, scores[s, h, t], own)
            drop_row(above[s, h, t], inner, own)
            _slope_row(weights, inner, scale, above[s, h, t])
