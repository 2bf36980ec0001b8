"""From which size on threads pay on this machine: measured by ``fastact tune``, stored in the user's cache folder, read when needed.

The table that is in force is `current()`: what was measured here, or else what fastact ships (`fastact.thresholds`). It is read at the
first large call, never at import. A file that cannot be read, or that another machine wrote, is reported once and left alone.
"""

from __future__ import annotations

import functools
import math
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import cache, threads
from .arrays.common import KINDS
from .kernels.cpu import compiled
from .kernels.definitions.language import COSTS
from .thresholds import CROSSOVER, NUMBA

Sizes = Mapping[str, Mapping[str, int]]

#: Stands where something does not pay at any size.
NEVER = 1 << 62
#: Elements tried for threads, and for Numba against our own.
SIZES = tuple(1 << power for power in range(14, 21))
LARGE = tuple(1 << power for power in range(18, 23))
#: How much faster threads have to be: in a draw the other cores are left to others. And Numba's: it may have to compile first.
MARGIN, NUMBA_MARGIN = 1.05, 1.1
#: Who speaks for a cost class.
VOTERS = {"move": ("relu", "leaky_relu", "hard_silu"), "exp": ("silu", "tanh", "elu"), "erf": ("gelu", "softplus", "log_sigmoid")}
#: Samples of each, in turns, and how long one takes at least.
ROUNDS, SAMPLE_SECONDS = 25, 0.0002
#: Longer than threads stay awake.
PAUSE = 60e-6
FORMAT = 1


@dataclass(frozen=True)
class Table:
    """From how many elements on threads pay, and Numba is faster still, by cost class and storage type; and who says so."""

    threads: Sizes
    numba: Sizes
    source: str


SHIPPED = Table(CROSSOVER, NUMBA, "shipped with fastact")
_current: Table | None = None


def path() -> Path:
    """Where the table of this user is, if there is one."""
    return cache.root() / "tuned.json"


@functools.cache
def machine() -> dict[str, Any]:
    """What a measurement holds for: processor, cores, instruction set and version of fastact."""
    from . import __version__

    return {"processor": _processor(), "cores": os.cpu_count() or 1, "instruction set": compiled.ISA, "fastact": __version__}


def _processor() -> str:
    """The processor's name, family and model, as the system tells it at no cost."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            first = file.read(2048).partition("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    return ", ".join(facts[key] for key in ("model name", "cpu family", "model") if key in facts) or platform.machine()


def current() -> Table:
    """The table in force."""
    compiled.settled_threads()
    return _current or SHIPPED


def _settle() -> None:
    """What waits until the first large call: the quota, and the tuned table."""
    compiled.set_num_threads(-1, threads.quota())
    reload()


def reload() -> None:
    """Read the user's table anew."""
    problem = None
    table = SHIPPED
    try:
        table = read(path()) or SHIPPED
    except ValueError as error:
        problem = str(error)
    use(table)
    if problem:
        warnings.warn(f"{problem}; it is not used: run `fastact tune`, or `fastact tune --reset`", RuntimeWarning, stacklevel=2)


def use(table: Table) -> None:
    """Put a table in force."""
    global _current
    _current = table
    numba = _pays_anywhere(table.numba)
    for number, cost in enumerate(COSTS):
        for kind in KINDS:
            compiled.set_crossover(number, kind, table.threads[cost][kind], table.numba[cost][kind] if numba else NEVER)


def _pays_anywhere(sizes: Sizes) -> bool:
    return any(size < NEVER for row in sizes.values() for size in row.values())


def read(file: Path) -> Table | None:
    """The table of a file, None if there is no file.

    Raises
    ------
    ValueError
        If it cannot be read, or was measured on another machine.
    """
    import json

    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"{file} is not a table of this version of fastact")
    if found.get("machine") != machine():
        raise ValueError(f"{file} was measured on another machine ({found.get('machine')}, here {machine()})")
    for name in ("threads", "numba"):
        table = found.get(name)
        if not (
            isinstance(table, dict)
            and all(isinstance(table.get(cost), dict) for cost in COSTS)
            and all(type(table[cost].get(kind)) is int and 0 < table[cost][kind] <= NEVER for cost in COSTS for kind in KINDS)
        ):
            raise ValueError(f"{file} has no size for every cost class and storage type in {name!r}")
    return Table(found["threads"], found["numba"], str(file))


def write(table: Table, on: int) -> Path:
    """Store what was measured on that many threads, in one step, and put it in force."""
    import json

    text = json.dumps(
        {"format": FORMAT, "machine": machine(), "measured on threads": on, "threads": table.threads, "numba": table.numba}, indent=1
    )
    cache.write(path(), text.encode())
    use(Table(table.threads, table.numba, str(path())))
    return path()


def reset() -> bool:
    """Remove the user's table; whether there was one."""
    there = path().exists()
    path().unlink(missing_ok=True)
    use(SHIPPED)
    return there


# ---------------------------------------------------------------- measuring


def best(gains: Mapping[int, float], margin: float) -> int:
    """The size from which on the faster one gains most, by the gain at each size; `NEVER` if at none."""
    return max([NEVER, *gains], key=lambda limit: sum(math.log(g / margin) for size, g in gains.items() if size >= limit))


def compare(first: Callable[[], object], second: Callable[[], object], pause: float = 0.0) -> float:
    """How many times as fast the second call is: the best of samples taken in turns; before each call the caller is busy for `pause`."""
    now = time.perf_counter
    fastest, numbers = [math.inf, math.inf], [1, 1]
    for i, call in enumerate((first, second)):
        call()
        begin = now()
        call()
        numbers[i] = 1 if pause else max(1, int(SAMPLE_SECONDS / max(now() - begin, 1e-7)))
    for _ in range(ROUNDS):
        for i, call in enumerate((first, second)):
            begin = now()
            while pause and now() < begin + pause:
                pass
            begin = now()
            for _ in range(numbers[i]):
                call()
            fastest[i] = min(fastest[i], (now() - begin) / numbers[i])
    return fastest[0] / fastest[1]


def gain_of_threads(one: Callable[[], object], threads: Callable[[], object]) -> float:
    """Between calls in a row, for which threads are awake, and calls that have to wake them: the geometric mean of both gains."""
    return math.sqrt(compare(one, threads) * compare(one, threads, PAUSE))


def tasks(numba: bool) -> list[tuple[str, str, str, int]]:
    """What there is to measure: "threads" or "numba", cost class, storage type, size."""
    found = [("threads", cost, kind, size) for cost in COSTS for kind in KINDS for size in SIZES]
    return found + [("numba", cost, kind, size) for cost in COSTS for kind in KINDS for size in LARGE if numba]


def measure(threads: int, numba: bool, step: Callable[[str], object] = lambda task: None) -> tuple[Table, dict[str, Any]]:
    """Measure all of it.

    Parameters
    ----------
    threads
        How many ours are.
    numba
        Whether to compare Numba, too; it compiles a kernel for each cost class and storage type.
    step
        Called before each task, with what it is.

    Returns
    -------
    table : Table
    gains : dict
        What was found, by "threads" or "numba", cost class, storage type and size.
    """
    from . import registry

    gains: dict[str, Any] = {what: {cost: {kind: {} for kind in KINDS} for cost in COSTS} for what in ("threads", "numba")}
    for what, cost, kind, size in tasks(numba):
        step(f"{what} {cost} {kind} {size}")
        votes = []
        for name in VOTERS[cost] if what == "threads" else VOTERS[cost][:1]:
            x, out = _arrays(kind, size)
            ours = _call(name, kind, x, out, threads)
            if what == "threads":
                votes.append(gain_of_threads(_call(name, kind, x, out, 1), ours))
            else:
                kernel = registry.get("numba").elementwise(name, "value", kind, False)
                votes.append(compare(ours, functools.partial(kernel, [x], _params(name), [out])))
        gains[what][cost][kind][size] = statistics.median(votes)
    found = {
        what: {cost: {kind: best(gains[what][cost][kind], margin) for kind in KINDS} for cost in COSTS}
        for what, margin in (("threads", MARGIN), ("numba", NUMBA_MARGIN))
    }
    return Table(found["threads"], found["numba"], "measured"), gains


def _params(name: str) -> list[float]:
    from .kernels.definitions import DEFINITIONS

    return [p for p in DEFINITIONS[name].params.values() if p is not None]


def _arrays(kind: str, size: int) -> tuple[Any, Any]:
    """Ordinary numbers as kernels take them: halves as integers."""
    import numpy as np

    x = np.resize(np.random.default_rng(0).normal(scale=3.0, size=1 << 14).astype(np.float32), size)
    if kind == "bfloat16":
        x = (x.view(np.uint32) >> 16).astype(np.uint16)
    elif kind == "float16":
        x = x.astype(np.float16).view(np.uint16)
    else:
        x = x.astype(kind)
    return x, np.empty_like(x)


def _call(name: str, kind: str, x: Any, out: Any, on: int) -> Callable[[], object]:
    return functools.partial(compiled.run_elementwise, f"{name}_value", kind, False, [x], _params(name), [out], on)


compiled.on_first_large_call(_settle)
use(SHIPPED)
_current = None
