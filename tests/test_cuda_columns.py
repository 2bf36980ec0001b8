"""Rows along other axes (kernels/cuda/columns.cuh): how calls are cut; built for the CPU behind a shim, against the float64 reference."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import DTYPES
from cuda_host import COMPILER, driver, standing_in
from test_cuda_rows import BOUNDS, Paged, ours, reference, ulps

from fastact.backends import cuda_columns, cuda_rows, nvrtc
from fastact.backends import cupy as adapter
from fastact.backends.cuda_columns import held_bytes, kernel_of, takes, tiling
from fastact.rows import Rows, Spread

HOPPER, AMPERE, ADA = (90, 227 * 1024), (80, 163 * 1024), (89, 99 * 1024)


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cubins")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared_cache: Path) -> Iterator[types.SimpleNamespace]:
    """A stand-in for CuPy and NVRTC: kernels run on the CPU."""
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    with standing_in(monkeypatch, tmp_path, shared_cache) as made:
        yield made


# ---------------------------------------------------------------- how calls are cut

SHAPES = [
    *((o, n, i) for o in (1, 3, 700) for n in (1, 2, 33, 1000, 1024, 16384, 200000) for i in (1, 2, 7, 24, 64, 100, 1000, 4096)),
    (2048, 1024, 128),
    (1, 16384, 16384),
    (64, 256, 16384),
    (5_000_000, 10, 4),
]


@pytest.mark.parametrize("device", [HOPPER, AMPERE, ADA], ids=str)
@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize(("kind", "wide"), [("float32", 4), ("bfloat16", 2), ("bfloat16", 4), ("float64", 8), ("float32", 8)])
def test_tilings(kind: str, wide: int, streams: int, device: tuple[int, int]) -> None:
    """Every element is one thread's, whatever is moved at once lies on its border, and a block has what it asks for."""
    lanes, number = 16 // adapter.ITEMSIZE[kind], wide * streams
    for shape in SHAPES:
        outer, n, inner = shape
        t = tiling(kind, wide, shape, streams, device)
        columns, blocks = t.width * t.many, max(1, t.blocks)
        assert t.many == 1 or (t.across == 1 and t.width == inner)
        assert t.width * (t.across - 1) < inner <= t.width * t.across
        assert t.tiles == -(-outer // t.many) * t.across
        assert t.rows * blocks >= n
        assert 0 < t.room <= t.rows
        assert columns * t.groups <= t.threads <= 512
        assert t.threads % 32 == 0
        assert blocks in ((1, 2, 4, 8) if device[0] >= 90 else (1,))
        assert t.blocks or t.groups == 1
        around = 0 if not t.blocks else 64 + 8 * t.threads + (8 * blocks * columns if blocks > 1 else 0)
        assert around + number * max(t.many * t.apart, t.room * t.width) <= t.shared <= device[1]
        if t.many > 1:  # outer indices lie apart, on borders of 16 bytes
            assert t.apart >= t.room * t.width
            assert t.apart * wide % 16 == 0
            assert t.room == t.rows
        if t.vectors and t.across > 1:
            assert inner % lanes == t.width % lanes == 0
        elif t.vectors:
            assert n * inner % lanes == t.rows * inner % lanes == t.room * inner % lanes == 0 or t.rows >= n
        assert not tiling(kind, wide, shape, streams, device, aligned=False).vectors


def test_measured_shapes() -> None:
    """Tiles of at least 128 bytes of a row and, up to rows of 4096, 64 KiB of shared memory a block."""
    cut = lambda kind, shape: tiling(kind, held_bytes(kind, "float", ()), shape, 1, HOPPER)  # noqa: E731
    for kind in ("float32", "bfloat16"):
        size = adapter.ITEMSIZE[kind]
        assert [(t.width * size, t.blocks) for t in (cut(kind, s) for s in ((64, 256, 16384), (2048, 1024, 128), (1, 16384, 16384)))] == [
            (256, 1),
            (128, 2),
            (128, 8),
        ]
        for n in (1024, 4096):
            t = cut(kind, (16, n, 4096))
            assert t.room == t.rows
            assert t.shared <= 72 * 1024
    assert cut("float32", (64, 32, 16384)).blocks == 0


def test_what_is_left_to_others() -> None:
    """What entmax remembers has to have room; numbers of a column are floats only for halves, and not where they are results."""
    long, short = ((1, n, 24) for n in (10**6, 100))
    cut = lambda shape: tiling("float32", 8, shape, 1, HOPPER)  # noqa: E731
    assert not takes("entmax", long, cut(long))
    assert takes("softmax", long, cut(long))
    assert takes("entmax", short, cut(short))
    half = tiling("bfloat16", 2, short, 1, HOPPER)
    assert kernel_of(half, "bfloat16", "float", ("RESULT",)).number == "float"
    for kind, real, features in (
        ("bfloat16", "float", ("LSE",)),
        ("bfloat16", "double", ("RESULT",)),
        ("float32", "float", ("RESULT",)),
    ):
        assert kernel_of(half, kind, real, features).number == "double"


# ---------------------------------------------------------------- on the CPU


def made_call(program: str, direction: str, kind: str, shape: tuple[int, int, int], skip: int = 0, **options: Any) -> Rows:
    """A call on random numbers; options of `Rows`, or True for arrays of random numbers. Results are in the place of what is read last."""
    rng, dtype, (outer, n, inner) = np.random.default_rng(5), DTYPES[kind], shape
    x, grad = (rng.normal(0, 3, shape).astype(dtype) for _ in range(2))
    rows = outer * inner
    offsets = (ours(np.arange(outer) * n), 1, ours(np.zeros(inner, np.int64)))
    drawn = {
        "sink": lambda: ours(rng.normal(0, 1, rows)),
        "where": lambda: Spread(ours((rng.random(outer * n) < 0.7).astype(np.uint8)), *offsets),
        "bias": lambda: Spread(ours(rng.normal(0, 1, outer * n).astype(dtype)), *offsets),
        "lse": lambda: ours(np.full(rows, np.nan)),
        "dsink": lambda: ours(np.full(rows, np.nan)),
    }
    values = {name: drawn[name]() if value is True else value for name, value in options.items()}
    paged = [Paged(a, True, skip).array for a in (x, grad)]  # what lies behind cannot be read
    return Rows(
        program,
        direction,
        kind,
        False,
        paged[0],
        out=paged[direction != "value"],
        grad=paged[1] if direction != "value" else None,
        **values,
    )


def special(x: Any) -> None:
    """Columns with what is not finite, or far apart."""
    x[0, :, 0] = -np.inf
    x[0, 1:, 1] = -np.inf
    x[0, -1, 2] = np.inf
    x[0, 0, 3] = np.nan
    x[0, 2, 4] = 60
    x[0, :, 5] = 0
    if x.dtype != np.float16:
        x[-1, :, 6] *= x.dtype.type(1e5)


#: Ways that a column goes, with columns that are short for them: what is compiled, shapes, the bytes of a tile, the card, and options.
WAYS: dict[str, tuple[tuple[str, str, str], list[tuple[int, int, int]], int, tuple[int, int], dict[str, Any]]] = {
    "a thread": (("softmax", "value", "float32"), [(2, 3, 256), (1, 5, 130)], 2**16, HOPPER, {}),
    "a block": (("log_softmax", "value", "bfloat16"), [(3, 5, 8), (2, 33, 40), (2, 100, 7)], 2**16, HOPPER, {"lse": True}),
    "a cluster": (
        ("softmax", "backward", "float32"),
        [(2, 90, 24), (3, 50, 7)],
        2**12,
        HOPPER,
        {"where": True, "bias": True, "sink": True, "dsink": True, "scale": 0.5, "bias_scale": 2.0},
    ),
    "beyond a cluster": (("sparsemax", "value", "float16"), [(1, 300, 72)], 2**12, (90, 4096), {}),
    "beyond a block": (("softmax", "value", "float32"), [(1, 300, 40)], 2**12, (80, 4096), {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_ways(fake: Any, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Right along each, on memory with nothing beside it, results in the place of what was read; in whatever order threads take turns."""
    (program, direction, kind), shapes, tile, device, options = WAYS[way]
    monkeypatch.setattr(cuda_columns, "TILE", tile)
    monkeypatch.setattr(cuda_columns, "THREADS", (64, 512))
    monkeypatch.setattr(cuda_rows, "device_facts", lambda _: device)
    found = []
    kept_kernel_of = kernel_of
    monkeypatch.setattr(cuda_columns, "kernel_of", lambda *args: found.append(kept_kernel_of(*args)) or found[-1])
    for shape in shapes:
        results = []
        for last_first in (0, 1):
            call = made_call(program, direction, kind, shape, **options)
            if program.endswith("softmax") and direction == "value":
                special(call.x)
            right = reference(call)
            for library in filter(lambda found: hasattr(found, "last_first"), driver().modules()):
                library.last_first(last_first)
            cuda_rows.run(call)
            results.append(call.out.copy())
            judged(call, right)
        assert (results[0].view(np.uint8) == results[1].view(np.uint8)).all()
    kernel = found[0]
    assert (kernel.blocks == 0, kernel.blocks > 1, kernel.beyond) == (way == "a thread", "cluster" in way, "beyond" in way)


def judged(call: Rows, right: Rows) -> None:
    found, wanted = np.asarray(call.out, np.float64), right.out
    unit = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-24}[call.kind]
    if call.direction == "value" and call.program != "sparsemax":
        assert ulps(found, wanted, call.kind) <= BOUNDS[call.kind]
    else:  # what cancels is as right as what it is made from
        np.testing.assert_allclose(found, wanted, rtol=0, atol=8 * unit * np.abs(wanted).max())
    for name in ("lse", "dsink"):
        if getattr(call, name) is not None:
            np.testing.assert_allclose(getattr(call, name), getattr(right, name), rtol=1e-6, atol=1e-6, err_msg=name)


#: All programs along all ways: (program, direction, options).
PROGRAMS = [
    ("softmax", "value", {"lse": True, "sink": True}),
    ("softmax", "backward_from_output", {}),
    ("log_softmax", "backward", {"where": True}),
    ("log_softmax", "backward_from_output", {}),
    ("hardmax", "value", {}),
    ("sparsemax", "backward", {}),
    ("entmax15", "value", {"where": True}),
    ("entmax15", "backward", {}),
]


@pytest.mark.exhaustive
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(("program", "direction", "options"), PROGRAMS)
def test_every_program(fake: Any, monkeypatch: pytest.MonkeyPatch, program: str, direction: str, options: Any, kind: str, way: str) -> None:
    _, shapes, tile, device, _ = WAYS[way]
    monkeypatch.setattr(cuda_columns, "TILE", tile)
    monkeypatch.setattr(cuda_columns, "THREADS", (64, 512))
    monkeypatch.setattr(cuda_rows, "device_facts", lambda _: device)
    for shape in shapes:
        call = made_call(program, direction, kind, shape, **options)
        if direction == "backward_from_output":
            y = Rows(program, "value", kind, False, call.x.copy(), out=call.x)
            y.out[...] = reference(y).out
        right = reference(call)
        cuda_rows.run(call)
        judged(call, right)


# ---------------------------------------------------------------- for devices


@pytest.fixture(scope="module")
def compiler() -> nvrtc.Nvrtc:
    try:
        return nvrtc.load()
    except nvrtc.NvrtcError as missing:
        pytest.skip(str(missing))


def text(program: str, direction: str, kind: str, shape: tuple[int, int, int], device: tuple[int, int], features: tuple[str, ...]) -> str:
    real = "double" if program == "entmax" or kind == "float64" else "float"
    cut = tiling(kind, held_bytes(kind, real, features), shape, 1 + ("GRAD" in features), device)
    entries = cuda_columns.entries(program, direction, kind, real, kernel_of(cut, kind, real, features), cuda_rows.row_fields(), features)
    return adapter.unit(list(cuda_rows.row_terms()), "columns.cuh", entries)


@pytest.mark.parametrize(
    ("target", "device", "shape"),
    [
        ("sm_90", HOPPER, (2048, 1024, 128)),
        ("sm_90", HOPPER, (1, 16384, 16384)),
        ("sm_80", AMPERE, (64, 32, 16384)),
        ("sm_89", ADA, (1, 16384, 16384)),
        ("sm_100", (100, 227 * 1024), (1, 16384, 16384)),
        ("sm_120", (120, 99 * 1024), (1, 16384, 16384)),
    ],
)
def test_it_compiles(compiler: nvrtc.Nvrtc, target: str, device: tuple[int, int], shape: tuple[int, int, int]) -> None:
    source = text("softmax", "value", "bfloat16", shape, device, ("RESULT",))
    assert ("__cluster_dims__(" in source.rpartition("row_program")[0].rpartition("extern")[2]) == (device[0] >= 90 and shape[1] > 32)
    assert compiler.compile(source, target).startswith(b"\x7fELF")
