"""The families of functions on CUDA, without a GPU: their kernels, built for the CPU behind a shim, against the float64 reference."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from common import DTYPES
from cuda_host import COMPILER, FakeArray, bits, standing_in

import fastact
from fastact.backends import cupy as adapter
from fastact.backends import stages
from fastact.backends.numpy import NumpyBackend
from fastact.kernels import lower
from fastact.kernels.definitions import DEFINITIONS
from fastact.rows import Rows, Spread

UNIT = {"float16": 2**-10, "bfloat16": 2**-7, "float32": 2**-22, "float64": 2**-50}


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cubins")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared_cache: Path) -> Iterator[types.SimpleNamespace]:
    """A stand-in for CuPy and NVRTC: kernels run on the CPU."""
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    with standing_in(monkeypatch, tmp_path, shared_cache) as made:
        yield made


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[stages.Plan]:
    """How stages were gone through, each call appended."""
    made: list[stages.Plan] = []

    def planned(*args: Any) -> stages.Plan:
        made.append(original(*args))
        return made[-1]

    original = stages.plan
    monkeypatch.setattr(stages, "plan", planned)
    return made


# ---------------------------------------------------------------- rows


def spread(a: np.ndarray, shape: tuple[int, int, int]) -> Spread:
    """An array broadcast to ``[outer, n, inner]``."""
    data = np.ascontiguousarray(a)
    o, r, c = (s // a.itemsize for s in np.broadcast_to(data, shape).strides)
    return Spread(data.reshape(-1), np.arange(shape[0]) * o, r, np.arange(shape[2]) * c)


def fresh(value: Any, view: Any = None) -> Any:
    """A copy of whatever stands in a call; arrays as `view`."""
    if isinstance(value, Spread):
        return Spread(*(fresh(v, view) for v in value))
    return value.copy().view(view or type(value)) if isinstance(value, np.ndarray) else value


def both(fake: Any, call: Rows, results: list[str]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Run a call on the CUDA text and on the reference: what each result is, and what it should be."""
    given = vars(call)
    found, wanted = Rows(**{k: fresh(v, FakeArray) for k, v in given.items()}), Rows(**{k: fresh(v) for k, v in given.items()})
    fake.backend.rows(found)
    NumpyBackend().rows(wanted)
    for name in results:
        yield name, np.asarray(getattr(found, name), np.float64), np.asarray(getattr(wanted, name), np.float64)


#: Shapes for a warp, for a block, and for a thread a row.
SHAPES = {"warp": (5, 70, 1), "block": (3, 1300, 1), "alone": (2, 9, 37)}
VALUES: dict[str, dict[str, Any]] = {
    "softmax": {"lse": True, "sink": True},
    "log_softmax": {"bias": (1, 0, 0), "scale": 0.5, "bias_scale": 2.0},
    "hardmax": {},
    "sparsemax": {"where": (0, 1, 1)},
    "entmax15": {"limits": True},
    "entmax": {"alpha": True, "where": (1, 1, 0)},
}
#: The same kernels serve several tests where options are alike.
BACKWARD: dict[str, dict[str, Any]] = {
    "softmax": {"bias": (0, 1, 0), "scale": 0.5, "bias_scale": 2.0, "sink": True, "where": (1, 1, 1), "row_grad": True},
    "log_softmax": {"bias": (1, 0, 1), "bias_scale": 0.25},
    "sparsemax": {"bias": (1, 1, 1)},
    "entmax15": {"scale": 2.0},
    "entmax": {"alpha": True, "dalpha": True},
}


def options(chosen: dict[str, Any], shape: tuple[int, int, int], dtype: Any, rng: Any) -> dict[str, Any]:
    """A call's optional arguments: where it says so, arrays."""
    outer, n, inner = shape
    rows = outer * inner
    made: dict[str, Any] = dict(chosen)
    for name in {"bias", "where"} & chosen.keys():
        own = tuple(extent if kept else 1 for extent, kept in zip(shape, chosen[name], strict=True))
        values = rng.normal(0, 1, own).astype(dtype) if name == "bias" else (rng.random(own) < 0.7).astype(np.uint8)
        if name == "where" and own[0] > 1:
            values[0] = 0  # a row with nothing left
        made[name] = spread(values, shape)
    draws = {
        "sink": lambda: rng.normal(0, 1, rows),
        "alpha": lambda: rng.choice([1.25, 1.5, 2.0], rows),
        "row_grad": lambda: rng.normal(0, 1, rows),
        "limits": lambda: rng.integers(0, n + 1, rows),
        "lse": lambda: np.full(rows, np.nan),
        "dalpha": lambda: np.full(rows, np.nan),
    }
    return made | {name: draws[name]() for name in draws.keys() & chosen.keys()}


#: One team of threads is like another: what two programs do is tried with blocks.
IN_BLOCKS = ("softmax", "entmax")


@pytest.mark.parametrize(("program", "team"), [(p, t) for p in VALUES for t in SHAPES if t != "block" or p in IN_BLOCKS])
def test_row_values(fake: Any, program: str, team: str) -> None:
    kind = "float32" if team != "warp" else "float64"
    shape, dtype, rng = SHAPES[team], DTYPES[kind], np.random.default_rng(len(program))
    x = rng.normal(0, 3, shape).astype(dtype)
    chosen = options(VALUES[program], shape, dtype, rng)
    call = Rows(program, "value", kind, False, x, out=np.full(shape, np.nan, dtype), **chosen)
    for name, found, wanted in both(fake, call, ["out", *(["lse"] if call.lse is not None else [])]):
        np.testing.assert_allclose(found, wanted, rtol=8 * UNIT[kind], atol=8 * UNIT[kind], err_msg=name)


@pytest.mark.parametrize(("program", "team"), [(p, t) for p in BACKWARD for t in SHAPES if t != "block" or p in IN_BLOCKS])
def test_row_gradients(fake: Any, program: str, team: str) -> None:
    kind = {"warp": "bfloat16", "block": "float64", "alone": "float32"}[team]
    shape, dtype, rng = SHAPES[team], DTYPES[kind], np.random.default_rng(len(program))
    x, grad = (rng.normal(0, 2, shape).astype(dtype) for _ in range(2))
    chosen = options(BACKWARD[program], shape, dtype, rng)
    results = ["out", *(["dalpha"] if "dalpha" in chosen else [])]
    for parameter in {"bias", "sink"} & chosen.keys():
        size = chosen["bias"].data.size if parameter == "bias" else chosen["sink"].size
        chosen[f"d{parameter}"] = np.full(size, np.nan)
        results.append(f"d{parameter}")
    call = Rows(program, "backward", kind, False, x, out=np.full(shape, np.nan, dtype), grad=grad, **chosen)
    for name, found, wanted in both(fake, call, results):
        unit = UNIT[kind] if name == "out" else max(UNIT["float32"] if kind != "float64" else 0.0, UNIT["float64"])
        scale = max(np.abs(wanted).max(), float(np.abs(np.asarray(grad, np.float64)).max()))  # a row's own gradients sum to 0
        np.testing.assert_allclose(found, wanted, rtol=16 * unit, atol=64 * unit * scale, err_msg=name)


# ---------------------------------------------------------------- products of activations


def halves(x: Any, layout: str, axis: int) -> tuple[Any, Any]:
    """The two parts of an array that is split along an axis: views."""
    x = np.moveaxis(x, axis, -1)
    n = x.shape[-1] // 2
    parts = (x[..., :n], x[..., n:]) if layout == "halves" else (x[..., ::2], x[..., 1::2])
    return np.moveaxis(parts[0], -1, axis), np.moveaxis(parts[1], -1, axis)


def widened(values: Any, kind: str) -> Any:
    """As kernels hold it: halves as float32."""
    return np.asarray(values, np.float64 if kind == "float64" else np.float32)


@pytest.mark.parametrize(
    ("kind", "layout", "axis", "shape"),
    [("float32", "halves", -1, (40, 66)), ("float32", "halves", 1, (3, 10, 9)), ("bfloat16", "interleaved", -1, (7, 300))],
)
def test_gated(fake: Any, kind: str, layout: str, axis: int, shape: tuple[int, ...]) -> None:
    """mish(min(a + bias, 1)) * (clamp(b + bias, -1, 1) + 1) * weight, some dropped: bit for bit what single steps give; gradients too."""
    rng, dtype = np.random.default_rng(7), DTYPES[kind]
    x = rng.normal(0, 2, shape).astype(dtype)
    a, b = halves(x, layout, axis)
    out_shape = a.shape
    biases = [rng.normal(0, 1, [e if i == axis % len(shape) else 1 for i, e in enumerate(out_shape)]).astype(dtype) for _ in range(2)]
    weight = rng.normal(0, 1, (*out_shape[:-1], 1)).astype(dtype)
    grad = rng.normal(0, 1, out_shape).astype(dtype)
    seed, threshold, keep = 2**63 + 17, 3 << 22, 1 / 0.75
    view = lambda v: v.copy().view(FakeArray)  # noqa: E731
    fa, fb = halves(view(x), layout, axis)

    def described(mode: str, **outs: Any) -> Any:
        p = fake.backend.pipeline(mode, kind, False, out_shape)
        sums = mode == "backward"
        p.factor("mish", fa, bias=view(biases[0]), high=1.0, dx=outs.get("da"), bias_shape=biases[0].shape if sums else None)
        p.factor(
            None, fb, bias=view(biases[1]), low=-1.0, high=1.0, offset=1.0, dx=outs.get("db"), bias_shape=biases[1].shape if sums else None
        )
        given = {"grad": view(grad), "weight_shape": weight.shape} if sums else {"out": outs["out"]}
        p.product(weight=view(weight), **given)
        p.drop(seed, threshold, keep)
        assert p.ready()
        p.run()
        return p

    one = np.float32
    wide_a, wide_b = widened(a, kind) + widened(biases[0], kind), widened(b, kind) + widened(biases[1], kind)
    t, u = np.minimum(wide_a, one(1)), np.clip(wide_b, one(-1), one(1)) + one(1)
    v = fastact.mish(t, backend="cython")
    drawn = drawn_bits(seed, out_shape) < threshold
    y = v * u * widened(weight, kind)
    y = np.where(drawn, y * one(keep), one(0)).astype(dtype)
    out = np.empty(out_shape, dtype).view(FakeArray)
    described("forward", out=out)
    assert (bits(out) == bits(y)).all()

    dx = np.empty(shape, dtype).view(FakeArray)
    da, db = halves(dx, layout, axis)
    p = described("backward", da=da, db=db)
    g = np.where(drawn, widened(grad, kind) * one(keep), one(0))
    product = g * v * u
    g = g * widened(weight, kind)
    slope = fastact.mish.derivative(t, backend="cython") * np.where(wide_a > 1, one(0), one(1))
    wanted_a, wanted_b = g * u * slope, g * v * np.where(np.abs(wide_b) > 1, one(0), one(1))
    assert (bits(da) == bits(wanted_a.astype(dtype))).all()
    assert (bits(db) == bits(wanted_b.astype(dtype))).all()
    same = tuple(i for i in range(len(shape)) if i != axis % len(shape))
    for found, wanted in zip(
        p.sums(),
        [
            wanted_a.sum(same, np.float64, keepdims=True),
            wanted_b.sum(same, np.float64, keepdims=True),
            product.sum(-1, np.float64, keepdims=True),
        ],
        strict=True,
    ):
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def drawn_bits(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """SplitMix64's upper 24 bits for each index, after a seed that has been mixed."""
    with np.errstate(over="ignore"):
        z = np.arange(1, np.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        z = z ^ z >> np.uint64(31)
    return (z >> np.uint64(40)).reshape(shape)


# ---------------------------------------------------------------- public calls


def there(value: Any) -> Any:
    """On the stand-in for a device, in the same order."""
    return value.copy(order="K").view(FakeArray) if isinstance(value, np.ndarray) else value


def compared(function: Any, *args: Any, exact: int = 1, rtol: float = 1e-6, **options: Any) -> None:
    """A call on CuPy arrays gives what it gives on NumPy's: the first `exact` results to the bit, and all as the reference says."""
    found = function(*map(there, args), **{k: there(v) for k, v in options.items()})
    compiled = function(*args, **options, backend="cython")
    wanted = function(*args, **options, backend="numpy")
    for i, (one, same, right) in enumerate(zip(*(r if isinstance(r, tuple) else (r,) for r in (found, compiled, wanted)), strict=True)):
        assert isinstance(one, FakeArray)
        assert one.dtype == same.dtype
        assert one.shape == same.shape
        if i < exact:
            assert (bits(one) == bits(np.asarray(same))).all()
        finite = np.asarray(right, np.float64)[np.isfinite(np.asarray(right, np.float64))]
        scale = float(np.abs(finite).max(initial=1e-30))
        np.testing.assert_allclose(
            np.asarray(one, np.float64), np.asarray(right, np.float64), rtol=rtol, atol=2 * rtol * scale, err_msg=f"result {i}"
        )


def normal(shape: tuple[int, ...], kind: str = "float32", seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(0, 2, shape).astype(DTYPES[kind])


def test_gated_calls(fake: Any) -> None:
    x, grad, bias, weight = normal((6, 50)), normal((6, 25), seed=1), normal((50,), seed=2), normal((6,), seed=3)
    compared(fastact.swiglu_oai, x, bias=bias, weight=weight)
    compared(fastact.swiglu_oai.backward, grad, x, bias=bias, weight=weight)
    compared(fastact.gtu.backward, grad, normal((6, 25), seed=4), normal((6, 25), seed=5), exact=2)
    learned = fastact.gated("swish_beta", gate="second")
    compared(learned.backward, normal((4, 3, 9)), normal((4, 6, 9), seed=1), axis=1, beta=normal((3, 1), seed=2))


def test_gated_in_place(fake: Any) -> None:
    """Of two arrays and of one, where a result lies over what is still to be read."""
    x, grad = normal((5, 8)), normal((5, 4), seed=1)
    wanted = fastact.swiglu(x, backend="cython")
    for half in (slice(None, 4), slice(4, None)):
        base = there(x)
        assert (bits(fastact.swiglu(base, out=base[:, half])) == bits(wanted)).all()
    base = there(x)
    dx = fastact.swiglu.backward(there(grad), base, out=base)
    assert dx is base
    assert (bits(dx) == bits(fastact.swiglu.backward(grad, x, backend="cython"))).all()


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_fused(fake: Any, kind: str) -> None:
    """A bias, an activation and dropout; and packed masks."""
    x, grad, bias = normal((6, 5, 7), kind), normal((6, 5, 7), kind, 1), normal((5,), kind, 2)
    rtol = {"float32": 1e-6, "float16": 2e-3}[kind]
    compared(fastact.bias_act, x, bias, "silu", axis=1, dropout=0.3, seed=5, rtol=rtol)
    compared(fastact.bias_act.backward, grad, x, bias, "silu", axis=1, dropout=0.3, seed=5, rtol=rtol)
    compared(fastact.leaky_relu.forward_with_mask, x.transpose(2, 0, 1), exact=2, rtol=rtol)
    mask = fastact.leaky_relu.forward_with_mask(x, backend="cython")[1]
    compared(fastact.leaky_relu.backward_from_mask, grad, mask, rtol=rtol)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_elementwise_losses(fake: Any, reduction: str) -> None:
    x, labels = normal((3, 700)), np.random.default_rng(1).random((3, 700)).astype(np.float32)
    weight = np.asarray([0.5, 1.0, 2.0], np.float32)[:, None]
    for loss in (fastact.sigmoid_cross_entropy, fastact.huber):
        found, wanted = (
            loss.value_and_grad(f(x), f(labels), weight=f(weight), reduction=reduction, backend=b)
            for f, b in ((there, None), (np.asarray, "cython"))
        )
        assert isinstance(found[0], FakeArray)
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-6)
        assert (bits(found[1]) == bits(wanted[1])).all()
    if reduction == "none":
        compared(fastact.mse.backward, labels, x.T.copy().T, labels, weight=weight, reduction=reduction)
    compared(fastact.mse, x.astype(DTYPES["bfloat16"]), labels.astype(DTYPES["bfloat16"]), rtol=1e-2)


def test_row_losses(fake: Any) -> None:
    rng = np.random.default_rng(0)
    x, labels, weight = normal((40, 70)), rng.integers(0, 70, 40), rng.random(70)
    labels[3] = -100
    compared(fastact.softmax_cross_entropy.value_and_grad, x, labels, exact=0)
    compared(fastact.softmax_cross_entropy.value_and_grad, x, labels, weight=weight, label_smoothing=0.1, z_loss=1e-3, exact=0)
    soft = rng.random((40, 70)).astype(np.float32)
    compared(fastact.softmax_cross_entropy.value_and_grad, x, soft, reduction="none", exact=0, rtol=2e-6)
    labels[3] = 3
    compared(fastact.multi_class_hinge.value_and_grad, x, labels, p=2, weight=weight, exact=0)
    columns = normal((3, 9, 40))
    compared(fastact.softmax_cross_entropy.backward, np.float32(2.0), columns, rng.integers(0, 9, (3, 40)), axis=1, exact=0)
    base = there(x)
    out = fastact.softmax_cross_entropy.value_and_grad(base, there(labels), out=(None, base))[1]
    assert out is base
    np.testing.assert_allclose(out, fastact.softmax_cross_entropy.value_and_grad(x, labels, backend="numpy")[1], rtol=1e-5, atol=1e-9)


def test_row_calls(fake: Any) -> None:
    """What the calls of kernels above leave out: gradients from outputs, noise, one-hot results, the front-end's own sums."""
    x, grad = normal((6, 40)), normal((6, 40), seed=1)
    for f in (fastact.softmax, fastact.log_softmax, fastact.sparsemax, fastact.entmax15):
        y = f(x, backend="numpy")
        compared(f.backward_from_output, grad, y, exact=0, rtol=4e-6)
    for options in ({"temperature": 0.5}, {"hard": True}):
        noisy = fastact.gumbel_softmax(there(x), seed=3, **options)
        np.testing.assert_allclose(noisy, fastact.gumbel_softmax(x, seed=3, **options, backend="cython"), rtol=1e-6)
    compared(fastact.logsumexp, x, axis=0, exact=0)
    compared(fastact.logsumexp.backward, normal((6,)), x, exact=0, rtol=4e-6)
    bias, where = normal((40,)), np.random.default_rng(0).random((6, 40)) < 0.8
    compared(fastact.softmax.backward, grad, x, bias=bias, where=where, causal=True, sink=normal((6,)), exact=0, rtol=1e-5)


def test_infinite_rows(fake: Any) -> None:
    x = np.asarray([[-np.inf, -np.inf], [-np.inf, 3.0], [np.inf, 3.0], [np.nan, 3.0], [1e7, 1e7 + 1]], np.float32)
    compared(fastact.softmax, x, exact=0)
    compared(fastact.log_softmax, x, exact=0)


@pytest.mark.parametrize("order", ["C", "F"])
def test_learnable(fake: Any, order: Any) -> None:
    """Parameters that are broadcast in different ways."""
    name = next(n for n, d in DEFINITIONS.items() if len(d.learnable) > 1)
    definition, f = DEFINITIONS[name], getattr(fastact, name)
    assert len(definition.learnable) > 1
    x, grad = (np.asarray(normal((40, 3, 50), seed=i), order=order) for i in range(2))
    shapes = [(3, 1), (), (40, 1, 50), (3, 50), (1, 1)]
    defaults = definition.examples[0] if None in definition.params.values() else tuple(definition.params.values())
    params = [
        np.asarray(default * (1 + 0.1 * normal(shapes[i % len(shapes)], seed=i)), np.float32) if p in definition.learnable else default
        for i, (p, default) in enumerate(zip(definition.params, defaults, strict=True))
    ]
    compared(f, x, *params)
    compared(f.backward, grad, x, *params, rtol=1e-5)


# ---------------------------------------------------------------- vectors and single elements


def shifted(a: np.ndarray) -> Any:
    """On the stand-in for a device, where no vector begins."""
    base = np.empty(a.size + 1, a.dtype)[1:].reshape(a.shape).view(FakeArray)
    base[...] = a
    assert base.ctypes.data % 16
    return base


#: Layouts of the two operands of a gated function; odd numbers of elements fill no vectors.
LAYOUTS = ("two", "two odd", "two shifted", "halves", "halves odd", "interleaved", "interleaved odd", "transposed", "axis 0", "negative")


def laid_out(layout: str, kind: str, direction: str) -> tuple[list[Any], dict[str, Any], bool]:
    """Arguments as NumPy's, options, and whether a thread takes sixteen bytes."""
    rows, d = (5, 49) if "odd" in layout else (6, 48)
    if layout.startswith("two") or layout in ("transposed", "negative"):
        arrays = [normal((rows, d), kind, i) for i in range(2)]
        if layout == "negative":
            arrays[1] = arrays[1][:, ::-1]
        if layout == "transposed":
            arrays[1] = np.asarray(arrays[1], order="F")
        options: dict[str, Any] = {}
    else:
        arrays = [normal((2 * rows, d) if layout == "axis 0" else (rows, 2 * d), kind)]
        options = {"layout": "interleaved"} if layout.startswith("interleaved") else {"axis": 0} if layout == "axis 0" else {}
    grad = [normal((rows, d), kind, 2)] * (direction == "backward")
    return grad + arrays, options, layout in ("two", "two odd", "halves", "interleaved", "axis 0")


def check_layout(plans: list[stages.Plan], layout: str, kind: str, direction: str, function: Any = fastact.swiglu, **more: Any) -> None:
    """The bits of the compiled CPU code, whatever the layout, by vectors where they are possible."""
    args, options, vectors = laid_out(layout, kind, direction)
    options |= more
    call = function if direction == "forward" else function.backward
    to = shifted if layout == "two shifted" else lambda a: a[:, ::-1].copy().view(FakeArray)[:, ::-1] if a.strides[-1] < 0 else there(a)
    plans.clear()
    found, wanted = call(*map(to, args), **options), call(*args, **options, backend="cython")
    (plan,) = plans
    assert plan.form.lanes == (stages.VECTOR // adapter.ITEMSIZE[kind] if vectors else 1)
    for one, right in zip(*(r if isinstance(r, tuple) else (r,) for r in (found, wanted)), strict=True):
        assert (bits(one) == bits(np.asarray(right))).all()


@pytest.mark.parametrize(
    ("layout", "kind", "direction"),
    [
        ("two odd", "bfloat16", "forward"),
        ("two shifted", "bfloat16", "forward"),
        ("halves", "bfloat16", "backward"),
        ("interleaved", "bfloat16", "backward"),
        ("transposed", "float32", "forward"),
    ],
)
def test_layouts(fake: Any, plans: list[stages.Plan], layout: str, kind: str, direction: str) -> None:
    check_layout(plans, layout, kind, direction)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_layouts(fake: Any, plans: list[stages.Plan], monkeypatch: pytest.MonkeyPatch, layout: str, kind: str) -> None:
    """Every layout and dtype, both directions; by single elements too, whose indices are right for any strides, in 32 and 64 bits."""
    for direction in ("forward", "backward"):
        check_layout(plans, layout, kind, direction)
        if kind in ("bfloat16", "float32"):
            check_layout(plans, layout, kind, direction, fastact.gated("mish"), limit=1.5, offset=1.0)
    args, options, _ = laid_out(layout, kind, "forward")
    wanted = fastact.swiglu(*args, **options, backend="cython")
    monkeypatch.setattr(stages, "VECTORS", False)
    plans.clear()
    assert (bits(fastact.swiglu(*map(there, args), **options)) == bits(np.asarray(wanted))).all()
    assert plans[0].form.lanes == 1
    original = stages.plan
    wider = lambda *args: replace(p := original(*args), form=replace(p.form, small=False))  # noqa: E731
    monkeypatch.setattr(stages, "plan", wider)
    assert (bits(fastact.swiglu(*map(there, args), **options)) == bits(np.asarray(wanted))).all()


#: Sums: what x is, the parameter's shape, in what form they are summed (vectors, neighbours with places of their own), chunks there are.
SUMS = {
    "all": ((5, 30001), (), True, False),
    "all, odd": ((5, 3001), (), True, False),
    "last": ((700, 48), (48,), True, True),
    "last, odd": ((700, 45), (45,), False, True),
    "rows": ((90, 160), (90, 1), True, False),
    "rows, odd": ((90, 161), (90, 1), False, False),
    "channels": ((9, 6, 40), (6, 1), True, False),
    "each": ((3, 50), (3, 50), True, True),
}


def check_sums(plans: list[stages.Plan], case: str, kind: str, vectors: bool = True) -> None:
    """prelu's gradients: dx to the bit, the other one the sum of its terms, which are exact, as NumPy's float64 has it; twice the same."""
    shape, own, fits, across = SUMS[case]
    dtype, rng = DTYPES[kind], np.random.default_rng(3)
    x, grad, alpha = rng.normal(0, 1, shape).astype(dtype), rng.normal(0, 1, shape).astype(dtype), np.full(own, 0.25, dtype)
    plans.clear()
    found = [fastact.prelu.backward(*map(there, (grad, x, alpha))) for _ in range(2)]
    assert plans[0].form.lanes == (stages.VECTOR // adapter.ITEMSIZE[kind] if fits and vectors else 1)
    assert plans[0].form.across == across
    assert plans[0].parts > 1 or case not in ("all", "last")
    assert (bits(found[0][0]) == bits(np.asarray(fastact.prelu.backward(grad, x, alpha, backend="cython")[0]))).all()
    assert (bits(found[0][1]) == bits(found[1][1])).all()
    real = np.float64 if kind == "float64" else np.float32
    terms = np.where(x > 0, 0, x.astype(real) * grad.astype(real)).astype(np.float64)
    axes = tuple(i for i, n in enumerate((1,) * (len(shape) - len(own)) + own) if n == 1)
    wanted, most = (t.sum(axes, keepdims=True).reshape(own) for t in (terms, np.abs(terms)))
    error = np.abs(np.asarray(found[0][1], np.float64) - wanted)
    assert (
        error
        <= np.abs(wanted) * np.finfo(real).eps * (2.0**16 if kind == "bfloat16" else 2.0**13 if kind == "float16" else 1) + 1e-14 * most
    ).all()


@pytest.mark.parametrize("case", ["all", "last", "channels"])
def test_sums(fake: Any, plans: list[stages.Plan], case: str) -> None:
    check_sums(plans, case, "float32")


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", SUMS)
@pytest.mark.parametrize("kind", DTYPES)
def test_all_sums(fake: Any, plans: list[stages.Plan], monkeypatch: pytest.MonkeyPatch, case: str, kind: str) -> None:
    check_sums(plans, case, kind)
    monkeypatch.setattr(stages, "VECTORS", False)
    check_sums(plans, case, kind, vectors=False)


def test_one_pass(fake: Any, plans: list[stages.Plan]) -> None:
    """dyt as networks have it: one alpha, gamma and beta by channel, all summed in the pass that makes dx."""
    x, grad = normal((600, 40)), normal((600, 40), seed=1)
    alpha, gamma, beta = np.float32(0.6), normal((40,), seed=2), normal((40,), seed=3)
    args = [grad, x, np.asarray(alpha), gamma, beta]
    found = fastact.dyt.backward(*map(there, args))
    (plan,) = plans
    assert plan.form.lanes == 4
    assert plan.grid > 1
    wanted = fastact.dyt.backward(*args, backend="cython")
    assert (bits(found[0]) == bits(np.asarray(wanted[0]))).all()
    for one, right in zip(found[1:], wanted[1:], strict=True):
        assert one.shape == np.shape(right)
        np.testing.assert_allclose(one, right, rtol=2e-7, atol=1e-6)


def check_cheaper(name: str) -> None:
    """Where sums have cheaper terms: each of them as close as it says, and dx to the bit."""
    definition, f, rng = DEFINITIONS[name], getattr(fastact, name), np.random.default_rng(5)
    x = np.concatenate(
        [rng.normal(0, 2, 3000), rng.normal(0, 1, 1000) * 10 ** rng.uniform(-8, 4, 1000), [0.0, -0.0, np.inf, -np.inf, np.nan]]
    )
    x, grad = x.astype(np.float32), rng.normal(0, 1, x.size).astype(np.float32)
    scale = rng.uniform(0.5, 2, x.size)
    params = [
        np.asarray(v * scale, np.float32)
        for v in (definition.examples[0] if None in definition.params.values() else definition.params.values())
    ]
    found = f.backward(*map(there, (grad, x, *params)))
    compiled = f.backward(grad, x, *params, backend="cython")
    assert (bits(found[0]) == bits(np.asarray(compiled[0]))).all()
    wanted = f.backward(*(np.asarray(v, np.float64) for v in (grad, x, *params)), backend="numpy")
    finite = np.isfinite(x)
    for i, (term, exactly, right) in enumerate(zip(found[1:], compiled[1:], wanted[1:], strict=True)):
        np.testing.assert_allclose(term[~finite], exactly[~finite], rtol=8 * 2.0**-23)
        bound = 8 * 2.0**-23 * np.abs(right)
        if name == "snake":
            alpha = params[0].astype(np.float64)
            z = np.abs(alpha * x)
            bound = np.where(z < 0.5, bound / 2, 2.0**-22 * (1 + z) * np.abs(grad) / alpha**2)
        error = np.abs(term[finite].astype(np.float64) - right[finite])
        over = error - bound[finite] - 1e-37
        worst = np.argmax(over)
        assert over[worst] <= 0, f"gradient {i}: {term[finite][worst]} for {right[finite][worst]} at {x[finite][worst]}"


def check_half(name: str, kind: str) -> None:
    """Cheaper gradients for halves: dx rounded once, but for what next to a root counts in units of its parts; sums to half precision."""
    definition, f, rng = DEFINITIONS[name], getattr(fastact, name), np.random.default_rng(6)
    dtype, top = DTYPES[kind], 4 if kind == "float16" else 20
    x = np.concatenate([rng.normal(0, 2, 6000), rng.normal(0, 1, 2000) * 10 ** rng.uniform(-3, top, 2000), [0.0, -0.0]]).astype(dtype)
    grad = rng.normal(0, 1, x.size).astype(dtype)
    for values in definition.examples or [tuple(definition.params.values())]:
        params = [np.asarray(v, np.float32).astype(dtype) for v in values]
        found = f.backward(*map(there, (grad, x, *params)))
        again = f.backward(*map(there, (grad, x, *params)))
        exact = [np.asarray(v, np.float64) for v in (grad, x, *params)]
        dx, *terms = f.backward(*exact[:2], *(np.full(x.size, v) for v in exact[2:]), backend="numpy")
        unit = 2.0 ** (-11 if kind == "float16" else -8)
        smallest = 2.0 ** (-24 if kind == "float16" else -133)
        error, slope = np.abs(found[0].astype(np.float64) - dx), np.abs(dx / np.where(exact[0] == 0, 1, exact[0]))
        bound = 1.04 * unit * np.abs(dx) + smallest + np.where(slope < 0.1, 2.0**-20 * np.abs(exact[0]), 0)
        worst = np.argmax(error - bound)
        assert error[worst] <= bound[worst], f"dx {found[0][worst]} for {dx[worst]} at {x[worst]}, {values}"
        for one, same, term in zip(found[1:], again[1:], terms, strict=True):
            assert (bits(one) == bits(same)).all()
            if abs(total := term.sum()) > float(ml_dtypes.finfo(dtype).max):
                assert one == np.copysign(np.inf, total)
                continue
            assert abs(float(one) - term.sum()) <= unit * abs(term.sum()) + 2.0**-20 * np.abs(term).sum()


FUNCTIONS = lower.parse().functions
CHEAPER, HALVES = ([name for name in DEFINITIONS if name + ending in FUNCTIONS] for ending in ("_sums", "_half_sums"))


@pytest.mark.parametrize("name", [n for n in CHEAPER if n in ("snake", "pau_a")])
def test_cheaper_terms(fake: Any, name: str) -> None:
    check_cheaper(name)


@pytest.mark.parametrize("name", [n for n in HALVES if n in ("dyt", "pau_b")])
def test_cheaper_halves(fake: Any, name: str) -> None:
    check_half(name, "bfloat16")


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", HALVES)
def test_all_cheaper(fake: Any, name: str) -> None:
    for kind in ("float16", "bfloat16"):
        check_half(name, kind)
    if name in CHEAPER:
        check_cheaper(name)


def test_plans() -> None:
    """What needs no compiler: divisions, indices beyond 32 bits, misaligned starts."""
    rng = np.random.default_rng(0)
    for size in [1, 2, 3, 5, 7, 641, 2**16 + 1, 2**30 - 1, 2**30 + 1, 2**31 - 1, *rng.integers(1, 2**31, 200).tolist()]:
        factor, shift = stages.magic(size)
        assert 0 < factor < 2**32
        for n in {0, 1, size - 1, size, min(2 * size - 1, 2**31 - 1), 2**31 - 1, *rng.integers(0, 2**31, 20).tolist()}:
            assert (n * factor // 2**32 + n) >> shift == n // size
    stage = stages.Stage((), ("a",), (), "", (("y", "a"),))

    def planned(shape: tuple[int, ...], a: tuple[int, ...], y: tuple[int, ...], residue: int = 0) -> stages.Plan:
        return stages.plan(stage, "bfloat16", False, shape, (a, y), (True,) * len(shape), "a", (residue, 0), ("", ""), False)

    assert planned((100, 64), (64, 1), (64, 1)).form == stages.Form("bfloat16", kept=1, lanes=8, access=("passing", "passing"))
    assert planned((100, 64), (128, 1), (64, 1)).form == stages.Form("bfloat16", kept=2, lanes=8, access=("vector", "vector"))
    assert planned((100, 64), (64, 1), (64, 1), residue=2).form.lanes == 1
    assert planned((100, 63), (64, 1), (63, 1)).form.lanes == 1  # rows of the result begin anywhere
    assert planned((100, 64), (0, 1), (64, 1)).form.access == ("vector", "vector")
    assert planned((100, 64), (0, 0), (64, 1)).form.access[0] == "once"
    huge = planned((2**20, 2**12), (2**13, 1), (2**12, 1))
    assert (huge.form.lanes, huge.form.small) == (8, True)
    assert huge.grid * huge.block >= 2**29
    assert not planned((2**20, 2**12), (2**13, -1), (2**12, 1)).form.small
    assert not planned((4, 2**12), (2**31, 1), (2**12, 1)).form.small


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize(("kind", "n"), [("float32", 1), ("float32", 8), ("float32", 4099), ("float16", 5003), ("float64", 1023)])
def test_masks(fake: Any, kind: str, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, packed slopes and gradients, of vectors and of single elements; in place too."""
    x, grad = normal((n,), kind), normal((n,), kind, 1)
    value, slope = fastact.leaky_relu(x, 0.25, backend="cython"), fastact.leaky_relu.backward(grad, x, 0.25, backend="cython")
    for vectors, to in [(True, there), (False, shifted)] if n == 4099 else [(True, there)]:
        monkeypatch.setattr(stages, "VECTORS", vectors)
        y = to(x)
        packed = there(np.zeros(-(-n // 8), np.uint8))
        forward = fake.backend.pipeline("with_mask", kind, False, (n,))
        forward.factor("leaky_relu", y if n == 8 else to(x), [0.25])
        forward.product(out=y)
        forward.mask(packed, 0.25, 1.0)
        forward.run()
        assert (bits(y) == bits(value)).all()
        assert (packed == np.packbits(x > 0, bitorder="little")).all()
        dx = to(grad)
        backward = fake.backend.pipeline("from_mask", kind, False, (n,))
        backward.factor(None, None, dx=dx)
        backward.product(grad=to(grad))
        backward.mask(packed, 0.25, 1.0)
        backward.run()
        assert (bits(dx) == bits(slope)).all()


# ---------------------------------------------------------------- with a GPU


@pytest.fixture(scope="module")
def cp() -> Any:
    """CuPy, with a device."""
    reason = adapter.CupyBackend().missing()
    if reason:
        pytest.skip(reason)
    import cupy

    return cupy


#: Calls of every family: function, arguments, options, and how many leading results have the CPU's bits.
def device_calls() -> Iterator[tuple[str, Any, list[Any], dict[str, Any], int]]:
    rng = np.random.default_rng(0)
    for kind in DTYPES:
        x, grad, bias, weight = normal((64, 2002), kind), normal((64, 1001), kind, 1), normal((2002,), kind, 2), normal((64,), kind, 3)
        yield f"swiglu {kind}", fastact.swiglu, [x], {"bias": bias, "weight": weight}, 1
        yield f"swiglu backward {kind}", fastact.swiglu.backward, [grad, x], {"bias": bias, "weight": weight}, 1
        yield f"swiglu_oai backward {kind}", fastact.swiglu_oai.backward, [grad, x], {}, 1
        yield f"gtu, axis 0 {kind}", fastact.gtu.backward, [normal((32, 2002), kind), x], {"axis": 0}, 1
        even, up = normal((64, 2048), kind), normal((64, 1024), kind, 1)
        yield f"swiglu, vectors {kind}", fastact.swiglu, [even], {"bias": normal((2048,), kind, 2)}, 1
        yield f"swiglu backward, vectors {kind}", fastact.swiglu.backward, [up, even], {"bias": normal((2048,), kind, 2)}, 1
        yield f"swiglu_oai backward, vectors {kind}", fastact.swiglu_oai.backward, [up, even], {}, 1
        yield f"prelu backward {kind}", fastact.prelu.backward, [even, even, np.full(2048, 0.25, DTYPES[kind])], {}, 1
        for name in ("softmax", "log_softmax", "sparsemax", "entmax15"):
            for shape, axis in (((7, 33), -1), ((5, 50257), -1), ((3, 1000, 70), 1)):
                f, rows, up = getattr(fastact, name), normal(shape, kind), normal(shape, kind, 1)
                yield f"{name} {kind} {shape}", f, [rows], {"axis": axis}, 0
                yield f"{name} backward {kind} {shape}", f.backward, [up, rows], {"axis": axis}, 0
        square = normal((4, 300, 300), kind)
        yield f"attention {kind}", fastact.softmax.backward, [square, square], {"bias": normal((300, 300), kind, 4), "causal": True}, 0
        labels = rng.integers(0, 2002, 64)
        yield f"cross entropy {kind}", fastact.softmax_cross_entropy.value_and_grad, [x, labels], {"label_smoothing": 0.1}, 0
        yield f"huber {kind}", fastact.huber.value_and_grad, [x, normal((64, 2002), kind, 5)], {}, 0
    for name, definition in DEFINITIONS.items():
        if definition.learnable and definition.family == "elementwise":
            values = definition.examples[0] if None in definition.params.values() else tuple(definition.params.values())
            params = [
                np.full(777, v, np.float32) if p in definition.learnable else v for p, v in zip(definition.params, values, strict=True)
            ]
            yield name, getattr(fastact, name).backward, [normal((300, 777)), normal((300, 777), seed=1), *params], {}, 1


@pytest.mark.gpu
def test_gpu_families(cp: Any) -> None:
    """Every family on a device: what is elementwise to the bit, what is summed closely, and the same bits when it is called again."""
    for label, function, args, options, exact in device_calls():
        to = lambda v: cp.asarray(v) if isinstance(v, np.ndarray) else v  # noqa: E731
        sent, named = [to(a) for a in args], {k: to(v) for k, v in options.items()}
        results = [function(*sent, **named) for _ in range(2)]
        found, again, wanted = (r if isinstance(r, tuple) else (r,) for r in (*results, function(*args, **options, backend="cython")))
        for i, (one, two, right) in enumerate(zip(found, again, wanted, strict=True)):
            host, exactly = cp.asnumpy(one), np.asarray(right)
            assert (bits(host) == bits(cp.asnumpy(two))).all(), label
            if i < exact:
                assert (bits(host) == bits(exactly)).all(), label
            unit, reference = UNIT[exactly.dtype.name], np.asarray(exactly, np.float64)
            close = {"rtol": 16 * unit, "atol": 32 * unit * float(np.abs(reference).max(initial=1e-30))}
            np.testing.assert_allclose(np.asarray(host, np.float64), reference, **close, err_msg=f"{label}, result {i}")
