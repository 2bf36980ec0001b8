"""Rows that stay on the chip (kernels/cuda/onchip.cuh): run on the CPU behind a shim, against float64; compiled for devices."""

from __future__ import annotations

import ctypes
import mmap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import DTYPES
from cuda_host import COMPILER, FakeArray, FakeDevice, driver, standing_in

from fastact.backends import cuda_rows, nvrtc
from fastact.backends import cupy as adapter
from fastact.backends.cuda_rows import Plan
from fastact.backends.numpy import NumpyBackend
from fastact.rows import Rows, Spread

HOPPER = (90, 227 * 1024)
#: Digits and the least exponent of a storage type.
TYPES = {"float16": (10, -14), "bfloat16": (7, -126), "float32": (23, -126), "float64": (52, -1022)}
#: The largest errors of softmax and log_softmax, in units in the last place.
BOUNDS = {"float16": 0.51, "bfloat16": 0.51, "float32": 4.0, "float64": 4.0}


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


def small(place: str, count: int, blocks: int, threads: int = 32, held: int | None = None, n: int = 0, kind: str = "float32") -> Plan:
    """A plan with few threads, so that short rows take the ways of long ones."""
    cells = cuda_rows._cells(threads, blocks)
    if place == "Registers":
        return Plan(place, count, 0, threads, blocks, shared=cells)
    share = -(-(n * adapter.ITEMSIZE[kind] // 16 + 2) // blocks)
    held = share if held is None else held
    return Plan(place, count, 0, threads, blocks, 0, held, cells + 32 + 2 * 16 * held)


class Paged:
    """An array that ends where no byte can be read, or begins so."""

    def __init__(self, values: Any, end: bool, skip: int = 0) -> None:
        page, size = mmap.PAGESIZE, values.nbytes
        inner = -(-size // page) * page
        self.memory = mmap.mmap(-1, inner + 2 * page)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        for at in (0, page + inner):
            assert protect(ctypes.c_void_p(self.address + at), ctypes.c_size_t(page), 0) == 0
        self.start = page + (inner - size - skip if end else skip)
        self.array = np.frombuffer(self.memory, values.dtype, values.size, self.start).reshape(values.shape).view(FakeArray)
        self.array[...] = values


def ulps(found: Any, wanted: Any, kind: str) -> float:
    """The largest error, in units in the last place of what is right; infinite where one is NaN and the other not."""
    digits, least = TYPES[kind]
    f, w = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    with np.errstate(all="ignore"):
        unit = 2.0 ** (np.maximum(np.floor(np.log2(np.where(w == 0, 1e-320, np.abs(w)))), least) - digits)
        error = np.abs(f - w) / unit
    same = (f == w) | (np.isnan(f) & np.isnan(w))
    return float(np.where(same, 0.0, np.where(np.isnan(error), np.inf, error)).max(initial=0.0))


def reference(call: Rows) -> Rows:
    """The same call in float64."""
    wide = lambda a: None if a is None else np.asarray(a).astype(np.float64)  # noqa: E731
    made = dict(vars(call))
    for name in ("x", "grad", "soft"):
        made[name] = wide(made[name])
    if call.bias is not None:
        made["bias"] = call.bias._replace(data=wide(call.bias.data))
    for name in ("where", "bias"):
        if made[name] is not None:
            made[name] = Spread(*(np.asarray(v) if isinstance(v, np.ndarray) else v for v in made[name]))
    made["out"] = None if call.out is None else np.full(call.x.shape, np.nan)
    for name in ("lse", "dsink", "loss"):
        made[name] = None if made[name] is None else np.full(made[name].shape, np.nan)
    right = Rows(**{**made, "kind": "float64"})
    NumpyBackend().rows(right)
    return right


def ours(a: Any) -> Any:
    return None if a is None else np.ascontiguousarray(a).view(FakeArray)


def made_call(program: str, direction: str, kind: str, shape: tuple[int, int], seed: int = 0, spreads: float = 3.0, **options: Any) -> Rows:
    """A call on random numbers; options of `Rows`, or True for arrays of random numbers."""
    rng, dtype, (rows, n) = np.random.default_rng(seed), DTYPES[kind], shape
    x = rng.normal(0, spreads, (rows, n, 1)).astype(dtype)
    grad = rng.normal(0, 1, x.shape).astype(dtype) if direction.startswith("backward") else None
    if direction == "backward_from_output":
        y = np.empty_like(x)
        NumpyBackend().rows(Rows(program, "value", kind, False, x, out=y))
        x = y
    drawn = {
        "sink": lambda: rng.normal(0, 1, rows),
        "limits": lambda: rng.integers(0, n + 1, rows),
        "row_grad": lambda: rng.normal(0, 1, rows),
        "labels": lambda: rng.integers(0, n, rows),
        "weight": lambda: rng.random(n),
        "soft": lambda: rng.random((rows, n, 1)).astype(dtype),
        "where": lambda: spread((rng.random((rows, n)) < 0.7).astype(np.uint8)),
        "bias": lambda: spread(rng.normal(0, 1, (1, n)).astype(dtype), rows),
        "lse": lambda: np.full(rows, np.nan),
        "dsink": lambda: np.full(rows, np.nan),
        "loss": lambda: np.full(rows, np.nan),
    }
    values = {name: drawn[name]() if value is True and name in drawn else value for name, value in options.items()}
    values = {name: ours(v) if isinstance(v, np.ndarray) else v for name, v in values.items()}
    out = None if options.get("out") is False else ours(np.full(x.shape, np.nan, dtype))
    return Rows(program, direction, kind, False, ours(x), **{**values, "out": out, "grad": ours(grad)})


def spread(a: Any, rows: int | None = None) -> Spread:
    """``[rows or 1, n]`` over ``[rows, n, 1]``."""
    rows = rows or len(a)
    step = a.shape[1] if len(a) > 1 else 0
    return Spread(ours(a.reshape(-1)), ours(np.arange(rows) * step), 1, ours(np.zeros(1, np.int64)))


def check(call: Rows, bound: float | None = None, absolute: float = 0.0) -> None:
    """Run a call; its results are those of the reference, to so many units in the last place."""
    device = cuda_rows.device_facts(0)
    assert cuda_rows.on_chip(call, device) is not None, "the general executor would take it"
    right = reference(call)
    cuda_rows.run(call)
    if call.out is not None:
        found, wanted = np.asarray(call.out, np.float64), right.out
        with np.errstate(invalid="ignore"):
            found = np.where(np.abs(found - wanted) <= absolute, wanted, found)
        assert ulps(found, wanted, call.kind) <= (BOUNDS[call.kind] if bound is None else bound)
    for name in ("lse", "dsink", "loss"):
        if getattr(call, name) is not None:
            np.testing.assert_allclose(getattr(call, name), getattr(right, name), rtol=3e-6, atol=1e-6, err_msg=name)


def forced(monkeypatch: pytest.MonkeyPatch, chosen: Plan | None) -> None:
    monkeypatch.setattr(cuda_rows, "plan", lambda *_: chosen)


#: Ways that rows take, with rows that are short for them: a few lanes, a block, a cluster; registers, shared memory with and without
#: bulk copies, with too little room, and with none.
WAYS = {
    "lanes": (37, None),
    "block": (1001, small("Registers", 4, 1, 64)),
    "cluster": (1001, small("Registers", 4, 2)),
    "bulk": (1003, small("Bulk", 4, 1, 32, n=1003)),
    "bulk cluster": (1003, small("Bulk", 4, 4, 32, n=1003)),
    "little room": (1003, small("Bulk", 2, 2, 32, held=40)),
    "copied": (1003, small("Copied", 4, 1, 64, n=1003)),
    "streamed": (1003, small("Copied", 4, 2, 64, held=0)),
}


@pytest.mark.parametrize("way", WAYS)
def test_ways(fake: Any, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """softmax along each, of one storage type each; the order in which threads take turns does not matter."""
    n, chosen = WAYS[way]
    if chosen is not None:
        forced(monkeypatch, chosen)
    kind = "bfloat16" if "bulk" in way or way == "lanes" else "float32"
    call = made_call("softmax", "value", kind, (3, n))
    check(call)
    before = call.out.copy()
    for library in loaded_libraries():
        library.last_first(1)
    call.out[...] = np.nan
    cuda_rows.run(call)
    assert (before.view(np.uint8) == call.out.view(np.uint8)).all()


def loaded_libraries() -> list[ctypes.CDLL]:
    return [library for library in driver().modules() if hasattr(library, "last_first")]


@pytest.mark.parametrize("way", ["lanes", "cluster", "bulk cluster", "streamed"])
def test_nothing_beside_the_arrays(fake: Any, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Arrays at the border of memory that cannot be read; rows that begin anywhere; what lies beside the result stays."""
    n, chosen = WAYS[way]
    if chosen is not None:
        forced(monkeypatch, chosen)
    kind, rows = "bfloat16", 3
    for end, skip in ((True, 0), (False, 0), (False, 6)):
        call = made_call("softmax", "value", kind, (rows, n), seed=skip)
        size = call.x.nbytes
        x = Paged(np.asarray(call.x), end, skip)
        room = np.full(size + 64, 0xAB, np.uint8)
        begin = (x.array.ctypes.data - room.ctypes.data) % 16 + 16
        out = room[begin : begin + size].view(call.x.dtype).reshape(call.x.shape).view(FakeArray)
        call.x, call.out = x.array, out
        check(call)
        assert (room[:begin] == 0xAB).all()
        assert (room[begin + size :] == 0xAB).all()


@pytest.mark.parametrize("way", ["lanes", "block", "bulk cluster"])
@pytest.mark.parametrize("program", ["softmax", "log_softmax"])
def test_special_rows(fake: Any, monkeypatch: pytest.MonkeyPatch, program: str, way: str) -> None:
    n, chosen = WAYS[way]
    if chosen is not None:
        forced(monkeypatch, chosen)
    kind = {"lanes": "float32", "block": "float16", "bulk cluster": "float32"}[way]
    call = made_call(program, "value", kind, (9, n), lse=True if program == "log_softmax" and kind == "float32" else None)
    x = np.asarray(call.x)[:, :, 0]
    x[0] = -np.inf
    x[1, : n - 1] = -np.inf
    x[2, n // 2] = np.inf
    x[3, n - 1] = np.nan
    x[4, 5] = 60  # nearly all of the sum
    x[5] *= 9  # some beyond exp's range
    x[6] *= x.dtype.type(1e3 if kind == "float16" else 1e5)  # beyond 2^16, in float32
    x[7] = np.finfo(np.float16).min
    x[8, :] = 0
    check(call)


MASKS: list[dict[str, Any]] = [
    {"where": True},
    {"limits": True, "masked_nan": True},
    {"where": True, "limits": True, "sink": True, "lse": True, "bias": True, "scale": 0.125, "bias_scale": 2.0},
]


@pytest.mark.parametrize("way", ["lanes", "cluster", "bulk"])
@pytest.mark.parametrize("chosen", MASKS, ids=lambda c: "+".join(c))
def test_masks(fake: Any, monkeypatch: pytest.MonkeyPatch, way: str, chosen: dict[str, Any]) -> None:
    """What is left out, limits, a sink, a bias and a scale, of values and gradients; rows with nothing left."""
    n, plan = WAYS[way]
    if plan is not None:
        forced(monkeypatch, plan)
    for direction in ("value", "backward") if way == "lanes" else ("value",):
        options = dict(chosen)
        if direction == "backward":
            options.pop("lse", None)
            options |= {"dsink": True, "row_grad": True} if "sink" in options else {}
        call = made_call("softmax", direction, "float32", (4, n), **options)
        if call.where is not None:
            np.asarray(call.where.data)[:n] = 0
        if call.limits is not None:
            call.limits[1], call.limits[2] = 0, n
        # The bias is added in float32, and gradients cancel: an error of their terms.
        check(call, bound=16 if "bias" in options else None, absolute=2e-7 if direction == "backward" else 0.0)


PROGRAMS = [
    ("log_softmax", "value", "bfloat16", "lanes"),
    ("log_softmax", "value", "float16", "bulk"),
    ("softmax", "backward_from_output", "bfloat16", "lanes"),
    ("softmax", "backward_from_output", "float32", "bulk cluster"),
    ("softmax", "backward", "float32", "cluster"),
    ("log_softmax", "backward", "float16", "cluster"),
    ("log_softmax", "backward_from_output", "bfloat16", "bulk"),
    ("sparsemax", "value", "float32", "lanes"),
    ("entmax15", "value", "float32", "cluster"),
    ("softmax", "value", "float64", "cluster"),
]


@pytest.mark.parametrize(("program", "direction", "kind", "way"), PROGRAMS)
def test_programs(fake: Any, monkeypatch: pytest.MonkeyPatch, program: str, direction: str, kind: str, way: str) -> None:
    n, plan = WAYS[way]
    if plan is not None:
        forced(monkeypatch, plan)
    call = made_call(program, direction, kind, (3, n if kind != "float64" else 500))
    cancels = direction != "value" or program in ("sparsemax", "entmax15")  # differences of what is about 1
    check(call, absolute=2e-6 if cancels else 0.0)


@pytest.mark.parametrize("way", ["lanes", "cluster", "bulk", "little room"])
@pytest.mark.parametrize(
    "options", [{}, {"smoothing": 0.1, "z_loss": 1e-3, "weight": True, "ignore": 3}, {"soft": True}], ids=["plain", "all", "soft"]
)
def test_cross_entropy(fake: Any, monkeypatch: pytest.MonkeyPatch, way: str, options: dict[str, Any]) -> None:
    """In place, and against the reference; rows that are ignored."""
    if way in ("cluster", "little room") and options:
        pytest.skip("as the others")
    n, plan = WAYS[way]
    if plan is not None:
        forced(monkeypatch, plan)
    given = {"labels": True} | options if "soft" not in options else options
    call = made_call("cross_entropy", "value_and_grad", "bfloat16", (5, n), loss=True, row_scale=0.2, **given)
    if call.labels is not None:
        call.labels[2], call.labels[0], call.labels[1] = 3, 0, n - 1
        np.asarray(call.x)[1, n - 1] = 40  # all but certain
    call.out = call.x
    right = reference(call)
    check(call, bound=0.51, absolute=1e-7)
    assert np.isfinite(right.loss).all()


def test_logsumexp_reads_only(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check(made_call("softmax", "value", "float32", (3, 37), out=False, lse=True))
    forced(monkeypatch, WAYS["streamed"][1])
    check(made_call("softmax", "value", "float32", (3, 1003), out=False, lse=True))


# ---------------------------------------------------------------- which way


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("device", [HOPPER, (80, 163 * 1024), (89, 99 * 1024), (120, 99 * 1024)])
def test_plans_hold_their_rows(kind: str, device: tuple[int, int]) -> None:
    """Registers hold the whole row; shared memory is what the device has; threads are whole warps; clusters only where there are such."""
    lanes = 16 // adapter.ITEMSIZE[kind]
    for n in [*range(1, 300), *(2**k + d for k in range(8, 21) for d in (-1, 0, 1)), 1001, 5001, 32000, 50257, 128256]:
        for streams, reads_only, edges in ((1, False, False), (1, False, True), (2, False, False), (2, False, True), (1, True, True)):
            p = cuda_rows.plan(kind, n, streams, reads_only, edges, device)
            vectors = -(-(n + (lanes - 1) * edges) // lanes)
            if p.place == "Registers":
                assert p.vectors * (p.lanes or p.threads * p.blocks) >= vectors
            assert p.shared <= device[1]
            assert p.threads % 32 == 0
            assert p.threads <= 1024
            assert p.blocks in (1, 2, 4, 8)
            assert p.blocks == 1 or device[0] >= 90
            assert p.place != "Bulk" or device[0] >= 90
            assert p.threads * p.least <= 2048


def test_older_devices(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither clusters nor bulk copies before Hopper: chosen by what the device says."""
    monkeypatch.setattr(FakeDevice, "compute_capability", "80")
    monkeypatch.setattr(FakeDevice, "attributes", {"MaxSharedMemoryPerBlockOptin": 20 * 1024})
    call = made_call("softmax", "value", "bfloat16", (1, 20011))
    found, _ = cuda_rows.on_chip(call, cuda_rows.device_facts(0))  # type: ignore[misc]
    assert found.place == "Copied"
    assert 0 < found.held < 20011 // 8
    check(call)


def test_what_it_does_not_take() -> None:
    """Other axes, entmax, gradients of a bias, float64 for the sake of accuracy, arrays that lie differently: the general executor's."""
    call = made_call("softmax", "value", "float32", (3, 40))
    assert cuda_rows.on_chip(call, HOPPER) is not None
    for name, value in (("x", ours(np.zeros((3, 40, 2), np.float32))), ("program", "entmax"), ("dbias", 1), ("wide", True)):
        other = Rows(**{**vars(call), name: value})
        assert cuda_rows.on_chip(other, HOPPER) is None
    lying = np.zeros(3 * 40 + 8, np.float32)
    begin = (call.x.ctypes.data - lying.ctypes.data) // 4 % 4 + 1
    assert cuda_rows.on_chip(Rows(**{**vars(call), "out": ours(lying[begin : begin + 120].reshape(3, 40, 1))}), HOPPER) is None


@pytest.fixture(scope="module")
def compiler() -> nvrtc.Nvrtc:
    try:
        return nvrtc.load()
    except nvrtc.NvrtcError as problem:
        pytest.skip(str(problem))


@pytest.mark.parametrize("architecture", [80, 89, 90, 100, 120])
def test_compiles_for_devices(compiler: nvrtc.Nvrtc, architecture: int) -> None:
    """One of each way: lanes, a block, a chunk, and a cluster where there are such."""
    if architecture not in compiler.architectures:
        pytest.skip(f"{compiler!r} does not know {architecture / 10}")
    device = (architecture, (227 if architecture in (90, 100) else 99) * 1024)
    for n in (64, 4096, 131072) if architecture in (80, 90) else (131072,):
        plan = cuda_rows.plan("bfloat16", n, 1, False, False, device)
        text = adapter.unit(list(cuda_rows.row_terms()), "onchip.cuh", cuda_rows.on_chip_entries("softmax", "value", "bfloat16", plan))
        image = compiler.compile(text, f"sm_{architecture}")
        assert image.startswith(b"\x7fELF")
        ptx = compiler.compile(text, f"compute_{architecture}").decode()
        assert ("barrier.cluster" in ptx) == (plan.blocks > 1)
        assert ("cp.async.bulk" in ptx) == (plan.place == "Bulk")
        assert "ld.global.nc.L1::no_allocate.v4" in ptx
        assert "st.global.cs.v4" in ptx
        assert ".local" not in ptx


# ---------------------------------------------------------------- all lengths


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_every_length(fake: Any, kind: str) -> None:
    for n in [*range(1, 41), 63, 64, 65, 127, 255, 1000, 1001, 1024, 1025, 2047, 4096, 5001, 8192, 16384, 20001, 32768, 50257, 70000]:
        for program in ("softmax", "log_softmax"):
            check(made_call(program, "value", kind, (3 if n < 5000 else 1, n), seed=n))
