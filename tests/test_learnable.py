"""Functions of learned parameters: values and all gradients against PyTorch's autograd in float64, central differences, and by hand."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastact
from fastact import noise
from fastact.kernels.definitions import DEFINITIONS
from fastact.learnable import FUNCTIONS, LEAKY_RELU, VERSIONS
from fastact.reference import REFERENCE
from fastact.verify.truth import evaluate, mp

try:
    import torch
except ImportError:  # a peer: what needs no comparison with it runs without
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="compares with PyTorch")

Array = np.ndarray[Any, Any]
LEARNABLE = [name for name, d in DEFINITIONS.items() if d.learnable and d.family == "elementwise"]
CASES = [(name, p) for name in LEARNABLE for p in DEFINITIONS[name].examples]
#: dtype -> relative tolerance of a value.
TOLERANCES = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-6, "float64": 1e-13}

#: The vocabulary of formulas, on tensors.
TORCH: dict[str, Any] = {
    name: getattr(torch, name, None) for name in ("exp", "expm1", "log", "log1p", "sqrt", "tanh", "sin", "cos", "atan", "sigmoid", "erf")
}
TORCH |= {"softplus": lambda v: torch.logaddexp(v, torch.zeros_like(v)), "abs": abs, "min": min, "max": max}


def dtype_of(name: str) -> Any:
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def example(name: str) -> tuple[float, ...]:
    """Parameters to try; of those that the halves hold exactly."""
    return tuple(float(np.asarray(p).astype(ml_dtypes.bfloat16)) for p in DEFINITIONS[name].examples[-1])


def inputs(n: int = 40) -> Array:
    return np.random.default_rng(1).normal(0, 2.5, n)


def autograd(formula: Callable[[Any, list[Any]], Any], x: Array, params: tuple[float, ...]) -> tuple[Array, Array]:
    """(values, rows of derivatives with respect to x and the parameters), one element at a time: conditions are Python's."""
    values, slopes = [], []
    for v in x:
        leaves = [torch.tensor(float(u), dtype=torch.float64, requires_grad=True) for u in (v, *params)]
        y = formula(leaves[0], leaves[1:])
        found = torch.autograd.grad(y, leaves, allow_unused=True)
        values.append(float(y.detach()))
        slopes.append([0.0 if g is None else float(g) for g in found])
    return np.array(values), np.array(slopes).T


def close(result: Any, expected: Any, tolerance: float = 1e-9) -> None:
    """Relative, or to the largest of all where terms cancel."""
    scale = np.abs(expected).max(initial=1e-3)
    np.testing.assert_allclose(np.asarray(result, np.float64), expected, rtol=tolerance, atol=tolerance * scale)


def test_what_is_learnable() -> None:
    wanted = {"prelu", "swish_beta", "srelu", "acon_c", "meta_acon", "snake", "snake_beta", "dyt", "derf", "dyisru", "xielu", "plu"}
    wanted |= {"soft_exponential", "pelu", "pau_a", "pau_b", "pau_c", "pau_nonsafe"}
    assert wanted <= set(LEARNABLE)
    for name in LEARNABLE:
        fixed = {"xielu": {"beta", "eps"}}.get(name, set())
        assert set(DEFINITIONS[name].params) - set(DEFINITIONS[name].learnable) == fixed, name


@needs_torch
@pytest.mark.parametrize(("name", "params"), CASES)
def test_autograd(name: str, params: tuple[float, ...]) -> None:
    """The value and every gradient, float64, against PyTorch differentiating the formula."""
    d, x = DEFINITIONS[name], inputs()
    if name == "soft_exponential" and params[0] < 0.0:
        x = x[1.0 - params[0] * (x + params[0]) > 0.01]
    code = compile(d.formula, name, "eval")
    values, slopes = autograd(
        lambda v, p: eval(code, {"__builtins__": {}}, {**TORCH, "pi": np.pi, "x": v, **dict(zip(d.params, p, strict=True))}), x, params
    )
    function = fastact.ACTIVATIONS[name]
    close(function(x, *params), values)
    close(function.derivative(x, *params), slopes[0])
    arrays = [np.full_like(x, p) for p in params]
    grad = np.random.default_rng(2).normal(size=x.size)
    dx, *gradients = function.backward(grad, x, *arrays)
    close(dx, grad * slopes[0])
    assert len(gradients) == len(d.learnable)
    for p, found in zip(d.learnable, gradients, strict=True):
        close(found, grad * slopes[1 + list(d.params).index(p)])
    dx, *gradients = function.backward(grad, x, *params)
    for p, found in zip(d.learnable, gradients, strict=True):
        terms = grad * slopes[1 + list(d.params).index(p)]
        assert abs(found - terms.sum()) <= 1e-9 * np.abs(terms).sum() + 1e-15, p


@pytest.mark.parametrize("name", LEARNABLE)
def test_central_differences(name: str) -> None:
    """Of the exact formula, in more digits than the step takes."""
    d, x = DEFINITIONS[name], inputs(6)
    x = np.abs(x) if name == "soft_exponential" else x  # inside its domain
    for params in [(0.5,), (2.0,)] if name == "soft_exponential" else d.examples[:3]:
        _, *gradients = fastact.ACTIVATIONS[name].backward(np.ones_like(x), x, *(np.full_like(x, p) for p in params))
        values = {p: mp.mpf(v) for p, v in zip(d.params, params, strict=True)}
        h = mp.mpf(10) ** -40
        for p, found in zip(d.learnable, gradients, strict=True):
            if params[list(d.params).index(p)] == 0.0 and ("abs" in d.formula or " if " in d.formula):
                continue  # one formula on either side
            for v, g in zip(x, found, strict=True):
                ends = [evaluate(d.formula, 0, None, x=mp.mpf(float(v)), **{**values, p: values[p] + s * h})[0] for s in (1, -1)]
                assert float(g) == pytest.approx(float((ends[0] - ends[1]) / (2 * h)), rel=1e-9, abs=1e-12), (p, v, params)


@pytest.mark.parametrize("kind", TOLERANCES)
@pytest.mark.parametrize("name", LEARNABLE)
def test_shapes_of_parameters(name: str, kind: str) -> None:
    """A number, one for each channel, one for each element: gradients have their parameter's shape and x's dtype."""
    d, dtype, rng = DEFINITIONS[name], dtype_of(kind), np.random.default_rng(3)
    x, grad = (rng.normal(0, 1.5, (4, 3, 5)).astype(dtype) for _ in range(2))
    params, function = example(name), fastact.ACTIVATIONS[name]
    wide, slope = x.astype(np.float64), grad.astype(np.float64)
    for shape, axis in ((), None), ((3,), 1), ((4, 3, 5), None), ((5,), None):
        given = [p if shape == () else np.full(shape, p, dtype) for p in params]
        lying = [1, 3, 1] if axis == 1 else shape
        full = [np.broadcast_to(np.reshape(p, lying) if shape else p, x.shape).astype(np.float64) for p in given]
        close(function(x, *given, axis=axis), REFERENCE[name].value(wide, *full), TOLERANCES[kind])
        dx, *gradients = function.backward(grad, x, *given, axis=axis)
        close(dx, slope * REFERENCE[name].derivative(wide, *full), 2 * TOLERANCES[kind])
        assert dx.dtype == dtype
        for p, found in zip(d.learnable, gradients, strict=True):
            terms = slope * REFERENCE[name].gradients[p](wide, *full)
            same = (0, 1, 2) if shape == () else (0, 2) if axis == 1 else () if shape == x.shape else (0, 1)
            assert np.shape(found) == shape, p
            assert found.dtype == dtype, p
            limit = 2 * TOLERANCES[kind] * np.abs(terms).sum(axis=same) + 1e-7
            assert (np.abs(np.asarray(found, np.float64) - terms.sum(axis=same)) <= limit).all(), (p, shape)


@pytest.mark.parametrize("name", LEARNABLE)
def test_out(name: str) -> None:
    x, params, d = inputs(12).astype(np.float32).reshape(4, 3), example(name), DEFINITIONS[name]
    arrays = [np.full(3, p, np.float32) for p in params]
    expected = fastact.ACTIVATIONS[name].backward(x, x, *arrays)
    outs = (np.empty_like(x), *(np.empty(3, np.float32) for _ in d.learnable))
    found = fastact.ACTIVATIONS[name].backward(x, x, *arrays, out=outs)
    assert all(a is b for a, b in zip(found, outs, strict=True))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(TypeError, match=f"out must be a tuple of {1 + len(d.learnable)}"):
        fastact.ACTIVATIONS[name].backward(x, x, *arrays, out=outs[:1])


# ---------------------------------------------------------------- parameters that come as one array

GOOD = (-0.3, 0.7, 0.5, -0.2, 0.1, 0.05), (0.1, 0.6, -0.1, 0.3)


def rational(version: str, x: Any, a: Any, b: Any) -> Any:
    powers = [b[j] * x ** (j + 1) for j in range(4)]
    q = {
        "A": lambda: 1 + sum(p.abs() for p in powers),
        "C": lambda: 0.1 + sum(powers).abs(),
        "nonsafe": lambda: 1 + sum(powers),
    }.get(version, lambda: 1 + sum(powers).abs())()
    return sum(a[i] * x**i for i in range(6)) / q


def tensors(*arrays: Any) -> list[Any]:
    return [torch.tensor(np.asarray(a, np.float64), requires_grad=True) for a in arrays]


@needs_torch
@pytest.mark.parametrize("version", VERSIONS)
def test_pau(version: str) -> None:
    rng = np.random.default_rng(4)
    x, grad = rng.normal(0, 2, (3, 4, 5)), rng.normal(size=(3, 4, 5))
    a4, b4 = (np.array(c)[:, None] * rng.uniform(0.9, 1.1, 4) for c in GOOD)
    for a, b, axis in ((*GOOD, None), (a4, b4, 1)):
        leaves = tensors(x, a, b)
        wide = [c[..., None] for c in leaves[1:]] if axis == 1 else leaves[1:]
        y = rational(version, leaves[0], *wide)
        expected = torch.autograd.grad(y, leaves, torch.tensor(grad))
        close(fastact.pau(x, a, b, version=version, axis=axis), y.detach().numpy())
        found = fastact.pau.backward(grad, x, a, b, version=version, axis=axis)
        for one, other in zip(found, expected, strict=True):
            assert one.shape == tuple(other.shape)
            close(one, other.numpy())
    outs = np.empty_like(x), np.empty(6), np.empty(4)
    assert all(p is q for p, q in zip(fastact.pau.backward(grad, x, *GOOD, version=version, out=outs), outs, strict=True))
    np.testing.assert_array_equal(outs[1], fastact.pau.backward(grad, x, *GOOD, version=version)[1])


def test_pau_starts_as_leaky_relu() -> None:
    x = np.linspace(-3, 3, 601)
    for version, (a, b) in LEAKY_RELU.items():
        assert np.abs(fastact.pau(x, a, b, version=version) - fastact.leaky_relu(x)).max() < 0.0345, version


def test_pau_randomized() -> None:
    x, grad = inputs(), np.random.default_rng(5).normal(size=40)
    factors = 0.9 + 0.2 * noise.uniform(7, (10,), np)
    a, b = np.array(GOOD[0]) * factors[:6], np.array(GOOD[1]) * factors[6:]
    options = {"version": "D", "training": True, "seed": 7}
    np.testing.assert_allclose(fastact.pau(x, *GOOD, **options), fastact.pau(x, a, b, version="B"), rtol=1e-13)
    found, expected = fastact.pau.backward(grad, x, *GOOD, **options), fastact.pau.backward(grad, x, a, b, version="B")
    for one, other, factor in zip(found, expected, (1.0, factors[:6], factors[6:]), strict=True):
        np.testing.assert_allclose(one, other * factor, rtol=1e-12)
    np.testing.assert_array_equal(fastact.pau(x, *GOOD, version="D"), fastact.pau(x, *GOOD, version="B"))
    assert (fastact.pau(x, *GOOD, **options) != fastact.pau(x, *GOOD, **{**options, "seed": 8})).any()
    with pytest.raises(ValueError, match="training=True needs a seed"):
        fastact.pau(x, *GOOD, version="D", training=True)


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        ((GOOD[0][:5], GOOD[1]), {}, r"numerator must have 6 coefficients along its first axis, but has shape \(5,\)"),
        ((GOOD[0], GOOD[0]), {}, "denominator must have 4 coefficients"),
        (GOOD, {"version": "E"}, "version must be one of 'A', 'B', 'C', 'D', 'nonsafe', not 'E'"),
    ],
)
def test_pau_refuses(arguments: Any, options: dict[str, Any], says: str) -> None:
    for call in (
        lambda: fastact.pau(np.ones(3), *arguments, **options),
        lambda: fastact.pau.backward(np.ones(3), np.ones(3), *arguments, **options),
    ):
        with pytest.raises(ValueError, match=says):
            call()


@needs_torch
@pytest.mark.parametrize("kind", TOLERANCES)
def test_apl(kind: str) -> None:
    dtype, rng = dtype_of(kind), np.random.default_rng(6)
    x, grad = (rng.normal(0, 2, (70, 3, 101)).astype(dtype) for _ in range(2))
    for shape, axis in ((2,), None), ((3, 3), 1), ((1, 101), None), ((0,), None):
        a, b = (rng.normal(size=shape).astype(dtype) for _ in range(2))
        leaves = tensors(x, a, b)
        parameters = [p[..., None] for p in leaves[1:]] if axis == 1 else leaves[1:]
        y = leaves[0].relu() + sum(p * (q - leaves[0]).relu() for p, q in zip(*parameters, strict=True))
        expected = torch.autograd.grad(y, leaves, torch.tensor(grad.astype(np.float64)), allow_unused=True)
        result = fastact.apl(x, a, b, axis=axis)
        assert result.dtype == dtype
        close(result, y.detach().numpy(), TOLERANCES[kind])
        found = fastact.apl.backward(grad, x, a, b, axis=axis)
        for one, other, like in zip(found, expected, (x, a, b), strict=True):
            assert one.dtype == dtype
            assert one.shape == like.shape
            close(one, 0.0 if other is None else other.numpy(), 3 * TOLERANCES[kind])
        outs = np.empty_like(x), np.empty_like(a), np.empty_like(b)
        again = fastact.apl.backward(grad, x, a, b, axis=axis, out=outs)
        assert all(p is q for p, q in zip(again, outs, strict=True))
        for one, other in zip(again, found, strict=True):
            np.testing.assert_array_equal(one, other)
    inplace = x.copy()
    assert fastact.apl(inplace, [0.5], [1.0], out=inplace) is inplace
    np.testing.assert_array_equal(inplace, fastact.apl(x, [0.5], [1.0]))
    np.testing.assert_array_equal(fastact.apl(x.T[:, ::-1], [0.5], [1.0]), inplace.T[:, ::-1])


def test_apl_at_its_ends() -> None:
    x = np.array([np.nan, np.inf, -np.inf, -0.0])
    np.testing.assert_array_equal(fastact.apl(x, [0.5], [1.0]), [np.nan, np.inf, np.inf, 0.5])
    dx, da, db = fastact.apl.backward(np.ones(3), x[1:], [0.5], [1.0])
    np.testing.assert_array_equal(dx, [1.0, -0.5, -0.5])
    assert (da, db) == ([np.inf], [1.0])
    for a, b, says in (([1.0], [1.0, 2.0], "a has 1 hinges, but b has 2"), (1.0, 1.0, "a must have the hinges along its first axis")):
        with pytest.raises(ValueError, match=says):
            fastact.apl(x, a, b)
    with pytest.raises(TypeError, match="apl: x has dtype bool"):
        fastact.apl(x > 0, [1.0], [1.0])
    with pytest.raises(ValueError, match="fpga"):
        fastact.apl(x, [1.0], [1.0], backend="fpga")


@needs_torch
@pytest.mark.parametrize("kind", TOLERANCES)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_maxout(kind: str, axis: int) -> None:
    dtype, rng = dtype_of(kind), np.random.default_rng(7)
    x = rng.permutation(6 * 6 * 12).reshape(6, 6, 12).astype(dtype)
    for size in (1, 2, 3, 6):
        (leaf,) = tensors(x)
        y = leaf.unflatten(axis, (-1, size)).amax(axis + 1 if axis >= 0 else axis)
        result = fastact.maxout(x, size, axis)
        assert result.dtype == dtype
        np.testing.assert_array_equal(result.astype(np.float64), y.detach().numpy())
        grad = rng.normal(size=result.shape).astype(dtype)
        dx = fastact.maxout.backward(grad, x, size, axis)
        assert dx.dtype == dtype
        if kind == "float64":
            np.testing.assert_array_equal(dx, torch.autograd.grad(y, leaf, torch.tensor(grad))[0].numpy())
        members = np.moveaxis(dx, axis, -1).reshape(-1, size).astype(np.float64)
        assert ((members != 0).sum(axis=1) <= 1).all()
        np.testing.assert_array_equal(members.sum(axis=1), np.moveaxis(grad, axis, -1).ravel().astype(np.float64))
        out = np.empty_like(x)
        assert fastact.maxout.backward(grad, x, size, axis, out=out) is out
        np.testing.assert_array_equal(out, dx)


def test_maxout_at_its_ends() -> None:
    np.testing.assert_array_equal(fastact.maxout.backward(np.array([5.0]), np.array([1.0, 2.0, 2.0]), 3), [0.0, 5.0, 0.0])
    np.testing.assert_array_equal(fastact.maxout(np.array([1.0, np.nan, 2.0, 3.0]), 2), [np.nan, 3.0])
    np.testing.assert_array_equal(fastact.maxout.backward(np.ones(2), np.array([1.0, np.nan, 2.0, 3.0]), 2), [0.0, 1.0, 0.0, 1.0])
    assert fastact.maxout(np.array([3, 1, 4, 1], np.int16), 2).dtype == np.int16
    for arguments, error, says in (
        ((np.ones(5), 2), ValueError, "axis 0 has 5 elements, which is no multiple of pool_size 2"),
        ((np.ones(4), 0), ValueError, "pool_size must be at least 1, not 0"),
        ((np.ones(4), 2.0), TypeError, "pool_size must be an integer, not 2.0"),
        ((np.ones(4), 2, 1), IndexError, "axis 1 is out of range"),
    ):
        with pytest.raises(error, match=says):  # type: ignore[call-overload]
            fastact.maxout(*arguments)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_objects(name: str) -> None:
    function = getattr(fastact, name)
    assert function is FUNCTIONS[name]
    assert name in fastact.__all__
    for each in (function, function.backward):
        assert pickle.loads(pickle.dumps(each)) is each
        assert copy.deepcopy(each) is each
        assert repr(each) == f"<fastact.{each.__name__}>"
        assert ">>>" in each.__doc__
    assert function.backward.__name__ == f"{name}.backward"
    data = np.ma.masked_array([1.0, 2.0, -3.0, 4.0], [0, 1, 0, 0])
    arguments = {"pau": GOOD, "apl": ([0.5], [1.0]), "maxout": (1,)}[name]
    assert isinstance(function(data, *arguments), np.ma.MaskedArray)
    assert function([1.0, 2.0], *arguments).shape == (2,)


def test_srelu_with_thresholds_past_each_other() -> None:
    """Training may push them there: the right side comes first, in the gradients as in the value."""
    given, x = {"t_right": 0.5, "a_right": 0.3, "t_left": 0.8, "a_left": 2.0}, np.array([0.4, 0.6, 0.7, 0.9])
    _, *gradients = fastact.srelu.backward(np.ones(4), x, **given)
    for name, gradient in zip(fastact.srelu.learnable, gradients, strict=True):
        above, below = (fastact.srelu(x, **{**given, name: given[name] + d}).sum() for d in (1e-6, -1e-6))
        assert abs((above - below) / 2e-6 - gradient) < 1e-6, name
