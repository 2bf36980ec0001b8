"""One definition, every backend, every instruction set, the same bits."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from common import ELEMENTWISE, params, same_bits

import fastact
from fastact.kernels.cpu import compiled
from fastact.ulp import float32_bit_patterns

NUMBA = pytest.mark.skipif(not fastact.backends()["numba"].available, reason="numba is missing")


def samples() -> list[np.ndarray]:
    """All kinds of bit patterns, and ordinary numbers."""
    rng = np.random.default_rng(11)
    doubles = rng.integers(0, 2**64, 60_001, dtype=np.uint64).view(np.float64)
    ordinary = rng.standard_normal(60_000) * np.repeat([0.1, 1, 10], 20_000)
    return [np.concatenate([float32_bit_patterns(40_009), ordinary.astype(np.float32)]), np.concatenate([doubles, ordinary])]


def digests(backend: str) -> dict[str, str]:
    """The hash of every result."""
    found = {}
    for x in samples():
        grad = x[::-1].copy()
        for name in ELEMENTWISE:
            f, p = getattr(fastact, name), params(name)
            for accuracy in ("fast", "precise"):
                options = {"backend": backend, "accuracy": accuracy}
                results = [f(x, *p, **options), f.derivative(x, *p, **options), f.backward(grad, x, *p, **options)]
                for direction, y in zip(("value", "derivative", "backward"), results, strict=True):
                    y = y[0] if isinstance(y, tuple) else y
                    y = np.where(np.isnan(y), np.array(np.nan, y.dtype), y)
                    found[f"{name}-{direction}-{y.dtype}-{accuracy}"] = hashlib.sha256(y.tobytes()).hexdigest()
    return found


@pytest.fixture(scope="module")
def ours() -> dict[str, str]:
    return digests("cython")


@NUMBA
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_numba(name: str) -> None:
    f, p = getattr(fastact, name), params(name)
    for x in samples():
        for direction in (f, f.derivative):
            for accuracy in ("fast", "precise"):
                theirs, ours = (direction(x, *p, backend=backend, accuracy=accuracy) for backend in ("numba", "cython"))
                assert same_bits(theirs, ours), (direction, accuracy)
        theirs, ours = (f.backward(x[::-1].copy(), x, *p, backend=backend) for backend in ("numba", "cython"))
        assert same_bits(*(y[0] if isinstance(y, tuple) else y for y in (theirs, ours)))


@NUMBA
@pytest.mark.exhaustive
def test_numba_in_everything(ours: dict[str, str]) -> None:
    assert digests("numba") == ours


@pytest.mark.parametrize("isa", [name for name, runs in compiled.INSTRUCTION_SETS.items() if runs and name != compiled.ISA])
def test_instruction_sets(isa: str, ours: dict[str, str]) -> None:
    code = "import json, sys; sys.path.insert(0, sys.argv[1]); import test_same_bits as t; print(json.dumps(t.digests('cython')))"
    environment = {**os.environ, "FASTACT_ISA": isa, "PYTHONWARNINGS": "ignore"}
    arguments = [sys.executable, "-c", code, os.path.dirname(__file__)]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=True)
    theirs = json.loads(done.stdout)
    assert [k for k in ours if ours[k] != theirs[k]] == []


def test_the_build_is_of_these_definitions() -> None:
    from fastact.kernels import lower

    program = lower.parse()
    assert lower.program_digest(program) == compiled.DIGEST, (
        "the compiled loops are older than kernels/definitions: build again (pip install -e .)"
    )
