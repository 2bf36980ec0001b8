"""CUDA text compiled for the CPU, and stand-ins for the CUDA driver and CuPy that run it: the GPU path judged without a GPU."""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import pytest

from fastact import registry
from fastact.arrays import numpy as numpy_arrays
from fastact.backends import cuda_rows, nvrtc
from fastact.kernels.cpu import compiled

SHIM = Path(__file__).with_name("host_shim.hpp")
COMPILER = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
FLAGS = ("-std=c++17", "-O1", "-shared", "-fPIC", "-march=native", "-ffp-contract=off", "-fwrapv", "-Wno-unknown-pragmas")
ENTRY = re.compile(r'extern "C" __global__ void (?:__cluster_dims__\((\d+), 1, 1\) )?__launch_bounds__\([\d, ]+\) (\w+)\(([^)]*)\)')


def launchers(text: str) -> Iterator[str]:
    """For each entry point a function that runs its whole grid."""
    for cluster, name, parameters in ENTRY.findall(text):
        call = f"{name}({', '.join(p.split()[-1].lstrip('*') for p in parameters.split(','))})"
        head = f'extern "C" void launch_{name}(unsigned grid, unsigned block, unsigned shared, {parameters})'
        yield f"{head} {{ launch(grid, block, {cluster or 1}, shared, [=] {{ {call}; }}); }}"
        kinds = [p.strip()[: len(p.strip()) - len(p.split()[-1].lstrip("*"))].strip() for p in parameters.split(",")]
        given = ", ".join(f"*({kind} *)given[{i}]" for i, kind in enumerate(kinds))
        head = f'extern "C" void params_{name}(unsigned grid, unsigned block, unsigned shared, void **given)'
        yield f"{head} {{ launch_{name}(grid, block, shared, {given}); }}"
        yield f'extern "C" const char sizes_{name}[] = {{{", ".join(f"sizeof({kind})" for kind in kinds)}, 0}};'


def build(text: str, path: Path) -> None:
    """Compile CUDA text to a shared library."""
    assert COMPILER, "a C++ compiler"
    barriers = "#define FASTACT_HOST_BARRIERS\n" if re.search("__sync|__shfl|__ballot|cluster_", text) else ""
    source = path.with_suffix(".cpp")
    source.write_text("\n".join([barriers + SHIM.read_text(), text, "using namespace fastact;", *launchers(text)]))
    subprocess.run([COMPILER, *FLAGS, "-o", path, source], check=True)


def launch(library: ctypes.CDLL, entry: str, grid: int, block: int, args: tuple[Any, ...], shared: int = 0) -> None:
    """Run a kernel of a library: integers and pointers as 64 bits, NumPy's floats as they are.

    A vector access at a misaligned address, which would end the program on a GPU, is an error, as is a barrier that not all come to.
    """
    kinds: dict[type, Any] = {int: ctypes.c_longlong, np.float32: ctypes.c_float, np.float64: ctypes.c_double}
    getattr(library, f"launch_{entry}")(
        ctypes.c_uint(grid), ctypes.c_uint(block), ctypes.c_uint(shared), *(kinds[type(a)](a) for a in args)
    )
    assert not library.faults_found()


def bits(x: Any) -> np.ndarray:
    """The bit patterns, all NaNs as one."""
    found = np.array(x).view(f"u{x.itemsize}")
    found[np.isnan(x)] = np.iinfo(found.dtype).max
    return found


def aligned(values: Any, dtype: Any, offset: int = 0) -> np.ndarray:
    """A copy that begins `offset` elements after a multiple of 64 bytes."""
    values = np.asarray(values, dtype)
    room = np.empty((values.size + offset) * values.itemsize + 64, np.uint8)
    start = -room.ctypes.data % 64 + offset * values.itemsize
    result = room[start : start + values.nbytes].view(dtype)
    result[:] = values.reshape(-1)
    return np.asarray(result)


# ---------------------------------------------------------------- a stand-in for CuPy


class FakeArray(np.ndarray):
    """A NumPy array with the attributes that a launch reads."""

    number = 0
    memory: Any = None

    def __new__(cls, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None) -> FakeArray:
        if memptr is None and FakeAllocator.current is not None:
            memptr = FakeAllocator.current(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        if memptr is None:
            return super().__new__(cls, shape, dtype, strides=strides)
        # Only addresses are known, as on a device. An address may be in the middle, with negative strides; here it is not.
        span = (ctypes.c_char * max(memptr.mem.size, np.dtype(dtype).itemsize)).from_address(memptr.ptr or id(memptr))
        made = super().__new__(cls, shape, dtype, np.frombuffer(span, np.uint8), 0, strides)
        made.number, made.memory = memptr.device_id, memptr.mem
        return made

    def __array_finalize__(self, parent: Any) -> None:
        self.number = getattr(parent, "number", 0)
        self.memory = getattr(parent, "memory", None)

    @property
    def data(self) -> Any:
        held = self.memory  # of whatever it was made from: what was computed anew lies elsewhere
        inside = held is not None and held.ptr <= self.ctypes.data < held.ptr + max(held.size, 1)
        return types.SimpleNamespace(
            ptr=self.ctypes.data, device_id=self.number, mem=held if inside else types.SimpleNamespace(ptr=self.ctypes.data)
        )

    @property
    def device(self) -> Any:
        return types.SimpleNamespace(id=self.number)


class FakeCompiler:
    """Stands in for `nvrtc.Nvrtc`: the "cubin" is a shared library."""

    version = (0, 0)

    def __init__(self, folder: Path) -> None:
        self.folder, self.compiled = folder, 0

    def target(self, capability: int) -> str:
        return f"sm_{capability}"

    def compile(self, text: str, target: str) -> bytes:
        self.compiled += 1
        path = self.folder / f"{self.compiled}.so"
        build(text, path)
        return path.read_bytes()


class FakeDriver:
    """The stand-in for libcuda, of which the compiled launch knows nothing; its `fake_...` functions are for the tests."""

    LAST = ("device", "overlap", "grid", "block", "shared", "stream", "capture_mode")

    def __init__(self, path: str) -> None:
        self.path, self.library = path, ctypes.CDLL(path)
        for name in ("fake_count", "fake_last"):
            getattr(self.library, name).restype = ctypes.c_long

    def last(self, what: str) -> int:
        """Of the last launch."""
        return int(self.library.fake_last(self.LAST.index(what)))

    def modules(self) -> list[ctypes.CDLL]:
        """The libraries of all that was loaded."""
        handles = (ctypes.c_void_p * self.library.fake_modules(None))()
        self.library.fake_modules(handles)
        return [ctypes.CDLL(self.path, handle=handle) for handle in handles]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.library, f"fake_{name}")

    def enter(self, device: int) -> None:
        """Make a device's context the current one, as the runtime does."""
        context = ctypes.c_void_p()
        self.library.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
        self.library.cuCtxSetCurrent(context)


@functools.cache
def driver() -> FakeDriver:
    """Built once."""
    path = Path(tempfile.mkdtemp(prefix="fastact-driver-")) / "libcuda_stand_in.so"
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    assert COMPILER, "a C++ compiler"
    subprocess.run([COMPILER, "-std=c++17", "-O1", "-shared", "-fPIC", "-o", path, SHIM.with_name("fake_cuda.cpp"), "-ldl"], check=True)
    return FakeDriver(str(path))


class FakeDevice:
    compute_capability = "90"
    attributes = {"MaxSharedMemoryPerBlockOptin": 227 * 1024}  # noqa: RUF012

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> None:
        self.before = driver().current()
        driver().enter(self.number)

    def __exit__(self, *_: object) -> None:
        driver().enter(self.before)


class FakeStream:
    """A stream, which does nothing but have an address."""

    current = 0

    def __init__(self, ptr: int, device_id: int = 0) -> None:
        self.ptr = ptr

    def __enter__(self) -> None:
        self.before, FakeStream.current = FakeStream.current, self.ptr

    def __exit__(self, *_: object) -> None:
        FakeStream.current = self.before


class FakeMemory:
    def __init__(self, ptr: int, size: int, owner: Any, device_id: int) -> None:
        self.ptr, self.size, self.owner, self.device_id = ptr, size, owner, device_id


class FakePointer:
    def __init__(self, mem: FakeMemory, offset: int) -> None:
        self.mem, self.ptr, self.device_id = mem, mem.ptr + offset, mem.device_id


class FakeAllocator:
    """As ``cupy.cuda.using_allocator``."""

    current: Any = None

    def __init__(self, allocate: Any) -> None:
        self.allocate = allocate

    def __enter__(self) -> None:
        self.before, FakeAllocator.current = FakeAllocator.current, self.allocate

    def __exit__(self, *_: object) -> None:
        FakeAllocator.current = self.before


def _wrapped(function: Any) -> Any:
    return lambda *args, **kwargs: function(*args, **kwargs).view(FakeArray)


def fake_cupy() -> types.ModuleType:
    """A module with as much of CuPy as fastact uses."""
    cupy: Any = types.ModuleType("cupy")
    cupy.empty = lambda shape, dtype=float: FakeArray(shape, dtype)
    cupy.full = lambda shape, value, dtype: np.full(shape, value, dtype).view(FakeArray)
    cupy.asarray = lambda a, *args: a if isinstance(a, FakeArray) and not args else np.asarray(a, *args).view(FakeArray)
    for name in ("array", "ascontiguousarray", "zeros", "arange", "argsort"):
        setattr(cupy, name, _wrapped(getattr(np, name)))
    cupy.may_share_memory = np.may_share_memory
    cupy.broadcast_to = lambda a, shape: np.broadcast_to(a, shape, subok=True)
    cupy.ndarray, cupy.__version__ = FakeArray, "0"
    runtime = types.SimpleNamespace(getDevice=lambda: driver().current())
    cupy.cuda = types.SimpleNamespace(runtime=runtime, Device=FakeDevice, get_current_stream=lambda: FakeStream(FakeStream.current))
    cupy.cuda.UnownedMemory, cupy.cuda.MemoryPointer, cupy.cuda.using_allocator = FakeMemory, FakePointer, FakeAllocator
    cupy.cuda.ExternalStream = FakeStream
    return cupy  # type: ignore[no-any-return]


# ---------------------------------------------------------------- a stand-in for PyTorch


class FakeDtype:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    @property
    def numpy(self) -> Any:
        return np.dtype(ml_dtypes.bfloat16 if self.name == "bfloat16" else self.name)


class FakeTensor:
    """A NumPy array with the interface of a tensor on a CUDA device, as far as fastact uses it."""

    dtypes: ClassVar = {n: FakeDtype(n) for n in ("float16", "bfloat16", "float32", "float64", "uint8", "int16", "int64", "bool")}

    def __init__(self, array: np.ndarray, device: int = 0, requires_grad: bool = False) -> None:
        self.array, self.number, self.requires_grad, self.is_cuda, self.version = array, device, requires_grad, device >= 0, 0

    dtype = property(lambda self: self.dtypes[self.array.dtype.name])
    shape = property(lambda self: self.array.shape)
    ndim = property(lambda self: self.array.ndim)
    device = property(lambda self: f"cuda:{self.number}" if self.is_cuda else "cpu")

    def _made(self, array: np.ndarray) -> FakeTensor:
        return FakeTensor(array, self.number)

    def is_contiguous(self) -> bool:
        return self.array.flags.c_contiguous

    def is_neg(self) -> bool:
        return False

    def numel(self) -> int:
        return self.array.size

    def element_size(self) -> int:
        return self.array.itemsize

    def data_ptr(self) -> int:
        return self.array.ctypes.data if self.array.size else 0

    def get_device(self) -> int:
        return self.number

    def stride(self, axis: int | None = None) -> Any:
        found = tuple(s // self.array.itemsize for s in self.array.strides)
        return found if axis is None else found[axis]

    def permute(self, axes: Any) -> FakeTensor:
        return self._made(self.array.transpose(axes))

    def contiguous(self) -> FakeTensor:
        return self if self.is_contiguous() else self._made(np.ascontiguousarray(self.array))

    def detach(self) -> FakeTensor:
        return self._made(self.array)

    resolve_neg = detach

    def as_subclass(self, kind: type) -> FakeTensor:
        return self

    def copy_(self, other: FakeTensor) -> FakeTensor:
        self.array[...] = other.array
        return self

    def view(self, dtype: FakeDtype) -> FakeTensor:
        return self._made(self.array.view(dtype.numpy))

    def untyped_storage(self) -> np.ndarray:
        return self.array

    def set_(self, storage: np.ndarray, offset: int, shape: Any, strides: Any) -> FakeTensor:
        step = self.array.itemsize
        self.array = np.ndarray(shape, self.array.dtype, storage, offset * step, tuple(s * step for s in strides))
        return self


class FakeParameter(FakeTensor):
    """A subclass, as ``torch.nn.Parameter``."""


def fake_torch() -> types.ModuleType:
    """A module with as much of PyTorch as fastact uses."""
    torch: Any = types.ModuleType("torch")
    vars(torch).update(FakeTensor.dtypes)
    torch.Tensor, torch.__version__, torch.recording = FakeTensor, "0", True
    torch.is_grad_enabled = lambda: torch.recording
    torch.empty_like = lambda t: FakeTensor(np.empty_like(t.array), t.number)
    torch.empty = lambda shape, dtype, device: FakeTensor(np.empty(shape, dtype.numpy), int(str(device).rpartition(":")[2]))
    torch.as_tensor = lambda a, device: FakeTensor(np.array(a), int(str(device).rpartition(":")[2]))
    torch.cuda = types.SimpleNamespace(current_stream=lambda device: types.SimpleNamespace(cuda_stream=0x70 + device))
    torch._C = types.SimpleNamespace()

    def increment_version(tensor: FakeTensor) -> None:
        tensor.version += 1

    torch.autograd = types.SimpleNamespace(graph=types.SimpleNamespace(increment_version=increment_version))
    return torch  # type: ignore[no-any-return]


#: What is made for one driver and kept outside the backend.
CACHED = (cuda_rows._general, cuda_rows._on_chip, cuda_rows._columns, cuda_rows.device_facts)


@contextmanager
def standing_in(monkeypatch: pytest.MonkeyPatch, folder: Path, cache: Path) -> Iterator[types.SimpleNamespace]:
    """Put the stand-ins in the places of the driver, CuPy and NVRTC: kernels run on the CPU."""
    cupy, compiler = fake_cupy(), FakeCompiler(folder)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(nvrtc, "load", lambda driver=None: compiler)
    monkeypatch.setattr(nvrtc, "identity", lambda driver: repr(compiler.version))
    monkeypatch.setattr(numpy_arrays, "owns", lambda value: isinstance(value, np.ndarray) and not isinstance(value, FakeArray))
    monkeypatch.setenv("FASTACT_CACHE_DIR", str(cache))
    forget()
    compiled.cuda_open(driver().path)
    driver().enter(0)
    yield types.SimpleNamespace(cupy=cupy, compiler=compiler, backend=registry.get("cupy"), driver=driver())
    driver().leave()
    compiled.cuda_open("")
    forget()


def forget() -> None:
    """Forget the backend, its kernels and what it knows of devices: another driver has others."""
    registry.forget()
    compiled.cuda_forget()
    for made in CACHED:
        made.cache_clear()
