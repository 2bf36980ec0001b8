"""Measure definitions while they are being written, without building the package: lowered, compiled alone, judged.

    python tools/try_definitions.py silu mish --role derivative

float32 is judged by the oracle on every --step-th bit pattern (and every one near 0), float64 by mpmath. Prints the worst errors in
ULP and where they are, wrong signs of zeros, and nanoseconds an element on one core in cache. Needs g++ and a processor with AVX2.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
# The package's own __init__ wants compiled loops; here its parts are enough.
for name, path in ("fastact", ROOT / "fastact"), ("fastact.kernels", ROOT / "kernels"), ("fastact.verify", ROOT / "fastact" / "verify"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(path)]

from fastact.kernels import lower  # noqa: E402
from fastact.kernels.definitions import DEFINITIONS, language  # noqa: E402
from fastact.reference import REFERENCE  # noqa: E402
from fastact.ulp import float32_bit_patterns, next_to_root, ulp_error, unit_exponent, wrong_zeros  # noqa: E402

FLAGS = ["-std=c++17", "-O2", "-g0", "-fwrapv", "-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno", "-fPIC", "-shared"]
FLAGS += ["-mavx2", "-mfma", "-mf16c", "-DFASTACT_ISA=v3", "-DFASTACT_VECTOR_BYTES=32", "-DFASTACT_F16C=1", "-DFASTACT_PART=0"]
FLAGS += ['-DFASTACT_OPERATIONS="operations.hpp"']


class Entry(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), *((n, ctypes.c_int) for n in ("inputs", "outputs", "arrays", "stored", "unit_gradient")),
        ("loop32", ctypes.c_void_p), ("loop64", ctypes.c_void_p), ("derivative32", ctypes.c_void_p), ("derivative64", ctypes.c_void_p),
    ]  # fmt: skip


class Table(ctypes.Structure):
    _fields_ = [("entries", ctypes.c_int), ("entry", ctypes.POINTER(Entry))]


LOOP = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


def build(program: lower.Program, operations: list[str]) -> dict[str, Entry]:
    """The entries of `operations`, compiled for AVX2."""
    with tempfile.TemporaryDirectory() as folder:
        functions = [program.operations[o].function for o in operations]
        needed = functions + [
            f"{program.operations[o].activation.name}_backward" for o in operations if program.operations[o].unit_gradient
        ]
        Path(folder, "definitions.hpp").write_text(lower.to_cxx(program, needed))
        text = lower.to_cxx_operations(program, operations)
        missing = [f"{program.operations[o].activation.name}_backward" for o in operations if program.operations[o].unit_gradient]
        text = text.replace("using Plain", lower.to_cxx_structs(program, [m for m in missing if m not in operations]) + "\nusing Plain", 1)
        Path(folder, "operations.hpp").write_text(text)
        out = Path(folder, "loops.so")
        cpu = ROOT / "kernels" / "cpu"
        done = subprocess.run(
            ["g++", *FLAGS, f"-I{folder}", f"-I{cpu}", str(cpu / "isa.cpp"), "-o", str(out)], capture_output=True, text=True
        )
        if done.returncode:
            sys.exit("\n".join(line for line in done.stderr.splitlines() if "error" in line or "required from" in line)[:4000])
        library = ctypes.CDLL(str(out))
    table = Table.in_dll(library, "fastact_table_v3_0")
    return {table.entry[i].name.decode(): table.entry[i] for i in range(table.entries)}


def run(entry: Entry, arrays: list[np.ndarray], params: tuple[float, ...]) -> list[np.ndarray]:
    """The outputs of a loop over arrays of its working type."""
    x = arrays[-1]
    numbers = [np.full(64, p, x.dtype) for p in params]
    inputs, steps = [*arrays, *numbers], [1] * len(arrays) + [0] * len(params)
    if entry.unit_gradient:
        inputs, steps = [np.ones(64, x.dtype), *inputs], [0, *steps]
    outs = [np.empty_like(x) for _ in range(entry.outputs)]
    pointers = (ctypes.c_void_p * len(inputs))(*(a.ctypes.data for a in inputs))
    targets = (ctypes.c_void_p * len(outs))(*(a.ctypes.data for a in outs))
    address = entry.loop32 if x.dtype == np.float32 else entry.loop64
    LOOP(address)(pointers, (ctypes.c_ssize_t * len(steps))(*steps), targets, x.size)
    return outs


def report(
    label: str, x: np.ndarray, result: np.ndarray, exact: object, roots: tuple[float, ...], bound: float, signs: np.ndarray | None
) -> None:
    """One line: the worst error, and the worst next to a root in units of 2^-precision."""
    high = exact[0] if isinstance(exact, tuple) else exact
    error = ulp_error(result, exact)
    near = next_to_root(x, high, roots)
    precision = 24 if result.dtype == np.float32 else 53
    close = np.ldexp(error[near], unit_exponent(high[near], result.dtype) + precision).max(initial=0.0)
    error[near] = 0.0
    order = np.argsort(error)[::-1]
    i = order[0]
    wrong = wrong_zeros(result, high if signs is None else signs)
    flag = (
        ""
        if error[i] <= bound and not wrong.size
        else "  <-- TOO LARGE"
        if error[i] > bound
        else "  <-- SIGN OF ZERO at " + repr(float(x[wrong[0]]))
    )
    if close > (4.0 if "second" in label else 1.0):
        flag += "  <-- NEXT TO ROOT"
    print(f"{label:<44}{error[i]:>10.3f} ULP at x = {float(x[i])!r}: {float(result[i])!r}, exactly {float(high[i])!r}"
          + (f"; next to roots {close:.2f} * 2^-{precision}" if near.any() else "") + flag)  # fmt: skip
    if error[i] > bound:
        for j in order[1:2000:400]:
            print(f"{'':<44}{error[j]:>10.3f} ULP at x = {float(x[j])!r}: {float(result[j])!r}, exactly {float(high[j])!r}")


def main() -> None:
    """The command line."""
    roles = ["value", "derivative", "second_derivative", "gradient"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--role", action="append", choices=roles, help="only this one; may be repeated")
    parser.add_argument("--type", choices=["float32", "float64"], help="only this one")
    parser.add_argument("--step", type=int, default=4099)
    parser.add_argument("--params", type=float, nargs="*", help="instead of the defaults")
    parser.add_argument("--precise", action="store_true", help="float64 loops rounded to float32, as accuracy='precise' does")
    options = parser.parse_args()
    from fastact.verify.truth import PARAMETERS, exact, points

    files = {Path(sys.modules[f"fastact.kernels.definitions.{m}"].__file__) for m in vars(sys.modules["fastact.kernels.definitions"])
             if f"fastact.kernels.definitions.{m}" in sys.modules}  # fmt: skip
    program = lower.parse(sorted(f for f in files if f.name != "language.py"))
    wanted = options.role or roles
    operations = []
    for name in options.names:
        d = DEFINITIONS[name]
        operations += [
            f"{name}_{r}" for r in ("value", "derivative", "second_derivative") if r in wanted and f"{name}_{r}" in program.operations
        ]
        if "gradient" in wanted and d.learnable:
            operations.append(f"{name}_backward")
    entries = build(program, operations)
    x32 = np.concatenate([float32_bit_patterns(options.step), np.linspace(-12, 12, 400_003, dtype=np.float32),
                          np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45], np.float32)])  # fmt: skip
    noise = np.random.default_rng(0).standard_normal(1 << 16) * 3
    for name in options.names:
        d = DEFINITIONS[name]
        defaults = d.examples[0] if None in d.params.values() else tuple(d.params.values())
        tried = [tuple(options.params)] if options.params else [defaults, *(p for p in PARAMETERS.get(name, []) if tuple(p) != defaults)]
        for params in tried:
            for operation in (o for o in operations if program.operations[o].activation.name == name):
                entry, direction = entries[operation], program.operations[operation].direction
                outputs = [(i + 1, f"gradient_{p}") for i, p in enumerate(d.learnable)] if direction == "backward" else [(0, direction)]
                for index, role in outputs:
                    oracle = REFERENCE[name].gradients[role[9:]] if direction == "backward" else getattr(REFERENCE[name], role)
                    roots = d.roots.get(role, ())
                    bound = d.bound if role == "value" else language.DERIVATIVE_BOUND
                    if options.type != "float64":
                        wide = options.precise or direction == "second_derivative"
                        seen = tuple(float(np.float32(p)) for p in params)
                        x = x32[~(np.abs(x32) > d.reach.get("float64" if wide else "float32", np.inf))]
                        arrays = [np.ones_like(x), x] if direction == "backward" else [x]
                        with np.errstate(all="ignore"):
                            result = run(entry, [a.astype(np.float64) for a in arrays] if wide else arrays, seen)[index].astype(np.float32)
                        report(f"{name}{params or ''} {role} float32", x, result, oracle(x, *seen), roots, 0.51 if wide else bound, None)
                    if options.type != "float32":
                        x = points(roots)
                        x = x[np.abs(x) <= d.reach.get("float64", np.inf)]
                        arrays = [np.ones_like(x), x] if direction == "backward" else [x]
                        result = run(entry, arrays, params)[index]
                        high = exact(name, role, x, *params)
                        report(
                            f"{name}{params or ''} {role} float64",
                            x,
                            result,
                            high,
                            roots,
                            4.0 if "second" in role else 2.0,
                            oracle(x, *params),
                        )
                timings = []
                for kind in [t for t in (np.float32, np.float64) if np.dtype(t).name in program.operations[operation].types]:
                    x, best = noise.astype(kind), np.inf
                    for _ in range(25):
                        began = time.perf_counter()
                        run(entry, [x] * program.operations[operation].arrays, params)
                        best = min(best, time.perf_counter() - began)
                    timings.append(f"{np.dtype(kind).name} {best / x.size * 1e9:.2f}")
                print(f"{'':<44}ns an element: {', '.join(timings)}")


if __name__ == "__main__":
    main()
