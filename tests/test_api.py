"""The public interface: names, signatures, errors."""

from __future__ import annotations

import copy
import inspect
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from common import ELEMENTWISE, params, same_bits

import fastact
from fastact.kernels.definitions import DEFINITIONS

X = np.linspace(-3, 3, 7, dtype=np.float32)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_functions_look_like_functions(name: str) -> None:
    f = getattr(fastact, name)
    assert f.__name__ == name
    assert f.__module__ == "fastact"
    assert name in fastact.__all__
    assert next(iter(inspect.signature(f).parameters)) == "x"
    assert pickle.loads(pickle.dumps(f)) is f
    assert copy.deepcopy(f) is f
    for section in ("Parameters", "Returns", "Raises", "Notes", "Examples"):
        assert f"\n{section}\n---" in f.__doc__
    for alias in DEFINITIONS[name].aliases:
        assert getattr(fastact, alias) is f
    if name in ELEMENTWISE:
        assert pickle.loads(pickle.dumps(f.backward)) is f.backward
        assert list(inspect.signature(f.backward).parameters)[:2] == ["grad", "x"]
        assert set(DEFINITIONS[name].params) <= set(inspect.signature(f.derivative).parameters)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_documented_limits(name: str) -> None:
    f = getattr(fastact, name)
    for dtype in (np.float16, np.float32, np.float64):
        for at, value in DEFINITIONS[name].limits.items():
            got = f(np.array([at], dtype), *params(name))
            wanted = np.array([value], dtype)
            exact = value in (0.0, 1.0, -1.0) or not np.isfinite(value)
            assert same_bits(got, wanted) if exact else abs(got - wanted) <= DEFINITIONS[name].bound * np.spacing(abs(wanted)), (
                at,
                got,
                value,
            )
        assert np.isnan(f(np.array([np.nan], dtype), *params(name))).all()
        assert np.isnan(f.derivative(np.array([np.nan], dtype), *params(name))).all()


def test_textbook_calls() -> None:
    from fastact import leaky_relu, relu, sigmoid, softmax, tanh

    assert sigmoid(np.array([-1, 0, 1])).round(3).tolist() == [0.269, 0.5, 0.731]
    assert tanh(np.array([-1, 0, 1])).round(3).tolist() == [-0.762, 0.0, 0.762]
    assert relu(np.array([-1, -0.5, 0, 0.5, 1])).tolist() == [0, 0, 0, 0.5, 1]
    assert leaky_relu(np.array([-1, -0.5, 0, 0.5, 1]), alpha=0.01).tolist() == [-0.01, -0.005, 0, 0.5, 1]
    assert softmax(np.array([2, 1, 0])).round(3).tolist() == [0.665, 0.245, 0.09]


def test_parameters_by_position_and_name() -> None:
    assert same_bits(fastact.leaky_relu(X, 0.1), fastact.leaky_relu(X, alpha=0.1))
    assert same_bits(fastact.leaky_relu(X, np.float32(0.1)), fastact.leaky_relu(X, 0.1))
    assert same_bits(fastact.leaky_relu(X, [0.1]), fastact.leaky_relu(X, 0.1))
    assert same_bits(fastact.leaky_relu(x=X, alpha=0.1), fastact.leaky_relu(X, 0.1))
    assert same_bits(fastact.leaky_relu(X, 2), fastact.leaky_relu(X, 2.0))
    assert same_bits(fastact.leaky_relu.backward(X, X, 0.1), fastact.leaky_relu.backward(grad=X, x=X, alpha=0.1))
    # a number is cast to the array's dtype first
    half = np.array([-1.0], np.float16)
    assert fastact.leaky_relu(half, 0.1)[0] == -np.float16(0.1)


WRONG = {
    "bool": (lambda: fastact.gelu(np.array([True])), TypeError, "x has dtype bool"),
    "complex": (lambda: fastact.gelu(np.array([1j])), TypeError, "x has dtype complex128"),
    "object": (lambda: fastact.gelu(np.array([None])), TypeError, "x has dtype object"),
    "string": (lambda: fastact.gelu("abc"), TypeError, "x has dtype"),
    "dates": (lambda: fastact.gelu(np.array(["2020-01-01"], "M8[D]")), TypeError, "x has dtype datetime64"),
    "structured": (lambda: fastact.gelu(np.zeros(2, "f4,f4")), TypeError, "x has dtype"),
    "out dtype": (lambda: fastact.gelu(X, out=np.zeros(7)), TypeError, "out has dtype float64, but the result has float32"),
    "out shape": (lambda: fastact.gelu(X, out=np.zeros(6, np.float32)), ValueError, r"out has shape \(6,\), but the result has \(7,\)"),
    "out broadcast": (lambda: fastact.gelu(X, out=np.zeros((2, 7), np.float32)), ValueError, "out has shape"),
    "out list": (lambda: fastact.gelu(X, out=[0] * 7), TypeError, "out must be an array of x's kind, not builtins.list"),
    "out integer": (lambda: fastact.gelu(np.arange(3), out=np.zeros(3, int)), TypeError, "out has dtype int64, but the result has float64"),
    "out read-only": (lambda: fastact.gelu(X, out=np.broadcast_to(np.float32(0), 7)), ValueError, "out is read-only"),
    "out not tuple": (lambda: fastact.prelu.backward(X, X, 0.1, out=np.zeros_like(X)), TypeError, "out must be a tuple of 2"),
    "out gradient": (lambda: fastact.prelu.backward(X, X, 0.1, out=(None, np.zeros(3, "f4"))), ValueError, r"out\[1\] has shape"),
    "grad dtype": (
        lambda: fastact.gelu.backward(X.astype(float), X),
        TypeError,
        "gelu.backward: grad has dtype float64, but x has float32",
    ),
    "grad shape": (lambda: fastact.gelu.backward(X[:3], X), ValueError, r"grad has shape \(3,\), but x has \(7,\)"),
    "keyword": (lambda: fastact.gelu(X, alpha=1), TypeError, "unexpected keyword argument 'alpha'"),
    "twice": (lambda: fastact.leaky_relu(X, 0.1, alpha=0.1), TypeError, "multiple values for argument 'alpha'"),
    "too many": (lambda: fastact.gelu(X, X), TypeError, "takes x by position, and out, backend, accuracy by name only"),
    "none given": (lambda: fastact.gelu(), TypeError, "missing required argument 'x'"),
    "no grad": (lambda: fastact.gelu.backward(X), TypeError, "missing required argument 'x'"),
    "required": (lambda: fastact.prelu(X), TypeError, "missing required parameter 'alpha'"),
    "required backward": (lambda: fastact.prelu.backward(X, X), TypeError, r"prelu.backward\(\) missing required parameter 'alpha'"),
    "no such axis": (lambda: fastact.gelu(X, axis=0), TypeError, "unexpected keyword argument 'axis'"),
    "axis type": (lambda: fastact.leaky_relu(X, 0.1, axis=0.5), TypeError, "axis must be an integer, not 0.5"),
    "axis bool": (lambda: fastact.softmax(X, axis=True), TypeError, "axis must be an integer, not True"),
    "axis error": (lambda: fastact.leaky_relu(X, 0.1, axis=99), np.exceptions.AxisError, "axis 99 is out of range"),
    "enlarging": (lambda: fastact.leaky_relu(X, np.ones((2, 7))), ValueError, "alpha has shape .* does not broadcast to x's shape"),
    "misfit": (lambda: fastact.leaky_relu(X, np.ones(3)), ValueError, "alpha has shape .* does not broadcast"),
    "complex parameter": (lambda: fastact.leaky_relu(X, 1j), TypeError, "alpha must be a real number"),
    "string parameter": (lambda: fastact.leaky_relu(X, "a"), TypeError, "alpha must be a real number"),
    "bool parameter": (lambda: fastact.leaky_relu(X, alpha=True), TypeError, "alpha must be a real number"),
    "huge parameter": (lambda: fastact.leaky_relu(X, 10**400), ValueError, "alpha is too large for a float"),
    "backend list": (lambda: fastact.gelu(X, backend=[]), ValueError, "backend must be one of"),
    "none parameter": (lambda: fastact.leaky_relu(X, None), TypeError, "alpha must be a real number"),
    "parameter axis": (lambda: fastact.prelu(X, np.ones(7, "f4"), axis=2), ValueError, "axis 2 is out of range"),
    "backend": (
        lambda: fastact.gelu(X, backend="cuda"),
        ValueError,
        "backend must be one of 'cython', 'numba', 'cupy', 'numpy', not 'cuda'",
    ),
    "wrong kind": (lambda: fastact.gelu(X, backend="cupy"), ValueError, "backend 'cupy' takes cupy arrays"),
    "accuracy": (lambda: fastact.gelu(X, accuracy="exact"), ValueError, "accuracy must be one of 'fast', 'precise', not 'exact'"),
    "softmax axis": (lambda: fastact.softmax(X, 1), ValueError, "axis 1 is out of range"),
    "softmax axis type": (lambda: fastact.softmax(X, 0.5), TypeError, "axis must be an integer"),
    "softmax where": (lambda: fastact.softmax(X, where=np.ones(7)), TypeError, "where must be an array of bool"),
    "softmax where shape": (lambda: fastact.softmax(X, where=np.ones(3, bool)), ValueError, "where has shape"),
    "softmax masked": (lambda: fastact.softmax(X, all_masked="none"), ValueError, "all_masked must be 'zero' or 'nan'"),
    "softmax grad": (lambda: fastact.softmax.backward(X[:2], X), ValueError, "grad has shape"),
    "softmax y grad": (lambda: fastact.softmax.backward_from_output(X.astype(float), X), TypeError, "grad has dtype"),
    "explain": (lambda: fastact.explain(np.tanh, X), TypeError, "fn must be one of fastact's functions"),
    "use_backend": (lambda: fastact.use_backend("none"), ValueError, "backend must be one of"),
    "use_accuracy": (lambda: fastact.use_accuracy("none"), ValueError, "accuracy must be one of"),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors_say_what_was_wrong(case: str) -> None:
    call, kind, message = WRONG[case]
    before = X.copy()
    with pytest.raises(kind, match=message):
        call()
    assert same_bits(X, before)


def test_mixed_kinds_of_array(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    from fastact import arrays

    class Foreign:
        pass

    fake = types.SimpleNamespace(NAME="cupy", owns=lambda v: isinstance(v, Foreign))
    monkeypatch.setitem(sys.modules, "cupy", types.ModuleType("cupy"))
    real = arrays._module
    monkeypatch.setattr(arrays, "_module", lambda kind: fake if kind == "cupy" else real(kind))
    with pytest.raises(TypeError, match="arrays of different kinds: grad is a cupy array, x is a numpy array"):
        fastact.gelu.backward(Foreign(), X[::2])


def test_threads() -> None:
    x = np.linspace(-5, 5, 200_003, dtype=np.float32)
    for backend in (None, "cython", "numba"):
        if backend == "numba" and not fastact.backends()["numba"].available:
            continue
        expected = fastact.gelu(x)
        with ThreadPoolExecutor(8) as pool:
            for y in pool.map(lambda _: fastact.gelu(x, backend=backend), range(24)):  # noqa: B023
                assert same_bits(y, expected)


def test_flush_to_zero_set_elsewhere_changes_nothing() -> None:
    """Another library may set the processor's flush-to-zero mode; ours has to keep subnormals and to leave the mode as it was."""
    import ctypes
    import platform

    if platform.machine() != "x86_64":
        pytest.skip("sets the control register of x86-64")
    code = bytes.fromhex("0fae1f c3 0fae17 c3".replace(" ", ""))  # stmxcsr [rdi]; ret; ldmxcsr [rdi]; ret
    import mmap

    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    kind = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_uint32))
    save, load = kind(address), kind(address + 4)
    mode = ctypes.c_uint32()
    save(ctypes.byref(mode))
    x = np.float32(2) ** np.linspace(-149, -120, 1000, dtype=np.float32)
    x = np.concatenate([x, -x, np.linspace(-104, -80, 1000, dtype=np.float32)])
    expected = {name: getattr(fastact, name)(x, *params(name)) for name in ELEMENTWISE}
    rows = fastact.softmax(x.reshape(3, -1))
    flushing = ctypes.c_uint32(mode.value | 0x8040 | 0x6000)  # flush, denormals are zero, round towards zero
    try:
        load(ctypes.byref(flushing))
        got = {name: getattr(fastact, name)(x, *params(name)) for name in ELEMENTWISE}
        got_rows = fastact.softmax(x.reshape(3, -1))
        save(ctypes.byref(after := ctypes.c_uint32()))
    finally:
        load(ctypes.byref(mode))
    assert after.value & 0xFFC0 == flushing.value & 0xFFC0
    for name in ELEMENTWISE:
        assert same_bits(got[name], expected[name]), name
    assert same_bits(got_rows, rows)
