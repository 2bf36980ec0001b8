"""Threads for compiled jobs: one parallel function that calls, for each band of a job, the function at an address.

Numba gives nothing but its threads here; the arithmetic is that of the compiled loops, and so are the bits.

Never imported by this name: `fastact.backends.numba` makes a module of this text in its cache, as it does with kernels.
"""

# mypy: ignore-errors
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic


@intrinsic
def call_band(typing, function, job, band):
    """Call ``void function(job, band)``."""

    def write(context, builder, signature, args):
        word = args[0].type
        kind = ir.FunctionType(ir.VoidType(), [word, word])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), write


@njit(types.void(types.intp, types.intp, types.intp), parallel=True, error_model="numpy", nogil=True, cache=True)
def run(function, job, bands):
    for band in prange(bands):
        call_band(function, job, band)
