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
from typing import Any

import numpy as np
import pytest

from fastact import registry
from fastact.arrays import numpy as numpy_arrays
from fastact.backends import nvrtc
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


# ---------------------------------------------------------------- a stand-in for CuPy


class FakeArray(np.ndarray):
    """A NumPy array with the attributes that a launch reads."""

    number = 0

    def __array_finalize__(self, parent: Any) -> None:
        self.number = getattr(parent, "number", 0)

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(ptr=self.ctypes.data, device_id=self.number)

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

    def __init__(self, ptr: int) -> None:
        self.ptr = ptr


def _wrapped(function: Any) -> Any:
    return lambda *args, **kwargs: function(*args, **kwargs).view(FakeArray)


def fake_cupy() -> types.ModuleType:
    """A module with as much of CuPy as fastact uses."""
    cupy: Any = types.ModuleType("cupy")
    for name in ("empty", "asarray", "array", "ascontiguousarray", "zeros", "arange", "argsort"):
        setattr(cupy, name, _wrapped(getattr(np, name)))
    cupy.may_share_memory = np.may_share_memory
    cupy.broadcast_to = lambda a, shape: np.broadcast_to(a, shape, subok=True)
    cupy.ndarray, cupy.__version__ = FakeArray, "0"
    runtime = types.SimpleNamespace(getDevice=lambda: driver().current())
    cupy.cuda = types.SimpleNamespace(runtime=runtime, Device=FakeDevice, get_current_stream=lambda: FakeStream(FakeStream.current))
    return cupy  # type: ignore[no-any-return]


@contextmanager
def standing_in(monkeypatch: pytest.MonkeyPatch, folder: Path, cache: Path) -> Iterator[types.SimpleNamespace]:
    """Put the stand-ins in the places of the driver, CuPy and NVRTC: kernels run on the CPU."""
    cupy, compiler = fake_cupy(), FakeCompiler(folder)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(nvrtc, "load", lambda driver=None: compiler)
    monkeypatch.setattr(nvrtc, "identity", lambda driver: repr(compiler.version))
    monkeypatch.setattr(numpy_arrays, "owns", lambda value: isinstance(value, np.ndarray) and not isinstance(value, FakeArray))
    monkeypatch.setenv("FASTACT_CACHE_DIR", str(cache))
    registry.forget()
    compiled.cuda_open(driver().path)
    driver().enter(0)
    yield types.SimpleNamespace(cupy=cupy, compiler=compiler, backend=registry.get("cupy"), driver=driver())
    driver().leave()
    compiled.cuda_open("")
    registry.forget()
