"""Bias, dropout and packed masks around activations: against the parts, the oracle, and PyTorch."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from common import BACKENDS, DTYPES, ELEMENTWISE, params, same_bits

import fastact
from fastact import noise
from fastact.kernels.definitions import DEFINITIONS
from fastact.kernels.definitions.language import evaluate

RNG = np.random.default_rng(9)
TWO_SLOPED = [name for name in ELEMENTWISE if DEFINITIONS[name].slopes]


def normal(*shape: int, dtype: object = np.float64) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def tuples(found: object) -> tuple:
    return found if isinstance(found, tuple) else (found,)


# ---------------------------------------------------------------- bias


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_bias_act_is_its_parts(name: str) -> None:
    """In float64: the activation of x + bias, its gradient, and the sum of that."""
    given = dict(zip(DEFINITIONS[name].params, params(name), strict=False))
    f = getattr(fastact, name)
    given = {n: v for n, v in given.items() if n not in ("axis", "bias", "dropout", "seed")}
    x, bias, grad = np.abs(normal(4, 6, 3)) + 0.5, np.abs(normal(6)) + 0.1, normal(4, 6, 3)
    z = x + bias[:, None]
    assert same_bits(fastact.bias_act(x, bias, f, axis=1, **given), f(z, **given))
    found = fastact.bias_act.backward(grad, x, bias, name, axis=1, **given)
    expected = tuples(f.backward(grad, z, **given))
    assert len(found) == 2 + len(f.learnable)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-14, atol=1e-300)
    np.testing.assert_allclose(found[1], expected[0].sum((0, 2)), rtol=1e-11, atol=1e-13)
    for a, b in zip(found[2:], expected[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_bias_act_against_torch() -> None:
    torch = pytest.importorskip("torch")
    x, bias, grad = normal(5, 7), normal(7), normal(5, 7)
    leaves = [torch.from_numpy(v).requires_grad_() for v in (x, bias)]
    out = torch.nn.functional.gelu(leaves[0] + leaves[1])
    expected = torch.autograd.grad(out, leaves, torch.from_numpy(grad))
    np.testing.assert_allclose(fastact.bias_act(x, bias, "gelu"), out.detach().numpy(), rtol=1e-9)
    for ours, theirs in zip(fastact.bias_act.backward(grad, x, bias, "gelu"), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-9)


@pytest.mark.parametrize("shape", [(), (1,), (6, 1), (3, 1, 5), (1, 6, 1), (4, 3, 6, 5), (4, 1, 6, 1), (3, 6, 1)])
def test_any_bias_that_broadcasts(shape: tuple[int, ...]) -> None:
    """Also one with axes between its own, which are run one after the other."""
    x, grad, bias = normal(4, 3, 6, 5), normal(4, 3, 6, 5), normal(*shape)
    kept = {"dropout": 0.25, "seed": 3}
    expected = fastact.bias_act.backward(grad, x, bias, "tanh", backend="numpy", **kept)
    for backend in BACKENDS:
        y = fastact.bias_act(x, bias, "tanh", backend=backend, **kept)
        np.testing.assert_allclose(y, fastact.bias_act(x, bias, "tanh", backend="numpy", **kept), rtol=1e-13)
        for ours, theirs in zip(fastact.bias_act.backward(grad, x, bias, "tanh", backend=backend, **kept), expected, strict=True):
            assert np.shape(ours) == np.shape(theirs)
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)
    assert np.shape(expected[1]) == shape


# ---------------------------------------------------------------- dropout


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0 / 3.0, 0.999, 1.0])
def test_what_is_dropped_follows_from_the_seed(p: float) -> None:
    """The element of index i in C order, whatever the layout, as noise.uniform says; and the same ones in backward."""
    x, grad = np.abs(normal(37, 41)) + 1.0, normal(37, 41)
    keep = noise.uniform(12, x.shape, np) < 1.0 - p
    scale = 1.0 / (1.0 - p) if p < 1 else 0.0
    for backend in BACKENDS:
        for order in "CF":
            y = fastact.act_dropout(np.asarray(x, order=order), "silu", p, seed=12, backend=backend)
            np.testing.assert_allclose(y, np.where(keep, fastact.silu(x) * scale, 0.0), rtol=1e-14)
            dx = fastact.act_dropout.backward(np.asarray(grad, order=order), x, "silu", p, seed=12, backend=backend)
            np.testing.assert_allclose(dx, np.where(keep, fastact.silu.backward(grad, x) * scale, 0.0), rtol=1e-13)
            assert ((y != 0) == keep).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_dropout_of_every_type(dtype: str) -> None:
    x = np.abs(normal(3000)).astype(DTYPES[dtype]) + DTYPES[dtype].type(1)
    keep = noise.uniform(2**64 - 1, x.shape, np) < 0.75
    y = fastact.act_dropout(x, "relu", 0.25, seed=2**64 - 1)
    assert y.dtype == x.dtype
    assert ((y != 0) == keep).all()
    assert 0.6 < keep.mean() < 0.9
    x[:] = np.inf
    assert (fastact.act_dropout(x, "relu", 0.25, seed=2**64 - 1)[~keep] == 0).all()


def test_fused_calls() -> None:
    x, bias = normal(6, 8, dtype=np.float32), normal(8, dtype=np.float32)
    expected = fastact.bias_act(x, bias, "gelu", dropout=0.3, seed=1)
    mine = x.copy()
    assert fastact.bias_act(mine, bias, "gelu", dropout=0.3, seed=1, out=mine) is mine
    assert same_bits(mine, expected)
    shared = np.concatenate([x.reshape(-1), bias])
    assert same_bits(
        fastact.bias_act(shared[:48].reshape(6, 8), shared[40:48], "gelu", out=shared[8:].reshape(6, 8)), fastact.gelu(x + x[5])
    )
    for f in (fastact.bias_act, fastact.act_dropout):
        assert pickle.loads(pickle.dumps(f)) is f
    assert fastact.bias_act(np.zeros((0, 3)), np.zeros(3), "relu").shape == (0, 3)
    assert fastact.bias_act.backward(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(3), "relu")[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: fastact.act_dropout(x, "relu", 0.5), ValueError, "needs a seed"),
        (lambda x: fastact.act_dropout(x, "relu", 1.5, seed=1), ValueError, "from 0 to 1"),
        (lambda x: fastact.act_dropout(x, "relu", "0.5", seed=1), TypeError, "must be a number"),
        (lambda x: fastact.bias_act(x, np.zeros(5), "relu"), ValueError, "bias has shape"),
        (lambda x: fastact.bias_act(x, np.zeros(3), "softmax"), TypeError, "elementwise"),
        (lambda x: fastact.bias_act(x, np.zeros(3), "relu", alpha=1.0), TypeError, "unexpected keyword argument 'alpha'"),
        (lambda x: fastact.bias_act(x, np.zeros(3), "prelu"), TypeError, "missing required parameter 'alpha'"),
        (lambda x: fastact.bias_act.backward(x[:1], x, np.zeros(3), "relu"), ValueError, "grad has shape"),
    ],
)
def test_errors(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call(normal(2, 3))


# ---------------------------------------------------------------- masks


def test_who_has_masks() -> None:
    """The functions whose derivative takes two values, found by looking at it; those of the others say no."""
    assert {"relu", "leaky_relu", "prelu", "relu6", "hard_tanh", "hard_sigmoid", "threshold"} <= set(TWO_SLOPED)
    x = np.concatenate([np.linspace(-9, 9, 997), RNG.standard_normal(99)])
    for name in ELEMENTWISE:
        f = getattr(fastact, name)
        values = len(np.unique(f.derivative(x, *params(name))))
        if DEFINITIONS[name].slopes:
            assert values == 2, name
        else:
            assert values != 2, f"{name} has two slopes: say so in its definition"
            with pytest.raises(NotImplementedError, match=name):
                f.forward_with_mask(x, *params(name))


@pytest.mark.parametrize("name", TWO_SLOPED)
def test_masks(name: str) -> None:
    f = getattr(fastact, name)
    for given in (params(name), *DEFINITIONS[name].examples):
        for size in (1, 7, 8, 9, 511, 1030):
            for dtype in DTYPES:
                x, grad = (2 * normal(size)).astype(DTYPES[dtype]), normal(size).astype(DTYPES[dtype])
                named = dict(zip(DEFINITIONS[name].params, given or DEFINITIONS[name].params.values(), strict=True))
                low, high = (float(evaluate(e, named)) for e in DEFINITIONS[name].slopes)
                slopes = f.derivative(x.astype(np.float64), *given)
                y, mask = f.forward_with_mask(x, *given)
                assert same_bits(y, f(x, *given))
                assert mask.dtype == np.uint8
                assert mask.size == -(-size // 8)
                bits = np.unpackbits(mask, bitorder="little")
                assert not bits[size:].any()
                if low != high:
                    clear = np.abs(x.astype(np.float64)[:, None] - [evaluate(k, named) for k in DEFINITIONS[name].kinks]).min(1) > 0.02
                    assert (bits[:size].astype(bool) == (np.abs(slopes - high) < np.abs(slopes - low)))[clear].all()
                dx = f.backward_from_mask(grad, mask, *given)
                expected = grad.astype(np.float64) * np.where(bits[:size], high, low)
                np.testing.assert_allclose(dx.astype(np.float64), expected, rtol=8 * float(np.spacing(DTYPES[dtype].type(1))), atol=1e-6)
                if dtype == "float32":
                    again = f.forward_with_mask(x, *given, backend="numpy")
                    assert (again[1] == mask).all()
                    assert again[0].dtype == x.dtype


def test_mask_calls() -> None:
    x = normal(30, 50, dtype=np.float32)
    y, mask = fastact.leaky_relu.forward_with_mask(x, alpha=0.2)
    turned = fastact.leaky_relu.forward_with_mask(np.asfortranarray(x), alpha=0.2)
    assert same_bits(turned[0], y)
    assert (turned[1] == mask).all()
    expected = fastact.leaky_relu.backward(x, x, 0.2)
    for backend in BACKENDS:
        assert same_bits(fastact.leaky_relu.backward_from_mask(x, mask, 0.2, backend=backend), expected)
    mine = x.copy()
    assert fastact.leaky_relu.backward_from_mask(mine, mask, 0.2, out=mine) is mine
    assert same_bits(mine, expected)
    mine = x.copy()
    assert (fastact.leaky_relu.forward_with_mask(mine, 0.2, out=mine)[1] == mask).all()
    assert same_bits(mine, y)
    assert fastact.relu.forward_with_mask(np.zeros((0, 2)))[1].shape == (0,)
    with pytest.raises(ValueError, match="mask has dtype"):
        fastact.relu.backward_from_mask(x, mask[:-1])
    with pytest.raises(TypeError, match="alpha must be a number"):
        fastact.prelu.forward_with_mask(x, np.ones(50))
