"""The choice of backend: its truth table, and what the program can say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastact
from fastact import dispatch, registry
from fastact.dispatch import choose
from fastact.kernels.definitions.language import COSTS
from fastact.thresholds import CROSSOVER, NUMBA

ALL = dict.fromkeys(("cython", "numba", "cupy", "numpy"))
NO_NUMBA = {**ALL, "numba": "numba is not installed"}
NO_CUPY = {**ALL, "cupy": "no CUDA device"}
AT = {"exp": {"float16": 100, "bfloat16": 100, "float32": 100, "float64": 50}}

#: Where somebody measured that Numba is faster still.
FASTER = {"exp": {"float16": 1000, "bfloat16": 1 << 62, "float32": 1000, "float64": 500}}
NEVER = {"exp": dict.fromkeys(dispatch.KERNEL_KINDS, 1 << 62)}

# arrays, kind, size, missing, forced, forked, threads, where numba is faster -> backend, threads
TABLE = [
    ("numpy", "float32", 0, ALL, None, False, 4, NEVER, "cython", 1),
    ("numpy", "float32", 99, ALL, None, False, 4, NEVER, "cython", 1),
    ("numpy", "float32", 100, ALL, None, False, 4, NEVER, "cython", 4),
    ("numpy", "float32", 100, ALL, None, False, 1, NEVER, "cython", 1),
    ("numpy", "float32", 2**40, ALL, None, False, 4, NEVER, "cython", 4),
    ("numpy", "float64", 49, ALL, None, False, 4, NEVER, "cython", 1),
    ("numpy", "float64", 50, ALL, None, False, 4, NEVER, "cython", 4),
    ("numpy", "bfloat16", 100, ALL, None, False, 2, NEVER, "cython", 2),
    ("numpy", "float16", 99, ALL, None, False, 4, NEVER, "cython", 1),
    ("numpy", "float32", 2**40, NO_NUMBA, None, False, 4, NEVER, "cython", 4),
    ("numpy", "float32", 2**40, ALL, None, True, 4, NEVER, "cython", 4),
    ("numpy", "float32", 999, ALL, None, False, 4, FASTER, "cython", 4),
    ("numpy", "float32", 1000, ALL, None, False, 4, FASTER, "numba", 4),
    ("numpy", "float64", 500, ALL, None, False, 4, FASTER, "numba", 4),
    ("numpy", "bfloat16", 2**40, ALL, None, False, 4, FASTER, "cython", 4),
    ("numpy", "float32", 1000, ALL, None, False, 1, FASTER, "cython", 1),
    ("numpy", "float32", 1000, ALL, None, True, 4, FASTER, "cython", 4),
    ("numpy", "float32", 1000, NO_NUMBA, None, False, 4, FASTER, "cython", 4),
    ("numpy", "float32", 10, NO_CUPY, None, False, 4, NEVER, "cython", 1),
    ("numpy", "longdouble", 2**40, ALL, None, False, 4, NEVER, "numpy", 1),
    ("numpy", "int64", 3, ALL, None, False, 4, NEVER, "numpy", 1),
    ("numpy", "float32", 10, ALL, "numba", False, 4, NEVER, "numba", 4),
    ("numpy", "float32", 10, ALL, "numba", True, 4, NEVER, "numba", 1),
    ("numpy", "float32", 99, ALL, "cython", False, 4, NEVER, "cython", 1),
    ("numpy", "float32", 2**40, ALL, "cython", False, 4, FASTER, "cython", 4),
    ("numpy", "float32", 2**40, ALL, "numpy", False, 4, NEVER, "numpy", 1),
    ("numpy", "longdouble", 2**40, ALL, "numpy", False, 4, NEVER, "numpy", 1),
    ("cupy", "float32", 1, ALL, None, False, 4, NEVER, "cupy", 1),
    ("cupy", "float32", 2**40, ALL, None, False, 4, FASTER, "cupy", 1),
    ("cupy", "bfloat16", 5, NO_NUMBA, None, False, 4, NEVER, "cupy", 1),
    ("cupy", "float16", 5, ALL, "cupy", True, 4, NEVER, "cupy", 1),
]
REFUSED = [
    ("numpy", "float32", 10, NO_NUMBA, "numba", RuntimeError, "backend 'numba' was asked for, but is missing: numba is not installed"),
    ("numpy", "float32", 10, ALL, "cupy", ValueError, "backend 'cupy' takes cupy arrays, not numpy arrays"),
    ("cupy", "float32", 10, ALL, "numba", ValueError, "backend 'numba' takes numpy arrays, not cupy arrays"),
    ("cupy", "float32", 10, ALL, "cython", ValueError, "takes numpy arrays"),
    ("cupy", "float32", 10, NO_CUPY, None, RuntimeError, "cupy arrays need the backend 'cupy', which is missing: no CUDA device"),
    ("cupy", "float32", 10, NO_CUPY, "cupy", RuntimeError, "missing: no CUDA device"),
    ("cupy", "int32", 10, ALL, None, TypeError, "no GPU kernels for int32"),
    ("numpy", "longdouble", 10, ALL, "cython", ValueError, "has no kernels for longdouble"),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda r: f"{r[0]}-{r[1]}-{r[2]}-{r[4]}-{r[5]}-{r[6]}-{r[8]}")
def test_truth_table(row: tuple) -> None:
    arrays, kind, size, missing, forced, forked, threads, numba, expected, on = row
    choice = choose(arrays, kind, size, "exp", missing, forced, forked=forked, threads=threads, crossover=AT, numba=numba)
    assert (choice.backend, choice.threads) == (expected, on)
    assert choice.reason


@pytest.mark.parametrize("row", REFUSED, ids=lambda r: f"{r[0]}-{r[1]}-{r[4]}")
def test_refusals(row: tuple) -> None:
    arrays, kind, size, missing, forced, error, message = row
    with pytest.raises(error, match=message):
        choose(arrays, kind, size, "exp", missing, forced, crossover=AT)


def test_thresholds_are_complete() -> None:
    assert list(CROSSOVER) == list(NUMBA) == list(COSTS)
    for kinds in (*CROSSOVER.values(), *NUMBA.values()):
        assert set(kinds) == set(dispatch.KERNEL_KINDS)
        assert all(n >= 4096 for n in kinds.values())


def test_contexts() -> None:
    x = np.linspace(-2, 2, 64, dtype=np.float32)
    with fastact.count_calls() as calls:
        fastact.gelu(x)
        with fastact.use_backend("numpy"):
            fastact.gelu(x)
            fastact.gelu(x, backend="cython")  # the argument wins
            with fastact.use_backend("cython"):
                fastact.gelu.backward(x, x)
            fastact.softmax(x)
        fastact.gelu(x)
    assert calls == {"cython": 4, "numpy": 2}
    with fastact.use_accuracy("precise"):
        precise = fastact.gelu(x)
    assert (precise == fastact.gelu(x, accuracy="precise")).all()
    assert (precise != fastact.gelu(x)).any()
    with pytest.raises(ZeroDivisionError), fastact.use_backend("numpy"):
        raise ZeroDivisionError
    assert dispatch.named_backend(None) is None


def test_explain() -> None:
    x = np.zeros((4, 4), np.float32)
    said = fastact.explain(fastact.gelu, x)
    assert (said.backend, said.size, said.kind) == ("cython", 16, "float32")
    assert "backend 'cython'" in repr(said)
    assert "because" in repr(said)
    assert fastact.explain(fastact.gelu.backward, x, backend="numpy").backend == "numpy"
    assert fastact.explain(fastact.softmax, x).backend == "cython"
    large = np.broadcast_to(np.float32(0), (2**33,))
    assert fastact.explain(fastact.gelu, large).backend == "cython"
    assert fastact.explain(fastact.gelu, large).threads == fastact.get_num_threads()
    assert said.threads == 1


def test_backends() -> None:
    listed = fastact.backends()
    assert list(listed) == list(registry.REGISTRY)
    for name, info in listed.items():
        assert info.name == name
        assert info.available == (info.reason is None)
        assert info.available or info.reason
        assert name in repr(listed)
    assert listed["cython"].details["instruction set"] in ("baseline", "x86-64-v3", "x86-64-v4")


def test_a_library_that_does_not_import(tmp_path: Path) -> None:
    """Numba may be installed, but not for this NumPy: automatic choice falls back, a named numba says why."""
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("raise ImportError('Numba needs an older NumPy')")
    (tmp_path / "numba-1.dist-info").mkdir()
    (tmp_path / "numba-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: numba\nVersion: 1\n")
    code = """
import numpy as np, fastact
x = np.ones(10**6, np.float32)
assert fastact.gelu(x).shape == x.shape and fastact.softmax(x).shape == x.shape
try:
    fastact.gelu(x, backend="numba")
except ImportError as error:
    print(error)
assert not fastact.backends()["numba"].available and "older NumPy" in fastact.backends()["numba"].reason
assert fastact.explain(fastact.gelu, x).backend == "cython"
try:
    fastact.gelu(x, backend="numba")
except RuntimeError as error:
    print(error)
from fastact import tuning  # where Numba was measured to be faster, before it broke
few = {cost: dict.fromkeys(row, 1) for cost, row in tuning.SHIPPED.threads.items()}
tuning.use(tuning.Table(few, few, "a test"))
assert fastact.gelu(x).shape == x.shape
"""
    before = os.environ.get("PYTHONPATH")
    done = _run(code, PYTHONPATH=os.pathsep.join([str(tmp_path), *([before] if before else [])]))  # an empty entry is the current folder
    assert "backend 'numba' was asked for, but is missing: numba cannot be imported: Numba needs an older NumPy" in done.stdout, done.stderr


def _run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False)


def test_environment_backend() -> None:
    code = "import numpy as np, fastact\nwith fastact.count_calls() as c: fastact.gelu(np.zeros(3))\nprint(c)"
    assert _run(code, FASTACT_BACKEND="numpy").stdout.strip() == "{'numpy': 1}"
    wrong = _run(code, FASTACT_BACKEND="fortran")
    assert wrong.returncode
    assert "FASTACT_BACKEND must be one of 'cython', 'numba', 'cupy', 'numpy', not 'fortran'" in wrong.stderr
    assert "FASTACT_ACCURACY must be one of" in _run(code, FASTACT_ACCURACY="good").stderr


def test_a_backend_that_is_registered_serves() -> None:
    """The recipe "add a backend" of CONTRIBUTING.md, followed."""
    registry.register("doubled", __name__, "Doubled")
    try:
        assert fastact.backends()["doubled"].available
        x = np.array([1.0, 2.0])
        assert fastact.relu(x, backend="doubled").tolist() == [2.0, 4.0]
        with pytest.raises(ValueError, match="already"):
            registry.register("doubled", __name__, "Doubled")
    finally:
        registry.unregister("doubled")
    with pytest.raises(ValueError, match="backend must be one of"):
        fastact.relu(x, backend="doubled")


class Doubled:
    """A backend for the test above: twice its input."""

    name = "doubled"
    arrays = "numpy"

    def missing(self) -> None:
        return None

    def version(self) -> str:
        return "1"

    def details(self) -> dict[str, object]:
        return {}

    def elementwise(self, name: str, direction: str, kind: str, wide: bool):
        def run(arrays: list, params: list, outs: list) -> None:
            outs[0][...] = 2 * arrays[-1]

        return run


def test_forcing_an_instruction_set() -> None:
    from fastact.kernels.cpu import compiled

    code = "import warnings; warnings.simplefilter('ignore'); import fastact; print(fastact.backends()['cython'].version)"
    for name, runs in compiled.INSTRUCTION_SETS.items():
        done = _run(code, FASTACT_ISA=name)
        if runs:
            assert done.stdout.strip() == name
        else:
            assert done.returncode == 1
            assert "this machine's processor lacks these instructions" in done.stderr
    assert "not an instruction set of this build" in _run(code, FASTACT_ISA="mmx").stderr
    slow = _run("import fastact", FASTACT_ISA="baseline")
    if not compiled.HARDWARE_FMA or compiled.ISA != "baseline":
        assert slow.stderr.count("some 40 times slower") == 1
