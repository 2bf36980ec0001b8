"""What a row is timed against, and how: in turns, so that whatever slows the machine slows both.

Rows bound by memory are measured by a copy of as many bytes: cost class "move" where storage needs no conversion, and everything on a
GPU. So are small ones, which are bound by the call. Rows bound by arithmetic are measured by a fixed loop of multiply-adds over as
many bytes. Both run on as many threads as the row.
"""

from __future__ import annotations

import functools
import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..kernels.cpu import compiled
from ..machine import cores
from .suite import PIECE, Row, dtype

#: Does something that many times.
Repeat = Callable[[int], object]

#: How long one sample takes at least. Short: some samples then see no other process.
SAMPLE_SECONDS = 0.0005
#: Samples of each in a measurement.
ROUNDS = 15


#: The `contention` up to which threads can be timed. Beyond, they wait for each other: with GNU OpenMP, which spins, for milliseconds.
QUIET = 1.25


def repeat(call: Callable[[], object]) -> Repeat:
    """`call`, over and over."""

    def run(number: int) -> None:
        for _ in range(number):
            call()

    return run


def _threaded(pieces: Sequence[Repeat]) -> Repeat:
    """All `pieces`, each on a thread of its own."""
    if len(pieces) == 1:
        return pieces[0]
    return lambda number: [*_pool(len(pieces)).map(lambda piece: piece(number), pieces)]


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "fastact-yardstick")


def copy(nbytes: int, threads: int = 1) -> Repeat:
    """A copy that moves `nbytes`: half of them read, half written."""
    return _over(nbytes, threads, lambda source, target: functools.partial(np.copyto, target, source))


def arithmetic(nbytes: int, threads: int = 1) -> Repeat:
    """A fixed loop of multiply-adds that moves `nbytes`."""
    return _over(nbytes, threads, lambda source, target: functools.partial(compiled.fma_yardstick, source, target))


def _over(nbytes: int, threads: int, call: Callable[[Any, Any], Callable[[], object]]) -> Repeat:
    arrays = [np.array_split(np.ones(nbytes // 16), threads) for _ in range(2)]
    return _threaded([repeat(call(source, target)) for source, target in zip(*arrays, strict=True)])


def device_copy(library: Any, nbytes: int) -> Repeat:
    """A copy on a GPU."""
    source, target = (library.ones(nbytes // 2, "uint8") for _ in range(2))
    wait = library.cuda.get_current_stream().synchronize
    return repeat(lambda: (library.copyto(target, source), wait()))


def yardstick(row: Row) -> Repeat:
    """What `row` is timed against."""
    if row.library != "numpy":
        return device_copy(importlib.import_module(row.library), row.bytes)
    moves = row.cost == "move" and dtype(row.kind).itemsize >= 4
    return (copy if moves or row.size < PIECE else arithmetic)(row.bytes, row.threads)


def sample(run: Repeat, number: int) -> float:
    """Seconds for `number` repetitions, with caches as the last repetition left them."""
    run(1)
    begin = time.perf_counter()
    run(number)
    return time.perf_counter() - begin


def best(runs: Sequence[Repeat], rounds: int = ROUNDS, seconds: float = SAMPLE_SECONDS) -> list[float]:
    """The least seconds that one repetition of each takes, measured in turns.

    The least and not the median, which on a machine that others use, too, strays by twenty percent where the least stays within one.
    """
    numbers = [1] * len(runs)
    for i, run in enumerate(runs):
        while sample(run, numbers[i]) < seconds:  # the first also compiles, touches memory and wakes threads
            numbers[i] *= 2
    times = [[sample(run, number) / number for run, number in zip(runs, numbers, strict=True)] for _ in range(rounds)]
    return [min(column) for column in zip(*times, strict=True)]


def contention() -> float:
    """How many times as long a loop takes on all cores at once as on one: about 1 where other processes leave them alone."""
    one, all_cores = (arithmetic(threads << 22, threads) for threads in (1, cores()))
    pairs = [(sample(one, 8), sample(all_cores, 8)) for _ in range(5)]
    return statistics.median(many / single for single, many in pairs)


def until_quiet(deadline: float) -> bool:
    """Wait until other processes leave the cores alone, or the clock `time.monotonic` shows `deadline`; whether they do."""
    while contention() > QUIET:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def measure(row: Row, rounds: int = ROUNDS) -> tuple[float, float]:
    """The seconds that `row` takes, and those of its yardstick."""
    seconds, unit = best([repeat(row.prepare()), yardstick(row)], rounds)
    return seconds, unit
