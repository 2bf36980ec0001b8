"""The front-end for NumPy arrays, and for all that NumPy makes arrays of.

Kernels take one-dimensional contiguous native arrays. Arrays that lie alike in memory, in whatever order, are handed over as
they are; other strides go tile by tile through compiled code, and what is misaligned or byte-swapped block by block through NumPy's
own buffered iterator, without a copy of full size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace as replace_fields
from typing import Any

import numpy as np

from .. import noise
from ..kernels.cpu import compiled
from ..kernels.definitions import Definition
from ..product import Factor, Product
from .common import kind_of

NAME = "numpy"
#: Elements of a buffered block: small enough for the second-level cache, large enough to hide the call.
BLOCK = 1 << 15
#: Elements of a piece of `backward` whose parameter gradients are summed at a time.
PIECE = 1 << 18
#: Elements of a piece of a row-wise call on arrays whose rows do not lie in one piece: they are copied to the second-level cache.
ROWS_PIECE = 1 << 17

Array = np.ndarray[Any, Any]
Kernel = Callable[[list[Any], list[Any], list[Any]], None]


def owns(value: Any) -> bool:
    """Whether `value` is a NumPy array."""
    return isinstance(value, np.ndarray)


def library() -> Any:
    """NumPy."""
    return np


def asarray(value: Any) -> Array:
    """`value` as a plain array, a view where it is one."""
    return np.asarray(value)


def empty(x: Array) -> Array:
    """A result for x: its shape, memory order and dtype, in native byte order."""
    result: Array = compiled.empty_like(x, x.dtype.newbyteorder("="))
    return result


def new(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array for a result, uninitialised, in native byte order."""
    result: Array = compiled.empty(shape, np.dtype(dtype).newbyteorder("="))
    return result


def check_apart(label: str, outs: Sequence[Any]) -> None:
    """Several results must not share memory."""
    given = [out for out in outs if out is not None]
    if any(np.shares_memory(a, b) for i, a in enumerate(given) for b in given[:i]):
        raise ValueError(f"{label}: the arrays in out share memory")


def finish(result: Array, given: Any, function: Any) -> Any:
    """The result as NumPy's own functions return it: a scalar for 0-d, and wrapped by the class of `given` where it is one of its own.

    A masked array finds its mask through `function`, which has ``nin`` as ufuncs have.
    """
    if isinstance(given, np.ndarray) and type(given) is not np.ndarray and result.shape == given.shape:
        return given.__array_wrap__(result, (function, (given,), 0), False)
    if not isinstance(given, (np.ndarray, np.generic)) and hasattr(given, "__array_wrap__"):
        try:
            return given.__array_wrap__(result, None, False)
        except TypeError:  # made for NumPy 1
            return given.__array_wrap__(result)
    return result[()] if result.ndim == 0 else result


def run_elementwise(
    backend: Any,
    definition: Definition,
    direction: str,
    inputs: Sequence[Array],
    params: Sequence[Any],
    outs: Sequence[Array | None],
    wide: bool,
) -> list[Any]:
    """Run an elementwise activation; see `fastact.arrays.cupy.run_elementwise`, whose arguments are the same."""
    x = inputs[-1]
    result = empty(x) if outs[0] is None else outs[0]
    if outs[0] is not None:
        inputs = [_apart(a, result) for a in inputs]
        params = [_apart(p, result) if isinstance(p, np.ndarray) else p for p in params]
    if direction != "backward" or not definition.learnable:
        kernel = backend.elementwise(definition.name, direction, kind_of(x.dtype), wide)
        results = [result, *(empty(x) if out is None else out for out in outs[1:])]
        if len(outs) > 1 and outs[1] is not None:
            inputs = [_apart(a, outs[1]) for a in inputs]
            params = [_apart(p, outs[1]) if isinstance(p, np.ndarray) else p for p in params]
        _run(kernel, inputs, params, results, backend, (f"{definition.name}_{direction}", kind_of(x.dtype), wide))
        return results
    shapes = [np.shape(params[list(definition.params).index(p)]) for p in definition.learnable]
    kind = kind_of(x.dtype)
    if x.size and hasattr(backend, "run_job") and all(math.prod(s) <= x.size // 2 or not s for s in shapes):
        factor = Factor(definition.name, x, params, dx=result, param_shapes=shapes)
        call = Product("backward", kind, wide, x.shape, [factor], grad=inputs[0])
        run_product(backend, call)
        totals = call.sums
    else:  # the reference; or parameters of as many elements as x has, for which nothing is gained by summing as one goes
        kernel = backend.elementwise(definition.name, direction, kind, wide)
        totals = _sum_gradients(kernel, inputs, params, result, definition, np.float64 if wide or kind == "float64" else np.float32)
    found: list[Any] = [result]
    for p, total, out in zip(definition.learnable, totals, outs[1:], strict=True):
        given = params[list(definition.params).index(p)]
        with np.errstate(all="ignore"):
            gradient = total.reshape(np.shape(given)).astype(x.dtype.newbyteorder("="))
        if out is not None:
            out[...] = gradient.reshape(out.shape)
        found.append(gradient if out is None else out)
    return found


def run_loss(
    backend: Any,
    definition: Definition,
    x: Array,
    labels: Array,
    params: Sequence[Any],
    *,
    weight: Any,
    grad: Array | None,
    scale: float,
    total: bool,
    outs: tuple[Array | None, Array | None],
    wants: tuple[bool, bool],
    wide: bool,
) -> tuple[float, Array | None, Array | None]:
    """Run an elementwise loss.

    Parameters
    ----------
    backend, definition, params, wide
        As in `run_elementwise`.
    x, labels
        Of one shape and dtype.
    weight
        Of each loss: a number, an array that broadcasts to x, or None.
    grad
        Of x's shape and dtype, or None: the gradient with respect to each loss.
    scale
        What gradients are multiplied by, beside `grad` and `weight`.
    total
        Whether the sum of the losses is wanted.
    outs, wants
        Losses and gradient with respect to x: where they go, None where they are to be allocated; whether they are wanted.

    Returns
    -------
    total, losses, dx
        The sum in float64, with the same bits for any number of threads; None for what is not wanted.
    """
    kernel = backend.loss(definition.name, kind_of(x.dtype), wide)
    order = sorted(range(x.ndim), key=lambda i: (-abs(x.strides[i]), i))

    def laid(a: Any) -> Any:
        """`a` like x, in the order in which x lies."""
        if not isinstance(a, np.ndarray):
            return a
        a = storage(np.broadcast_to(a, x.shape).transpose(order))
        return a if a.flags.aligned else a.copy()

    def written(result: Array | None) -> Array | None:
        if result is None:
            return None
        here = _bits(result).transpose(order)
        return here if here.dtype.isnative and here.flags.aligned else new(here.shape, here.dtype)

    results: list[Array | None] = [
        None if not wanted else (empty(x) if out is None else out) for out, wanted in zip(outs, wants, strict=True)
    ]
    inputs: list[Any] = [x, labels, weight, grad, *params]
    for result in results:
        if result is not None:
            inputs = [_apart(a, result) if isinstance(a, np.ndarray) else a for a in inputs]
    inputs = [laid(a) for a in inputs]
    targets = [written(r) for r in results]
    found = kernel(*inputs[:4], inputs[4:], scale, total, *targets)
    if found is None:  # they lie too differently
        inputs = [np.ascontiguousarray(a) if isinstance(a, np.ndarray) else a for a in inputs]
        targets = [None if t is None else new(t.shape, t.dtype) for t in targets]
        found = kernel(*inputs[:4], inputs[4:], scale, total, *targets)
    for r, t in zip(results, targets, strict=True):
        if r is not None and t is not None and not np.may_share_memory(r, t):
            _bits(r).transpose(order)[...] = t
    return (found, *results)


def replace(result: Array, values: Any, where: Array) -> None:
    """Write `values` over `result` where `where` holds."""
    np.copyto(result, np.asarray(values).astype(result.dtype), where=where)


def _sum_gradients(
    kernel: Kernel, inputs: Sequence[Array], params: Sequence[Any], dx: Array, definition: Definition, working: Any
) -> list[Array]:
    """Run a learnable activation's backward piece by piece along the first axis, summing the parameters' gradients in float64.

    The pieces depend on the shape alone, so the sums have the same bits for any number of threads.
    """
    shape = dx.shape or (1,)
    inputs, dx = [a.reshape(shape) for a in inputs], dx.reshape(shape)
    axes, totals = [], []
    for name in definition.learnable:
        own = np.shape(params[list(definition.params).index(name)])
        own = (1,) * (len(shape) - len(own)) + own
        same = tuple(i for i, extent in enumerate(own) if extent != shape[i])  # along these the parameter is broadcast: summed over
        axes.append(same)
        totals.append(np.zeros([1 if i in same else extent for i, extent in enumerate(shape)]))
    params = [np.broadcast_to(p, shape) if isinstance(p, np.ndarray) else p for p in params]
    rows = max(1, PIECE // max(1, math.prod(shape[1:])))
    with np.errstate(all="ignore"):
        for begin in range(0, shape[0], rows):
            piece = slice(begin, begin + rows)
            part = [p[piece] if isinstance(p, np.ndarray) else p for p in params]
            terms = [new(dx[piece].shape, working) for _ in totals]
            _run(kernel, [a[piece] for a in inputs], part, [dx[piece], *terms])
            for total, same, term in zip(totals, axes, terms, strict=True):
                total[... if 0 in same else piece] += term.sum(axis=same, dtype=np.float64, keepdims=True)
    return totals


def overlap(a: Array, out: Array) -> bool:
    """Whether two arrays share memory."""
    return bool(np.may_share_memory(a, out) and np.shares_memory(a, out))


def apart(a: Array, out: Array) -> Array:
    """`a`, copied if it shares memory with `out` without being the same array."""
    return _apart(a, out)


def _bits(a: Array) -> Array:
    """Two-byte floats as integers: loops and iterators need no arithmetic on them."""
    return a.view(a.dtype.str.replace("f", "u").replace("V", "u")) if a.dtype.itemsize == 2 else a


def _clash(a: Array, out: Array) -> bool:
    """Whether two arrays share memory without being the same array."""
    if a is out or not np.may_share_memory(a, out):  # before what takes longer to ask for
        return False
    same = a.__array_interface__["data"] == out.__array_interface__["data"] and a.strides == out.strides and a.shape == out.shape
    return not (same and a.dtype == out.dtype) and np.shares_memory(a, out)


def _apart(a: Array, out: Array) -> Array:
    """`a`, copied if it shares memory with `out` without being the same array."""
    return a.copy() if _clash(a, out) else a


def _run(
    kernel: Kernel,
    inputs: Sequence[Array],
    params: Sequence[Any],
    outs: Sequence[Array],
    backend: Any = None,
    operation: tuple[str, str, bool] | None = None,
) -> None:
    """Run a kernel over arrays of any layout; `backend` may run the `operation` (name, kind, whether in float64) in its place."""
    shape = outs[0].shape
    arrays = [_bits(a) for a in (*inputs, *(np.broadcast_to(p, shape) for p in params if isinstance(p, np.ndarray)), *outs)]
    if outs[0].size == 0:
        return
    flat = _flat(arrays)
    if flat is not None:
        _call(kernel, flat, len(inputs), params)
        return
    if operation is not None and hasattr(backend, "run_job") and all(a.dtype.isnative and a.flags.aligned for a in arrays):
        rest = iter(arrays[len(inputs) :])
        placed = [next(rest) if isinstance(p, np.ndarray) else p for p in params]
        job = compiled.strided_job(*operation, arrays[: len(inputs)], placed, list(rest))
        if job is not None:
            backend.run_job(job)
            return
    count = len(arrays) - len(outs)
    flags: list[list[Any]] = [["readonly", "aligned", "nbo", "contig"]] * count + [["writeonly", "aligned", "nbo", "contig"]] * len(outs)
    blocks = np.nditer(
        arrays,
        flags=["external_loop", "buffered", "zerosize_ok", "grow_inner"],
        op_flags=flags,
        op_dtypes=[a.dtype.newbyteorder("=") for a in arrays],
        casting="equiv",
        order="K",
        buffersize=BLOCK,
    )
    with blocks:
        for operands in blocks:
            _call(kernel, list(operands), len(inputs), params)


def _call(kernel: Kernel, arrays: list[Array], inputs: int, params: Sequence[Any]) -> None:
    rest = iter(arrays[inputs:])
    kernel(arrays[:inputs], [next(rest) if isinstance(p, np.ndarray) else p for p in params], list(rest))


def _flat(arrays: list[Array]) -> list[Array] | None:
    """The arrays in one dimension if all lie contiguous, in one order, native and aligned; else None."""
    if all(a.flags.c_contiguous and a.flags.aligned and a.dtype.isnative for a in arrays):
        return [a if a.ndim == 1 else a.reshape(-1) for a in arrays]
    first = arrays[0]
    order = sorted(range(first.ndim), key=lambda i: (-first.strides[i], i))
    for a in arrays:
        if not a.dtype.isnative or not a.flags.aligned or not a.transpose(order).flags.c_contiguous:
            return None
    return [a.transpose(order).reshape(-1) for a in arrays]


def storage(a: Array) -> Array:
    """`a` as kernels read it: two-byte floats as integers, booleans as bytes, native byte order."""
    a = a.view(np.uint8) if a.dtype == np.bool_ else a
    return _bits(a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("=")))


def lay_rows(
    arrays: dict[str, Array | None], axes: tuple[int, ...], out: Array | None, wanted: bool, scratch: dict[str, Array] | None = None
) -> tuple[dict[str, Array | None], Array | None, Callable[[], Array]]:
    """Lay out the arrays of a row-wise call.

    Parameters
    ----------
    arrays
        x by that name, and others of its shape and dtype, or None.
    axes
        Along which the rows run, ascending.
    out
        Where the result goes, None where it is to be allocated.
    wanted
        Whether there is a result like x.
    scratch
        Keeps what is copied to, to be used again for other pieces of the same arrays.

    Returns
    -------
    laid : dict
        The arrays as contiguous ``[outer, n, inner]``, copied where they do not lie so, or where they overlap the result without being it.
    target : ndarray or None
        The result's, likewise.
    finish : callable
        Gives the result, when the kernel has run.
    """
    x = arrays["x"]
    assert x is not None
    shape, first, last = x.shape or (1,), axes[0], axes[-1]
    adjacent = last - first == len(axes) - 1
    order = [i for i in range(len(shape)) if i not in axes] + list(axes)  # where they are not next to each other they go last
    if adjacent:
        lying = (math.prod(shape[:first]), math.prod(shape[first : last + 1]), math.prod(shape[last + 1 :]))
    else:
        lying = (math.prod(shape[i] for i in order[: -len(axes)]), math.prod(shape[i] for i in axes), 1)

    def lined(a: Array, name: str) -> Array:
        a = _bits(a).reshape(shape) if a.ndim == 0 else _bits(a)
        a = a if adjacent else a.transpose(order)
        if not (a.flags.c_contiguous and a.flags.aligned and a.dtype.isnative):
            if scratch is None:
                a = np.require(a, a.dtype.newbyteorder("="), ["C", "A"])
            else:
                if name not in scratch or scratch[name].size < a.size:
                    scratch[name] = np.empty(a.size, a.dtype.newbyteorder("="))
                copy = scratch[name][: a.size].reshape(a.shape)
                _copy(a, copy)
                a = copy
        return a.reshape(lying)

    result: Array = new(x.shape, x.dtype) if out is None and wanted else out  # type: ignore[assignment]
    laid = {name: a if a is None else lined(a if out is None else _apart(a, out), name) for name, a in arrays.items()}
    target = lined(result, "out") if wanted else None

    def finish() -> Array:
        if target is not None and result.size and not np.shares_memory(target, result):
            place = _bits(result)
            place[...] = (
                target.reshape([shape[i] for i in order]).transpose(np.argsort(order)) if not adjacent else target.reshape(result.shape)
            )
        return result

    return laid, target, finish


def _copy(a: Array, to: Array) -> None:
    """Copy between arrays that may lie differently: transposed ones some four times as fast as NumPy does."""
    kind = {2: "bfloat16", 4: "float32", 8: "float64"}.get(a.itemsize)  # the bits matter, not what they mean
    job = None
    if kind is not None and a.size and all(each.dtype.isnative and each.flags.aligned for each in (a, to)):
        job = compiled.strided_job("identity_value", kind, False, [a], [], [to])
    if job is None:
        np.copyto(to, a)
    else:
        job.run()


def row_pieces(x: Array, grad: Array | None, out: Array | None, axes: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Where to cut the arrays of a row-wise call that `lay_rows` would copy whole: pieces of whole rows, of about `ROWS_PIECE` elements.

    None at all where nothing large would be copied, or for few rows.
    """
    given = [a for a in (x, grad, out) if a is not None]
    if x.size < 2 * ROWS_PIECE or all(a.flags.c_contiguous and a.flags.aligned and a.dtype.isnative for a in given):
        return []
    if out is not None and any(_clash(a, out) for a in given):
        return []
    left = x.size  # elements of a piece
    cuts = []
    for i, extent in enumerate(x.shape):
        if i in axes or left <= ROWS_PIECE:
            cuts.append([slice(None)])
            continue
        count = max(1, ROWS_PIECE * extent // left)
        cuts.append([slice(j, j + count) for j in range(0, extent, count)])
        left = left // extent * count
    pieces = list(itertools.product(*cuts))
    return pieces if len(pieces) > 1 else []


def run_product(backend: Any, call: Product) -> None:
    """Run a product of factors on a backend; its results are in `call` afterwards.

    Arrays may have any strides. Those that are misaligned or byte-swapped, and all of them where they do not fit into three dimensions
    together, are copied first.
    """
    if backend.name == "numpy":
        from ..backends.numpy import store
        from ..reference.product import product

        results, call.sums = product(call)
        for target, exact in zip([call.out] if call.direction == "forward" else [f.dx for f in call.factors], results, strict=True):
            store(target, exact)
        return
    if _reordered(backend, call):
        return
    job = _pipeline(call, _plain)
    if not job.ready():
        job = _pipeline(call, _straight)
        if not job.ready():
            return _run_slices(backend, call)
    backend.run_job(job)
    call.sums = job.sums()
    for target, written in job.later:
        target[...] = written


def _reordered(backend: Any, call: Product) -> bool:
    """Run a call with its axes in the order in which x lies in memory, if that is another one."""
    x = call.factors[0].x
    ndim = len(call.shape)
    if x.flags.c_contiguous or call.seed is not None or all(a >= b for a, b in zip(x.strides, x.strides[1:], strict=False)):
        return False
    order = sorted(range(ndim), key=lambda i: (-abs(x.strides[i]), i))
    if order == list(range(ndim)):
        return False

    def turn(a: Any) -> Any:
        return a.reshape((1,) * (ndim - a.ndim) + a.shape).transpose(order) if isinstance(a, np.ndarray) else a

    def shape(s: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(((1,) * (ndim - len(s)) + s)[i] for i in order)

    factors = [
        replace_fields(
            f, x=turn(f.x), params=[turn(p) for p in f.params], bias=turn(f.bias), dx=turn(f.dx),
            bias_shape=None if f.bias_shape is None else shape(f.bias_shape),
            param_shapes=[shape(s) for s in f.param_shapes],
        )
        for f in call.factors
    ]  # fmt: skip
    one = replace_fields(
        call, shape=shape(call.shape), factors=factors, out=turn(call.out), grad=turn(call.grad), weight=turn(call.weight),
        weight_shape=None if call.weight_shape is None else shape(call.weight_shape), sums=[],
    )  # fmt: skip
    run_product(backend, one)
    call.sums = [s.transpose(np.argsort(order)).reshape(own) for s, own in zip(one.sums, _summed(call), strict=True)]
    return True


def _summed(call: Product) -> list[tuple[int, ...]]:
    """The shapes of the sums of a call."""
    found = [s for f in call.factors for s in (f.bias_shape, *f.param_shapes) if s is not None]
    return found if call.weight_shape is None else [*found, call.weight_shape]


def _run_slices(backend: Any, call: Product) -> None:
    """Run a call with parameters broadcast along axes between their own: one index of the first axis after the other."""
    count, ndim = call.shape[0], len(call.shape)

    def part(a: Any, i: int) -> Any:
        return a[i if a.shape[0] > 1 else 0] if isinstance(a, np.ndarray) and a.ndim == ndim else a

    def shape(s: tuple[int, ...]) -> tuple[int, ...]:
        return s[1:] if len(s) == ndim else s

    wanted = _summed(call)
    call.sums = [np.zeros(s) for s in wanted]
    for i in range(count):
        factors = [
            replace_fields(
                f, x=part(f.x, i), params=[part(p, i) for p in f.params], bias=part(f.bias, i), dx=part(f.dx, i),
                bias_shape=None if f.bias_shape is None else shape(f.bias_shape),
            param_shapes=[shape(s) for s in f.param_shapes],
            )
            for f in call.factors
        ]  # fmt: skip
        one = replace_fields(
            call, shape=call.shape[1:], factors=factors, out=part(call.out, i), grad=part(call.grad, i), weight=part(call.weight, i),
            weight_shape=None if call.weight_shape is None else shape(call.weight_shape),
            first=call.first + i * math.prod(call.shape[1:]), sums=[],
        )  # fmt: skip
        run_product(backend, one)
        for total, s, more in zip(call.sums, wanted, one.sums, strict=True):
            total[i if len(s) == ndim and s[0] > 1 else (0 if len(s) == ndim else ...)] += more


def _plain(a: Array) -> Array:
    """`a`, copied only if kernels cannot take it."""
    step = a.itemsize
    if a.dtype.isnative and a.flags.aligned and all(s % step == 0 for s in a.strides):
        return a
    return np.require(a, a.dtype.newbyteorder("="), ["C", "A", "O"])


def _straight(a: Array) -> Array:
    return a if a.flags.c_contiguous and a.flags.aligned and a.dtype.isnative else np.require(a, a.dtype.newbyteorder("="), ["C", "A", "O"])


class _Pipeline(compiled.Pipeline):
    """A pipeline, and the results that have to be copied after it has run."""

    later: list[tuple[Array, Array]]


def _pipeline(call: Product, lay: Callable[[Array], Array]) -> _Pipeline:
    job = _Pipeline(call.direction, call.kind, call.wide, call.shape)
    job.later = []

    def read(a: Any) -> Any:
        return lay(a) if isinstance(a, np.ndarray) else a

    def write(a: Any) -> Any:
        if a is None:
            return None
        target = lay(a)
        if target is not a:
            target = new(a.shape, a.dtype)
            job.later.append((a, target))
        return target

    for f in call.factors:
        params = [read(p) for p in f.params]
        dx = write(f.dx) if call.direction == "backward" else None
        job.factor(f.name, read(f.x), params, read(f.bias), dx, f.low, f.high, f.offset, f.bias_shape, f.param_shapes)
    job.product(write(call.out), read(call.grad), read(call.weight), call.weight_shape)
    if call.seed is not None:
        job.drop(*noise.threshold(call.seed, call.keep, call.first))
    return job


def run_with_mask(
    backend: Any, definition: Definition, x: Array, params: Sequence[Any], slopes: tuple[float, float], out: Array | None
) -> tuple[Array, Array]:
    """The value, and the packed bits: whether the slope at an element is nearer to the second of `slopes` than to the first."""
    result = new(x.shape, x.dtype) if out is None else out
    mask = np.zeros(-(-x.size // 8), np.uint8)
    if backend.name == "numpy":
        from ..backends.numpy import store
        from ..reference import REFERENCE

        reference, wide = REFERENCE[definition.name], x.astype(np.float64)
        derivative = reference.derivative(wide, *params)
        store(result, reference.value(wide, *params))
        mask[:] = np.packbits(np.abs(derivative - slopes[1]) < np.abs(derivative - slopes[0]), bitorder="little")
    elif x.size:
        source = _straight(x if out is None else _apart(x, out))
        target = result if result.flags.c_contiguous and result.flags.aligned and result.dtype.isnative else new(x.shape, source.dtype)
        kind = kind_of(x.dtype)
        job = compiled.Pipeline("with_mask", kind, kind == "float64", x.shape)
        job.factor(definition.name, source, params)
        job.product(target)
        job.mask(mask, *slopes)
        job.ready()
        backend.run_job(job)
        if target is not result:
            result[...] = target
    return result, mask


def run_from_mask(backend: Any, grad: Array, mask: Array, slopes: tuple[float, float], out: Array | None) -> Array:
    """The gradient times the slope that each bit stands for."""
    result = new(grad.shape, grad.dtype) if out is None else out
    if backend.name == "numpy":
        from ..backends.numpy import store

        bits = np.unpackbits(mask, count=grad.size, bitorder="little").reshape(grad.shape)
        store(result, grad.astype(np.float64) * np.where(bits, slopes[1], slopes[0]))
    elif grad.size:
        source = _straight(grad if out is None else _apart(grad, out))
        target = result if result.flags.c_contiguous and result.flags.aligned and result.dtype.isnative else new(grad.shape, source.dtype)
        kind = kind_of(grad.dtype)
        job = compiled.Pipeline("from_mask", kind, kind == "float64", grad.shape)
        job.factor(None, None, dx=target)
        job.product(grad=source)
        job.mask(np.ascontiguousarray(mask), *slopes)
        job.ready()
        backend.run_job(job)
        if target is not result:
            result[...] = target
    return result
