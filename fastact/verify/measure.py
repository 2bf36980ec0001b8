"""The worst errors of a function, in units in the last place: ours in both accuracies, and its peers' on the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..activation import ACTIVATIONS
from ..arrays.common import KINDS
from ..kernels.definitions import DEFINITIONS
from ..kernels.definitions.language import DERIVATIVE_BOUND, evaluate
from ..reference import REFERENCE
from ..ulp import AT_ROOT, BOUNDS, Worst, float32_bit_patterns, worst, wrong_zeros
from .peers import peer

Array = np.ndarray[Any, Any]

PATTERNS = 2**32
#: Inputs that are judged together: what belongs to them stays in the second-level cache, which is worth a factor of three.
BLOCK = 2**15
DIRECTIONS = ("value", "derivative", "second_derivative")
#: What is measured: our accuracies, then the peers.
COLUMNS = ("fast", "precise", "torch", "jax")


class Case(NamedTuple):
    """One function in one direction and type."""

    name: str
    kind: str
    direction: str


class Task(NamedTuple):
    """Some inputs of a case: by bit pattern, from `offset` to `stop` in steps."""

    case: Case
    columns: tuple[str, ...]
    offset: int
    stop: int
    step: int
    backend: str | None


class Found(NamedTuple):
    """The worst error, the worst next to a root (in units of 2^-precision), how many zeros have the wrong sign."""

    error: Worst = Worst()
    root: Worst = Worst()
    zeros: int = 0

    def merged(self, other: Found) -> Found:
        """The worse of both."""
        return Found(max(self.error, other.error, key=_size), max(self.root, other.root, key=_size), self.zeros + other.zeros)


def _size(w: Worst) -> float:
    return w.error


def cases(names: list[str], kinds: list[str], directions: list[str]) -> Iterator[Case]:
    """The cases there are."""
    for name in names:
        for kind in kinds:
            for direction in directions:
                if direction in DEFINITIONS[name].roles:
                    yield Case(name, kind, direction)


def bound(case: Case, column: str) -> float:
    """What is promised, in ULP."""
    if case.kind != "float32":
        return (4.0 if case.direction == "second_derivative" else 2.0) if case.kind == "float64" else BOUNDS["precise"]
    if column == "precise" or case.direction == "second_derivative":
        return BOUNDS["precise"]
    return DEFINITIONS[case.name].bound if case.direction == "value" else DERIVATIVE_BOUND


def holds(case: Case, column: str, found: Found) -> bool:
    """Whether the promise is kept; halves add their own rounding next to a root."""
    at_root = {"float32": AT_ROOT, "float64": 2.0 if case.direction == "second_derivative" else 1.0}.get(case.kind, 2.0**10)
    return found.error.error <= bound(case, column) and found.root.error <= at_root and not found.zeros


def parameters(name: str, dtype: Any) -> tuple[float, ...]:
    """The defaults as `dtype` holds them; the first example where one has none."""
    params = DEFINITIONS[name].params
    given = DEFINITIONS[name].examples[0] if None in params.values() else tuple(params.values())
    return tuple(float(np.asarray(p).astype(dtype)) for p in given)


def dtype_of(kind: str) -> np.dtype[Any]:
    """The dtype of that name."""
    if kind == "bfloat16":
        import ml_dtypes

        found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return found
    return np.dtype(kind)


def tasks(case: Case, columns: tuple[str, ...], step: int, backend: str | None, span: int = 2**22) -> list[Task]:
    """A case in pieces of some seconds. Halves are tried on every input there is, float64 on the points that mpmath has time for."""
    if case.kind == "float32":
        return [Task(case, columns, o, min(o + span * step, PATTERNS), step, backend) for o in range(0, PATTERNS, span * step)]
    return [Task(case, columns, 0, 2**16, 1, backend)]


def run(task: Task) -> dict[str, Found]:
    """The worst errors by column."""
    case = task.case
    functions = {column: f for column in task.columns if (f := _function(case, column, task.backend))}
    found = dict.fromkeys(functions, Found())
    for x, exact in _inputs(task):
        for column, function in functions.items():
            computed_wide = case.kind == "float64" or column == "precise" or case.direction == "second_derivative"
            reach = DEFINITIONS[case.name].reach.get("float64" if computed_wide else "float32", np.inf)
            with np.errstate(all="ignore"):
                keep = ~(np.abs(x.astype(np.float64)) > reach) & off_kinks(case, x)
                judged = x[keep]
                truth = tuple(e[keep] for e in exact) if isinstance(exact, tuple) else exact[keep]
                result = function(judged)
                found[column] = found[column].merged(_judge(case, judged, result, truth, ours=column in BOUNDS))
    return found


def off_kinks(case: Case, x: Array) -> Array:
    """Where the derivative is the same from both sides: at its jumps there are conventions, not errors."""
    definition = DEFINITIONS[case.name]
    if case.direction == "value" or not definition.kinks:
        return np.ones(x.shape, bool)
    by_name = dict(zip(definition.params, parameters(case.name, x.dtype), strict=True))
    return ~np.isin(x.astype(np.float64), [evaluate(at, by_name) for at in definition.kinks])


def _judge(case: Case, x: Array, result: Array, exact: Any, ours: bool) -> Found:
    ordinary, root = worst(x, result, exact, DEFINITIONS[case.name].roots.get(case.direction, ()))
    high = exact[0] if isinstance(exact, tuple) else exact
    if isinstance(exact, tuple):  # mpmath's zeros have no sign
        high = getattr(REFERENCE[case.name], case.direction)(x, *parameters(case.name, x.dtype))
    return Found(ordinary, root, int(wrong_zeros(result, high).size) if ours else 0)


def _inputs(task: Task) -> Iterator[tuple[Array, Any]]:
    """Blocks of inputs and the exact results."""
    case = task.case
    dtype = dtype_of(case.kind)
    params = parameters(case.name, dtype)
    oracle = getattr(REFERENCE[case.name], case.direction)
    if case.kind == "float64":
        from . import truth

        x = np.append(truth.points(DEFINITIONS[case.name].roots.get(case.direction, ())), -0.0)
        x = x[np.abs(x) <= DEFINITIONS[case.name].reach.get("float64", np.inf)]
        yield x, truth.exact(case.name, case.direction, x, *params)
        return
    size = BLOCK * task.step
    for offset in range(task.offset, task.stop, size):
        stop = min(offset + size, task.stop)
        x = (
            float32_bit_patterns(task.step, offset, stop)
            if case.kind == "float32"
            else np.arange(offset, stop, dtype=np.uint16).view(dtype)
        )
        yield x, oracle(x, *params)


def _function(case: Case, column: str, backend: str | None) -> Callable[[Array], Array] | None:
    """What is judged; None if there is no such thing."""
    if column in BOUNDS:
        if column == "precise" and (case.kind == "float64" or case.direction == "second_derivative"):
            return None
        activation = ACTIVATIONS[case.name]
        call = activation if case.direction == "value" else activation.derivative
        options = {"order": 2} if case.direction == "second_derivative" else {}
        params = parameters(case.name, dtype_of(case.kind))
        return lambda x: call(x, *params, accuracy=column, backend=backend, **options)
    return peer(case.name, column).get(case.direction)


__all__ = ["COLUMNS", "DIRECTIONS", "KINDS", "Case", "Found", "Task", "bound", "cases", "holds", "run", "tasks"]
