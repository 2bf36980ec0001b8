"""Row-wise calls on CUDA: which executor takes a call, with how many threads, and its entry points.

Rows along the last axis go to ``onchip.cuh``, which passes over memory once; what that does not take goes to ``rows.cuh``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..rows import Rows, Spread
from . import cuda_columns
from . import cupy as base
from .stages import BLOCKS, ITEMSIZE, TEAM, power, working_type

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
    "SMOOTH",
    "EDGES",
)
#: Threads of a block of the general executor, by who takes a row.
TEAMS = {"Alone": 256, "Warp": 128, "Block": base.THREADS}
#: The longest row for a warp, and how many numbers row programs may remember at a time.
SHORT, MEMORY = 1024, 2**23


# ---------------------------------------------------------------- on the chip


class Plan(NamedTuple):
    """How rows are kept on the chip."""

    place: str  #: "Registers", "Bulk" or "Copied": the last two are shared memory
    vectors: int  #: that a thread holds, or has on the way
    lanes: int  #: of a warp that take a row; 0 if a block or more does
    threads: int  #: of a block
    blocks: int = 1  #: that take a row
    least: int = 0  #: blocks that should have room on a multiprocessor, if that is said
    held: int = 0  #: vectors of each input in a block's shared memory
    shared: int = 0  #: bytes of shared memory


#: What a device is asked for: (compute capability as 90, bytes of shared memory a block may have).
Device = tuple[int, int]
#: A block's share of a row, in 16 bytes, that leaves room for three blocks on a multiprocessor.
SHARE = 4096


def _warps(threads: int) -> int:
    return max(32, -(-threads // 32) * 32)


def plan(kind: str, n: int, streams: int, reads_only: bool, edges: bool, device: Device) -> Plan:
    """Where rows of `n` elements go. The figures are those that reached the copy limit of an H100, or are next to them.

    Parameters
    ----------
    kind
        How elements are stored.
    streams
        Arrays that are read along the row.
    reads_only
        No result along the row.
    edges
        Rows may begin within 16 bytes.
    device
        Its compute capability, and its shared memory a block.
    """
    lanes = 16 // ITEMSIZE[kind]
    vectors = -(-(n + (lanes - 1 if edges else 0)) // lanes)
    half, back, clusters = lanes == 8, streams > 1, device[0] >= 90
    if vectors <= 32:
        return Plan("Registers", 1, power(vectors), 256)
    if vectors <= 128:
        return Plan("Registers", 2 if vectors <= 64 else 4, 32, 256, least=4)

    def registers(count: int, blocks: int = 1) -> Plan:
        threads = _warps(-(-vectors // (count * blocks)))
        return Plan("Registers", count, 0, threads, blocks, least=1024 // _most(threads), shared=_cells(threads, blocks))

    # The most vectors for a block of so many a thread.
    if half:
        steps = [(1024, 2), (2048, 4)] if back else [(256, 2), (2048, 4)]
    else:
        steps = [(1024, 2), (2048, 4)] if back else [(2048, 2), (4096, 4)]
    for most, count in [] if reads_only and vectors > 256 else steps:
        if vectors <= most:
            return registers(count)
    if not half and clusters and not reads_only:
        wide = [(4096, 2, 2), (8192, 2, 4), (16384, 2, 8), (32768, 4, 8)] if back else [(8192, 4, 8), (32768, 8, 8)]
        for most, count, blocks in wide:
            if vectors <= most:
                return registers(count, blocks)
    if reads_only:
        blocks = 8 if clusters and vectors > 8192 else 1
        threads = min(512, _warps(-(-vectors // (4 * blocks))))
        return Plan("Copied", 8 if vectors >= 4096 else 4, 0, threads, blocks, shared=_cells(threads, blocks) + 32)
    if not clusters:
        threads, blocks, least = (1024, 1, 1)
    elif back:
        threads, blocks, least = (256, 2, 3) if vectors <= 4096 else (512, 4, 1) if vectors <= 16384 else (512, 8, 1)
    elif vectors <= SHARE:
        threads, blocks, least = (512, 1, 3)
    elif vectors <= 6400:
        threads, blocks, least = (512, 1, 2)
    else:
        blocks = next((c for c in (2, 4, 8) if vectors <= c * SHARE), 8)
        threads, least = 512, 3 if vectors <= 8 * SHARE else 1
    around = _cells(threads, blocks) + 32
    held = min(-(-vectors // blocks), (device[1] - around) // (16 * min(streams, 2)))
    return Plan("Bulk" if clusters else "Copied", 4, 0, threads, blocks, least, held, around + 16 * min(streams, 2) * held)


def _most(threads: int) -> int:
    """What a kernel is compiled for: one for all lengths that have as many vectors a thread."""
    return next(most for most in (128, 256, 512, 1024) if threads <= most)


def _cells(threads: int, blocks: int) -> int:
    """Bytes that two reductions need, as in onchip.cuh."""
    return 2 * 16 * blocks * threads // 32


def on_chip(call: Rows, device: Device) -> tuple[Plan, bool] | None:
    """The plan for a call, and whether rows may begin within 16 bytes; None if it is not for this executor."""
    outer, n, inner = call.x.shape
    if inner != 1 or call.program == "entmax" or call.dbias is not None or n == 0 or n >= 2**24 or outer >= base.MOST_BLOCKS // 8:
        return None
    if call.wide and call.kind != "float64":
        return None
    size = ITEMSIZE[call.kind]
    places = {a.data.ptr % 16 for a in (call.x, call.out, call.grad, call.soft) if a is not None}
    if len(places) > 1 or next(iter(places)) % size:
        return None
    edges = places != {0} or n * size % 16 != 0
    streams = 1 + (call.grad is not None) + (call.soft is not None)
    return plan(call.kind, n, streams, call.out is None, edges, device), edges


def on_chip_entries(
    program: str, direction: str, kind: str, plan: Plan, features: Sequence[str] = ("RESULT",), prefix: str = ""
) -> list[str]:
    """The entry point of a row-wise kernel that keeps rows on the chip; the arguments are those of `rows_entries`, and a plan."""
    real = working_type(kind, False)
    exact = real == "double" or kind == "float32" or plan.place != "Registers"
    number = "double" if exact or {"LSE", "SINK", "LABELS", "SOFT"} & set(features) else "float"
    team = f"Lanes<{plan.lanes}>" if plan.lanes else f"Blocks<{plan.blocks}, {plan.threads // 32}>"
    number = f"Beside<{number}>" if 0 < plan.lanes < 32 else number
    place = f"Registers<{plan.vectors}>" if plan.place == "Registers" else f"Chunk<{str(plan.place == 'Bulk').lower()}, {plan.vectors}>"
    way = "VALUE" if direction == "value_and_grad" else direction.upper()
    made = f"{team}, {place}, {' | '.join(features) or '0'}, programs::{program.upper()}, programs::{way}, {kind.upper()}, {real}, {number}"
    cluster = f"__cluster_dims__({plan.blocks}, 1, 1) " if plan.blocks > 1 else ""
    bounds = f"{plan.threads}, {plan.least}" if plan.least else f"{plan.threads}"
    return [_entry(f"{cluster}__launch_bounds__({bounds}) {prefix}row_program", f"rows_on_chip<{made}>")]


def _entry(head: str, body: str) -> str:
    takes, gives = ", ".join(t + name for t, name in row_fields()), ", ".join(name for _, name in row_fields())
    text = f'extern "C" __global__ void {head}({takes}) {{\n    const RowsCall call = {{{gives}}};\n    {body}(call);\n}}'
    return f"namespace fastact {{\n{text}\n}}"


# ---------------------------------------------------------------- any rows


@functools.cache
def row_terms() -> tuple[str, ...]:
    """The lowered definitions that row programs call."""
    return tuple(dict.fromkeys(re.findall(r"defs::(\w+)", base._file("onchip.cuh"))))


@functools.cache
def row_fields() -> tuple[tuple[str, str], ...]:
    """The members of ``RowsCall`` in rows.cuh: type and name."""
    inside = base._file("rows.cuh").partition("struct RowsCall {")[2].partition("};")[0]
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
    entries = [_entry(f"__launch_bounds__({TEAMS[team]}) {prefix}row_program", f"rows<{made}>")]
    if "DBIAS" in features:
        takes = "const double *partial, double *dbias, long long chunks, long long size"
        text = f"__launch_bounds__({TEAM}) {prefix}fold_bias({takes}) {{\n    sum_of_chunks(partial, dbias, chunks, size);\n}}"
        entries.append(f'namespace fastact {{\nextern "C" __global__ void {text}\n}}')
    return entries


# ---------------------------------------------------------------- a call


@functools.cache
def _general(program: str, direction: str, kind: str, wide: bool, team: str, features: tuple[str, ...]) -> Any:
    return _made("rows.cuh", rows_entries, program, direction, kind, wide, team, features)


@functools.cache
def _on_chip(program: str, direction: str, kind: str, plan: Plan, features: tuple[str, ...]) -> Any:
    return _made("onchip.cuh", on_chip_entries, program, direction, kind, plan, features)


@functools.cache
def _columns(program: str, direction: str, kind: str, real: str, kernel: cuda_columns.Kernel, features: tuple[str, ...]) -> Any:
    return _made("columns.cuh", cuda_columns.entries, program, direction, kind, real, kernel, row_fields(), features)


def _made(loops: str, entries: Callable[..., list[str]], *asked: Any) -> Any:
    """The kernels of `entries(*asked)` over `loops`."""
    return base._Module(lambda: base.unit(list(row_terms()), loops, entries(*asked)), repr((loops, *asked)))


def _in_columns(call: Rows, features: Sequence[str], device: Device) -> tuple[cuda_columns.Tiling, str] | None:
    """How a call is cut into tiles of columns, and what it is computed in; None if it is not for that executor."""
    shape = call.x.shape
    if (shape[2] == 1 and call.program != "entmax") or shape[1] == 0 or call.dbias is not None:
        return None
    real = "double" if call.program == "entmax" else working_type(call.kind, call.wide)
    aligned = not any(a.data.ptr % 16 for a in (call.x, call.out, call.grad) if a is not None)
    few = cuda_columns.EACH // 4 if call.program == "entmax" else cuda_columns.EACH  # there is much to do for each
    wide = cuda_columns.held_bytes(call.kind, real, features)
    found = cuda_columns.tiling(call.kind, wide, shape, 1 + (call.grad is not None), device, aligned, few)
    return (found, real) if cuda_columns.takes(call.program, shape, found) else None


@functools.cache
def device_facts(device: int) -> Device:
    """What plans depend on."""
    found = base.module().cuda.Device(device)
    return int(found.compute_capability), int(found.attributes["MaxSharedMemoryPerBlockOptin"])


def run(call: Rows) -> None:
    """A row-wise call on CuPy arrays of one device."""
    outer, n, inner = call.x.shape
    given = {name: a.data if isinstance(a, Spread) else a for name, a in vars(call).items() if hasattr(a, "data")}
    rows, device = outer * inner, base.one_device(given)
    if rows == 0 or (n == 0 and call.lse is None and call.loss is None):
        return
    has = {
        "BIAS": call.bias, "WHERE": call.where, "LIMITS": call.limits, "NOISE": call.noise, "SCALED": call.scale != 1.0 or None,
        "SINK": call.sink, "GRAD": call.grad, "SOFT": call.soft, "WEIGHT": call.weight, "HARD": call.hard or None, "LSE": call.lse,
        "RESULT": call.out, "DALPHA": call.dalpha, "DBIAS": call.dbias, "LABELS": call.labels, "SMOOTH": call.smoothing > 0 or None,
        "EDGES": None,
    }  # fmt: skip
    features = tuple(name for name in FEATURES if has[name] is not None)
    with base.current(device):
        values, keep = _row_values(call)
        chosen = on_chip(call, device_facts(device))
        if chosen is not None:
            found, edges = chosen
            features += ("EDGES",) * edges
            found_of_kernel = found._replace(threads=_most(found.threads), held=0, shared=0)
            loaded = _on_chip(call.program, call.direction, call.kind, found_of_kernel, features)
            values["held"] = found.held
            grid = -(-rows // (found.threads // found.lanes)) if found.lanes else rows * found.blocks
            args = tuple(values[name] for _, name in row_fields())
            loaded.launch("row_program", device, grid, found.threads, args, found.shared)
            return
        cut = _in_columns(call, features, device_facts(device))
        if cut is not None:
            tiling, real = cut
            own = tiling[: len(cuda_columns.tile_fields())]
            kernel = cuda_columns.kernel_of(tiling, call.kind, real, features)
            loaded = _columns(call.program, call.direction, call.kind, real, kernel, features)
            args = (*(values[name] for _, name in row_fields()), *own)
            loaded.launch("row_program", device, tiling.tiles * max(1, tiling.blocks), tiling.threads, args, tiling.shared)
            return
        team = "Alone" if inner > 1 else "Warp" if n <= SHORT else "Block"
        loaded = _general(call.program, call.direction, call.kind, call.wide, team, features)
        threads = TEAMS[team] if team != "Block" else min(base.THREADS, power(n // 4))
        teams = rows
        if call.dbias is not None:
            teams, chunks = _share_bias(call, values, keep, most=BLOCKS if team == "Block" else 32 * BLOCKS)
        in_block = {"Alone": threads, "Warp": threads // 32, "Block": 1}[team]
        grid = min(-(-teams // in_block), base.MOST_BLOCKS)
        if call.program == "entmax":  # the only one that has to remember what it computes
            grid = max(1, min(grid, MEMORY // (n * in_block)))
            keep.append(base.module().empty(grid * in_block * n, "float64"))
            values["memory"] = keep[-1].data.ptr
        loaded.launch("row_program", device, grid, threads, tuple(values[name] for _, name in row_fields()))
        if call.dbias is not None and chunks > 1:
            size = call.dbias.size
            fold = (values["partial"], call.dbias.data.ptr, chunks, size)
            loaded.launch("fold_bias", device, -(-size // TEAM), TEAM, fold)


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
    read = {a.data.ptr for a in (call.x, call.grad, call.soft) if a is not None}
    values["in_place"] = int(call.out is not None and call.out.data.ptr in read)
    return values, []


def _share_bias(call: Rows, values: dict[str, Any], keep: list[Any], most: int) -> tuple[int, int]:
    """Gather the rows that share their bias, for sums without races in a fixed order: how many teams there are, and in how many chunks.

    Rows of a group differ in nothing but what the bias is broadcast along; they are as many for each.
    """
    cupy, bias, (outer, n, inner) = base.module(), call.bias, call.x.shape
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
