"""How fast every function is, in every direction, on every backend, dtype and size: one row each, from the registries.

    pytest benchmarks/test_speed.py -k "float32 and 65536 and cython"
    pytest benchmarks/test_speed.py --sizes 1048576 --dtypes float32,float64 --backends auto,numba --benchmark-json speed.json

``extra_info`` holds elements, bytes that have to move, bytes per second at the best time, and the cost class.
"""

from __future__ import annotations

from typing import Any

import pytest

from fastact.regression.suite import Row


@pytest.mark.benchmark(min_rounds=3, max_time=0.02, min_time=0.0005, warmup=True, warmup_iterations=2, disable_gc=True)
def test_speed(benchmark: Any, row: Row) -> None:
    benchmark.group = f"{row.function} {row.direction} {row.kind} {row.size}"
    benchmark(row.prepare())
    benchmark.extra_info |= {"elements": row.size, "bytes": row.bytes, "cost": row.cost, "backend": row.served_by}
    if benchmark.stats:  # None with --benchmark-disable
        benchmark.extra_info["bytes_per_second"] = row.bytes / benchmark.stats.stats.min
