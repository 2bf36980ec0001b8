"""The front-end for NumPy arrays, and for all that NumPy makes arrays of.

Kernels take one-dimensional contiguous native arrays. Arrays that lie alike in memory, in whatever order, are handed over as
they are; everything else goes block by block through NumPy's own buffered iterator, without a copy of full size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..kernels.definitions import Definition
from .common import kind_of

NAME = "numpy"
#: Elements of a buffered block: small enough for the second-level cache, large enough to hide the call.
BLOCK = 1 << 15
#: Elements of a piece of `backward` whose parameter gradients are summed at a time.
PIECE = 1 << 18

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
    return np.empty_like(x, dtype=x.dtype.newbyteorder("="), subok=False)


def check_apart(label: str, outs: Sequence[Any]) -> None:
    """Several results must not share memory."""
    given = [out for out in outs if out is not None]
    if any(np.shares_memory(a, b) for i, a in enumerate(given) for b in given[:i]):
        raise ValueError(f"{label}: the arrays in out share memory")


def finish(result: Array, given: Any, function: Any) -> Any:
    """The result as NumPy's own functions return it: a scalar for 0-d, and wrapped by the class of `given` where it is one of its own.

    A masked array finds its mask through `function`, which has ``nin`` as ufuncs have.
    """
    if isinstance(given, np.ndarray) and type(given) is not np.ndarray:
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
    kernel = backend.elementwise(definition.name, direction, kind_of(x.dtype), wide)
    result = empty(x) if outs[0] is None else outs[0]
    if outs[0] is not None:
        inputs = [_apart(a, result) for a in inputs]
        params = [_apart(p, result) if isinstance(p, np.ndarray) else p for p in params]
    if direction != "backward" or not definition.learnable:
        results = [result, *(empty(x) if out is None else out for out in outs[1:])]
        if len(outs) > 1 and outs[1] is not None:
            inputs = [_apart(a, outs[1]) for a in inputs]
            params = [_apart(p, outs[1]) if isinstance(p, np.ndarray) else p for p in params]
        _run(kernel, inputs, params, results)
        return results
    working = np.float64 if wide or kind_of(x.dtype) == "float64" else np.float32
    totals = _sum_gradients(kernel, inputs, params, result, definition, working)
    found: list[Any] = [result]
    for p, total, out in zip(definition.learnable, totals, outs[1:], strict=True):
        given = params[list(definition.params).index(p)]
        with np.errstate(all="ignore"):
            gradient = total.reshape(np.shape(given)).astype(x.dtype.newbyteorder("="))
        if out is not None:
            out[...] = gradient.reshape(out.shape)
        found.append(gradient if out is None else out)
    return found


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
            terms = [np.empty(dx[piece].shape, working) for _ in totals]
            _run(kernel, [a[piece] for a in inputs], part, [dx[piece], *terms])
            for total, same, term in zip(totals, axes, terms, strict=True):
                total[... if 0 in same else piece] += term.sum(axis=same, dtype=np.float64, keepdims=True)
    return totals


def _bits(a: Array) -> Array:
    """Two-byte floats as integers: loops and iterators need no arithmetic on them."""
    return a.view(a.dtype.str.replace("f", "u").replace("V", "u")) if a.dtype.itemsize == 2 else a


def _apart(a: Array, out: Array) -> Array:
    """`a`, copied if it shares memory with `out` without being the same array."""
    same = a.__array_interface__["data"] == out.__array_interface__["data"] and a.strides == out.strides and a.shape == out.shape
    if a is out or not np.may_share_memory(a, out) or (same and a.dtype == out.dtype):
        return a
    return a.copy() if np.shares_memory(a, out) else a


def _run(kernel: Kernel, inputs: Sequence[Array], params: Sequence[Any], outs: Sequence[Array]) -> None:
    """Run a kernel over arrays of any layout."""
    shape = outs[0].shape
    arrays = [_bits(a) for a in (*inputs, *(np.broadcast_to(p, shape) for p in params if isinstance(p, np.ndarray)), *outs)]
    if outs[0].size == 0:
        return
    flat = _flat(arrays)
    if flat is not None:
        _call(kernel, flat, len(inputs), params)
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
    arrays: dict[str, Array | None], axes: tuple[int, ...], out: Array | None, wanted: bool
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

    def lined(a: Array) -> Array:
        a = _bits(a).reshape(shape) if a.ndim == 0 else _bits(a)
        a = a if adjacent else a.transpose(order)
        if not (a.flags.c_contiguous and a.flags.aligned and a.dtype.isnative):
            a = np.require(a, a.dtype.newbyteorder("="), ["C", "A"])
        return a.reshape(lying)

    result: Array = np.empty(x.shape, x.dtype.newbyteorder("=")) if out is None and wanted else out  # type: ignore[assignment]
    laid = {name: a if a is None else lined(a if out is None else _apart(a, out)) for name, a in arrays.items()}
    target = lined(result) if wanted else None

    def finish() -> Array:
        if target is not None and result.size and not np.shares_memory(target, result):
            place = _bits(result)
            place[...] = (
                target.reshape([shape[i] for i in order]).transpose(np.argsort(order)) if not adjacent else target.reshape(result.shape)
            )
        return result

    return laid, target, finish
