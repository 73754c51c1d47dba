"""The transpose of a matrix as fast as memory is: square blocks are turned in the registers of the processor."""

from __future__ import annotations

from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic

from training.kernels.compiled import device_function, kernel
from training.kernels.products import SIDE
from training.kernels.scalars import f32

TILE = 64
"""rows that are added up and turned while they are in the nearest cache"""


@intrinsic
def turn(context, x, r, i, out):
    """``out = x.T`` of the block (16, 16) of x at row r and column i. A loop would move every number on its own."""

    def code(context, builder, signature, arguments):
        x, r, i, out = arguments
        source = context.make_array(signature.args[0])(context, builder, x)
        target = context.make_array(signature.args[3])(context, builder, out)
        rows = [builder.load(row, align=4) for row in _rows(builder, source, r, i)]
        for row, place in zip(_columns(builder, rows), _rows(builder, target, i, r), strict=True):
            builder.store(row, place, align=4)
        return context.get_dummy_value()

    return types.void(x, types.int64, types.int64, out), code


def _rows(builder: ir.IRBuilder, array, r: ir.Value, i: ir.Value) -> list[ir.Value]:
    """Where the rows of the block at (r, i) begin, as places of whole vectors."""
    stride = builder.sdiv(builder.extract_value(array.strides, 0), ir.Constant(r.type, 4))  # numbers
    vector = ir.VectorType(ir.FloatType(), SIDE).as_pointer()
    down = (builder.add(r, ir.Constant(r.type, k)) for k in range(SIDE))
    return [builder.bitcast(builder.gep(array.data, [builder.add(builder.mul(k, stride), i)]), vector) for k in down]


def _columns(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """Blocks of 8 off the diagonal change places, then within each of the four those of 4, and so on."""
    size, numbers = SIDE // 2, range(SIDE)
    while size:
        upper = [i + SIDE - size if i & size else i for i in numbers]  # of two rows one after the other
        lower = [i + SIDE if i & size else i + size for i in numbers]
        for k in numbers:
            if not k & size:
                pair = rows[k], rows[k + size]
                rows[k], rows[k + size] = (_shuffled(builder, *pair, order) for order in (upper, lower))
        size //= 2
    return rows


def _shuffled(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, order: list[int]) -> ir.Value:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), SIDE), order))


@device_function
def _add_rows(x, first, last, sums):
    sums[:] = f32(0)
    for r in range(first, last):
        row = x[r]
        for i in range(len(sums)):
            sums[i] += row[i]


@kernel
def transpose(x, out, sums):
    """``out`` (n, rows or more): x (rows, n) turned, zeros behind it; ``sums`` (tiles, n): of `TILE` rows each."""
    rows, columns = x.shape
    whole_rows, whole_columns = rows - rows % SIDE, columns - columns % SIDE
    out[:, rows:] = f32(0)
    for tile in prange(len(sums)):
        first, last = tile * TILE, min(rows, (tile + 1) * TILE)
        _add_rows(x, first, last, sums[tile])
        for i in range(0, whole_columns, SIDE):
            for r in range(first, min(last, whole_rows), SIDE):
                turn(x, r, i, out)
        for r in range(first, last):
            for i in range(whole_columns if r < whole_rows else 0, columns):
                out[i, r] = x[r, i]
