"""The array zoo: every backend, every layout, against the same elements one after the other in a plain array."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from common import BACKENDS, DTYPES, ELEMENTWISE, params, same_bits

import fastact
from fastact.kernels.definitions import DEFINITIONS

RNG = np.random.default_rng(7)


def _sample(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    return (RNG.standard_normal(shape) * 3).astype(dtype)


def _misaligned(x: np.ndarray) -> np.ndarray:
    raw = np.zeros(x.nbytes + 1, np.uint8)
    y = raw[1:].view(x.dtype)[: x.size].reshape(x.shape)
    y[...] = x
    assert not y.flags.aligned
    return y


def _read_only(x: np.ndarray) -> np.ndarray:
    y = x.copy()
    y.flags.writeable = False
    return y


ZOO = {
    "plain": lambda d: _sample((3, 41), d),
    "empty": lambda d: _sample((0, 5), d),
    "one": lambda d: _sample((1,), d),
    "fortran": lambda d: np.asfortranarray(_sample((17, 5), d)),
    "permuted": lambda d: _sample((3, 4, 5), d).transpose(1, 2, 0),
    "strided": lambda d: _sample((200,), d)[::3],
    "strided_2d": lambda d: _sample((20, 30), d)[1::2, ::3],
    "negative": lambda d: _sample((50,), d)[::-1],
    "negative_2d": lambda d: _sample((9, 8), d)[::-1, ::-2],
    "broadcast": lambda d: np.broadcast_to(_sample((1, 7), d), (5, 7)),
    "read_only": lambda d: _read_only(_sample((33,), d)),
    "misaligned": lambda d: _misaligned(_sample((37,), d)),
    "long": lambda d: _sample((70001,), d)[1:],
    "long_strided": lambda d: _sample((140001,), d)[::2],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", ZOO)
def test_layouts(layout: str, backend: str, dtype: str) -> None:
    x = ZOO[layout](DTYPES[dtype])
    names = ["gelu", "leaky_relu"] if backend != "cython" else ELEMENTWISE
    for name in names:
        f, p = getattr(fastact, name), params(name)
        flat = np.ascontiguousarray(x).reshape(-1)
        expected = f(flat, *p, backend=backend).reshape(x.shape)
        y = f(x, *p, backend=backend)
        assert type(y) is np.ndarray
        assert y.flags.writeable
        assert same_bits(y, expected), name
        # K order: the result lies in memory as x does
        if x.size and layout not in ("broadcast",):
            assert y.strides == np.empty_like(x).strides
        grad = _sample(x.shape, x.dtype)[...]
        dx = f.backward(grad, x, *p, backend=backend)
        expected = f.backward(np.ascontiguousarray(grad).reshape(-1), flat, *p, backend=backend)
        if DEFINITIONS[name].learnable:
            assert isinstance(dx, tuple)
            dx, expected = dx[0], expected[0]
        assert same_bits(dx, expected.reshape(x.shape)), name
        # into strided and misaligned results
        for out in (np.full((*x.shape, 2), 9, x.dtype)[..., 0], np.asfortranarray(np.full(x.shape, 9, x.dtype))):
            assert f(x, *p, out=out, backend=backend) is out
            assert same_bits(out, y)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_byte_order(backend: str, dtype: str) -> None:
    x = _sample((321,), DTYPES[dtype])
    swapped = x.astype(x.dtype.newbyteorder("S"))
    y = fastact.silu(swapped, backend=backend)
    assert y.dtype.isnative
    assert same_bits(y, fastact.silu(x, backend=backend))
    assert same_bits(fastact.softmax(swapped, backend=backend), fastact.softmax(x, backend=backend))
    out = np.zeros_like(swapped)
    fastact.silu(x, out=out, backend=backend)
    assert same_bits(out.astype(x.dtype), y)


@pytest.mark.parametrize("backend", BACKENDS)
def test_in_place_and_overlap(backend: str) -> None:
    for n in (10, 100, 5000, 70000):
        x = _sample((n,), np.dtype(np.float32))
        expected = fastact.gelu(x, backend=backend)
        y = x.copy()
        assert fastact.gelu(y, out=y, backend=backend) is y
        assert same_bits(y, expected)
        for shift in (1, -1, 3, -7):  # overlapping but unequal: as NumPy's ufuncs, no element is read after it was overwritten
            buffer = np.zeros(n + 20, np.float32)
            source, target = buffer[10 : 10 + n], buffer[10 + shift : 10 + shift + n]
            source[...] = x
            fastact.gelu(source, out=target, backend=backend)
            assert same_bits(target, expected), (n, shift)
        reverse = x.copy()
        fastact.gelu(reverse, out=reverse[::-1], backend=backend)
        assert same_bits(reverse[::-1], expected)
        grad = _sample((n,), np.dtype(np.float32))
        expected = fastact.gelu.backward(grad, x, backend=backend)
        for out in (grad.copy(), x.copy()):
            arguments = (out, x) if same_bits(out, grad) else (grad, out)
            assert same_bits(fastact.gelu.backward(*arguments, out=out, backend=backend), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_softmax_in_place_and_overlap(backend: str) -> None:
    x = _sample((30, 40), np.dtype(np.float32))
    for axis in (0, 1):
        expected = fastact.softmax(x, axis, backend=backend)
        y = x.copy()
        assert same_bits(fastact.softmax(y, axis, out=y, backend=backend), expected)
        buffer = np.zeros((33, 40), np.float32)
        buffer[:30] = x
        fastact.softmax(buffer[:30], axis, out=buffer[2:32], backend=backend)
        assert same_bits(buffer[2:32], expected)


def test_scalars_lists_and_zero_dimensions() -> None:
    assert isinstance(fastact.gelu(1.5), np.float64)
    assert fastact.relu(-2.0) == 0.0
    assert isinstance(fastact.gelu(np.float32(1.5)), np.float32)
    assert isinstance(fastact.gelu(np.array(1.5, np.float16)), np.float16)
    out = np.zeros((), np.float32)
    assert fastact.gelu(np.array(1.5, np.float32), out=out) is out
    assert fastact.sigmoid([0, 0]).tolist() == [0.5, 0.5]
    assert fastact.sigmoid(((0.0,), (0.0,))).shape == (2, 1)
    assert fastact.softmax(3.0) == 1.0
    assert isinstance(fastact.softmax(np.float32(3)), np.float32)
    dx, dalpha = fastact.prelu.backward(1.0, -2.0, 0.25)
    assert (dx, dalpha) == (0.25, -2.0)


@pytest.mark.parametrize("dtype", "bhilqBHILQ")
def test_integers(dtype: str) -> None:
    x = np.array([0, 1, 5], dtype) if dtype.isupper() else np.array([-3, 0, 5], dtype)
    for name in ELEMENTWISE:
        f = getattr(fastact, name)
        y = f(x, *params(name))
        if DEFINITIONS[name].integers:
            assert y.dtype == x.dtype
            assert y.tolist() == f(x.astype(np.float64)).tolist()
            slope = f.derivative(x.astype(np.float64)).tolist()
            assert f.derivative(x).dtype == x.dtype
            assert f.derivative(x).tolist() == slope
            assert f.backward(x, x).tolist() == [v * s for v, s in zip(x.tolist(), slope, strict=True)]
            assert f.backward_from_output(x, y).tolist() == f.backward(x, x).tolist()
            assert [r.tolist() for r in f.value_and_derivative(x)] == [y.tolist(), slope]
            if DEFINITIONS[name].smooth:
                assert f.derivative(x, order=2).dtype == x.dtype
        else:
            assert y.dtype == np.float64
            assert same_bits(y, f(x.astype(np.float64), *params(name)))
    assert same_bits(fastact.softmax(x), fastact.softmax(x.astype(np.float64)))


def test_subclasses_as_ufuncs_treat_them() -> None:
    class Mine(np.ndarray):
        pass

    x = _sample((4, 4), np.dtype(np.float32))
    assert type(fastact.gelu(x.view(Mine))) is Mine
    assert type(fastact.softmax(x.view(Mine))) is Mine
    masked = np.ma.MaskedArray(x, x > 0)
    result = fastact.sigmoid(masked)
    assert type(result) is np.ma.MaskedArray
    assert (result.mask == masked.mask).all()

    class Wrapping:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return x

        def __array_wrap__(self, array: np.ndarray, *rest: object) -> tuple[str, np.ndarray]:
            return "wrapped", array

    assert fastact.gelu(Wrapping())[0] == "wrapped"


def test_more_than_2_to_the_31_elements() -> None:
    """The arithmetic of sizes, without the memory: one element, broadcast."""
    x = np.broadcast_to(np.float16(-1), (2**31 + 5,))
    plan = fastact.explain(fastact.gelu, x)
    assert plan.size == 2**31 + 5
    y = np.empty(0, np.float16)
    assert fastact.gelu(x[:0], out=y) is y


@pytest.mark.exhaustive
@pytest.mark.parametrize("backend", [b for b in BACKENDS if b != "numpy"])
def test_more_than_2_to_the_31_elements_computed(backend: str) -> None:
    x = np.zeros(2**31 + 5, np.float16)
    x[-3:] = 1
    fastact.relu(x, out=x, backend=backend)
    assert x[-4:].tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_floating_point_warning(backend: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1e-40, -1e-40, 3e38, -3e38, 0.0, -0.0] * 5, np.float32)
    with np.errstate(all="raise"):
        for name in ELEMENTWISE if backend != "numba" else ["gelu", "prelu", "softplus"]:  # a module takes Numba a second
            f = getattr(fastact, name)
            for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64):
                with np.errstate(all="ignore"):
                    v = x.astype(dtype)
                for accuracy in ("fast", "precise"):
                    f(v, *params(name), backend=backend, accuracy=accuracy)
                f.derivative(v, *params(name), backend=backend)
                f.backward(v, v, *params(name), backend=backend)
        fastact.softmax(x, backend=backend)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (3, 4), (2, 3, 4), (2, 1, 1), (1, 4)])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_parameter_gradients(backend: str, dtype: str, shape: tuple[int, ...]) -> None:
    x, grad = (_sample((2, 3, 4), DTYPES[dtype]) for _ in range(2))
    alpha = _sample(shape, DTYPES[dtype])
    y = fastact.prelu(x, alpha, backend=backend)
    wide = [a.astype(np.float64) for a in (x, grad, alpha)]
    assert np.allclose(y.astype(np.float64), np.where(wide[0] > 0, wide[0], wide[2] * wide[0]), rtol=1e-2 if "16" in dtype else 1e-6)
    dx, dalpha = fastact.prelu.backward(grad, x, alpha, backend=backend)
    assert dx.shape == x.shape
    assert dalpha.shape == alpha.shape
    assert dx.dtype == dalpha.dtype == x.dtype
    terms = wide[1] * np.where(wide[0] > 0, 0.0, wide[0])
    axes = tuple(i for i in range(3) if i < 3 - len(shape) or shape[i - 3 + len(shape)] == 1)
    expected = terms.sum(axis=axes).reshape(shape)
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-6, "float64": 1e-14}[dtype] * np.abs(terms).sum(axis=axes).reshape(shape)
    assert (np.abs(dalpha.astype(np.float64) - expected) <= tolerance).all()
    outs = np.zeros_like(x), np.zeros_like(alpha)
    returned = fastact.prelu.backward(grad, x, alpha, out=outs, backend=backend)
    assert returned[0] is outs[0]
    assert returned[1] is outs[1]
    assert same_bits(outs[0], dx)
    assert same_bits(outs[1], dalpha)


def test_parameter_gradients_of_odd_shapes() -> None:
    x = np.linspace(-3, 3, 7, dtype=np.float32)
    dx, dalpha = fastact.prelu.backward(x, x, np.broadcast_to(np.float32(0.1), (7,)))  # one value, but a gradient for each
    assert dalpha.tolist() == [v * v if v <= 0 else 0 for v in x.tolist()]
    empty = np.zeros(0)
    assert [g.shape for g in fastact.prelu.backward(empty, empty, empty)] == [(0,), (0,)]
    assert fastact.prelu.backward(np.zeros((0, 3)), np.zeros((0, 3)), np.ones(3))[1].tolist() == [0, 0, 0]
    masked = np.ma.MaskedArray(x, x > 0)
    dx, dalpha = fastact.prelu.backward(x, masked, 0.5)
    assert type(dx) is np.ma.MaskedArray
    assert isinstance(dalpha, np.float32)
    with np.errstate(all="raise"):
        half = np.full(70000, -1, np.float16)
        assert fastact.prelu.backward(half, half, 0.5)[1] == np.inf
        assert fastact.leaky_relu(-np.ones(2, np.float32), np.array([1e300])).tolist() == [-np.inf, -np.inf]


def test_gradients_without_a_dtype_take_that_of_x() -> None:
    x = np.linspace(-3, 3, 3, dtype=np.float32)
    assert fastact.gelu.backward([1.0, 2.0, 3.0], x).dtype == np.float32
    assert fastact.gelu.backward(1.0, np.float32(2)).dtype == np.float32


def test_channel_axis() -> None:
    x, grad = (_sample((2, 3, 4), np.dtype(np.float32)) for _ in range(2))
    alpha = _sample((3,), np.dtype(np.float32))
    assert same_bits(fastact.prelu(x, alpha, axis=1), fastact.prelu(x, alpha[:, None]))
    dx, dalpha = fastact.prelu.backward(grad, x, alpha, axis=-2)
    other = fastact.prelu.backward(grad, x, alpha[:, None])
    assert same_bits(dx, other[0])
    assert dalpha.shape == (3,)
    assert same_bits(dalpha, other[1].reshape(3))


def test_large_parameter_gradient_is_summed_in_pieces() -> None:
    x = np.full((3000, 200), -1.0, np.float32)
    dx, dalpha = fastact.prelu.backward(np.ones_like(x), x, np.full(200, 0.5, np.float32))
    assert (dx == 0.5).all()
    assert (dalpha == -3000).all()
    dx, dalpha = fastact.prelu.backward(np.ones_like(x), x, np.full((3000, 1), 0.5, np.float32))
    assert (dalpha == -200).all()
