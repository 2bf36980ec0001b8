"""The vocabulary of lowered definitions under Numba. Nothing else lives here.

The text of this file opens every generated module, with the two lines that say `FLOAT` and `KIND` rewritten.
"""

# mypy: ignore-errors
import platform
from math import inf, nan  # noqa: F401  (for the lowered definitions)

import numpy as np
from llvmlite import ir
from numba import njit, prange, types  # noqa: F401
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

FLOAT = types.float32  # what is computed with
KIND = "float32"  # how elements are stored: float16, bfloat16 (both as uint16), float32, float64

REAL, WHOLE, WORD = (np.float32, np.int32, types.int32) if FLOAT is types.float32 else (np.float64, np.int64, types.int64)
STORED = {"float32": types.float32, "float64": types.float64}.get(KIND, types.uint16)

F16C = "+f16c" in cpu_target.target_context.codegen().magic_tuple()[2]  # the processor converts float16 itself

F32, F64, I8, I16, I32 = ir.FloatType(), ir.DoubleType(), ir.IntType(8), ir.IntType(16), ir.IntType(32)
LANES = 32  # of the packs that reductions run on; fixed, so that sums do not depend on the machine
BLOCK = 512  # elements of a block on the stack


# Options of a scalar function, of a loop, of the function that is called from outside: the only one that needs to be seen there.
INSIDE = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def scalar(function):
    return njit(forceinline=True, **INSIDE)(function)


def loop(function):
    return njit(**INSIDE)(function)


def entry(parallel, *kinds):
    return njit(types.void(*kinds), parallel=parallel, error_model="numpy", nogil=True, cache=True)


# ---------------------------------------------------------------- arithmetic


def llvm(builder, name, args):
    """Call LLVM's own intrinsic for the type of `args`."""
    kind = args[0].type
    suffix = "f32" if kind == F32 else "f64"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * len(args)), f"llvm.{name}.{suffix}")
    return builder.call(function, args)


@intrinsic
def fma(typing, a, b, c):
    return a(a, a, a), lambda context, builder, signature, args: llvm(builder, "fma", args)


@intrinsic
def fabs(typing, a):
    return a(a), lambda context, builder, signature, args: llvm(builder, "fabs", args)


@intrinsic
def fsqrt(typing, a):
    return a(a), lambda context, builder, signature, args: llvm(builder, "sqrt", args)


@intrinsic
def copysign(typing, a, b):
    return a(a, a), lambda context, builder, signature, args: llvm(builder, "copysign", args)


def lesser(builder, a, b):
    return builder.select(builder.fcmp_ordered("<", b, a), b, a)


def greater(builder, a, b):
    return builder.select(builder.fcmp_ordered(">", b, a), b, a)


@intrinsic
def pymin(typing, a, b):
    return a(a, a), lambda context, builder, signature, args: lesser(builder, *args)


@intrinsic
def pymax(typing, a, b):
    return a(a, a), lambda context, builder, signature, args: greater(builder, *args)


@intrinsic
def select(typing, test, a, b):
    """Both sides are computed: a branch would keep the loop scalar."""
    return a(types.boolean, a, a), lambda context, builder, signature, args: builder.select(*args)


# ---------------------------------------------------------------- bit patterns
#
# Numba widens int32 arithmetic to int64; each of these first goes back to the word, and LLVM removes the detour.


def word(builder, value):
    return builder.trunc(value, ir.IntType(WORD.bitwidth)) if value.type.width > WORD.bitwidth else value


@intrinsic
def bits(typing, x):
    return WORD(FLOAT), lambda context, builder, signature, args: builder.bitcast(args[0], ir.IntType(WORD.bitwidth))


@intrinsic
def from_bits(typing, i):
    return FLOAT(i), lambda context, builder, signature, args: builder.bitcast(word(builder, args[0]), context.get_value_type(FLOAT))


@intrinsic
def shift_left(typing, i, n):
    return WORD(i, n), lambda context, builder, signature, args: builder.shl(*(word(builder, a) for a in args))


@intrinsic
def shift_right(typing, i, n):
    """Logical: zeros come in from the left."""
    return WORD(i, n), lambda context, builder, signature, args: builder.lshr(*(word(builder, a) for a in args))


# ---------------------------------------------------------------- storage types


def i32(value):
    return ir.Constant(I32, value)


def float32_from_bfloat16(builder, h):
    return builder.bitcast(builder.shl(builder.zext(h, I32), i32(16)), F32)


def float32_from_float16(builder, h):
    if F16C:
        return builder.fpext(builder.bitcast(h, ir.HalfType()), F32)
    h = builder.zext(h, I32)
    sign = builder.shl(builder.and_(h, i32(0x8000)), i32(16))
    rest = builder.and_(h, i32(0x7FFF))
    moved = builder.shl(rest, i32(13))
    # A product with 2^112 moves the exponent, subnormals included; what was infinite or NaN gets its exponent back by hand.
    finite = builder.fmul(builder.bitcast(moved, F32), ir.Constant(F32, 2.0**112))
    quiet = builder.select(builder.icmp_unsigned(">", rest, i32(0x7C00)), i32(0x7FC00000), i32(0x7F800000))
    special = builder.icmp_unsigned(">=", rest, i32(0x7C00))
    u = builder.select(special, builder.or_(moved, quiet), builder.bitcast(finite, I32))
    return builder.bitcast(builder.or_(u, sign), F32)


def bfloat16_from_float32(builder, x):
    u = builder.bitcast(x, I32)
    high = builder.lshr(u, i32(16))
    odd = builder.and_(high, i32(1))
    rounded = builder.lshr(builder.add(builder.add(u, i32(0x7FFF)), odd), i32(16))
    quiet = builder.or_(high, i32(0x40))
    return builder.trunc(builder.select(builder.fcmp_unordered("uno", x, x), quiet, rounded), I16)


def float16_from_float32(builder, x):
    if F16C:
        return builder.bitcast(builder.fptrunc(x, ir.HalfType()), I16)
    u = builder.bitcast(x, I32)
    sign = builder.and_(u, i32(-0x80000000))
    u = builder.xor(u, sign)
    dropped = builder.lshr(u, i32(13))
    # Normal: add half a unit less the tie, then drop 13 bits. Subnormal: adding 1/2 leaves the rounded digits at the end.
    tie = builder.and_(dropped, i32(1))
    normal = builder.lshr(builder.add(builder.add(u, i32(0xFFF - 0x38000000)), tie), i32(13))
    small = builder.fadd(builder.bitcast(u, F32), ir.Constant(F32, 0.5))
    small = builder.sub(builder.bitcast(small, I32), i32(0x3F000000))
    finite = builder.select(builder.icmp_unsigned("<", u, i32(0x38800000)), small, normal)
    limited = builder.select(builder.icmp_unsigned(">=", u, i32(0x477FF000)), i32(0x7C00), finite)
    quiet = builder.or_(builder.and_(dropped, i32(0x3FF)), i32(0x7E00))
    h = builder.select(builder.icmp_unsigned(">", u, i32(0x7F800000)), quiet, limited)
    return builder.trunc(builder.or_(h, builder.lshr(sign, i32(16))), I16)


def round_to_odd(builder, x):
    """The float32 next to x that keeps what was lost in its last bit: rounding it once more to a half is then right."""
    nearest = builder.fptrunc(x, F32)
    lost = builder.fsub(x, builder.fpext(nearest, F64))
    zero = ir.Constant(F64, 0.0)
    u = builder.bitcast(nearest, I32)
    outward = builder.icmp_signed("==", builder.fcmp_ordered(">", lost, zero), builder.fcmp_ordered(">", x, zero))
    step = builder.select(outward, i32(1), i32(-1))
    even = builder.icmp_signed("==", builder.and_(u, i32(1)), i32(0))
    moves = builder.and_(even, builder.fcmp_ordered("!=", lost, zero))
    return builder.bitcast(builder.select(moves, builder.add(u, step), u), F32)


def widened(builder, value):
    """The stored `value` as FLOAT: exact."""
    if KIND == "float16":
        value = float32_from_float16(builder, value)
    elif KIND == "bfloat16":
        value = float32_from_bfloat16(builder, value)
    return builder.fpext(value, F64) if FLOAT is types.float64 and value.type == F32 else value


def narrowed(builder, value):
    """The FLOAT `value` as it is stored: rounded once."""
    if KIND == "float32" and value.type == F64:
        return builder.fptrunc(value, F32)
    if STORED is types.uint16:
        single = round_to_odd(builder, value) if value.type == F64 else value
        return (float16_from_float32 if KIND == "float16" else bfloat16_from_float32)(builder, single)
    return value


# ---------------------------------------------------------------- memory
#
# Arrays come as addresses: no bounds or wraparound checks in the way of the vectoriser, one signature for read-only arrays and
# others, and the plainest of calls.


@intrinsic
def stored(typing, address):
    """The address of an array as it is stored."""
    pointer = types.CPointer(STORED)
    return pointer(address), lambda context, builder, signature, args: builder.inttoptr(args[0], context.get_value_type(pointer))


@intrinsic
def working(typing, address):
    """The address of numbers in the working type."""
    pointer = types.CPointer(FLOAT)
    return pointer(address), lambda context, builder, signature, args: builder.inttoptr(args[0], context.get_value_type(pointer))


@intrinsic
def stack(typing, kind):
    """A block on the stack, aligned for packs."""
    pointer = types.CPointer(kind.instance_type)

    def write(context, builder, signature, args):
        block = cgutils.alloca_once(builder, ir.ArrayType(context.get_value_type(kind.instance_type), BLOCK))
        block.align = 64
        return builder.bitcast(block, context.get_value_type(pointer))

    return pointer(kind), write


def loads(builder):
    """The alias scope of all loads from arrays."""
    domain = builder.module.add_metadata(["fastact"])
    return builder.module.add_metadata([builder.module.add_metadata(["loads", domain])])


@intrinsic
def load(typing, array, i):
    """array[i], widened."""

    def write(context, builder, signature, args):
        value = builder.load(builder.gep(args[0], [args[1]]), align=1)
        value.set_metadata("alias.scope", loads(builder))
        return widened(builder, value)

    return FLOAT(array, i), write


@intrinsic
def store(typing, array, i, value):
    """array[i] = value, rounded.

    The loop's loads are declared to be elsewhere, although the output may be one of the inputs: then element i is read before it is
    written because what is written depends on it, and elements next to it do not matter. Without the declaration LLVM finds at run
    time that the arrays overlap and takes its scalar loop, ten times slower. A loop with two outputs must not store one of them
    with this while it may still read for the other: see `loops.py`.
    """

    def write(context, builder, signature, args):
        at = builder.store(narrowed(builder, args[2]), builder.gep(args[0], [args[1]]), align=1)
        at.set_metadata("noalias", loads(builder))
        return context.get_dummy_value()

    return types.void(array, i, FLOAT), write


@intrinsic
def kept(typing, mask, i):
    """Whether the boolean at address `mask` + i is true."""

    def write(context, builder, signature, args):
        value = builder.load(builder.inttoptr(builder.add(*args), I8.as_pointer()))
        return builder.icmp_unsigned("!=", value, ir.Constant(I8, 0))

    return types.boolean(types.intp, types.intp), write


# ---------------------------------------------------------------- packs, for reductions


def pack(builder, array, i):
    kind = ir.VectorType(array.type.pointee, LANES)
    return builder.bitcast(builder.gep(array, [i]), kind.as_pointer())


def pack_operation(operation):
    """An intrinsic: sums[j : j + LANES] = operation(sums[j : j + LANES], each array[i : i + LANES])."""

    def generate(arrays):
        def write(context, builder, signature, args):
            at = pack(builder, args[0], args[1])
            size = FLOAT.bitwidth // 8
            values = [builder.load(pack(builder, a, args[-1]), align=size) for a in args[2:-1]]
            builder.store(operation(builder, builder.load(at, align=size), *values), at, align=size)
            return context.get_dummy_value()

        return types.void(arrays[0], types.intp, *arrays[1:], types.intp), write

    return generate


@intrinsic
def max_pack(typing, sums, j, array, i):
    return pack_operation(greater)([sums, array])


@intrinsic
def add_pack(typing, sums, j, array, i):
    return pack_operation(lambda builder, s, a: builder.fadd(s, a))([sums, array])


@intrinsic
def add_product_pack(typing, sums, j, a, b, i):
    return pack_operation(lambda builder, s, a, b: builder.fadd(s, builder.fmul(a, b)))([sums, a, b])


# ---------------------------------------------------------------- the floating-point environment


@intrinsic
def keep_apart(typing):
    """Keep LLVM from inlining the function this stands in, and so from moving its arithmetic across a change of environment."""

    def write(context, builder, signature, args):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), write


MACHINE = platform.machine().lower()
X86, ARM = MACHINE in ("x86_64", "amd64"), MACHINE in ("aarch64", "arm64")


def machine(builder, name, result, *args):
    """Call an intrinsic of the processor."""
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, [a.type for a in args]), f"llvm.{name}")
    return builder.call(function, args)


def mxcsr(builder, name, value=None):
    place = cgutils.alloca_once(builder, I32)
    if value is not None:
        builder.store(value, place)
    machine(builder, f"x86.sse.{name}mxcsr", ir.VoidType(), builder.bitcast(place, I8.as_pointer()))
    return builder.load(place)


@intrinsic
def plain_environment(typing):
    """Round to nearest, keep subnormals, raise nothing; returns what was set before.

    Another library may have set this thread otherwise (`torch.set_flush_denormal`), and worker threads inherit it.
    """

    def write(context, builder, signature, args):
        before = ir.Constant(ir.IntType(64), 0)
        if X86:
            before = builder.zext(mxcsr(builder, "st"), before.type)
            mxcsr(builder, "ld", i32(0x1F80))
        elif ARM:
            before = machine(builder, "aarch64.get.fpcr", before.type)
            machine(builder, "aarch64.set.fpcr", ir.VoidType(), ir.Constant(before.type, 0))
        return before

    return types.int64(), write


@intrinsic
def restore_environment(typing, before):
    def write(context, builder, signature, args):
        if X86:
            mxcsr(builder, "ld", builder.trunc(args[0], I32))
        elif ARM:
            machine(builder, "aarch64.set.fpcr", ir.VoidType(), args[0])
        return context.get_dummy_value()

    return types.void(types.int64), write
