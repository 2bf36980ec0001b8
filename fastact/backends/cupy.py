"""The CuPy backend: kernels assembled from the definitions, compiled by our own NVRTC call, cached as cubins, launched by CuPy.

CuPy is imported only when a kernel is asked for or its presence is in question.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import cache
from ..kernels import lower
from ..rows import Rows
from . import nvrtc
from .pipelines import NUMBER, Pipeline, mask_entry
from .stages import TEAM, Stage, spread, stage_entries, walk, working_type

SOURCES = Path(lower.__file__).parent / "cuda"
#: As in the files of the kernels.
THREADS, ALIGNED, IN_PLACE = 512, 1, 2
ITEMSIZE = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
MOST_BLOCKS = 2**31 - 1


# ---------------------------------------------------------------- the text of a kernel


@functools.cache
def _file(name: str) -> str:
    text = (SOURCES / name).read_text()
    return re.sub(r'^#include "(.*)"$', lambda found: _file(found[1]), text, flags=re.MULTILINE)  # NVRTC sees one text


@functools.cache
def _program() -> lower.Program:
    return lower.parse()


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

    def launch(self, entry: str, device: int, grid: int, block: int, args: tuple[Any, ...], shared: int = 0) -> None:
        """Launch that kernel on `device`, which is current: `grid` blocks of `block` threads, with `shared` bytes of dynamic shared memory.

        `args` are as the entry point takes them: ``int`` for pointers and 64-bit integers, NumPy's floats for numbers.
        """
        kernel = self.kernel(entry, device)
        if shared > 48 * 1024:
            kernel.max_dynamic_shared_size_bytes = shared
        kernel((grid,), (block,), args, shared_mem=shared)


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
                args = (*(v for pair in given for v in pair), *results, n, access)
                loaded.launch("elementwise", device, -(-n // share), THREADS, args)

        return run

    @functools.cache  # noqa: B019
    def _stage(self, stage: Stage, kind: str, wide: bool, kept: int, summed: int, small: bool) -> _Module:
        entries = stage_entries(stage, kind, wide, kept, summed, small)
        return _Module(unit(list(stage.functions), "pipeline.cuh", entries, self.program))

    def run_stage(
        self,
        stage: Stage,
        kind: str,
        wide: bool,
        arrays: Mapping[str, Any],
        numbers: Mapping[str, float],
        kept: Sequence[bool] | None = None,
        lead: str = "x",
        shape: tuple[int, ...] | None = None,
        seed: int = 0,
        threshold: int = 0,
    ) -> Any:
        """Run a pipeline over CuPy arrays of one device, which is current.

        Parameters
        ----------
        stage
            What is done with each element.
        kind, wide
            How elements are stored, and whether they are computed in float64.
        arrays
            By name, of any strides; they broadcast to one shape.
        numbers
            By name.
        kept
            For each axis whether sums have an extent along it; without, they have none.
        lead
            The array in whose memory order the elements are visited.
        shape
            That one shape; by default that of `lead`.
        seed, threshold
            What random numbers are drawn from, and what they are compared with.

        Returns
        -------
        cupy.ndarray
            The sums, ``[sum, *kept extents]``; an empty array where there are none.
        """
        cupy = module()
        names = stage.arrays
        shape = tuple(arrays[lead].shape) if shape is None else shape
        kept = [not stage.sums] * len(shape) if kept is None else list(kept)
        views, strides = {}, {}
        for name in names:
            a = arrays[name]
            if any(s % a.itemsize for s in a.strides):
                a = a.copy()  # a field of records
            views[name] = a = cupy.broadcast_to(a, shape) if a.shape != shape else a
            strides[name] = tuple(s // a.itemsize for s in a.strides)
        if stage.places:
            strides["index"] = tuple(math.prod(shape[d + 1 :]) for d in range(len(shape)))
        plan = walk(shape, strides, kept, lead)
        places, many = math.prod(plan.sizes[: plan.kept]), math.prod(plan.sizes[plan.kept :])
        result = stage.result or kind
        totals = cupy.zeros((len(stage.sums), *plan.shape), views[lead].dtype if result == kind else result)
        if places * many:
            width, chunk, parts = spread(places, many, plan.across, bool(stage.sums))
            partial = cupy.empty(parts * totals.size if parts > 1 else 0, "float64")
            device = views[lead].device.id
            loaded = self._stage(stage, kind, wide, plan.kept, len(plan.sizes) - plan.kept, places * many < 2**31)
            real = np.float64 if working_type(kind, wide) == "double" else np.float32
            args = [*plan.sizes, *(views[name].data.ptr for name in names)]
            args += [step for name in ((*names, "index") if stage.places else names) for step in plan.steps[name]]
            args += [real(numbers[name]) for name in stage.numbers]
            args += [seed - 2**64 if seed >= 2**63 else seed, threshold] * stage.places
            args += [partial.data.ptr, totals.data.ptr, chunk, width, int(plan.across), parts, places]
            with np.errstate(over="ignore"):
                loaded.launch("stage", device, -(-places // width) * parts, TEAM, tuple(args))
            if parts > 1:
                width, _, _ = spread(totals.size, parts, across=True, sums=True)
                fold = (partial.data.ptr, totals.data.ptr, parts, totals.size, width)
                loaded.launch("fold", device, -(-totals.size // width), TEAM, fold)
        return totals.transpose(0, *(1 + d for d in plan.back))

    def pipeline(self, mode: str, kind: str, wide: bool, shape: tuple[int, ...]) -> Pipeline:
        """A pipeline to be described and run; see `fastact.backends.pipelines`."""
        return Pipeline(self, mode, kind, wide, shape)

    @functools.cache  # noqa: B019
    def _mask(self, function: str, params: tuple[str, ...], kind: str, wide: bool) -> _Module:
        functions = [f"{function}_value_and_derivative"] if function else []
        return _Module(unit(functions, "pipeline.cuh", [mask_entry(function, params, kind, wide)], self.program))

    def run_mask(
        self, function: str, params: Mapping[str, float], kind: str, wide: bool, given: Any, out: Any, bits: Any, low: float, high: float
    ) -> None:
        """Value and packed slopes of `function`, or, where that is empty, the gradient from packed slopes; arrays are contiguous."""
        n, device = given.size, given.device.id
        if n == 0:
            return
        real = np.float64 if working_type(kind, wide) == "double" else np.float32
        values = [real(v) for v in (low, high)]
        args = (given.data.ptr, out.data.ptr, bits.data.ptr, *values, n, *(real(v) for v in params.values()))
        self._mask(function, tuple(params), kind, wide).launch("mask", device, -(-n // TEAM), TEAM, args)

    def rows(self, call: Rows) -> None:
        """A row-wise call on CuPy arrays of one device."""
        from .cuda_rows import run

        run(call)
