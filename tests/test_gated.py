"""Gated functions against PyTorch's float64 autograd, the oracle, and each other."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
from common import BACKENDS, DTYPES, ELEMENTWISE, params, same_bits

import fastact
from fastact.gated import GATED, GATED_ALIASES, table
from fastact.kernels.definitions import DEFINITIONS

RNG = np.random.default_rng(5)


def normal(*shape: int, dtype: object = np.float64, scale: float = 1.5) -> np.ndarray:
    return (scale * RNG.standard_normal(shape)).astype(dtype)


def split(x: np.ndarray, layout: str = "halves", axis: int = -1) -> tuple[np.ndarray, np.ndarray]:
    if layout == "halves":
        a, b = np.split(x, 2, axis)
        return a, b
    return x.take(range(0, x.shape[axis], 2), axis), x.take(range(1, x.shape[axis], 2), axis)


def joined(a: np.ndarray, b: np.ndarray, layout: str = "halves") -> np.ndarray:
    return np.concatenate([a, b], -1) if layout == "halves" else np.stack([a, b], -1).reshape(*a.shape[:-1], -1)


def tuples(found: object) -> tuple:
    return found if isinstance(found, tuple) else (found,)


# ---------------------------------------------------------------- PyTorch


def torch_halves(name: str, a, b):
    """What each name means, written with PyTorch's functions."""
    import torch
    from torch.nn import functional as F

    return {
        "glu": lambda: a * torch.sigmoid(b),
        "swiglu": lambda: F.silu(a) * b,
        "mul_and_silu": lambda: a * F.silu(b),
        "geglu": lambda: F.gelu(a) * b,
        "geglu_tanh": lambda: F.gelu(a, approximate="tanh") * b,
        "quick_geglu": lambda: a * torch.sigmoid(1.702 * a) * b,
        "reglu": lambda: F.relu(a) * b,
        "sreglu": lambda: F.relu(a) ** 2 * b,
        "bilinear": lambda: a * b,
        "gtu": lambda: torch.tanh(a) * torch.sigmoid(b),
        "swiglu_oai": lambda: a * torch.sigmoid(1.702 * a) * b,
    }[name]()


@pytest.mark.parametrize("name", GATED)
def test_torch(name: str) -> None:
    """Value and every gradient, with bias and weight, plain and clamped, in both layouts."""
    torch = pytest.importorskip("torch")
    f = GATED[name]
    for layout, (limit, offset) in itertools.product(("halves", "interleaved"), ((None, 0.0), (1.25, 0.5))):
        x, bias, weight, grad = normal(7, 12), normal(12), normal(7), normal(7, 6)
        leaves = [torch.from_numpy(v).requires_grad_() for v in (x, bias, weight)]
        z = leaves[0] + leaves[1]
        a, b = z.chunk(2, -1) if layout == "halves" else (z[..., ::2], z[..., 1::2])
        if limit is not None:
            if f.gate == "first":
                a, b = a.clamp(max=limit), b.clamp(-limit, limit)
            else:
                a, b = a.clamp(-limit, limit), b.clamp(max=limit)
        out = torch_halves(name, a, b)
        if offset:  # on the half that is no gate: product rule by hand
            gate = torch_halves(name, torch.ones_like(a), b) if f.gate == "second" else torch_halves(name, a, torch.ones_like(b))
            gate = gate / (torch.tanh(torch.ones(1, dtype=torch.float64)) if name == "gtu" else 1.0)
            out = out + offset * gate
        out = out * leaves[2][:, None]
        expected = torch.autograd.grad(out, leaves, torch.from_numpy(grad))
        options = {"layout": layout, "bias": bias, "weight": weight, "limit": limit, "offset": offset}
        np.testing.assert_allclose(f(x, **options), out.detach().numpy(), rtol=1e-9, atol=1e-11)
        for ours, theirs in zip(f.backward(grad, x, **options), expected, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-9, atol=1e-11, err_msg=f"{layout} {limit}")


def test_as_in_gpt_oss() -> None:
    """The defaults of swiglu_oai, against the formula as published; an element on the edge of a clamp passes its gradient."""
    torch = pytest.importorskip("torch")
    x = normal(5, 16, scale=6.0)
    x[0, :4] = 7.0, 7.0, -7.0, -7.0
    leaf = torch.from_numpy(x).requires_grad_()
    g, u = leaf[..., ::2], leaf[..., 1::2]
    g, u = g.clamp(min=None, max=7.0), u.clamp(min=-7.0, max=7.0)
    out = g * torch.sigmoid(g * 1.702) * (u + 1)
    grad = normal(5, 8)
    (dx,) = torch.autograd.grad(out, leaf, torch.from_numpy(grad))
    np.testing.assert_allclose(fastact.swiglu_oai(x), out.detach().numpy(), rtol=1e-12, atol=1e-12)
    ours = fastact.swiglu_oai.backward(grad, x)
    np.testing.assert_allclose(ours, dx.numpy(), rtol=1e-10, atol=1e-12)
    assert (ours[0, :4] != 0).all()


# ---------------------------------------------------------------- the oracle


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_any_activation(name: str) -> None:
    """gated(every activation), value and gradients, in float64 against the oracle and within float32's and the halves' rounding."""
    given = dict(zip(DEFINITIONS[name].params, params(name), strict=False))
    x, grad = np.abs(normal(3, 8)) + 0.3, normal(3, 4)  # off the kinks and the roots, inside every domain
    for gate, dtype in (("first", np.float64), ("second", np.float32)):
        f = fastact.gated(name, gate=gate)
        values = [x.astype(dtype), grad.astype(dtype)]
        options = {**given, "weight": values[1][:, 0]}
        expected = [f(values[0], backend="numpy", **options), *tuples(f.backward(values[1], values[0], backend="numpy", **options))]
        found = [f(values[0], backend="cython", **options), *tuples(f.backward(values[1], values[0], backend="cython", **options))]
        assert len(found) == 3 + len(f.learnable)
        for a, b in zip(found, expected, strict=True):
            assert np.shape(a) == np.shape(b)
            assert a.dtype == b.dtype == dtype
            np.testing.assert_allclose(a, b, rtol=3e-6 if dtype is np.float32 else 1e-13, atol=1e-6 if dtype is np.float32 else 1e-14)


@pytest.mark.parametrize("name", ["swiglu", "glu", "geglu", "reglu"])
def test_float32_in_units_in_the_last_place(name: str) -> None:
    """Over all magnitudes: within 6 ULP of the oracle, or of the larger factor's rounding next to the slope's root."""
    bits = np.arange(0, 2**32, 65_537, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = np.linspace(-110, 100, 20_001, dtype=np.float32)
    gate = np.concatenate([bits[np.isfinite(bits)], near])
    other = np.where(RNG.random(gate.size) < 0.5, np.float32(1.5), np.float32(-0.75))
    a, b = (gate, other) if GATED[name].gate == "first" else (other, gate)
    ones = np.ones_like(gate)
    calls = [lambda **o: (GATED[name](a, b, **o),), lambda **o: GATED[name].backward(ones, a, b, **o)]
    checked = 0
    for call in calls:
        for found, exact in zip(call(backend="cython"), call(backend="numpy", accuracy="precise"), strict=True):
            unit = np.maximum(np.spacing(np.abs(exact)), np.float32(2.0**-149))
            with np.errstate(invalid="ignore"):  # infinite results
                error = np.abs(found.astype(np.float64) - exact.astype(np.float64))
            close = (error <= 6 * unit) | (error <= 2.0**-23) & (np.abs(exact) < 0.15) & (np.abs(gate) < 2) | (found == exact)
            assert close.all(), (gate[~close][:5], found[~close][:5], exact[~close][:5])
            checked += close.size
    assert checked > 200_000


# ---------------------------------------------------------------- calls


def test_layouts_axes_and_two_arrays_agree() -> None:
    x, grad = normal(3, 8, 5), normal(3, 4, 5)
    for name, layout in itertools.product(("swiglu", "glu"), ("halves", "interleaved")):
        f = GATED[name]
        a, b = split(x, layout, 1)
        bias, weight = normal(8), normal(3, 5)
        ba, bb = split(bias, layout, 0)
        expected = f(a, b, axis=1, bias=(ba, bb), weight=weight)
        assert same_bits(f(x, axis=1, layout=layout, bias=bias, weight=weight), expected)
        da, db, (dba, dbb), dweight = f.backward(grad, a, b, axis=1, bias=(ba, bb), weight=weight)
        dx, dbias, dweight2 = f.backward(grad, x, axis=-2, layout=layout, bias=bias, weight=weight)
        for ours, theirs in zip((*split(dx, layout, 1), *split(dbias, layout, 0)), (da, db, dba, dbb), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-15)
        np.testing.assert_allclose(dweight, dweight2, rtol=1e-14)
        assert dweight.shape == weight.shape
        last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        moved = f(last, layout=layout, bias=bias, weight=weight)
        assert same_bits(np.moveaxis(moved, -1, 1), expected)
        stacked = f.backward(grad, a, b, axis=1, bias=np.stack([ba, bb]))
        assert stacked[2].shape == (2, 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_any_kind(dtype: str) -> None:
    """Strided, reversed, transposed, broadcast, byte-swapped, misaligned, read-only: the same as a plain copy."""
    base = normal(6, 24, 12).astype(DTYPES[dtype])
    zoo = {
        "strided": base[::2, ::3, ::2],
        "reversed": base[::-1, ::-1, ::-1],
        "transposed": base.transpose(2, 0, 1),
        "fortran": np.asfortranarray(base),
        "broadcast": np.broadcast_to(base[:1], (4, 24, 12)),
        "many": base.reshape(2, 3, 4, 6, 6, 2)[:, ::2, ::-1, ::2, ::2],
    }
    if dtype.startswith("float"):
        zoo["swapped"] = base.astype(base.dtype.newbyteorder())
        raw = np.zeros(base.nbytes + 1, np.uint8)[1:].view(base.dtype).reshape(base.shape)
        raw[...] = base
        zoo["misaligned"] = raw
    for kind, x in zoo.items():
        plain = np.array(x, dtype=DTYPES[dtype], order="C")
        grad = np.array(split(plain)[0][..., ::-1])
        before = plain.copy()
        y, (dx, dbias) = fastact.swiglu(x), fastact.swiglu.backward(grad, x, bias=plain.reshape(-1)[: x.shape[-1]])
        assert same_bits(y, fastact.swiglu(plain)), kind
        assert same_bits(dx, fastact.swiglu.backward(grad, plain, bias=plain.reshape(-1)[: x.shape[-1]])[0]), kind
        assert y.dtype == dx.dtype == dbias.dtype == plain.dtype
        assert same_bits(np.array(x, dtype=DTYPES[dtype]), before), kind


def test_in_place() -> None:
    for name, layout, rows in itertools.product(("swiglu", "gtu", "swiglu_oai"), ("halves", "interleaved"), (3, 700)):
        f = GATED[name]
        x, grad = normal(rows, 6, dtype=np.float32), normal(rows, 3, dtype=np.float32)
        expected, dx = f(x, layout=layout), f.backward(grad, x, layout=layout)
        mine = x.copy()
        assert f.backward(grad, mine, layout=layout, out=mine) is mine
        assert same_bits(mine, dx)
        mine = x.copy()
        assert f(mine, layout=layout, out=split(mine)[0]) is not None
        mine = x.copy()
        f(mine, layout=layout, out=mine[:, 3:])
        assert same_bits(mine[:, 3:], expected)
        mine = x.copy()  # the gradient lies within the array it is the gradient of
        mine[:, 1:4] = grad
        expected = f.backward(grad.copy(), mine.copy(), layout=layout)
        f.backward(mine[:, 1:4], mine, layout=layout, out=mine)
        assert same_bits(mine, expected)
        a, b = (np.ascontiguousarray(v) for v in split(x))
        da, db = f.backward(grad, a, b)
        g = grad.copy()
        found = f.backward(g, a, b, out=(g, b))
        assert found[0] is g
        assert same_bits(g, da)
        assert same_bits(b, db)


@pytest.mark.skipif("numba" not in BACKENDS, reason="numba is missing")
def test_the_same_bits_on_any_number_of_threads() -> None:
    """Bands follow from shapes: numba, on one thread and two, gives the bits of one core."""
    import numba

    for shape in ((900, 512), (40, 9_000), (2, 300_000)):
        x, grad = normal(*shape, dtype=np.float32), normal(shape[0], shape[1] // 2, dtype=np.float32)
        options = {"bias": normal(shape[1], dtype=np.float32), "weight": normal(shape[0], dtype=np.float32)}
        expected = fastact.swiglu.backward(grad, x, backend="cython", **options)
        before = numba.get_num_threads()
        try:
            for threads in sorted({1, before}):
                numba.set_num_threads(threads)
                for ours, theirs in zip(fastact.swiglu.backward(grad, x, backend="numba", **options), expected, strict=True):
                    assert same_bits(ours, theirs)
        finally:
            numba.set_num_threads(before)


def test_sums_are_exact_enough() -> None:
    """A gradient of a hundred thousand terms is right to float32's last digits: it was summed in float64."""
    x = np.ones((100_000, 4), np.float32) + normal(100_000, 4, dtype=np.float32, scale=0.01)
    _, dbias = fastact.bilinear.backward(np.full((100_000, 2), 0.1, np.float32), x, bias=np.zeros(4, np.float32))
    exact = (np.float32(0.1).astype(np.float64) * x[:, [2, 3, 0, 1]].astype(np.float64)).sum(0)
    np.testing.assert_allclose(dbias, exact, rtol=2e-7)


def test_learnable_activation() -> None:
    x, grad = normal(4, 10), normal(4, 5)
    dx, dbeta = fastact.gated("swish_beta").backward(grad, x, beta=1.7)
    a, b = split(x)
    da, expected = fastact.swish_beta.backward(grad * b, a, 1.7)
    np.testing.assert_allclose(dbeta, expected, rtol=1e-13)
    np.testing.assert_allclose(dx[:, :5], da, rtol=1e-13)
    per_row = fastact.gated("swish_beta").backward(grad, x, beta=np.linspace(0.5, 2, 4)[:, None])
    assert per_row[1].shape == (4, 1)


# ---------------------------------------------------------------- objects, empties, errors


def test_objects() -> None:
    for f in (*GATED.values(), fastact.gated("mish"), fastact.gated(fastact.leaky_relu.with_defaults(alpha=0.3), gate="second")):
        assert pickle.loads(pickle.dumps(f)) is f
        assert copy.deepcopy(f) is f
        assert f.__doc__
        assert f.formula in f.__doc__
    assert fastact.gated("swish") is fastact.gated("silu") is not fastact.gated("silu", gate="second")
    assert all(getattr(fastact, alias) is f for alias, f in GATED_ALIASES.items())
    assert all(f"`{name}`" in table() for name in (*GATED, *GATED_ALIASES))
    x = normal(2, 6)
    assert same_bits(fastact.gated("gelu")(x), fastact.geglu(x))


def test_empty_and_integers() -> None:
    for shape in ((0, 4), (3, 0), (0,)):
        x = np.zeros(shape, np.float32)
        y = fastact.swiglu(x)
        assert y.shape == (*shape[:-1], shape[-1] // 2)
        assert y.dtype == np.float32
        dx, dbias = fastact.swiglu.backward(y, x, bias=np.zeros(shape[-1], np.float32))
        assert dx.shape == shape
        assert not dbias.any()
        assert dbias.shape == shape[-1:]
    assert fastact.reglu(np.array([3, -2])).dtype == np.float64
    assert fastact.reglu([3, -2]) == -6.0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda f, x: f(x[:, :3]), ValueError, "a has 3 elements on axis 1"),
        (lambda f, x: f(np.float32(1)), ValueError, "no axes"),
        (lambda f, x: f(x, axis=2), ValueError, "axis 2 is out of range"),
        (lambda f, x: f(x, x[:1]), ValueError, "b has shape"),
        (lambda f, x: f(x, x.astype(np.float32)), TypeError, "b has dtype float32"),
        (lambda f, x: f(x, layout="pairs"), ValueError, "layout must be one of"),
        (lambda f, x: f(x, bias=np.zeros(3)), ValueError, "bias has shape"),
        (lambda f, x: f(x, weight=np.zeros((2, 2, 2))), ValueError, "weight has shape"),
        (lambda f, x: f(x, limit=-1.0), ValueError, "limit must be"),
        (lambda f, x: f(x, offset="1"), TypeError, "offset must be a number"),
        (lambda f, x: f(x, alpha=1.0), TypeError, "unexpected keyword argument 'alpha'"),
        (lambda f, x: f(x, out=np.zeros((2, 4))), ValueError, "out has shape"),
        (lambda f, x: f(x > 0), TypeError, "a has dtype bool"),
        (lambda f, x: f.backward(x, x), ValueError, "grad has shape"),
        (lambda f, x: f.backward(x[:, :2].astype(np.float32), x), TypeError, "grad has dtype"),
        (lambda f, x: fastact.gated("softmax"), TypeError, "elementwise activation"),
        (lambda f, x: fastact.gated("silu", gate="third"), ValueError, "gate must be one of"),
        (lambda f, x: fastact.gated("prelu")(x), TypeError, "missing required parameter 'alpha'"),
    ],
)
def test_errors(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call(fastact.swiglu, normal(2, 4))
