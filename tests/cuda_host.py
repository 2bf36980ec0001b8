"""CUDA text compiled for the CPU, and a NumPy-backed stand-in for CuPy that runs it: the GPU path judged without a GPU."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
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
    """A NumPy array with the two attributes that a launch reads."""

    number = 0

    def __array_finalize__(self, parent: Any) -> None:
        self.number = getattr(parent, "number", 0)

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(ptr=self.ctypes.data)

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


class FakeKernel:
    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self.library, self.name = library, name
        FakeModule.kernels.append(self)

    def compile(self) -> None:
        pass

    def __call__(self, grid: tuple[int], block: tuple[int], args: tuple[Any, ...], *, shared_mem: int = 0) -> None:
        launch(self.library, self.name, *grid, *block, args, shared_mem)


class FakeModule:
    kernels: list[FakeKernel] = []  # noqa: RUF012

    def __init__(self, *, path: str) -> None:
        self.library = ctypes.CDLL(path)

    def get_function(self, name: str) -> FakeKernel:
        return FakeKernel(self.library, name)


class FakeDevice:
    current = 0
    compute_capability = "90"
    attributes = {"MaxSharedMemoryPerBlockOptin": 227 * 1024}  # noqa: RUF012

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> None:
        self.before, FakeDevice.current = FakeDevice.current, self.number

    def __exit__(self, *_: object) -> None:
        FakeDevice.current = self.before


def _wrapped(function: Any) -> Any:
    return lambda *args, **kwargs: function(*args, **kwargs).view(FakeArray)


def fake_cupy() -> types.ModuleType:
    """A module with as much of CuPy as fastact uses."""
    cupy: Any = types.ModuleType("cupy")
    for name in ("empty", "asarray", "array", "ascontiguousarray", "zeros", "arange", "argsort"):
        setattr(cupy, name, _wrapped(getattr(np, name)))
    cupy.may_share_memory = np.may_share_memory
    cupy.broadcast_to = lambda a, shape: np.broadcast_to(a, shape, subok=True)
    cupy.ndarray, cupy.RawModule, cupy.__version__ = FakeArray, FakeModule, "0"
    runtime = types.SimpleNamespace(
        getDevice=lambda: FakeDevice.current,
        getDeviceCount=lambda: 2,
        driverGetVersion=lambda: 13000,
        getDeviceProperties=lambda i: {"name": b"Fake", "major": 9, "minor": 0},
    )
    cupy.cuda = types.SimpleNamespace(runtime=runtime, Device=FakeDevice)
    return cupy  # type: ignore[no-any-return]


@contextmanager
def standing_in(monkeypatch: pytest.MonkeyPatch, folder: Path, cache: Path) -> Iterator[types.SimpleNamespace]:
    """Put the stand-ins in the places of CuPy and NVRTC: kernels run on the CPU."""
    cupy, compiler = fake_cupy(), FakeCompiler(folder)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(nvrtc, "load", lambda driver=None: compiler)
    monkeypatch.setattr(numpy_arrays, "owns", lambda value: isinstance(value, np.ndarray) and not isinstance(value, FakeArray))
    monkeypatch.setenv("FASTACT_CACHE_DIR", str(cache))
    registry.forget()
    yield types.SimpleNamespace(cupy=cupy, compiler=compiler, backend=registry.get("cupy"))
    registry.forget()
