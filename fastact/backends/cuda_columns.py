"""Row-wise calls on CUDA along any axis but the last: how a call is cut into tiles, and the entry point for them (``columns.cuh``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from . import cupy as base
from .stages import ITEMSIZE

#: Bytes of shared memory for the tile of a block, where the shape allows: three blocks find room on a multiprocessor.
TILE = 64 * 1024
#: Blocks of a cluster, at most; tiles that are fewer are split further as long as a block keeps so many elements.
MOST, FEW, SHARE = 8, 128, 8192
#: Threads of a block, at least and at most, if they share columns, and bytes of the tile for each; neighbouring columns of a tile, at most.
THREADS, EACH, WIDEST = (256, 512), 256, 256
#: The longest column for one thread.
SHORT = 64


class Tiling(NamedTuple):
    """How a call is cut. The first eight are what the kernel takes, as ``Tiling`` in columns.cuh has them."""

    width: int
    many: int
    across: int
    rows: int
    room: int
    apart: int
    groups: int
    vectors: int
    tiles: int
    blocks: int  #: of a column; 0 if one thread takes it
    threads: int  #: of a block
    shared: int  #: bytes


def power_up(k: int) -> int:
    """The least power of two that is not below `k`."""
    return 1 << max(0, k - 1).bit_length()


def rounded(k: int, unit: int) -> int:
    """`k`, rounded up to a multiple."""
    return -(-k // unit) * unit


def held_bytes(kind: str, real: str, features: Sequence[str]) -> int:
    """What an element takes in a tile; as ``Columns::T`` in columns.cuh."""
    as_read = {"BIAS", "SCALED", "NOISE"}.isdisjoint(features)
    return 8 if real == "double" else ITEMSIZE[kind] if as_read else 4


def tiling(
    kind: str, wide: int, shape: tuple[int, int, int], streams: int, device: tuple[int, int], aligned: bool = True, each: int = EACH
) -> Tiling:
    """Cut a call into tiles. It follows from the shape and the kind of card alone: the same call gives the same bits.

    Widths and clusters are those that did best on an H100: tiles of 128 to 256 bytes of a row, in shared memory of 64 KiB a block, and a
    column split over a cluster of up to 8 blocks where it is longer.

    Parameters
    ----------
    kind, wide
        How elements are stored, and the bytes that one takes on the chip (`held_bytes`).
    shape
        ``(outer, n, inner)``.
    streams
        Arrays that are kept on the chip: x, and grad if there is one.
    device
        Its compute capability as 90, and the bytes of shared memory a block may have.
    aligned
        Whether arrays begin on borders of 16 bytes.
    each
        Bytes of the tile that a thread should have, about.
    """
    outer, n, inner = shape
    size = ITEMSIZE[kind]
    lanes, number = 16 // size, wide * streams  # bytes of an element on the chip
    columns, least = WIDEST, 128 // size
    while columns > least and n * columns * number > TILE:
        columns //= 2
    if inner <= columns:  # whole outer indices, which are contiguous
        many = max(1, min(outer, columns // inner, TILE // (n * inner * number + 128 * streams)))
        width, across = inner, 1
    else:
        many, across = 1, -(-inner // columns)
        width = columns if inner * size % 128 == 0 else rounded(-(-inner // across), lanes)
        across = -(-inner // width)
    columns, tiles = width * many, -(-outer // many) * across
    single = columns >= WIDEST // 2 and n <= SHORT and n * columns * number <= TILE
    blocks, most = int(not single), MOST if device[0] >= 90 else 1
    while 0 < blocks < most and (n * columns * number > TILE * blocks or (tiles * blocks < FEW and n * columns >= 2 * SHARE * blocks)):
        blocks *= 2
    rows = -(-n // max(1, blocks))
    if across == 1:
        rows = rounded(rows, lanes)
    threads = (
        rounded(columns, 32)
        if single
        else min(THREADS[1], max(THREADS[0], power_up(rows * columns * number // each), rounded(columns, 32)))
    )
    around = 0 if single else rounded(64 + 8 * threads + (8 * blocks * columns if blocks > 1 else 0), 128)
    room = min(rows, (device[1] - around) // (number * columns))
    if room < rows and across == 1:
        room = room // lanes * lanes
    apart = room * width
    if many > 1:  # neighbouring columns in neighbouring banks of memory, on borders of 16 bytes
        line, quad = 128 // wide, 16 // wide
        apart += -apart % quad
        apart += (rounded(width, quad) - apart) % line
    shared = around + number * (many * apart if many > 1 else room * width)
    pitch = inner if across > 1 else n * inner
    vectors = aligned and pitch * size % 16 == 0
    groups = 1 if single else threads // columns
    return Tiling(width, many, across, rows, room, apart, groups, int(vectors), tiles, blocks, threads, shared)


def takes(program: str, shape: tuple[int, int, int], found: Tiling) -> bool:
    """Whether the executor takes such a call: what a program remembers has to have room, and the grid its blocks."""
    if found.room < found.rows and (program == "entmax" or found.room == 0):
        return False
    return shape[1] < 2**31 and found.tiles * max(1, found.blocks) <= base.MOST_BLOCKS


def tile_fields() -> tuple[tuple[str, str], ...]:
    """The members of ``Tiling`` in columns.cuh: type and name."""
    inside = base._file("columns.cuh").partition("struct Tiling {")[2].partition("};")[0]
    return tuple(re.findall(r"^    ([\w ]+ )(\w+);", inside, re.MULTILINE))


class Kernel(NamedTuple):
    """What is compiled: one kernel for many shapes."""

    blocks: int
    beyond: bool  #: whether some of a column may have no room
    threads: int
    least: int  #: blocks that should have room on a multiprocessor
    number: str  #: what numbers of a column, and so its sums, are


def kernel_of(found: Tiling, kind: str, real: str, features: Sequence[str]) -> Kernel:
    """The kernel for a tiling."""
    # Floats are enough where results are halves and a thread adds few; not for a result that is float64.
    few = found.rows * found.width * found.many <= 256 * found.threads
    short = ITEMSIZE[kind] == 2 and real == "float" and few and {"LSE", "SINK", "LABELS", "SOFT"}.isdisjoint(features)
    threads = rounded(found.threads, 256)
    return Kernel(
        found.blocks, found.room < found.rows, threads, 3 if threads == 256 and real == "float" else 1, "float" if short else "double"
    )


def entries(
    program: str,
    direction: str,
    kind: str,
    real: str,
    kernel: Kernel,
    fields: Sequence[tuple[str, str]],
    features: Sequence[str] = ("RESULT",),
    prefix: str = "",
) -> list[str]:
    """The entry point: it takes what ``RowsCall`` holds, whose `fields` are given, and then ``Tiling``."""
    way = "VALUE" if direction == "value_and_grad" else direction.upper()
    what = f"programs::{program.upper()}, programs::{way}, {kind.upper()}, {real}, {kernel.number}"
    made = f"{kernel.blocks}, {str(kernel.beyond).lower()}, {' | '.join(features) or '0'}, {what}"
    cluster = f"__cluster_dims__({kernel.blocks}, 1, 1) " if kernel.blocks > 1 else ""
    own = tile_fields()
    takes = ", ".join([*(t + name for t, name in fields), *(f"long long tile_{name}" for _, name in own)])
    row = ", ".join(name for _, name in fields)
    cut = ", ".join(f"static_cast<int>(tile_{name})" for _, name in own)
    bounds = f"{cluster}__launch_bounds__({kernel.threads}, {kernel.least})"
    made = f"const RowsCall call = {{{row}}};\n    const Tiling tiling = {{{cut}}};\n    columns<{made}>(call, tiling);"
    return [f'namespace fastact {{\nextern "C" __global__ void {bounds} {prefix}row_program({takes}) {{\n    {made}\n}}\n}}']
