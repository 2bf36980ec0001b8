"""Row-wise functions against the float64 reference: any axis, masks, offsets, gradients, dtypes, backends."""

from __future__ import annotations

import numpy as np
import pytest
from common import BACKENDS, DTYPES, ROWWISE, same_bits

import fastact
from fastact import reference
from fastact.ulp import ulp_error

RNG = np.random.default_rng(3)


def _check(y: np.ndarray, exact: np.ndarray, dtype: np.dtype, bound: float) -> None:
    assert y.dtype == dtype
    assert (np.isnan(y.astype(np.float64)) == np.isnan(exact)).all()
    error = ulp_error(y, exact, dtype)
    error = error[~np.isnan(exact)]
    assert error.size == 0 or error.max() <= bound, error.max()


#: In float64 the reference's own error is part of it, some ULP; test_reference.py holds it to 6.
BOUND = {"float16": 0.51, "bfloat16": 0.51, "float32": 4.0, "float64": 12.0}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((7,), 0),
        ((5, 1), 1),
        ((3, 64), -1),
        ((3, 64), 0),
        ((4, 5, 6), 1),
        ((2, 300, 70), 1),
        ((1000, 3), 0),
        ((2, 4097), 1),
        ((0, 3), 1),
        ((3, 0, 2), 0),
    ],
)
def test_value(shape: tuple[int, ...], axis: int, backend: str, dtype: str) -> None:
    assert "softmax" in ROWWISE
    x = (RNG.standard_normal(shape) * 4).astype(DTYPES[dtype])
    exact = reference.softmax(x.astype(np.float64), axis)
    _check(fastact.softmax(x, axis, backend=backend), exact, DTYPES[dtype], BOUND[dtype])
    precise = fastact.softmax(x, axis, backend=backend, accuracy="precise")
    _check(precise, exact, DTYPES[dtype], 0.51 if dtype != "float64" else BOUND[dtype])
    if x.size:
        assert np.allclose(precise.astype(np.float64).sum(axis=axis), 1, atol=0.03)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("axis", [0, 1])
def test_offsets(backend: str, axis: int) -> None:
    x = RNG.integers(-20, 20, (60, 60)).astype(np.float32)
    expected = fastact.softmax(x, axis, backend=backend)
    for offset in (1e7, -1e7, 16777000):
        shifted = x + np.float32(offset)
        assert ((shifted - np.float32(offset)) == x).all()
        # Another way to the exponential is taken where x itself is large.
        np.testing.assert_allclose(fastact.softmax(shifted, axis, backend=backend), expected, rtol=4 * 2.0**-23)
    wide = np.linspace(-3e38, 3e38, 50, dtype=np.float32).reshape(1, -1)
    assert fastact.softmax(wide, backend=backend)[0, -1] == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_long_rows_lose_nothing(backend: str) -> None:
    for shape, axis in (((1, 2**20), 1), ((2**18, 3), 0)):
        x = RNG.standard_normal(shape).astype(np.float32)
        _check(fastact.softmax(x, axis, backend=backend), reference.softmax(x.astype(np.float64), axis), np.dtype(np.float32), 4.0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_special_rows(backend: str, dtype: str) -> None:
    inf, nan = np.inf, np.nan
    x = np.array([[0, -inf, 0], [-inf, -inf, -inf], [inf, 0, 0], [nan, 0, 0], [0, 0, nan], [-inf, nan, -inf], [5, 5, -inf]]).astype(
        DTYPES[dtype]
    )
    expected = [[0.5, 0, 0.5], *[[nan] * 3] * 5, [0.5, 0.5, 0]]
    for a, axis in ((x, 1), (np.ascontiguousarray(x.T), 0)):
        y = fastact.softmax(a, axis, backend=backend).astype(np.float64)
        assert np.array_equal(y if axis else y.T, expected, equal_nan=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_where(backend: str, dtype: str, axis: int) -> None:
    x = (RNG.standard_normal((70, 9, 5)) * 3).astype(DTYPES[dtype])
    where = RNG.random(x.shape) > 0.4
    np.moveaxis(where, axis, 0)[:, 0, 0] = False
    np.moveaxis(where, axis, 0)[:, 1, 1] = True
    x[~where] = np.nan  # what is masked must not matter
    grad = RNG.standard_normal(x.shape).astype(DTYPES[dtype])
    grad[~where] = np.inf
    for masked in ("zero", "nan"):
        y = fastact.softmax(x, axis, where=where, all_masked=masked, backend=backend)
        exact = reference.softmax(x.astype(np.float64), axis, where, masked)
        _check(y, exact, DTYPES[dtype], BOUND[dtype])
        dx = fastact.softmax.backward(grad, x, axis, where=where, all_masked=masked, backend=backend)
        exact = reference.softmax_backward(grad.astype(np.float64), x.astype(np.float64), axis, where, masked)
        assert (np.isnan(dx.astype(np.float64)) == np.isnan(exact)).all()
        tolerance = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 2e-6, "float64": 1e-14}[dtype]
        assert np.nanmax(np.abs(dx.astype(np.float64) - exact)) < tolerance
    gone = np.moveaxis(fastact.softmax(x, axis, where=where, backend=backend), axis, 0)[:, 0, 0]
    assert (gone == 0).all()
    assert np.isnan(
        np.moveaxis(fastact.softmax(x, axis, where=where, all_masked="nan", backend=backend), axis, 0)[:, 0, 0].astype(float)
    ).all()
    # a mask that broadcasts
    row = np.zeros((1, 9, 1), bool)
    row[0, 2:5] = True
    clean = np.nan_to_num(x.astype(np.float32))
    expected = fastact.softmax(clean, 1, where=np.ascontiguousarray(np.broadcast_to(row, x.shape)), backend=backend)
    assert same_bits(fastact.softmax(clean, 1, where=row, backend=backend), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_mask_that_shares_memory_with_the_result(backend: str) -> None:
    x = RNG.standard_normal((500, 32)).astype(np.float32)
    where = RNG.random(x.shape) > 0.5
    buffer = np.zeros(x.size, np.float32)
    view = buffer.view(bool)[: x.size].reshape(x.shape)
    view[...] = where
    expected = fastact.softmax(x, where=where, backend=backend)
    assert same_bits(fastact.softmax(x, where=view, out=buffer.reshape(x.shape), backend=backend), expected)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="needs a wider long double")
@pytest.mark.parametrize("backend", [b for b in BACKENDS if b != "numpy"])
@pytest.mark.parametrize(("shape", "axis", "scale"), [((40, 1000), 1, 30), ((10, 5000), 1, 4), ((700, 40), 0, 8), ((300, 7), 1, 3)])
def test_float64_against_long_double(shape: tuple[int, ...], axis: int, scale: float, backend: str) -> None:
    x = RNG.standard_normal(shape) * scale
    wide = x.astype(np.longdouble)
    exact = np.exp(wide - wide.max(axis, keepdims=True))
    exact /= exact.sum(axis, keepdims=True)
    y = fastact.softmax(x, axis, backend=backend)
    error = np.abs(y - exact) / np.spacing(np.maximum(exact.astype(np.float64), np.finfo(np.float64).tiny))
    assert error.max() <= 4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("shape", "axis"), [((7,), 0), ((3, 64), 1), ((3, 64), 0), ((4, 5, 6), 1), ((300, 70), 0), ((2, 4097), 1)])
def test_backward(shape: tuple[int, ...], axis: int, backend: str, dtype: str) -> None:
    x = (RNG.standard_normal(shape) * 3).astype(DTYPES[dtype])
    grad = RNG.standard_normal(shape).astype(DTYPES[dtype])
    wide, wide_grad = x.astype(np.float64), grad.astype(np.float64)
    exact = reference.softmax_backward(wide_grad, wide, axis)
    tolerance = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-6, "float64": 2e-15}[dtype]
    for accuracy in ("fast", "precise"):
        dx = fastact.softmax.backward(grad, x, axis, backend=backend, accuracy=accuracy)
        assert dx.dtype == x.dtype
        assert np.abs(dx.astype(np.float64) - exact).max() <= tolerance
    y = fastact.softmax(x, axis, backend=backend)
    exact = reference.softmax_backward_from_output(wide_grad, y.astype(np.float64), axis)
    dx = fastact.softmax.backward_from_output(grad, y, axis, backend=backend)
    assert np.abs(dx.astype(np.float64) - exact).max() <= tolerance
    out = np.empty_like(x)
    assert fastact.softmax.backward_from_output(grad, y, axis, out=out, backend=backend) is out
    assert same_bits(out, dx)
    for target in (grad.copy(), y.copy()):
        arguments = (target, y) if same_bits(target, grad) else (grad, target)
        assert same_bits(fastact.softmax.backward_from_output(*arguments, axis, out=target, backend=backend), dx)


@pytest.mark.parametrize("backend", BACKENDS)
def test_layouts(backend: str) -> None:
    x = (RNG.standard_normal((12, 10, 8)) * 3).astype(np.float32)
    for view in (x, np.asfortranarray(x), x[::2, ::-1], x.transpose(2, 0, 1), np.broadcast_to(x[:1], (4, 10, 8)), x.astype(">f4")):
        for axis in range(3):
            plain = np.ascontiguousarray(view, np.float32)
            expected = fastact.softmax(plain, axis, backend=backend)
            y = fastact.softmax(view, axis, backend=backend)
            assert y.flags.writeable
            assert same_bits(y, expected)
            out = np.zeros((*view.shape, 2), np.float32)[..., 1]
            fastact.softmax(view, axis, out=out, backend=backend)
            assert same_bits(np.ascontiguousarray(out), expected)


def test_gradient_against_differences() -> None:
    x, grad = RNG.standard_normal((2, 3, 7))
    step = 1e-6
    numeric = np.empty_like(x)
    for i in np.ndindex(x.shape):
        d = np.zeros_like(x)
        d[i] = step
        numeric[i] = ((fastact.softmax(x + d) - fastact.softmax(x - d)) * grad).sum() / (2 * step)
    assert np.allclose(fastact.softmax.backward(grad, x), numeric, atol=1e-9)
