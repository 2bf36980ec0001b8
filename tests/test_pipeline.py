"""The block-wise runner of products (kernels/cpu/pipeline.hpp): its views, bands and sums, on every instruction set."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from common import ELEMENTWISE, params, same_bits

import fastact
from fastact.backends.cython import CythonBackend
from fastact.kernels.cpu import compiled
from fastact.kernels.definitions import DEFINITIONS

RNG = np.random.default_rng(21)
LEARNABLE = [name for name in ELEMENTWISE if DEFINITIONS[name].learnable]


def normal(*shape: int, dtype: object = np.float32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("name", LEARNABLE)
@pytest.mark.parametrize(
    ("shape", "own"),
    [
        ((5, 7), ()),
        ((5, 7), (7,)),
        ((600, 7), (600, 1)),
        ((3, 64, 40), (64, 1)),
        ((3, 5, 700), (5, 1)),
        ((40, 3), (3,)),
        ((2, 3, 4, 5), (2, 1, 4, 1)),
        ((2, 3, 4, 5), (3, 1, 5)),
        ((70, 5_000), (5_000,)),
        ((1, 300_000), (1, 300_000)),
        ((9, 8), (9, 8)),
        ((3, 1, 0), (1, 1)),
    ],
)
def test_sums_of_any_shape(name: str, shape: tuple[int, ...], own: tuple[int, ...]) -> None:
    """Parameter gradients against the oracle, for parameters broadcast along any axes, in memory of either order."""
    definition = DEFINITIONS[name]
    x, grad = np.abs(normal(*shape, dtype=np.float64)) - 0.3, normal(*shape, dtype=np.float64)
    given = [np.full(own, v) * (1 + 0.1 * RNG.random(own)) for v in params(name) or definition.params.values()]
    expected = getattr(fastact, name).backward(grad, x, *given, backend="numpy")
    for order in "CF":
        found = getattr(fastact, name).backward(np.asarray(grad, order=order), np.asarray(x, order=order), *given, backend="cython")
        for a, b in zip(found, expected, strict=True):
            assert np.shape(a) == np.shape(b)
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


def job(shape: tuple[int, ...], own: tuple[int, ...], kind: str = "float32") -> tuple[compiled.Pipeline, list[np.ndarray]]:
    x, grad, dx = normal(*shape), normal(*shape), np.empty(shape, np.float32)
    made = compiled.Pipeline("backward", kind, False, shape)
    made.factor(None, x, bias=np.zeros(own, np.float32), dx=dx, bias_shape=own)
    made.product(grad=grad)
    assert made.ready()
    return made, [grad, dx]


@pytest.mark.parametrize(
    ("shape", "own"),
    [((1_000_000,), ()), ((4_000, 300), (300,)), ((64, 20_000), (20_000,)), ((100, 64, 200), (64, 1)), ((300_000, 3), (3,))],
)
def test_bands(shape: tuple[int, ...], own: tuple[int, ...]) -> None:
    """Large arrays have bands, which may run in any order and give the same bits."""
    import ctypes

    made, (grad, dx) = job(shape, own)
    assert 2 <= made.bands <= 64 * 2
    CythonBackend().run_job(made)
    (total,) = made.sums()
    first = total.copy()
    assert same_bits(dx, grad)
    axes = tuple(i for i in range(len(shape)) if i < len(shape) - len(own) or own[i - len(shape) + len(own)] != shape[i])
    np.testing.assert_allclose(total, grad.sum(axes, dtype=np.float64).reshape(own), rtol=1e-10, atol=1e-9)
    again, _ = job(shape, own)
    kept = np.array(grad)
    turned = compiled.Pipeline("backward", "float32", False, shape)
    turned.factor(None, kept, dx=dx, bias_shape=own)
    turned.product(grad=kept)
    assert turned.ready()
    assert turned.bands == made.bands == again.bands
    run = ctypes.CFUNCTYPE(None, ctypes.c_size_t, ctypes.c_size_t)(turned.function)
    for band in reversed(range(turned.bands)):
        run(turned.address, band)
    assert same_bits(turned.sums()[0], first)


def digest() -> dict[str, str]:
    """Results of a few pipelines, hashed; without the gates that are float32 only and rounded alike everywhere, nothing is left out."""
    import hashlib

    rng = np.random.default_rng(4)
    found = {}
    for dtype in (np.float32, np.float64, np.float16):
        for shape in ((3, 10), (37, 514), (5, 3_000), (200, 64)):
            x, grad = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
            bias, weight = rng.standard_normal(shape[1]).astype(dtype), rng.standard_normal(shape[0]).astype(dtype)
            for name in ("swiglu", "gtu", "swiglu_oai", "geglu"):
                f = fastact.gated.__globals__["GATED"][name]
                results = f.backward(grad[:, ::2].copy(), x, bias=bias, weight=weight)
                for i, r in enumerate((f(x, bias=bias, weight=weight), *results)):
                    found[f"{name}-{np.dtype(dtype)}-{shape}-{i}"] = hashlib.sha256(np.ascontiguousarray(r).tobytes()).hexdigest()
            y = fastact.bias_act(x, bias, "gelu", dropout=0.4, seed=5)
            found[f"dropout-{np.dtype(dtype)}-{shape}"] = hashlib.sha256(y.tobytes()).hexdigest()
            y, mask = fastact.relu.forward_with_mask(x)
            found[f"mask-{np.dtype(dtype)}-{shape}"] = hashlib.sha256(mask.tobytes()).hexdigest()
    return found


@pytest.mark.parametrize("isa", [name for name, runs in compiled.INSTRUCTION_SETS.items() if runs and name != compiled.ISA])
def test_the_same_bits_on_every_instruction_set(isa: str) -> None:
    """Sums too: their partial sums do not depend on how wide a vector is."""
    code = "import json, test_pipeline; print(json.dumps(test_pipeline.digest()))"
    environment = {
        **os.environ,
        "FASTACT_ISA": isa,
        "PYTHONWARNINGS": "ignore",
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    theirs = json.loads(done.stdout)
    ours = digest()
    assert len(ours) > 100
    assert [key for key in ours if ours[key] != theirs[key]] == []


def test_too_many_dimensions_are_refused() -> None:
    made = compiled.Pipeline("forward", "float32", False, (2, 3, 4, 5))
    x = normal(2, 6, 8, 5)[:, ::2, ::2]
    made.factor(None, x)
    made.product(np.empty(x.shape, np.float32))
    assert made.ready()
    made = compiled.Pipeline("forward", "float32", False, (2, 3, 4, 5))
    x = normal(4, 6, 8, 10)[::2, ::2, ::2, ::2]
    made.factor(None, x)
    made.product(np.empty(x.shape, np.float32))
    assert not made.ready()
