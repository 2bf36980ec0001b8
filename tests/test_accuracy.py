"""The accuracy that is promised, for every definition, direction, type and backend; bounds in ULP.

float32 is judged by the float64 oracle on a sample of all bit patterns (``fastact verify --exhaustive`` takes them all), float64 by mpmath,
the halves on every input there is.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from common import ROLES, SAMPLED, directions, off_kinks, params, some

import fastact
from fastact.kernels.definitions import DEFINITIONS, language
from fastact.kernels.definitions.language import DERIVATIVE_BOUND
from fastact.reference import REFERENCE
from fastact.ulp import AT_ROOT, BOUNDS, float32_bit_patterns, next_to_root, round_once, worst, wrong_zeros
from fastact.verify.truth import PARAMETERS, evaluate, exact, mp, nearest, points

ROUNDED = BOUNDS["precise"]
HALVES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
#: Strides through the bit patterns, prime, so that every exponent and every low bit occurs.
STEP, LONG_STEP = 4099, 16411
ENDS = np.array([0.0, -0.0, 2.0**-1074, -(2.0**-1074), 2.0**-1022, 1.7976931348623157e308, -1.7976931348623157e308])
SPECIAL = np.array([0.0, 2.0**-149, 2.0**-126, 1.0, 3.4028235e38, np.inf, np.nan], dtype=np.float32)

BACKENDS = [
    pytest.param(name, marks=[pytest.mark.gpu] if name == "cupy" else [])
    for name, backend in fastact.backends().items()
    if backend.available and name != "numpy"  # which is the judge
]
#: Numba runs the same definitions to the same bits (tested elsewhere), and compiles for a second each.
COMPILED = [b for b in BACKENDS if b.values[0] != "numba"]
EXTRA = [(name, role, p) for name, role in ROLES for p in PARAMETERS.get(name, [])]
LEARNED = [(name, f"gradient_{p}", e) for name, d in DEFINITIONS.items() for p in d.learnable for e in d.examples]


def fast(name: str, role: str) -> float:
    """The promise for float32, accuracy "fast"; the second derivative is computed in float64."""
    return ROUNDED if role == "second_derivative" else DEFINITIONS[name].bound if role == "value" else DERIVATIVE_BOUND


def double(role: str) -> float:
    """The promise for float64."""
    return 4.0 if role == "second_derivative" else 2.0


def seen(name: str, params: tuple[float, ...], dtype: Any) -> tuple[float, ...]:
    """The parameters that a kernel sees: defaults filled in, cast to the array's dtype."""
    full = params + tuple(DEFINITIONS[name].params.values())[len(params) :]
    return tuple(float(np.array(p).astype(dtype)) for p in full)


def compute(backend: str, name: str, role: str, x: np.ndarray[Any, Any], params: tuple[float, ...], accuracy: str) -> np.ndarray[Any, Any]:
    """Through the public interface, on the arrays that the backend takes."""
    call = directions(name).get(role) or learned(name, role)
    if backend != "cupy":
        result = call(x, *params, backend=backend, accuracy=accuracy)
    else:
        cupy = pytest.importorskip("cupy")
        result = cupy.asnumpy(call(cupy.asarray(x), *params, backend=backend, accuracy=accuracy))
    assert result.dtype == x.dtype
    return result  # type: ignore[no-any-return]


def learned(name: str, role: str) -> Any:
    """A parameter's gradient element by element: no sum where the parameter is an array like x."""

    def gradient(x: Any, *params: float, **options: Any) -> Any:
        arrays = [np.full_like(x, p) for p in params]
        return getattr(fastact, name).backward(np.ones_like(x), x, *arrays, **options)[1 + DEFINITIONS[name].learnable.index(role[9:])]

    return gradient


def within(name: str, x: np.ndarray[Any, Any], type_: str) -> np.ndarray[Any, Any]:
    """The inputs for which the function keeps its promise, computing in that type."""
    with np.errstate(invalid="ignore"):  # signalling NaNs
        wide = np.abs(x.astype(np.float64))
    return x[~(wide > DEFINITIONS[name].reach.get(type_, np.inf))]


@lru_cache(maxsize=4)
def sample(step: int) -> np.ndarray[Any, Any]:
    """Every `step`-th float32, and the special ones."""
    return np.concatenate([float32_bit_patterns(step), SPECIAL, -SPECIAL])


@lru_cache(maxsize=2)
def oracle(name: str, role: str, params: tuple[float, ...], step: int) -> np.ndarray[Any, Any]:
    """The oracle on the sample, kept for the next backend."""
    reference = REFERENCE[name]
    return (reference.gradients[role[9:]] if role.startswith("gradient_") else getattr(reference, role))(sample(step), *params)  # type: ignore[no-any-return]


def judge32(name: str, role: str, params: tuple[float, ...], step: int, backend: str, accuracy: str, bound: float) -> None:
    """Compute and judge float32 on the sample."""
    x, truth = sample(step), oracle(name, role, seen(name, params, np.float32), step)
    keep = ~(
        np.abs(x) > DEFINITIONS[name].reach.get("float32" if accuracy == "fast" and role != "second_derivative" else "float64", np.inf)
    )
    judge(name, role, x[keep], compute(backend, name, role, x[keep], params, accuracy), truth[keep], bound)


def judge(name: str, role: str, x: Any, result: Any, truth: Any, bound: float, at_root: float = AT_ROOT, signs: Any = None) -> None:
    """Fail with the worst error and its place; zeros must have the sign they have in `signs`, which is `truth` by default."""
    ordinary, root = worst(x, result, truth, DEFINITIONS[name].roots.get(role, ()))
    assert ordinary.error <= bound, f"{name} {role} {result.dtype}: {ordinary}"
    assert root.error <= at_root, f"{name} {role} {result.dtype}: {root}"
    wrong = wrong_zeros(result, truth if signs is None else signs)
    assert role.startswith("gradient_") or not wrong.size, f"{name} {role} {result.dtype}: zero of the wrong sign at x = {x[wrong[:3]]!r}"


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize(("name", "role"), ROLES)
def test_float32_fast(name: str, role: str, backend: str) -> None:
    judge32(name, role, params(name), STEP, backend, "fast", fast(name, role))


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize(("name", "role"), [r for r in ROLES if r[1] != "second_derivative"])
def test_float32_precise(name: str, role: str, backend: str) -> None:
    judge32(name, role, params(name), LONG_STEP, backend, "precise", ROUNDED)


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize(("name", "role", "params"), EXTRA + LEARNED)
def test_float32_parameters(name: str, role: str, params: tuple[float, ...], backend: str) -> None:
    for accuracy, bound in ("fast", fast(name, role)), ("precise", ROUNDED):
        judge32(name, role, params, LONG_STEP, backend, accuracy, bound)


@SAMPLED
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize(
    ("name", "role", "params"), [(*r, p) for r in ROLES if (p := params(r[0])) not in PARAMETERS.get(r[0], [])] + EXTRA + LEARNED
)
def test_float64(name: str, role: str, params: tuple[float, ...], backend: str, stride: int) -> None:
    inputs = some(points(DEFINITIONS[name].roots.get(role, ())), stride, name, role, params)
    x = within(name, np.append(inputs, ENDS), "float64")
    full = seen(name, params, x.dtype)
    x = x if role == "value" else off_kinks(name, x, full)
    reference = REFERENCE[name]
    signs = (reference.gradients[role[9:]] if role.startswith("gradient_") else getattr(reference, role))(x, *full)
    truth = exact(name, role, x, *full)
    judge(name, role, x, compute(backend, name, role, x, params, "fast"), truth, double(role), at_root=double(role) / 2.0, signs=signs)


@lru_cache(maxsize=2)
def rounded(name: str, role: str, dtype: Any, stride: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Every input of a half type; the oracle's results, the correctly rounded ones, those rounded from float64; mpmath decides at need,
    with a stride above 1 some two hundred times; and where it has not.
    """
    x = within(name, np.arange(2**16, dtype=np.uint16).view(dtype), "float64")
    full = seen(name, params(name), dtype)
    value = getattr(REFERENCE[name], role)(x, *full)
    right = round_once(value, dtype)
    with np.errstate(all="ignore"):
        finite = np.isfinite(x.astype(np.float64)) & np.isfinite(value) & (value != 0)
        doubt = np.abs(value) * 1e-12 + np.where(next_to_root(x, value, DEFINITIONS[name].roots.get(role, ())), 2.0**-49, 0.0)
        doubtful = (round_once(value - doubt, dtype) != round_once(value + doubt, dtype)) & finite
    # What float64 cannot see: silu and gelu of a tiny x are x / 2 + x^2 / 4, in bfloat16 for 64 subnormals of either sign a tie and
    # 1e-40 of it. No float64 number says on which side of the tie that is, so the promise, one rounding from float64, may be the even one.
    even, places = right.copy(), np.flatnonzero(doubtful)
    decided = places[:: 1 if stride == 1 else max(1, len(places) // 200)]
    pairs = exact(name, role, x[decided], *full)
    right[decided], even[decided], doubtful[decided] = round_once(pairs, dtype), round_once(pairs[0], dtype), False
    return x, value, right, even, doubtful


@SAMPLED
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize(("name", "role"), ROLES)
def test_halves(name: str, role: str, dtype: Any, backend: str, stride: int) -> None:
    if backend == "cupy" and dtype != np.float16:
        pytest.skip("CuPy cannot take ml_dtypes arrays from NumPy")
    x, value, right, even, undecided = rounded(name, role, dtype, stride)
    # Next to a root float32 adds its own 2^-24 to the rounding.
    result = compute(backend, name, role, x, params(name), "fast")
    with np.errstate(invalid="ignore"):
        narrow = ~(np.abs(x.astype(np.float64)) > DEFINITIONS[name].reach.get("float32", np.inf))
    judge(name, role, x[narrow], result[narrow], value[narrow], ROUNDED, at_root=np.inf)
    root = next_to_root(x, value, DEFINITIONS[name].roots.get(role, ())) & narrow
    off = np.abs(result[root].astype(np.float64) - value[root]) - np.abs(right[root].astype(np.float64) - value[root])
    assert off.max(initial=0.0) <= 2.0**-23

    result = compute(backend, name, role, x, params(name), "precise")
    if role == "second_derivative":  # float64 is within 4 ULP only: next to a tie either neighbour is right
        judge(name, role, x, result, value, ROUNDED, at_root=np.inf)
        return
    judge(name, role, x[undecided], result[undecided], value[undecided], ROUNDED, at_root=np.inf)
    same = (
        undecided
        | (result.view(np.uint16) == right.view(np.uint16))
        | (result.view(np.uint16) == even.view(np.uint16))
        | (np.isnan(result.astype(np.float32)) & np.isnan(value))
    )
    wrong = np.flatnonzero(~same)
    first = wrong[:5]
    assert not wrong.size, f"{name} {role} {dtype}: {wrong.size} not correctly rounded: x = {x[first]}: {result[first]}, not {right[first]}"


@pytest.mark.parametrize(
    ("name", "example"), [(n, p) for n, d in DEFINITIONS.items() if "derivative_from_output" in d.roles for p in d.examples or [()]]
)
def test_derivative_from_output(name: str, example: tuple[float, ...]) -> None:
    """f'(x) from f(x) alone, as well as f(x) tells x: to its rounding error times f''/f'."""
    definition = DEFINITIONS[name]
    given = example or tuple(definition.params.values())
    by_name = dict(zip(definition.params, map(mp.mpf, given), strict=True))
    if definition.output_requires and not language.evaluate(definition.output_requires, by_name):
        with pytest.raises(ValueError, match=re.escape(definition.output_requires)):
            getattr(fastact, name).backward_from_output(np.ones(3), np.ones(3), *given)
        return
    for x in (-30.1, -8.3, -3.2, -2.7, -1.4, -0.6, -0.01, 0.02, 0.3, 0.55, 0.9, 1.7, 2.9, 3.4, 7.3, 29.7):
        y, slope, bend = evaluate(definition.formula, 2, "x", x=mp.mpf(x), **by_name)
        output = np.array([nearest(y)[0]])
        got = float(getattr(fastact, name).backward_from_output(np.ones(1), output, *given)[0])
        lost = abs(bend / slope) * max(abs(y), 1) * mp.mpf(2) ** -53 if slope else 0
        assert abs(got - slope) <= 4 * 2.0**-53 * abs(slope) + 2 * lost, (name, x, got, float(slope))
    assert np.isnan(getattr(fastact, name).backward_from_output(np.ones(1), np.array([np.nan]), *given))
