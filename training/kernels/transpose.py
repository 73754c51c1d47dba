"""The transpose of a matrix as fast as memory is: square blocks are turned in the registers of the processor."""

from __future__ import annotations

from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic

from training.kernels.compiled import device_function, kernel
from training.kernels.scalars import f32

TILE = 64
"""rows that are added up and turned while they are in the nearest cache"""
_SIDE = 16  # of a block: sixteen numbers fill the widest registers


@intrinsic
def _turn(context, x, out):
    """``out = x.T`` of blocks (16, 16), float32. Compiled from a loop, every number would be moved on its own."""

    def code(context, builder, signature, arguments):
        kinds = zip(signature.args, arguments, strict=True)
        source, target = (context.make_array(kind)(context, builder, array) for kind, array in kinds)
        rows = [builder.load(row, align=4) for row in _rows(builder, source)]
        for row, place in zip(_columns(builder, rows), _rows(builder, target), strict=True):
            builder.store(row, place, align=4)
        return context.get_dummy_value()

    return types.void(x, out), code


def _rows(builder: ir.IRBuilder, array) -> list[ir.Value]:
    """Where the rows of a block begin, as places of whole vectors."""
    first, stride = builder.bitcast(array.data, ir.IntType(8).as_pointer()), builder.extract_value(array.strides, 0)
    vector = ir.VectorType(ir.FloatType(), _SIDE).as_pointer()
    steps = (builder.mul(stride, ir.Constant(stride.type, k)) for k in range(_SIDE))
    return [builder.bitcast(builder.gep(first, [step]), vector) for step in steps]


def _columns(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """Blocks of 8 off the diagonal change places, then within each of the four those of 4, and so on."""
    size, numbers = _SIDE // 2, range(_SIDE)
    while size:
        upper = [i + _SIDE - size if i & size else i for i in numbers]  # of two rows one after the other
        lower = [i + _SIDE if i & size else i + size for i in numbers]
        for k in numbers:
            if not k & size:
                pair = rows[k], rows[k + size]
                rows[k], rows[k + size] = (_shuffled(builder, *pair, order) for order in (upper, lower))
        size //= 2
    return rows


def _shuffled(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, order: list[int]) -> ir.Value:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), _SIDE), order))


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
    whole_rows, whole_columns = rows - rows % _SIDE, columns - columns % _SIDE
    out[:, rows:] = f32(0)
    for tile in prange(len(sums)):
        first, last = tile * TILE, min(rows, (tile + 1) * TILE)
        _add_rows(x, first, last, sums[tile])
        for i in range(0, whole_columns, _SIDE):
            for r in range(first, min(last, whole_rows), _SIDE):
                _turn(x[r : r + _SIDE, i : i + _SIDE], out[i : i + _SIDE, r : r + _SIDE])
        for r in range(first, last):
            for i in range(whole_columns if r < whole_rows else 0, columns):
                out[i, r] = x[r, i]
