"""The oracle judged by mpmath, the truth by numerical differentiation, the ulp helpers by exact arithmetic."""

from __future__ import annotations

import warnings
from fractions import Fraction
from math import inf, nan
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from common import ROLES, SAMPLED, off_kinks, some
from common import params as common_params

from fastact.kernels.definitions import DEFINITIONS
from fastact.reference import REFERENCE, softmax, softmax_backward, softmax_backward_from_output
from fastact.ulp import float32_bit_patterns, next_to_root, round_once, ulp_error
from fastact.verify.truth import PARAMETERS, evaluate, exact, mp, nearest, points

CASES = [(name, role, p) for name, role in ROLES for p in PARAMETERS.get(name, [tuple(DEFINITIONS[name].params.values())])]
#: How close the oracle has to be: it judges results of 24 and fewer bits.
CLOSE = 2.0**-42


def test_complete() -> None:
    """Every elementwise definition has an oracle with the same gradients, and nothing else has one."""
    elementwise = {name: set(d.learnable) for name, d in DEFINITIONS.items() if d.family == "elementwise"}
    assert {name: set(r.gradients) for name, r in REFERENCE.items()} == elementwise
    assert {name for name, r in REFERENCE.items() if r.integer} == {name for name, d in DEFINITIONS.items() if d.integers}
    assert {name for name, r in REFERENCE.items() if r.second_derivative} == {name for name, d in DEFINITIONS.items() if d.smooth}


def judged(name: str, role: str) -> npt.NDArray[np.float64]:
    """float32 inputs within the function's reach."""
    with np.errstate(over="ignore"):
        x = points(DEFINITIONS[name].roots.get(role, ())).astype(np.float32).astype(np.float64)
    return x[np.isfinite(x) & (np.abs(x) <= DEFINITIONS[name].reach.get("float64", inf))]


def assert_close(name: str, role: str, result: npt.NDArray[np.float64], high: npt.NDArray[np.float64], x: npt.NDArray[np.float64]) -> None:
    """Relatively, down to where no float32 is; next to a root absolutely; zeros have the sign of what underflowed.

    An argument of a periodic function that is a product is known to 64 bits.
    """
    roots, oscillating = DEFINITIONS[name].roots.get(role, ()), bool(DEFINITIONS[name].reach) and bool(DEFINITIONS[name].params)
    near = next_to_root(x, high, roots)
    allowed = np.where(near, 2.0**-50, CLOSE * np.abs(high) + 1e-55) + oscillating * 2.0**-58 * np.abs(x)
    same = (
        (result == high)
        | (np.isnan(result) & np.isnan(high))
        | ((np.abs(high) > 1e39) & (np.sign(result) * np.abs(result) * np.sign(high) > 1e39))
    )
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~same & ~(np.abs(result - high) <= allowed))
    assert not wrong.size, f"at {x[wrong[:3]]!r}: {result[wrong[:3]]!r}, not {high[wrong[:3]]!r}"
    # Farther out the truth itself may be what its last digits leave.
    lost = (high == 0) & (x != 0) & (np.abs(x) < 400) & ~near & (result == 0) & np.signbit(high)
    assert np.signbit(result[lost]).all()


@SAMPLED
@pytest.mark.parametrize(("name", "role", "params"), CASES)
def test_oracle_against_mpmath(name: str, role: str, params: tuple[float, ...], stride: int) -> None:
    x = some(judged(name, role), stride, name, role, params, "oracle")
    if role != "value":
        x = off_kinks(name, x, params)
    high, _ = exact(name, role, x, *params)
    assert_close(name, role, getattr(REFERENCE[name], role)(x, *params), high, x)


@pytest.mark.parametrize(("name", "params"), [(n, p) for n, r, p in CASES if r == "derivative"])
def test_truth_derivatives(name: str, params: tuple[float, ...]) -> None:
    """The differentiated formulas against central differences of the formulas, gradients too."""
    definition = DEFINITIONS[name]
    p = dict(zip(definition.params, map(mp.mpf, params), strict=True))
    h = mp.mpf(2) ** -400
    for x in map(mp.mpf, (-41.515625, -7.265625, -2.515625, -0.765625, -1e-3, 1e-3, 0.515625, 3.265625, 20.265625)):
        for argument in ("x", *definition.learnable):
            here = {**p, "x": x}
            value, slope, bend = evaluate(definition.formula, 2, argument, **here)
            if mp.isnan(value):
                continue
            before, after = (evaluate(definition.formula, 0, None, **{**here, argument: here[argument] + d})[0] for d in (-h, h))
            assert mp.almosteq((after - before) / (2 * h), slope, rel_eps=mp.mpf(10) ** -60, abs_eps=mp.mpf(10) ** -100)
            if argument != "x":
                continue  # only the slope is used, and at soft_exponential's alpha = 0 only that is there
            assert mp.almosteq((after - 2 * value + before) / (h * h), bend, rel_eps=mp.mpf(10) ** -60, abs_eps=mp.mpf(10) ** -100)


@pytest.mark.parametrize(("name", "params"), [(n, p) for n, r, p in CASES if r == "derivative" and DEFINITIONS[n].learnable])
def test_gradients(name: str, params: tuple[float, ...]) -> None:
    """The oracle's parameter gradients against the truth, and broadcast as x is."""
    for parameter, gradient in REFERENCE[name].gradients.items():
        x = judged(name, f"gradient_{parameter}")
        high, _ = exact(name, f"gradient_{parameter}", x, *params)
        assert_close(name, f"gradient_{parameter}", gradient(x, *params), high, x)
        assert gradient(np.ones((2, 3)), *(np.full(3, p) for p in params)).shape == (2, 3)
        assert np.isnan(gradient(nan, *params))


@pytest.mark.parametrize("name", list(REFERENCE))
def test_limits(name: str) -> None:
    """The limits that the definition documents, signs of zeros included, NaN for NaN, and no warnings."""
    full = common_params(name) or tuple(DEFINITIONS[name].params.values())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x, y in DEFINITIONS[name].limits.items():
            got = REFERENCE[name].value(x, *full)
            np.testing.assert_allclose(float(got), y, rtol=1e-14, err_msg=f"{name}({x})")
            assert np.isnan(y) or np.signbit(got) == np.signbit(y), f"{name}({x})"
        for role in ("value", "derivative", "second_derivative")[: 3 if DEFINITIONS[name].smooth else 2]:
            assert np.isnan(getattr(REFERENCE[name], role)(nan, *full))


@pytest.mark.parametrize(
    ("name", "params", "left", "right"),
    [
        ("relu", (), 0, 1), ("leaky_relu", (0.1,), 0.1, 1), ("sigmoid", (), 0, 0), ("tanh", (), 0, 0), ("sigmoid_tanh", (), 0, 0),
        ("silu", (), 0, 1), ("gelu", (), 0, 1), ("softplus", (2.0,), 0, 1), ("softplus", (-2.0,), 1, 0), ("elu", (3.0,), 0, 1),
        ("mish", (), 0, 1), ("prelu", (-0.5,), -0.5, 1),
    ],
)  # fmt: skip
def test_derivative_limits(name: str, params: tuple[float, ...], left: float, right: float) -> None:
    np.testing.assert_array_equal(REFERENCE[name].derivative(np.array([-inf, inf]), *params), [left, right])


def test_kinks() -> None:
    x = np.array([-0.0, 0.0, nan])
    np.testing.assert_array_equal(np.signbit(REFERENCE["relu"].value(x[:2])), [False, False])
    np.testing.assert_array_equal(REFERENCE["relu"].derivative(x), [0.0, 0.0, nan])
    np.testing.assert_array_equal(REFERENCE["leaky_relu"].derivative(x, 0.1), [0.1, 0.1, nan])
    np.testing.assert_array_equal(REFERENCE["elu"].derivative(x, 2.0), [2.0, 2.0, nan])
    np.testing.assert_array_equal(REFERENCE["prelu"].gradients["alpha"](np.array([-3.0, 0.0, 2.0, nan]), 0.1), [-3.0, 0.0, 0.0, nan])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_integers(dtype: str) -> None:
    x = np.array([np.iinfo(dtype).min, 0, 1, np.iinfo(dtype).max], dtype)
    relu = REFERENCE["relu"].integer
    assert relu is not None
    value, slope = relu.value(x), relu.derivative(x)
    assert value.dtype == slope.dtype == x.dtype
    np.testing.assert_array_equal(value, [0, 0, 1, np.iinfo(dtype).max])
    np.testing.assert_array_equal(slope, [0, 0, 1, 1])


# ---------------------------------------------------------------- softmax


def exact_softmax(row: list[float]) -> list[Any]:
    """Softmax of finite numbers in mpmath."""
    terms = [mp.exp(mp.mpf(v)) for v in row]
    total = mp.fsum(terms)
    return [t / total for t in terms]


@pytest.mark.parametrize("scale", [1.0, 30.0, 400.0])
@pytest.mark.parametrize("offset", [0.0, 1e7 + 0.1, -3e15])
def test_softmax_against_mpmath(scale: float, offset: float) -> None:
    x = np.random.default_rng(1).normal(size=(5, 40)) * scale + offset
    y = softmax(x, axis=1)
    for values, result in zip(x, y, strict=True):
        pairs = np.array([nearest(v) for v in exact_softmax(list(values))])
        assert ulp_error(result, (pairs[:, 0], pairs[:, 1])).max() <= 6.0
    np.testing.assert_array_equal(softmax(x.T, axis=0).T, y)


def test_softmax_backward_against_mpmath() -> None:
    rng = np.random.default_rng(2)
    x, grad = rng.normal(size=(4, 10)) * 3, rng.normal(size=(4, 10))
    keep = rng.random(x.shape) < 0.7
    keep[0] = True
    for where in (None, keep):
        result = softmax_backward(np.where(keep if where is not None else True, grad, nan), x, axis=-1, where=where)
        for i in range(len(x)):
            chosen = np.flatnonzero(keep[i]) if where is not None else np.arange(10)
            terms = exact_softmax(list(x[i, chosen]))
            mean = mp.fsum(a * mp.mpf(float(g)) for a, g in zip(terms, grad[i, chosen], strict=True))
            expected = np.zeros(10)
            expected[chosen] = [float(a * (mp.mpf(float(g)) - mean)) for a, g in zip(terms, grad[i, chosen], strict=True)]
            np.testing.assert_allclose(result[i], expected, rtol=1e-15, atol=1e-15)
    y = softmax(x)
    np.testing.assert_array_equal(softmax_backward(grad, x), softmax_backward_from_output(grad, y))


def test_softmax_special_rows() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(softmax([-inf, -inf]), [nan, nan])
        np.testing.assert_array_equal(softmax([1.0, inf]), [nan, nan])
        np.testing.assert_array_equal(softmax([-inf, 5.0, nan], where=[True, True, False]), [0.0, 1.0, 0.0])
        np.testing.assert_array_equal(softmax([-inf, 5.0], where=[True, False]), [nan, 0.0])
        np.testing.assert_array_equal(softmax([[1.0, 2.0]], where=False), [[0.0, 0.0]])
        np.testing.assert_array_equal(softmax([[1.0, 2.0]], where=False, all_masked="nan"), [[nan, nan]])
        np.testing.assert_array_equal(softmax_backward([1.0, 2.0], [-inf, 5.0], where=[True, False]), [nan, 0.0])
        np.testing.assert_array_equal(softmax_backward([1.0, 2.0], [1.0, 5.0], where=False), [0.0, 0.0])
        np.testing.assert_array_equal(softmax_backward([1.0, 2.0], [1.0, 5.0], where=False, all_masked="nan"), [nan, nan])
        assert softmax(np.empty((3, 0))).shape == (3, 0)
        assert softmax(np.empty((0, 3)), axis=0).shape == (0, 3)


# ---------------------------------------------------------------- fastact.ulp


def test_bit_patterns() -> None:
    np.testing.assert_array_equal(float32_bit_patterns(2**24, 5).view(np.uint32), np.arange(256, dtype=np.uint32) * 2**24 + 5)
    assert float32_bit_patterns(4099).size == -(-(2**32) // 4099)
    assert float32_bit_patterns(1, 2**32 - 3).view(np.uint32).tolist() == [2**32 - 3, 2**32 - 2, 2**32 - 1]


@pytest.mark.parametrize(
    ("dtype", "result", "exact_value", "error"),
    [
        ("float32", 1.0, 1.0 + 2.0**-24, 0.5),
        ("float32", 1.0, 1.0 - 2.0**-25, 0.5),
        ("float32", 0.0, 1e-60, 1e-60 * 2.0**149),
        ("float32", 2.0**-149, 2.0**-150, 0.5),
        ("float32", inf, 1e300, 0.0),
        ("float32", -inf, -1e300, 0.0),
        ("float32", inf, 2.0**128 - 2.0**103, 0.5),
        ("float32", inf, inf, 0.0),
        ("float32", inf, -1e300, inf),
        ("float32", inf, -inf, inf),
        ("float32", 1.0, inf, inf),
        ("float32", 2.0**127, 2.0**128, 2.0**23),
        ("float32", nan, nan, 0.0),
        ("float32", nan, 1.0, inf),
        ("float32", 1.0, nan, inf),
        ("float32", -0.0, 0.0, 0.0),
        ("float16", 65504.0, 65520.0, 0.5),
        ("float16", inf, 65520.0, 0.5),
        ("float16", 2.0**-24, 2.0**-26, 0.75),
        ("bfloat16", 1.0, 1.01, 1.28),
        ("bfloat16", 2.0**-133, 0.0, 1.0),
        ("float64", 1.0, (1.0, 0.25), 0.25),
        ("float64", 1.0 + 2.0**-52, (1.0, 0.25), 0.75),
        ("float64", 5e-324, (0.0, 0.25), 0.75),
        ("float64", inf, (1.7976931348623157e308, 0.25), 1.0),
        ("float64", inf, (inf, 0.0), 0.0),
    ],
)
def test_ulp_error(dtype: str, result: float, exact_value: Any, error: float) -> None:
    pair: Any = tuple(np.array([v]) for v in exact_value) if isinstance(exact_value, tuple) else np.array([exact_value])
    got = ulp_error(np.array([result]).astype(np.dtype(getattr(ml_dtypes, dtype, dtype))), pair)
    assert got == pytest.approx(error, rel=1e-12)


@pytest.mark.parametrize(
    ("dtype", "precision", "lowest", "largest"),
    [(np.float16, 11, -24, 65504), (ml_dtypes.bfloat16, 8, -133, 2**128 - 2**120), (np.float32, 24, -149, 2**128 - 2**104)],
)
def test_round_once(dtype: Any, precision: int, lowest: int, largest: int) -> None:
    """Against rational arithmetic, ties and their float64 neighbours included."""
    rng = np.random.default_rng(3)
    middle, wide, small = rng.normal(size=200), rng.uniform(-1, 1, 50) * largest, rng.normal(size=100) * 2.0 ** (lowest + 3)
    spread = [middle, wide, small, np.array([float(largest), 2.0**lowest, 0.0])]
    base = np.concatenate(spread).astype(dtype).astype(np.float64)
    unit = np.ldexp(1.0, np.maximum(np.frexp(base)[1] - precision, lowest))
    ties = np.concatenate([base + unit / 2, base - unit / 2, base])
    tries = np.concatenate([ties, np.nextafter(ties, inf), np.nextafter(ties, -inf)])
    for value, got in zip(tries, round_once(tries, dtype), strict=True):
        k = max(int(np.frexp(value)[1]) - precision, lowest)
        expected = Fraction(round(Fraction(float(value)) / Fraction(2) ** k)) * Fraction(2) ** k
        assert float(got) == (float(expected) if abs(expected) <= largest else np.copysign(inf, value))
    np.testing.assert_array_equal(round_once(np.array([inf, -inf, nan]), dtype).astype(float), [inf, -inf, nan])
    assert np.signbit(round_once(np.array([-1e-300, -0.0]), dtype).astype(float)).all()


def test_round_once_of_pairs() -> None:
    """What lies beyond float64 decides where float64 sees a tie."""
    tie = np.full(3, 1.0 + 2.0**-11)
    got = round_once((tie, np.array([-0.25, 0.0, 1e-30])), np.float16)
    np.testing.assert_array_equal(got, np.array([1.0, 1.0, 1.0 + 2.0**-10], np.float16))
