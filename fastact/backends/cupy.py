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
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import cache
from ..kernels import lower
from ..rows import Rows, Spread
from . import nvrtc, stages
from .pipelines import NUMBER, Pipeline, mask_entry
from .stages import BLOCKS, ITEMSIZE, TEAM, Stage, power, working_type

SOURCES = Path(lower.__file__).parent / "cuda"
#: As in the files of the kernels.
THREADS, ALIGNED, IN_PLACE = 512, 1, 2
MOST_BLOCKS = 2**31 - 1
#: The longest row for a warp, and how many numbers row programs may remember at a time.
SHORT, MEMORY = 1024, 2**23


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


#: As in rows.cuh, in the order of their bits.
FEATURES = (
    "BIAS",
    "WHERE",
    "LIMITS",
    "NOISE",
    "SCALED",
    "SINK",
    "GRAD",
    "SOFT",
    "WEIGHT",
    "HARD",
    "LSE",
    "RESULT",
    "DALPHA",
    "DBIAS",
    "LABELS",
)
#: Threads of a block, by who takes a row.
TEAMS = {"Alone": 256, "Warp": 128, "Block": THREADS}


@functools.cache
def row_terms() -> tuple[str, ...]:
    """The lowered definitions that row programs call."""
    return tuple(dict.fromkeys(re.findall(r"defs::(\w+)", _file("../rows/programs.hpp"))))


@functools.cache
def row_fields() -> tuple[tuple[str, str], ...]:
    """The members of ``RowsCall`` in rows.cuh: type and name."""
    inside = _file("rows.cuh").partition("struct RowsCall {")[2].partition("};")[0]
    return tuple(re.findall(r"^    ([\w ]+ \*?)(\w+);", inside, re.MULTILINE))


def rows_entries(
    program: str, direction: str, kind: str, wide: bool, team: str = "Block", features: Sequence[str] = ("RESULT",), prefix: str = ""
) -> list[str]:
    """The entry points of a row-wise kernel: `row_program`, which takes what ``RowsCall`` holds, and `fold_bias`.

    Parameters
    ----------
    program, direction
        As in `fastact.rows.Rows`.
    kind, wide
        How elements are stored, and whether they are computed in float64.
    team
        Who takes a row: ``Alone`` (a thread), ``Warp`` or ``Block``.
    features
        Of `FEATURES`.
    prefix
        Of the entry points' names.
    """
    way = "VALUE" if direction == "value_and_grad" else direction.upper()
    real = "double" if program == "entmax" else working_type(kind, wide)
    made = f"{team}, {' | '.join(features) or '0'}, programs::{program.upper()}, programs::{way}, {kind.upper()}, {real}"
    takes, gives = ", ".join(t + name for t, name in row_fields()), ", ".join(name for _, name in row_fields())
    head = 'extern "C" __global__ void __launch_bounds__'
    entries = [
        f"{head}({TEAMS[team]}) {prefix}row_program({takes}) {{\n    const RowsCall call = {{{gives}}};\n    rows<{made}>(call);\n}}"
    ]
    if "DBIAS" in features:
        takes = "const double *partial, double *dbias, long long chunks, long long size"
        entries += [f"{head}({TEAM}) {prefix}fold_bias({takes}) {{\n    sum_of_chunks(partial, dbias, chunks, size);\n}}"]
    return [f"namespace fastact {{\n{entry}\n}}" for entry in entries]


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
    def operation(self, name: str) -> lower.Operation:
        """What is known of a lowered operation; looking it up takes a millisecond the first time."""
        return self.program.operations[name]

    @functools.cache  # noqa: B019
    def _stage(self, stage: Stage, form: stages.Form) -> _Module:
        return _Module(unit(list(stage.functions), "pipeline.cuh", stages.stage_entries(stage, form), self.program))

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
        functions = [f"{function}_value_and_derivative"] if function else []
        return _Module(unit(functions, "pipeline.cuh", [mask_entry(function, params, kind, wide, vectors, in_place)], self.program))

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

    @functools.cache  # noqa: B019
    def _rows(self, program: str, direction: str, kind: str, wide: bool, team: str, features: tuple[str, ...]) -> _Module:
        entries = rows_entries(program, direction, kind, wide, team, features)
        return _Module(unit(list(row_terms()), "rows.cuh", entries, self.program))

    def rows(self, call: Rows) -> None:
        """A row-wise call on CuPy arrays of one device."""
        outer, n, inner = call.x.shape
        given = {name: a.data if isinstance(a, Spread) else a for name, a in vars(call).items() if hasattr(a, "data")}
        rows, device = outer * inner, one_device(given)
        if rows == 0 or (n == 0 and call.lse is None and call.loss is None):
            return
        has = {
            "BIAS": call.bias, "WHERE": call.where, "LIMITS": call.limits, "NOISE": call.noise, "SCALED": call.scale != 1.0 or None,
            "SINK": call.sink, "GRAD": call.grad, "SOFT": call.soft, "WEIGHT": call.weight, "HARD": call.hard or None, "LSE": call.lse,
            "RESULT": call.out, "DALPHA": call.dalpha, "DBIAS": call.dbias, "LABELS": call.labels,
        }  # fmt: skip
        features = tuple(name for name in FEATURES if has[name] is not None)
        team = "Alone" if inner > 1 else "Warp" if n <= SHORT else "Block"
        with current(device):
            loaded = self._rows(call.program, call.direction, call.kind, call.wide, team, features)
            values, keep = _row_values(call)
            threads = TEAMS[team] if team != "Block" else min(THREADS, power(n // 4))
            teams = rows
            if call.dbias is not None:
                teams, chunks = _share_bias(call, values, keep, most=BLOCKS if team == "Block" else 32 * BLOCKS)
            in_block = {"Alone": threads, "Warp": threads // 32, "Block": 1}[team]
            grid = min(-(-teams // in_block), MOST_BLOCKS)
            if call.program == "entmax":  # the only one that has to remember what it computes
                grid = max(1, min(grid, MEMORY // (n * in_block)))
                keep.append(module().empty(grid * in_block * n, "float64"))
                values["memory"] = keep[-1].data.ptr
            loaded.launch("row_program", device, grid, threads, tuple(values[name] for _, name in row_fields()))
            if call.dbias is not None and chunks > 1:
                size = call.dbias.size
                fold = (values["partial"], call.dbias.data.ptr, chunks, size)
                loaded.launch("fold_bias", device, -(-size // TEAM), TEAM, fold)


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


def _row_values(call: Rows) -> tuple[dict[str, Any], list[Any]]:
    """What a kernel takes, by name, as `row_fields` has them; and arrays that must live until it is launched."""
    outer, n, inner = call.x.shape
    values: dict[str, Any] = dict.fromkeys((name for _, name in row_fields()), 0)
    for name in ("x", "out", "grad", "row_grad", "limits", "sink", "alpha", "lse", "dsink", "dalpha", "labels", "soft", "weight", "loss"):
        a = getattr(call, name)
        values[name] = 0 if a is None else a.data.ptr
    for name, a in (("bias", call.bias), ("where", call.where)):
        if a is not None:
            values |= {name: a.data.data.ptr, f"{name}_outer": a.outer.data.ptr, f"{name}_inner": a.inner.data.ptr, f"{name}_step": a.step}
    values |= {f"{name}_step": int(a is not None and a.size > 1) for name, a in (("sink", call.sink), ("alpha", call.alpha))}
    for name in ("scale", "bias_scale", "smoothing", "z_loss", "margin", "row_scale"):
        values[name] = np.float64(getattr(call, name))
    seed = call.noise or 0
    values |= {"outer": outer, "n": n, "inner": inner, "masked_nan": int(call.masked_nan), "power": call.power}
    values |= {"seed": seed - 2**64 if seed >= 2**63 else seed, "has_ignore": int(call.ignore is not None), "ignore": call.ignore or 0}
    return values, []


def _share_bias(call: Rows, values: dict[str, Any], keep: list[Any], most: int) -> tuple[int, int]:
    """Gather the rows that share their bias, for sums without races in a fixed order: how many teams there are, and in how many chunks.

    Rows of a group differ in nothing but what the bias is broadcast along; they are as many for each.
    """
    cupy, bias, (outer, n, inner) = module(), call.bias, call.x.shape
    assert bias is not None
    rows, size = outer * inner, int(call.dbias.size)
    groups = size // n if bias.step else size
    at = (bias.outer[:, None] + bias.inner[None, :]).reshape(-1)
    group = at // (bias.step * n) * bias.step + at % bias.step if bias.step else at
    order = cupy.argsort(group * rows + cupy.arange(rows))
    many = rows // groups
    # No more sums than take an eighth of x, and no more than keep the device busy; from shapes alone.
    chunks = max(1, min(many, rows * n // (8 * size), most // groups))
    chunk = -(-many // chunks)
    chunks = -(-many // chunk)
    partial = call.dbias if chunks == 1 else cupy.empty(chunks * size, "float64")
    keep += [order, partial]
    values |= {
        "partial": partial.data.ptr,
        "bias_size": size,
        "order": order.data.ptr,
        "groups": groups,
        "group_rows": many,
        "chunk_rows": chunk,
    }
    return groups * chunks, chunks
