"""What a program waits for before fastact computes: the import, and the first call of each backend with a cold and a warm cache.

    pytest benchmarks/test_start.py

Every round is a fresh process, which times itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROUNDS = 5
IMPORT = """
import time, numpy
begin = time.perf_counter()
import fastact
print(time.perf_counter() - begin)
"""
FIRST_CALL = """
import sys, time
from fastact.regression.suite import Row
call = Row(sys.argv[1], "gelu", "value", "float32", 1 << 20).prepare()
begin = time.perf_counter()
call()
print(time.perf_counter() - begin)
"""


class Clock:
    """A timer for pytest-benchmark that only the seconds told by processes advance."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def run(self, program: str, *arguments: str, **environment: str) -> None:
        """Run `program` in a fresh process, which prints seconds."""
        command = [sys.executable, "-c", program, *arguments]
        self.now += float(subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True).stdout)


clock = Clock()


@pytest.mark.benchmark(group="import fastact, numpy being there", timer=clock)
def test_import(benchmark: Any) -> None:
    benchmark.pedantic(clock.run, (IMPORT,), rounds=ROUNDS)


@pytest.mark.benchmark(group="first call, gelu of 1048576 float32", timer=clock)
@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_first_call(benchmark: Any, backend: str, cache: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    def folder() -> Path:
        return tmp_path_factory.mktemp("cache")

    if cache == "warm":
        warm = folder()
        clock.run(FIRST_CALL, backend, FASTACT_CACHE_DIR=str(warm))
        benchmark.pedantic(clock.run, (FIRST_CALL, backend), {"FASTACT_CACHE_DIR": str(warm)}, rounds=ROUNDS)
    else:
        benchmark.pedantic(clock.run, setup=lambda: ((FIRST_CALL, backend), {"FASTACT_CACHE_DIR": str(folder())}), rounds=ROUNDS)
