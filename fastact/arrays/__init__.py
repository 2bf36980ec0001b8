"""One module for each kind of array: how its arrays are checked, laid out for the kernels, and returned.

PyTorch's CUDA tensors run as CuPy's arrays where compiled code does not serve them by itself: `takes_tensors`.

A module for a kind of array has ``NAME``, ``owns(value)``, ``asarray(value)``, ``finish(result, given)``, ``run_elementwise`` and
``run_rowwise``. A library is consulted only if the program has imported it already.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

#: Kinds of array by the package whose arrays they are; NumPy also takes scalars, lists and whatever converts to its arrays.
KINDS = ("cupy", "numpy")


def takes_tensors(call: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method of one of fastact's functions take PyTorch's CUDA tensors; see `fastact.arrays.torch`."""

    @functools.wraps(call)
    def takes(function: Any, *args: Any, **kwargs: Any) -> Any:
        if "torch" in sys.modules:
            torch = _module("torch")
            if torch.library() is not None and torch.among(args, kwargs):
                public = not call.__name__.startswith("_")
                called = getattr(function, call.__name__) if public else function
                label = function.__name__ + f".{call.__name__}" * public
                entry = function if call.__name__ == "_general" and hasattr(function, "attempt") else None
                return torch.serve(functools.partial(call, function), called, label, args, kwargs, entry)
        return call(function, *args, **kwargs)

    return takes


def only() -> Any:
    """The array module if there is but one library of arrays in the program, else None: `of` is then to be asked."""
    return _module("numpy") if sys.modules.get("cupy") is None else None


def of(values: Mapping[str, Any]) -> Any:
    """The array module that serves `values`, named arguments of a call.

    Raises
    ------
    TypeError
        If they are arrays of different kinds.
    """
    kinds = [kind for kind in KINDS if sys.modules.get(kind) is not None]
    if len(kinds) == 1:
        return _module(kinds[0])
    found = {argument: kind for argument, value in values.items() for kind in kinds if _module(kind).owns(value)}
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{argument} is a {kind} array" for argument, kind in found.items())
        raise TypeError(f"arrays of different kinds: {listed}; convert them to one kind first")
    return _module(next(iter(found.values()), "numpy"))


@functools.cache
def _module(kind: str) -> Any:
    return importlib.import_module(f".{kind}", __name__)
