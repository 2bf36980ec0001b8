"""The Numba backend: its modules against plain Python, its cache, threads, forks and floating-point environment."""

from __future__ import annotations

import itertools
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import common
import numpy as np
import pytest
from common import SIX, TWELVE

pytest.importorskip("numba")

from fastact import cache
from fastact.backends import numba as backend_module
from fastact.backends.numba import NumbaBackend
from fastact.kernels import lower
from fastact.kernels.definitions import DEFINITIONS
from fastact.kernels.definitions.language import ELEMENTARY
from fastact.kernels.jit import loops

Array = np.ndarray[Any, Any]
PROGRAM = lower.parse()
BACKEND = NumbaBackend(PROGRAM)
KINDS = ("float16", "bfloat16", "float32", "float64")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("FASTACT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "numba"


def child(script: str, **environment: str) -> str:
    """What `script` prints in a Python of its own."""
    setting = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment}
    done = subprocess.run([sys.executable, "-c", script], env=setting, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def same(a: Array, b: Array) -> Array:
    """Where two arrays have the same bits, all NaNs counted as one value."""
    word = f"i{a.itemsize}"
    return np.asarray((a.view(word) == b.view(word)) | (np.isnan(a) & np.isnan(b)))


# ---------------------------------------------------------------- the modules


def special(type_: str) -> Array:
    """Zeros, infinities, NaN, subnormals, every power of two in steps, cut-offs, roots and some of everything."""
    facts = np.finfo(type_)
    positive = [0.0, 1e-3, 0.1, 0.5, 0.6, 1.0, 1.1924344, 1.2784645, 2.0, 5.0, 10.5, 18.0, 40.0, 88.7, 120.0, 709.7, facts.max, np.inf]
    powers = [2.0**e for e in range(int(np.log2(float(facts.smallest_subnormal))), facts.maxexp, 37 if type_ == "float64" else 9)]
    values = np.array([*positive, *powers, float(facts.smallest_subnormal), float(facts.tiny)], type_)
    return np.concatenate([values, -values, [np.array(np.nan, type_)]])


def plain(operation: lower.Operation, grad: Array, x: Array, params: list[float]) -> list[Array]:
    """The definition run as plain Python, element by element."""
    name, kind = operation.activation.name, x.dtype.type
    if operation.direction == "elementary":
        return [np.array([ELEMENTARY[name](v) for v in x])]
    definition = DEFINITIONS[name]
    roles = {
        "value_and_derivative": ("value", "derivative"),
        "backward": ("derivative", *(f"gradient_{p}" for p in definition.learnable)),
        "backward_from_output": ("derivative_from_output",),
    }
    with np.errstate(all="ignore"):
        found = [
            np.array([kind(definition.roles[role](v, *map(kind, params))) for v in x])
            for role in roles.get(operation.direction, (operation.direction,))
        ]
        return [grad * f for f in found] if operation.direction in lower.CHAINED else found


def _cases() -> Iterator[Any]:
    """Every operation in every type. Numba compiles those of twelve functions, in float64 of six: the ones of `test_same_bits`, where
    values of all others are compared with what is compiled, and that with plain Python in `test_definitions`.
    """
    for o in PROGRAM.operations.values():
        if o.activation.family == "loss":
            continue  # always run as compiled jobs
        for type_ in o.types:
            usual = o.activation.name in (*(TWELVE if type_ == "float32" else SIX), *ELEMENTARY)
            yield pytest.param(o, type_, id=f"{o.function}-{type_}", marks=[] if usual else pytest.mark.exhaustive)


@pytest.mark.parametrize(("operation", "type_"), list(_cases()))
def test_module_equals_plain_python(operation: lower.Operation, type_: str) -> None:
    name = operation.activation.name
    x = special(type_)
    grad = np.resize(np.array([1.5, -0.25, 3.0, 0.0, -7.0], type_), x.size)
    defaults = common.params(name) or tuple(DEFINITIONS[name].params.values()) if name in DEFINITIONS else ()
    params = [float(np.dtype(type_).type(p)) for p in defaults]
    outs = [np.empty_like(x) for _ in range(operation.outputs)]
    kernel = BACKEND.elementwise(name, operation.direction, type_, False)
    kernel([grad, x][2 - operation.arrays :], [*params], outs)
    for out, expected in zip(outs, plain(operation, grad, x, params), strict=True):
        bad = ~same(out, expected)
        assert not bad.any(), (x[bad], out[bad], expected[bad])

    # In place, over many vectors: LLVM is told that inputs and output are apart (see `store` in intrinsics.py).
    arrays = [np.tile(a, 20) for a in (grad, x)[2 - operation.arrays :]]
    rest = [np.empty_like(arrays[0]) for _ in outs[1:]]
    for i in range(operation.arrays):
        inputs = [a.copy() for a in arrays]
        kernel(inputs, [*params], [inputs[i], *rest])
        for out, expected in zip([inputs[i], *rest], outs, strict=True):
            assert same(out, np.tile(expected, 20)).all()


def test_parallel_equals_serial_in_place_and_with_array_parameters() -> None:
    rng = np.random.default_rng(0)
    n = 5 * loops.CHUNK + 77
    x, grad, alpha = (rng.standard_normal(n).astype(np.float32) for _ in range(3))
    kernel = BACKEND.elementwise("prelu", "backward", "float32", False)
    dx, dalpha = np.empty_like(x), np.empty_like(x)
    kernel([grad, x], [alpha], [dx, dalpha])
    assert np.array_equal(dx, grad * np.where(x > 0, np.float32(1), alpha))
    assert np.array_equal(dalpha, grad * np.where(x > 0, np.float32(0), x))
    pieces = np.empty_like(x), np.empty_like(x)
    for i in range(0, n, 1000):  # the serial build
        kernel([grad[i : i + 1000], x[i : i + 1000]], [alpha[i : i + 1000]], [p[i : i + 1000] for p in pieces])
    assert np.array_equal(pieces, (dx, dalpha))
    for which in (0, 1):
        inputs = [grad.copy(), x.copy()]
        kernel(inputs, [alpha], [inputs[which], pieces[1]])
        assert np.array_equal((inputs[which], pieces[1]), (dx, dalpha))
    x.flags.writeable = False  # read-only inputs need nothing of their own
    kernel([grad, x], [alpha], [pieces[0], pieces[1]])
    assert np.array_equal(pieces[0], dx)


def test_results_next_to_unaligned_memory() -> None:
    raw = np.zeros(4 * 1001 + 1, np.uint8)
    x = raw[1:].view(np.float32)
    x[:] = np.linspace(-3, 3, x.size, dtype=np.float32)
    out = np.empty(x.size, np.float32)
    expected = out.copy()
    kernel = BACKEND.elementwise("silu", "value", "float32", False)
    kernel([x.copy()], [], [expected])
    kernel([x], [], [out])
    assert np.array_equal(out, expected)


# ---------------------------------------------------------------- halves


def conversions(kind: str, type_: str, own: bool) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """The intrinsics' (narrow, widen) as functions of arrays; `own`: by integer operations, whatever the processor offers."""
    text = loops._opening(PROGRAM, [], kind, type_ == "float64")
    if own:
        assert "\nF16C = " in text
        text = loops._set(text, F16C=False)
    text += """
@njit(types.void(types.intp, types.intp, types.intp), error_model="numpy")
def narrow(n, x, y):
    for i in range(n):
        store(stored(y), i, working(x)[i])


@njit(types.void(types.intp, types.intp, types.intp), error_model="numpy")
def widen(n, x, y):
    for i in range(n):
        working(y)[i] = load(stored(x), i)
"""
    module: dict[str, Callable[[int, int, int], None]] = {}
    exec(compile(text, "conversions", "exec"), module)

    def run(name: str, x: Array, to: str) -> Array:
        y = np.empty(x.size, to)
        module[name](x.size, x.ctypes.data, y.ctypes.data)
        return y

    return lambda x: run("narrow", x, "uint16"), lambda x: run("widen", x, type_)


@pytest.mark.parametrize(
    ("kind", "type_", "own"),
    [p for p in itertools.product(("float16", "bfloat16"), ("float32", "float64"), (False, True)) if p[0] == "float16" or not p[2]],
)
def test_halves_all_patterns(kind: str, type_: str, own: bool) -> None:
    narrow, widen = conversions(kind, type_, own)
    dtype = np.float16 if kind == "float16" else np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    patterns = np.arange(65536, dtype=np.uint16)
    with np.errstate(all="ignore"):
        expected = patterns.view(dtype).astype(type_)
    wide = widen(patterns)
    assert same(wide, expected).all()
    number = ~np.isnan(expected)
    assert np.array_equal(narrow(wide)[number], patterns[number])
    assert np.isnan(narrow(wide)[~number].view(dtype).astype(np.float64)).all()

    # Around every midpoint of neighbours; beyond the largest number stands one more step, which is infinity.
    infinity = int(np.array(np.inf, dtype).view(np.uint16))
    low = patterns[:infinity]
    values = expected[: infinity + 1].copy()
    with np.errstate(over="ignore"):
        values[-1] = values[-2] + (values[-2] - values[-3])
        middle = values[:-1] + (values[1:] - values[:-1]) / 2
    exact = np.isfinite(middle) & (middle > values[:-1])  # bfloat16's last midpoint in float32, and the like, need no exception
    for sign, bit in ((1, 0), (-1, 0x8000)):
        below, above = np.nextafter(middle, values[:-1]), np.nextafter(middle, np.array(np.inf, type_))
        even = low + (low & 1)
        for inputs, outcome in ((below, low), (middle, even), (above, low + 1)):
            got = narrow((sign * inputs).astype(type_))
            assert np.array_equal(got[exact], (outcome | bit).astype(np.uint16)[exact])
        huge = np.array([np.finfo(type_).max, np.inf], type_)
        assert np.array_equal(narrow(sign * huge), [infinity | bit] * 2)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
@pytest.mark.parametrize("wide", [False, True])
def test_halves_compute_in_the_working_type_and_round_once(kind: str, wide: bool) -> None:
    dtype = np.float16 if kind == "float16" else np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    type_ = "float64" if wide else "float32"
    patterns = np.arange(65536, dtype=np.uint16)
    got, whole = np.empty_like(patterns), np.empty(65536, type_)
    BACKEND.elementwise("silu", "value", kind, wide)([patterns], [], [got])
    with np.errstate(invalid="ignore"):
        inputs = patterns.view(dtype).astype(type_)
    BACKEND.elementwise("silu", "value", type_, False)([inputs], [], [whole])
    rounded = conversions(kind, type_, False)[0](whole)
    nan = np.isnan(whole)
    assert np.array_equal(got[~nan], rounded[~nan])
    assert np.isnan(got[nan].view(dtype).astype(np.float64)).all()


# ---------------------------------------------------------------- rows


def oracle(direction: str, x: Array, grad: Array, where: Array | None, masked_nan: bool) -> Array:
    x, grad = x.astype(np.float64), grad.astype(np.float64)
    keep = np.ones(x.shape, bool) if where is None else where
    with np.errstate(all="ignore"):
        if direction == "backward_from_output":
            y = np.where(keep, x, 0.0)
        else:
            e = np.where(keep, np.exp(x - np.where(keep, x, -np.inf).max(1, keepdims=True)), 0.0)
            y = e / e.sum(1, keepdims=True)
        grad = np.where(keep, grad, 0.0)
        result = y if direction == "value" else y * (grad - (grad * y).sum(1, keepdims=True))
    result = np.where(keep, result, 0.0)
    return np.where(keep.any(1, keepdims=True) | ~np.bool_(masked_nan), result, np.nan)


@pytest.mark.parametrize("direction", ["value", "backward", "backward_from_output"])
@pytest.mark.parametrize("shape", [(9, 10000, 1), (4000, 3, 15), (2, 37, 1500)], ids=str)
def test_softmax(shape: tuple[int, int, int], direction: str) -> None:
    """Compiled row programs on Numba's threads: the bits of one thread, near the oracle."""
    import fastact

    rng = np.random.default_rng(1)
    x, grad = (rng.standard_normal(shape) * 4).astype(np.float32), rng.standard_normal(shape).astype(np.float32)
    mask = rng.random(shape) < 0.7
    mask[0] = False
    function = fastact.softmax if direction == "value" else getattr(fastact.softmax, direction)
    first = fastact.softmax(x, 1, where=mask) if direction == "backward_from_output" else x
    arrays = (first,) if direction == "value" else (grad, first)
    got = function(*arrays, axis=1, where=mask, backend="numba")
    assert got.tobytes() == function(*arrays, axis=1, where=mask, backend="cython").tobytes()
    np.testing.assert_allclose(got, oracle(direction, first, grad, mask, False), rtol=1e-4, atol=1e-6)


def test_softmax_same_bits_for_any_number_of_threads() -> None:
    script = """
import hashlib, numpy as np, fastact
for shape in ((300, 1000, 1), (3000, 20, 1), (5, 300, 90)):
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    dx, dbias = fastact.softmax.backward(x, x, 1, bias=x[0], backend="numba")
    print(hashlib.md5(dx.tobytes() + dbias.tobytes()).hexdigest())
"""
    assert child(script, NUMBA_NUM_THREADS="1") == child(script, NUMBA_NUM_THREADS="2") == child(script, NUMBA_NUM_THREADS="5")


# ---------------------------------------------------------------- the cache

RELU = """
import numpy as np
from fastact.backends.numba import NumbaBackend
backend = NumbaBackend()
for n in (10, 100_000):
    x = np.full(n, -2.0, np.float32); out = np.empty_like(x)
    backend.elementwise("relu", "value", "float32", False)([x], [], [out])
    assert not out.any()
print(sum(sum(m.run.stats.cache_hits.values()) for m in backend._modules.values()))
"""


def test_second_process_finds_the_compiled_kernels(folder: Path) -> None:
    assert child(RELU).split() == ["0"]
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.*") if p.is_file()}
    assert sum(p.suffix == ".nbc" for p in before) == 2  # serial and parallel
    assert child(RELU).split() == ["2"]
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*.*") if p.is_file()} == before


def test_unreadable_compiled_kernels_are_compiled_again(folder: Path) -> None:
    child(RELU)
    for path in folder.rglob("*.nb*"):
        path.write_bytes(path.read_bytes()[:20])
    assert child(RELU).split() == ["0"]
    assert child(RELU).split() == ["2"]


def test_changed_definition_is_no_hit(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "definitions"
    copy.mkdir()
    for file in lower.DEFINITIONS.glob("*.py"):
        (copy / file.name).write_text(file.read_text())
    x, out = np.full(3, -2.0, np.float32), np.empty(3, np.float32)

    def relu() -> float:
        program = lower.parse(sorted(copy.glob("[a-z]*.py")))
        NumbaBackend(program).elementwise("relu", "value", "float32", False)([x], [], [out])
        return float(out[0])

    assert relu() == 0.0
    text = (copy / "rectifiers.py").read_text()
    assert "return 0.0 if x <= 0.0" in text
    (copy / "rectifiers.py").write_text(text.replace("return 0.0 if x <= 0.0", "return 5.0 if x <= 0.0"))
    assert relu() == 5.0
    (copy / "rectifiers.py").write_text(text)
    assert relu() == 0.0
    assert len(list(folder.glob("*.py"))) == 2


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    script = RELU + "print(backend.details()['cache'])"
    where = child(script, FASTACT_CACHE_DIR=str(tmp_path / "file" / "cache")).split()[-1]
    assert not where.startswith(str(tmp_path))
    assert not Path(where).exists()  # a temporary folder, gone with its process


def test_cache_is_bounded_and_cleared(folder: Path) -> None:
    found = cache.folder("numba")
    assert found == folder
    for i in range(6):
        cache.write(found / f"m{i}.py", b"x" * 100)
        cache.write(found / "__pycache__" / f"m{i}.run.nbc", b"y" * 100)
        for path in (found / f"m{i}.py", found / "__pycache__" / f"m{i}.run.nbc"):
            os.utime(path, (1000 + i, 1000 + i))
    assert cache.trim(found, limit_entries=5) == 1
    assert cache.trim(found, limit_bytes=450) == 3
    assert sorted(p.name for p in found.rglob("m*")) == ["m4.py", "m4.run.nbc", "m5.py", "m5.run.nbc"]
    other = folder.parent / "mine.txt"
    other.write_text("not ours")
    assert cache.clear() > 0
    assert not folder.exists()
    assert other.exists()
    assert cache.folder("numba").is_dir()


# ---------------------------------------------------------------- threads, forks, the environment


def test_nothing_is_imported_before_a_kernel_is_asked_for() -> None:
    script = """
import sys
from fastact.backends.numba import NumbaBackend
backend = NumbaBackend()
print(backend.missing(), bool(backend.version()), sorted(backend.details()), "numba" in sys.modules or "llvmlite" in sys.modules)
"""
    assert child(script).strip() == "None True ['cache', 'threading layer', 'threads'] False"


def test_missing_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert NumbaBackend().missing() == "NUMBA_DISABLE_JIT is set"
    monkeypatch.delenv("NUMBA_DISABLE_JIT")
    script = """
import sys, importlib.abc, numpy as np
from fastact.backends.numba import NumbaBackend
class Broken(importlib.abc.Loader):
    def create_module(self, spec): return None
    def exec_module(self, module): raise ImportError("Numba needs another NumPy")
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        return importlib.util.spec_from_loader(name, Broken()) if name == "numba" else None
sys.meta_path.insert(0, Finder())
backend = NumbaBackend()
x = np.zeros(3, np.float32)
try:
    backend.elementwise("relu", "value", "float32", False)([x], [], [x])
except ImportError as error:
    print(error)
print(backend.missing())
"""
    assert child(script).splitlines() == ["numba cannot be imported: Numba needs another NumPy"] * 2


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_two_python_threads_at_once(layer: str) -> None:
    script = """
import threading, numpy as np
from fastact.backends.numba import NumbaBackend
backend, wrong = NumbaBackend(), []
def work(seed):
    x = np.random.default_rng(seed).standard_normal(200_000).astype(np.float32); out = np.empty_like(x)
    for _ in range(30):
        backend.elementwise("relu", "value", "float32", False)([x], [], [out])
        wrong.append(not np.array_equal(out, np.maximum(x, 0)))
threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
for t in threads: t.start()
for t in threads: t.join()
print(len(wrong), any(wrong), backend.details()["threading layer"])
"""
    assert child(script, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2").split() == ["120", "False", layer]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_forked_child_computes(layer: str) -> None:
    script = """
import os, threading, warnings, numpy as np
warnings.simplefilter("ignore")  # Python's own, about forking with threads
from fastact.backends.numba import NumbaBackend
backend = NumbaBackend()
x = np.linspace(-1, 1, 200_000, dtype=np.float32)
def run(name):
    out = np.empty_like(x); backend.elementwise(name, "value", "float32", False)([x], [], [out]); return out
first = run("relu")
compiling = threading.Thread(target=run, args=("silu",))
compiling.start()  # fork waits for it
child = os.fork()
if not child:
    right = np.array_equal(run("relu"), first) and np.allclose(run("sigmoid"), 1 / (1 + np.exp(-x)))
    os._exit(0 if right and backend.details()["threads"] == 1 else 1)
status = os.waitpid(child, 0)[1]
compiling.join()
print(status, np.array_equal(run("relu"), first))
"""
    assert child(script, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2").split() == ["0", "True"]


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not sys.platform.startswith("linux"), reason="sets MXCSR through glibc"
)
def test_kernels_ignore_the_floating_point_environment() -> None:
    script = """
import ctypes, numpy as np, fastact
from fastact.backends.numba import NumbaBackend
libm = ctypes.CDLL("libm.so.6")
state = (ctypes.c_uint32 * 8)()  # fenv_t; its last word is MXCSR
def mxcsr(value=None):
    libm.fegetenv(state)
    if value is not None:
        state[7] = value
        libm.fesetenv(state)
    return state[7]
backend = NumbaBackend()
rng = np.random.default_rng(3)
x = rng.standard_normal(200_000).astype(np.float32) * np.float32(30)
x[::3] *= np.float32(1e-40)
rows = x.reshape(200, 1000, 1)
halves = x.astype(np.float16).view(np.uint16)
def run(step):
    results = []
    for name, kind, data in (("silu", "float32", x), ("silu", "float16", halves)):
        out = np.empty_like(data)
        for i in range(0, data.size, step):
            backend.elementwise(name, "value", kind, False)([data[i:i + step]], [], [out[i:i + step]])
        results.append(out)
    out = np.empty_like(rows)
    size = max(1, step // 1000)
    for i in range(0, 200, size):
        fastact.softmax(rows[i:i + size], 1, out=out[i:i + size], backend="numba")
    return [*results, out]
expected = run(10_000)  # the serial build
assert ((expected[0] != 0) & (abs(expected[0]) < 1e-38)).any()
odd = mxcsr() & ~0x6000 | 0x8040 | 0x4000  # flush to zero, subnormals are zero, round up
for step in (10_000, 200_000):  # the threads start with this environment
    mxcsr(odd)
    results = run(step)
    after = mxcsr()
    mxcsr(0x1f80)
    print(all(np.array_equal(a, b) for a, b in zip(results, expected)), after & ~0x3f == odd & ~0x3f)
"""
    assert child(script, NUMBA_NUM_THREADS="2").split() == ["True"] * 4


def test_one_kernel_is_compiled_once_for_many_threads(folder: Path) -> None:
    backend, x = NumbaBackend(PROGRAM), np.ones(5, np.float32)
    threads = [threading.Thread(target=backend.elementwise("relu", "value", "float32", False), args=([x], [], [x])) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert (len(backend._modules), len(list(folder.glob("*.py")))) == (1, 1)


def test_names_of_processor_and_versions_are_in_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    before = backend_module._digest("text")
    monkeypatch.setattr("numba.__version__", "another")
    assert backend_module._digest("text") != before != backend_module._digest("other text")
