"""``import fastact`` is quick and loads nothing heavy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

#: Seconds beyond the import of NumPy.
LIMIT = 0.15
HEAVY = {"numba", "llvmlite", "cupy", "torch", "jax", "matplotlib", "sklearn", "click", "tqdm"}
PROGRAM = """
import json, sys, time, numpy
begin = time.perf_counter()
import fastact
seconds = time.perf_counter() - begin
fastact.gelu(numpy.zeros(8, numpy.float32))
print(json.dumps([seconds, sorted(sys.modules)]))
"""


def fresh() -> tuple[float, set[str]]:
    """Seconds the import took in a fresh process, and the modules there after a first call."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FASTACT_", "COV_", "PYTHON"))}
    with tempfile.TemporaryDirectory() as empty:  # not in the source tree, which Python would find first
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=clean, cwd=empty, check=True, stdout=subprocess.PIPE, text=True)
    seconds, modules = json.loads(done.stdout)
    return seconds, set(modules)


def test_nothing_heavy_is_imported() -> None:
    assert not HEAVY & fresh()[1]


def test_import_is_quick() -> None:
    """The best of some: other processes only ever make it slower."""
    times: list[float] = []
    while len(times) < 3 or (min(times) >= LIMIT and len(times) < 8):
        times.append(fresh()[0])
    assert min(times) < LIMIT
