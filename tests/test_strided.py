"""Arrays that lie differently: the bits of contiguous ones, without copies of full size."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from common import DTYPES, same_bits

import fastact
from fastact.kernels.cpu import compiled

RNG = np.random.default_rng(5)


def _sample(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    return (RNG.standard_normal(shape, np.float32) * 3).astype(dtype)


#: Views of about n * n elements, n at least 3.
LAYOUTS: dict[str, Callable[[int, Any], np.ndarray]] = {
    "every second": lambda n, d: _sample((2 * n * n,), d)[::2],
    "every third": lambda n, d: _sample((3 * n * n,), d)[::3],
    "backwards": lambda n, d: _sample((n * n,), d)[::-1],
    "every second backwards": lambda n, d: _sample((2 * n * n,), d)[::-2],
    "columns": lambda n, d: _sample((n, 2 * n), d)[:, ::2],
    "gaps": lambda n, d: _sample((n, n + 8), d)[:, 5:-3],
    "short rows": lambda n, d: _sample((n * n // 3, 7), d)[:, :3],
    "transposed": lambda n, d: _sample((n, n + 1), d).T,
    "tall": lambda n, d: _sample((5, n * n // 5), d).T,
    "transposed backwards": lambda n, d: _sample((n, n), d).T[::-1],
    "transposed columns": lambda n, d: _sample((n, 2 * n), d)[:, ::2].T,
    "rows repeated": lambda n, d: np.broadcast_to(_sample((n,), d), (n, n)),
    "columns repeated": lambda n, d: np.broadcast_to(_sample((n, 1), d), (n, n)),
    "one number": lambda n, d: np.broadcast_to(_sample((1,), d), (n, n)),
    "three axes": lambda n, d: _sample((3, n, 2 * n // 3 + 2), d)[:, 1:, ::2],
    "axes permuted": lambda n, d: _sample((n, 3, n // 3), d).transpose(1, 2, 0),
    "axes swapped": lambda n, d: _sample((4, n, n // 3), d).transpose(1, 0, 2),
    "five axes": lambda n, d: _sample((3, 3, n // 3, 4, n // 3), d)[::2, :, :, ::3].transpose(4, 0, 2, 1, 3),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_all_sizes(layout: str, dtype: str) -> None:
    for n in (3, 4, 9, 31, 65, 130):  # below, at and above the sides of tiles
        x = LAYOUTS[layout](n, DTYPES[dtype])
        plain, out = np.ascontiguousarray(x), np.zeros(x.shape, x.dtype)
        grad = LAYOUTS[layout](n, DTYPES[dtype])
        expected = fastact.gelu(plain)
        before = compiled.served()
        assert fastact.gelu(x, out=out) is out
        assert compiled.served() == before + 1
        assert same_bits(out, expected)
        assert same_bits(fastact.gelu(x), expected)
        slopes = fastact.gelu.backward(np.ascontiguousarray(grad), plain)
        assert same_bits(fastact.gelu.backward(grad, x, out=out), slopes)
        assert same_bits(fastact.gelu.backward(np.ascontiguousarray(grad), x), slopes)
        value, slope = fastact.gelu.value_and_derivative(x)
        assert same_bits(value, expected)
        assert same_bits(slope, fastact.gelu.derivative(plain))
        if x.strides.count(0) == 0:
            into = grad if grad.flags.writeable else grad.copy()
            assert fastact.gelu(plain, out=into) is into
            assert same_bits(into, expected)


def test_nothing_else_is_written() -> None:
    for view in (np.s_[3:70, 5:90], np.s_[::2, ::3], np.s_[::-1, 1:-1:2]):
        held = np.full((140, 130), 9.0, np.float32)
        for out in (held[view], held.T[view]):
            held[...] = 9.0
            fastact.relu(np.full(out.shape, -1.0, np.float32), out=out)
            assert (out == 0.0).all()
            assert (held == 9.0).sum() == held.size - out.size


@pytest.mark.parametrize("dtype", DTYPES)
def test_parameters_as_arrays(dtype: str) -> None:
    x = _sample((60, 90), DTYPES[dtype])
    alpha = abs(_sample((90,), DTYPES[dtype]))
    for view in (x.T, x[::2], x[:, ::-1]):
        given = alpha[: view.shape[1]] if view.shape[1] <= 90 else alpha
        expected = fastact.leaky_relu(np.ascontiguousarray(view), np.ascontiguousarray(np.broadcast_to(given, view.shape)))
        assert same_bits(fastact.leaky_relu(view, given), expected)
        assert same_bits(fastact.leaky_relu(view, given[::-1][::-1], out=np.empty(view.shape, x.dtype)), expected)


def test_strided_results_are_compact() -> None:
    x = _sample((40, 60))
    for view in (x[:, ::2], x.T[::2], x[::-1], x[:, 5:-3]):
        y = fastact.gelu(view)
        assert y.strides == np.empty_like(view).strides
        assert sum((n - 1) * abs(s) for n, s in zip(y.shape, y.strides, strict=True)) + y.itemsize == y.nbytes


def _peak(run: Callable[[], object]) -> int:
    run()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_hidden_copies(layout: str) -> None:
    x = LAYOUTS[layout](1200, np.float32)
    out, grad = np.empty(x.shape, x.dtype), LAYOUTS[layout](1200, np.float32)
    dense = np.empty(x.shape, x.dtype)
    assert _peak(lambda: np.copyto(dense, x.copy())) > x.size * 4  # what would be seen
    little = out.nbytes / 20
    assert _peak(lambda: fastact.relu(x, out=out)) < little
    assert _peak(lambda: fastact.relu(x, out=out, backend="cython")) < little
    assert _peak(lambda: fastact.relu(x, out=out, accuracy="precise")) < little
    assert _peak(lambda: fastact.relu.backward(grad, x, out=out)) < little
    assert _peak(lambda: fastact.leaky_relu(x, 0.25 + out[0] * 0, out=out)) < little + out[0].nbytes * 4
    if x.strides.count(0) == 0:
        assert _peak(lambda: fastact.relu(dense, out=x)) < little


@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("layout", ["columns", "gaps", "transposed", "axes permuted", "rows repeated"])
def test_rows_and_pipelines_without_hidden_copies(layout: str, axis: int) -> None:
    x = LAYOUTS[layout](1500, np.float32)
    plain, out = np.ascontiguousarray(x), np.empty(x.shape, x.dtype)
    most = out.nbytes / 3  # a piece or two of all that is computed
    assert _peak(lambda: fastact.softmax(x, axis, out=out)) < most
    expected = fastact.softmax(plain, axis)
    assert (np.abs(out - expected) <= 8 * np.spacing(np.maximum(expected, 1e-30))).all()
    assert _peak(lambda: fastact.softmax.backward(out, x, axis, out=out)) < most
    assert _peak(lambda: fastact.swiglu(x, x, out=out)) < out.nbytes / 20
    assert same_bits(out, fastact.swiglu(plain, plain))
    assert same_bits(fastact.softmax(x[:3], axis), fastact.softmax(np.ascontiguousarray(x[:3]), axis))


def test_rows_that_overlap_their_result() -> None:
    held = _sample((1300, 600))
    x, out = held[:-1, 10:], held[1:, 10:]
    expected = fastact.softmax(x.copy())
    fastact.softmax(x, out=out)
    assert (np.abs(out - expected) <= 8 * np.spacing(expected)).all()
