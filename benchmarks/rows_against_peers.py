"""Row-wise functions beside PyTorch's and JAX's: one pinned core, in cache, everybody into an existing result where that can be had.

    python benchmarks/rows_against_peers.py
    python benchmarks/rows_against_peers.py --functions softmax --directions value --kind float32 --rounds 60

All are timed in turns and the least time of each counts, which leaves out what other processes take. JAX, compiled, has no ``out``; its
results are of this size that its allocator hands the last one out again.
"""

from __future__ import annotations

import math
import os

CORE = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
if CORE is not None:  # before any library counts the cores
    os.sched_setaffinity(0, {CORE})
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

from collections.abc import Callable, Iterator  # noqa: E402
from functools import partial  # noqa: E402
from typing import Any  # noqa: E402

import click  # noqa: E402
import numpy as np  # noqa: E402

import fastact  # noqa: E402
from fastact.regression.yardstick import best, repeat  # noqa: E402

#: Name -> shape and axis.
SHAPES = {
    "rows of 64": ((1024, 64), 1),
    "rows of 1024": ((128, 1024), 1),
    "rows of 32000": ((4, 32000), 1),
    "middle axis": ((32, 64, 64), 1),
    "middle axis, large": ((256, 64, 64), 1),
    "axis 0": ((1024, 64), 0),
}
Call = Callable[[], object]


def ours(name: str, direction: str, x: Any, grad: Any, axis: int) -> Call:
    """Into an existing array; gradients from the output, as the peers keep it, too."""
    f = getattr(fastact, name)
    if direction == "value":
        return partial(f, x, axis, out=np.empty_like(x), backend="cython")
    y, out = f(x, axis), np.empty_like(x)
    return partial(f.backward_from_output, grad, y, axis, out=out, backend="cython")


def torchs(name: str, direction: str, x: Any, grad: Any, axis: int) -> Call:
    import torch

    torch.set_num_threads(1)
    tensor, out = torch.from_numpy(x), torch.empty(x.shape)
    value, backward = {
        "softmax": (torch.ops.aten._softmax.out, torch.ops.aten._softmax_backward_data.out),
        "log_softmax": (torch.ops.aten._log_softmax.out, torch.ops.aten._log_softmax_backward_data.out),
    }[name]
    if direction == "value":
        return lambda: value(tensor, axis, False, out=out)
    y, gradient, dtype = getattr(torch, name)(tensor, axis), torch.from_numpy(grad), torch.float32
    target = {"grad_input": out} if name == "softmax" else {"out": out}
    return lambda: backward(gradient, y, axis, dtype, **target)


def jaxs(name: str, direction: str, x: Any, grad: Any, axis: int) -> Call:
    import jax

    f = partial(getattr(jax.nn, name), axis=axis)
    if direction == "value":
        value, there = jax.jit(f), jax.device_put(x)
        return lambda: value(there).block_until_ready()
    y, gradient = jax.device_put(f(x)), jax.device_put(grad)
    xp = jax.numpy
    from_output = {
        "softmax": lambda g, y: y * (g - xp.sum(g * y, axis, keepdims=True)),
        "log_softmax": lambda g, y: g - xp.exp(y) * xp.sum(g, axis, keepdims=True),
    }[name]
    run = jax.jit(from_output)
    return lambda: run(gradient, y).block_until_ready()


def rows(functions: list[str], directions: list[str], rounds: int) -> Iterator[tuple[str, str, str, float, dict[str, float]]]:
    """Function, direction, shape, our nanoseconds an element, and how many times as long the peers take."""
    rng = np.random.default_rng(0)
    peers = {}
    for peer, call in (("torch", torchs), ("jax", jaxs)):
        try:
            __import__(peer)
            peers[peer] = call
        except ImportError:
            click.echo(f"{peer} is not installed")
    for name in functions:
        for direction in directions:
            for shape, (extent, axis) in SHAPES.items():
                x, grad = (rng.normal(scale=3.0, size=extent).astype(np.float32) for _ in range(2))
                calls = [ours(name, direction, x, grad, axis), *(call(name, direction, x, grad, axis) for call in peers.values())]
                results = [np.asarray(call()) for call in calls]
                for result in results[1:]:
                    np.testing.assert_allclose(result, results[0], rtol=1e-4, atol=1e-5)
                seconds, *theirs = best([repeat(call) for call in calls], rounds)
                yield name, direction, shape, seconds / x.size * 1e9, {p: t / seconds for p, t in zip(peers, theirs, strict=True)}


@click.command()
@click.option("--functions", default="softmax,log_softmax", show_default=True, help="Separated by commas.")
@click.option("--directions", default="value,backward", show_default=True, help="Separated by commas; backward is from the output.")
@click.option("--rounds", default=40, show_default=True, help="Samples of each, taken in turns.")
def main(functions: str, directions: str, rounds: int) -> None:
    """Print how many times as fast as its peers each function is, and the geometric means."""
    ratios: dict[tuple[str, str, str], list[float]] = {}
    for name, direction, shape, ns, peers in rows(functions.split(","), directions.split(","), rounds):
        cells = "  ".join(f"{peer} x {ratio:5.2f}" for peer, ratio in peers.items())
        click.echo(f"{name:12} {direction:9} {shape:19} {ns:6.3f} ns  {cells}")
        for peer, ratio in peers.items():
            ratios.setdefault((name, direction, peer), []).append(ratio)
    for (name, direction, peer), found in ratios.items():
        mean = math.exp(sum(map(math.log, found)) / len(found))
        click.echo(f"{name:12} {direction:9} {peer:5}  geometric mean x {mean:.2f}, least x {min(found):.2f}")


if __name__ == "__main__":
    main()
