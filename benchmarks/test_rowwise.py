"""How fast row-wise functions are along every axis and with their options, each into an existing result.

    pytest benchmarks/test_rowwise.py -k "softmax and float32 and cython"
    pytest benchmarks/test_rowwise.py --dtypes float32 --backends auto --benchmark-json rows.json

``extra_info`` holds elements, nanoseconds an element at the best time, and the backend that served.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastact
from fastact.regression.suite import AUTOMATIC, dtype

FUNCTIONS = [name for name in fastact.__all__ if isinstance(getattr(fastact, name), fastact.RowwiseActivation)]
#: Shape and axis: short, middling and long rows, a middle axis and the first.
SHAPES = {
    "64": ((1024, 64), 1), "1024": ((256, 1024), 1), "32000": ((8, 32000), 1), "middle": ((64, 64, 64), 1), "first": ((1024, 64), 0),
}  # fmt: skip
RNG = np.random.default_rng(0)
#: Options, of softmax.
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scale": {"scale": 0.125},
    "bias": {"bias": RNG.standard_normal((256, 256)).astype(np.float32)},
    "where": {"where": RNG.random((256, 256)) > 0.2},
    "causal": {"causal": True},
    "lengths": {"lengths": np.arange(16)[:, None] * 16},
    "sink": {"sink": RNG.standard_normal((16, 1)).astype(np.float32)},
}
QUICK = {"min_rounds": 3, "max_time": 0.02, "min_time": 0.0005, "warmup": True, "warmup_iterations": 2, "disable_gc": True}


def prepared(name: str, direction: str, x: Any, backend: str, **options: Any) -> Callable[[], object] | None:
    """A call into an existing result; None if there is no such direction."""
    f = getattr(fastact, name)
    if backend != AUTOMATIC:
        options["backend"] = backend
    if name == "gumbel_softmax":
        options["seed"] = 1
    y = f(x, **options)
    if direction == "value":
        return functools.partial(f, x, **options, out=np.empty_like(y))
    call = getattr(f, direction)
    given = (y, x) if direction == "backward" else (y, y)
    if direction == "backward_from_output":
        options = {key: value for key, value in options.items() if key not in ("seed", "bias", "sink")}
    try:
        found = call(*given, **options)
    except NotImplementedError:
        return None
    out = (np.empty_like(x), *(None for _ in found[1:])) if isinstance(found, tuple) else np.empty_like(x)
    return functools.partial(call, *given, **options, out=out)


def timed(benchmark: Any, run: Callable[[], object] | None, size: int) -> None:
    if run is None:
        pytest.skip("there is no such direction")
    with fastact.count_calls() as calls:
        run()
    benchmark(run)
    benchmark.extra_info |= {"elements": size, "backend": next(iter(calls))}
    if benchmark.stats:  # None with --benchmark-disable
        benchmark.extra_info["ns_per_element"] = benchmark.stats.stats.min / size * 1e9


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", metafunc.config.getoption("--dtypes"))


@pytest.mark.benchmark(**QUICK)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("direction", ["value", "backward", "backward_from_output"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_rowwise(benchmark: Any, name: str, direction: str, shape: str, kind: str, backend: str) -> None:
    if backend == "cupy":
        pytest.skip("timed by test_speed.py")
    extent, axis = SHAPES[shape]
    x = RNG.normal(scale=3.0, size=extent).astype(dtype(kind))
    benchmark.group = f"{name} {direction} {kind} {shape}"
    timed(benchmark, prepared(name, direction, x, backend, axis=axis), x.size)


@pytest.mark.benchmark(**QUICK)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("direction", ["value", "backward"])
def test_options(benchmark: Any, direction: str, options: str, backend: str) -> None:
    if backend == "cupy":
        pytest.skip("timed by test_speed.py")
    x = RNG.normal(scale=3.0, size=(16, 256, 256)).astype(np.float32)
    benchmark.group = f"softmax {direction} options"
    timed(benchmark, prepared("softmax", direction, x, backend, **OPTIONS[options]), x.size)
