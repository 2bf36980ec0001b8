"""The CuPy backend: everything but the device behind a stand-in for CuPy, and the real thing wherever there is a GPU."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cuda_host import COMPILER, FakeArray, bits, standing_in

import fastact
from fastact import dispatch
from fastact.arrays import cupy as front
from fastact.backends import cupy as adapter
from fastact.backends import nvrtc
from fastact.kernels import lower
from fastact.kernels.cpu import compiled
from fastact.kernels.definitions import DEFINITIONS

OPERATIONS = lower.parse().operations


# ---------------------------------------------------------------- without a GPU


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


def run(fake: Any, name: str, direction: str, inputs: list[Any], params: list[Any], outs: list[Any] | None = None) -> list[Any]:
    outs = outs or [None] * OPERATIONS[f"{name}_{direction}"].outputs
    return front.run_elementwise(fake.backend, DEFINITIONS[name], direction, inputs, params, outs, wide=False)


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "contiguous": lambda a: a,
    "fortran": lambda a: a.T,
    "permuted": lambda a: a.transpose(1, 0, 2),
    "strided": lambda a: a[:, ::2],
    "reversed": lambda a: a[::-1],
    "misaligned": lambda a: a.reshape(-1)[1:],
    "broadcast": lambda a: np.broadcast_to(a[0], a.shape, subok=True),
    "empty": lambda a: a[:0],
    "scalar": lambda a: a[0, 0, 0:1].reshape(()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_layouts(fake: Any, layout: str, kind: str) -> None:
    dtype = np.dtype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)
    base = np.random.default_rng(0).normal(0, 3, (5, 6, 7)).astype(dtype).view(FakeArray)
    x = LAYOUTS[layout](base)
    wanted = np.where(np.asarray(x, np.float64) > 0, x, np.asarray(x, np.float32) * np.float32(0.125)).astype(dtype)
    result = run(fake, "leaky_relu", "value", [x], [0.125])[0]
    assert result.shape == x.shape
    assert result.dtype == dtype
    assert (bits(result) == bits(wanted)).all()
    if layout in ("fortran", "permuted"):
        assert np.argsort(result.strides).tolist() == np.argsort(x.strides).tolist(), "K order"
    if layout != "broadcast":
        into = x.copy() if layout == "misaligned" else LAYOUTS[layout](base.copy())
        assert run(fake, "leaky_relu", "value", [x], [0.125], [into])[0] is into
        assert (bits(into) == bits(wanted)).all()
        run(fake, "leaky_relu", "value", [x], [0.125], [x])  # in place
        assert (bits(x) == bits(wanted)).all()


def test_overlap(fake: Any) -> None:
    base = np.linspace(-3, 3, 4100, dtype=np.float32).view(FakeArray)
    for source, target in ((base[:-1], base[1:]), (base[1:], base[:-1]), (base, base[::-1])):
        x, wanted = source.copy(), None
        wanted = run(fake, "silu", "value", [x], [])[0]
        keep = base.copy()
        run(fake, "silu", "value", [source], [], [target])
        assert (bits(target) == bits(wanted)).all()
        base[:] = keep


@pytest.mark.parametrize("shape", [None, (), (1,), (7,), (6, 1), (5, 1, 7), (5, 6, 7)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_parameters_and_their_gradients(fake: Any, shape: tuple[int, ...] | None, order: Any) -> None:
    rng = np.random.default_rng(1)
    x, grad = (np.asarray(rng.normal(0, 3, (5, 6, 7)).astype(np.float32), order=order).view(FakeArray) for _ in range(2))
    alpha: Any = 0.25 if shape is None else rng.normal(0, 1, shape).astype(np.float32).view(FakeArray)
    dx, dalpha = run(fake, "prelu", "backward", [grad, x], [alpha])
    assert (bits(dx) == bits(np.where(x > 0, grad, grad * np.float32(alpha) if shape is None else grad * alpha))).all()
    terms = np.asarray(np.where(x > 0, 0, grad * x), np.float64)
    axes = tuple(i for i in range(3) if shape is None or i < 3 - len(shape) or shape[i - 3 + len(shape)] == 1)
    assert dalpha.dtype == np.float32
    assert dalpha.shape == (shape or ())
    np.testing.assert_allclose(dalpha, terms.sum(axes).reshape(dalpha.shape), rtol=1e-6)
    outs = [np.empty_like(x), np.empty_like(dalpha)]
    assert [a is b for a, b in zip(run(fake, "prelu", "backward", [grad, x], [alpha], outs), outs, strict=True)] == [True, True]
    assert (bits(outs[1]) == bits(dalpha)).all()


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), None])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows(fake: Any, axis: Any, order: Any) -> None:
    """Any axis and layout, results in place and elsewhere."""
    rng = np.random.default_rng(2)
    plain, up = (np.asarray(rng.normal(0, 3, (3, 4, 5)).astype(np.float32), order=order) for _ in range(2))
    x, grad = plain.copy(order="K").view(FakeArray), up.copy(order="K").view(FakeArray)
    wanted = fastact.softmax(plain, axis, backend="numpy")
    y = fastact.softmax(x, axis)
    assert isinstance(y, FakeArray)
    np.testing.assert_allclose(y, wanted, atol=3e-7)
    out = np.empty((5, 4, 3), np.float32).T.view(FakeArray)
    assert fastact.softmax(x, axis, out=out) is out
    assert (bits(out) == bits(y)).all()
    assert fastact.softmax.backward_from_output(grad, y, axis, out=y) is y
    np.testing.assert_allclose(y, fastact.softmax.backward_from_output(up, wanted, axis, backend="numpy"), atol=1e-5)
    assert fastact.softmax.backward(grad, x, axis, out=grad) is grad
    np.testing.assert_allclose(grad, y, atol=1e-5)


def test_devices(fake: Any) -> None:
    x = np.zeros(4, np.float32).view(FakeArray)
    grad = x.copy()
    grad.number = 1
    with pytest.raises(ValueError, match="different devices: grad on 1, x on 0"):
        run(fake, "silu", "backward", [grad, x], [])
    before = fake.cupy.cuda.runtime.getDevice()
    run(fake, "silu", "value", [grad], [])
    assert fake.cupy.cuda.runtime.getDevice() == before


def test_public_calls(fake: Any) -> None:
    """The whole way: CuPy arrays in, the cython backend's bits out, and mistakes named."""
    rng = np.random.default_rng(3)
    x, grad = (rng.normal(0, 3, (4, 5)).astype(np.float32) for _ in range(2))
    there, up, alpha = x.view(FakeArray), grad.view(FakeArray), np.linspace(0, 1, 5, dtype=np.float32)
    with fastact.count_calls() as calls:
        pairs = [
            (fastact.gelu(there), fastact.gelu(x, backend="cython")),
            (fastact.mish.derivative(there, accuracy="precise"), fastact.mish.derivative(x, backend="cython", accuracy="precise")),
            (fastact.elu.backward(up, there, alpha=0.5), fastact.elu.backward(grad, x, alpha=0.5, backend="cython")),
            *zip(
                fastact.prelu.backward(up, there, alpha.view(FakeArray)),
                fastact.prelu.backward(grad, x, alpha, backend="cython"),
                strict=True,
            ),
        ]
        softmax = fastact.softmax(there, axis=0)
    assert calls == {"cython": 4, "cupy": 5}
    for found, wanted in pairs:
        assert isinstance(found, FakeArray)
        assert (bits(found) == bits(wanted)).all()
    np.testing.assert_allclose(softmax, fastact.softmax(x, axis=0, backend="cython"), rtol=5e-7)
    out = np.empty_like(there)
    assert fastact.gelu(there, out=out) is out
    with pytest.raises(TypeError, match="different kinds"):
        fastact.gelu(there, out=np.empty_like(x))
    with pytest.raises(ValueError, match="takes numpy arrays, not cupy arrays"):
        fastact.gelu(there, backend="cython")
    with pytest.raises(TypeError, match="bool"):
        fastact.gelu(there > 0)
    assert fastact.explain(fastact.gelu, there).backend == "cupy"
    assert dispatch.backends()["cupy"].available


def test_cache(fake: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Compiled once; found by another process; recompiled when the file is damaged, the text or the compiler changes."""
    monkeypatch.setenv("FASTACT_CACHE_DIR", str(tmp_path / "cache"))
    x = np.linspace(-2, 2, 9, dtype=np.float32).view(FakeArray)

    def fresh() -> int:
        fake.backend = adapter.CupyBackend()
        before = fake.compiler.compiled
        run(fake, "elu", "value", [x], [1.0])
        return int(fake.compiler.compiled - before)

    assert (fresh(), fresh()) == (1, 0)
    run(fake, "elu", "value", [x], [1.0])
    (file,) = (tmp_path / "cache").rglob("*.cubin")
    damaged = file.read_bytes()[:-1]
    file.unlink()  # the library in use keeps its own
    file.write_bytes(damaged)
    assert (fresh(), fresh()) == (1, 0)
    fake.compiler.version = (0, 1)
    assert (fresh(), fresh()) == (1, 0)
    assert not list((tmp_path / "cache").rglob(".new-*"))


def test_missing(monkeypatch: pytest.MonkeyPatch, fake: Any) -> None:
    backend = fake.backend
    assert backend.missing() is None
    assert "Fake" in str(backend.details()["devices"])
    monkeypatch.setattr(compiled, "cuda_device_count", lambda: 0)
    assert backend.missing() == "there is no CUDA device"
    monkeypatch.undo()
    compiled.cuda_open("")  # the machine's own driver, if it has one
    monkeypatch.setattr(compiled, "cuda_open", lambda path=None: 13000)
    monkeypatch.setattr(nvrtc, "candidates", lambda: iter(()))
    monkeypatch.setattr(compiled, "cuda_device_count", lambda: 1)
    monkeypatch.setitem(sys.modules, "cupy", fake.cupy)
    nvrtc.identity.cache_clear()
    assert "libnvrtc is not there: pip install" in backend.missing()
    nvrtc.identity.cache_clear()
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "neither cupy nor torch is installed" in backend.missing()
    assert "cupy" not in sys.modules


def test_driver_that_is_not_one(tmp_path: Path) -> None:
    """What is wrong with the driver is said, and the next attempt starts afresh."""
    for path, message in ((str(tmp_path / "none.so"), "does not load"), (ctypes.util.find_library("m") or "", "has no cuInit")):
        with pytest.raises(compiled.CudaError, match=message):
            compiled.cuda_open(path)
    compiled.cuda_open("")


def test_sources_are_whole() -> None:
    """Kernels include nothing: NVRTC needs no headers, wherever the package is installed."""
    text = adapter.unit(["silu_value"], "elementwise.cuh", [adapter.elementwise_entry(OPERATIONS["silu_value"], "float32", False)])
    assert "#include" not in text
    assert text.count('extern "C"') == 1


# ---------------------------------------------------------------- with a GPU


@pytest.fixture(scope="module")
def cp() -> Any:
    """CuPy, with a device."""
    reason = adapter.CupyBackend().missing()
    if reason:
        pytest.skip(reason)
    import cupy

    return cupy


gpu = pytest.mark.gpu


def samples(dtype: Any, count: int = 1 << 20) -> np.ndarray:
    """Across all bit patterns."""
    size = np.dtype(dtype).itemsize
    count = min(count, 1 << 8 * size)
    return (np.arange(count, dtype=np.uint64) * np.uint64((1 << 8 * size) // count)).astype(f"u{size}").view(dtype)


@gpu
@pytest.mark.parametrize("accuracy", ["fast", "precise"])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("name", [n for n, d in DEFINITIONS.items() if d.family == "elementwise"])
def test_gpu_same_bits(cp: Any, name: str, dtype: Any, accuracy: str) -> None:
    x = samples(dtype)[:-3]
    grad = np.resize(np.asarray([1.0, -0.75, 3.0], dtype), x.size)
    call, params = getattr(fastact, name), [0.25 if v is None else v for v in DEFINITIONS[name].params.values()]
    for function, arrays in ((call, [x]), (call.derivative, [x]), (call.backward, [grad, x])):
        wanted = function(*arrays, *params, backend="cython", accuracy=accuracy)
        found = function(*map(cp.asarray, arrays), *params, backend="cupy", accuracy=accuracy)
        if isinstance(wanted, tuple):
            wanted, found = wanted[0], found[0]
        assert (bits(cp.asnumpy(found)) == bits(wanted)).all()


@gpu
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gpu_layouts(cp: Any, layout: str) -> None:
    base = np.random.default_rng(0).normal(0, 3, (5, 6, 7)).astype(np.float32)
    make: Any = (lambda a: cp.broadcast_to(a[0], a.shape)) if layout == "broadcast" else LAYOUTS[layout]
    x, on_cpu = make(cp.asarray(base)), LAYOUTS[layout](base)
    wanted = fastact.silu(np.ascontiguousarray(on_cpu), backend="cython")
    found = fastact.silu(x)
    assert found.shape == x.shape
    assert (bits(cp.asnumpy(found)) == bits(np.asarray(wanted)).reshape(x.shape)).all()
    if layout != "broadcast":
        fastact.silu(x, out=x)
        assert (bits(cp.asnumpy(x)) == bits(np.asarray(wanted)).reshape(x.shape)).all()


@gpu
def test_gpu_keeps_subnormals(cp: Any) -> None:
    x = cp.asarray([1e-40, -1e-40, 1e-44], np.float32)
    assert (cp.asnumpy(fastact.leaky_relu(x, 0.5)) == np.asarray([1e-40, -5e-41, 1e-44], np.float32)).all()
    assert float(fastact.sigmoid(cp.asarray([-100.0], np.float32))[0]) > 0


@gpu
def test_gpu_streams(cp: Any) -> None:
    """The kernel goes to CuPy's current stream, after what is already there."""
    stream = cp.cuda.Stream(non_blocking=True)
    x = cp.zeros(1 << 22, np.float32)
    cp.cuda.Device().synchronize()
    with stream:
        for _ in range(50):
            x += 1
        y = fastact.relu(x)
    stream.synchronize()
    assert float(y.min()) == 50.0


@gpu
def test_gpu_graph_capture(cp: Any) -> None:
    x, y = cp.linspace(-3, 3, 4099, dtype=np.float32), cp.empty(4099, np.float32)
    fastact.silu(x, out=y)  # compiled and loaded before the capture
    wanted = cp.asnumpy(y)
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        y.fill(0)
        stream.begin_capture()
        fastact.silu(x, out=y)
        graph = stream.end_capture()
        graph.launch()
    stream.synchronize()
    assert (bits(cp.asnumpy(y)) == bits(wanted)).all()


@gpu
def test_gpu_graph_capture_after_warmup(cp: Any) -> None:
    """Warmed up and never called: everything that is captured is there, results that are allocated included; replayed on new inputs."""
    fastact.warmup(fastact.mish, fastact.mish.backward, dtypes=["float32"], backend="cupy")
    x, out = cp.zeros(4099, np.float32), cp.empty(4099, np.float32)
    cp.cuda.Device().synchronize()
    stream = cp.cuda.Stream(non_blocking=True)
    pool = cp.cuda.MemoryPool()
    with stream, cp.cuda.using_allocator(pool.malloc):
        blocks = [cp.empty(4099, np.float32) for _ in range(2)]
        del blocks  # the pool then has room without asking the driver
        stream.begin_capture()
        for _ in range(3):
            y = fastact.mish(x)
            fastact.mish.backward(y, x, out=out)
        graph = stream.end_capture()
        for seed in (0, 1):
            host = np.random.default_rng(seed).normal(0, 3, 4099).astype(np.float32)
            x.set(host, stream=stream)
            graph.launch()
            stream.synchronize()
            truth = fastact.mish.backward(fastact.mish(host, backend="cython"), host, backend="cython")
            assert (bits(cp.asnumpy(out)) == bits(truth)).all()


@gpu
@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("size", [33, 4096, 1 << 20, (1 << 22) + 5])
def test_gpu_dependent_chain(cp: Any, overlap: bool, size: int) -> None:
    """A thousand launches, each of what the one before wrote, in place and back and forth: in order, overlapped or not."""
    host = np.random.default_rng(0).normal(0, 3, size).astype(np.float32)
    before = adapter.set_overlap(overlap)
    try:
        x, y = cp.asarray(host), cp.empty(size, np.float32)
        stream = cp.cuda.Stream(non_blocking=True)
        cp.cuda.Device().synchronize()
        fastact.leaky_relu(x, 0.5, out=y), fastact.softsign(x, out=y)
        with stream:
            for step in range(250):
                fastact.leaky_relu(x, 0.5 + step % 2, out=y)  # x -> y
                fastact.softsign(y, out=x)  # y -> x
                fastact.leaky_relu(x, 1.5, out=x)  # in place
                y.fill(0)  # somebody else's kernel in between
                fastact.softsign.backward(x, x, out=y)
                x += y
        stream.synchronize()
        for step in range(250):
            there = fastact.softsign(fastact.leaky_relu(host, 0.5 + step % 2, backend="cython"), backend="cython")
            host = fastact.leaky_relu(there, 1.5, backend="cython")
            host = host + fastact.softsign.backward(host, host, backend="cython")
        assert (bits(cp.asnumpy(x)) == bits(host)).all()
    finally:
        adapter.set_overlap(before)


@gpu
def test_gpu_overlap_in_a_graph(cp: Any) -> None:
    """Overlapped launches can be captured, and replays keep their order."""
    before = adapter.set_overlap(True)
    try:
        x, y = cp.linspace(-3, 3, 1 << 20, dtype=np.float32), cp.empty(1 << 20, np.float32)
        host = cp.asnumpy(x)
        fastact.silu(x, out=y)
        stream = cp.cuda.Stream(non_blocking=True)
        cp.cuda.Device().synchronize()
        with stream:
            stream.begin_capture()
            for _ in range(20):
                fastact.silu(x, out=y)
                fastact.silu(y, out=x)
            graph = stream.end_capture()
            graph.launch()
            graph.launch()
        stream.synchronize()
        for _ in range(80):
            host = fastact.silu(host, backend="cython")
        assert (bits(cp.asnumpy(x)) == bits(host)).all()
    finally:
        adapter.set_overlap(before)


@pytest.fixture(scope="module")
def torch() -> Any:
    """PyTorch, with a device."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available() or (reason := adapter.CupyBackend().missing()):
        pytest.skip("PyTorch has no CUDA device" if not torch.cuda.is_available() else str(reason))
    return torch


TENSORS = {
    "contiguous": lambda t: t,
    "channels last": lambda t: t.permute(0, 2, 1),
    "strided": lambda t: t[:, ::2],
    "misaligned": lambda t: t.reshape(-1)[1:],
    "expanded": lambda t: t[:1].expand(5, -1, -1),
    "empty": lambda t: t[:0],
    "scalar": lambda t: t[0, 0, 0],
}


@gpu
@pytest.mark.parametrize("layout", TENSORS)
@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "float64"])
def test_gpu_tensors(torch: Any, kind: str, layout: str) -> None:
    """Tensors in, tensors like ``torch.empty_like``'s out, with the CPU's bits; into tensors that are given, and in place."""
    t = TENSORS[layout](
        torch.randn(5, 6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(getattr(torch, kind)).cuda()
    )
    host = t.cpu().contiguous()
    dtype = np.dtype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)
    plain = (
        host.view(torch.int16).numpy().view(dtype) if host.dim() and kind == "bfloat16" else host.to(torch.float64).numpy().astype(dtype)
    )

    def same(found: Any, truth: Any) -> bool:
        assert isinstance(found, torch.Tensor)
        assert found.dtype == t.dtype
        assert found.device == t.device
        assert found.shape == t.shape
        return bool((bits(found.cpu().to(torch.float64).numpy()) == bits(np.asarray(truth, np.float64))).all())

    for call, args, arrays in (
        (fastact.elu, (t, 0.5), (plain, 0.5)),
        (fastact.mish.derivative, (t,), (plain,)),
        (fastact.gelu.backward, (t, t), (plain, plain)),
    ):
        truth = call(*arrays, backend="cython")
        for _ in range(2):
            found = call(*args)
            assert same(found, truth)
        if layout not in ("expanded", "strided"):
            assert found.stride() == torch.empty_like(t).stride()
        if layout != "expanded":
            out = torch.empty_like(t)
            assert call(*args, out=out) is out
            assert same(out, truth)
    if layout != "expanded":
        version = t._version
        assert fastact.silu(t, out=t) is t
        assert t._version > version
        assert same(t, fastact.silu(plain, backend="cython"))


@gpu
def test_gpu_tensors_of_other_families(torch: Any) -> None:
    pytest.importorskip("cupy")
    x = torch.randn(64, 256, device="cuda")
    host = x.cpu().numpy()
    for found, truth in (
        (fastact.swiglu(x), fastact.swiglu(host)),
        (fastact.softmax(x), fastact.softmax(host)),
        (fastact.softmax(x.T, axis=0), fastact.softmax(host.T, axis=0)),
        (fastact.prelu.backward(x, x, x[0].clone())[1], fastact.prelu.backward(host, host, host[0])[1]),
        (fastact.softmax_cross_entropy(x, torch.arange(64, device="cuda")), fastact.softmax_cross_entropy(host, np.arange(64))),
    ):
        assert isinstance(found, torch.Tensor)
        np.testing.assert_allclose(found.cpu().numpy(), truth, rtol=1e-5, atol=1e-6)


@gpu
def test_gpu_torch_streams_and_graphs(torch: Any) -> None:
    """On PyTorch's current stream, and captured by its graphs, with results from its pool."""
    stream = torch.cuda.Stream()
    x = torch.zeros(1 << 22, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        for _ in range(50):
            x += 1
        y = fastact.relu(x)
    stream.synchronize()
    assert float(y.min()) == 50.0
    fastact.warmup(fastact.gelu, fastact.gelu.backward, backend="cupy")
    x = torch.zeros(4099, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = fastact.gelu(x)
        dx = fastact.gelu.backward(y, x)
    for seed in (0, 1):
        host = np.random.default_rng(seed).normal(0, 3, 4099).astype(np.float32)
        x.copy_(torch.from_numpy(host))
        graph.replay()
        torch.cuda.synchronize()
        truth = fastact.gelu(host, backend="cython")
        assert (bits(y.cpu().numpy()) == bits(truth)).all()
        assert (bits(dx.cpu().numpy()) == bits(fastact.gelu.backward(truth, host, backend="cython"))).all()


@gpu
def test_gpu_torch_autograd_is_not_bypassed(torch: Any) -> None:
    x = torch.zeros(8, device="cuda", requires_grad=True)
    with pytest.raises(TypeError, match=r"x requires a gradient.*detach"):
        fastact.gelu(x)
    with torch.no_grad():
        assert not fastact.gelu(x).requires_grad
    assert type(fastact.gelu(torch.nn.Parameter(x.detach(), requires_grad=False))) is torch.Tensor


@gpu
def test_gpu_in_a_new_thread(torch: Any) -> None:
    """A thread in which nothing has used the device yet."""
    x = torch.linspace(-3, 3, 4099, device="cuda")
    truth = fastact.gelu(x)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: fastact.gelu(x), range(64)):
            assert torch.equal(found, truth)


@gpu
def test_gpu_devices(cp: Any) -> None:
    if cp.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("one device")
    with cp.cuda.Device(1):
        there = cp.linspace(-3, 3, 4099, dtype=np.float32)
    with cp.cuda.Device(0):
        here = cp.linspace(-3, 3, 4099, dtype=np.float32)
        found = fastact.silu(there)
        assert found.device.id == 1
        assert (bits(cp.asnumpy(found)) == bits(cp.asnumpy(fastact.silu(here)))).all()
        with pytest.raises(ValueError, match="different devices"):
            fastact.silu.backward(here, there)


@gpu
@pytest.mark.parametrize("shape", [(64, 10), (7, 1001), (3, 50257), (5, 33, 6)])
def test_gpu_softmax(cp: Any, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(0, 5, shape).astype(np.float32)
    for axis in (-1, 0):
        y = fastact.softmax(cp.asarray(x), axis=axis)
        np.testing.assert_allclose(cp.asnumpy(y), fastact.softmax(x, axis=axis, backend="cython"), rtol=5e-7, atol=1e-12)
        again = fastact.softmax(cp.asarray(x), axis=axis)
        assert (cp.asnumpy(y) == cp.asnumpy(again)).all(), "deterministic"
        grad = x[..., ::-1].copy()
        dx = fastact.softmax.backward(cp.asarray(grad), cp.asarray(x), axis=axis)
        np.testing.assert_allclose(cp.asnumpy(dx), fastact.softmax.backward(grad, x, axis=axis, backend="cython"), rtol=1e-5, atol=1e-6)


@gpu
def test_gpu_cache_hit_in_another_process(cp: Any, tmp_path: Path) -> None:
    """The second process compiles nothing."""
    code = (
        "import cupy, fastact; from fastact.backends import nvrtc; real = nvrtc.Nvrtc.compile\n"
        "def spy(*args): print('compiled'); return real(*args)\n"
        "nvrtc.Nvrtc.compile = spy; fastact.silu(cupy.ones(5, 'f4'))"
    )
    environment = {**os.environ, "FASTACT_CACHE_DIR": str(tmp_path)}
    command: Any = {"args": [sys.executable, "-c", code], "env": environment, "capture_output": True, "text": True, "check": True}
    output = [subprocess.run(**command).stdout for _ in range(2)]
    assert output == ["compiled\n", ""]
