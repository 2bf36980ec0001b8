"""`warmup`: what first calls would wait for, done ahead."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import dispatch, registry
from .activation import INPUTS
from .arrays.common import KINDS, kind_of
from .kernels.cpu import compiled

#: Elements of the calls that make kernels compile: one piece, and enough of them for several threads.
SIZES = (64, 1 << 17)
#: The last axis, where functions of rows work.
WIDTH = 64


def warmup(*functions: Any, dtypes: Iterable[Any] = ("float32",), backend: str | None = None) -> None:
    """Do ahead what first calls would wait for: start threads, and compile kernels.

    Kernels are compiled by calling the functions, with their defaults, on small arrays.

    Parameters
    ----------
    *functions : Activation, or one of its directions
        Those whose kernels are wanted: ``fastact.gelu``, ``fastact.gelu.backward``.
    dtypes : iterable of dtype
        Of the arrays that they will be called with.
    backend : {"cython", "numba", "cupy", "numpy"}, optional
        Whose kernels. "numba" and "cupy" compile them, and keep them in the user's cache; NumPy arrays are otherwise served by loops that
        are compiled already, and threads are all there is to start.

    Raises
    ------
    TypeError
        If one of `functions` is not fastact's, or there are no kernels for one of `dtypes`.
    ValueError, RuntimeError
        If there is no such backend, or it is missing.

    Examples
    --------
    >>> import fastact
    >>> fastact.warmup(fastact.gelu, fastact.gelu.backward)
    """
    kinds = [kind_of(dtype) for dtype in dtypes]
    for kind in kinds:
        if kind not in KINDS:
            raise TypeError(f"warmup: dtypes must be among {', '.join(KINDS)}, not {kind}")
    for function in functions:
        if getattr(function, "direction", None) not in INPUTS:
            raise TypeError(f"warmup: functions must be activations or their directions, not {function!r}")
    name = dispatch.named_backend(backend)
    if name is not None and (reason := registry.available(name)) is not None:
        raise RuntimeError(f"backend {name!r} was asked for, but is missing: {reason}")
    compiled.start_threads()
    library: Any = importlib.import_module(registry.get(name).arrays) if name else np
    for function in functions:
        definition = function.definition
        params = definition.examples[0] if None in definition.params.values() else ()
        for dtype in kinds:
            for size in SIZES:
                x = library.full((size // WIDTH, WIDTH), 0.5, _dtype(dtype))
                function(*[x] * len(INPUTS[function.direction]), *params, backend=name)


def _dtype(kind: str) -> Any:
    """The dtype of that name; bfloat16 is not NumPy's own."""
    if kind == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(kind)
