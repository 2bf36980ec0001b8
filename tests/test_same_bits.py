"""One definition, every backend, every instruction set, the same bits."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from common import ELEMENTWISE, SIX, TWELVE, chained, directions, params, same_bits

import fastact
from fastact.kernels.cpu import compiled
from fastact.ulp import float32_bit_patterns

NUMBA = pytest.mark.skipif(not fastact.backends()["numba"].available, reason="numba is missing")


@functools.cache
def samples() -> list[np.ndarray]:
    """All kinds of bit patterns, and ordinary numbers."""
    rng = np.random.default_rng(11)
    doubles = rng.integers(0, 2**64, 6_001, dtype=np.uint64).view(np.float64)
    ordinary = rng.standard_normal(9_000) * np.repeat([0.1, 1, 10], 3_000)
    return [np.concatenate([float32_bit_patterns(400_009), ordinary.astype(np.float32)]), np.concatenate([doubles, ordinary])]


def results(name: str, x: np.ndarray, **options: str) -> dict[str, list[np.ndarray]]:
    """What every direction gives. Sums of parameter gradients need not agree: parameters are arrays, so that nothing is summed."""
    p = params(name) or tuple(fastact.kernels.definitions.DEFINITIONS[name].params.values())
    arrays = [np.full_like(x, v) for v in p] if getattr(fastact, name).learnable else p
    grad = x[::-1].copy()
    found = {direction: call(x, *arrays, **options) for direction, call in directions(name).items()}
    found |= {direction: call(grad, x, *arrays, **options) for direction, call in chained(name).items()}
    return {direction: list(y) if isinstance(y, tuple) else [y] for direction, y in found.items()}


def digests(backend: str) -> dict[str, str]:
    """The hash of every result."""
    found = {}
    for x in samples():
        for name in ELEMENTWISE:
            for accuracy in ("fast", "precise"):
                for direction, ys in results(name, x, backend=backend, accuracy=accuracy).items():
                    for i, y in enumerate(ys):
                        y = np.where(np.isnan(y), np.array(np.nan, y.dtype), y)
                        found[f"{name}-{direction}-{i}-{y.dtype}-{accuracy}"] = hashlib.sha256(y.tobytes()).hexdigest()
    return found


@pytest.fixture(scope="module")
def ours() -> dict[str, str]:
    return digests("cython")


def compiled_by_numba(single: list[str], double: list[str]) -> pytest.MarkDecorator:
    """Numba takes a second for each module: these functions in float32 and those in float64, the rest with what is exhaustive."""
    usual = {(name, i) for i, names in enumerate((single, double)) for name in names}
    cases = [(name, i) for name in ELEMENTWISE for i in range(2)]
    return pytest.mark.parametrize(
        ("name", "x"),
        [
            pytest.param(name, i, id=f"{name}-{('float32', 'float64')[i]}", marks=[] if (name, i) in usual else pytest.mark.exhaustive)
            for name, i in cases
        ],
    )


@NUMBA
@compiled_by_numba(ELEMENTWISE, SIX)
def test_values_on_numba(name: str, x: int) -> None:
    theirs, ours = (getattr(fastact, name)(samples()[x], *params(name), backend=backend) for backend in ("numba", "cython"))
    assert same_bits(theirs, ours)


@NUMBA
@compiled_by_numba(TWELVE, SIX)
def test_every_direction_on_numba(name: str, x: int) -> None:
    theirs, ours = (results(name, samples()[x], backend=backend) for backend in ("numba", "cython"))
    for direction, found in ours.items():
        for a, b in zip(theirs[direction], found, strict=True):
            assert same_bits(a, b), direction


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
