"""Views that nobody counts: each slice of an array is counted by atomic operations, for which threads wait."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array


@intrinsic
def at(context, x, k):
    """``x[k]`` of an array with two dimensions or more, for as long as x itself lives."""
    kind = types.Array(x.dtype, x.ndim - 1, "C")

    def code(context, builder, signature, arguments):
        whole = context.make_array(signature.args[0])(context, builder, arguments[0])
        step, *strides = cgutils.unpack_tuple(builder, whole.strides)
        _, *shape = cgutils.unpack_tuple(builder, whole.shape)
        first = builder.bitcast(whole.data, ir.IntType(8).as_pointer())
        data = builder.bitcast(builder.gep(first, [builder.mul(step, arguments[1])]), whole.data.type)
        return _view(context, builder, kind, whole.itemsize, data, shape, strides)

    return kind(x, types.int64), code


@intrinsic
def cut(context, x, first, size):
    """``x[first : first + size]`` of a row, as `at`."""

    def code(context, builder, signature, arguments):
        x, first, size = arguments
        whole = context.make_array(signature.args[0])(context, builder, x)
        data = builder.gep(whole.data, [first])
        return _view(context, builder, signature.args[0], whole.itemsize, data, [size], [whole.itemsize])

    return x(x, types.int64, types.int64), code


def _view(context, builder: ir.IRBuilder, kind: types.Array, itemsize, data, shape: list, strides: list) -> ir.Value:
    view = context.make_array(kind)(context, builder)
    populate_array(view, data=data, shape=shape, strides=strides, itemsize=itemsize, meminfo=None)
    return view._getvalue()
