"""The CUDA backend, for CuPy arrays and PyTorch's CUDA tensors: kernels assembled from the definitions, compiled by our own NVRTC call,
cached as cubins, loaded and launched through the driver by compiled code (`kernels/cpu/cuda.pxi`).

CuPy is imported only for calls that need more of it than pointers.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import cache, registry
from ..kernels import lower
from ..kernels.cpu import compiled
from ..rows import Rows
from . import halves, nvrtc, stages
from .pipelines import NUMBER, Pipeline, mask_entry
from .stages import ITEMSIZE, TEAM, Stage, working_type

SOURCES = Path(lower.__file__).parent / "cuda"
#: As in the files of the kernels, and in cuda.pxi, which launches the elementwise ones.
THREADS, ALIGNED, IN_PLACE = 512, 1, 2
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
    inside = (_file("intrinsics.cuh"), lower.to_cxx(program, functions, brief=True), lower.to_cxx_structs(program, functions), _file(loops))
    return "\n".join(["namespace fastact {", *inside, "}  // namespace fastact", *entries, ""])


def elementwise_entry(
    operation: lower.Operation, kind: str, wide: bool, name: str = "elementwise", overlap: bool = False, form: str | None = None
) -> str:
    """The entry point of an elementwise kernel: a pointer and a number for each input, a pointer for each output, n and how to access.

    With `overlap` it waits for what the stream ran before. `form` is how it divides, by default as `halves.form` has it.
    """
    form = halves.form(operation, kind, wide) if form is None else form
    computes = f"fastact::{operation.function}_op"
    if form != "EXACT":
        computes = f"fastact::Briefly<{computes}, fastact::{form}>"
    real, inputs = working_type(kind, wide), range(operation.inputs)
    takes = [f"const void *in{i}, {real} number{i}" for i in inputs] + [f"void *out{i}" for i in range(operation.outputs)]
    return (
        f'extern "C" __global__ void __launch_bounds__({THREADS}) {name}({", ".join(takes)}, long long n, long long access) {{\n'
        f"{WAITS * overlap}"
        f"    const void *const in[] = {{{', '.join(f'in{i}' for i in inputs)}}};\n"
        f"    const {real} number[] = {{{', '.join(f'number{i}' for i in inputs)}}};\n"
        f"    void *const out[] = {{{', '.join(f'out{i}' for i in range(operation.outputs))}}};\n"
        f"    fastact::elementwise<{computes}, fastact::{kind.upper()}, {real}>(in, number, out, n, access);\n"
        "}"
    )


# ---------------------------------------------------------------- compiled and cached


@functools.cache
def _sources() -> str:
    """The hash of all that texts of kernels are made from and by: quick to take, unlike the texts themselves."""
    kernels = SOURCES.parent
    files = [kernels / "lower.py", *kernels.glob("definitions/*.py"), *kernels.glob("rows/*.hpp"), *SOURCES.glob("*.cuh")]
    found = hashlib.sha256()
    for path in sorted([*files, *Path(__file__).parent.glob("*.py")]):
        found.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return found.hexdigest()


def cubin(text: Callable[[], str], named: str, capability: int) -> bytes:
    """A compiled text, from the cache if it is there and whole.

    Parameters
    ----------
    text
        Gives it; not called where it is in the cache.
    named
        What it follows from: the text itself, or `_sources` and what was asked for.
    capability
        Of the device, as 90 for 9.0.
    """
    driver = compiled.cuda_open()
    key = lower.digest("\0".join((named, *nvrtc.OPTIONS, str(capability), nvrtc.identity(driver))))
    path = cache.folder("cuda") / f"{key}.cubin"
    with contextlib.suppress(OSError):
        data = path.read_bytes()
        if data[:CHECKSUM] == _checksum(data[CHECKSUM:]):
            os.utime(path)  # recently used
            return data[CHECKSUM:]
        path.unlink()  # cut short or damaged
    compiler = nvrtc.load(driver)
    image = compiler.compile(text(), compiler.target(capability))
    cache.write(path, _checksum(image) + image)
    cache.trim(path.parent)
    return image


#: Bytes of the checksum that a file of the cache begins with.
CHECKSUM = 32


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


_building = threading.Lock()


class _Module:
    """The kernels of one text, compiled and loaded on each device when it first needs them.

    Parameters
    ----------
    text
        The text, or what gives it.
    request
        What was asked for, if the text follows from that and from the package's own files alone: it then is not needed where the cache
        has what was compiled from it.
    overlap
        Whether launches may begin before what the stream ran before has ended; the kernels wait for that themselves.
    """

    def __init__(self, text: str | Callable[[], str], request: str | None = None, overlap: bool = False) -> None:
        self._text, self._request, self._overlap = text, request, overlap
        self._images: dict[int, bytes] = {}  # by compute capability
        self._loaded: dict[tuple[int, str], Any] = {}

    @property
    def text(self) -> str:
        """The CUDA text."""
        return self._text if isinstance(self._text, str) else self._text()

    def kernel(self, entry: str, device: int) -> Any:
        """The kernel of that name: a `compiled.CudaKernel`."""
        found = self._loaded.get((device, entry))
        if found is None:
            with _building:
                capability = compiled.cuda_device(device)[1]
                if capability not in self._images:
                    named = self.text if self._request is None else f"{_sources()}\0{self._request}"
                    self._images[capability] = cubin(lambda: self.text, named, capability)
                overlap = self._overlap and capability >= FIRST_TO_OVERLAP
                found = self._loaded[device, entry] = compiled.load_cuda(self._images[capability], entry, device, overlap)
        return found

    def launch(
        self, entry: str, device: int, grid: int, block: int, args: tuple[Any, ...], shared: int = 0, stream: int | None = None
    ) -> None:
        """Launch that kernel on `device`: `grid` blocks of `block` threads, with `shared` bytes of dynamic shared memory.

        `args` are as the entry point takes them: ``int`` for pointers and integers, NumPy's floats for numbers. `stream` is the address of
        one of that device's; by default CuPy's current one, for which `device` must be current.
        """
        self.kernel(entry, device).launch(grid, block, args, shared, current_stream() if stream is None else stream)


# ---------------------------------------------------------------- launches that overlap

#: The compute capability from which on a kernel can begin before the one before it has ended.
FIRST_TO_OVERLAP = 90
#: What such a kernel begins with. Everyone waits before anything is read or written, until what the stream ran before has ended and its
#: results can be seen; so nothing depends on where the next kernel is let in, which is at once, and a chain of kernels is in order: the
#: kernel before has ended, so it has waited for the one before it. On the host, and on older devices, there is nothing to wait for.
WAITS = """#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
"""
_overlap = os.environ.get("FASTACT_OVERLAP", "0") not in ("", "0")


def set_overlap(overlap: bool) -> bool:
    """Choose whether elementwise kernels are launched to overlap (programmatic dependent launch); returns what was chosen before.

    Off by default, or what ``FASTACT_OVERLAP`` says. A kernel then is set up while the one before it ends. Devices of compute capability
    9.0 and later do it; on others nothing changes.
    """
    global _overlap
    before, _overlap = _overlap, bool(overlap)
    compiled.cuda_forget()
    return before


# ---------------------------------------------------------------- devices


def module() -> Any:
    """CuPy."""
    return importlib.import_module("cupy")


def current_stream() -> int:
    """The address of CuPy's current stream on the device that is current."""
    return int(module().cuda.get_current_stream().ptr)


def prepare(entry: Any, kind: str, wide: bool, device: int) -> Any:
    """What the fast path launches for an activation in one direction; None where there is nothing to launch with."""
    if registry.available("cupy") is not None:
        return None
    backend: Any = registry.get("cupy")
    return backend.prepared(entry.definition.name, entry.direction, kind, wide, device)


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
        if not any(name in sys.modules or importlib.util.find_spec(name) for name in ("cupy", "torch")):
            return "neither cupy nor torch is installed: pip install cupy-cuda13x (cupy-cuda12x for CUDA 12)"
        try:
            if compiled.cuda_device_count() == 0:
                return "there is no CUDA device"
        except compiled.CudaError as problem:
            return str(problem)
        return None if nvrtc.identity(compiled.cuda_open()) else f"libnvrtc is not there: {nvrtc.INSTALL}"

    def version(self) -> str:
        """The version of CuPy, or of PyTorch where that is all there is."""
        with contextlib.suppress(ImportError):
            return str(module().__version__)
        return f"without CuPy, for torch {importlib.import_module('torch').__version__}"

    def details(self) -> dict[str, object]:
        """Facts for people: devices, compiler, folder of compiled kernels."""
        devices = [compiled.cuda_device(i) for i in range(compiled.cuda_device_count())]
        return {
            "devices": [f"{name} (compute capability {capability // 10}.{capability % 10})" for name, capability in devices],
            "compiler": repr(nvrtc.load(compiled.cuda_open())),
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

        def run(arrays: Sequence[Any], params: Sequence[Any], outs: Sequence[Any]) -> None:
            device, n = int(arrays[0].device.id), int(arrays[0].size)
            if n == 0:
                return
            given = [float(a) if isinstance(a, NUMBER) else int(a.data.ptr) for a in (*arrays, *params)]
            kernel = self.prepared(name, direction, kind, wide, device)
            with current(device):
                kernel.run_elementwise(kind, wide, given, [int(o.data.ptr) for o in outs], n, current_stream())

        return run

    def prepared(self, name: str, direction: str, kind: str, wide: bool, device: int) -> Any:
        """The kernel of an elementwise activation, compiled and loaded on `device`: a `compiled.CudaKernel`."""
        return self._elementwise(name, direction, kind, wide, _overlap).kernel("elementwise", device)

    @functools.cache  # noqa: B019
    def _elementwise(self, name: str, direction: str, kind: str, wide: bool, overlap: bool) -> _Module:
        def text() -> str:
            operation = self.program.operations[lower.Operation(lower.Activation(name), direction).function]
            entry = elementwise_entry(operation, kind, wide, overlap=overlap)
            return unit([operation.function], "elementwise.cuh", [entry], self.program)

        return _Module(text, self._request("elementwise", name, direction, kind, wide, overlap), overlap)

    def _request(self, *asked: Any) -> str | None:
        """What names a kernel, if the definitions are the package's own."""
        return repr(asked) if self._program is None else None

    @functools.cache  # noqa: B019
    def _stage(self, stage: Stage, form: stages.Form) -> _Module:
        def text() -> str:
            return unit(list(stage.functions), "pipeline.cuh", stages.stage_entries(stage, form), self.program)

        return _Module(text, self._request("stage", stage, form))

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
    ) -> list[Any]:
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
        list of cupy.ndarray
            The sums, each of the kept extents, and those over all elements, of no dimensions.
        """
        cupy, names, itemsize = module(), stage.arrays, ITEMSIZE[kind]
        shape = tuple(arrays[lead].shape) if shape is None else shape
        kept = (not stage.sums,) * len(shape) if kept is None else tuple(kept)
        views = [arrays[name] for name in names]
        for i, a in enumerate(views):
            if any(s % itemsize for s in a.strides):
                a = a.copy()  # a field of records
            views[i] = cupy.broadcast_to(a, shape) if a.shape != shape else a
        dtype = arrays[lead].dtype if (stage.result or kind) == kind else stage.result
        if 0 in shape:
            own = tuple(n for n, keep in zip(shape, kept, strict=True) if keep)
            return [cupy.zeros(own, dtype) for _ in stage.sums] + [cupy.zeros((), dtype) for _ in stage.wholes]
        strides = tuple(tuple(s // itemsize for s in a.strides) for a in views)
        pointers = [a.data.ptr for a in views]
        plan = stages.plan(
            stage, kind, wide, shape, strides, kept, lead, tuple(p % stages.VECTOR for p in pointers),
            _partners(names, len(stage.takes), pointers, strides, itemsize),
            not set(pointers[: len(stage.takes)]).isdisjoint(pointers[len(stage.takes) :]), stages.VECTORS,
        )  # fmt: skip
        real = np.float64 if working_type(kind, wide) == "double" else np.float32
        args = [*plan.sizes, *pointers, *plan.steps]
        args += [plan.index_lane, seed - 2**64 if seed >= 2**63 else seed, threshold] * stage.places
        with np.errstate(over="ignore"):
            args += [real(numbers[name]) for name in stage.numbers]
        loaded, device = self._stage(stage, plan.form), views[0].device.id
        if not stage.sums:
            loaded.launch("stage", device, plan.grid, plan.block, (*args, *plan.shares, plan.last))
            return []
        made = [(plan.parts, cupy.empty((len(stage.sums), *plan.walked.shape), dtype)), (plan.grid, cupy.empty(len(stage.wholes), dtype))]
        partial = [cupy.empty(parts * total.size if parts > 1 else 0, "float64") for parts, total in made]
        to = [a.data.ptr for (_, total), part in zip(made, partial, strict=True) for a in (part, total)]
        loaded.launch("stage", device, plan.grid, plan.block, (*args, *to, *plan.shares, plan.last))
        for (parts, total), part in zip(made, partial, strict=True):
            if part.size:
                width, _, _ = stages.spread(total.size, parts, across=True)
                loaded.launch("fold", device, -(-total.size // width), TEAM, (part.data.ptr, total.data.ptr, parts, total.size, width))
        (_, sums), (_, wholes) = made
        return [sums[i, ...].transpose(plan.walked.back) for i in range(len(sums))] + [wholes[i, ...] for i in range(len(wholes))]

    def pipeline(self, mode: str, kind: str, wide: bool, shape: tuple[int, ...]) -> Pipeline:
        """A pipeline to be described and run; see `fastact.backends.pipelines`."""
        return Pipeline(self, mode, kind, wide, shape)

    @functools.cache  # noqa: B019
    def _mask(self, function: str, params: tuple[str, ...], kind: str, wide: bool, vectors: bool, in_place: bool) -> _Module:
        asked = function, params, kind, wide, vectors, in_place

        def text() -> str:
            functions = [f"{function}_value_and_derivative"] if function else []
            return unit(functions, "pipeline.cuh", [mask_entry(*asked)], self.program)

        return _Module(text, self._request("mask", *asked))

    def run_mask(
        self, function: str, params: Mapping[str, float], kind: str, wide: bool, given: Any, out: Any, bits: Any, low: float, high: float
    ) -> None:
        """Value and packed slopes of `function`, or, where that is empty, the gradient from packed slopes; arrays are contiguous."""
        n, device, pointers = given.size, given.device.id, (given.data.ptr, out.data.ptr)
        if n == 0:
            return
        real = np.float64 if working_type(kind, wide) == "double" else np.float32
        args = (*pointers, bits.data.ptr, real(low), real(high), n, *(real(v) for v in params.values()))
        vectors = stages.VECTORS and not any(p % stages.VECTOR for p in pointers)
        share = stages.FLAT * (stages.VECTOR // ITEMSIZE[kind] if vectors else 1)
        loaded = self._mask(function, tuple(params), kind, wide, vectors, pointers[0] == pointers[1])
        loaded.launch("mask", device, -(-n // share), stages.FLAT, args)

    def rows(self, call: Rows) -> None:
        """A row-wise call on CuPy arrays of one device."""
        from .cuda_rows import run

        run(call)


def _partners(
    names: tuple[str, ...], read: int, pointers: Sequence[int], strides: Sequence[tuple[int, ...]], itemsize: int
) -> tuple[str, ...]:
    """Of the arrays, the first `read` of which are read, those whose elements take turns in memory: see `fastact.backends.stages.plan`."""
    found = [""] * len(names)
    every_other = [i for i, s in enumerate(strides) if 2 in s]
    for i in every_other:
        for j in every_other:
            if (
                found[i] == found[j] == ""
                and (i < read) == (j < read)
                and strides[i] == strides[j]
                and pointers[j] - pointers[i] == itemsize
            ):
                found[i], found[j] = f"even:{names[j]}", f"odd:{names[i]}"
    return tuple(found)
