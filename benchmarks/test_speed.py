"""How fast every function is, in every direction, on every backend, dtype and size: one row each, from the registries.

    pytest benchmarks/test_speed.py -k "float32 and 65536 and cython"
    pytest benchmarks/test_speed.py --sizes 1048576 --dtypes float32,float64 --backends auto,numba --benchmark-json speed.json

``extra_info`` holds elements, bytes that have to move, bytes per second at the best time, and the cost class.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import calls
import numpy as np
import pytest

import fastact
from fastact.regression.suite import Row


@pytest.mark.benchmark(min_rounds=3, max_time=0.02, min_time=0.0005, warmup=True, warmup_iterations=2, disable_gc=True)
def test_speed(benchmark: Any, row: Row) -> None:
    benchmark.group = f"{row.function} {row.direction} {row.kind} {row.size}"
    benchmark(row.prepare())
    benchmark.extra_info |= {"elements": row.size, "bytes": row.bytes, "cost": row.cost, "backend": row.served_by}
    if benchmark.stats:  # None with --benchmark-disable
        benchmark.extra_info["bytes_per_second"] = row.bytes / benchmark.stats.stats.min


@pytest.mark.benchmark(min_rounds=20, max_time=0.02, disable_gc=True, group="a call on 16 elements")
@pytest.mark.parametrize("text", calls.CALLS)
def test_call(benchmark: Any, text: str) -> None:
    """What a call costs, and as ``over_numpy`` and ``over_torch`` the ratios; ``python benchmarks/calls.py`` prints them."""
    known = calls.names()
    peer = calls.CALLS[text] if "torch" in known else ""
    function = eval(f"lambda: {text}", known)
    benchmark(function)
    if benchmark.stats:
        peers = {"over_numpy": "np.tanh(x)", **({"over_torch": peer} if peer else {})}
        times = calls.least({"own": function, **{k: eval(f"lambda: {t}", known) for k, t in peers.items()}}, 10, 500)
        benchmark.extra_info |= {k: times["own"] / times[k] for k in peers}


@pytest.mark.benchmark(min_rounds=3, max_time=0.02, disable_gc=True, group="strided gelu, 65536 float32")
@pytest.mark.parametrize("layout", calls.layouts(64, "float32"))
def test_strided(benchmark: Any, layout: str) -> None:
    """Strided input; ``over_contiguous`` is the ratio to contiguous input of the same shape."""
    x, out = calls.layouts(1 << 16, "float32")[layout]
    plain, dense = np.ascontiguousarray(x), np.empty_like(x, order="C")
    benchmark(fastact.gelu, x, out=out)
    if benchmark.stats:
        times = calls.least({"own": partial(fastact.gelu, x, out=out), "plain": partial(fastact.gelu, plain, out=dense)}, 20, 5)
        benchmark.extra_info["over_contiguous"] = times["own"] / times["plain"]
