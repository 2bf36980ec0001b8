"""The fast path of a call: every form it serves gives what the general path gives, and everything else goes there."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from common import DTYPES, TWELVE, params, same_bits

import fastact
from fastact.kernels.cpu import compiled
from fastact.kernels.definitions import DEFINITIONS

RNG = np.random.default_rng(11)


def _sample(size: int, dtype: np.dtype) -> np.ndarray:
    return (RNG.standard_normal(size) * 3).astype(dtype)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and same_bits(np.atleast_1d(a), np.atleast_1d(b))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*TWELVE, "srelu", "xielu", "snake_beta"])
def test_every_form_is_served_in_compiled_code(name: str, dtype: str) -> None:
    f, given = getattr(fastact, name), params(name) or tuple(DEFINITIONS[name].params.values())
    given = tuple(p * 1.01 for p in given)
    by_name = dict(zip(DEFINITIONS[name].params, given, strict=True))
    for size in (1, 16, 33, 512):
        x, grad = _sample(size, DTYPES[dtype]), _sample(size, DTYPES[dtype])
        for call, arrays in ((f, (x,)), (f.derivative, (x,)), (f.backward, (grad, x)), (f.value_and_derivative, (x,))):
            for options in ({}, {"accuracy": "precise"}, {"accuracy": "fast", "backend": "cython"}, {"out": None, "backend": None}):
                wanted = call._general(*arrays, *given, **options)
                before = compiled.served()
                assert _same(call(*arrays, *given, **options), wanted)
                assert _same(call(*arrays, **by_name, **options), wanted)
                assert compiled.served() == before + 2, (call, options)
            wanted = call._general(*arrays, *given)
            results = wanted if isinstance(wanted, tuple) else (wanted,)
            out = tuple(np.empty_like(r) if isinstance(r, np.ndarray) else None for r in results)
            before = compiled.served()
            got = call(*arrays, *given, out=out if len(out) > 1 else out[0])
            assert compiled.served() == before + 1
            assert _same(got, wanted)
            assert (got[0] if len(out) > 1 else got) is out[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_of_one_element(dtype: str) -> None:
    x, grad = _sample(40, DTYPES[dtype]).reshape(8, 5), _sample(40, DTYPES[dtype]).reshape(8, 5)
    for shape in ((), (1,), (1, 1)):
        alpha = np.full(shape, 0.3, DTYPES[dtype])
        before = compiled.served()
        dx, dalpha = fastact.prelu.backward(grad, x, alpha)
        assert compiled.served() == before + 1
        assert np.shape(dalpha) == shape
        assert _same((dx, dalpha), fastact.prelu.backward._general(grad, x, alpha))
        exact = (grad.astype(np.float64) * np.minimum(x, 0)).sum()
        assert abs(float(np.sum(dalpha)) - exact) < 1e-5 * np.abs(grad * x).sum()
    with pytest.raises(ValueError, match="alpha has shape"):
        fastact.prelu(x, np.full((1, 1, 1), 0.3, DTYPES[dtype]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_parameters_are_rounded_as_arrays_hold_them(dtype: str) -> None:
    kind = DTYPES[dtype]
    halves = RNG.integers(0, 0x7C00, 500).astype(np.uint16)
    values = halves.view(np.float16).astype(np.float64)
    if dtype == "bfloat16":
        values = halves.view(kind).astype(np.float64)
    ties = (values + (halves + 1).astype(np.uint16).view(np.float16 if dtype != "bfloat16" else kind).astype(np.float64)) / 2
    values = np.concatenate([values, ties, np.nextafter(ties, np.inf), -np.nextafter(ties, -np.inf), 10.0 ** RNG.uniform(-50, 50, 500)])
    with np.errstate(all="ignore"):
        expected = values.astype(kind)
    x = np.array([-1.0], kind)  # leaky_relu(-1, a) is -a
    before = compiled.served()
    got = np.array([fastact.leaky_relu(x, a)[0] for a in values.tolist()], kind)
    assert compiled.served() == before + len(values)
    assert same_bits(-got, expected)


def test_contexts() -> None:
    x = _sample(16, np.dtype(np.float32))
    precise = fastact.gelu(x, accuracy="precise")
    for context, wanted in (
        (fastact.use_accuracy("precise"), precise),
        (fastact.use_accuracy("fast"), fastact.gelu(x)),
        (fastact.use_backend("cython"), fastact.gelu(x)),
    ):
        with context:
            before = compiled.served()
            assert same_bits(fastact.gelu(x), wanted)
            assert compiled.served() == before + 1
    with fastact.use_accuracy("precise"):
        assert same_bits(fastact.gelu(x, accuracy="fast"), fastact.gelu._general(x, accuracy="fast"))
    with fastact.use_backend("numpy"):
        with fastact.count_calls() as inside:
            fastact.gelu(x)
        with fastact.count_calls() as named:
            fastact.gelu(x, backend="cython")
        with fastact.count_calls() as elsewhere:  # another thread has its own context
            thread = threading.Thread(target=fastact.gelu, args=(x,))
            thread.start()
            thread.join()
    assert (inside, named, elsewhere) == ({"numpy": 1}, {"cython": 1}, {"cython": 1})


def test_names_need_not_be_the_same_objects() -> None:
    x = _sample(5, np.dtype(np.float32))
    spelled = {"".join(("al", "pha")): 0.3, "".join(("ba", "ckend")): "".join(("cy", "thon"))}
    before = compiled.served()
    assert same_bits(fastact.leaky_relu(x, **spelled), fastact.leaky_relu(x, 0.3))
    assert compiled.served() == before + 2


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        (([1.0], 2.0, 3.0), {}),
        (([1.0], 2.0), {"alpha": 3.0}),
        (([1.0],), {"beta": 1.0}),
        (([1.0],), {"alpha": True}),
        (([1.0],), {"alpha": 10**400}),
        (([1.0],), {"alpha": "1"}),
        (([1.0],), {"out": np.empty(2)}),
        (([1.0],), {"out": [0.0]}),
        (([1.0],), {"backend": "fortran"}),
        (([1.0],), {"backend": 1}),
        (([1.0],), {"accuracy": "exact"}),
        (([1.0],), {"accuracy": 1}),
    ],
)
def test_errors_are_those_of_the_general_path(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    args = tuple(np.array(a) if isinstance(a, list) else a for a in args)
    with pytest.raises((TypeError, ValueError)) as general:
        fastact.leaky_relu._general(*args, **kwargs)
    with pytest.raises(general.type) as found:
        fastact.leaky_relu(*args, **kwargs)
    assert str(found.value) == str(general.value)


def test_calls_by_every_door() -> None:
    x = np.array([-1.0, 2.0])
    f = fastact.leaky_relu
    wanted = [-0.5, 2.0]
    assert f(x, 0.5).tolist() == f.__call__(x, 0.5).tolist() == type(f).__call__(f, x, alpha=0.5).tolist() == wanted
    assert f(*[x], **{"alpha": 0.5}).tolist() == next(map(f, [x], [0.5])).tolist() == wanted
    assert f(x=x, alpha=0.5).tolist() == wanted

    class Own(type(f)):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return "its own"

    assert Own(f.definition)(x) == "its own"


def test_results_that_overlap() -> None:
    x = _sample(64, np.dtype(np.float32))
    value, slope = fastact.gelu.value_and_derivative(x)
    for place in (0, 1):  # one result over x
        y = x.copy()
        out = (y, np.empty_like(x)) if place == 0 else (np.empty_like(x), y)
        assert _same(fastact.gelu.value_and_derivative(y, out=out), (value, slope))
    shared = np.zeros(100, np.float32)
    with pytest.raises(ValueError, match="share memory"):
        fastact.gelu.value_and_derivative(x, out=(shared[:64], shared[10:74]))
    with pytest.raises(ValueError, match="share memory"):
        fastact.gelu.value_and_derivative(x, out=(shared[:64], shared[:64]))
