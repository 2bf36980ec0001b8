"""Row-wise functions with all their options, against PyTorch's autograd in float64; entmax against its equation, solved here.

`test_softmax.py` has more of the plain softmax.
"""

from __future__ import annotations

import functools
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from common import BACKENDS, DTYPES, same_bits

import fastact
from fastact import noise, reference
from fastact.reference import rowwise
from fastact.ulp import ulp_error, units

try:
    import torch
except ImportError:  # a peer: what needs no comparison with it runs without
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="compares with PyTorch")


Array = np.ndarray[Any, Any]
inf, nan = np.inf, np.nan

#: Their probabilities may be 0; alpha of entmax.
SPARSE = {"sparsemax": 2.0, "entmax15": 1.5, "entmax": None}
#: With a sink.
SINKING = ("softmax", "log_softmax", "softmin", "logsumexp")
FROM_OUTPUT = ("softmax", "log_softmax", "softmin", "sparsemax", "entmax15", "entmax")
FUNCTIONS = (*SINKING, "hardmax", "gumbel_softmax", *SPARSE)
SEED = 5


def test_every_function_is_tested() -> None:
    there = {name for name in fastact.__all__ if isinstance(getattr(fastact, name), fastact.RowwiseActivation)}
    assert there == set(FUNCTIONS)
    assert {name for name in there if "backward_from_output" in dir(getattr(fastact, name))} >= set(FROM_OUTPUT)


def call(name: str) -> Any:
    """The function with what it cannot do without."""
    f = getattr(fastact, name)
    return functools.partial(f, seed=SEED) if name == "gumbel_softmax" else f


def backward(name: str) -> Any:
    """Its gradient, likewise."""
    f = getattr(fastact, name).backward
    return functools.partial(f, seed=SEED) if name == "gumbel_softmax" else f


# ---------------------------------------------------------------- the truth


def _entmax(z: Any, alpha: Any) -> Any:
    """alpha-entmax along the last axis: the equation for its threshold is solved by bisection, and differentiated by one step of Newton."""
    a = alpha - 1.0
    below = z - z.detach().amax(-1, keepdim=True)
    scaled = a * torch.where(below > -inf, below, -1e4)

    def parts(tau: Any) -> Any:
        above = scaled - tau
        return torch.where(above > 0, torch.where(above > 0, above, 1.0) ** (1 / a), 0.0)

    low, high = -torch.ones_like(scaled[..., :1]), torch.zeros_like(scaled[..., :1])
    with torch.no_grad():
        for _ in range(80):
            middle = (low + high) / 2
            more = parts(middle).sum(-1, keepdim=True) >= 1
            low, high = torch.where(more, middle, low), torch.where(more, high, middle)
        p = parts(low)
        slope = torch.where(p > 0, torch.where(p > 0, p, 1.0) ** (2 - alpha) / a, 0.0).sum(-1, keepdim=True)
    return parts(low + (parts(low).sum(-1, keepdim=True) - 1) / slope)


def _rows(a: Any, axes: tuple[int, ...]) -> Any:
    """`axes` behind all others, as one."""
    rest = [i for i in range(a.ndim) if i not in axes]
    return a.permute(*rest, *axes).reshape([a.shape[i] for i in rest] + [-1])


def truth(name: str, x: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    """The result and lse, in x's shape and in its shape without `axis`, from tensors of float64. What is left out is -inf."""
    axis = options.get("axis", -1)
    axes = tuple(range(x.ndim)) if axis is None else tuple(i % x.ndim for i in (axis if isinstance(axis, tuple) else (axis,)))
    z = options.get("scale", 1.0) * x + options.get("bias", 0.0)
    if name == "gumbel_softmax":
        u = noise.uniform(SEED, tuple(x.shape), np) + 2.0**-25
        z = z + torch.tensor(-np.log(-np.log(u)))
    z = z / options.get("temperature", 1.0)
    if name == "softmin":
        z = -z
    keep = torch.ones(x.shape, dtype=bool)
    if "where" in options:
        keep = keep & torch.tensor(options["where"])
    if options.get("causal"):
        (a,) = axes
        rows, n = x.shape[a - 1], x.shape[a]
        triangle = torch.tril(torch.ones(rows, n, dtype=bool), n - rows if options["causal"] == "aligned" else 0)
        keep = keep & triangle.reshape([x.shape[i] if i in (a - 1, a) else 1 for i in range(x.ndim)])
    z, keep = _rows(z, axes), _rows(keep, axes)
    shape = z.shape[:-1]
    if "lengths" in options:
        keep = keep & (torch.arange(z.shape[-1]) < torch.tensor(options["lengths"]).broadcast_to(shape).unsqueeze(-1))
    z = z.masked_fill(~keep, -inf)
    n = z.shape[-1]
    if "sink" in options:
        z = torch.cat([z, options["sink"].broadcast_to(shape).unsqueeze(-1)], -1)
    lse = torch.logsumexp(z, -1)
    if name == "logsumexp":
        return lse, lse
    if name == "log_softmax":
        y = torch.log_softmax(z, -1)
    elif name in ("softmax", "softmin", "gumbel_softmax"):
        y = torch.softmax(z, -1)
    elif name == "hardmax":
        y = torch.nn.functional.one_hot(z.argmax(-1), n).double() + 0 * z.nan_to_num()
    else:
        y = _entmax(z, SPARSE[name] or torch.as_tensor(options.get("alpha", 1.5)).broadcast_to(shape).unsqueeze(-1))
    rest = [i for i in range(x.ndim) if i not in axes]
    y = y[..., :n].reshape([x.shape[i] for i in (*rest, *axes)])
    return y.permute(*np.argsort([*rest, *axes]).tolist()), lse


RNG = np.random.default_rng(11)


def _some(*shape: int) -> Array:
    return RNG.standard_normal(shape)


def _kept(*shape: int) -> Array:
    """A mask that leaves the first of every row in, whatever its axis."""
    keep = RNG.random(shape) > 0.4
    for i in range(len(shape)):
        keep[(slice(None),) * i + (0,)] = True
    return keep


#: What is computed: shape, axis and options.
CASES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "one row": ((9,), {}),
    "rows": ((4, 37), {}),
    "axis 0": ((21, 5), {"axis": 0}),
    "middle axis": ((3, 10, 7), {"axis": 1}),
    "wide columns": ((2, 5, 150), {"axis": -2}),
    "two axes": ((3, 4, 5), {"axis": (0, 2)}),
    "two axes side by side": ((3, 4, 5), {"axis": (1, -1)}),
    "all axes": ((3, 4, 5), {"axis": None}),
    "scale": ((3, 8), {"scale": -0.7}),
    "temperature": ((3, 8), {"axis": 0, "temperature": 0.4}),
    "bias": ((3, 5, 8), {"bias": _some(3, 5, 8)}),
    "bias of a row": ((3, 5, 8), {"bias": _some(8), "temperature": 2.0}),
    "bias in the middle": ((3, 5, 8), {"bias": _some(5, 1), "scale": 0.5, "axis": 1}),
    "bias over two axes": ((3, 5, 8), {"bias": _some(3, 1, 8), "axis": (0, 2)}),
    "where": ((6, 5, 8), {"where": _kept(6, 5, 8)}),
    "where, wide": ((6, 5, 8), {"where": _kept(5, 1), "axis": 1}),
    "where over two axes": ((6, 5, 8), {"where": _kept(6, 1, 8), "axis": (0, -1)}),
    "causal": ((2, 6, 6), {"causal": True}),
    "causal, few rows": ((2, 3, 7), {"causal": True}),
    "causal, many rows": ((2, 9, 4), {"causal": True}),
    "causal, not last": ((6, 5, 3), {"causal": True, "axis": 1}),
    "aligned": ((2, 3, 7), {"causal": "aligned"}),
    "lengths": ((4, 3, 9), {"lengths": RNG.integers(1, 10, (4, 3))}),
    "lengths of a batch": ((4, 3, 9), {"lengths": np.array([[1], [9], [4], [6]]), "axis": -1}),
    "lengths, not last": ((4, 9, 3), {"lengths": np.array([2, 9, 5], np.int32), "axis": 1}),
    "lengths, number": ((4, 9), {"lengths": 4}),
    "sink": ((3, 8), {"sink": 0.0}),
    "sink per head": ((2, 4, 5, 8), {"sink": _some(4, 1)}),
    "sink per row": ((5, 8, 3), {"sink": 3 * _some(5, 3), "axis": 1}),
    "alpha": ((3, 8), {"alpha": 1.3}),
    "alpha per row": ((3, 4, 8), {"alpha": 1.05 + 1.5 * RNG.random((3, 4))}),
    "alpha of columns": ((3, 8, 4), {"alpha": np.array([1.1, 1.5, 2.0, 2.5]), "axis": 1}),
    "large alpha": ((5, 8), {"alpha": 4.0}),
    "all at once": (
        (2, 4, 6, 9),
        {"scale": 0.3, "temperature": 0.8, "bias": _some(4, 6, 9), "where": _kept(2, 1, 6, 9), "causal": "aligned",
         "lengths": np.array([5, 8])[:, None, None], "sink": _some(4, 1), "alpha": 1.7},
    ),
}  # fmt: skip


def options_for(name: str, case: str) -> dict[str, Any] | None:
    """The case's options without those that the function does not have; None if it is not about this function."""
    _, options = CASES[case]
    if name == "gumbel_softmax" and options.get("axis") in ((0, 2), (0, -1)):
        return None  # the noise goes by the place in the rows, which are taken together from apart
    lacking = {key for key in options if (key == "sink" and name not in SINKING) or (key == "alpha" and name != "entmax")}
    if lacking and case != "all at once":
        return None
    return {key: value for key, value in options.items() if key not in lacking}


ROWS = [(name, case) for name in FUNCTIONS for case in CASES if options_for(name, case) is not None]


@functools.cache
def exact(name: str, case: str) -> tuple[Array, Array, Array, Array, list[Array]]:
    """x, grad, and the truth: the result, the gradient, those of the options."""
    options = options_for(name, case)
    assert options is not None
    rng = np.random.default_rng([*map(ord, name + case)])
    x = rng.standard_normal(CASES[case][0]) * (0.7 if name in SPARSE else 2.5)
    tensor = torch.tensor(x, requires_grad=True)
    given = {key: torch.tensor(options[key], dtype=torch.float64, requires_grad=True) for key in ("bias", "sink") if key in options}
    if name == "entmax":
        given["alpha"] = torch.tensor(options.get("alpha", 1.5), dtype=torch.float64, requires_grad=True)
    y, _ = truth(name, tensor, {**options, **given})
    grad = rng.standard_normal(y.shape)
    y.masked_fill(y == -inf, 0).backward(torch.tensor(grad))
    found = [tensor.grad, *(g.grad for g in given.values())]
    dx, *rest = (np.asarray(g) for g in found)
    return x, grad, y.detach().numpy(), dx, rest


@needs_torch
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "case"), ROWS)
def test_against_autograd(name: str, case: str, backend: str) -> None:
    x, grad, y, dx, rest = exact(name, case)
    options = {**(options_for(name, case) or {}), "backend": backend}
    result = call(name)(x, **options)
    assert result.shape == y.shape
    assert result.dtype == x.dtype
    np.testing.assert_allclose(result, y, rtol=1e-9, atol=1e-9)
    assert (np.isinf(result) == np.isinf(y)).all()
    found = backward(name)(grad, x, **options)
    assert isinstance(found, tuple) == bool(rest)
    for ours, theirs in zip(found if rest else [found], [dx, *rest], strict=True):
        assert np.shape(ours) == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@needs_torch
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_narrow_types(name: str, dtype: str, backend: str) -> None:
    """Every option at once, in the other types: what differs from the truth is rounding."""
    kind = DTYPES[dtype]
    x, grad, *_ = exact(name, "all at once")
    options = options_for(name, "all at once") or {}
    step = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24}[dtype]
    x, grad = x.astype(kind), grad.astype(kind)
    rounded = ("bias", "sink", "alpha")
    narrow = {key: np.asarray(value).astype(kind) if key in rounded else value for key, value in options.items()}
    wide = {key: value.astype(np.float64) if key in rounded else value for key, value in narrow.items()}
    y = call(name)(x, **narrow, backend=backend)
    expected = call(name)(x.astype(np.float64), **wide, backend="numpy")
    assert y.dtype == kind
    there = np.isfinite(expected)
    if name == "hardmax":
        assert (y.astype(np.float64) == expected).mean() > 0.99  # neighbours may be equal after rounding
    else:
        error = np.abs(y.astype(np.float64)[there] - expected[there])
        assert (y.astype(np.float64)[~there] == -inf).all()
        assert (error <= np.abs(expected[there]) * step * 1.01 + 2.0**-20).all()
    found, exactly = (
        f if isinstance(f, tuple) else (f,)
        for f in (
            backward(name)(grad, x, **narrow, backend=backend),
            backward(name)(grad.astype(np.float64), x.astype(np.float64), **wide, backend="numpy"),
        )
    )
    for ours, theirs in zip(found, exactly, strict=True):
        assert np.asarray(ours).dtype == kind
        np.testing.assert_allclose(
            np.asarray(ours).astype(np.float64), theirs, rtol=step * 1.01, atol=2.0**-19 * max(1, np.abs(theirs).max())
        )


# ---------------------------------------------------------------- accuracy


def _ulp(result: Array, exactly: Array, of: Array | None = None) -> float:
    """The largest error in ULP of the result, or of `of` where that is coarser."""
    result, exactly = np.atleast_1d(result), np.atleast_1d(exactly)
    error = ulp_error(result, exactly)
    if of is not None:
        error = error * units(exactly, result.dtype) / np.maximum(units(exactly, result.dtype), units(of, result.dtype))
    return float(error.max())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "axis", "scale", "offset"),
    [
        ((50, 64), 1, 1, 0),
        ((20, 1000), 1, 4, 0),
        ((300, 3), 1, 10, 0),
        ((200, 2), 1, 30, 0),
        ((37, 70), 0, 20, 0),
        ((10, 30, 40), 1, 5, 0),
        ((40, 50), 1, 1, -4),  # lse next to 0
        ((40, 50), 1, 3, 1e4),
        ((5, 5000), 1, 0.01, 0),
    ],
)
def test_units_in_the_last_place(shape: tuple[int, ...], axis: int, scale: float, offset: float, dtype: str, backend: str) -> None:
    kind = DTYPES[dtype]
    x = (np.random.default_rng(2).standard_normal(shape) * scale + offset).astype(kind)
    wide = x.astype(np.float64)
    # of lse each element's rounding has its share, and the largest's counts most
    coarsest = np.max(np.abs(wide), axis=axis)
    read = np.maximum(np.abs(wide), np.abs(np.max(wide, axis=axis, keepdims=True)))
    bounds = {"fast": 0.51 if kind.itemsize == 2 else 4.0, "precise": 4.0 if dtype == "float64" else 0.51}
    for accuracy, bound in bounds.items():
        options = {"axis": axis, "backend": backend, "accuracy": accuracy}
        assert _ulp(fastact.softmax(x, **options), rowwise.softmax(wide, axis)) <= (8 if dtype == "float64" else bound)
        assert _ulp(fastact.softmin(x, **options), rowwise.softmax(-wide, axis)) <= (8 if dtype == "float64" else bound)
        assert _ulp(fastact.log_softmax(x, **options), rowwise.log_softmax(wide, axis), read) <= bound
        lse = rowwise.logsumexp(wide, axis).squeeze(axis)
        assert _ulp(fastact.logsumexp(x, **options), lse, coarsest) <= bound


def test_log_softmax_against_mpmath() -> None:
    mp = pytest.importorskip("mpmath").mp
    rng = np.random.default_rng(8)
    with mp.workdps(200):
        for scale, offset in ((1, 0), (20, 0), (3, 1e7), (0.01, -5), (60, 3)):
            x = rng.standard_normal((4, 6)) * scale + offset
            lse = np.array([float(mp.log(mp.fsum(mp.exp(mp.mpf(v)) for v in row))) for row in x])
            high = [mp.log(mp.fsum(mp.exp(mp.mpf(v)) for v in row)) for row in x]
            logs = np.array([[float(mp.mpf(v) - h) for v in row] for row, h in zip(x, high, strict=True)])
            for backend in BACKENDS:
                read = np.maximum(np.abs(x), np.abs(x.max(1, keepdims=True)))
                assert _ulp(fastact.log_softmax(x, backend=backend), logs, read) <= 4
                assert _ulp(fastact.logsumexp(x, backend=backend), lse, np.abs(x).max(1)) <= 4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_large_element(dtype: str, backend: str) -> None:
    """The logarithm of a sum that is 1 and a little more."""
    for gap in (5, 12, 20, 40, 80):
        x = np.array([[0, -gap, -gap - 1], [-gap, 0, -inf]], dtype)
        rest = np.array([math.exp(-gap) + math.exp(-gap - 1), math.exp(-gap)])
        y = fastact.log_softmax(x, backend=backend)
        assert _ulp(y[[0, 1], [0, 1]], -np.log1p(rest)) <= 4
        assert _ulp(fastact.logsumexp(x, backend=backend), np.log1p(rest)) <= 4
        assert _ulp(fastact.log_softmax(np.ascontiguousarray(x.T), 0, backend=backend).T[[0, 1], [0, 1]], -np.log1p(rest)) <= 4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_offsets(name: str, axis: int, backend: str) -> None:
    """Nothing but lse sees what is added to all of a row."""
    options: dict[str, Any] = {"axis": axis, "backend": backend}
    for offset, step in ((1e7, 1), (-1e7, 1), (1e6, 1 / 16), (-16777000, 1)):
        x = (np.random.default_rng(1).integers(-20, 20, (30, 40)) * step).astype(np.float32)
        shifted = x + np.float32(offset)
        assert ((shifted - np.float32(offset)) == x).all()
        y, expected = call(name)(shifted, **options), call(name)(x, **options)
        if name == "logsumexp":
            assert _ulp(y, rowwise.logsumexp(shifted.astype(np.float64), axis).squeeze(axis)) <= 1
        elif name == "gumbel_softmax":  # the noise is added first, and large numbers swallow it
            assert np.abs(y.sum(axis, dtype=np.float64) - 1).max() < 1e-5
        else:  # another way to the exponential is taken where x itself is large
            np.testing.assert_allclose(y, expected, rtol=4 * 2.0**-23, atol=2.0**-26 if name == "log_softmax" else 2.0**-126)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_of_one_and_of_a_million(name: str, backend: str) -> None:
    x = np.array([[3.0], [-2.0], [0.0]], np.float32)
    grad = np.ones_like(x)
    for axis in (1, (1,)):
        y = call(name)(x, axis=axis, backend=backend)
        expected = {"log_softmax": 0.0, "logsumexp": x}.get(name, 1.0)
        assert np.array_equal(y, np.broadcast_to(expected, x.shape).reshape(y.shape))
    dx = backward(name)(grad[:, 0] if name == "logsumexp" else grad, x, backend=backend)
    dx = dx[0] if isinstance(dx, tuple) else dx
    assert np.array_equal(dx, np.ones_like(x) if name == "logsumexp" else np.zeros_like(x))
    if backend == "numpy":  # it is the truth
        return
    rng = np.random.default_rng(4)
    for shape, axis in (((2**20,), 0), ((2**18, 3), 0)):
        x = rng.standard_normal(shape).astype(np.float32)
        y = call(name)(x, axis=axis, backend=backend)
        wide = x.astype(np.float64)
        if name == "gumbel_softmax":
            assert np.abs(y.astype(np.float64) / rowwise.softmax(wide + rowwise.gumbel(noise.mixed(SEED), shape), axis) - 1).max() < 1e-5
        elif name in SPARSE:
            exactly = {"sparsemax": rowwise.sparsemax, "entmax15": rowwise.entmax15}.get(name, rowwise.entmax15)(wide, axis=axis)
            assert np.abs(y - exactly).max() <= 1e-6
            assert ((y > 0) == (exactly > 0)).mean() > 0.9999
        elif name == "logsumexp":
            assert _ulp(y, rowwise.logsumexp(wide, axis).squeeze(axis)) <= 1
        else:
            exactly = rowwise.value({"softmin": "softmax"}.get(name, name), -wide if name == "softmin" else wide, axis)
            assert _ulp(y, exactly) <= 4


# ---------------------------------------------------------------- entmax


@pytest.mark.parametrize("backend", BACKENDS)
def test_entmax_is_softmax_and_sparsemax_at_its_ends(backend: str) -> None:
    rng = np.random.default_rng(6)
    x, grad = rng.standard_normal((2, 5, 9))
    options: dict[str, Any] = {"backend": backend}
    for alpha, other in ((1.0, fastact.softmax), (1.5, fastact.entmax15), (2.0, fastact.sparsemax)):
        for given in (alpha, np.full((5,), alpha), np.full((1,), alpha)):
            np.testing.assert_allclose(fastact.entmax(x, given, **options), other(x, **options), atol=1e-12)
            dx, dalpha = fastact.entmax.backward(grad, x, given, **options)
            np.testing.assert_allclose(dx, other.backward(grad, x, **options), atol=1e-11)
            assert np.shape(dalpha) == np.shape(given)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("alpha", [1.0, 1.0001, 1.01, 1.1, 1.25, 1.5, 1.9, 2.0, 2.3, 3.0])
def test_entmax_against_differences(alpha: float, backend: str) -> None:
    rng = np.random.default_rng(7)
    x, grad = rng.standard_normal((2, 4, 6)) * 0.5
    y = fastact.entmax(x, alpha, backend=backend)
    assert np.abs(y.sum(-1) - 1).max() < 1e-12
    dx, dalpha = fastact.entmax.backward(grad, x, alpha, backend=backend)
    step = 1e-6
    numeric = np.empty_like(x)
    for i in np.ndindex(x.shape):
        d = np.zeros_like(x)
        d[i] = step
        numeric[i] = ((fastact.entmax(x + d, alpha, backend=backend) - fastact.entmax(x - d, alpha, backend=backend)) * grad).sum() / (
            2 * step
        )
    np.testing.assert_allclose(dx, numeric, atol=2e-8)
    step = 1e-4 if alpha == 1 else min(1e-4, (alpha - 1) / 2)
    value = [(fastact.entmax(x, alpha + k * step, backend="numpy") * grad).sum() for k in ((0, 1, 2) if alpha == 1 else (-1, 0, 1))]
    slope = (-1.5 * value[0] + 2 * value[1] - 0.5 * value[2] if alpha == 1 else (value[2] - value[0]) / 2) / step
    np.testing.assert_allclose(dalpha, slope, atol=2e-7)
    by_row = fastact.entmax.backward(grad, x, np.full(4, alpha), backend=backend)[1]
    np.testing.assert_allclose(by_row.sum(), dalpha, rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("axis", [0, 1])
def test_sparsemax_is_the_projection(axis: int, backend: str) -> None:
    """The conditions of Karush, Kuhn and Tucker, and no point of the simplex is nearer."""
    rng = np.random.default_rng(9)
    x = rng.standard_normal((12, 15)) * 2
    y = fastact.sparsemax(x, axis, backend=backend)
    assert (y >= 0).all()
    assert np.abs(y.sum(axis) - 1).max() < 1e-14
    tau = np.where(y > 0, x - y, nan)
    spread = np.nanmax(tau, axis=axis) - np.nanmin(tau, axis=axis)
    assert spread.max() < 1e-14
    assert (np.where(y == 0, x, -inf) <= np.nanmax(tau, axis=axis, keepdims=True) + 1e-14).all()
    assert 0.2 < (y == 0).mean() < 0.95
    other = rng.dirichlet(np.ones(x.shape[axis]), x.shape[1 - axis])
    other = other.T if axis == 0 else other
    assert (((y - x) ** 2).sum(axis) <= ((other - x) ** 2).sum(axis)).all()


# ---------------------------------------------------------------- masks and special values


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_left_in(name: str, dtype: str, backend: str) -> None:
    kind = DTYPES[dtype]
    x = np.array([[1, 2, 3], [nan, inf, -inf], [0, 1, 0]], kind)
    where = np.array([[True, False, True], [False, False, False], [True, True, True]])
    gone = {"log_softmax": -inf, "logsumexp": -inf}.get(name, 0.0)
    for masked in ("zero", "nan"):
        for options, axis in (({"where": where}, 1), ({"where": where.T}, 0), ({"lengths": [3, 0, 3]}, 1), ({"lengths": [3, 0, 3]}, 0)):
            a = np.ascontiguousarray(x.T) if axis == 0 else x
            y = call(name)(a, axis=axis, all_masked=masked, backend=backend, **options).astype(np.float64)
            y = y.T if axis == 0 else y
            empty = np.isnan(y[1]) if masked == "nan" else y[1] == gone
            assert empty.all()
            assert not np.isnan(y[[0, 2]]).any()
            if name != "logsumexp" and "where" in options:
                assert y[0, 1] == gone
            grad = np.ones(np.shape(y) if name == "logsumexp" else a.shape, kind)
            dx = backward(name)(grad, a, axis=axis, all_masked=masked, backend=backend, **options)
            dx = (dx[0] if isinstance(dx, tuple) else dx).astype(np.float64)
            dx = dx.T if axis == 0 else dx
            assert not np.isnan(dx[[0, 2]]).any()
            assert (dx[0][~where[0]] == 0).all() or "lengths" in options
            if masked == "zero":
                assert (dx[1] == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_left_out_does_not_matter(name: str, backend: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((70, 33)).astype(np.float32)
    keep = rng.random(x.shape) > 0.5
    keep[:, 4] = True
    dirty = np.where(keep, x, np.resize(np.array([nan, inf, -inf, 1e38], np.float32), x.shape))
    for axis in (0, 1):
        options: dict[str, Any] = {"axis": axis, "where": keep, "backend": backend}
        y = call(name)(x, **options)
        assert same_bits(call(name)(dirty, **options), y)
        grad = rng.standard_normal(y.shape).astype(np.float32)
        dirty_grad = grad if name == "logsumexp" else np.where(keep, grad, np.float32(nan))
        ours, theirs = backward(name)(grad, x, **options), backward(name)(dirty_grad, dirty, **options)
        for a, b in zip(*(f if isinstance(f, tuple) else (f,) for f in (ours, theirs)), strict=True):
            assert same_bits(a, b)
        dx = ours[0] if isinstance(ours, tuple) else ours
        assert (dx[~keep] == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_special_rows(axis: int, dtype: str, backend: str) -> None:
    rows = [[nan, 1, 2], [1, 2, nan], [inf, 1, 2], [-inf, -inf, -inf], [-inf, 1, 1], [inf, nan, 0]]
    x = np.array(rows).astype(DTYPES[dtype])
    a = np.ascontiguousarray(x.T) if axis == 0 else x

    def run(name: str, **options: Any) -> Array:
        y: Array = call(name)(a, axis=axis, backend=backend, **options).astype(np.float64)
        return y.T

    def by_row(name: str) -> Array:
        y = run(name)
        return y if axis == 0 else y.T

    np.testing.assert_array_equal(run("logsumexp")[:4], [nan, nan, inf, -inf])
    assert abs(run("logsumexp")[4] - (1 + math.log(2))) < 0.01
    assert np.isnan(run("logsumexp")[5])
    for name in ("softmax", "sparsemax", "entmax15", "entmax", "gumbel_softmax"):
        y = by_row(name)
        assert np.isnan(y[[0, 1, 2, 3, 5]]).all(), name
        assert y[4, 0] == 0
        assert abs(y[4].sum() - 1) < 0.01
    y = by_row("log_softmax")
    assert np.isnan(y[[0, 1, 2, 3, 5]]).all()
    assert y[4, 0] == -inf
    assert np.isnan(by_row("softmin")[4]).all()  # -x is inf
    np.testing.assert_array_equal(by_row("hardmax"), [[nan] * 3, [nan] * 3, [1, 0, 0], [1, 0, 0], [0, 1, 0], [nan] * 3])


@pytest.mark.parametrize("backend", BACKENDS)
def test_hardmax_takes_the_first_that_is_left_in(backend: str) -> None:
    x = np.array([[2, 7, 7, 7], [-inf, -inf, -inf, -inf], [9, 1, 1, 0]], np.float32)
    where = np.array([[True, False, True, True], [False, True, True, True], [False, True, True, True]])
    expected = [[0, 0, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0]]
    np.testing.assert_array_equal(fastact.hardmax(x, where=where, backend=backend), expected)
    np.testing.assert_array_equal(fastact.hardmax(np.ascontiguousarray(x.T), 0, where=where.T, backend=backend).T, expected)
    wide = np.zeros((3, 100), np.float32)
    wide[:, [40, 41, 99]] = 5
    assert fastact.hardmax(wide, backend=backend).argmax(1).tolist() == [40, 40, 40]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", SINKING)
def test_the_sink(name: str, backend: str) -> None:
    x = np.array([[0.0, 1.0], [5.0, -3.0]])
    options: dict[str, Any] = {"backend": backend}
    plain = call(name)(x, **options)
    assert np.allclose(call(name)(x, sink=-inf, **options), plain, rtol=1e-15)  # no weight at all
    if name == "softmax":
        one = fastact.softmax(x, sink=0.0, **options)
        assert np.allclose(one, np.exp(x) / (1 + np.exp(x).sum(-1, keepdims=True)), rtol=1e-14)
        assert (fastact.softmax(x, sink=1e4, **options) == 0).all()
        assert (fastact.softmax(x, sink=0, where=np.zeros((2, 2), bool), **options) == 0).all()
    if name == "logsumexp":
        assert np.array_equal(fastact.logsumexp(x, sink=1e4, **options), [1e4, 1e4])
        assert np.array_equal(fastact.logsumexp(x, sink=0.25, where=np.zeros((2, 2), bool), **options), [0.25, 0.25])


# ---------------------------------------------------------------- lse


@needs_torch
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", ["rows", "middle axis", "two axes", "bias", "where", "causal", "lengths", "sink per head", "all at once"])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_return_lse(name: str, case: str, backend: str) -> None:
    options = options_for(name, case) or {}
    x = exact(name, case)[0]
    tensors = {key: torch.tensor(options[key]) for key in ("bias", "sink") if key in options}
    _, expected = truth(name, torch.tensor(x), {**options, **tensors})
    y, lse = call(name)(x, **options, return_lse=True, backend=backend)
    assert same_bits(y, call(name)(x, **options, backend=backend))
    assert lse.shape == tuple(expected.shape)
    np.testing.assert_allclose(lse, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_logsumexp_keepdims(backend: str) -> None:
    x = np.random.default_rng(2).standard_normal((3, 4, 5))
    for axis, shape in ((1, (3, 1, 5)), ((0, 2), (1, 4, 1)), (None, (1, 1, 1)), (-1, (3, 4, 1))):
        kept = fastact.logsumexp(x, axis, keepdims=True, backend=backend)
        plain = fastact.logsumexp(x, axis, backend=backend)
        assert kept.shape == shape
        assert np.shape(plain) == tuple(n for n, k in zip(x.shape, shape, strict=True) if k != 1)
        assert same_bits(np.asarray(kept).ravel(), np.asarray(plain).ravel())
        grad = np.random.default_rng(3).standard_normal(shape)
        ours = fastact.logsumexp.backward(grad, x, axis, keepdims=True, backend=backend)
        np.testing.assert_allclose(ours, grad * np.exp(x - kept), rtol=1e-13)


# ---------------------------------------------------------------- from the output


@needs_torch
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FROM_OUTPUT)
@pytest.mark.parametrize("case", ["rows", "axis 0", "middle axis", "two axes", "scale", "temperature", "where"])
def test_from_output(name: str, case: str, backend: str) -> None:
    x, grad, y, dx, _ = exact(name, case)
    options = {key: value for key, value in (options_for(name, case) or {}).items() if key != "where"}
    if case == "where":
        grad = np.where(np.broadcast_to(CASES[case][1]["where"], x.shape), grad, 0)
        dx = backward(name)(grad, x, **(options_for(name, case) or {}), backend=backend)
        dx = dx[0] if isinstance(dx, tuple) else dx
    found = getattr(fastact, name).backward_from_output(grad, y, **options, backend=backend)
    found = found[0] if isinstance(found, tuple) else found
    np.testing.assert_allclose(found, dx, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------- arrays of every kind


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_layouts(name: str, backend: str) -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((6, 10, 8)).astype(np.float32)
    for view in (np.asfortranarray(x), x[::2, ::-1], x.transpose(2, 0, 1), np.broadcast_to(x[:1], (4, 10, 8)), x.astype(">f4")):
        plain = np.ascontiguousarray(view, np.float32)
        for axis in (0, 1, -1, (0, 2), None):
            options: dict[str, Any] = {"axis": axis, "backend": backend}
            expected = call(name)(plain, **options)
            y = call(name)(view, **options)
            assert np.asarray(y).dtype.isnative
            assert same_bits(y, expected)
            if axis is None and name == "logsumexp":
                continue
            grad = rng.standard_normal(np.shape(expected)).astype(np.float32)
            ours, theirs = (
                f if isinstance(f, tuple) else (f,)
                for f in (backward(name)(np.asfortranarray(grad), view, **options), backward(name)(grad, plain, **options))
            )
            assert all(same_bits(a, b) for a, b in zip(ours, theirs, strict=True))
            out = np.zeros((*expected.shape, 2), np.float32)[..., 1]
            assert call(name)(view, **options, out=out) is out
            assert same_bits(np.ascontiguousarray(out), expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_out_may_overlap(name: str, backend: str) -> None:
    rng = np.random.default_rng(5)
    x, grad = rng.standard_normal((2, 9, 10)).astype(np.float32)
    options: dict[str, Any] = {"backend": backend}
    if name == "logsumexp":
        expected = fastact.logsumexp(x, **options)
        buffer = x.copy()
        assert same_bits(fastact.logsumexp(buffer, out=buffer[:, 3], **options), expected)
        return
    for axis in (0, 1):
        expected = call(name)(x, axis=axis, **options)
        buffer = x.copy()
        assert call(name)(buffer, axis=axis, out=buffer, **options) is buffer
        assert same_bits(buffer, expected)
        long = np.zeros(x.size + 7, np.float32)
        long[7:] = x.ravel()
        target = long[: x.size].reshape(x.shape)
        call(name)(long[7:].reshape(x.shape), axis=axis, out=target, **options)
        assert same_bits(target, expected)
        square = x[:, :9].copy()
        expected = call(name)(square, axis=axis, **options)
        call(name)(square, axis=axis, out=square.T, **options)
        assert same_bits(np.ascontiguousarray(square.T), expected)
        if name == "entmax":
            continue  # several results
        expected = backward(name)(grad, x, axis=axis, **options)
        for place in (0, 1):
            given = [grad.copy(), x.copy()]
            result = backward(name)(*given, axis=axis, out=given[place], **options)
            assert result is given[place]
            assert same_bits(result, expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_options_may_overlap_the_result(name: str, backend: str) -> None:
    if name == "logsumexp":
        pytest.skip("its result is not like x")
    rng = np.random.default_rng(5)
    x = rng.standard_normal((90, 120)).astype(np.float32)
    bias = rng.standard_normal(x.shape).astype(np.float32)
    expected = call(name)(x, bias=bias, backend=backend)
    assert same_bits(call(name)(x, bias=bias, out=bias, backend=backend), expected)
    buffer = np.zeros(x.size, np.float32)
    where = buffer.view(bool)[: x.size].reshape(x.shape)
    where[...] = rng.random(x.shape) > 0.3
    expected = call(name)(x, where=where.copy(), backend=backend)
    assert same_bits(call(name)(x, where=where, out=buffer.reshape(x.shape), backend=backend), expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_small_and_empty(name: str, backend: str) -> None:
    single = {"log_softmax": 0.0, "logsumexp": 2.5}.get(name, 1.0)
    for axis in (-1, None):
        y = call(name)(np.float32(2.5), axis=axis, backend=backend)
        assert isinstance(y, np.float32)
        assert y == single
    assert call(name)(2.5, backend=backend) == single
    as_list = call(name)([[1, 2], [3, 3]], backend=backend)
    assert same_bits(as_list, call(name)(np.array([[1.0, 2.0], [3.0, 3.0]]), backend=backend))
    for shape, axis in (((0, 3), 1), ((3, 0), 1), ((0,), 0), ((2, 0, 3), 1), ((2, 0, 3), 0), ((2, 0, 3), None)):
        x = np.empty(shape, np.float32)
        y = call(name)(x, axis=axis, backend=backend)
        if name != "logsumexp":
            assert y.shape == shape
            dx = backward(name)(x, x, axis=axis, backend=backend)
            assert (dx[0] if isinstance(dx, tuple) else dx).shape == shape
        else:
            assert np.shape(y) == (() if axis is None else tuple(n for i, n in enumerate(shape) if i != axis))
            assert (np.asarray(y) == -inf).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_looks_like_a_function(name: str) -> None:
    f = getattr(fastact, name)
    assert pickle.loads(pickle.dumps(f)) is f
    assert f.__name__ == name
    assert ">>>" in f.__doc__
    assert fastact.get(name) is f


@pytest.mark.skipif("numba" not in BACKENDS or "cython" not in BACKENDS, reason="needs both")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_threads_change_no_bit(name: str, dtype: str) -> None:
    rng = np.random.default_rng(12)
    for shape, axis in (((300, 257), 1), ((200, 300), 0), ((5, 40, 90), 1)):
        x = rng.standard_normal(shape).astype(DTYPES[dtype])
        bias = rng.standard_normal(shape[-1]).astype(DTYPES[dtype])
        options = {"axis": axis, "bias": bias, "where": rng.random(shape) > 0.2}
        if name in SINKING:
            options["sink"] = 0.5
        one, many = (call(name)(x, **options, backend=backend) for backend in ("cython", "numba"))
        assert same_bits(one, many)
        grad = rng.standard_normal(one.shape).astype(DTYPES[dtype])
        one, many = (backward(name)(grad, x, **options, backend=backend) for backend in ("cython", "numba"))
        assert isinstance(one, tuple)
        assert all(same_bits(a, b) for a, b in zip(one, many, strict=True))


# ---------------------------------------------------------------- Gumbel noise


@pytest.mark.parametrize("backend", BACKENDS)
def test_gumbel_seeds(backend: str) -> None:
    x = np.random.default_rng(1).standard_normal((20, 30)).astype(np.float32)
    options: dict[str, Any] = {"backend": backend}
    y = fastact.gumbel_softmax(x, seed=1, **options)
    assert same_bits(fastact.gumbel_softmax(x, seed=1, **options), y)
    assert np.abs(fastact.gumbel_softmax(x, seed=2, **options) - y).max() > 0.1
    # the noise is the element's: it does not know the axis
    logits = np.log(y) - np.log(fastact.softmax(x, **options))
    noise_of = logits - logits.mean(1, keepdims=True)
    other = np.log(fastact.gumbel_softmax(x, 0, seed=1, **options)) - np.log(fastact.softmax(x, 0, **options))
    difference = other - noise_of  # a number a row, and one a column
    difference -= difference.mean(0)
    difference -= difference.mean(1, keepdims=True)
    assert np.abs(difference).max() < 1e-4


@pytest.mark.parametrize("backend", BACKENDS)
def test_gumbel_hard(backend: str) -> None:
    rng = np.random.default_rng(1)
    x, grad = rng.standard_normal((2, 40, 17)).astype(np.float32)
    for axis in (0, 1):
        options: dict[str, Any] = {"axis": axis, "seed": 9, "temperature": 0.5, "backend": backend}
        soft, hard = fastact.gumbel_softmax(x, **options), fastact.gumbel_softmax(x, **options, hard=True)
        assert (hard.sum(axis) == 1).all()
        assert set(np.unique(hard)) == {0.0, 1.0}
        assert (hard.argmax(axis) == soft.argmax(axis)).all()
        dx = fastact.gumbel_softmax.backward(grad, x, **options)
        assert same_bits(fastact.gumbel_softmax.backward(grad, x, **options, hard=True), dx)
        np.testing.assert_allclose(dx, fastact.softmax.backward_from_output(grad, soft, axis, temperature=0.5, backend=backend), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gumbel_draws_by_softmax(dtype: str, backend: str) -> None:
    stats = pytest.importorskip("scipy.stats")
    logits = np.array([0.0, 1.0, -1.0, 2.0, 0.5, -3.0])
    draws = 20000
    x = np.broadcast_to(logits, (draws, 6)).astype(dtype)
    for seed in (0, 1, 2**64 - 1):
        hard = fastact.gumbel_softmax(x, seed=seed, hard=True, backend=backend)
        counts = hard.sum(0, dtype=np.float64)
        p = stats.chisquare(counts, draws * reference.softmax(logits)).pvalue
        assert p > 1e-3
    # and the noise itself is Gumbel's
    soft = fastact.gumbel_softmax(np.zeros((draws, 2)), seed=3, backend=backend)
    assert stats.kstest(np.log(soft[:, 0] / soft[:, 1]), "logistic").pvalue > 1e-3


# ---------------------------------------------------------------- errors

X = np.zeros((3, 4), np.float32)


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: fastact.softmax(X, 2), ValueError, "softmax: axis 2 is out of range"),
        (lambda: fastact.softmax(X, (0, 0)), ValueError, "axis"),
        (lambda: fastact.softmax(X, 1.5), TypeError, "axis must be"),
        (lambda: fastact.softmax(X, where=np.ones((3, 4))), TypeError, "where must be an array of bool, not float64"),
        (lambda: fastact.softmax(X, where=np.ones(3, bool)), ValueError, r"where has shape \(3,\)"),
        (lambda: fastact.log_softmax(X, bias=np.zeros(3, np.float32)), ValueError, r"log_softmax: bias has shape \(3,\)"),
        (lambda: fastact.softmax(X, bias=np.zeros((2, 3, 4), np.float32)), ValueError, "bias has shape"),
        (lambda: fastact.softmax(X, temperature=0.0), ValueError, "temperature"),
        (lambda: fastact.softmax(X, temperature="hot"), TypeError, "temperature"),
        (lambda: fastact.softmax(X, scale="big"), TypeError, "scale"),
        (lambda: fastact.softmax(X, causal="diagonal"), ValueError, "causal must be"),
        (lambda: fastact.softmax(X[0], causal=True), ValueError, "causal"),
        (lambda: fastact.softmax(X, (0, 1), causal=True), ValueError, "causal"),
        (lambda: fastact.softmax(X, lengths=np.ones(3)), TypeError, "lengths must be"),
        (lambda: fastact.softmax(X, lengths=np.ones(4, int)), ValueError, "lengths has shape"),
        (lambda: fastact.softmax(X, sink=np.zeros(4)), ValueError, "sink has shape"),
        (lambda: fastact.softmax(X, all_masked="one"), ValueError, "all_masked must be 'zero' or 'nan', not 'one'"),
        (lambda: fastact.hardmax(X, sink=0.0), TypeError, "unexpected keyword argument 'sink'"),
        (lambda: fastact.sparsemax(X, sink=0.0), TypeError, "unexpected keyword argument 'sink'"),
        (lambda: fastact.entmax(X, 0.9), ValueError, "alpha"),
        (lambda: fastact.entmax(X, np.array([1.5, nan, 1.5])), ValueError, "alpha"),
        (lambda: fastact.entmax(X, np.ones(4)), ValueError, "alpha has shape"),
        (lambda: fastact.entmax(X, "soft"), TypeError, "alpha"),
        (lambda: fastact.gumbel_softmax(X), TypeError, "seed"),
        (lambda: fastact.gumbel_softmax(X, seed=-1), ValueError, "seed must be from 0"),
        (lambda: fastact.gumbel_softmax(X, seed=1.5), TypeError, "seed must be an integer"),
        (lambda: fastact.softmax(X.astype(complex)), TypeError, "x has dtype complex128"),
        (lambda: fastact.softmax(X > 0), TypeError, "x has dtype bool"),
        (lambda: fastact.softmax(X, out=np.zeros((4, 3), np.float32)), ValueError, r"out has shape \(4, 3\)"),
        (lambda: fastact.softmax(X, out=np.zeros((3, 4))), TypeError, "out has dtype float64"),
        (lambda: fastact.logsumexp(X, out=np.zeros((3, 4), np.float32)), ValueError, r"out has shape \(3, 4\)"),
        (lambda: fastact.softmax.backward(X.astype(np.float64), X), TypeError, "grad has dtype float64"),
        (lambda: fastact.softmax.backward(X[:2], X), ValueError, "grad has shape"),
        (lambda: fastact.logsumexp.backward(X, X), ValueError, "grad has shape"),
        (lambda: fastact.softmax.backward_from_output(X, X, bias=X), TypeError, "unexpected keyword argument 'bias'"),
        (lambda: fastact.softmax(X, -1, None), TypeError, "by position"),
        (lambda: fastact.softmax(), TypeError, "missing required argument 'x'"),
        (lambda: fastact.softmax(X, backend="cuda"), ValueError, "backend"),
        (lambda: fastact.softmax(X, accuracy="good"), ValueError, "accuracy"),
    ],
)  # fmt: skip
def test_errors(run: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_warnings(name: str) -> None:
    x = np.array([[inf, -inf, nan, 1e38], [0, 0, 0, 0]], np.float32)
    with np.errstate(all="raise"):
        for backend in BACKENDS:
            y = call(name)(x, backend=backend)
            backward(name)(y, x, backend=backend)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_counts_and_explains(name: str) -> None:
    x = np.zeros((4, 5), np.float32)
    for backend in BACKENDS:
        with fastact.count_calls() as calls:
            y = call(name)(x, backend=backend)
            backward(name)(y, x, backend=backend)
        assert calls == {backend: 2}
    assert fastact.explain(getattr(fastact, name), x).backend in BACKENDS


@pytest.mark.parametrize("backend", BACKENDS)
def test_lanes_without_a_row_change_nothing(backend: str) -> None:
    """Rows side by side that do not fill a pack: what lies in memory beyond them must not choose how they are computed."""
    rng = np.random.default_rng(0)
    x, bias = rng.standard_normal((2, 64, 5)).astype(np.float32)
    seen = set()
    for k in range(12):
        for size in (64 * 32 * 4, 64 * 16 * 4, 64 * 32 * 4 + 320, 64 * 16 * 4 + 160):
            del [np.full(size, (1e30, 0)[k % 2], np.float32)][0]  # memory that is handed out next
        seen.add(fastact.softmax(x, axis=0, bias=bias, backend=backend).tobytes())
    assert len(seen) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_a_row_that_share_memory_with_the_result(backend: str) -> None:
    rng = np.random.default_rng(1)
    x = 1.2 + np.abs(rng.standard_normal((8, 8)))
    y = x.copy()
    expected = fastact.entmax(x, x[0].copy(), backend=backend)
    assert same_bits(fastact.entmax(y, y[0], out=y, backend=backend), expected)
    x = rng.standard_normal((40, 20))
    y = x.copy()
    expected = fastact.softmax(x, sink=x.ravel()[:40].copy(), backend=backend)
    assert same_bits(fastact.softmax(y, sink=y.reshape(-1)[:40], out=y, backend=backend), expected)
    y = rng.standard_normal((40, 20))
    expected = fastact.logsumexp.backward(y.ravel()[:40].copy(), x, backend=backend)
    assert same_bits(fastact.logsumexp.backward(y.reshape(-1)[:40], x, out=y, backend=backend), expected)


def test_rows_of_nothing() -> None:
    x = np.empty((4, 0))
    dx, dbias, dsink = fastact.softmax.backward(x, x, bias=np.ones((4, 1)), sink=np.ones(4))
    assert dx.shape == (4, 0)
    assert not dbias.any()
    assert not dsink.any()
    assert not fastact.entmax.backward(x, x, np.full(4, 1.5))[1].any()
    assert (fastact.logsumexp(x) == -np.inf).all()
    assert (fastact.logsumexp(x, sink=1.0) == 1.0).all()
    assert np.isnan(fastact.logsumexp(x, all_masked="nan")).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_left_but_a_sink(backend: str) -> None:
    x, options = np.ones((1, 2)), {"where": np.array(False), "sink": 1.0, "backend": backend}
    assert fastact.logsumexp(x, **options) == 1.0
    assert np.isnan(fastact.logsumexp(x, all_masked="nan", **options)).all()
    x = np.array([[5, -np.inf, -np.inf]])
    hard = fastact.gumbel_softmax(x, where=np.array([[False, True, True]]), seed=1, hard=True, backend=backend)
    assert not hard[0, 0]
    assert hard.sum() == 1.0


def test_arguments_out_of_range() -> None:
    x = np.ones((2, 3))
    for arguments, options, named in (
        ((2**70,), {}, "axis"),
        ((), {"temperature": 0}, "temperature"),
        ((), {"scale": np.inf}, "scale"),
        ((), {"all_masked": np.ones(2)}, "all_masked"),
    ):
        with pytest.raises(ValueError, match=named):
            fastact.softmax(x, *arguments, **options)
    for alpha in (0.5, np.inf, np.nan):
        with pytest.raises(ValueError, match="alpha"):
            fastact.entmax(x, alpha)
    with pytest.raises(TypeError, match="alpha"):
        fastact.entmax(x, None)
