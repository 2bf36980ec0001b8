"""The backends there are: `REGISTRY`, and what a backend must offer.

To add one, write its adapter in ``fastact/backends`` and register it here; dispatch, tests, benchmarks and tables follow.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, Protocol

from .rows import Rows


class Backend(Protocol):
    """What computes on one kind of array."""

    #: Its name, as in ``backend="..."``.
    name: str
    #: The kind of array it takes, a module of `fastact.arrays`.
    arrays: str

    def missing(self) -> str | None:
        """Why it cannot be used here; None: it can. Must be quick and must not import the library if that can be avoided."""

    def version(self) -> str:
        """The version of its library."""

    def details(self) -> dict[str, object]:
        """Facts for `fastact.backends`: devices, threads, folders."""

    def elementwise(self, name: str, direction: str, kind: str, wide: bool) -> Callable[[list[Any], list[Any], list[Any]], None]:
        """The kernel of activation `name` in `direction` ("value", "derivative", "backward").

        `kind` is how elements are stored: "float16", "bfloat16", "float32" or "float64"; with `wide` it computes in float64 and
        rounds once. The kernel takes one-dimensional contiguous arrays (halves possibly as uint16), parameters as floats or such
        arrays, and outputs; outputs after the first, terms of parameter gradients, are in the working type. An output may be an input.
        """

    def rows(self, call: Rows) -> None:
        """Run a row-wise call."""

    def loss(self, name: str, kind: str, wide: bool) -> Callable[..., Any]:
        """The kernel of elementwise loss `name`: (x, labels, weight, grad, params, scale, total, loss, dx) -> the sum of the losses.

        Arrays have x's shape and any strides and are stored as `kind` (halves possibly as uint16); weight, grad and params may be
        numbers, weight and grad None. `loss` takes the losses times `weight`, `dx` the derivatives times `weight`, `grad` and `scale`;
        each may be an input, or None: not wanted. With `total` the sum of the losses is returned, in float64, the same bits for any
        number of threads. None: the arrays lie too differently and have to be made contiguous.
        """


#: Name -> where the adapter is: module of `fastact.backends` and class. In the order in which they are listed.
REGISTRY: dict[str, tuple[str, str]] = {}


def register(name: str, module: str, adapter: str) -> None:
    """Add a backend; `module` is imported when the backend is first used.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    if name in REGISTRY:
        raise ValueError(f"there is a backend {name!r} already: {REGISTRY[name][0]}")
    REGISTRY[name] = (module, adapter)


def unregister(name: str) -> None:
    """Remove a backend."""
    del REGISTRY[name]
    forget()


def forget() -> None:
    """Forget the adapters that were made and what they said: they are asked anew."""
    _load.cache_clear()
    _reasons.clear()


class NotReady(Exception):
    """A backend that must not let its caller wait has begun to compile in the background."""


def get(name: str, threads: int | None = None, *, may_wait: bool = True) -> Backend:
    """The backend of that name.

    Parameters
    ----------
    name
        As in `REGISTRY`.
    threads
        On how many threads its calls are to run, for backends that have an ``on`` to be told with; None: as they like.
    may_wait
        Whether calls may wait for a compiler; otherwise they raise `NotReady`, before they have written anything.

    Raises
    ------
    ValueError
        If there is none.
    """
    if not isinstance(name, str) or name not in REGISTRY:
        raise ValueError(f"backend must be one of {', '.join(map(repr, REGISTRY))}, not {name!r}")
    backend = _load(name)
    on = getattr(backend, "on", None)
    return backend if threads is None or on is None else on(threads, may_wait)


@functools.cache
def _load(name: str) -> Backend:
    module, adapter = REGISTRY[name]
    backend: Backend = getattr(importlib.import_module(module), adapter)()
    return backend


#: Why a backend cannot be used, or None: asked once, and corrected by `broke`.
_reasons: dict[str, str | None] = {}


def available(name: str) -> str | None:
    """Why the backend cannot be used; None: it can. Asked once a process."""
    if name not in _reasons:
        _reasons[name] = get(name).missing()
    return _reasons[name]


def broke(name: str, error: ImportError) -> None:
    """Note that a backend's library is installed, but cannot be imported."""
    _reasons[name] = str(error)


register("cython", "fastact.backends.cython", "CythonBackend")
register("numba", "fastact.backends.numba", "NumbaBackend")
register("cupy", "fastact.backends.cupy", "CupyBackend")
register("numpy", "fastact.backends.numpy", "NumpyBackend")
