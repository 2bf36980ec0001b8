"""The CuPy backend: kernels assembled from the definitions, compiled by our own NVRTC call, cached as cubins, launched by CuPy.

CuPy is imported only when a kernel is asked for or its presence is in question.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import cache
from ..kernels import lower
from . import nvrtc

SOURCES = Path(lower.__file__).parent / "cuda"
#: As in elementwise.cuh and rowwise.cuh.
THREADS, ALIGNED, IN_PLACE = 512, 1, 2
ITEMSIZE = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
MOST_BLOCKS = 2**31 - 1
#: What is passed by value; anything else is an array.
NUMBER = (int, float, np.generic)


# ---------------------------------------------------------------- the text of a kernel


@functools.cache
def _file(name: str) -> str:
    return (SOURCES / name).read_text()


@functools.cache
def _program() -> lower.Program:
    return lower.parse()


def working_type(kind: str, wide: bool) -> str:
    """The C++ type that a kernel computes in."""
    return "double" if wide or kind == "float64" else "float"


def unit(functions: list[str], loops: str, entries: Sequence[str], program: lower.Program | None = None) -> str:
    """A whole translation unit: intrinsics, lowered definitions, loops, entry points.

    Parameters
    ----------
    functions
        Lowered names of what the loops call; elementwise operations also get their struct.
    loops
        The file of the loops.
    entries
        Texts of the ``extern "C"`` kernels.
    program
        The definitions, the package's own by default.
    """
    program = program or _program()
    inside = (_file("intrinsics.cuh"), lower.to_cxx(program, functions), lower.to_cxx_structs(program, functions), _file(loops))
    return "\n".join(["namespace fastact {", *inside, "}  // namespace fastact", *entries, ""])


def elementwise_entry(operation: lower.Operation, kind: str, wide: bool, name: str = "elementwise") -> str:
    """The entry point of an elementwise kernel: a pointer and a number for each input, a pointer for each output, n and how to access."""
    real, inputs = working_type(kind, wide), range(operation.inputs)
    takes = [f"const void *in{i}, {real} number{i}" for i in inputs] + [f"void *out{i}" for i in range(operation.outputs)]
    return (
        f'extern "C" __global__ void __launch_bounds__({THREADS}) {name}({", ".join(takes)}, long long n, long long access) {{\n'
        f"    const void *const in[] = {{{', '.join(f'in{i}' for i in inputs)}}};\n"
        f"    const {real} number[] = {{{', '.join(f'number{i}' for i in inputs)}}};\n"
        f"    void *const out[] = {{{', '.join(f'out{i}' for i in range(operation.outputs))}}};\n"
        f"    fastact::elementwise<fastact::{operation.function}_op, fastact::{kind.upper()}, {real}>(in, number, out, n, access);\n"
        "}"
    )


def rowwise_entries(name: str, direction: str, kind: str, wide: bool, prefix: str = "") -> list[str]:
    """The entry points of a row-wise kernel: `rows`, which lie contiguous, and `columns`, which do not."""
    made = f"<fastact::{direction.upper()}, fastact::{kind.upper()}, {working_type(kind, wide)}>"
    takes = "const void *x, const void *g, const unsigned char *where, long long masked_nan, void *out, long long outer, long long n"
    gives = "x, g, where, masked_nan, out, outer, n"
    head = f'extern "C" __global__ void __launch_bounds__({THREADS}) {prefix}'
    return [
        f"{head}rows({takes}) {{\n    fastact::{name}_rows{made}({gives});\n}}",
        f"{head}columns({takes}, long long inner) {{\n    fastact::{name}_columns{made}({gives}, inner);\n}}",
    ]


# ---------------------------------------------------------------- compiled and cached


def cubin(compiler: nvrtc.Nvrtc, text: str, target: str) -> Path:
    """The file of the compiled `text`, from the cache if it is there and whole.

    Its name holds the hash of all that went in and the hash of what came out, so that one atomic rename publishes both.
    """
    folder = cache.folder("cuda")
    key = lower.digest("\0".join((text, *nvrtc.OPTIONS, target, repr(compiler.version))))
    for path in folder.glob(f"{key}-*.cubin"):
        with contextlib.suppress(OSError):
            if path.stem == f"{key}-{_checksum(path.read_bytes())}":
                os.utime(path)  # recently used
                return path
            path.unlink()  # cut short or damaged
    image = compiler.compile(text, target)
    path = folder / f"{key}-{_checksum(image)}.cubin"
    cache.write(path, image)
    cache.trim(folder)
    return path


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


_building = threading.Lock()


class _Module:
    """The kernels of one text, compiled and loaded on each device when it first needs them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._loaded: dict[tuple[int, str], Any] = {}

    def kernel(self, entry: str, device: int) -> Any:
        """The kernel of that name; `device` is current."""
        found = self._loaded.get((device, entry))
        if found is None:
            with _building:
                cupy = module()
                compiler = nvrtc.load(cupy.cuda.runtime.driverGetVersion())
                target = compiler.target(int(cupy.cuda.Device(device).compute_capability))
                found = cupy.RawModule(path=str(cubin(compiler, self.text, target))).get_function(entry)
                found.compile()  # load it now: the cache may be cleared later
                self._loaded[device, entry] = found
        return found


# ---------------------------------------------------------------- devices


def module() -> Any:
    """CuPy."""
    return importlib.import_module("cupy")


def one_device(arrays: dict[str, Any]) -> int:
    """The device that all `arrays`, given by name, are on; numbers and None are nowhere.

    Raises
    ------
    ValueError
        If they are on several.
    """
    ids = {name: a.device.id for name, a in arrays.items() if a is not None and not isinstance(a, NUMBER)}
    if len(set(ids.values())) > 1:
        raise ValueError("the arrays are on different devices: " + ", ".join(f"{n} on {i}" for n, i in ids.items()) + "; move them to one")
    return int(next(iter(ids.values())))


def current(device: int) -> contextlib.AbstractContextManager[Any]:
    """Make `device` current for a while; its own current stream is then CuPy's."""
    cuda = module().cuda
    if cuda.runtime.getDevice() == device:
        return contextlib.nullcontext()
    other: contextlib.AbstractContextManager[Any] = cuda.Device(device)
    return other


# ---------------------------------------------------------------- the backend

Elementwise = Callable[[Sequence[Any], Sequence[Any], Sequence[Any]], None]
Rowwise = Callable[[Any, Any, Any, bool, Any], None]


class CupyBackend:
    """Kernels for CuPy arrays.

    Parameters
    ----------
    program
        The definitions to compile from; by default the package's own.
    """

    name = "cupy"
    arrays = "cupy"

    def __init__(self, program: lower.Program | None = None) -> None:
        self._program = program

    @property
    def program(self) -> lower.Program:
        """The definitions, read when first needed."""
        return self._program or _program()

    def missing(self) -> str | None:
        """Why it cannot run here; None if it can."""
        if "cupy" not in sys.modules and importlib.util.find_spec("cupy") is None:
            return "cupy is not installed: pip install cupy-cuda13x (cupy-cuda12x for CUDA 12)"
        try:
            cupy = module()
        except Exception as problem:  # a broken installation raises anything
            return f"cupy does not import: {problem}"
        try:
            if cupy.cuda.runtime.getDeviceCount() == 0:
                return "cupy finds no CUDA device"
        except Exception as problem:  # CUDARuntimeError, whose module is private
            return f"cupy finds no CUDA device: {problem}"
        try:
            nvrtc.load(cupy.cuda.runtime.driverGetVersion())
        except nvrtc.NvrtcError as problem:
            return str(problem)
        return None

    def version(self) -> str:
        """CuPy's version."""
        return str(module().__version__)

    def details(self) -> dict[str, object]:
        """Facts for people: devices, compiler, folder of compiled kernels."""
        runtime = module().cuda.runtime
        devices = [runtime.getDeviceProperties(i) for i in range(runtime.getDeviceCount())]
        return {
            "devices": [f"{d['name'].decode()} (compute capability {d['major']}.{d['minor']})" for d in devices],
            "compiler": repr(nvrtc.load(runtime.driverGetVersion())),
            "cache": str(cache.folder("cuda")),
        }

    @functools.cache  # noqa: B019  (there is one backend, and it lives as long as the process)
    def elementwise(self, name: str, direction: str, kind: str, wide: bool) -> Elementwise:
        """The kernel of an elementwise activation.

        Parameters
        ----------
        name, direction
            Of the operation.
        kind
            How elements are stored: ``float16``, ``bfloat16``, ``float32``, ``float64``.
        wide
            Compute in float64 and round once.

        Returns
        -------
        callable
            ``run(arrays, params, outs)`` on contiguous CuPy arrays of one size and device (bfloat16 may come as ``uint16``).
            `params` are numbers, cast to the storage type, or such arrays. Outputs are stored as `kind`, and may be one of the inputs, but
            not overlap one otherwise; only the terms of gradients with respect to learnable parameters are in the working type.
        """
        operation = self.program.operations[lower.Operation(lower.Activation(name), direction).function]
        loaded = _Module(unit([operation.function], "elementwise.cuh", [elementwise_entry(operation, kind, wide)], self.program))
        real: type[np.floating[Any]] = np.float64 if working_type(kind, wide) == "double" else np.float32
        zero, share = real(0), THREADS * (16 // ITEMSIZE[kind])  # elements of a block

        def run(arrays: Sequence[Any], params: Sequence[Any], outs: Sequence[Any]) -> None:
            n = arrays[0].size
            if n == 0:
                return
            given = [(0, real(a)) if isinstance(a, NUMBER) else (a.data.ptr, zero) for a in (*arrays, *params)]
            pointers, results = [p for p, _ in given if p], [o.data.ptr for o in outs]
            aligned = not any(p % 16 for p in (*pointers, *results))
            access = ALIGNED * aligned | IN_PLACE * (not set(results).isdisjoint(pointers))
            device = arrays[0].device.id
            with current(device):
                kernel = loaded.kernel("elementwise", device)
                kernel((-(-n // share),), (THREADS,), (*(v for pair in given for v in pair), *results, n, access))

        return run

    @functools.cache  # noqa: B019
    def rowwise(self, name: str, direction: str, kind: str, wide: bool) -> Rowwise:
        """The kernel of a row-wise activation.

        Returns
        -------
        callable
            ``run(x, other, where, masked_nan, out)`` on contiguous CuPy arrays ``[outer][n][inner]`` of one device, the rows along n.
            `other` is the gradient in the backward directions, else None; `where` has bytes, or is None; `out` may be `x` or `other`.
        """
        loaded = _Module(unit([f"{name}_term"], "rowwise.cuh", rowwise_entries(name, direction, kind, wide), self.program))

        def run(x: Any, other: Any, where: Any, masked_nan: bool, out: Any) -> None:
            outer, n, inner = x.shape
            if x.size == 0:
                return
            device = x.device.id
            pointers = [0 if a is None else a.data.ptr for a in (x, other, where)]
            args = (*pointers, int(masked_nan), out.data.ptr, outer, n)
            with current(device):
                if inner == 1:  # a block a row
                    threads = min(THREADS, max(32, 1 << (n - 1).bit_length()))
                    loaded.kernel("rows", device)((min(outer, MOST_BLOCKS),), (threads,), args)
                else:  # a thread a row
                    loaded.kernel("columns", device)((min(-(-outer * inner // 256), MOST_BLOCKS),), (256,), (*args, inner))

        return run
