"""What a call costs, and what strides cost: one pinned core, all timed in turns, the least time of each.

    python benchmarks/calls.py
    python benchmarks/calls.py --only strides --size 65536 --function relu

The first table has calls on 16 elements as users write them, beside NumPy's ``np.tanh`` and the same in PyTorch, if it is installed.
The second has arrays that lie differently, against contiguous ones of the same shape and against NumPy's copy of the same views: where
that copy takes longer, memory does not allow more.
"""

from __future__ import annotations

import os

if __name__ == "__main__":  # before any library counts the cores
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from timeit import Timer
from typing import Any

import click
import numpy as np

import fastact
from fastact.kernels.cpu import compiled
from fastact.regression.suite import dtype

#: Our call -> PyTorch's, where there is one. x, g: float32; h: float16; d: float64; a: an array of one element; t, u, v: tensors.
CALLS = {
    "np.tanh(x)": "torch.tanh(t)",
    "np.tanh(x, out=y)": "torch.tanh(t, out=u)",
    "f.tanh(x)": "torch.tanh(t)",
    "f.tanh(d)": "torch.tanh(t)",
    "f.tanh(h)": "torch.tanh(t)",
    "f.relu(x)": "F.relu(t)",
    "f.gelu(x)": "F.gelu(t)",
    "f.tanh(x, out=y)": "torch.tanh(t, out=u)",
    "f.tanh(x, accuracy='precise')": "torch.tanh(t)",
    "f.tanh(x, backend='cython')": "torch.tanh(t)",
    "f.leaky_relu(x, 0.3)": "F.leaky_relu(t, 0.3)",
    "f.leaky_relu(x, alpha=0.3)": "F.leaky_relu(t, negative_slope=0.3)",
    "f.leaky_relu(h, alpha=0.3)": "F.leaky_relu(t, negative_slope=0.3)",
    "f.leaky_relu(x, alpha=0.3, out=y)": "F.leaky_relu(t, negative_slope=0.3)",
    "f.tanh(x.reshape(4, 4).T)": "torch.tanh(t.reshape(4, 4).T)",
    "f.tanh(x[::2])": "torch.tanh(t[::2])",
    "f.gelu.derivative(x)": "",
    "f.gelu.value_and_derivative(x)": "",
    "f.gelu.backward(g, x)": "torch.ops.aten.gelu_backward(v, t)",
    "f.gelu.backward(g, x, out=y)": "torch.ops.aten.gelu_backward(v, t)",
    "f.prelu.backward(g, x, 0.3)": "torch.ops.aten._prelu_kernel_backward(v, t, w)",
    "f.prelu.backward(g, x, alpha=0.3, out=(y, None))": "torch.ops.aten._prelu_kernel_backward(v, t, w)",
    "f.prelu.backward(g, x, a)": "torch.ops.aten._prelu_kernel_backward(v, t, w)",
    "f.prelu(x, b)": "F.prelu(t, w)",
    "f.softmax(x)": "F.softmax(t, -1)",
    "f.swiglu(x, x)": "F.silu(t) * t",
    "f.tanh(x, backend='numpy')": "",
}
#: Where a context is entered around the whole measurement.
CONTEXTS = {
    "f.tanh(x), use_accuracy('precise')": partial(fastact.use_accuracy, "precise"),
    "f.tanh(x), use_backend('cython')": partial(fastact.use_backend, "cython"),
}


def least(calls: Mapping[str, Callable[[], object]], rounds: int, repeat: int) -> dict[str, float]:
    """The least seconds of each call, `repeat` of them at a time, all in turns."""
    timers = {name: Timer("call()", globals={"call": call}) for name, call in calls.items()}
    found = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, timer in timers.items():
            found[name] = min(found[name], timer.timeit(repeat) / repeat)
    return found


def names() -> dict[str, Any]:
    """What the calls speak of."""
    x = np.linspace(-2, 2, 16, dtype=np.float32)
    found: dict[str, Any] = {"np": np, "f": fastact, "x": x, "y": np.empty_like(x), "g": np.ones_like(x)}
    found |= {"d": x.astype(np.float64), "h": x.astype(np.float16), "a": x[3:4].copy(), "b": x.copy()}
    if find_spec("torch"):
        import torch

        torch.set_num_threads(1)
        tensors = {"t": torch.from_numpy(x), "u": torch.empty(16), "v": torch.ones(16), "w": torch.full((1,), 0.3)}
        found |= {"torch": torch, "F": torch.nn.functional, **tensors}
    return found


def call_costs(rounds: int) -> list[tuple[str, float, float, float]]:
    """(call, seconds, over np.tanh's, over PyTorch's)."""
    known = names()
    peers = {peer for peer in CALLS.values() if peer and "torch" in known}
    texts = {text: Timer(text, globals=known) for text in (*CALLS, *peers)}
    found = dict.fromkeys((*texts, *CONTEXTS), float("inf"))
    for _ in range(rounds):
        for text, timer in texts.items():
            repeat = 1000 if found[text] < 3e-6 else 100
            found[text] = min(found[text], timer.timeit(repeat) / repeat)
        for text, context in CONTEXTS.items():
            with context():
                found[text] = min(found[text], texts["f.tanh(x)"].timeit(1000) / 1000)
    peer_of = CALLS | dict.fromkeys(CONTEXTS, "torch.tanh(t)")
    return [
        (text, found[text], found[text] / found["np.tanh(x)"], found[text] / found.get(peer, float("nan")))
        for text, peer in peer_of.items()
    ]


def layouts(size: int, kind: Any) -> dict[str, tuple[Any, Any]]:
    """Name -> an array, and where the result goes; about `size` elements each."""
    side, cube = round(size**0.5), round(size ** (1 / 3))
    generator = np.random.default_rng(0)

    def new(*shape: int) -> Any:
        return generator.standard_normal(shape, np.float32).astype(kind)

    views = {
        "x[::2]": new(2 * size)[::2],
        "x[::3]": new(3 * size)[::3],
        "x[::-1]": new(size)[::-1],
        "x[:, ::2]": new(side, 2 * side)[:, ::2],
        "x[:, 5:-3]": new(side, side + 8)[:, 5:-3],
        "x[:, 5:-3], rows of 64": new(size // 64, 72)[:, 5:-3],
        "x[:, :8], rows of 8": new(size // 8, 16)[:, :8],
        "a row repeated": np.broadcast_to(new(side), (side, side)),
        "a column repeated": np.broadcast_to(new(side, 1), (side, side)),
        "x[:, 1:-1, ::2]": new(cube, cube + 2, 2 * cube)[:, 1:-1, ::2],
        "x.transpose(1, 0, 2)": new(cube, cube, cube).transpose(1, 0, 2),
        "x.transpose(1, 2, 0)": new(cube, cube, cube).transpose(1, 2, 0),
        "x.T": new(side, side).T,
        "x.T, rows of 64": new(64, size // 64).T,
        "Fortran order to C": np.asfortranarray(new(side, side)),
    }
    found = {name: (x, np.empty(x.shape, kind)) for name, x in views.items()}
    return found | {"out[::2]": (new(size), np.empty(2 * size, kind)[::2]), "out.T": (new(side, side), np.empty((side, side), kind).T)}


def stride_costs(size: int, kind: str, function: str, direction: str, rounds: int) -> list[tuple[str, float, float, float]]:
    """(layout, ns an element, over contiguous, over the slower of contiguous and NumPy's copy)."""
    f, found = getattr(fastact, function), []
    for name, (x, out) in layouts(size, dtype(kind)).items():
        plain, dense = np.ascontiguousarray(x), np.empty(x.shape, x.dtype)

        def call(x: Any, out: Any) -> Callable[[], object]:
            if direction == "value":
                return partial(f, x, out=out, backend="cython")
            return partial(f.backward, x, x, out=out, backend="cython")

        calls = {"contiguous": call(plain, dense), "strided": call(x, out), "copy": partial(np.copyto, out, x)}
        times = least(calls, rounds, max(1, (1 << 16) // x.size))
        strided, contiguous = times["strided"], times["contiguous"]
        found.append((name, strided / x.size * 1e9, strided / contiguous, strided / max(contiguous, times["copy"])))
    return found


@click.command()
@click.option("--only", type=click.Choice(["calls", "strides"]), help="One of the tables; default: both.")
@click.option("--rounds", default=20, show_default=True)
@click.option("--size", default=1 << 20, show_default=True, help="Elements of strided arrays.")
@click.option("--kind", default="float32", show_default=True)
@click.option("--function", default="gelu", show_default=True)
@click.option("--direction", type=click.Choice(["value", "backward"]), default="value", show_default=True)
def main(only: str | None, rounds: int, size: int, kind: str, function: str, direction: str) -> None:
    """Print the tables."""
    click.echo(f"NumPy {np.__version__}, {compiled.ISA}")
    if only != "strides":
        click.echo("\n| call on 16 elements | ns | over np.tanh | over PyTorch |\n|---|---|---|---|")
        for text, seconds, numpy, torch in call_costs(rounds):
            click.echo(f"| `{text}` | {seconds * 1e9:.0f} | {numpy:.2f} | {torch:.2f} |")
    if only != "calls":
        click.echo(
            f"\n| {function} {direction}, {kind}, {size} elements | ns an element | over contiguous | over the slower of it and a copy |"
        )
        click.echo("|---|---|---|---|")
        for name, ns, ratio, allowed in stride_costs(size, kind, function, direction, rounds):
            click.echo(f"| `{name}` | {ns:.3f} | {ratio:.2f} | {allowed:.2f} |")


if __name__ == "__main__":
    main()
