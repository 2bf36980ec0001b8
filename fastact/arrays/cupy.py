"""The front-end for CuPy arrays: makes them contiguous where they are not, allocates results, sums the gradients of parameters.

What may be asked for has been checked before: shapes and dtypes agree, parameters broadcast to x.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from ..backends.cupy import NUMBER, current, module, one_device

NAME = "cupy"


def owns(value: Any) -> bool:
    """Whether `value` is a CuPy array."""
    return isinstance(value, module().ndarray)


def library() -> Any:
    """CuPy."""
    return module()


def asarray(value: Any) -> Any:
    """`value` as a CuPy array, itself where it is one."""
    return module().asarray(value)


def finish(result: Any, given: Any, function: Any) -> Any:
    """The result as CuPy's own functions return it: an array, of no dimensions too."""
    return result


def check_apart(label: str, outs: Sequence[Any]) -> None:
    """Several results must not share memory."""
    ends = sorted((int(out.data.ptr), int(out.data.ptr) + int(out.nbytes)) for out in outs if out is not None)
    if any(second[0] < first[1] for first, second in itertools.pairwise(ends)):
        raise ValueError(f"{label}: the arrays in out share memory")


def memory_order(x: Any) -> tuple[int, ...]:
    """The axes of `x` from the slowest in memory to the fastest."""
    if x.flags.c_contiguous:
        return tuple(range(x.ndim))
    return tuple(sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis])))


def _bytes(x: Any) -> Any:
    """bfloat16 as integers: copies need no arithmetic, and CuPy knows that type only since version 14."""
    return x.view("uint16") if x.dtype.name == "bfloat16" else x


def _overlap(a: Any, b: Any) -> bool:
    """Whether two contiguous arrays share memory without being the same."""
    p, q = int(a.data.ptr), int(b.data.ptr)
    return p != q and p < q + int(b.nbytes) and q < p + int(a.nbytes)


class _Layout:
    """The order in which a call's elements are visited: as they lie in x."""

    def __init__(self, x: Any) -> None:
        self.cupy, self.shape, self.axes = module(), x.shape, memory_order(x)
        self.back = tuple(sorted(range(x.ndim), key=self.axes.__getitem__))

    def flat(self, a: Any) -> Any:
        """`a` in one dimension: a view where it lies in this order, else a copy."""
        return self.cupy.ascontiguousarray(_bytes(a).transpose(self.axes)).reshape(-1)

    def spread(self, flat: Any) -> Any:
        """The inverse: a view of x's shape."""
        return flat.reshape(tuple(self.shape[a] for a in self.axes)).transpose(self.back)

    def empty(self, dtype: Any) -> Any:
        return self.spread(self.cupy.empty(math.prod(self.shape), dtype))


def run_elementwise(
    backend: Any, definition: Any, direction: str, inputs: Sequence[Any], params: Sequence[Any], outs: Sequence[Any], wide: bool
) -> list[Any]:
    """Run an elementwise activation on CuPy arrays.

    Parameters
    ----------
    backend
        The CuPy backend.
    definition
        The activation's definition.
    direction
        ``value``, ``derivative`` or ``backward``.
    inputs
        x, or the gradient and x: of one shape and dtype.
    params
        Numbers, or arrays that broadcast to x.
    outs
        Where results go, None where they are to be allocated: one, in ``value_and_derivative`` two, and in ``backward`` one more for
        each learnable parameter.
    wide
        Compute in float64 and round once.

    Returns
    -------
    list
        The results, as many as `outs`.
    """
    x = inputs[-1]
    arrays = dict(zip(("grad", "x")[-len(inputs) :], inputs, strict=True)) | {f"out {i}": o for i, o in enumerate(outs)}
    by_name = dict(zip(definition.params, params, strict=True))
    with current(one_device(arrays | by_name)):
        layout = _Layout(x)
        cupy = layout.cupy
        learned = [by_name[p] for p in definition.learnable] if direction == "backward" else []
        stored = len(outs) - len(learned)
        results = [layout.empty(x.dtype) if out is None else out for out in outs[:stored]]
        targets = [layout.flat(r) for r in results]
        flat = [layout.flat(a) for a in inputs]
        spread = [p if isinstance(p, NUMBER) else layout.flat(cupy.broadcast_to(_bytes(p), x.shape)) for p in params]
        for target in targets:
            flat, spread = ([a if isinstance(a, NUMBER) or not _overlap(a, target) else a.copy() for a in some] for some in (flat, spread))
        kind = x.dtype.name
        working = "float64" if wide or kind == "float64" else "float32"
        terms = [cupy.empty(x.size, working) for _ in learned]
        backend.elementwise(definition.name, direction, kind, wide)(flat, spread, [*targets, *terms])
        for result, target in zip(results, targets, strict=True):
            if target.size > 0 and target.data.ptr != result.data.ptr:  # `out` does not lie in order: filled at the end
                _bytes(result)[...] = layout.spread(target)
        return [*results, *(_gradient(layout, t, p, x.dtype, o) for t, p, o in zip(terms, learned, outs[stored:], strict=True))]


def replace(result: Any, values: Any, where: Any) -> None:
    """Write `values` over `result` where `where` holds."""
    module().copyto(result, values, casting="unsafe", where=where)


def _gradient(layout: _Layout, terms: Any, parameter: Any, dtype: Any, out: Any) -> Any:
    """The terms of a parameter's gradient, summed in float64 over what the parameter was broadcast along."""
    shape = getattr(parameter, "shape", ())
    lead = len(layout.shape) - len(shape)
    axes = (*range(lead), *(lead + i for i, extent in enumerate(shape) if extent == 1))
    total = layout.spread(terms).sum(axes, "float64") if axes else layout.spread(terms).astype("float64")
    gradient = total.reshape(shape).astype(dtype)
    if out is None:
        return gradient
    _bytes(out)[...] = _bytes(gradient).reshape(out.shape)
    return out


def run_rowwise(
    backend: Any, definition: Any, direction: str, x: Any, other: Any, axis: int, where: Any, masked_nan: bool, out: Any, wide: bool
) -> Any:
    """Run a row-wise activation on CuPy arrays.

    Parameters
    ----------
    backend, definition, direction, out, wide
        As in `run_elementwise`; the direction may also be ``backward_from_output``.
    x, other
        The input (or the output), and in the backward directions the gradient.
    axis
        Along which the rows run.
    where
        A boolean array that broadcasts to x, or None.
    masked_nan
        Whether a row without any unmasked element gives NaN there.

    Returns
    -------
    cupy.ndarray
        `out`, or a new array.
    """
    with current(one_device({"x": x, "grad": other, "where": where, "out": out})):
        cupy = module()
        axis %= x.ndim
        shape = (math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))

        def lined(a: Any) -> Any:
            return cupy.ascontiguousarray(_bytes(a)).reshape(shape)

        result = cupy.empty(x.shape, x.dtype) if out is None else out
        target = lined(result)
        copied = target.size > 0 and target.data.ptr != result.data.ptr
        operands = [a if a is None else lined(a) for a in (x, other)]
        operands = [a.copy() if a is not None and _overlap(a, target) else a for a in operands]
        mask = None if where is None else lined(cupy.broadcast_to(where, x.shape))
        mask = mask if mask is None or out is None else mask.copy()  # it may share memory with `out`
        backend.rowwise(definition.name, direction, x.dtype.name, wide)(*operands, mask, masked_nan, target)
        if copied:
            _bytes(result)[...] = target.reshape(x.shape)
        return result
