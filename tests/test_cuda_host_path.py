"""The way of a call to a CUDA kernel, behind a stand-in for the driver: what is launched, where, with what, and what goes wrong."""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cuda_host import COMPILER, FakeArray, FakeParameter, FakeStream, FakeTensor, bits, fake_torch, forget, standing_in

import fastact
from fastact import dispatch, registry
from fastact.backends import cupy as adapter
from fastact.backends import nvrtc
from fastact.kernels.cpu import compiled

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cubins")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared_cache: Path) -> Iterator[types.SimpleNamespace]:
    with standing_in(monkeypatch, tmp_path, shared_cache) as made:
        yield made


@pytest.fixture
def torch(fake: Any, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """PyTorch beside CuPy."""
    made = fake_torch()
    monkeypatch.setitem(sys.modules, "torch", made)
    return made


def samples(kind: str, count: int = 1003) -> np.ndarray:
    return np.random.default_rng(count).normal(0, 3, count).astype(DTYPES[kind])


def general() -> int:
    """How many calls took the way through Python so far."""
    from fastact import activation

    return activation._calls.get("cupy", 0)


# ---------------------------------------------------------------- arguments, errors, devices


TEXT = """
namespace fastact {}
extern "C" __global__ void __launch_bounds__(32) probe(long long whole, float single, double real, int small, double *out) {
    if (threadIdx.x == 0) out[0] = static_cast<double>(whole), out[1] = single, out[2] = real, out[3] = small;
}
"""


def test_arguments(fake: Any) -> None:
    """Every kind of argument arrives as it was given; what the kernel does not take is refused before it is launched."""
    module, out = adapter._Module(TEXT), np.zeros(4)
    at = out.ctypes.data
    module.launch("probe", 0, 2, 32, (-(2**62), np.float32(0.1), np.float64(0.1), -7, at), shared=100)
    assert out.tolist() == [-(2.0**62), float(np.float32(0.1)), 0.1, -7.0]
    assert [fake.driver.last(w) for w in ("device", "grid", "block", "shared", "stream", "overlap")] == [0, 2, 32, 100, 0, 0]
    before = fake.driver.count()
    for args, message in (
        ((1, 2), "'probe' takes 5 arguments, not 2"),
        ((1, np.float64(1), np.float64(1), 1, at), "argument 1 of kernel 'probe' has 4 bytes, not 8"),
        ((1, np.float32(1), np.float32(1), 1, at), "argument 2 of kernel 'probe' has 8 bytes, not 4"),
        ((1, np.float32(1), "x", 1, at), "must be an int or a NumPy float, not str"),
    ):
        with pytest.raises(TypeError, match=message):
            module.launch("probe", 0, 1, 32, args)
    assert fake.driver.count() == before


def test_errors(fake: Any) -> None:
    """What the driver reports comes with the kernel's name and the error's; the next launch works."""
    module, out = adapter._Module(TEXT), np.zeros(4)
    args = (1, np.float32(1), np.float64(1), 1, out.ctypes.data)
    fake.driver.fail(716)
    with pytest.raises(
        compiled.CudaError, match=r"launch of 'probe' on CUDA device 0, 1 blocks of 32 threads: CUDA_ERROR_MISALIGNED_ADDRESS: as"
    ):
        module.launch("probe", 0, 1, 32, args)
    module.launch("probe", 0, 1, 32, args)
    with pytest.raises(compiled.CudaError, match="CUDA_ERROR_FAKE"):
        module.launch("probe", 0, 1, 2048, args)
    with pytest.raises(compiled.CudaError, match=r"'none' on CUDA device 0: CUDA_ERROR_FAKE"):
        module.launch("none", 0, 1, 32, ())
    with pytest.raises(compiled.CudaError, match="CUDA device 7"):
        module.launch("probe", 7, 1, 32, args)
    with pytest.raises(OverflowError):
        module.launch("probe", 0, -1, 32, args)


def test_shared_memory(fake: Any) -> None:
    """Beyond 48 KB it has to be asked for, up to what a device has."""
    module, args = adapter._Module(TEXT), (1, np.float32(1), np.float64(1), 1, np.zeros(4).ctypes.data)
    args = (*args[:4], (out := np.zeros(4)).ctypes.data)
    for shared in (48 << 10, 100 << 10, 227 << 10, 1 << 10):
        module.launch("probe", 0, 1, 32, args, shared=shared)
        assert fake.driver.last("shared") == shared
    with pytest.raises(compiled.CudaError, match=r"\d+ bytes of shared memory"):
        module.launch("probe", 0, 1, 32, args, shared=228 << 10)
    assert out[0] == 1


def test_devices_and_threads(fake: Any) -> None:
    """A kernel runs in the context of its device, whichever is current before and after, and in threads that have none."""
    module, out = adapter._Module(TEXT), np.zeros(4)
    args = (5, np.float32(1), np.float64(1), 1, out.ctypes.data)
    module.launch("probe", 1, 1, 32, args, stream=9)
    assert (fake.driver.last("device"), fake.driver.last("stream"), fake.driver.current()) == (1, 9, 0)

    def alone() -> None:
        found.append(fake.driver.current())
        module.launch("probe", 1, 1, 32, args)
        found.append(fake.driver.current())

    found: list[int] = []
    thread = threading.Thread(target=alone)
    thread.start()
    thread.join()
    assert found == [-1, 1], "as after the runtime's own launches"
    assert fake.compiler.compiled <= 1


def test_another_driver(fake: Any) -> None:
    """Kernels of a driver that was replaced are not launched."""
    module, out = adapter._Module(TEXT), np.zeros(4)
    args = (5, np.float32(1), np.float64(1), 1, out.ctypes.data)
    module.launch("probe", 0, 1, 32, args)
    compiled.cuda_open(fake.driver.path)
    with pytest.raises(compiled.CudaError, match="a driver that is gone"):
        module.launch("probe", 0, 1, 32, args)


# ---------------------------------------------------------------- the fast path, on CuPy arrays


def wanted(call: Any, *arrays: np.ndarray, **options: Any) -> np.ndarray:
    found: np.ndarray = call(*arrays, backend="cython", **options)
    return found


@pytest.mark.parametrize("kind", ["bfloat16", "float32", "float64"])
def test_fast_path(fake: Any, kind: str) -> None:
    """From the second call on compiled code serves: every direction, out=, parameters, accuracies, sizes."""
    x, grad = samples(kind), samples(kind)[::-1].copy()
    there, up = x.view(FakeArray), grad.view(FakeArray)
    calls: list[tuple[Any, list[Any], dict[str, Any]]] = [
        (fastact.elu, [there], {}),
        (fastact.elu, [there, 0.5], {}),
        (fastact.elu, [there], {"alpha": 2, "accuracy": "precise"}),
        (fastact.silu.derivative, [there], {}),
        (fastact.silu.backward, [up, there], {}),
        (fastact.tanh.backward_from_output, [up, np.tanh(there).view(FakeArray)], {}),
    ]
    fastact.relu(there)
    before = general()
    for call, args, options in calls:
        truth = call(*(np.asarray(a) if isinstance(a, FakeArray) else a for a in args), backend="cython", **options)
        for backend in (None, "cupy"):
            found = call(*args, backend=backend, **options)
            assert type(found) is FakeArray
            assert (bits(found) == bits(truth)).all()
        out = np.empty_like(there)
        assert call(*args, out=out, **options) is out
        assert (bits(out) == bits(truth)).all()
    value, slope = fastact.mish.value_and_derivative(there)
    outs = (np.empty_like(there), None)
    again = fastact.mish.value_and_derivative(there, out=outs)
    assert again[0] is outs[0]
    for found, truth in zip((value, slope, *again), 2 * fastact.mish.value_and_derivative(x, backend="cython"), strict=True):
        assert (bits(found) == bits(truth)).all()
    for size in (0, 1, 7, 1000):
        part = there[:size]
        assert (bits(fastact.elu(part)) == bits(wanted(fastact.elu, x[:size]))).all()
        assert (bits(fastact.elu(there[3 : 3 + size])) == bits(wanted(fastact.elu, x[3 : 3 + size]))).all(), "not aligned"
    shaped = there[:1000].reshape(10, 1, 100)
    assert fastact.elu(shaped).shape == (10, 1, 100)
    assert fastact.elu(there[5].reshape(())).shape == ()
    assert general() == before, "no call went through Python"
    inplace = there.copy()
    assert fastact.elu(inplace, out=inplace) is inplace
    assert (bits(inplace) == bits(wanted(fastact.elu, x))).all()


def test_what_the_fast_path_leaves(fake: Any) -> None:
    """All else goes through Python, with its results and its errors."""
    x = samples("float32").view(FakeArray)
    fastact.silu(x), fastact.elu(x)
    other = x.copy()
    other.number = 1
    cases: list[Any] = [
        lambda: fastact.silu(x[::2]),
        lambda: fastact.silu(x[:1000].reshape(10, 100).T),
        lambda: fastact.elu(x, np.full(1, 0.5, np.float32).view(FakeArray)),
        lambda: fastact.silu.derivative(x, order=2),
        lambda: fastact.silu(x, out=np.empty(2 * x.size, np.float32).view(FakeArray)[::2]),
        lambda: fastact.silu(x[1:], out=x[:-1].copy().view(FakeArray)) is None or fastact.silu(x.copy()[1:].view(FakeArray)[::-1]),
        lambda: fastact.silu((x > 0).astype("int32").view(FakeArray)),
        lambda: fastact.silu(other),
    ]
    for i, case in enumerate(cases):
        before = general()
        case()
        assert general() > before, i
    base = x.copy()
    truth = wanted(fastact.silu, np.asarray(base[1:]))
    fastact.silu(base[1:], out=base[:-1])
    assert (bits(base[:-1]) == bits(truth)).all(), "overlapping, not the same"
    for case, error, message in (
        (lambda: fastact.silu(x, out=other), ValueError, "different devices"),
        (lambda: fastact.silu.backward(x[1:], x), ValueError, "grad has shape"),
        (lambda: fastact.silu(x, backend="cython"), ValueError, "takes numpy arrays"),
        (lambda: fastact.silu(x, backend="none"), ValueError, "backend must be"),
        (lambda: fastact.leaky_relu(x, 0.1, 0.2), TypeError, "by position"),
        (lambda: fastact.prelu(x), TypeError, "missing required parameter"),
    ):
        with pytest.raises(error, match=message):
            case()


def test_contexts_reach_the_fast_path(fake: Any) -> None:
    x = samples("float32").view(FakeArray)
    fastact.gelu(x)
    with dispatch.use_accuracy("precise"):
        assert (bits(fastact.gelu(x)) == bits(wanted(fastact.gelu, np.asarray(x), accuracy="precise"))).all()
    with dispatch.use_backend("cupy"):
        assert (bits(fastact.gelu(x)) == bits(wanted(fastact.gelu, np.asarray(x)))).all()
    with dispatch.use_backend("cython"), pytest.raises(ValueError, match="takes numpy arrays"):
        fastact.gelu(x)


def test_streams_and_devices(fake: Any) -> None:
    x = samples("float32").view(FakeArray)
    fastact.gelu(x)
    with FakeStream(0x55):
        fastact.gelu(x)
        assert fake.driver.last("stream") == 0x55
        fastact.softmax(x.reshape(17, 59))
        assert fake.driver.last("stream") == 0x55
    fastact.gelu(x)
    assert fake.driver.last("stream") == 0
    with fake.cupy.cuda.Device(1):
        there = x.copy()
        there.number = 1
        for _ in range(2):
            fastact.gelu(there)
            assert fake.driver.last("device") == 1
        fastact.gelu(x)  # of the other device
        assert (fake.driver.last("device"), fake.driver.current()) == (0, 1)


def test_counts(fake: Any) -> None:
    x = samples("float32").view(FakeArray)
    with fastact.count_calls() as calls:
        for _ in range(5):
            fastact.gelu(x)
    assert calls == {"cupy": 5}


# ---------------------------------------------------------------- tensors


@pytest.mark.parametrize("kind", DTYPES)
def test_tensors(torch: Any, fake: Any, kind: str) -> None:
    """Tensors in, tensors out, on PyTorch's stream, with the CPU's bits."""
    x, grad = samples(kind).reshape(17, 59), samples(kind)[::-1].copy().reshape(17, 59)
    there, up = FakeTensor(x.copy()), FakeTensor(grad)
    for call, args, arrays in (
        (fastact.elu, [there, 0.5], [x, 0.5]),
        (fastact.silu.derivative, [there], [x]),
        (fastact.silu.backward, [up, there], [grad, x]),
    ):
        truth = call(*arrays, backend="cython")
        found = call(*args)
        assert type(found) is FakeTensor
        assert found.shape == x.shape
        assert found.dtype is there.dtype
        assert (bits(found.array) == bits(truth)).all()
        assert fake.driver.last("stream") == 0x70
        out = FakeTensor(np.empty_like(x))
        assert call(*args, out=out) is out
        assert (bits(out.array) == bits(truth)).all()
        assert out.version == 1, "autograd is told of it"
    value, slope = fastact.mish.value_and_derivative(there)
    assert (bits(value.array) == bits(fastact.mish(x, backend="cython"))).all()
    assert (bits(slope.array) == bits(fastact.mish.derivative(x, backend="cython"))).all()
    assert fastact.elu(FakeTensor(x[:0])).shape == (0, 59)
    on_other = FakeTensor(x.copy(), 1)
    found = fastact.elu(on_other)
    assert (found.number, fake.driver.last("device"), fake.driver.last("stream"), fake.driver.current()) == (1, 1, 0x71, 0)
    assert fastact.explain(fastact.gelu, there).backend == "cupy"


def test_tensors_without_cupy(torch: Any, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elementwise calls need nothing but PyTorch, however tensors lie; others say what they need."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    registry.forget()
    x = samples("float32", 840).reshape(5, 6, 28)
    for name, array in {
        "strided": x[:, ::2], "permuted": x.transpose(2, 0, 1), "broadcast": np.broadcast_to(x[0], x.shape), "empty": x[:, :0, ::2]
    }.items():  # fmt: skip
        truth = fastact.silu(np.ascontiguousarray(array), backend="cython")
        found = fastact.silu(FakeTensor(array))
        assert found.shape == array.shape
        assert (bits(found.array) == bits(truth)).all(), name
        if name == "permuted":
            assert found.stride() == FakeTensor(array).stride(), "the memory format is kept"
        if name != "broadcast":
            out = FakeTensor(np.full(array.shape, 7, np.float32))  # lies otherwise than x
            assert fastact.silu(FakeTensor(array), out=out) is out
            assert (bits(out.array) == bits(truth)).all(), name
            again = FakeTensor(array.copy(order="K"))
            assert fastact.silu(again, out=again) is again
            assert (bits(again.array) == bits(truth)).all(), name
        grads = fastact.silu.backward(FakeTensor(np.ascontiguousarray(array)), FakeTensor(array))
        assert (bits(grads.array) == bits(fastact.silu.backward(*[np.ascontiguousarray(array)] * 2, backend="cython"))).all(), name
    base = samples("float32")
    truth = fastact.silu(base[1:].copy(), backend="cython")
    fastact.silu(FakeTensor(base[1:]), out=FakeTensor(base[:-1]))
    assert (bits(base[:-1]) == bits(truth)).all(), "overlapping"
    for call in (lambda: fastact.softmax(FakeTensor(x)), lambda: fastact.prelu(FakeTensor(x), FakeTensor(x[0, 0]))):
        with pytest.raises(RuntimeError, match="needs CuPy beside PyTorch"):
            call()


def test_tensors_of_other_families(torch: Any, fake: Any) -> None:
    """Gated, row-wise, learnable and fused functions and losses: as on CuPy arrays, and results are PyTorch's memory."""
    x, w = samples("float32", 240).reshape(6, 40), samples("float32", 40)
    there, weight = FakeTensor(x), FakeTensor(w)

    def check(found: Any, truth: Any) -> None:
        if isinstance(truth, tuple):
            for f, t in zip(found, truth, strict=True):
                check(f, t)
            return
        assert isinstance(found, FakeTensor)
        np.testing.assert_allclose(np.asarray(found.array, np.float64), np.asarray(truth, np.float64), rtol=2e-6, atol=1e-6)

    check(fastact.swiglu(there), fastact.swiglu(x))
    check(fastact.swiglu.backward(FakeTensor(x[:, 20:].copy()), there), fastact.swiglu.backward(x[:, 20:].copy(), x))
    check(fastact.softmax(there), fastact.softmax(x))
    check(fastact.softmax(there, axis=0, return_lse=True), fastact.softmax(x, axis=0, return_lse=True))
    check(fastact.prelu.backward(there, there, weight), fastact.prelu.backward(x, x, w))
    check(fastact.bias_act(there, weight, "gelu"), fastact.bias_act(x, w, "gelu"))
    check(fastact.softmax_cross_entropy(there, FakeTensor(np.arange(6))), fastact.softmax_cross_entropy(x, np.arange(6)))
    check(fastact.relu.forward_with_mask(there), fastact.relu.forward_with_mask(x))
    check(fastact.silu.derivative(there, order=2), fastact.silu.derivative(x, order=2))
    out = FakeTensor(np.empty_like(x))
    assert fastact.softmax(there, out=out) is out
    check(out, fastact.softmax(x))
    assert out.version == 1
    assert fake.driver.last("stream") == 0x70
    half = FakeTensor(x.astype(ml_dtypes.bfloat16))
    assert fastact.softmax(half).dtype is torch.bfloat16


class Hollow(FakeTensor):
    """A wrapper, as tensors that are spread over devices."""

    def data_ptr(self) -> int:
        return 0


def test_what_tensors_are_refused(torch: Any, fake: Any) -> None:
    x = samples("float32")
    there = FakeTensor(x)
    for case, error, message in (
        (lambda: fastact.gelu(FakeTensor(x, requires_grad=True)), TypeError, r"gelu: x requires a gradient.*x.detach\(\)"),
        (lambda: fastact.softmax(FakeTensor(x, requires_grad=True)), TypeError, "requires a gradient"),
        (lambda: fastact.gelu.backward(there, FakeTensor(x, 1)), ValueError, "different devices: grad on 0, x on 1"),
        (lambda: fastact.gelu.backward(FakeTensor(x, -1), there), TypeError, "different kinds: grad is a tensor on cpu"),
        (lambda: fastact.gelu.backward(x, there), TypeError, "different kinds: grad is a numpy.ndarray"),
        (lambda: fastact.gelu(Hollow(x)), TypeError, "x is a Hollow without memory of its own"),
        (lambda: fastact.gelu(there, backend="cython"), ValueError, "takes numpy arrays"),
        (lambda: fastact.gelu(there, out=FakeTensor(x[1:])), ValueError, "out has shape"),
    ):
        for _ in range(2):
            with pytest.raises(error, match=message):
                case()
        fastact.gelu(there)
    torch.recording = False
    truth = fastact.gelu(x, backend="cython")
    for made in (FakeTensor(x, requires_grad=True), FakeParameter(x, requires_grad=True)):
        found = fastact.gelu(made)
        assert type(found) is FakeTensor
        assert (bits(found.array) == bits(truth)).all()


# ---------------------------------------------------------------- overlapped launches


def test_overlap(fake: Any) -> None:
    """Chosen by `set_overlap`: then kernels say so when they are launched, and wait before they do anything else."""
    x = samples("float32").view(FakeArray)
    for _ in range(2):
        fastact.gelu(x)
        assert fake.driver.last("overlap") == 0
    assert adapter.set_overlap(True) is False
    try:
        for _ in range(2):
            found = fastact.gelu(x)
            assert fake.driver.last("overlap") == 1
        assert (bits(found) == bits(wanted(fastact.gelu, np.asarray(x)))).all()
        fastact.softmax(x.reshape(17, 59))
        assert fake.driver.last("overlap") == 0, "kernels that do not wait"
        fake.driver.capability(80)
        registry.forget()
        compiled.cuda_forget()
        fastact.gelu(x)
        assert fake.driver.last("overlap") == 0, "devices that cannot"
    finally:
        fake.driver.capability(90)
        assert adapter.set_overlap(False) is True
    text = adapter.CupyBackend()._elementwise("gelu", "value", "float32", False, True).text
    body = text[text.index("elementwise(const void") :]
    assert body.index("griddepcontrol.wait") < body.index("const void *const in")
    assert "griddepcontrol" not in adapter.CupyBackend()._elementwise("gelu", "value", "float32", False, False).text


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_120"])
def test_overlap_compiles(architecture: str) -> None:
    """The instructions are there where the device has them, and nowhere else."""
    try:
        compiler = nvrtc.load()
    except nvrtc.NvrtcError as missing:
        pytest.skip(str(missing))
    text = adapter.CupyBackend()._elementwise("relu", "value", "float32", False, True).text
    ptx = compiler.compile(text, architecture.replace("sm", "compute")).decode()
    assert ptx.count("griddepcontrol.wait") == (architecture != "sm_80")
    if architecture != "sm_80":
        assert ptx.index("griddepcontrol.wait") < ptx.index("ld.global"), "before anything is read"
    assert compiler.compile(text, architecture)


# ---------------------------------------------------------------- compiled ahead, and found again


CALLS: dict[str, Callable[[Any], Any]] = {
    "elementwise": fastact.mish,
    "rows on the chip": fastact.softmax,
    "rows anywhere": lambda x: fastact.softmax(x[:, ::2]),
    "columns": lambda x: fastact.softmax(x, axis=0),
}


@pytest.mark.parametrize("name", CALLS)
def test_start(fake: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """From a cache nothing is assembled: neither definitions are read nor NVRTC is loaded."""
    call = CALLS[name]
    monkeypatch.setenv("FASTACT_CACHE_DIR", str(tmp_path / "cache"))
    x = samples("float32", 1024).reshape(16, 64).view(FakeArray)
    forget()
    truth = bits(np.asarray(call(x)))
    assert fake.compiler.compiled == 1

    def never(*_: Any) -> Any:
        raise AssertionError("not needed")

    forget()
    with monkeypatch.context() as m:
        m.setattr(adapter.nvrtc, "load", never)
        m.setattr(adapter, "unit", never)
        m.setattr(adapter, "_program", never)
        assert (bits(np.asarray(call(x))) == truth).all()
    monkeypatch.setattr(adapter, "_sources", lambda: "another text")
    forget()
    assert (bits(np.asarray(call(x))) == truth).all()
    assert fake.compiler.compiled == 2, "other sources, another kernel"


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_damaged_cache(fake: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: bytes | None) -> None:
    """What is not what was written is compiled again, and replaced."""
    monkeypatch.setenv("FASTACT_CACHE_DIR", str(tmp_path / "cache"))
    made = []
    for _ in range(3):
        made.append(adapter.cubin(lambda: TEXT, "named", 90))
        (path,) = (tmp_path / "cache" / "cuda").iterdir()
        if len(made) == 1:
            whole = path.read_bytes()
            path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage is None else damage)
    assert fake.compiler.compiled == 2
    assert made[1] == made[2] == path.read_bytes()[adapter.CHECKSUM :]


def test_warmup(fake: Any, torch: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Afterwards calls compile and load nothing, so they can be captured."""
    monkeypatch.setenv("FASTACT_CACHE_DIR", str(tmp_path / "cache"))
    fastact.warmup(fastact.gelu, "silu", fastact.mish.backward, fastact.softmax, dtypes=["bfloat16"], backend="cupy", device=1)
    before = fake.compiler.compiled
    assert before == 4
    with fake.cupy.cuda.Device(1):
        x = samples("bfloat16").view(FakeArray)
        x.number = 1
        fastact.gelu(x), fastact.silu(x), fastact.mish.backward(x, x)
        fastact.gelu(FakeTensor(samples("bfloat16"), 1))
        with monkeypatch.context() as m:
            m.setattr(compiled, "load_cuda", None)
            fastact.gelu(x), fastact.silu(x), fastact.mish.backward(x, x)
    assert fake.compiler.compiled == before


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (["gelu"], {"device": 0}, ValueError, "device is for backend 'cupy'"),
        (["none"], {"backend": "cupy"}, ValueError, "none"),
        ([abs], {"backend": "cupy"}, TypeError, "functions must be activations"),
        (["gelu"], {"backend": "cupy", "device": 5}, compiled.CudaError, "CUDA device 5"),
    ],
)
def test_warmup_mistakes(fake: Any, arguments: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        fastact.warmup(*arguments, **options)
