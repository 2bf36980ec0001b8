"""The reference as a backend: float64 textbook formulas, rounded once to the result's type. Slow, and the judge of the others.

Also the last resort: integers of functions that keep them, and float types that have no kernels (computed in float64).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..reference import REFERENCE, losses, rowwise, softmax, softmax_backward, softmax_backward_from_output
from ..reference.numerics import product, total
from ..rows import Rows, Spread
from ..ulp import round_once

Array = np.ndarray[Any, Any]


def _view(a: Array, kind: str) -> Array:
    """A two-byte storage array as the floats it holds."""
    if kind == "bfloat16":
        import ml_dtypes

        return a.view(ml_dtypes.bfloat16)
    return a.view(np.float16) if kind == "float16" else a


def _store(out: Array, exact: Array, kind: str) -> None:
    """Round float64 values once into storage."""
    target = _view(out, kind) if out.dtype.itemsize == 2 else out
    with np.errstate(all="ignore"):
        target[...] = exact if target.dtype.itemsize >= 8 else round_once(exact, target.dtype)


def store(out: Array, exact: Array) -> None:
    """Round float64 values once into an array of any float type."""
    with np.errstate(all="ignore"):
        out[...] = exact if out.dtype.itemsize >= 8 else round_once(exact, out.dtype)


#: The oracle's functions that make up a direction.
ROLES = {
    "value": ("value",),
    "derivative": ("derivative",),
    "backward": ("derivative",),
    "value_and_derivative": ("value", "derivative"),
    "second_derivative": ("second_derivative",),
}


class NumpyBackend:
    """See `fastact.registry.Backend`."""

    name = "numpy"
    arrays = "numpy"

    def missing(self) -> str | None:
        """Why the backend cannot be used; None: it can."""
        return None

    def version(self) -> str:
        """The version of NumPy."""
        return np.__version__

    def details(self) -> dict[str, object]:
        """Facts for `fastact.backends`."""
        import scipy

        return {"role": "the float64 reference, the judge of the other backends", "scipy": scipy.__version__}

    def elementwise(self, name: str, direction: str, kind: str, wide: bool) -> Callable[[list[Array], list[Any], list[Array]], None]:
        """The formula of an activation in one direction. Always computed in float64: `wide` makes no difference."""
        reference = REFERENCE[name]

        def run(arrays: list[Array], params: list[Any], outs: list[Array]) -> None:
            if arrays[-1].dtype.kind in "iu" and kind not in ("bfloat16", "float16"):
                return self._integers(name, direction, arrays, outs)
            if direction not in ROLES:
                raise ValueError(f"the backend 'numpy' judges functions of x and has no {name}.{direction}; use backward(grad, x)")
            inputs = [_view(a, kind).astype(np.float64) for a in arrays]
            values = [_view(p, kind).astype(np.float64) if isinstance(p, np.ndarray) else p for p in params]
            x = inputs[-1]
            with np.errstate(all="ignore"):
                results = [getattr(reference, role)(x, *values) for role in ROLES[direction]]
                if direction == "backward":
                    results += [gradient(x, *values) for gradient in reference.gradients.values()]
                    results = [inputs[0] * r for r in results]
            for out, exact in zip(outs, results, strict=True):
                _store(out, exact, kind)

        return run

    @staticmethod
    def _integers(name: str, direction: str, arrays: list[Array], outs: list[Array]) -> None:
        reference = REFERENCE[name].integer
        assert reference is not None, f"{name} does not keep integers"
        # Of those that keep integers the slope at an output is the slope there.
        roles = ("derivative",) if direction == "backward_from_output" else ROLES[direction]
        for out, role in zip(outs, roles, strict=True):
            result = getattr(reference, role)(arrays[-1])
            out[...] = arrays[0] * result if len(arrays) == 2 else result

    def rowwise(self, name: str, direction: str, kind: str, wide: bool) -> Callable[[Array, Array | None, Array | None, bool, Array], None]:
        """The formula of a row-wise activation."""

        def run(x: Array, other: Array | None, where: Array | None, masked_nan: bool, out: Array) -> None:
            first = _view(x, kind).astype(np.float64)
            grad = None if other is None else _view(other, kind).astype(np.float64)
            masked = "nan" if masked_nan else "zero"
            with np.errstate(all="ignore"):
                if direction == "value":
                    exact = softmax(first, 1, where, masked)
                elif direction == "backward":
                    exact = softmax_backward(grad, first, 1, where, masked)
                else:
                    exact = softmax_backward_from_output(grad, first, 1)
            _store(out, exact, kind)

        return run

    def loss(self, name: str, kind: str, wide: bool) -> Callable[..., float]:
        """The formula of an elementwise loss; see `fastact.registry.Backend`."""
        oracle = losses.LOSSES[name]

        def run(
            x: Array,
            labels: Array,
            weight: Any,
            grad: Array | None,
            params: list[Any],
            scale: float,
            total: bool,
            loss: Array | None,
            dx: Array | None,
        ) -> float:
            args = [_view(a, kind).astype(np.float64) if isinstance(a, np.ndarray) else a for a in (x, labels, *params)]
            factor: Any = 1.0
            if weight is not None:
                factor = _view(weight, kind).astype(np.float64) if isinstance(weight, np.ndarray) else weight
            sum_of_all = 0.0
            with np.errstate(all="ignore"):
                if total or loss is not None:
                    value = factor * oracle.value(*args)
                    sum_of_all = float(value.sum())
                    if loss is not None:
                        _store(loss, value, kind)
                if dx is not None:
                    along = factor * scale if grad is None else factor * scale * _view(grad, kind).astype(np.float64)
                    _store(dx, along * oracle.derivative(*args), kind)
            return sum_of_all

        return run

    def rows(self, call: Rows) -> None:
        """The formula of a row program; see `fastact.rows`."""
        if call.program in ("cross_entropy", "multi_margin"):
            results = losses.cross_entropy(call) if call.program == "cross_entropy" else losses.multi_margin(call)
            if call.loss is not None:
                call.loss[...] = results["loss"].reshape(call.loss.shape)
            if call.out is not None:
                _store(call.out, results["out"], call.kind)
            return
        with np.errstate(all="ignore"):
            _rows(call)


def _places(spread: Spread, n: int) -> Array:
    """Where in its data a broadcast array has the elements of [outer, n, inner]."""
    found: Array = np.asarray(spread.outer)[:, None, None] + np.arange(n)[:, None] * spread.step + np.asarray(spread.inner)
    return found


def _rows(call: Rows) -> None:
    outer, n, inner = call.x.shape
    x = _view(call.x, call.kind).astype(np.float64)

    def by_row(a: Any) -> Any:
        """A number a row, or one number, so that it broadcasts."""
        return a if a is None or np.ndim(a) == 0 else np.asarray(a, np.float64).reshape(() if np.size(a) == 1 else (outer, 1, inner))

    keep = np.ones(x.shape, bool) if call.where is None else np.asarray(call.where.data)[_places(call.where, n)] != 0
    if call.limits is not None:
        keep = keep & (np.arange(n)[:, None] < np.asarray(call.limits).reshape(outer, 1, inner))
    masked = "nan" if call.masked_nan else "zero"
    sink, alpha = by_row(call.sink), by_row(call.alpha)
    options = {"low": np.zeros(x.shape)}
    if call.program == "entmax":
        options["alpha"] = alpha
    if sink is not None:
        options["sink"] = sink
    grad = None if call.grad is None else _view(call.grad, call.kind).astype(np.float64)
    if call.direction == "backward_from_output":
        found = rowwise.gradients_from_output(call.program, grad, x, 1, alpha=alpha)
        found = found._replace(x=np.where(keep, found.x, 0.0))
    else:
        z, options["low"] = _logits(call, x)
        if call.lse is not None:
            lse = rowwise.logsumexp(z, 1, keep, masked, low=options["low"], sink=sink)
            np.asarray(call.lse)[...] = lse.reshape(call.lse.shape)
        if call.direction == "value":
            if call.out is not None:
                program = "hardmax" if call.hard else call.program
                if call.hard:
                    options.pop("sink", None)
                _store(call.out, rowwise.value(program, z, 1, keep, masked, **options), call.kind)
            return
        found = rowwise.gradients(call.program, grad, z, 1, keep, masked, row_grad=by_row(call.row_grad), **options)
    if call.dbias is not None and call.bias is not None:
        dbias = np.bincount(_places(call.bias, n).ravel(), (call.bias_scale * found.x).ravel(), call.dbias.size)
        call.dbias[...] = dbias.reshape(call.dbias.shape)
    for target, gradient in ((call.dsink, found.sink), (call.dalpha, found.alpha)):
        if target is not None and gradient is not None:
            target[...] = np.broadcast_to(gradient, (outer, 1, inner)).reshape(target.shape)
    if call.out is not None:
        _store(call.out, call.scale * found.x, call.kind)


def _logits(call: Rows, x: Array) -> tuple[Array, Array]:
    """``scale * x + bias_scale * (bias + noise)``, and its rounding error."""
    n = x.shape[1]
    z, low = (x, np.zeros(x.shape)) if call.scale == 1 else product(np.asarray(call.scale), x, far=np.inf)
    if call.bias is not None or call.noise is not None:
        added = np.zeros(x.shape)
        if call.bias is not None:
            added += _view(np.asarray(call.bias.data), call.kind).astype(np.float64)[_places(call.bias, n)]
        if call.noise is not None:
            added += rowwise.gumbel(call.noise, x.shape)
        scaled, rest = product(np.asarray(call.bias_scale), added, far=np.inf)
        z, error = total(z, scaled)
        low = low + rest + error
    return z, low
