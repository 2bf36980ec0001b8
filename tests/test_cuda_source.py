"""The CUDA source without a GPU: NVRTC compiles it for real devices, and built for the CPU behind a shim it gives the CPU's bits."""

from __future__ import annotations

import ctypes
import os
import types
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from common import ELEMENTWISE, TWELVE, chained, directions
from common import params as default_params
from cuda_host import COMPILER, aligned, bits, build, launch

from fastact.backends import cuda_rows, nvrtc, pipelines, stages
from fastact.backends import cupy as adapter
from fastact.kernels import lower
from fastact.kernels.definitions import DEFINITIONS, language

PROGRAM = lower.parse()
#: Losses are judged with the families that they belong to: tests/test_cuda_families.py.
OPERATIONS = {name: o for name, o in PROGRAM.operations.items() if o.activation.family == "elementwise"}
#: Row programs and their directions, each with what a call of it has at least.
ROWS = [
    (program, direction, ("RESULT", *needs))
    for programs, directions, needs in (
        (("softmax", "log_softmax", "hardmax", "sparsemax", "entmax15", "entmax"), ("value",), ()),
        (("softmax", "log_softmax", "hardmax", "sparsemax", "entmax15", "entmax"), ("backward",), ("GRAD",)),
        (("softmax", "log_softmax", "sparsemax", "entmax15", "entmax"), ("backward_from_output",), ("GRAD",)),
        (("cross_entropy", "multi_margin"), ("value_and_grad",), ("LABELS",)),
    )
    for program in programs
    for direction in directions
]
#: How elements are stored, and whether the kernel computes in float64.
VARIANTS = [("float32", False), ("float64", True), ("float32", True), *((k, w) for k in ("float16", "bfloat16") for w in (False, True))]
DTYPES = {k: np.dtype(ml_dtypes.bfloat16 if k == "bfloat16" else k) for k in adapter.ITEMSIZE}

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


#: What takes a C++ compiler long is tried on twelve functions, and on the values of all in float32.
FEW = [name for name, o in OPERATIONS.items() if o.activation.name in TWELVE]
VALUES = [name for name, o in OPERATIONS.items() if o.direction == "value"]


def every_elementwise(kind: str, wide: bool, names: list[str]) -> str:
    """One unit with elementwise operations, the entry point of each named after it."""
    fitting = [name for name in names if working(kind, wide) in OPERATIONS[name].types]
    form = "EXACT" if kind == "float16" else None  # whose cheaper division may show: tests/test_cuda_halves.py
    entries = [adapter.elementwise_entry(OPERATIONS[name], kind, wide, f"run_{name}", form=form) for name in fitting]
    return adapter.unit(fitting, "elementwise.cuh", entries)


def working(kind: str, wide: bool) -> str:
    """The type that is computed in."""
    return "float64" if wide or kind == "float64" else "float32"


def rows(*args: Any) -> str:
    """One unit with a row program; the arguments are those of `rows_entries`."""
    return adapter.unit(list(cuda_rows.row_terms()), "rows.cuh", cuda_rows.rows_entries(*args))


#: silu(a + bias) * b * weight, with the sum of its parts that the bias needs.
PIPELINE = adapter.unit(
    ["silu_value_and_derivative"],
    "pipeline.cuh",
    stages.stage_entries(
        stages.Stage(
            ("silu_value_and_derivative",),
            ("a", "b", "grad", "a_bias"),
            (),
            "\n".join(stages.product_backward([stages.Factor("a", "silu", bias=True), stages.Factor("b")], False, False)[0]),
            (("da", "a_d"), ("db", "b_d")),
            ("a_d",),
            result="float64",
        ),
        stages.Form("bfloat16", False, 1, 1, 8, access=("passing", "passing", "passing", "vector", "passing", "passing")),
    ),
)
MASK = adapter.unit(["leaky_relu_value_and_derivative"], "pipeline.cuh", [pipelines.mask_entry("leaky_relu", ["a_p0"], "float16", False)])


# ---------------------------------------------------------------- NVRTC


@pytest.fixture(scope="module")
def compiler() -> nvrtc.Nvrtc:
    try:
        return nvrtc.load()
    except nvrtc.NvrtcError as missing:
        if os.environ.get("CI"):
            raise  # nothing else compiles the CUDA source there
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_operation_compiles(compiler: nvrtc.Nvrtc, name: str) -> None:
    """In every direction, float32, and the second derivative in float64."""
    own = [n for n, o in OPERATIONS.items() if o.activation.name == name]
    for kind, wide, names in ("float32", False, own), ("float32", True, [n for n in own if OPERATIONS[n].types == ("float64",)]):
        if names:
            image = compiler.compile(every_elementwise(kind, wide, names), "sm_90")
            assert image.startswith(b"\x7fELF")
            assert all(f"run_{n}".encode() in image for n in names if working(kind, wide) in OPERATIONS[n].types)


@pytest.mark.parametrize(("kind", "wide"), VARIANTS)
def test_every_variant_compiles(compiler: nvrtc.Nvrtc, kind: str, wide: bool) -> None:
    for name in ("prelu_backward", "gelu_value"):
        text = adapter.unit([name], "elementwise.cuh", [adapter.elementwise_entry(OPERATIONS[name], kind, wide)])
        assert compiler.compile(text, "sm_90").startswith(b"\x7fELF")


@pytest.mark.parametrize(("program", "direction", "features"), ROWS)
def test_every_row_program_compiles(compiler: nvrtc.Nvrtc, program: str, direction: str, features: tuple[str, ...]) -> None:
    assert compiler.compile(rows(program, direction, "float32", False, "Block", features), "sm_90").startswith(b"\x7fELF")


@pytest.mark.parametrize("team", cuda_rows.TEAMS)
@pytest.mark.parametrize(("kind", "wide"), VARIANTS)
def test_every_variant_of_rows_compiles(compiler: nvrtc.Nvrtc, kind: str, wide: bool, team: str) -> None:
    """With all that a call may have."""
    features = [f for f in cuda_rows.FEATURES if f not in ("SOFT", "WEIGHT", "HARD", "LABELS", "LSE", "NOISE")]
    image = compiler.compile(rows("softmax", "backward", kind, wide, team, features), "sm_90")
    assert b"row_program" in image
    assert b"fold_bias" in image


HOPPER = (90, 227 * 1024)


@pytest.mark.parametrize(("program", "direction", "features"), ROWS)
def test_every_row_program_compiles_on_chip(compiler: nvrtc.Nvrtc, program: str, direction: str, features: tuple[str, ...]) -> None:
    """By a block, where they may be."""
    if program == "entmax" or "DBIAS" in features:
        pytest.skip("the general executor's")
    plan = cuda_rows.plan("float32", 4096, 1 + ("GRAD" in features), "RESULT" not in features, False, HOPPER)
    text = adapter.unit(list(cuda_rows.row_terms()), "onchip.cuh", cuda_rows.on_chip_entries(program, direction, "float32", plan, features))
    assert compiler.compile(text, "sm_90").startswith(b"\x7fELF")


@pytest.mark.exhaustive
@pytest.mark.parametrize(("kind", "wide"), VARIANTS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_operation_compiles_in_every_type(compiler: nvrtc.Nvrtc, name: str, kind: str, wide: bool) -> None:
    names = [n for n, o in OPERATIONS.items() if o.activation.name == name and working(kind, wide) in o.types]
    if names:
        assert compiler.compile(every_elementwise(kind, wide, names), "sm_90").startswith(b"\x7fELF")


@pytest.mark.parametrize("architecture", [80, 89, 100, 120])
def test_templates_compile_for_other_devices(compiler: nvrtc.Nvrtc, architecture: int) -> None:
    if architecture > compiler.architectures[-1]:
        pytest.skip(f"{compiler!r} does not know {architecture / 10}")
    target = compiler.target(architecture)
    elementwise = adapter.unit(["silu_value"], "elementwise.cuh", [adapter.elementwise_entry(OPERATIONS["silu_value"], "bfloat16", False)])
    texts = (elementwise, rows("softmax", "backward", "bfloat16", False, "Warp", ("RESULT", "GRAD")), PIPELINE, MASK)
    assert all(compiler.compile(text, target).startswith(b"\x7fELF") for text in texts)


def test_the_access_pattern(compiler: nvrtc.Nvrtc) -> None:
    """The PTX has the wide loads and stores, IEEE division, no flushing, no spills and no calls."""
    text = adapter.unit(["silu_backward"], "elementwise.cuh", [adapter.elementwise_entry(OPERATIONS["silu_backward"], "float32", False)])
    ptx = compiler.compile(text, "compute_90").decode()
    assert ptx.count("ld.global.nc.L1::no_allocate.v4.u32") == 2 * 2  # of each array, in step with the vectors or the line's first
    assert ptx.count("st.global.cs.v4.u32") == 1
    assert not [word for word in (".ftz", ".approx", ".full", ".local", "call") if word in ptx]


@pytest.mark.parametrize("text", [PIPELINE, MASK, rows("softmax", "backward", "float32", False, "Warp", ("RESULT", "GRAD"))])
def test_registers_hold_it_all(compiler: nvrtc.Nvrtc, text: str) -> None:
    """No array of the kernels' own is in memory, and nothing is called."""
    ptx = compiler.compile(text, "compute_90").decode()
    ptx = ptx.replace("rcp.approx.ftz.f64", "")  # the first guess of `reciprocal_of` in rows.cuh
    assert not [word for word in (".ftz", ".approx", ".full", ".local", "call.") if word in ptx]


def test_a_mistake_is_shown(compiler: nvrtc.Nvrtc) -> None:
    with pytest.raises(nvrtc.NvrtcError, match=r"(?s)does not compile wrong\.cu for sm_90.*identifier \"nonsense\" is undefined"):
        compiler.compile("__device__ int f() { return nonsense; }", "sm_90", "wrong.cu")


def test_targets(compiler: nvrtc.Nvrtc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(compiler.__dict__, "architectures", [75, 80, 86, 90])
    assert [compiler.target(c) for c in (75, 86, 89, 90, 120)] == ["sm_75", "sm_86", "sm_86", "sm_90", "compute_90"]
    with pytest.raises(nvrtc.NvrtcError, match=r"7\.5 and later, the device has 7\.0"):
        compiler.target(70)


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "candidates", lambda: iter(["nowhere/libnvrtc.so.1"]))
    with pytest.raises(nvrtc.NvrtcError, match=r"(?s)pip install nvidia-cuda-nvrtc.*tried: .*nowhere"):
        nvrtc.load.__wrapped__()


def test_a_compiler_newer_than_the_driver_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "candidates", lambda: iter(["13", "12"]))
    monkeypatch.setattr(nvrtc, "Nvrtc", lambda path: types.SimpleNamespace(version=(int(path), 0)))
    assert [nvrtc.load.__wrapped__(driver).version[0] for driver in (None, 13010, 12080, 11080)] == [13, 13, 12, 13]


# ---------------------------------------------------------------- on the CPU


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder, made = tmp_path_factory.mktemp("host"), {}

    def library(key: str, text: str) -> ctypes.CDLL:
        if key not in made:
            path: Path = folder / f"{key}.so"
            build(text, path)
            made[key] = ctypes.CDLL(str(path))
        return made[key]

    return library


def run(
    library: ctypes.CDLL,
    operation: lower.Operation,
    kind: str,
    wide: bool,
    arrays: list[Any],
    params: list[Any],
    offsets: tuple[int, ...] = (0,),
    into: dict[int, np.ndarray] | None = None,
) -> Any:
    """An elementwise kernel on the CPU, launched as the package does.

    `offsets` misalign its outputs, the last one's holding for the rest; those in `into` go to the arrays there. What lies around outputs
    must stay, and nothing is read sixteen bytes of which belong to no array.
    """
    real = np.float64 if adapter.working_type(kind, wide) == "double" else np.float32
    n, into = arrays[0].size, into or {}
    rooms, outs = [], []
    for k in range(operation.outputs):
        whole = aligned(np.ones(n + 48), DTYPES[kind] if k < operation.stored else real)
        start = 16 + offsets[min(k, len(offsets) - 1)]
        rooms.append((whole, start))
        outs.append(into.get(k, whole[start : start + n]))
    given = [*arrays, *params]
    pairs = [(a.ctypes.data, real(0)) if isinstance(a, np.ndarray) else (0, real(a)) for a in given]
    pointers, results = [p for p, _ in pairs if p], [o.ctypes.data for o in outs]
    access = adapter.ALIGNED * (not any(p % 16 for p in (*pointers, *results))) | adapter.IN_PLACE * (not set(results).isdisjoint(pointers))
    grid = -(-n // (adapter.THREADS * (16 // adapter.ITEMSIZE[kind])))
    library.forget_arrays()
    for a in (*(a for a in given if isinstance(a, np.ndarray)), *outs):
        library.know_array(ctypes.c_void_p(a.ctypes.data), ctypes.c_longlong(a.nbytes))
    launch(library, f"run_{operation.function}", grid, adapter.THREADS, (*(v for pair in pairs for v in pair), *results, n, access))
    assert all((whole[:start] == 1).all() and (whole[start + n :] == 1).all() for whole, start in rooms)
    return [o.copy() for o in outs]


def parameters(name: str, dtype: Any) -> list[float]:
    """Defaults, cast as a caller's numbers are; elementary functions have none."""
    defaults = default_params(name) or tuple(DEFINITIONS[name].params.values()) if name in DEFINITIONS else ()
    return [float(np.asarray(v, dtype)) for v in defaults]


def samples(dtype: np.dtype[Any]) -> np.ndarray:
    """Across all bit patterns: every one of a half's, one in many of the others'."""
    if dtype.itemsize == 2:
        return np.arange(65536, dtype=np.uint16).view(dtype)
    step, whole = (16411, np.uint32) if dtype.itemsize == 4 else (70368744177737, np.uint64)
    return np.arange(0, 2 ** (8 * dtype.itemsize), step, dtype=whole).view(dtype)


def assert_same(found: np.ndarray, wanted: np.ndarray, x: np.ndarray) -> None:
    wrong = bits(found) != bits(np.asarray(wanted, found.dtype))
    assert not wrong.any(), f"{wrong.sum()} differ, first at x = {x[wrong][0]!r}: {found[wrong][0]!r}, not {np.asarray(wanted)[wrong][0]!r}"


def truth(name: str, direction: str, wide: bool, arrays: list[Any], params: list[Any]) -> Any:
    """What the compiled CPU kernels say."""
    call = (directions(name) | chained(name))[direction]
    result = call(*arrays, *params, backend="cython", accuracy="precise" if wide else "fast")
    return result if isinstance(result, tuple) else (result,)


@needs_compiler
@pytest.mark.parametrize(
    ("kind", "wide", "names"),
    [
        *(pytest.param(k, w, FEW, id=f"{k}-{w}") for k, w in VARIANTS),
        pytest.param("float32", False, VALUES, id="values"),
        *(pytest.param(k, w, list(OPERATIONS), id=f"{k}-{w}-all", marks=pytest.mark.exhaustive) for k, w in VARIANTS),
    ],
)
def test_same_bits_as_the_cpu(libraries: Any, kind: str, wide: bool, names: list[str]) -> None:
    library = libraries(f"{kind}_{wide}_{len(names)}", every_elementwise(kind, wide, names))
    x = aligned(samples(DTYPES[kind])[:-3], DTYPES[kind])  # a length that leaves a partial vector
    grad = aligned(np.resize(np.asarray([1.0, -0.75, 3.0, 1e-3], x.dtype), x.size), x.dtype)
    for name in names:
        o = OPERATIONS[name]
        if o.direction == "elementary" or working(kind, wide) not in o.types:
            continue
        if o.direction == "backward_from_output" and o.direction not in chained(o.activation.name):
            continue  # with these parameters it does not follow from the output
        arrays, params = [grad, x][2 - o.arrays :], parameters(o.activation.name, x.dtype)
        found = run(library, o, kind, wide, arrays, params)
        try:
            for one, wanted in zip(found[: o.stored], truth(o.activation.name, o.direction, wide, arrays, params), strict=False):
                assert_same(one, wanted, x)
        except AssertionError as problem:
            raise AssertionError(f"{name}: {problem}") from None


SPECIAL = [s * v for v in (0.0, np.inf, 1.0, 0.5, 1e-30, 20.0, 88.0, 103.0, 104.5, 700.0, 740.0, 746.0) for s in (1, -1)] + [np.nan]


def plain(type_: str) -> dict[str, Any]:
    """Every operation as plain Python, literals typed: what is written for Numba, run by the interpreter on NumPy's scalars."""
    real: Any = np.dtype(type_).type
    whole, pattern = (np.int32, np.uint32) if type_ == "float32" else (np.int64, np.uint64)
    names: dict[str, Any] = {"scalar": lambda f: f, "REAL": real, "WHOLE": whole, "select": lambda mask, a, b: a if mask else b}
    names |= {"fma": language.fma, "fabs": abs, "copysign": np.copysign, "fsqrt": np.sqrt, "pymin": min, "pymax": max}
    names |= {"bits": language.bits, "from_bits": language.from_bits, "shift_left": lambda i, n: i << whole(n)}
    names["shift_right"] = lambda i, n: (i.view(pattern) >> pattern(n)).view(whole)
    exec(lower.to_numba(PROGRAM, FEW, type_), names)
    return names


@needs_compiler
@pytest.mark.parametrize(("kind", "wide"), VARIANTS[:2])
def test_same_bits_as_plain_python(libraries: Any, kind: str, wide: bool) -> None:
    library, functions = libraries(f"{kind}_{wide}_{len(FEW)}", every_elementwise(kind, wide, FEW)), plain(kind)
    dtype, rng = DTYPES[kind], np.random.default_rng(0)
    tiny = [np.nextafter(dtype.type(0), dtype.type(s)) for s in (1, -1)]
    x = aligned(np.concatenate([np.asarray(SPECIAL, dtype), np.asarray(tiny, dtype), rng.normal(0, 4, 43).astype(dtype)]), dtype)
    grad = aligned(rng.normal(0, 1, x.size), dtype)
    for name in FEW:
        o = OPERATIONS[name]
        if kind not in o.types:
            continue
        arrays, params = [grad, x][2 - o.arrays :], parameters(o.activation.name, dtype)
        found = run(library, o, kind, wide, arrays, params)
        with np.errstate(all="ignore"):
            wanted = [np.atleast_1d(functions[f"def_{name}"](*v, *map(dtype.type, params))) for v in zip(*arrays, strict=True)]
        for result, one in zip(found, np.asarray(wanted, dtype).T, strict=True):
            assert_same(result, one, x)


@needs_compiler
@pytest.mark.parametrize(("kind", "wide"), VARIANTS)
@pytest.mark.parametrize("n", [1, 3, 8, 17, 600, 4096, 4099])
def test_lengths_alignments_and_parameter_arrays(libraries: Any, kind: str, wide: bool, n: int) -> None:
    """However the elements are reached, each result is the one of its element."""
    library = libraries(f"{kind}_{wide}_{len(FEW)}", every_elementwise(kind, wide, FEW))
    dtype, rng, o = DTYPES[kind], np.random.default_rng(n), OPERATIONS["prelu_backward"]
    x, grad, alpha = (aligned(rng.normal(0, 3, n), dtype) for _ in range(3))
    wide_x, wide_grad, wide_alpha = (np.asarray(a, np.float64) for a in (x, grad, alpha))
    for first in (0, 1):
        for outs in ((0,), (1,), (3, 1), (0, 1), (16 // dtype.itemsize - 1, 0)):
            for parameter in (0, 1, None):
                slope = 0.25 if parameter is None else aligned(alpha, dtype, parameter)
                dx, terms = run(library, o, kind, wide, [grad, aligned(x, dtype, first)], [slope], outs)
                real = terms.dtype.type
                factor = np.where(wide_x > 0, 1.0, 0.25 if parameter is None else wide_alpha).astype(real)
                assert_same(dx, (wide_grad.astype(real) * factor).astype(dtype), x)
                assert_same(terms, wide_grad.astype(real) * np.where(wide_x > 0, 0.0, wide_x).astype(real), x)


@needs_compiler
@pytest.mark.parametrize(("kind", "wide"), [(k, w) for k, w in VARIANTS if k in ("float64", "float32") or not w])
def test_every_shift(libraries: Any, kind: str, wide: bool) -> None:
    """Two inputs and two outputs, each anywhere between multiples of sixteen bytes, whole warps and parts of them, in place and not."""
    library = libraries(f"{kind}_{wide}_{len(FEW)}", every_elementwise(kind, wide, FEW))
    dtype, rng, lanes = DTYPES[kind], np.random.default_rng(0), 16 // DTYPES[kind].itemsize
    backward, both = OPERATIONS["silu_backward"], OPERATIONS["silu_value_and_derivative"]
    for n in (lanes * adapter.THREADS + 5, lanes * adapter.THREADS, 70 * lanes - 1):
        x, grad = (aligned(rng.normal(0, 3, n), dtype) for _ in range(2))
        wanted, (value, slope) = run(library, backward, kind, wide, [grad, x], []), run(library, both, kind, wide, [x], [])
        for i in range(lanes):
            near, far = aligned(x, dtype, i), aligned(grad, dtype, (3 * i + 1) % lanes)
            for out in range(0, lanes, 1 if i == 1 else 3):
                assert_same(run(library, backward, kind, wide, [far, near], [], (out,))[0], wanted[0], x)
                found = run(library, both, kind, wide, [near], [], (out, (out + i) % lanes))
                assert_same(found[0], value, x)
                assert_same(found[1], slope, x)
            assert_same(run(library, backward, kind, wide, [far, near.copy()], [], into={0: far})[0], wanted[0], x)
            for k in (0, 1):
                own = aligned(x, dtype, i)
                found = run(library, both, kind, wide, [own], [], ((i + 1) % lanes,), into={k: own})
                assert_same(found[0], value, x)
                assert_same(found[1], slope, x)


@needs_compiler
def test_in_place(libraries: Any) -> None:
    library, o = libraries(f"float32_False_{len(FEW)}", every_elementwise("float32", False, FEW)), OPERATIONS["silu_value"]
    x = aligned(np.linspace(-9, 9, 4099), np.float32)
    wanted = run(library, o, "float32", False, [x], [])[0]
    assert_same(run(library, o, "float32", False, [x], [], into={0: x})[0], wanted, wanted)
    assert_same(x, wanted, wanted)


@needs_compiler
def test_the_shim_sees_what_is_out_of_bounds(libraries: Any) -> None:
    """An array that is said to be shorter than it is: a line is read, and one is written, with nothing of it inside."""
    library, o = libraries(f"float32_False_{len(FEW)}", every_elementwise("float32", False, FEW)), OPERATIONS["silu_value"]
    x, y = aligned(np.zeros(64), np.float32), aligned(np.zeros(64), np.float32)
    for short_x, short_y in ((4, 0), (0, 1)):
        library.forget_arrays()
        library.know_array(ctypes.c_void_p(x.ctypes.data), ctypes.c_longlong(4 * (64 - short_x)))
        library.know_array(ctypes.c_void_p(y.ctypes.data), ctypes.c_longlong(4 * (64 - short_y)))
        before = library.faults_found()
        args = (ctypes.c_void_p(x.ctypes.data), ctypes.c_float(0), ctypes.c_void_p(y.ctypes.data), ctypes.c_longlong(64))
        getattr(library, f"launch_run_{o.function}")(1, adapter.THREADS, 0, *args, ctypes.c_longlong(adapter.ALIGNED))
        assert library.faults_found() == before + 1
    library.forget_faults()


@needs_compiler
@pytest.mark.parametrize("source", ["float16", "bfloat16"])
def test_float64_rounds_to_halves_once(libraries: Any, source: str) -> None:
    """leaky_relu's product next to the ties, where rounding by way of float32 goes wrong."""
    library, dtype = libraries(f"{source}_True_{len(FEW)}", every_elementwise(source, True, FEW)), DTYPES[source]
    x = aligned(-np.abs(samples(dtype)), dtype)
    slope = 0.5 + 2.0**-40
    found = run(library, OPERATIONS["leaky_relu_value"], source, True, [x], [slope])[0]
    with np.errstate(all="ignore"):
        exact = np.asarray(x, np.float64) * slope
        middle = exact.astype(np.float32)  # to odd: the nearest, moved to the odd neighbour if it is even and inexact
        lost = exact - np.asarray(middle, np.float64)
        even = (middle.view(np.uint32) & 1 == 0) & (lost != 0) & np.isfinite(middle)
        middle = np.where(even, np.nextafter(middle, np.where(lost > 0, np.inf, -np.inf).astype(np.float32)), middle)
        assert_same(found, middle.astype(dtype), x)
