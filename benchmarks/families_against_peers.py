"""Gated functions, learnable slopes and the cross-entropy beside PyTorch: one pinned core, float32, in cache.

    python benchmarks/families_against_peers.py

All are timed in turns and the least time of each counts. fastact writes into existing arrays, as far as PyTorch's autograd reuses its
own: gradients are set to None before each backward pass, which hands their memory back to be given out again.
"""

from __future__ import annotations

import os

CORE = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
if CORE is not None:  # before any library counts the cores
    os.sched_setaffinity(0, {CORE})
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

from collections.abc import Callable, Iterator  # noqa: E402
from functools import partial  # noqa: E402
from typing import Any  # noqa: E402

import click  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

import fastact  # noqa: E402
from fastact.regression.yardstick import best, repeat  # noqa: E402

torch.set_num_threads(1)
F = torch.nn.functional
RNG = np.random.default_rng(0)
Call = Callable[[], object]


def normal(*shape: int) -> Any:
    """Normal numbers in float32."""
    return RNG.standard_normal(shape).astype(np.float32)


def autograd(function: Callable[..., torch.Tensor], *tensors: torch.Tensor, grad: torch.Tensor | None = None) -> Call:
    """The backward pass of a graph that stays."""
    for t in tensors:
        t.requires_grad_()
    result = function(*tensors)

    def run() -> None:
        for t in tensors:
            t.grad = None
        result.backward(grad, retain_graph=True)

    return run


def contests() -> Iterator[tuple[str, int, Call, Call]]:
    """Name, elements of the result, our call, PyTorch's."""
    for rows, width in ((64, 1024), (16, 4096)):
        a, b, grad = normal(rows, width), normal(rows, width), normal(rows, width)
        x, out = np.concatenate([a, b], 1), np.empty_like(a)
        ta, tb, tg, tx = (torch.tensor(v) for v in (a, b, grad, x))

        def split(t: torch.Tensor) -> torch.Tensor:
            gate, up = t.chunk(2, -1)
            return F.silu(gate) * up

        name = f"{rows} x {width}"
        yield f"swiglu forward, two arrays, {name}", a.size, partial(fastact.swiglu, a, b, out=out), lambda p=ta, q=tb: F.silu(p) * q
        yield f"swiglu forward, one array, {name}", a.size, partial(fastact.swiglu, x, out=out), partial(split, tx)
        dx, da, db = np.empty_like(x), np.empty_like(a), np.empty_like(a)
        yield (
            f"swiglu backward, two arrays, {name}",
            a.size,
            partial(fastact.swiglu.backward, grad, a, b, out=(da, db)),
            autograd(lambda p, q: F.silu(p) * q, ta, tb, grad=tg),
        )
        yield (
            f"swiglu backward, one array, {name}",
            a.size,
            partial(fastact.swiglu.backward, grad, x, out=dx),
            autograd(split, tx, grad=tg),
        )
    for shape, alpha, axis in (((16, 64, 256), normal(64), 1), ((4096, 64), normal(64), 1), ((262144,), normal(1), None)):
        x, grad, out = normal(*shape), normal(*shape), np.empty(shape, np.float32)
        yield (
            f"prelu backward, {' x '.join(map(str, shape))}, alpha {alpha.shape}",
            x.size,
            partial(fastact.prelu.backward, grad, x, alpha, axis=axis, out=(out, None)),
            autograd(F.prelu, torch.tensor(x), torch.tensor(alpha), grad=torch.tensor(grad)),
        )
    logits, labels = normal(256, 32000), RNG.integers(0, 32000, 256)
    buffer, t, target = np.empty_like(logits), torch.tensor(logits, requires_grad=True), torch.tensor(labels)

    def cross_entropy() -> None:
        t.grad = None
        F.cross_entropy(t, target).backward()

    ours = partial(fastact.softmax_cross_entropy.value_and_grad, logits, labels, out=(None, buffer), backend="cython")
    yield "softmax_cross_entropy, loss and gradient, 256 x 32000", logits.size, ours, cross_entropy


@click.command()
@click.option("--rounds", default=40, show_default=True, help="Samples of each, taken in turns.")
def main(rounds: int) -> None:
    """Print how many times as fast as PyTorch each is."""
    for name, size, ours, theirs in contests():
        seconds, peer = best([repeat(ours), repeat(theirs)], rounds)
        click.echo(f"{name:60} {seconds / size * 1e9:6.3f} ns  torch {peer / size * 1e9:6.3f} ns  x {peer / seconds:5.2f}")


if __name__ == "__main__":
    main()
