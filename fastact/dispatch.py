"""Which backend serves a call: `choose`, a pure function of plain values, and what can be said from outside to influence it."""

from __future__ import annotations

import contextlib
import contextvars
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import registry, tuning
from .arrays.common import KINDS as KERNEL_KINDS
from .kernels.cpu import compiled
from .thresholds import CROSSOVER, NUMBA

ACCURACIES = ("fast", "precise")


@dataclass(frozen=True)
class Choice:
    """A backend, the reason for it, and on how many threads it may run."""

    backend: str
    reason: str
    threads: int = 1


def choose(
    arrays: str,
    kind: str,
    size: int,
    cost: str,
    missing: Mapping[str, str | None],
    forced: str | None = None,
    *,
    forked: bool = False,
    threads: int = 1,
    crossover: Mapping[str, Mapping[str, int]] = CROSSOVER,
    numba: Mapping[str, Mapping[str, int]] = NUMBA,
) -> Choice:
    """Choose the backend for a call. Depends on nothing but its arguments.

    Parameters
    ----------
    arrays : str
        The kind of array: "numpy" or "cupy".
    kind : str
        The dtype's name.
    size : int
        How many elements.
    cost : str
        The activation's cost class.
    missing : mapping
        For each backend why it cannot be used, or None.
    forced : str, optional
        The backend that was named. It runs or raises.
    forked : bool
        Whether this process was forked from one that may have run threads; ours run there all the same, Numba's do not.
    threads : int
        How many threads there are for a call.
    crossover : mapping
        Elements from which threads pay, by cost class and storage type.
    numba : mapping
        Likewise, elements from which Numba's threads were measured to be faster than ours.

    Raises
    ------
    ValueError
        If the named backend does not take such arrays.
    RuntimeError
        If the named backend, or the only one for such arrays, is missing.
    """
    kernels = kind in KERNEL_KINDS
    if forced is not None:
        takes = "cupy" if forced == "cupy" else "numpy"
        if takes != arrays:
            raise ValueError(f"backend {forced!r} takes {takes} arrays, not {arrays} arrays")
        if not kernels and forced != "numpy":
            raise ValueError(f"backend {forced!r} has no kernels for {kind}; only 'numpy' takes it")
        if missing[forced] is not None:
            raise RuntimeError(f"backend {forced!r} was asked for, but is missing: {missing[forced]}")
        return Choice(forced, "it was named", _threads(forced, kind, size, cost, threads, crossover, forked))
    if arrays == "cupy":
        if missing["cupy"] is not None:
            raise RuntimeError(f"cupy arrays need the backend 'cupy', which is missing: {missing['cupy']}")
        if not kernels:
            raise TypeError(f"there are no GPU kernels for {kind}; accepted are {', '.join(KERNEL_KINDS)}")
        return Choice("cupy", "the arrays are on a GPU")
    if not kernels:
        return Choice("numpy", f"{kind} has no kernels; the reference takes it")
    pays, elsewhere = crossover[cost][kind], numba[cost][kind]
    if size < pays:
        return Choice("cython", f"{size} elements of {kind} are below {pays}, from where threads pay for cost class {cost!r}")
    if threads == 1:
        return Choice("cython", "there is one thread for a call; see get_num_threads")
    if size >= elsewhere and missing["numba"] is None and not forked:
        return Choice(
            "numba", f"{size} elements of {kind} are at or above {elsewhere}, from where Numba was measured to be faster", threads
        )
    return Choice("cython", f"{size} elements of {kind} are at or above {pays}, from where threads pay for cost class {cost!r}", threads)


def _threads(backend: str, kind: str, size: int, cost: str, threads: int, crossover: Mapping[str, Mapping[str, int]], forked: bool) -> int:
    """The threads of a backend that was named."""
    if backend == "numba":
        return 1 if forked else threads
    return threads if backend == "cython" and size >= crossover[cost][kind] else 1


# ---------------------------------------------------------------- what was asked for

_backend: contextvars.ContextVar[str | None] = contextvars.ContextVar("fastact_backend", default=None)
_accuracy: contextvars.ContextVar[str | None] = contextvars.ContextVar("fastact_accuracy", default=None)
_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _environment(variable: str, accepted: tuple[str, ...]) -> str | None:
    value = os.environ.get(variable) or None
    if value is not None and value not in accepted:
        raise ValueError(f"{variable} must be one of {', '.join(map(repr, accepted))}, not {value!r}")
    return value


_environment_backend = _environment("FASTACT_BACKEND", tuple(registry.REGISTRY))
_environment_accuracy = _environment("FASTACT_ACCURACY", ACCURACIES)
compiled.follow(_backend, _accuracy, _environment_backend, _environment_accuracy)
compiled.add_override((_environment_backend is not None) + (_environment_accuracy is not None))


def named_backend(argument: str | None) -> str | None:
    """The backend that was named: by argument, else by context, else by environment; None: automatic."""
    if argument is not None:
        registry.get(argument)
        return argument
    return _backend.get() or _environment_backend


def named_accuracy(argument: str | None) -> str:
    """The accuracy asked for."""
    if argument is not None and argument not in ACCURACIES:
        raise ValueError(f"accuracy must be one of {', '.join(map(repr, ACCURACIES))}, not {argument!r}")
    return argument or _accuracy.get() or _environment_accuracy or "fast"


@contextlib.contextmanager
def _use(variable: contextvars.ContextVar[str | None], value: str) -> Iterator[None]:
    token = variable.set(value)
    compiled.add_override(1)
    try:
        yield
    finally:
        compiled.add_override(-1)
        variable.reset(token)


def use_backend(name: str) -> contextlib.AbstractContextManager[None]:
    """Name the backend for all calls inside a ``with`` block.

    Parameters
    ----------
    name : {"cython", "numba", "cupy", "numpy"}
        It runs or raises; it never falls back.

    Raises
    ------
    ValueError
        If there is no such backend.

    Examples
    --------
    >>> import numpy as np, fastact
    >>> with fastact.use_backend("cython"):
    ...     fastact.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    registry.get(name)
    return _use(_backend, name)


def use_accuracy(accuracy: str) -> contextlib.AbstractContextManager[None]:
    """Set the accuracy for all calls inside a ``with`` block.

    Parameters
    ----------
    accuracy : {"fast", "precise"}
        ``fast``: at most 3 units in the last place in float32. ``precise``: computed in float64 and rounded once.

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> import numpy as np, fastact
    >>> with fastact.use_accuracy("precise"):
    ...     fastact.sigmoid(np.float32(1))
    np.float32(0.7310586)
    """
    return _use(_accuracy, named_accuracy(accuracy))


def serve(arrays: str, kind: str, size: int, cost: str, backend: str | None, run: Callable[[registry.Backend], Any]) -> tuple[str, Any]:
    """Choose a backend, run it, and return its name and what it gave.

    A backend that was chosen and not named, but whose library turns out not to import, is taken off the list and the choice made anew.
    One that would have to compile first does so in the background, while cython serves.
    """
    while True:
        choice = decide(arrays, kind, size, cost, backend)
        named = named_backend(backend) is not None
        try:
            return choice.backend, run(registry.get(choice.backend, choice.threads, may_wait=named))
        except registry.NotReady:
            return "cython", run(registry.get("cython", choice.threads))
        except ImportError as error:
            known = registry.available(choice.backend) is not None
            registry.broke(choice.backend, error)
            if named or known:
                raise


#: Below this many elements no machine's threads pay: neither they nor the table are asked for.
SMALL = 8192


def decide(arrays: str, kind: str, size: int, cost: str, backend: str | None) -> Choice:
    """`choose` for this process as it is."""
    forced = named_backend(backend)
    missing = _Missing()
    if size < SMALL or arrays != "numpy":
        return choose(arrays, kind, size, cost, missing, forced, forked=_forked)
    table = tuning.current()
    threads = compiled.settled_threads()
    return choose(arrays, kind, size, cost, missing, forced, forked=_forked, threads=threads, crossover=table.threads, numba=table.numba)


class _Missing(Mapping[str, "str | None"]):
    """For each backend why it is missing, asked only when it matters."""

    def __getitem__(self, name: str) -> str | None:
        return registry.available(name)

    def __iter__(self) -> Iterator[str]:
        return iter(registry.REGISTRY)

    def __len__(self) -> int:
        return len(registry.REGISTRY)


# ---------------------------------------------------------------- what is there


@dataclass(frozen=True)
class BackendInfo:
    """What is known of a backend."""

    name: str
    available: bool
    reason: str | None
    version: str | None
    details: dict[str, Any]

    def __str__(self) -> str:
        if not self.available:
            return f"{self.name:8} missing: {self.reason}"
        return f"{self.name:8} {self.version}; " + ", ".join(f"{key}: {value}" for key, value in self.details.items())


class Backends(dict[str, BackendInfo]):
    """Name -> `BackendInfo`, printed one a line."""

    def __repr__(self) -> str:
        return "\n".join(map(str, self.values()))


def backends() -> Backends:
    """List every backend: version, devices or instruction set, or why it is missing.

    Returns
    -------
    dict of str to BackendInfo
        With fields ``available``, ``reason``, ``version`` and ``details``.

    Examples
    --------
    >>> import fastact
    >>> fastact.backends()["cython"].available
    True
    """
    found = Backends()
    for name in registry.REGISTRY:
        reason = registry.available(name)
        backend = registry.get(name)
        there = reason is None
        found[name] = BackendInfo(name, there, reason, backend.version() if there else None, backend.details() if there else {})
    return found
