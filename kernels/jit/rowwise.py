"""Softmax and its gradients on [outer][n][inner] arrays under Numba; the counterpart of `cpu/rowwise.hpp`.

Rows that lie along memory and are long enough run packs along the row (`rows`). All others run side by side, `WIDTH` rows in a
tile (`columns`): neighbours in memory where there are that many, otherwise gathered from wherever they start. Either way the data
passes through scratch in the working type, so that halves, masks and an `out` that is the input need no code of their own.

Sums run in the working type over short stretches and in float64 beyond them, in an order that depends on the shape alone: the same
bits for any number of threads.
"""

# mypy: ignore-errors
# ruff: noqa: I001
import numpy as np

from .intrinsics import (
    FLOAT, LANES, REAL, add_pack, add_product_pack, inf, keep_apart, kept, load, loop, max_pack, nan, plain_environment,
    pymax, restore_environment, scalar, select, stack, store, stored, working,
)  # fmt: skip


def def_softmax_term(x, largest):
    """The lowered primitive stands here in a generated module."""


DIRECTION = "value"  # value, backward, backward_from_output
LAYOUT = "rows"  # rows, neighbours, gathered
MASKED = False
# ---------------------------------------------------------------- a generated module starts here

WIDTH = 64  # rows in a tile
HALF = LANES // 2
SIZE = FLOAT.bitwidth // 8
STRETCH = 4 if SIZE == 4 else 1  # packs, or rows of a tile, summed in the working type; in float64 every rounding counts
FROM_OUTPUT = DIRECTION == "backward_from_output"
GRADIENT = DIRECTION != "value"
#: What stands at masked places: no weight in the sums.
GONE = REAL(0.0) if FROM_OUTPUT else REAL(-inf)


@scalar
def sum_of(lanes):
    """Their sum, pairs first: a chain of additions would take longer than a short row."""
    total = 0.0
    for i in range(HALF // 2):
        low = np.float64(lanes[i]) + np.float64(lanes[i + HALF])
        total += low + (np.float64(lanes[i + HALF // 2]) + np.float64(lanes[i + HALF + HALF // 2]))
    return total


@scalar
def lost(before, term, after):
    """The rounding error of after = before + term; 0 where that is not finite."""
    added = after - before
    error = (before - (after - added)) + (term - added)
    return error if error == error else 0.0


@scalar
def exponentials(a, n):
    """a[i] = exp(a[i] - max(a)); returns 1 / sum(a). n is a multiple of LANES."""
    lanes = stack(REAL)
    for i in range(LANES):
        lanes[i] = REAL(-inf)
    for i in range(0, n, LANES):
        max_pack(lanes, 0, a, i)
    for i in range(HALF):
        lanes[i] = pymax(lanes[i], lanes[i + HALF])
    largest = lanes[0]
    for i in range(1, HALF):
        largest = pymax(largest, lanes[i])
    total, low = 0.0, 0.0
    for begin in range(0, n, STRETCH * LANES):
        end = min(n, begin + STRETCH * LANES)
        for i in range(begin, end):
            a[i] = def_softmax_term(a[i], largest)
        for i in range(LANES):
            lanes[i] = REAL(0.0)
        for i in range(begin, end, LANES):
            add_pack(lanes, 0, a, i)
        part = sum_of(lanes)
        after = total + part
        low += lost(total, part, after)
        total = after
    return REAL(1.0 / (total + low))


@scalar
def dot(a, b, n):
    """sum(a * b). n is a multiple of LANES."""
    lanes = stack(REAL)
    total = 0.0
    for begin in range(0, n, STRETCH * LANES):
        for i in range(LANES):
            lanes[i] = REAL(0.0)
        for i in range(begin, min(n, begin + STRETCH * LANES), LANES):
            add_product_pack(lanes, 0, a, b, i)
        total += sum_of(lanes)
    return REAL(total)


@loop
def rows(x_, grad_, where, out_, scratch, begin, end, outer, n, inner, masked_nan):
    """Rows `begin` to `end`, each contiguous."""
    keep_apart()
    x, grad, out = stored(x_), stored(grad_), stored(out_)
    padded = (n + LANES - 1) // LANES * LANES
    a, b = working(scratch), working(scratch + padded * SIZE)
    for row in range(begin, end):
        first = row * n
        some = 0
        for i in range(n):
            if MASKED:
                some |= np.int64(kept(where, first + i))
                a[i] = select(kept(where, first + i), load(x, first + i), GONE)
            else:
                a[i] = load(x, first + i)
            if GRADIENT:
                b[i] = select(kept(where, first + i), load(grad, first + i), REAL(0.0)) if MASKED else load(grad, first + i)
        for i in range(n, padded):
            a[i] = GONE
            if GRADIENT:
                b[i] = REAL(0.0)
        gone = REAL(nan) if masked_nan and not some else REAL(0.0)
        scale = REAL(1.0) if FROM_OUTPUT else exponentials(a, padded)
        if DIRECTION == "backward":
            for i in range(padded):
                a[i] = a[i] * scale
        product = dot(a, b, padded) if GRADIENT else REAL(0.0)
        for i in range(n):
            y = a[i] * (b[i] - product) if GRADIENT else a[i] * scale
            store(out, first + i, select(kept(where, first + i), y, gone) if MASKED else y)


@loop
def columns(x_, grad_, where, out_, scratch, begin, end, outer, n, inner, masked_nan):
    """Tiles `begin` to `end`; row i of the tile's column c at place[c] + i * inner."""
    keep_apart()
    x, grad, out = stored(x_), stored(grad_), stored(out_)
    a, b = working(scratch), working(scratch + n * WIDTH * SIZE)
    place, some, sums, lows = stack(np.int64), stack(np.int64), stack(np.float64), stack(np.float64)
    part, scale = stack(REAL), stack(REAL)
    across = (inner + WIDTH - 1) // WIDTH  # tiles of neighbours
    for tile in range(begin, end):
        if LAYOUT == "neighbours":
            start = tile % across * WIDTH
            width = min(WIDTH, inner - start)
            place[0] = tile // across * n * inner + start
        else:
            width = min(WIDTH, outer * inner - tile * WIDTH)
            for c in range(width):
                column = tile * WIDTH + c
                place[c] = column // inner * n * inner + column % inner
        for c in range(WIDTH):
            some[c] = 0
            part[c] = REAL(-inf)
        for i in range(n):
            row = i * WIDTH
            for c in range(width):
                at = (place[0] + c if LAYOUT == "neighbours" else place[c]) + i * inner
                if MASKED:
                    some[c] |= np.int64(kept(where, at))
                    a[row + c] = select(kept(where, at), load(x, at), GONE)
                else:
                    a[row + c] = load(x, at)
                if GRADIENT:
                    b[row + c] = select(kept(where, at), load(grad, at), REAL(0.0)) if MASKED else load(grad, at)
            for c in range(width, WIDTH):
                a[row + c] = REAL(0.0)
                if GRADIENT:
                    b[row + c] = REAL(0.0)
            if not FROM_OUTPUT:
                for c in range(0, WIDTH, LANES):
                    max_pack(part, c, a, row + c)
        for c in range(WIDTH):
            scale[c] = part[c]
            sums[c] = 0.0
            lows[c] = 0.0
        if not FROM_OUTPUT:
            for first in range(0, n, STRETCH):
                for c in range(WIDTH):
                    part[c] = REAL(0.0)
                for i in range(first, min(n, first + STRETCH)):
                    row = i * WIDTH
                    for c in range(WIDTH):
                        a[row + c] = def_softmax_term(a[row + c], scale[c])
                    for c in range(0, WIDTH, LANES):
                        add_pack(part, c, a, row + c)
                for c in range(WIDTH):
                    after = sums[c] + np.float64(part[c])
                    lows[c] += lost(sums[c], np.float64(part[c]), after)
                    sums[c] = after
            for c in range(WIDTH):
                scale[c] = REAL(1.0 / (sums[c] + lows[c]))
                sums[c] = 0.0
        if GRADIENT:
            for first in range(0, n, STRETCH):
                for c in range(WIDTH):
                    part[c] = REAL(0.0)
                for i in range(first, min(n, first + STRETCH)):
                    row = i * WIDTH
                    if not FROM_OUTPUT:
                        for c in range(WIDTH):
                            a[row + c] = a[row + c] * scale[c]
                    for c in range(0, WIDTH, LANES):
                        add_product_pack(part, c, a, b, row + c)
                for c in range(WIDTH):
                    sums[c] += np.float64(part[c])
            for c in range(WIDTH):
                scale[c] = REAL(sums[c])
        for i in range(n):
            row = i * WIDTH
            for c in range(width):
                at = (place[0] + c if LAYOUT == "neighbours" else place[c]) + i * inner
                y = a[row + c] * (b[row + c] - scale[c]) if GRADIENT else a[row + c] * scale[c]
                gone = REAL(nan) if masked_nan and some[c] == 0 else REAL(0.0)
                store(out, at, select(kept(where, at), y, gone) if MASKED else y)


LOOP = rows if LAYOUT == "rows" else columns


@loop
def band(x, grad, where, out, scratch, begin, end, outer, n, inner, masked_nan):
    before = plain_environment()
    LOOP(x, grad, where, out, scratch, begin, end, outer, n, inner, masked_nan)
    restore_environment(before)
