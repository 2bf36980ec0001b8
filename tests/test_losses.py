"""Losses against PyTorch in float64, the float64 oracle, the formulas in mpmath, and central differences."""

from __future__ import annotations

import copy
import doctest
import itertools
import pickle
from typing import Any

import mpmath
import numpy as np
import pytest
from common import BACKENDS, DTYPES, same_bits

import fastact
from fastact import registry
from fastact.kernels.definitions import LOSSES as DEFINITIONS
from fastact.reference.losses import LOSSES as ORACLES
from fastact.ulp import ulp_error, unit_exponent
from fastact.verify import truth

RNG = np.random.default_rng(11)
ELEMENTWISE = list(DEFINITIONS)
ROWS = ["softmax_cross_entropy", "multi_class_hinge"]


def _backends(entry: str) -> list[Any]:
    """The backends there are; those that lack `entry` are skipped, visibly."""
    lacking = [b for b in BACKENDS if not hasattr(registry.get(b), entry)]
    skip = {b: pytest.mark.skip(reason=f"the backend {b} has no {entry} yet") for b in lacking}
    return [pytest.param(b, marks=skip[b]) if b in skip else b for b in BACKENDS]


of_rows = pytest.mark.parametrize("backend", _backends("rows"))
of_elements = pytest.mark.parametrize("backend", _backends("loss"))


def _backend_of(name: str) -> str:
    """A backend that has the loss: the first that does."""
    entry = "rows" if name in ROWS else "loss"
    return next(b for b in BACKENDS if hasattr(registry.get(b), entry))


def _call(name: str, shape: tuple[int, ...] = (6, 7), dtype: Any = np.float64) -> tuple[np.ndarray, Any]:
    """Logits and labels for any of the losses."""
    x = (RNG.standard_normal(shape) * 2).astype(dtype)
    if name in ROWS:
        return x, RNG.integers(0, shape[-1], shape[:-1])
    return x, RNG.standard_normal(shape).astype(dtype) if name in ("mse", "huber") else RNG.integers(0, 2, shape)


def test_there_are_losses() -> None:
    assert set(fastact.LOSSES) == {*ELEMENTWISE, *ROWS}
    assert set(ORACLES) == set(ELEMENTWISE) == {"sigmoid_cross_entropy", "hinge", "squared_hinge", "mse", "huber", "focal"}
    assert not set(fastact.LOSSES) & set(fastact.ACTIVATIONS)


# ---------------------------------------------------------------- softmax and cross entropy

REDUCTIONS = ("mean", "sum", "none")
LIES = [((8, 5), -1), ((3, 5, 4, 2), 1), ((5, 6), 0), ((5,), 0), ((2, 3, 70), 2), ((40, 3), 1)]


def _torch_cross_entropy(
    x: np.ndarray, labels: np.ndarray, axis: int, z_loss: float, reduction: str, upstream: Any, ignore: int, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    torch = pytest.importorskip("torch")
    tx = torch.tensor(x, requires_grad=True)
    moved = tx.movedim(axis, 1) if x.ndim > 1 else tx
    tl = torch.tensor(labels)
    if labels.dtype.kind == "f" and x.ndim > 1:
        tl = tl.movedim(axis, 1)
    weight = options.get("weight")
    loss = torch.nn.functional.cross_entropy(
        moved,
        tl,
        weight=None if weight is None else torch.tensor(weight),
        ignore_index=ignore,
        label_smoothing=options.get("label_smoothing", 0.0),
        reduction=reduction,
    )
    if z_loss:
        kept = torch.ones(tuple(np.delete(x.shape, axis)), dtype=bool) if labels.dtype.kind == "f" else tl != ignore
        square = z_loss * torch.logsumexp(tx, axis) ** 2 * kept
        loss = loss + (square if reduction == "none" else square.sum() / (kept.sum() if reduction == "mean" else 1))
    (dx,) = torch.autograd.grad(loss, tx, torch.tensor(upstream, dtype=torch.float64).broadcast_to(loss.shape))
    return loss.detach().numpy(), dx.numpy()


@of_rows
@pytest.mark.parametrize(("shape", "axis"), LIES)
def test_cross_entropy_is_pytorchs(shape: tuple[int, ...], axis: int, backend: str) -> None:
    losses = tuple(np.delete(shape, axis))
    n = shape[axis]
    tried = 0
    for soft, weighted, smoothing, z_loss, reduction in itertools.product((0, 1), (0, 1), (0.0, 0.1, 1.0), (0.0, 0.01), REDUCTIONS):
        x = RNG.standard_normal(shape) * 3
        labels: Any = RNG.integers(0, n, losses)
        if not soft and losses:
            labels.flat[:2] = -100, 1
        if soft:
            labels = RNG.random(shape)
        options: dict[str, Any] = {"label_smoothing": smoothing, "weight": RNG.random(n) + 0.1 if weighted else None}
        upstream: Any = 0.7 if reduction != "none" else RNG.standard_normal(losses)
        expected, gradient = _torch_cross_entropy(x, np.asarray(labels), axis, z_loss, reduction, upstream, -100, **options)
        options |= {"axis": axis, "z_loss": z_loss, "reduction": reduction, "backend": backend}
        before = x.copy()
        loss = fastact.softmax_cross_entropy(x, labels, **options)
        np.testing.assert_allclose(loss, expected, rtol=1e-9, atol=1e-11)
        assert np.shape(loss) == expected.shape
        both, dx = fastact.softmax_cross_entropy.value_and_grad(x, labels, **options)
        np.testing.assert_allclose(both, loss, rtol=1e-14)
        chained = fastact.softmax_cross_entropy.backward(upstream, x, labels, **options)
        np.testing.assert_allclose(chained, gradient, rtol=1e-9, atol=1e-11)
        if reduction != "none":
            np.testing.assert_allclose(0.7 * dx, gradient, rtol=1e-9, atol=1e-11)
        assert (x == before).all()
        assert dx.shape == chained.shape == shape
        tried += 1
    assert tried == 72


@of_rows
def test_ignored_rows(backend: str) -> None:
    f = fastact.softmax_cross_entropy
    x = RNG.standard_normal((4, 5))
    labels = np.full(4, -100)
    for reduction, smoothing, weight, z_loss in itertools.product(REDUCTIONS, (0.0, 0.1), (None, RNG.random(5)), (0.0, 0.1)):
        loss, dx = f.value_and_grad(
            x, labels, reduction=reduction, label_smoothing=smoothing, weight=weight, z_loss=z_loss, backend=backend
        )
        expected = {"mean": np.nan, "sum": 0.0, "none": np.zeros(4)}[reduction]
        assert np.array_equal(loss, expected, equal_nan=True)
        assert (dx == 0).all()
    # What an ignored row holds does not matter; the label may be any number, that of a class too.
    x[1], labels = np.nan, np.array([0, 3, 1, 2])
    for ignored in (3, 7, -1):
        labels[1] = ignored
        loss, dx = f.value_and_grad(x, labels, ignore_index=ignored, backend=backend)
        keep = [0, 2, 3]
        expected, gradient = f.value_and_grad(x[keep], labels[keep], backend=backend)
        assert np.isfinite(loss)
        np.testing.assert_allclose(loss, expected, rtol=1e-14)
        np.testing.assert_allclose(dx[keep], gradient, rtol=1e-14)
        assert (dx[1] == 0).all()
    assert f(x[:0], labels[:0], reduction="sum", backend=backend) == 0
    assert np.isnan(f(x[:0], labels[:0], backend=backend))


@of_rows
def test_weights_of_zero(backend: str) -> None:
    f = fastact.softmax_cross_entropy
    x, labels = RNG.standard_normal((4, 3)), np.array([0, 1, 0, -100])
    loss, dx = f.value_and_grad(x, labels, weight=[0, 0, 1], backend=backend)
    assert np.isnan(loss)
    assert np.isnan(dx[:3]).all()
    assert (dx[3] == 0).all()
    loss, dx = f.value_and_grad(x, labels, weight=[0, 2, 1], backend=backend)
    assert (dx[[0, 2, 3]] == 0).all()
    np.testing.assert_allclose(loss, f(x[1:2], [1], backend=backend), rtol=1e-14)


def _exact_rows(x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Losses, logarithms of sums, and probabilities of rows along the last axis: the textbook's formulas in long double."""
    wide = x.astype(np.longdouble)
    largest = wide.max(-1, keepdims=True)
    e = np.exp(wide - largest)
    lse = largest + np.log(e.sum(-1, keepdims=True))
    own = np.take_along_axis(wide, labels[..., None], -1)
    return ((largest - own) + np.log(e.sum(-1, keepdims=True)))[..., 0], lse[..., 0], e / e.sum(-1, keepdims=True)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="needs a wider long double")
@of_rows
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), [((50, 1000), -1), ((64, 300), 0), ((3, 200, 40), 1), ((500, 3), 1), ((2, 2**17), 1)])
def test_cross_entropy_rounding(shape: tuple[int, ...], axis: int, dtype: str, backend: str) -> None:
    """Losses within 4 ULP of lse or what goes into it, gradients of a probability or the result; halves: in float32, then rounded."""
    if backend == "numpy" and max(shape) > 2**16:
        pytest.skip("what it is judged by")
    kind, working = DTYPES[dtype], np.float64 if dtype == "float64" else np.float32
    x = (RNG.standard_normal(shape) * 4).astype(kind)
    labels = RNG.integers(0, shape[axis], tuple(np.delete(shape, axis)))
    losses, lse, p = _exact_rows(np.moveaxis(x, axis, -1), labels)
    loss, dx = fastact.softmax_cross_entropy.value_and_grad(x, labels, axis=axis, reduction="none", backend=backend)
    assert loss.dtype == working
    assert dx.dtype == kind
    largest = np.abs(x.astype(np.float64)).max(axis)
    unit = np.spacing(np.maximum.reduce([largest, np.abs(lse), losses]).astype(working)).astype(np.float64)
    assert (np.abs(loss - losses) <= 4 * unit).all()
    hot = np.zeros(p.shape, p.dtype)
    np.put_along_axis(hot, labels[..., None], 1.0, -1)
    exact = np.moveaxis(p - hot, -1, axis).astype(np.float64)
    allowed = 4 * float(np.finfo(working).eps) * (np.moveaxis(p, -1, axis).astype(np.float64) + np.abs(exact))
    if kind.itemsize == 2:
        allowed = allowed + 0.51 * np.ldexp(1.0, unit_exponent(exact, kind))
    assert (np.abs(dx.astype(np.float64) - exact) <= allowed).all()
    mean = fastact.softmax_cross_entropy(x, labels, axis=axis, backend=backend)
    assert mean.dtype == working
    np.testing.assert_allclose(float(mean), float(losses.mean()), rtol=4 * np.finfo(working).eps)


@of_rows
@pytest.mark.parametrize("axis", [0, 1])
def test_cross_entropy_at_offsets(axis: int, backend: str) -> None:
    """Differences that are exact whatever is added: the same loss and gradient, but for the way to the exponential."""
    f = fastact.softmax_cross_entropy.value_and_grad
    x, labels = RNG.integers(-20, 20, (60, 60)).astype(np.float32), RNG.integers(0, 60, 60)
    expected, gradient = f(x, labels, axis=axis, backend=backend, reduction="none")
    for offset in (1e7, -1e7, 16777000):
        loss, dx = f(x + np.float32(offset), labels, axis=axis, backend=backend, reduction="none")
        np.testing.assert_allclose(loss, expected, rtol=4 * 2.0**-23)
        np.testing.assert_allclose(dx, gradient, rtol=4 * 2.0**-23, atol=2.0**-126)
    wide = np.linspace(-3e38, 3e38, 50, dtype=np.float32).reshape(1, -1)
    loss, dx = f(wide, [49], backend=backend)
    assert loss == 0
    assert (dx == 0).all()


@of_rows
@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy_of_one_class(dtype: str, backend: str) -> None:
    x = np.array([[3.0], [-1e4], [0.0]]).astype(DTYPES[dtype])
    loss, dx = fastact.softmax_cross_entropy.value_and_grad(x, [0, 0, 0], reduction="none", backend=backend)
    assert (loss == 0).all()
    assert (dx == 0).all()


@of_rows
def test_a_certain_prediction_keeps_its_digits(backend: str) -> None:
    """Of -log(p), where p is next to 1; of 1 - p those that 1 has."""
    x = np.array([[60.0, 0.0, 0.0], [40.0, 0.0, -5.0]])
    loss, dx = fastact.softmax_cross_entropy.value_and_grad(x, [0, 0], reduction="none", backend=backend)
    rest = np.array([2 * np.exp(-60.0), np.exp(-40.0) + np.exp(-45.0)])
    np.testing.assert_allclose(loss, rest, rtol=1e-14)
    np.testing.assert_allclose(dx[:, 0], -rest, rtol=1e-14, atol=2.3e-16)


@of_rows
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_special_rows(axis: int, dtype: str, backend: str) -> None:
    inf, nan = np.inf, np.nan
    x = np.array([[0, -inf, 0], [0, -inf, 0], [-inf] * 3, [inf, 0, 0], [nan, 0, 0], [0, 0, nan]], dtype=DTYPES[dtype])
    x = x if axis else np.ascontiguousarray(x.T)
    loss, dx = fastact.softmax_cross_entropy.value_and_grad(x, [0, 1, 0, 0, 1, 0], axis=axis, reduction="none", backend=backend)
    np.testing.assert_allclose(loss, [np.log(2), inf, nan, nan, nan, nan], rtol=3e-7)
    dx = dx.astype(np.float64) if axis else dx.T.astype(np.float64)
    expected = [[-0.5, 0, 0.5], [0.5, -1, 0.5], *[[nan] * 3] * 4]
    assert np.array_equal(dx, expected, equal_nan=True)
    # A class without a share in the label adds nothing.
    soft = np.array([[0.5, 0.0, 0.5]], dtype=DTYPES[dtype])
    soft = soft if axis else np.ascontiguousarray(soft.T)
    row = x[:1] if axis else np.ascontiguousarray(x[:, :1])
    np.testing.assert_allclose(fastact.softmax_cross_entropy(row, soft, axis=axis, backend=backend), np.log(2), rtol=3e-7)


# ---------------------------------------------------------------- hinge of many classes


@of_rows
@pytest.mark.parametrize(("shape", "axis"), LIES)
def test_multi_class_hinge_is_pytorchs(shape: tuple[int, ...], axis: int, backend: str) -> None:
    torch = pytest.importorskip("torch")
    losses, n = tuple(np.delete(shape, axis)), shape[axis]
    for p, margin, weighted, reduction in itertools.product((1, 2), (1.0, 0.3), (False, True), REDUCTIONS):
        x, labels = RNG.standard_normal(shape), RNG.integers(0, n, losses)
        weight = RNG.random(n) if weighted else None
        upstream: Any = 0.7 if reduction != "none" else RNG.standard_normal(losses)
        tx = torch.tensor(x, requires_grad=True)
        rows = tx.movedim(axis, -1).reshape(-1, n)
        loss = torch.nn.functional.multi_margin_loss(
            rows,
            torch.tensor(labels).reshape(-1),
            p=p,
            margin=margin,
            weight=None if weight is None else torch.tensor(weight),
            reduction=reduction,
        )
        (gradient,) = torch.autograd.grad(loss, tx, torch.tensor(upstream, dtype=torch.float64).reshape(loss.shape))
        options: dict[str, Any] = {"axis": axis, "p": p, "margin": margin, "weight": weight, "reduction": reduction, "backend": backend}
        found = fastact.multi_class_hinge(x, labels, **options)
        np.testing.assert_allclose(np.reshape(found, -1), loss.detach().numpy().reshape(-1), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(
            fastact.multi_class_hinge.backward(upstream, x, labels, **options), gradient.numpy(), rtol=1e-12, atol=1e-15
        )


@of_rows
@pytest.mark.parametrize("dtype", DTYPES)
def test_multi_class_hinge_rounding(dtype: str, backend: str) -> None:
    for shape, axis, p in (((40, 300), 1, 1), ((40, 300), 1, 2), ((300, 40), 0, 2), ((7, 1), 1, 1)):
        x = RNG.standard_normal(shape).astype(DTYPES[dtype])
        labels = RNG.integers(0, shape[axis], shape[1 - axis])
        wide = fastact.multi_class_hinge.value_and_grad(x.astype(np.float64), labels, axis=axis, p=p, reduction="none", backend="numpy")
        found = fastact.multi_class_hinge.value_and_grad(x, labels, axis=axis, p=p, reduction="none", backend=backend)
        eps = float(np.finfo(np.float64 if dtype == "float64" else np.float32).eps)
        np.testing.assert_allclose(found[0], wide[0], rtol=8 * eps, atol=8 * eps)
        half = {"float16": 2.0**-11, "bfloat16": 2.0**-8}.get(dtype, 0.0)
        tiny = 2.0**-24 if dtype == "float16" else 0.0
        np.testing.assert_allclose(found[1].astype(np.float64), wide[1], rtol=half * 1.02 + 16 * eps, atol=tiny + 8 * eps)


# ---------------------------------------------------------------- elementwise


def _examples(name: str) -> list[tuple[float, ...]]:
    return list(DEFINITIONS[name].examples) or [()]


def _labels(name: str, size: int) -> list[np.ndarray]:
    """Labels to try: all of one kind, and all those between where the loss takes them."""
    hard = {"hinge": (-1, 0, 1), "squared_hinge": (-1, 0, 1), "mse": (0,), "huber": (0,)}.get(name, (0, 1))
    return [*(np.full(size, float(t)) for t in hard), *([] if "hinge" in name else [RNG.random(size)])]


@of_elements
@pytest.mark.parametrize("name", ["sigmoid_cross_entropy", "mse", "huber"])
def test_elementwise_losses_are_pytorchs(name: str, backend: str) -> None:
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    for reduction, weighted, shape in itertools.product(REDUCTIONS, (False, True), ((5, 4), (3, 2, 4), (4,))):
        x, t = RNG.standard_normal(shape) * 3, RNG.random(shape)
        weight = RNG.random(4) if weighted else None
        upstream: Any = 0.7 if reduction != "none" else RNG.standard_normal(shape)
        tx, tt = torch.tensor(x, requires_grad=True), torch.tensor(t)
        tw = torch.ones(4, dtype=torch.float64) if weight is None else torch.tensor(weight)
        options: dict[str, Any] = {"weight": weight, "reduction": reduction, "backend": backend}
        if name == "sigmoid_cross_entropy":
            options["pos_weight"] = RNG.random(4) + 0.5 if weighted else 1.0
            given = torch.tensor(options["pos_weight"], dtype=torch.float64)
            loss = F.binary_cross_entropy_with_logits(tx, tt, weight=tw, pos_weight=given, reduction=reduction)
        else:
            if name == "huber":
                options["delta"] = 0.5
            each = F.mse_loss(tx, tt, reduction="none") if name == "mse" else F.huber_loss(tx, tt, delta=0.5, reduction="none")
            each = each * tw
            loss = {"mean": each.mean(), "sum": each.sum(), "none": each}[reduction]
        (gradient,) = torch.autograd.grad(loss, tx, torch.tensor(upstream, dtype=torch.float64).broadcast_to(loss.shape))
        f = getattr(fastact, name)
        found = f(x, t, **options)
        np.testing.assert_allclose(found, loss.detach().numpy(), rtol=1e-9)
        np.testing.assert_allclose(f.backward(upstream, x, t, **options), gradient.numpy(), rtol=1e-9, atol=1e-13)
        both, dx = f.value_and_grad(x, t, **options)
        assert same_bits(both, found)
        if reduction != "none":
            np.testing.assert_allclose(0.7 * dx, gradient.numpy(), rtol=1e-9, atol=1e-13)


@of_elements
def test_focal_as_it_is_written_out(backend: str) -> None:
    """torchvision's formula in PyTorch, and its gradient by autograd."""
    torch = pytest.importorskip("torch")
    for alpha, gamma, hard, reduction in itertools.product((0.25, -1.0, 0.9), (2.0, 0.0, 3.5), (True, False), REDUCTIONS):
        x = RNG.standard_normal((6, 5)) * 3
        t = RNG.integers(0, 2, x.shape).astype(np.float64) if hard else RNG.random(x.shape)
        tx, tt = torch.tensor(x, requires_grad=True), torch.tensor(t)
        p = torch.sigmoid(tx)
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(tx, tt, reduction="none")
        each = entropy * (1 - (p * tt + (1 - p) * (1 - tt))) ** gamma
        if alpha >= 0:
            each = (alpha * tt + (1 - alpha) * (1 - tt)) * each
        loss = {"mean": each.mean(), "sum": each.sum(), "none": each}[reduction]
        (gradient,) = torch.autograd.grad(loss, tx, torch.ones_like(loss))
        found, dx = fastact.focal.value_and_grad(x, t, alpha=alpha, gamma=gamma, reduction=reduction, backend=backend)
        np.testing.assert_allclose(found, loss.detach().numpy(), rtol=1e-9)
        np.testing.assert_allclose(dx, gradient.numpy(), rtol=1e-9, atol=1e-12)


@of_elements
@pytest.mark.parametrize("power", [1, 2])
def test_hinges(power: int, backend: str) -> None:
    f = fastact.hinge if power == 1 else fastact.squared_hinge
    x, t = RNG.standard_normal(50) * 2, RNG.integers(0, 2, 50)
    sign = 2 * t - 1
    z = np.maximum(1 - sign * x, 0)
    slope = -sign * (np.where(z > 0, 1.0, 0.0) if power == 1 else 2 * z)
    for labels in (t, sign, t.astype(bool), sign.astype(np.float64)):
        loss, dx = f.value_and_grad(x, labels, reduction="none", backend=backend)
        np.testing.assert_allclose(loss, z**power, rtol=1e-15)
        np.testing.assert_allclose(dx, slope, rtol=1e-15)
    loss, dx = f.value_and_grad(np.array([1.0, -1.0]), [1, -1], reduction="none", backend=backend)
    assert (loss == 0).all()
    assert (dx == 0).all()


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_oracles_against_the_formula(name: str) -> None:
    """The formula in mpmath, differentiated there, is the truth."""
    x = np.concatenate([RNG.standard_normal(12) * 4, [-90.0, 90.0, -35.0, 30.0, 1e-9]])
    for params, t in itertools.product(_examples(name), _labels(name, x.size)):
        t = t + 0.0
        known = dict(zip(DEFINITIONS[name].params, (mpmath.mpf(p) for p in params), strict=True))
        seen = np.where(t == 0, -1.0, t) if "hinge" in name else t
        pairs = [
            truth.evaluate(DEFINITIONS[name].formula, 1, "x", x=truth.mp.mpf(float(a)), t=truth.mp.mpf(float(b)), **known)
            for a, b in zip(x, seen, strict=True)
        ]
        for role, exact in (("value", [float(v) for v, _ in pairs]), ("derivative", [float(d) for _, d in pairs])):
            found = getattr(ORACLES[name], role)(x, t, *params)
            np.testing.assert_allclose(found, exact, rtol=2e-12, atol=1e-15 if role == "derivative" and 0 < t[0] < 1 else 0)


def _allowed(name: str, role: str, kind: Any, x: np.ndarray, t: np.ndarray, params: tuple[float, ...], exact: np.ndarray) -> np.ndarray:
    """The largest error: 4 ULP (float32), next to a root of the derivative, where a label between 0 and 1 balances, of its terms."""
    eps = float(np.finfo(kind).eps)
    tiny = float(np.finfo(kind).smallest_subnormal)
    soft = ((t > 0) & (t < 1)) & (name in ("focal", "sigmoid_cross_entropy"))
    growth = 1 + (params[1] if name == "focal" else 0.0)  # the label's own rounding meets the power
    bound = np.where(soft, 4 + 2 * growth, 5.0 if name == "focal" else 4.0) * eps * np.abs(exact)
    if role == "derivative":
        bound = bound + np.where(soft, 4 * growth * eps * max(1.0, *params, 0.0), 0.0)
    return bound + 2 * tiny


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_definitions_against_the_oracle(name: str, kind: Any) -> None:
    """What kernels are made of, run as Python."""
    x = np.concatenate([RNG.standard_normal(60) * 3, RNG.uniform(-110, 110, 40), [0.0, -0.0, 1e-30, 1e-3, -1e-3, 1.0, -1.0, 88.0]])
    x = x.astype(kind).astype(np.float64)
    for params, t in itertools.product(_examples(name), _labels(name, x.size)):
        t = t.astype(kind).astype(np.float64)
        seen = tuple(float(kind(p)) for p in params)
        for role in ("value", "derivative"):
            body = DEFINITIONS[name].roles[role]
            found = np.array([float(body(kind(a), kind(b), *map(kind, params))) for a, b in zip(x, t, strict=True)])
            exact = getattr(ORACLES[name], role)(x, t, *seen)
            slack = 2e-13 * np.abs(exact) if kind is np.float64 else 0.0  # of the oracle itself
            error = np.abs(found - exact) - _allowed(name, role, kind, x, t, seen, exact) - slack
            assert (error <= 0).all(), (role, params, x[error.argmax()], t[error.argmax()], found[error.argmax()], exact[error.argmax()])


@of_elements
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_rounding(name: str, dtype: str, backend: str) -> None:
    f, kind = getattr(fastact, name), DTYPES[dtype]
    working = np.float64 if dtype == "float64" else np.float32
    x = np.concatenate([RNG.standard_normal(1500) * 3, RNG.uniform(-30, 30, 600)]).astype(kind)
    x64 = x.astype(np.float64)
    for params, t in itertools.product(_examples(name), _labels(name, x.size)):
        t = t.astype(kind)
        t64 = t.astype(np.float64)
        seen = tuple(float(kind.type(p)) for p in params)
        options: dict[str, Any] = dict(zip(DEFINITIONS[name].params, params, strict=True))
        loss, dx = f.value_and_grad(x, t, **options, reduction="none", backend=backend)
        assert loss.dtype == dx.dtype == kind
        value, slope = (getattr(ORACLES[name], role)(x64, t64, *seen) for role in ("value", "derivative"))
        slack = 2e-13 if dtype == "float64" else 0.0
        allowed = _allowed(name, "value", working, x64, t64, seen, value) + slack * np.abs(value)
        if kind.itemsize == 2:
            allowed = allowed + 0.51 * np.ldexp(1.0, unit_exponent(value, kind))
        assert (np.abs(loss.astype(np.float64) - value) <= allowed).all()
        allowed = _allowed(name, "derivative", working, x64, t64, seen, slope) + slack * np.abs(slope)
        if kind.itemsize == 2:
            allowed = allowed + 0.51 * np.ldexp(1.0, unit_exponent(slope, kind))
        assert (np.abs(dx.astype(np.float64) - slope) <= allowed).all()
        # Sums are in float64: of many terms as good as of one.
        total = f(x, t, **options, reduction="sum", backend=backend)
        assert total.dtype == working
        assert ulp_error(np.array([total]), np.array([value.sum()])).max() <= (5 if dtype != "float64" else 1000)
        precise = f(x, t, **options, reduction="sum", backend=backend, accuracy="precise")
        assert ulp_error(np.array([precise]), np.array([value.sum()])).max() <= (0.51 if dtype != "float64" else 1000)


@of_elements
@pytest.mark.parametrize("dtype", DTYPES)
def test_elementwise_limits(dtype: str, backend: str) -> None:
    inf, nan = np.inf, np.nan
    x = np.array([inf, -inf, inf, -inf, nan]).astype(DTYPES[dtype])
    t = [1, 0, 0, 1, 1]
    expected = {
        "sigmoid_cross_entropy": ([0, 0, inf, inf, nan], [0, 0, 1, -1, nan]),
        "focal": ([0, 0, inf, inf, nan], [0, 0, 0.75, -0.25, nan]),
        "hinge": ([0, 0, inf, inf, nan], [0, 0, 1, -1, nan]),
        "squared_hinge": ([0, 0, inf, inf, nan], [0, 0, inf, -inf, nan]),
        "mse": ([inf] * 4 + [nan], [inf, -inf, inf, -inf, nan]),
        "huber": ([inf] * 4 + [nan], [1, -1, 1, -1, nan]),
    }
    assert set(expected) == set(ELEMENTWISE)
    for name, (value, slope) in expected.items():
        loss, dx = getattr(fastact, name).value_and_grad(x, t, reduction="none", backend=backend)
        assert np.array_equal(loss.astype(np.float64), value, equal_nan=True), name
        assert np.array_equal(dx.astype(np.float64), slope, equal_nan=True), name
        assert np.isnan(getattr(fastact, name)(np.ones(2, DTYPES[dtype]), np.array([nan, 1.0]).astype(DTYPES[dtype]), backend=backend))


# ---------------------------------------------------------------- all of them


def _each(names: list[str] = [*ROWS, *ELEMENTWISE]) -> list[Any]:  # noqa: B006
    return [
        pytest.param(name, *backend.values, marks=backend.marks) if hasattr(backend, "marks") else (name, backend)
        for name in names
        for backend in _backends("rows" if name in ROWS else "loss")
    ]


everywhere = pytest.mark.parametrize(("name", "backend"), _each())


@everywhere
def test_central_differences(name: str, backend: str) -> None:
    f, (x, t) = getattr(fastact, name), _call(name)
    _, dx = f.value_and_grad(x, t, backend=backend)
    for _ in range(4):
        step = RNG.standard_normal(x.shape)
        up, down = (f(x + h * step, t, backend=backend) for h in (1e-5, -1e-5))
        np.testing.assert_allclose((up - down) / 2e-5, (dx * step).sum(), rtol=1e-6, atol=1e-8)


@everywhere
@pytest.mark.parametrize("dtype", DTYPES)
def test_reductions(name: str, backend: str, dtype: str) -> None:
    f, (x, t) = getattr(fastact, name), _call(name, (30, 9), DTYPES[dtype])
    each, dx = f.value_and_grad(x, t, reduction="none", backend=backend)
    count = each.size
    rtol = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-6, "float64": 1e-13}[dtype]
    for reduction, divisor in (("sum", 1), ("mean", count)):
        loss, gradient = f.value_and_grad(x, t, reduction=reduction, backend=backend)
        assert np.ndim(loss) == 0
        assert loss.dtype == (np.float64 if dtype == "float64" else np.float32)
        np.testing.assert_allclose(
            loss, each.astype(np.float64).sum() / divisor, rtol=rtol if each.dtype != loss.dtype else min(rtol, 1e-6)
        )
        tiny = 2.0**-24 if dtype == "float16" else 0.0
        np.testing.assert_allclose(gradient.astype(np.float64), dx.astype(np.float64) / divisor, rtol=rtol, atol=tiny)
        chained = f.backward(2.0, x, t, reduction=reduction, backend=backend)
        np.testing.assert_allclose(chained.astype(np.float64), 2 * dx.astype(np.float64) / divisor, rtol=rtol, atol=tiny)
    assert same_bits(f(x, t, reduction="none", backend=backend), each)
    ones = f.backward(np.ones_like(each), x, t, reduction="none", backend=backend)
    assert same_bits(ones, dx)
    empty = f(x[:0], t[:0], reduction="sum", backend=backend)
    assert empty == 0
    assert np.isnan(f(x[:0], t[:0], backend=backend))
    assert f.backward(1.0, x[:0], t[:0], backend=backend).shape == (0, 9)


@everywhere
@pytest.mark.parametrize("dtype", DTYPES)
def test_out(name: str, backend: str, dtype: str) -> None:
    f, (x, t) = getattr(fastact, name), _call(name, (12, 70), DTYPES[dtype])
    for reduction in REDUCTIONS:
        options: dict[str, Any] = {"reduction": reduction, "backend": backend}
        loss, dx = f.value_and_grad(x, t, **options)
        held = np.empty(np.shape(loss), loss.dtype)
        assert f(x, t, out=held, **options) is held
        assert same_bits(held, loss)
        held, buffer = np.zeros_like(held), np.empty_like(x)
        found = f.value_and_grad(x, t, out=(held, buffer), **options)
        assert found[0] is held
        assert found[1] is buffer
        assert same_bits(held, loss)
        assert same_bits(buffer, dx)
        strided = np.zeros((24, 140), x.dtype)[::2, ::2]
        assert f.value_and_grad(x, t, out=(None, strided), **options)[1] is strided
        assert same_bits(strided, dx)
        own = x.copy()
        found = f.value_and_grad(own, t, out=(None, own), **options)
        assert found[1] is own
        assert same_bits(own, dx)
        assert same_bits(found[0], loss)
        grad = np.full(np.shape(loss), 1, loss.dtype) if reduction == "none" else 1.0
        assert f.backward(grad, x, t, out=buffer, **options) is buffer
        assert same_bits(buffer, dx)
        # Memory that overlaps otherwise is copied before it is overwritten.
        line = np.zeros(x.size + 70, x.dtype)
        line[70:] = x.ravel()
        f.value_and_grad(line[70:].reshape(x.shape), t, out=(None, line[:-70].reshape(x.shape)), **options)
        assert same_bits(line[:-70].reshape(x.shape), dx)


@of_rows
def test_probabilities_in_the_memory_of_the_result(backend: str) -> None:
    x, soft = RNG.standard_normal((5, 8)), RNG.random((5, 8))
    _, dx = fastact.softmax_cross_entropy.value_and_grad(x, soft, label_smoothing=0.1, backend=backend)
    fastact.softmax_cross_entropy.value_and_grad(x, soft, label_smoothing=0.1, out=(None, soft), backend=backend)
    assert same_bits(soft, dx)


@everywhere
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_layouts(name: str, backend: str, dtype: str) -> None:
    """The same numbers, however arrays lie; to the last bit but for sums in another order."""
    f, (x, t) = getattr(fastact, name), _call(name, (6, 40, 30), DTYPES[dtype])
    axis = {"axis": 1} if name in ROWS else {}
    if axis:
        t = RNG.integers(0, 40, (6, 30))
    loss, dx = f.value_and_grad(x, t, **axis, reduction="none", backend=backend)
    mean = f(x, t, **axis, backend=backend)
    wide = np.zeros((12, 80, 60), x.dtype)
    wide[::2, ::2, ::2] = x
    ways = [np.asfortranarray(x), np.ascontiguousarray(x.transpose(1, 2, 0)).transpose(2, 0, 1), x[::-1][::-1], wide[::2, ::2, ::2]]
    if dtype != "bfloat16":
        ways.append(x.astype(x.dtype.newbyteorder(">")))
    backwards = np.ascontiguousarray(x[:, ::-1])[:, ::-1]
    locked = x.copy()
    locked.flags.writeable = False
    for a, labels in [*((a, t) for a in [*ways, backwards, locked]), (x, np.asfortranarray(t)), (ways[0], np.asfortranarray(t))]:
        found, gradient = f.value_and_grad(a, labels, **axis, reduction="none", backend=backend)
        assert same_bits(found, loss)
        assert same_bits(gradient, dx)
        np.testing.assert_allclose(f(a, labels, **axis, backend=backend), mean, rtol=1e-6 if dtype != "float64" else 1e-13)


@of_elements
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_broadcast_weights(name: str, backend: str) -> None:
    f, (x, t) = getattr(fastact, name), _call(name, (5, 6, 7))
    each, dx = f.value_and_grad(x, t, reduction="none", backend=backend)
    for weight in (RNG.random((6, 1)), RNG.random(7), RNG.random((5, 1, 7)), RNG.random(x.shape), 0.5, np.float64(2.0)):
        found, gradient = f.value_and_grad(x, t, weight=weight, reduction="none", backend=backend)
        np.testing.assert_allclose(found, each * weight, rtol=1e-15)
        np.testing.assert_allclose(gradient, dx * weight, rtol=1e-15)
        mean, gradient = f.value_and_grad(x, t, weight=weight, backend=backend)
        np.testing.assert_allclose(mean, (each * weight).mean(), rtol=1e-13)
        np.testing.assert_allclose(gradient, dx * weight / x.size, rtol=1e-14)


@everywhere
def test_integer_logits_and_scalars(name: str, backend: str) -> None:
    f = getattr(fastact, name)
    t: Any = [1, 0] if name in ROWS else [[0, 1], [1, 0]]
    loss, dx = f.value_and_grad([[1, 3], [2, 0]], t, backend=backend)
    expected, gradient = f.value_and_grad(np.array([[1.0, 3.0], [2.0, 0.0]]), np.array(t), backend=backend)
    assert loss == expected
    assert loss.dtype == dx.dtype == np.float64
    assert (dx == gradient).all()
    if name in ELEMENTWISE:
        assert isinstance(f(0.5, 1.0, backend=backend), np.float64)
        assert same_bits(f(np.full(3, 0.5), 1, backend=backend), f(np.full(3, 0.5), np.ones(3), backend=backend))


@pytest.mark.parametrize("name", [*ROWS, *ELEMENTWISE])
def test_the_same_bits_on_all_compiled_backends(name: str) -> None:
    entry = "rows" if name in ROWS else "loss"
    there = [b for b in ("cython", "numba") if b in BACKENDS and hasattr(registry.get(b), entry)]
    if len(there) < 2:
        pytest.skip(f"there are no two compiled backends with {entry}")
    f, (x, t) = getattr(fastact, name), _call(name, (500, 700), np.float32)
    for reduction in REDUCTIONS:
        (loss, dx), other = (f.value_and_grad(x, t, reduction=reduction, backend=b) for b in there)
        assert same_bits(loss, other[0])
        assert same_bits(dx, other[1])


# ---------------------------------------------------------------- the interface


def _raises(kind: Any, match: str, f: Any, *args: Any, **kwargs: Any) -> None:
    with pytest.raises(kind, match=match):
        f(*args, **kwargs)


def test_errors_of_rows() -> None:
    f, x = fastact.softmax_cross_entropy, np.zeros((3, 4), np.float32)
    both = f.value_and_grad
    _raises(ValueError, r"labels has 4 at \(1,\); accepted are the classes 0 to 3, or -100 to ignore a row", f, x, [0, 4, 1])
    _raises(ValueError, r"labels has -1 at \(2,\)", f, x, [0, -100, -1])
    _raises(ValueError, r"labels has 9; ", f, x[0], 9)
    _raises(ValueError, "classes 0 to 3$", fastact.multi_class_hinge, x, [0, -100, 1])
    _raises(ValueError, r"labels has shape \(4,\), but logits without axis -1 has \(3,\)", f, x, [0, 1, 2, 3])
    _raises(ValueError, r"labels has shape \(4, 3\), but logits has \(3, 4\)", f, x, np.zeros((4, 3), np.float32))
    _raises(TypeError, "labels has dtype float64, but logits has float32", f, x, np.zeros((3, 4)))
    _raises(TypeError, "labels has dtype bool", f, x, np.zeros(3, bool))
    _raises(TypeError, "labels must be integers", fastact.multi_class_hinge, x, np.zeros((3, 4), np.float32))
    _raises(ValueError, "ignore_index=2 needs integer labels", f, x, x, ignore_index=2)
    _raises(TypeError, "ignore_index must be an integer or None, not 0.5", f, x, [0, 1, 2], ignore_index=0.5)
    _raises(ValueError, "reduction must be one of 'mean', 'sum', 'none', not 'batchmean'", f, x, [0, 1, 2], reduction="batchmean")
    _raises(ValueError, "label_smoothing must be from 0 to 1, not 1.5", f, x, [0, 1, 2], label_smoothing=1.5)
    _raises(TypeError, "z_loss must be a real number, not None", f, x, [0, 1, 2], z_loss=None)
    _raises(ValueError, r"weight has shape \(3,\), but there are 4 classes", f, x, [0, 1, 2], weight=[1, 2, 3])
    _raises(TypeError, "weight has dtype complex128", f, x, [0, 1, 2], weight=[1j] * 4)
    _raises(ValueError, "along axis 1 there are no classes", f, x[:, :0], [0, 1, 2])
    _raises(ValueError, "logits must have an axis of classes", f, np.float32(1), 0)
    _raises(ValueError, "axis 2 is out of range", f, x, [0, 1, 2], axis=2)
    _raises(TypeError, "logits has dtype bool", f, x > 0, [0, 1, 2])
    _raises(TypeError, "out must be a tuple of 2", both, x, [0, 1, 2], out=x)
    _raises(ValueError, r"out\[1\] has shape \(3,\), but the result has \(3, 4\)", both, x, [0, 1, 2], out=(None, x[:, 0]))
    _raises(TypeError, r"out\[1\] has dtype float64, but the result has float32", both, x, [0, 1, 2], out=(None, np.zeros((3, 4))))
    _raises(ValueError, r"out has shape \(3,\), but the result has \(\)", f, x, [0, 1, 2], out=np.zeros(3, np.float32))
    _raises(ValueError, "grad has shape \\(3,\\), but with reduction='mean' it is a number", f.backward, np.ones(3), x, [0, 1, 2])
    _raises(ValueError, "it is an array like the loss: \\(3,\\)", f.backward, 1.0, x, [0, 1, 2], reduction="none")
    _raises(TypeError, r"softmax_cross_entropy\(\) missing required argument 'labels'", f, x)
    _raises(TypeError, r"softmax_cross_entropy.backward\(\) takes grad, logits, labels by position", f.backward, 1.0, x, [0], -1)
    _raises(ValueError, "p must be 1 or 2, not 3", fastact.multi_class_hinge, x, [0, 1, 2], p=3)
    half = np.zeros((3, 4), np.float16)
    _raises(TypeError, "out has dtype float16, but the result has float32", f, half, [0, 1, 2], out=np.zeros((), np.float16))


def test_errors_of_elements() -> None:
    x = np.zeros((3, 4), np.float32)
    _raises(ValueError, r"labels has shape \(4,\), but logits has \(3, 4\)", fastact.mse, x, x[0])
    _raises(TypeError, "labels has dtype float64, but logits has float32", fastact.mse, x, np.zeros((3, 4)))
    _raises(TypeError, "labels has dtype complex128", fastact.mse, x, np.zeros((3, 4), complex))
    _raises(ValueError, "delta must be above 0, not 0", fastact.huber, x, x, delta=0)
    _raises(ValueError, "gamma must be at least 0, not -1.0", fastact.focal, x, x, gamma=-1.0)
    _raises(ValueError, r"weight has shape \(3,\), which does not broadcast", fastact.mse, x, x, weight=np.ones(3))
    _raises(TypeError, "pos_weight must be a real number or an array of them", fastact.sigmoid_cross_entropy, x, x, pos_weight="2")
    _raises(TypeError, "got an unexpected keyword argument 'delta'", fastact.mse, x, x, delta=1.0)
    _raises(ValueError, "share memory", fastact.mse.value_and_grad, x, x, reduction="none", out=(x, x))
    read_only = x.copy()
    read_only.flags.writeable = False
    _raises(ValueError, r"out\[1\] is read-only", fastact.mse.value_and_grad, x, x, out=(None, read_only))


def test_masked_arrays_and_explanations() -> None:
    x = np.ma.masked_array(np.array([1.0, 2.0, 3.0]), [False, True, False])
    with fastact.use_backend(_backend_of("mse")):
        loss, dx = fastact.mse.value_and_grad(x, np.zeros(3), reduction="none")
        assert isinstance(fastact.mse(x, np.zeros(3)), np.float64)
    for found in (loss, dx):
        assert (found.mask == [False, True, False]).all()
    for name in (*ROWS, *ELEMENTWISE):
        for f in (fastact.LOSSES[name], fastact.LOSSES[name].backward):
            explained = fastact.explain(f, np.zeros(3, np.float32))
            assert repr(explained).startswith(f"{f.__name__} on 3 elements")


@pytest.mark.parametrize("name", [*ROWS, *ELEMENTWISE])
def test_what_a_loss_is(name: str) -> None:
    f = fastact.LOSSES[name]
    assert f is getattr(fastact, name)
    assert name in fastact.__all__
    assert isinstance(f, fastact.Loss)
    for g in (f, f.value_and_grad, f.backward):
        assert pickle.loads(pickle.dumps(g)) is g
        assert copy.copy(g) is g
        assert copy.deepcopy(g) is g
        assert g.__name__ in repr(g)
        assert {"Parameters", "Returns", "Raises"} <= set(g.__doc__.splitlines())
        parameters = list(g.__signature__.parameters)
        assert parameters[-4:] == ["reduction", "out", "backend", "accuracy"]
        assert parameters[: 3 if g is f.backward else 2] == [*(["grad"] if g is f.backward else []), "logits", "labels"]
    with fastact.use_backend(_backend_of(name)):
        found = doctest.DocTestRunner().run(doctest.DocTestParser().get_doctest(f.__doc__, {}, name, None, 0))
    assert found.attempted >= 2
    assert not found.failed


def test_aliases() -> None:
    assert fastact.cross_entropy is fastact.softmax_cross_entropy
    assert fastact.binary_cross_entropy_with_logits is fastact.sigmoid_cross_entropy
    assert fastact.mse_loss is fastact.mean_squared_error is fastact.mse
    assert fastact.huber_loss is fastact.huber
    assert fastact.sigmoid_focal_loss is fastact.focal
    assert fastact.multi_margin_loss is fastact.multi_class_hinge


def test_names_of_peers() -> None:
    assert fastact.get("torch.nn.functional.cross_entropy") is fastact.get("CrossEntropyLoss") is fastact.softmax_cross_entropy
    assert fastact.get("BCEWithLogitsLoss") is fastact.sigmoid_cross_entropy
    assert fastact.get("keras.losses.SquaredHinge") is fastact.squared_hinge
    for name in (*fastact.LOSSES, "bce_with_logits", "sigmoid_focal_loss", "mean_squared_error"):
        assert fastact.get(name) is getattr(fastact, name)
