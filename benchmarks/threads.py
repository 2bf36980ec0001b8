"""What threads of our own bring over one, and beside Numba's: elementwise functions, rows and pipelines, by size.

    taskset -c 0,1 python benchmarks/threads.py
    python benchmarks/threads.py --functions gelu,mish --powers 22,24 --threads 1,2,4,8,16

All are timed in turns, on the same arrays, into an existing result, at the best of many samples; times are of one call.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import click
import numpy as np

import fastact
from fastact import registry
from fastact.backends.cython import CythonBackend
from fastact.regression.yardstick import best, repeat

#: Length of a row, for what works on rows.
WIDTH = 1024


def calls(name: str, size: int, kind: str, counts: list[int], numba: bool) -> dict[str, Callable[[], Any]]:
    """What to time, by contestant."""
    x = np.resize(np.random.default_rng(0).normal(scale=3.0, size=1 << 16), size).astype(kind).reshape(-1, WIDTH)
    out = np.empty_like(x)
    function = getattr(fastact, name)
    found: dict[str, Callable[[], Any]] = {}
    for count in counts:
        found[f"{count}"] = partial(_ours, function, name, x, out, count)
    if numba:
        found["numba"] = partial(
            _whole(function, x), out=out if name in fastact.ACTIVATIONS else out[:, : WIDTH // 2].copy(), backend="numba"
        )
    return found


def _whole(function: Any, x: Any) -> Any:
    return partial(function, x)


def _ours(function: Any, name: str, x: Any, out: Any, count: int) -> None:
    if name in fastact.ACTIVATIONS and function.definition.family == "elementwise":
        CythonBackend(count).elementwise(name, "value", x.dtype.name, False)([x.reshape(-1)], [], [out.reshape(-1)])
        return
    fastact.set_num_threads(count)
    function(x, out=out if name in fastact.ACTIVATIONS else out.reshape(-1)[: out.size // 2].reshape(-1, WIDTH // 2))
    fastact.set_num_threads(None)


@click.command()
@click.option("--functions", default="relu,silu,gelu,mish,softmax,swiglu", show_default=True, help="Separated by commas.")
@click.option("--powers", default="14,16,18,20,22,24", show_default=True, help="Sizes: 2 to these powers.")
@click.option("--kind", default="float32", show_default=True, help="The dtype.")
@click.option("--threads", default="", help="Numbers of threads, separated by commas; by default 1 and as many as there are.")
@click.option("--numba/--no-numba", default=True, show_default=True, help="Numba's threads beside ours.")
@click.option("--rounds", default=30, show_default=True, help="Samples of each, taken in turns.")
def main(functions: str, powers: str, kind: str, threads: str, numba: bool, rounds: int) -> None:
    """Print microseconds on one thread, and how many times as fast the others are."""
    if numba and (reason := registry.available("numba")):
        click.echo(reason)
        numba = False
    counts = [int(count) for count in threads.split(",")] if threads else sorted({1, fastact.get_num_threads()})
    ratios: dict[tuple[int, str], list[float]] = {}
    for name in functions.split(","):
        for power in map(int, powers.split(",")):
            tried = calls(name, 1 << power, kind, counts, numba)
            first, *rest = best([repeat(call) for call in tried.values()], rounds)
            cells = {who: first / seconds for who, seconds in zip(list(tried)[1:], rest, strict=True)}
            gbs = (1 << power) * np.dtype(kind).itemsize * 2 / first / 1e9
            click.echo(
                f"{name:10} {kind} 2^{power:<3} {first * 1e6:10.1f} us {gbs:6.1f} GB/s   "
                + "  ".join(f"{who if who == 'numba' else who + ' threads'} x {ratio:5.2f}" for who, ratio in cells.items())
            )
            for who, ratio in cells.items():
                ratios.setdefault((power, who), []).append(ratio)
    for (power, who), found in sorted(ratios.items()):
        click.echo(f"2^{power:<3} {who:6} geometric mean x {math.exp(sum(map(math.log, found)) / len(found)):.2f}")


if __name__ == "__main__":
    main()
