"""`warmup`: what first calls would wait for, done ahead."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import dispatch, names, registry
from .activation import INPUTS
from .arrays.common import KINDS, kind_of
from .kernels.cpu import compiled

#: Elements of the calls that make kernels compile: one piece, and enough of them for several threads.
SIZES = (64, 1 << 17)
#: The last axis, where functions of rows work.
WIDTH = 64


def warmup(*functions: Any, dtypes: Iterable[Any] = ("float32",), backend: str | None = None, device: int | None = None) -> None:
    """Do ahead what first calls would wait for: start threads, compile kernels, load them on a GPU.

    Kernels are compiled by calling the functions, with their defaults, on small arrays; the elementwise ones for a GPU need no arrays.

    Parameters
    ----------
    *functions : Activation, or one of its directions, or str
        Those whose kernels are wanted: ``fastact.gelu``, ``fastact.gelu.backward``, ``"gelu"``.
    dtypes : iterable of dtype
        Of the arrays that they will be called with.
    backend : {"cython", "numba", "cupy", "numpy"}, optional
        Whose kernels. "numba" and "cupy" compile them, and keep them in the user's cache; NumPy arrays are otherwise served by loops that
        are compiled already, and threads are all there is to start.
    device : int, optional
        The GPU, for "cupy", whose kernels serve PyTorch's CUDA tensors too; by default the first one. Afterwards calls of elementwise
        functions compile, load and allocate nothing but their results, so they can be captured in a CUDA graph.

    Raises
    ------
    TypeError
        If one of `functions` is not fastact's, or there are no kernels for one of `dtypes`.
    ValueError, RuntimeError
        If there is no such backend, or it is missing; if `device` is given for another backend.

    Examples
    --------
    >>> import fastact
    >>> fastact.warmup(fastact.gelu, fastact.gelu.backward)
    """
    kinds = [kind_of(dtype) for dtype in dtypes]
    for kind in kinds:
        if kind not in KINDS:
            raise TypeError(f"warmup: dtypes must be among {', '.join(KINDS)}, not {kind}")
    functions = tuple(names.get(f) if isinstance(f, str) else f for f in functions)
    for function in functions:
        if getattr(function, "direction", None) not in INPUTS:
            raise TypeError(f"warmup: functions must be activations or their directions, not {function!r}")
    name = dispatch.named_backend(backend)
    if name is not None and (reason := registry.available(name)) is not None:
        raise RuntimeError(f"backend {name!r} was asked for, but is missing: {reason}")
    if device is not None and name != "cupy":
        raise ValueError(f"warmup: device is for backend 'cupy', not {name!r}")
    compiled.start_threads()
    if name == "cupy":
        _warm_gpu(functions, kinds, device or 0)
        return
    library: Any = importlib.import_module(registry.get(name).arrays) if name else np
    for function in functions:
        for kind in kinds:
            _call(function, kind, library, name)


def _call(function: Any, kind: str, library: Any, backend: str | None) -> None:
    definition = function.definition
    params = definition.examples[0] if None in definition.params.values() else ()
    for size in SIZES:
        x = library.full((size // WIDTH, WIDTH), 0.5, _dtype(kind))
        function(*[x] * len(INPUTS[function.direction]), *params, backend=backend)


def _warm_gpu(functions: Iterable[Any], kinds: Iterable[str], device: int) -> None:
    from .backends import cupy

    wide = dispatch.named_accuracy(None) == "precise"
    backend: Any = registry.get("cupy")
    for function in functions:
        definition, direction = function.definition, function.direction
        for kind in kinds:
            if definition.family == "elementwise" and not (direction == "backward" and definition.learnable):
                backend.prepared(definition.name, direction, kind, wide and kind != "float64", device)
            else:
                with cupy.current(device):
                    _call(function, kind, cupy.module(), "cupy")


def _dtype(kind: str) -> Any:
    """The dtype of that name; bfloat16 is not NumPy's own."""
    if kind == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(kind)
