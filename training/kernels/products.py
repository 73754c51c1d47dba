"""Products of small matrices that lie in the cache: as fast on a few rows as oneDNN is on many.

Sixteen numbers stand for a vector everywhere: sizes are rounded up to them, and what lies beyond is never looked at.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from training.kernels.compiled import device_function

SIDE = 16
"""sizes are rounded up to this"""


def _shape_of_tile() -> tuple[int, int]:
    """Numbers in a vector and rows of a tile: with three vectors side by side a tile fills most registers."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 16, 8
    return (8, 4) if features.get("avx2") else (4, 8)


_LANES, _ROWS = _shape_of_tile()
_WIDEST = 3  # vectors
_VECTOR, _INDEX = ir.VectorType(ir.FloatType(), _LANES), ir.IntType(64)


def _tile(vectors: int, turned: bool) -> Callable:
    """One tile of the result, at row i and column j, ``vectors`` wide; the first factor may be `turned`."""

    @intrinsic
    def tile(context, a, b, out, i, j, depth):
        def code(context, builder, signature, arguments):
            kinds = zip(signature.args[:3], arguments[:3], strict=True)
            a, b, out = (_matrix(builder, context.make_array(kind)(context, builder, array)) for kind, array in kinds)
            i, j, depth = arguments[3:]
            zero = ir.Constant(_VECTOR, [0.0] * _LANES)
            sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in range(_ROWS)]
            with cgutils.for_range(builder, depth) as loop:
                right = [builder.load(_vector(builder, b, loop.index, j, v), align=4) for v in range(vectors)]
                for r, row in enumerate(sums):
                    down = builder.add(i, _INDEX(r))
                    place = (loop.index, down) if turned else (down, loop.index)
                    left = _repeated(builder, builder.load(_number(builder, a, *place)))
                    for place, vector in zip(row, right, strict=True):
                        product = builder.fmul(left, vector, flags=("contract",))
                        builder.store(builder.fadd(product, builder.load(place), flags=("contract",)), place)
            for r, row in enumerate(sums):
                for v, place in enumerate(row):
                    target = _vector(builder, out, builder.add(i, _INDEX(r)), j, v)
                    builder.store(builder.load(place), target, align=4)
            return context.get_dummy_value()

        return types.void(a, b, out, *[types.int64] * 3), code

    return tile


def _matrix(builder: ir.IRBuilder, array) -> tuple[ir.Value, ir.Value]:
    """Where it begins, and how many numbers one row is from the next."""
    return array.data, builder.sdiv(builder.extract_value(array.strides, 0), _INDEX(4))


def _number(builder: ir.IRBuilder, matrix: tuple, row: ir.Value, column: ir.Value) -> ir.Value:
    return builder.gep(matrix[0], [builder.add(builder.mul(row, matrix[1]), column)])


def _vector(builder: ir.IRBuilder, matrix: tuple, row: ir.Value, column: ir.Value, v: int) -> ir.Value:
    """The place of the ``v``-th vector from ``column`` on."""
    place = _number(builder, matrix, row, builder.add(column, _INDEX(v * _LANES)))
    return builder.bitcast(place, _VECTOR.as_pointer())


def _repeated(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    nothing, first = ir.Constant(_VECTOR, ir.Undefined), ir.IntType(32)(0)
    order = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
    return builder.shuffle_vector(builder.insert_element(nothing, number, first), nothing, order)


def _product(turned: bool) -> Callable:
    one, two, three = (_tile(vectors, turned) for vectors in (1, 2, _WIDEST))

    @device_function
    def product(a, b, out, rows, columns, depth):
        for j in range(0, columns, _WIDEST * _LANES):
            left = (columns - j) // _LANES
            for i in range(0, rows, _ROWS):
                if left >= _WIDEST:
                    three(a, b, out, i, j, depth)
                elif left == 2:
                    two(a, b, out, i, j, depth)
                else:
                    one(a, b, out, i, j, depth)

    return product


multiply = _product(turned=False)
"""``multiply(a, b, out, rows, columns, depth)``: ``out = a @ b`` of (rows, depth) and (depth, columns).

Rows and columns are multiples of `SIDE`, and all three matrices have that many; the depth is exact.
"""
multiply_turned = _product(turned=True)
"""The same with ``a`` (depth, rows): ``out = a.T @ b``."""
