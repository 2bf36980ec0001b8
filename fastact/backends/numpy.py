"""The reference as a backend: float64 textbook formulas, rounded once to the result's type. Slow, and the judge of the others.

Also the last resort: integers of functions that keep them, and float types that have no kernels (computed in float64).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..reference import REFERENCE, softmax, softmax_backward, softmax_backward_from_output
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
