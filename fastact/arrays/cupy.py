"""The front-end for CuPy arrays: makes them contiguous where they are not, allocates results, sums the gradients of parameters.

What may be asked for has been checked before: shapes and dtypes agree, parameters broadcast to x.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import noise
from ..backends.cupy import current, module, one_device, prepare
from ..backends.pipelines import NUMBER, kept_axes
from ..backends.stages import FIELDS, Stage, passes, summed
from ..kernels.cpu import compiled

if TYPE_CHECKING:
    from ..product import Product

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


def empty(x: Any) -> Any:
    """A result for x: its shape, memory order and dtype."""
    return _Layout(x).empty(x.dtype)


def new(shape: tuple[int, ...], dtype: Any) -> Any:
    """An array for a result, uninitialised."""
    return module().empty(shape, dtype)


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
    # From the next call on compiled code serves plain arrays itself.
    compiled.cuda_arrays(prepare, cupy=(module().ndarray, module().cuda.get_current_stream))
    x = inputs[-1]
    arrays = dict(zip(("grad", "x")[-len(inputs) :], inputs, strict=True)) | {f"out {i}": o for i, o in enumerate(outs)}
    by_name = dict(zip(definition.params, params, strict=True))
    with current(one_device(arrays | by_name)):
        if any(not isinstance(p, NUMBER) and p.shape != x.shape for p in params) or (direction == "backward" and definition.learnable):
            return _spread(backend, definition, direction, inputs, by_name, outs, wide)
        layout = _Layout(x)
        results = [layout.empty(x.dtype) if out is None else out for out in outs]
        targets = [layout.flat(r) for r in results]
        flat = [layout.flat(a) for a in inputs]
        given = [p if isinstance(p, NUMBER) else layout.flat(p) for p in params]
        for target in targets:
            flat, given = ([a if isinstance(a, NUMBER) or not _overlap(a, target) else a.copy() for a in some] for some in (flat, given))
        backend.elementwise(definition.name, direction, x.dtype.name, wide)(flat, given, targets)
        for result, target in zip(results, targets, strict=True):
            if target.size > 0 and target.data.ptr != result.data.ptr:  # `out` does not lie in order: filled at the end
                _bytes(result)[...] = layout.spread(target)
        return results


def _spread(
    backend: Any, definition: Any, direction: str, inputs: Sequence[Any], params: dict[str, Any], outs: Sequence[Any], wide: bool
) -> list[Any]:
    """An elementwise function with parameters that are broadcast, or whose gradients are summed: nothing of full size is made for them."""
    x = inputs[-1]
    learned = list(definition.learnable) if direction == "backward" else []
    stored = len(outs) - len(learned)
    arrays = dict(zip(("grad", "x")[-len(inputs) :], inputs, strict=True))
    arrays |= {f"p_{n}": p for n, p in params.items() if not isinstance(p, NUMBER)}
    results = [empty(x) if out is None else out for out in outs[:stored]]
    arrays = {name: _apart(a, results) for name, a in arrays.items()}
    numbers = {f"p_{n}": p for n, p in params.items() if isinstance(p, NUMBER)}
    function = f"{definition.name}_{direction}"
    if learned and not wide:
        function = summed(definition.name, x.dtype.name, backend.program.functions) or function
    call = f"defs::{function}({', '.join([*('grad', 'x')[-len(inputs) :], *(f'p_{n}' for n in params)])})"
    values = [f"r.{field}" for field in FIELDS[: len(outs)]] if len(outs) > 1 else ["r"]
    gives = tuple((f"y{i}", value) for i, value in enumerate(values[:stored]))
    terms = dict(zip(learned, values[stored:], strict=True))

    # What is stored is stored last, for it may lie where inputs do.
    gradients: dict[str, Any] = {}
    patterns = [kept_axes(getattr(params[name], "shape", ()), x.shape) for name in learned]
    groups: list[Any] = passes(patterns) or [(None, [], [])]
    for i, (kept, asked, over_all) in enumerate(groups):
        last = i == len(groups) - 1
        sums, wholes = (tuple(terms[learned[n]] for n in some) for some in (asked, over_all))
        stage = Stage(
            (function,), tuple(arrays), tuple(numbers), f"const auto r = {call};", gives if last else (), sums, wholes
        )  # fmt: skip
        given = arrays | {f"y{j}": r for j, r in enumerate(results)} if last else arrays
        found = backend.run_stage(stage, x.dtype.name, wide, given, numbers, kept, lead="x")
        gradients |= zip((learned[n] for n in (*asked, *over_all)), found, strict=True)
    return [*results, *(_filled(gradients[n], params[n], out) for n, out in zip(learned, outs[stored:], strict=True))]


def _filled(sums: Any, parameter: Any, out: Any) -> Any:
    """A parameter's gradient in its shape, in `out` if that is given."""
    gradient = module().ascontiguousarray(_bytes(sums)).view(sums.dtype).reshape(getattr(parameter, "shape", ()))
    if out is None:
        return gradient
    _bytes(out)[...] = _bytes(gradient).reshape(out.shape)
    return out


def _extent(a: Any) -> tuple[int, int]:
    """Where an array's memory begins and ends."""
    first = last = int(a.data.ptr)
    for size, stride in zip(a.shape, a.strides, strict=True):
        if size == 0:
            return first, first
        first, last = (first, last + (size - 1) * stride) if stride > 0 else (first + (size - 1) * stride, last)
    return first, last + int(a.itemsize)


def _apart(a: Any, results: Sequence[Any]) -> Any:
    """`a`, or a copy if it may share memory with a result whose elements do not lie just where its own do."""
    for r in results:
        if overlap(a, r) and (a.data.ptr, a.shape, a.strides) != (r.data.ptr, r.shape, r.strides):
            return a.copy()
    return a


def overlap(a: Any, out: Any) -> bool:
    """Whether two arrays may share memory."""
    (first, end), (begin, last) = _extent(a), _extent(out)
    return first < last and begin < end


def apart(a: Any, out: Any) -> Any:
    """`a`, copied if it may share memory with `out` without being the same array."""
    return _apart(a, [out])


def replace(result: Any, values: Any, where: Any) -> None:
    """Write `values` over `result` where `where` holds."""
    module().copyto(result, values, casting="unsafe", where=where)


def storage(a: Any) -> Any:
    """`a` as kernels read it: two-byte floats as integers, booleans as bytes."""
    return a.view("uint8") if a.dtype.kind == "b" else _bytes(a)


def row_pieces(x: Any, grad: Any, out: Any, axes: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Row-wise calls are never cut here; see `fastact.arrays.numpy.row_pieces`."""
    return []


def lay_rows(
    arrays: dict[str, Any], axes: tuple[int, ...], out: Any, wanted: bool, scratch: Any = None
) -> tuple[dict[str, Any], Any, Callable[[], Any]]:
    """Lay out the arrays of a row-wise call; see `fastact.arrays.numpy.lay_rows`, whose arguments are the same."""
    x, cupy = arrays["x"], module()
    with current(one_device({**arrays, "out": out})):
        shape = x.shape or (1,)
        first, last = axes[0], axes[-1]
        adjacent = last - first == len(axes) - 1
        # Axes that are not next to each other go last.
        order = list(range(len(shape))) if adjacent else [i for i in range(len(shape)) if i not in axes] + list(axes)
        begin = first if adjacent else len(shape) - len(axes)
        sizes = [shape[i] for i in order]
        lying = (math.prod(sizes[:begin]), math.prod(sizes[begin : begin + len(axes)]), math.prod(sizes[begin + len(axes) :]))

        def lined(a: Any) -> Any:
            return cupy.ascontiguousarray(_bytes(a).reshape(shape).transpose(order)).reshape(lying)

        result = cupy.empty(x.shape, x.dtype) if out is None and wanted else out
        target = lined(result) if wanted else None
        laid = {name: a if a is None else lined(a) for name, a in arrays.items()}
        if target is not None:
            laid = {name: a.copy() if a is not None and _overlap(a, target) else a for name, a in laid.items()}

    def finish() -> Any:
        if target is not None and target.size and target.data.ptr != result.data.ptr:  # `out` does not lie so: filled at the end
            back = sorted(range(len(order)), key=order.__getitem__)
            _bytes(result)[...] = target.reshape(sizes).transpose(back).reshape(result.shape)
        return result

    return laid, target, finish


def run_product(backend: Any, call: Product) -> None:
    """Run a product of factors; its sums are in `call` afterwards. Arrays may have any strides."""
    factors = [(f.x, f.bias, f.dx, *f.params) for f in call.factors]
    given = [call.out, call.grad, call.weight, *(a for f in factors for a in f)]
    with current(one_device({f"array {i}": a for i, a in enumerate(given)})):
        job = backend.pipeline(call.direction, call.kind, call.wide, call.shape)
        for f in call.factors:
            job.factor(f.name, f.x, f.params, f.bias, f.dx, f.low, f.high, f.offset, f.bias_shape, f.param_shapes)
        job.product(call.out, call.grad, call.weight, call.weight_shape)
        if call.seed is not None:
            job.drop(*noise.threshold(call.seed, call.keep, call.first))
        job.run()
        call.sums = job.sums()


def run_with_mask(backend: Any, definition: Any, x: Any, params: Sequence[float], slopes: tuple[float, float], out: Any) -> tuple[Any, Any]:
    """The value, and the packed bits: whether the slope at an element, in C order, is nearer to the second of `slopes`."""
    with current(one_device({"x": x, "out": out})):
        cupy = module()
        result = cupy.empty(x.shape, x.dtype) if out is None else out
        mask = cupy.empty(-(-x.size // 8), "uint8")
        source, target = cupy.ascontiguousarray(_bytes(x)), cupy.ascontiguousarray(_bytes(result))
        source = source.copy() if _overlap(source, target) else source
        job = backend.pipeline("with_mask", x.dtype.name, False, x.shape)
        job.factor(definition.name, source, params)
        job.product(target)
        job.mask(mask, *slopes)
        job.run()
        if target.size and target.data.ptr != result.data.ptr:
            _bytes(result)[...] = target
        return result, mask


def run_from_mask(backend: Any, grad: Any, mask: Any, slopes: tuple[float, float], out: Any) -> Any:
    """The gradient times the slope that each bit stands for."""
    with current(one_device({"grad": grad, "mask": mask, "out": out})):
        cupy = module()
        result = cupy.empty(grad.shape, grad.dtype) if out is None else out
        source, target = cupy.ascontiguousarray(_bytes(grad)), cupy.ascontiguousarray(_bytes(result))
        source = source.copy() if _overlap(source, target) else source
        job = backend.pipeline("from_mask", grad.dtype.name, False, grad.shape)
        job.factor(None, None, dx=target)
        job.product(grad=source)
        job.mask(cupy.ascontiguousarray(mask), *slopes)
        job.run()
        if target.size and target.data.ptr != result.data.ptr:
            _bytes(result)[...] = target
        return result


def run_loss(
    backend: Any,
    definition: Any,
    x: Any,
    labels: Any,
    params: Sequence[Any],
    *,
    weight: Any,
    grad: Any,
    scale: Any,
    total: bool,
    outs: tuple[Any, Any],
    wants: tuple[bool, bool],
    wide: bool,
) -> tuple[Any, Any, Any]:
    """Run an elementwise loss; see `fastact.arrays.numpy.run_loss`, whose arguments are the same. The sum is an array of no dimensions."""
    given = {"x": x, "labels": labels, "weight": weight, "grad": grad, **dict(zip(definition.params, params, strict=True))}
    with current(one_device({**given, "out[0]": outs[0], "out[1]": outs[1]})):
        results = [None if not wanted else empty(x) if out is None else out for out, wanted in zip(outs, wants, strict=True)]
        written = [r for r in results if r is not None]
        given = {name: a if a is None or isinstance(a, NUMBER) else _apart(a, written) for name, a in given.items()}
        job = backend.pipeline("loss", x.dtype.name, wide, x.shape)
        job.factor(definition.name, given["x"], [given[p] for p in definition.params], dx=results[1])
        job.product(out=results[0], grad=given["grad"], weight=given["weight"])
        job.loss(given["labels"], scale, total)
        job.run()
        return (job.sums()[0] if total else None, results[0], results[1])
