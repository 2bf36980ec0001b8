"""The rows of the speed suite, described here alone: ``benchmarks/``, the regression check and the report all time these.

A row is a backend, a function, a direction, a dtype and a size; all of them come from the registries.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from .. import ACTIVATIONS, explain, registry
from ..activation import INPUTS, Explanation
from ..arrays.common import KINDS

#: Elements: the cost of a call, second-level cache, last-level cache, memory.
SIZES = (1 << 8, 1 << 16, 1 << 20, 1 << 24)
#: The backend of rows that leave the choice to fastact.
AUTOMATIC = "auto"
#: The length of a row, for row-wise functions.
WIDTH = 1 << 10
#: Elements that a thread gets at least.
PIECE = 1 << 14


@dataclass(frozen=True)
class Row:
    """One thing to time; as a string, for example, ``numba-gelu-backward-float32-1048576``.

    Attributes
    ----------
    backend : str
        Of `fastact.registry.REGISTRY`, or `AUTOMATIC`.
    function, direction, kind : str
        What is computed, and the dtype's name.
    size : int
        How many elements.
    """

    backend: str
    function: str
    direction: str
    kind: str
    size: int

    def __str__(self) -> str:
        return f"{self.backend}-{self.function}-{self.direction}-{self.kind}-{self.size}"

    @property
    def cost(self) -> str:
        """The function's cost class."""
        return str(ACTIVATIONS[self.function].definition.cost)

    @property
    def bytes(self) -> int:
        """The bytes that have to move: every input read once, every result written once."""
        results = 2 if self.direction == "value_and_derivative" else 1
        return (len(INPUTS[self.direction]) + results) * self.size * dtype(self.kind).itemsize

    @property
    def library(self) -> str:
        """The kind of array."""
        return "numpy" if self.backend == AUTOMATIC else registry.get(self.backend).arrays

    @property
    def served_by(self) -> str:
        """The backend that runs it."""
        return self.backend if self.backend != AUTOMATIC else self._explained.backend

    @property
    def threads(self) -> int:
        """How many threads it runs on."""
        if self.library != "numpy":
            return 1
        return max(1, min(self._explained.threads, self.size // PIECE))

    @property
    def _explained(self) -> Explanation:
        array = np.broadcast_to(np.zeros((), dtype(self.kind)), self.size)
        return explain(ACTIVATIONS[self.function], array, backend=None if self.backend == AUTOMATIC else self.backend)

    def prepare(self) -> Callable[[], object]:
        """What to time: a call into an existing result, on arrays of its own, complete when it returns."""
        function = ACTIVATIONS[self.function]
        definition, call = function.definition, function if self.direction == "value" else getattr(function, self.direction)
        width = min(self.size, WIDTH) if definition.family == "rowwise" else self.size
        x = np.resize(_numbers(), (self.size // width, width)).astype(dtype(self.kind))
        library = importlib.import_module(self.library)
        params = definition.examples[0] if None in definition.params.values() else tuple(definition.params.values())
        given = [*(library.array(x) for _ in INPUTS[self.direction]), *params]
        out = library.empty_like(given[0])
        learnable = definition.learnable if self.direction == "backward" else ()
        options: dict[str, Any] = {"out": (out, *(None for _ in learnable)) if learnable else out}
        if self.direction == "value_and_derivative":
            options["out"] = (out, library.empty_like(out))
        if self.backend != AUTOMATIC:
            options["backend"] = self.backend
        run = functools.partial(call, *given, **options)
        if self.library == "numpy":
            return run
        wait = library.cuda.get_current_stream().synchronize
        return lambda: (run(), wait())


@functools.cache
def _numbers() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(scale=3.0, size=1 << 16)


def dtype(kind: str) -> np.dtype[Any]:
    """The dtype of that name."""
    return np.dtype(importlib.import_module("ml_dtypes").bfloat16 if kind == "bfloat16" else kind)


def kinds() -> tuple[str, ...]:
    """The dtypes that arrays can have here."""
    return tuple(kind for kind in KINDS if kind != "bfloat16" or find_spec("ml_dtypes"))


def backends() -> tuple[str, ...]:
    """Automatic choice, and the backends that work here."""
    return (AUTOMATIC, *(name for name in registry.REGISTRY if registry.available(name) is None))


def directions(function: str) -> tuple[str, ...]:
    """The directions that a function has."""
    definition = ACTIVATIONS[function].definition
    if definition.family == "rowwise":
        return tuple(d for d in INPUTS if d == "value" or hasattr(ACTIVATIONS[function], d))
    return tuple(d for d in INPUTS if d != "backward_from_output" or "derivative_from_output" in definition.roles)


def mainstream() -> tuple[str, ...]:
    """The functions that most models are made of: those with the tighter bound, and of the row-wise ones these."""
    return tuple(name for name, f in ACTIVATIONS.items() if f.definition.bound < 4.0 or name in ("softmax", "log_softmax"))


def rows(
    backends: Iterable[str], functions: Iterable[str] | None = None, kinds: Iterable[str] | None = None, sizes: Iterable[int] = SIZES
) -> Iterator[Row]:
    """All rows of the given backends; of all functions and dtypes unless some are named."""
    functions, kinds, sizes = tuple(functions or ACTIVATIONS), tuple(kinds or _kinds()), tuple(sizes)
    for backend in backends:
        for function in functions:
            for direction in directions(function):
                for kind in kinds:
                    for size in sizes:
                        yield Row(backend, function, direction, kind, size)


_kinds = kinds
