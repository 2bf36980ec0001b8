"""Which elementwise kernels may divide more cheaply where elements are halves: tried on all 65,536 of them.

    python tests/halves.py               # writes the table of fastact/backends/halves.py anew; a few minutes
    python tests/halves.py gelu mish     # the rows of some activations

A kernel passes with a form of division (``kernels/cuda/brief.cuh``) if, whatever a reciprocal's last bit, it gives bfloat16's results of
IEEE division to the bit, and float16's within 0.51 ULP of the true value, for every half, the default parameters and others.
"""

from __future__ import annotations

import ast
import ctypes
import itertools
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import common
import numpy as np
from cuda_host import aligned, bits, build, launch

import fastact
from fastact.backends import cupy as adapter
from fastact.backends import halves
from fastact.kernels import lower
from fastact.kernels.definitions import DEFINITIONS

PROGRAM = lower.parse()
DTYPES = {kind: dtype for kind, dtype in common.DTYPES.items() if dtype.itemsize == 2}
#: How far reciprocals are off, in ULP: all none, all one up or down, and by the operand's bits.
OFF = (0, 1, -1, 2)
GRADS = (1.0, -0.75, 3.0, 1e-3)
#: Parameters besides the defaults: what is next to nothing, and large.
OTHERS = (0.0, 1e-3, 0.3, 2.0, 300.0)


def divides(operation: lower.Operation) -> bool:
    """Whether there is a division in what its float32 kernel computes."""
    if "float32" not in operation.types:
        return False
    bodies = (f.bodies["float32"] for f in PROGRAM.needed([operation.function]))
    return any(isinstance(node, ast.Div) for body in bodies for node in ast.walk(body))


OPERATIONS = {name: o for name, o in PROGRAM.operations.items() if o.activation.family == "elementwise" and divides(o)}


class Kernels:
    """Kernels of some operations in every form of division, built for the CPU.

    Parameters
    ----------
    names
        Of operations.
    kind
        How elements are stored.
    folder
        For the library.
    """

    def __init__(self, names: list[str], kind: str, folder: Path) -> None:
        self.kind, path = kind, folder / f"{kind}_{names[0]}.so"
        entries = [
            adapter.elementwise_entry(OPERATIONS[name], kind, False, f"{form}_{name}", form=form)
            for name in names
            for form in ("EXACT", *halves.FORMS)
        ]
        build(adapter.unit(names, "elementwise.cuh", entries), path)
        self.library = ctypes.CDLL(str(path))

    def run(self, operation: lower.Operation, form: str, off: int, arrays: list[np.ndarray], params: tuple[float, ...]) -> list[np.ndarray]:
        """The outputs, with reciprocals that are `off`."""
        n, dtype = arrays[0].size, DTYPES[self.kind]
        outs = [np.empty(n, dtype if k < operation.stored else np.float32) for k in range(operation.outputs)]
        self.library.reciprocals_off(off)
        given = [v for a in arrays for v in (a.ctypes.data, np.float32(0))] + [v for p in params for v in (0, np.float32(p))]
        grid = -(-n // (adapter.THREADS * (16 // adapter.ITEMSIZE[self.kind])))
        args = (*given, *(o.ctypes.data for o in outs), n, adapter.ALIGNED)
        launch(self.library, f"{form}_{operation.function}", grid, adapter.THREADS, args)
        return outs


def parameter_sets(operation: lower.Operation, kind: str) -> Iterator[tuple[float, ...]]:
    """The defaults, the examples, and each of `OTHERS` in every place, as halves."""
    d = DEFINITIONS.get(operation.activation.name)
    if d is None:  # an elementary function
        yield ()
        return
    many = len(d.params)
    found = [tuple(d.params.values())] * (None not in d.params.values()) + list(d.examples)
    if many:
        found += [tuple(s) for s in (itertools.product(OTHERS, repeat=many) if many < 3 else [(v,) * many for v in OTHERS])]
    for values in dict.fromkeys(found):
        yield tuple(float(np.asarray(v, DTYPES[kind])) for v in values)


def true_values(operation: lower.Operation, arrays: list[np.ndarray], params: tuple[float, ...]) -> tuple[np.ndarray, ...] | None:
    """From float64 kernels; None where there are none to be called so."""
    f = getattr(fastact, operation.activation.name)
    calls = {"value": f, "derivative": f.derivative, "value_and_derivative": f.value_and_derivative, "backward": f.backward}
    if "derivative_from_output" in DEFINITIONS[operation.activation.name].roles:
        calls["backward_from_output"] = f.backward_from_output
    if operation.direction not in calls:
        return None
    found = calls[operation.direction](*(a.astype(np.float64) for a in arrays), *params, backend="cython")
    return found if isinstance(found, tuple) else (found,)


def passes(kernels: Kernels, operation: lower.Operation, form: str) -> str:
    """Nothing, or what speaks against that form."""
    kind = kernels.kind
    x = aligned(np.arange(65536, dtype=np.uint16).view(DTYPES[kind]), DTYPES[kind])
    arrays = [aligned(np.resize(np.asarray(GRADS, x.dtype), x.size), x.dtype), x][2 - operation.arrays :]
    for params in parameter_sets(operation, kind):
        wanted = kernels.run(operation, "EXACT", 0, arrays, params)
        for off in OFF:
            found = kernels.run(operation, form, off, arrays, params)
            for k, (one, right) in enumerate(zip(found, wanted, strict=True)):
                wrong = bits(one) != bits(right)
                if k >= operation.stored:  # terms in float32, still to be summed
                    with np.errstate(all="ignore"):
                        wrong &= ~(np.abs(one - right) <= 1e-6 * np.abs(right) + 1e-30)
                elif kind == "float16" and wrong.any():
                    wrong &= far(operation, k, one, arrays, params)
                if wrong.any():
                    at = np.flatnonzero(wrong)[0]
                    return f"{wrong.sum()} differ, first {one[at]!r}, not {right[at]!r} at x = {x[at]!r} {params} (reciprocals {off} off)"
    return ""


def far(operation: lower.Operation, k: int, found: np.ndarray, arrays: list[np.ndarray], params: tuple[float, ...]) -> np.ndarray:
    """Which float16 results are more than 0.51 ULP from the true value, or cannot be judged."""
    try:
        true = true_values(operation, arrays, params)
    except ValueError:  # parameters that are refused
        true = None
    if true is None:
        return np.ones(found.size, bool)
    with np.errstate(all="ignore"):
        ulp = np.spacing(np.abs(true[k]).astype(np.float16)).astype(np.float64)
        return ~(np.abs(found.astype(np.float64) - true[k]) <= 0.51 * ulp)


def table(kind: str, names: list[str], folder: Path) -> dict[str, list[str]]:
    """By form the operations of `names` that have it: the cheapest that passes."""
    found: dict[str, list[str]] = {form: [] for form in halves.FORMS}
    for start in range(0, len(names), 12):
        part = names[start : start + 12]
        kernels = Kernels(part, kind, folder)
        for name in part:
            for form in halves.FORMS:
                problem = passes(kernels, OPERATIONS[name], form)
                print(kind, name, form, problem or "passes", flush=True)
                if not problem:
                    found[form].append(name)
                    break
    return found


def write(found: dict[str, dict[str, list[str]]], names: list[str]) -> None:
    """Put what was found for `names` into the table; the rest stays."""
    path = Path(halves.__file__)
    text, mark = path.read_text(), "#: Written by tests/halves.py."
    lines = []
    for kind, forms in found.items():
        for form, passed in forms.items():
            kept = halves.PASSED.get((kind, form), set()).intersection(OPERATIONS).difference(names)
            lines += [f'    ("{kind}", "{form}"): {{', *(f'        "{name}",' for name in OPERATIONS if name in {*kept, *passed}), "    },"]
    path.write_text(text[: text.index(mark)] + "\n".join([mark, "PASSED: dict[tuple[str, str], set[str]] = {", *lines, "}", ""]))


def main() -> None:
    """Write the table."""
    names = [name for name, o in OPERATIONS.items() if o.activation.name in sys.argv[1:] or not sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        found = dict(zip(DTYPES, pool.map(lambda kind: table(kind, names, Path(folder)), DTYPES), strict=True))
    write(found, names)


if __name__ == "__main__":
    main()
