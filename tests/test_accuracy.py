"""The accuracy that is promised, for every definition, direction, type and backend; bounds in ULP.

float32 is judged by the float64 oracle on a sample of all bit patterns (``benchmarks/exhaustive.py`` takes them all), float64 by mpmath,
the halves on every input there is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from truth import PARAMETERS, exact, points

import fastact
from fastact.kernels.definitions import DEFINITIONS
from fastact.reference import REFERENCE
from fastact.ulp import AT_ROOT, BOUNDS, float32_bit_patterns, next_to_root, round_once, worst, wrong_zeros

FAST, ROUNDED = BOUNDS["fast"], BOUNDS["precise"]
#: float64
DOUBLE = 2.0
HALVES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
#: Strides through the bit patterns, prime, so that every exponent and every low bit occurs.
STEP, LONG_STEP = 4099, 16411
SPECIAL = np.array([0.0, 2.0**-149, 2.0**-126, 1.0, 3.4028235e38, np.inf, np.nan], dtype=np.float32)

ROLES = [(name, role) for name, d in DEFINITIONS.items() if d.family == "elementwise" for role in ("value", "derivative")]
BACKENDS = [
    pytest.param(name, marks=[pytest.mark.gpu] if name == "cupy" else [])
    for name, backend in fastact.backends().items()
    if backend.available and name != "numpy"  # which is the judge
]
#: Numba runs the same definitions to the same bits (tested elsewhere), and compiles for a second each.
COMPILED = [b for b in BACKENDS if b.values[0] != "numba"]
#: Where float64 loses what decides a rounding; `rounded` says why.
TIES = {("silu", "value", "bfloat16"), ("gelu", "value", "bfloat16")}
EXTRA = [(name, role, p) for name, role in ROLES for p in PARAMETERS.get(name, [])]


def required(name: str) -> tuple[float, ...]:
    """The parameters that have no default."""
    return tuple(0.25 for default in DEFINITIONS[name].params.values() if default is None)


def seen(name: str, params: tuple[float, ...], dtype: Any) -> tuple[float, ...]:
    """The parameters that a kernel sees: defaults filled in, cast to the array's dtype."""
    full = params + tuple(DEFINITIONS[name].params.values())[len(params) :]
    return tuple(float(np.array(p).astype(dtype)) for p in full)


def compute(backend: str, name: str, role: str, x: np.ndarray[Any, Any], params: tuple[float, ...], accuracy: str) -> np.ndarray[Any, Any]:
    """Through the public interface, on the arrays that the backend takes."""
    function = getattr(fastact, name)
    call = function if role == "value" else function.derivative
    if backend != "cupy":
        result = call(x, *params, backend=backend, accuracy=accuracy)
    else:
        cupy = pytest.importorskip("cupy")
        result = cupy.asnumpy(call(cupy.asarray(x), *params, backend=backend, accuracy=accuracy))
    assert result.dtype == x.dtype
    return result  # type: ignore[no-any-return]


@lru_cache(maxsize=4)
def sample(step: int) -> np.ndarray[Any, Any]:
    """Every `step`-th float32, and the special ones."""
    return np.concatenate([float32_bit_patterns(step), SPECIAL, -SPECIAL])


@lru_cache(maxsize=2)
def oracle(name: str, role: str, params: tuple[float, ...], step: int) -> np.ndarray[Any, Any]:
    """The oracle on the sample, kept for the next backend."""
    return getattr(REFERENCE[name], role)(sample(step), *params)  # type: ignore[no-any-return]


def judge(name: str, role: str, x: Any, result: Any, truth: Any, bound: float, at_root: float = AT_ROOT, signs: Any = None) -> None:
    """Fail with the worst error and its place; zeros must have the sign they have in `signs`, which is `truth` by default."""
    ordinary, root = worst(x, result, truth, DEFINITIONS[name].roots.get(role, ()))
    assert ordinary.error <= bound, f"{name} {role} {result.dtype}: {ordinary}"
    assert root.error <= at_root, f"{name} {role} {result.dtype}: {root}"
    wrong = wrong_zeros(result, truth if signs is None else signs)
    assert not wrong.size, f"{name} {role} {result.dtype}: zero of the wrong sign at x = {x[wrong[:3]]!r}"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "role"), ROLES)
def test_float32_fast(name: str, role: str, backend: str) -> None:
    x, params = sample(STEP), required(name)
    result = compute(backend, name, role, x, params, "fast")
    judge(name, role, x, result, oracle(name, role, seen(name, params, x.dtype), STEP), FAST)


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize(("name", "role"), ROLES)
def test_float32_precise(name: str, role: str, backend: str) -> None:
    x, params = sample(LONG_STEP), required(name)
    result = compute(backend, name, role, x, params, "precise")
    judge(name, role, x, result, oracle(name, role, seen(name, params, x.dtype), LONG_STEP), ROUNDED)


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize(("name", "role", "params"), EXTRA)
def test_float32_parameters(name: str, role: str, params: tuple[float, ...], backend: str) -> None:
    x = sample(LONG_STEP)
    truth = oracle(name, role, seen(name, params, x.dtype), LONG_STEP)
    for accuracy, bound in ("fast", FAST), ("precise", ROUNDED):
        judge(name, role, x, compute(backend, name, role, x, params, accuracy), truth, bound)


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize(("name", "role", "params"), [(*r, required(r[0])) for r in ROLES] + EXTRA)
def test_float64(name: str, role: str, params: tuple[float, ...], backend: str) -> None:
    x = np.append(points(DEFINITIONS[name].roots.get(role, ())), -0.0)
    full = seen(name, params, x.dtype)
    signs = getattr(REFERENCE[name], role)(x, *full)
    judge(name, role, x, compute(backend, name, role, x, params, "fast"), exact(name, role, x, *full), DOUBLE, signs=signs)


@lru_cache(maxsize=2)
def rounded(name: str, role: str, dtype: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(every input of a half type, the oracle's results, the correctly rounded ones); mpmath decides where the oracle cannot."""
    x = np.arange(2**16, dtype=np.uint16).view(dtype)
    params = seen(name, required(name), dtype)
    value = getattr(REFERENCE[name], role)(x, *params)
    right = round_once(value, dtype)
    with np.errstate(all="ignore"):
        finite = np.isfinite(x.astype(np.float64)) & np.isfinite(value) & (value != 0)
        doubt = np.abs(value) * 1e-13 + np.where(next_to_root(x, value, DEFINITIONS[name].roots.get(role, ())), 2.0**-51, 0.0)
        doubtful = (round_once(value - doubt, dtype) != round_once(value + doubt, dtype)) & finite
    pairs = exact(name, role, x[doubtful], *params)
    right[doubtful] = round_once(pairs, dtype)
    # What float64 cannot see: silu and gelu of a tiny x are x / 2 + x^2 / 4, in bfloat16 for 64 subnormals of either sign a tie and
    # 1e-40 of it. No float64 number says on which side of the tie that is, so the promise, one rounding from float64, is the even one.
    even = round_once(pairs[0], dtype)
    unseen = np.flatnonzero(even.view(np.uint16) != right[doubtful].view(np.uint16))
    assert unseen.size == (128 if (name, role, dtype.name) in TIES else 0)
    right[doubtful] = even
    return x, value, right


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize(("name", "role"), ROLES)
def test_halves(name: str, role: str, dtype: Any, backend: str) -> None:
    if backend == "cupy" and dtype != np.float16:
        pytest.skip("CuPy cannot take ml_dtypes arrays from NumPy")
    x, value, right = rounded(name, role, dtype)
    # Next to a root float32 adds its own 2^-24 to the rounding.
    fast = compute(backend, name, role, x, required(name), "fast")
    judge(name, role, x, fast, value, ROUNDED, at_root=np.inf)
    root = next_to_root(x, value, DEFINITIONS[name].roots.get(role, ()))
    off = np.abs(fast[root].astype(np.float64) - value[root]) - np.abs(right[root].astype(np.float64) - value[root])
    assert off.max(initial=0.0) <= 2.0**-23

    result = compute(backend, name, role, x, required(name), "precise")
    same = (result.view(np.uint16) == right.view(np.uint16)) | (np.isnan(result.astype(np.float32)) & np.isnan(value))
    wrong = np.flatnonzero(~same)
    first = wrong[:5]
    assert not wrong.size, f"{name} {role} {dtype}: {wrong.size} not correctly rounded: x = {x[first]}: {result[first]}, not {right[first]}"
