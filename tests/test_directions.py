"""What hangs on an activation beside its value: derivatives of both orders, both at once, sides of kinks, outputs read backwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import BACKENDS, DTYPES, ELEMENTWISE, TWELVE, params, same_bits

import fastact
from fastact.kernels.definitions import DEFINITIONS, language
from fastact.verify.truth import evaluate, mp

SMOOTH = [name for name in ELEMENTWISE if DEFINITIONS[name].smooth]
KINKED = [name for name in ELEMENTWISE if DEFINITIONS[name].kinks]
FROM_OUTPUT = [name for name in ELEMENTWISE if "derivative_from_output" in DEFINITIONS[name].roles]
X = np.array([-30.5, -3.25, -1.0, -0.5, -0.0, 0.0, 0.25, 1.0, 2.75, 40.0])


def full(name: str) -> dict[str, float]:
    """All parameters by name."""
    d = DEFINITIONS[name]
    return dict(zip(d.params, params(name) or d.params.values(), strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_value_and_derivative_are_both(name: str, dtype: Any) -> None:
    f, x = getattr(fastact, name), X.astype(dtype)
    for accuracy in ("fast", "precise"):
        y, d = f.value_and_derivative(x, *params(name), accuracy=accuracy)
        assert same_bits(y, f(x, *params(name), accuracy=accuracy))
        assert same_bits(d, f.derivative(x, *params(name), accuracy=accuracy))
    slot = np.empty_like(x)
    y, d = f.value_and_derivative(x, *params(name), out=(None, slot))
    assert d is slot
    assert same_bits(d, f.derivative(x, *params(name)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_value_and_derivative_of_any_layout(backend: str) -> None:
    x = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)
    wanted = fastact.gelu(x, backend=backend), fastact.gelu.derivative(x, backend=backend)
    for view in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x.astype(">f4"), x[::-1][::-1]):
        for got, right in zip(fastact.gelu.value_and_derivative(view, backend=backend), wanted, strict=True):
            assert got.dtype == np.float32
            assert same_bits(got, right)
    for slot in (0, 1):  # in place
        both: list[Any] = [np.empty_like(x), np.empty_like(x)]
        both[slot] = x.copy()
        got = fastact.gelu.value_and_derivative(both[slot], out=tuple(both), backend=backend)
        assert all(a is b and same_bits(a, w) for a, b, w in zip(got, both, wanted, strict=True))


def test_results_do_not_share_memory() -> None:
    x = np.ones(8)
    with pytest.raises(ValueError, match="value_and_derivative: the arrays in out share memory"):
        fastact.gelu.value_and_derivative(x, out=(x, x))
    with pytest.raises(ValueError, match="share memory"):
        fastact.gelu.value_and_derivative(x[:4], out=(x[2:6], x[4:]))
    with pytest.raises(TypeError, match="out must be a tuple of 2"):
        fastact.gelu.value_and_derivative(x, out=x)


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivative(name: str) -> None:
    """Against the formula in mpmath; all else of it is in test_accuracy."""
    f = getattr(fastact, name)
    x = np.array([0.375, 1.5, 2.25])
    wanted = [
        float(evaluate(DEFINITIONS[name].formula, 2, "x", x=mp.mpf(v), **{p: mp.mpf(q) for p, q in full(name).items()})[2]) for v in x
    ]
    np.testing.assert_allclose(f.derivative(x, *params(name), order=2), wanted, rtol=1e-12, atol=1e-15)
    for backend in BACKENDS:
        if backend == "numba" and name not in TWELVE:
            continue  # a module takes a second to compile; the rest is in test_same_bits
        got = f.derivative(x.astype(np.float32), *params(name), order=2, backend=backend)
        assert got.dtype == np.float32


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if name not in SMOOTH])
def test_no_second_derivative(name: str) -> None:
    with pytest.raises(TypeError, match="order"):
        getattr(fastact, name).derivative(X, *params(name), order=2)


def test_order_is_checked() -> None:
    for wrong in (0, 3, "2", True):
        with pytest.raises(ValueError, match=r"gelu\.derivative: order must be 1 or 2"):
            fastact.gelu.derivative(X, order=wrong)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("name", KINKED)
def test_sides_of_a_kink(name: str, dtype: Any) -> None:
    """The documented limits are what the formula's derivative tends to, and `kink` gives them; elsewhere it changes nothing."""
    definition, f, given = DEFINITIONS[name], getattr(fastact, name), full(name)
    exactly = {p: mp.mpf(v) for p, v in given.items()}
    stored = {p: float(np.asarray(v).astype(dtype)) for p, v in given.items()}
    for at, sides in definition.kinks.items():
        point = mp.mpf(float(language.evaluate(at, given)))
        for side, expression, step in zip(("left", "right"), sides, (-1, 1), strict=True):
            near = evaluate(definition.formula, 1, "x", x=point + step * mp.mpf(2) ** -34, **exactly)[1]
            assert abs(near - language.evaluate(expression, given)) < 1e-8, (at, side)
            x = np.array([float(language.evaluate(at, stored)), 0.1875]).astype(dtype)
            if float(x[0]) != float(language.evaluate(at, stored)):
                continue  # not a number of this type
            slope = np.asarray(float(language.evaluate(expression, stored))).astype(dtype)
            usual = f.derivative(x, *given.values())
            for call in (f.derivative, lambda *a, **k: f.value_and_derivative(*a, **k)[1]):
                got = call(x, *given.values(), kink=side)
                assert got[0] == slope
                assert got[1] == usual[1]
            back = f.backward(np.full_like(x, 2), x, *given.values(), kink=side)
            assert (back[0] if isinstance(back, tuple) else back)[0] == 2 * slope
    with pytest.raises(ValueError, match="kink must be None, 'left' or 'right', not 'middle'"):
        f.derivative(X, *given.values(), kink="middle")


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_facts(name: str) -> None:
    """Monotonicity, range, Lipschitz constant and continuity are as stated, on a grid."""
    d, f, given = DEFINITIONS[name], getattr(fastact, name), params(name)
    x = np.concatenate([np.linspace(-60, 60, 240_001), np.linspace(-3, 3, 60_001)])
    x = np.sort(x)
    y, slope = f.value_and_derivative(x, *given, backend="cython")  # Numba would compile a module for each
    inside = np.isfinite(y)
    y, slope, x = y[inside], slope[inside], x[inside]
    with np.errstate(invalid="ignore"):
        steps = np.diff(y)
    allowed = 4e-16 * np.abs(y[1:])
    if d.monotonicity == "increasing":
        assert (steps >= -allowed).all()
    elif d.monotonicity == "decreasing":
        assert (steps <= allowed).all()
    elif d.monotonicity == "constant":
        assert (steps == 0).all()
    else:
        assert (steps > allowed).any(), "is decreasing"
        assert (steps < -allowed).any(), "is increasing"
    with np.errstate(all="ignore"):
        largest = np.nanmax(np.abs(slope))
    if np.isfinite(d.lipschitz):
        assert largest <= d.lipschitz * (1 + 1e-9)
        assert largest >= d.lipschitz * (1 - 1e-3), f"{d.lipschitz} is never reached, only {largest}"
        assert (np.abs(steps) <= d.lipschitz * np.diff(x) * (1 + 1e-6) + 1e-12).all() or d.continuity == "discontinuous"
    if d.continuity != "discontinuous":
        assert d.smooth == (d.continuity in ("C2", "smooth"))
    jumps = any(language.evaluate(left, full(name)) != language.evaluate(right, full(name)) for left, right in d.kinks.values())
    assert not jumps or d.continuity in ("C0", "discontinuous")


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if n not in FROM_OUTPUT])
def test_missing_from_output_is_named(name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"^{name} has no backward_from_output"):
        getattr(fastact, name).backward_from_output(X, X)


@pytest.mark.parametrize("name", FROM_OUTPUT)
def test_from_output_through_the_front_end(name: str) -> None:
    d, f = DEFINITIONS[name], getattr(fastact, name)
    tried = [params(name) or tuple(d.params.values()), *d.examples]
    given = next(e for e in tried if not d.output_requires or language.evaluate(d.output_requires, dict(zip(d.params, e, strict=True))))
    y = f(np.linspace(-2, 2, 12).reshape(3, 4), *given)
    grad = np.full_like(y, 1.5)
    got = f.backward_from_output(grad, y, *given)
    assert same_bits(f.backward_from_output(grad, np.asfortranarray(y), *given), got)
    out = y.copy()
    assert f.backward_from_output(grad, out, *given, out=out) is out
    assert same_bits(out, got)
    assert same_bits(f.backward_from_output(grad, y, *given, backend="cython"), got)
    with pytest.raises(ValueError, match="numpy"):
        f.backward_from_output(grad, y, *given, backend="numpy")


# ---------------------------------------------------------------- rrelu


def test_rrelu_draws_slopes_between_its_bounds() -> None:
    x = -np.ones(200_000)
    slopes = -fastact.rrelu(x, training=True, seed=7)
    assert slopes.min() >= 0.125
    assert slopes.max() < 1 / 3
    assert abs(slopes.mean() - (0.125 + 1 / 3) / 2) < 5e-4
    assert abs(slopes.var() - (1 / 3 - 0.125) ** 2 / 12) < 5e-5
    assert abs(np.corrcoef(slopes[1:], slopes[:-1])[0, 1]) < 0.01
    other = -fastact.rrelu(x, training=True, seed=8)
    assert abs(np.corrcoef(slopes, other)[0, 1]) < 0.01
    np.testing.assert_array_equal(fastact.rrelu(x, 0.5, 0.5, training=True, seed=1), -0.5)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_rrelu_backward_draws_them_again(dtype: Any) -> None:
    x = np.random.default_rng(1).standard_normal((5, 40)).astype(dtype)
    y = fastact.rrelu(x, training=True, seed=3)
    grad = np.full_like(x, 2)
    slope = fastact.rrelu.derivative(x, training=True, seed=3)
    assert same_bits(fastact.rrelu.backward(grad, x, training=True, seed=3), (grad * slope).astype(dtype))
    assert same_bits(fastact.leaky_relu(x, slope), y)
    assert same_bits(fastact.rrelu(np.asfortranarray(x), training=True, seed=3), y)
    for backend in BACKENDS:
        assert same_bits(fastact.rrelu(x, training=True, seed=3, backend=backend), y)
    assert same_bits(fastact.rrelu(x), fastact.leaky_relu(x, (0.125 + 1 / 3) / 2)) or dtype.itemsize < 4


def test_rrelu_is_bad_at_nothing() -> None:
    with pytest.raises(ValueError, match="training=True needs a seed"):
        fastact.rrelu(X, training=True)
    with pytest.raises(TypeError, match=r"seed must be an integer, not 1\.5"):
        fastact.rrelu(X, training=True, seed=1.5)
    with pytest.raises(ValueError, match="seed must be from 0"):
        fastact.rrelu(X, training=True, seed=-1)
    with pytest.raises(TypeError, match="lower must be a number"):
        fastact.rrelu(X, np.ones(3), training=True, seed=1)


def test_noise_is_that_of_splitmix64() -> None:
    """The first numbers of Java's and everyone's SplitMix64, seed 1234567."""
    from fastact import noise

    state, mask, found = 1234567, 2**64 - 1, []
    for _ in range(3):
        state = (state + noise._STEP) & mask
        found.append(noise.mixed((state - noise._STEP) & mask))
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    z = [(noise.mixed(5) + (i + 1) * noise._STEP) & mask for i in range(4)]
    expected = [(noise.mixed((v - noise._STEP) & mask) >> 40) * 2.0**-24 for v in z]
    np.testing.assert_array_equal(noise.uniform(5, (2, 2), np).ravel(), expected)


# ---------------------------------------------------------------- kinks with unusual parameters


def test_kinks_of_a_sixth_in_every_type() -> None:
    """Rounded to bfloat16, 1/6 would put the kink next to 3, not on it."""
    for dtype in DTYPES.values():
        x = np.array([-3, 3]).astype(dtype)
        for side, slopes in ("left", [0.0, 1.5]), ("right", [-0.5, 1.0]):
            assert fastact.hard_silu.derivative(x, kink=side).tolist() == slopes
        assert fastact.hard_sigmoid.derivative(x, kink="left").tolist() == [0.0, float(np.asarray(1 / 6).astype(dtype))]


@pytest.mark.filterwarnings("error")
def test_kinks_neither_fail_nor_warn() -> None:
    bfloat16 = DTYPES["bfloat16"]
    with np.errstate(all="raise"):
        fastact.hard_sigmoid.derivative(np.zeros(2), 0.0, 0.5, kink="left")
        fastact.hard_sigmoid.derivative(np.empty(0), np.empty(0), kink="left")
        fastact.hard_sigmoid.derivative(np.zeros(3, bfloat16), np.full(3, 1 / 6, bfloat16), kink="left")
        fastact.hard_sigmoid.derivative(np.zeros(1, np.float16), 1e-5, 1e-5, kink="left")
        assert np.isinf(fastact.leaky_relu.backward(np.array([6e4], np.float16), np.zeros(1, np.float16), 4.0, kink="left"))
        assert np.isnan(fastact.relu.backward(np.array([np.inf]), np.zeros(1), kink="left"))
        with pytest.raises(ValueError, match="kink must be"):
            fastact.relu.derivative(X, kink=np.array(["left"]))


def test_sides_follow_array_parameters() -> None:
    x, slope = np.zeros((2, 2)), np.array([0.25, -2.0])
    assert fastact.leaky_relu.derivative(x, slope, kink="left").tolist() == [[0.25, -2.0]] * 2
    assert fastact.leaky_relu.derivative(x, slope, axis=0, kink="left").tolist() == [[0.25, 0.25], [-2.0, -2.0]]
    out = x.copy()
    assert fastact.leaky_relu.derivative(out, slope, kink="right", out=out).tolist() == [[1.0, 1.0]] * 2


def test_parameter_gradients_on_an_axis_go_where_they_are_wanted() -> None:
    x, out = np.full((2, 3), -1.0), np.empty(2)
    dx, gradient = fastact.prelu.backward(np.ones((2, 3)), x, np.array([0.5, 2.0]), axis=0, out=(None, out))
    assert gradient is out
    assert out.tolist() == [-3.0, -3.0]
    assert dx.tolist() == [[0.5] * 3, [2.0] * 3]


def test_what_is_missing_is_an_object_too() -> None:
    import pickle

    missing = fastact.gelu.backward_from_output
    assert repr(missing) == "<fastact.gelu.backward_from_output: missing>"
    assert "does not follow exactly" in missing.__doc__
    assert pickle.loads(pickle.dumps(missing)).__name__ == missing.__name__
