"""fastact on a CUDA device beside PyTorch, torch.compile and CuPy, and beside the card's own copy: checked, measured, written down.

    pip install '.[bench]' cupy-cuda13x torch
    python benchmarks/gpu.py --write docs/gpu.md        # all of it, under eight minutes
    python benchmarks/gpu.py --only rows,entropy
    python benchmarks/gpu.py --trial                    # no card: whether the script runs, on NumPy's arrays of a few elements

Figures are shares of the speed at which the card copies 1 GiB to itself in the same run: the bytes that a call has to read and write at
least, over its time. Large arrays have 2^28 elements, normal numbers, two sets in turn, so that nothing is in the cache; times are medians
between events on the device. Results are compared with the CPU's, or with float64's on the host, and a wrong one makes the run fail. Peers
that are not installed are left out. Nothing is tuned here: every configuration is the one that the package chooses.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from card import Card, Host
from tables import Table, page, versions

import fastact
from fastact.arrays.common import KINDS
from fastact.verify import peers

Array = Any
Call = Callable[[], object]

KIND_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
FAST_KINDS = ("float32", "float16", "bfloat16")
TEN = ("relu", "sigmoid", "tanh", "silu", "gelu", "gelu_tanh", "mish", "softplus", "elu", "log_sigmoid")
#: Arrays read and written in each direction.
STREAMS = {"value": 2, "derivative": 2, "backward": 3, "value_and_derivative": 3}
#: The most that float32 results of rows may differ from float64's, relative to the largest of the row and beyond what storage rounds.
ROW_ERROR = 2e-6
HALF_SPACING = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 0.0, "float64": 0.0}


@dataclass
class Bench:
    """A card, the speed of its copy, and what has gone wrong."""

    card: Card | Host
    speed: float = 0.0
    copies: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    checked: int = 0

    @property
    def size(self) -> int:
        return self.card.size

    def measure_copy(self) -> None:
        """The yardstick: the median of what has been measured so far."""
        self.copies.append(self.card.copy_speed())
        self.speed = statistics.median(self.copies)

    def share(self, calls: Sequence[Call], count: float, **how: int) -> float:
        """Of the copy's speed, for calls that move `count` bytes each; NaN, and a note, if one fails."""
        try:
            return count / self.card.seconds(calls, **how) / self.speed
        except Exception as problem:  # one case must not end the run, whatever it is
            self.wrong.append(f"{type(problem).__name__}: {str(problem)[:200]}")
            return math.nan

    def peer(self, make: Callable[[], Sequence[Call]], count: float) -> float:
        """As `share`, for what may not be there."""
        try:
            return count / self.card.seconds(make()) / self.speed
        except Exception:  # not installed, not supported, or out of memory
            return math.nan

    def check(self, what: str, fine: Callable[[], bool]) -> bool:
        """Note it if it is not fine."""
        self.checked += 1
        try:
            right = bool(fine())
        except Exception as problem:
            what, right = f"{what}: {type(problem).__name__}: {str(problem)[:200]}", False
        if not right:
            self.wrong.append(what)
        return right


def cell(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.3f}"


def ratio(a: float, b: float) -> float:
    return a / b if b else math.nan


def least(numbers: Sequence[float]) -> float:
    """The least; NaN if one is, for a figure that is missing meets no bar."""
    return math.nan if any(map(math.isnan, numbers)) else min(numbers, default=math.nan)


def same_bits(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Equal as integers; all NaNs are one value."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    whole = f"u{a.dtype.itemsize}"
    other = np.ascontiguousarray(a).view(whole) != np.ascontiguousarray(b).view(whole)
    left = [v[other].astype(np.float64) for v in (a, b)]
    return bool((np.isnan(left[0]) & np.isnan(left[1])).all())


def samples(kind: str, trial: bool) -> np.ndarray[Any, Any]:
    """Across all bit patterns: every one of a half's."""
    from fastact.regression.suite import dtype

    count = 1 << 12 if trial else 1 << 22
    if KIND_BYTES[kind] == 2:
        return np.arange(65536, dtype=np.uint16).view(dtype(kind))
    bits = 8 * KIND_BYTES[kind]
    return (np.arange(count, dtype=f"u{bits // 8}") * np.array(2**bits // count + 1, f"u{bits // 8}")).view(dtype(kind))


# ---------------------------------------------------------------- elementwise

ELEMENTWISE = [name for name, f in fastact.ACTIVATIONS.items() if f.definition.family == "elementwise"]


def defaults(name: str) -> tuple[float, ...]:
    """Parameters for a call: none, or all if one has no default."""
    d = fastact.ACTIVATIONS[name].definition
    return d.examples[0] if None in d.params.values() else ()


def direction_of(name: str, direction: str) -> Any:
    f = fastact.ACTIVATIONS[name]
    return f if direction == "value" else getattr(f, direction)


def outputs(name: str, direction: str) -> int:
    """Arrays like x that come out."""
    return 2 if direction == "value_and_derivative" else 1


def run_elementwise(name: str, direction: str, x: Array, grad: Array, outs: Sequence[Array], accuracy: str) -> Any:
    """One call into existing results."""
    call, params = direction_of(name, direction), defaults(name)
    given = (grad, x) if direction == "backward" else (x,)
    learned = len(fastact.ACTIVATIONS[name].definition.learnable) if direction == "backward" else 0
    out = outs[0] if direction != "value_and_derivative" else tuple(outs[:2])
    if learned:  # the gradients of parameters come out too, fresh
        return call(*given, *params, out=(outs[0], *[None] * learned), accuracy=accuracy)
    return call(*given, *params, out=out, accuracy=accuracy)


def compile_ahead(bench: Bench, names: Sequence[str], kinds: Sequence[str], directions: Sequence[str], accuracy: str) -> None:
    """Kernels of many functions at a time: the compiler is what takes long."""
    tiny = {kind: bench.card.random((64,), kind) for kind in kinds}

    def first(item: tuple[str, str, str]) -> None:
        name, kind, direction = item
        x = tiny[kind]
        try:
            run_elementwise(name, direction, x, x, [bench.card.empty(64, kind) for _ in range(2)], accuracy)
        except Exception:
            return  # told where it is measured

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(first, itertools.product(names, kinds, directions)))


def check_elementwise(bench: Bench, name: str, kind: str, direction: str, accuracy: str, trial: bool) -> bool:
    """Bits as the CPU's, of numbers across all bit patterns."""

    def fine() -> bool:
        x = samples(kind, trial)
        grad = np.resize(np.asarray([1.0, -0.75, 3.0, 1e-3]).astype(x.dtype), x.size)
        with np.errstate(all="ignore"):
            wanted = direction_of(name, direction)(
                *((grad, x) if direction == "backward" else (x,)), *defaults(name), backend="cython", accuracy=accuracy
            )
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        outs = [bench.card.empty(x.size, kind) for _ in range(2)]
        run_elementwise(name, direction, bench.card.asarray(x), bench.card.asarray(grad), outs, accuracy)
        return all(same_bits(bench.card.numpy(o), np.asarray(w)) for o, w in zip(outs, wanted[: outputs(name, direction)], strict=False))

    return bench.check(f"{name} {direction} {kind} {accuracy}: not the CPU's bits", fine)


def elementwise(bench: Bench, trial: bool) -> Iterator[Table]:
    """The whole catalogue."""
    names = ELEMENTWISE[:6] if trial else ELEMENTWISE
    found: dict[tuple[str, str, str], float] = {}
    slow, rows = [], []
    compile_ahead(bench, names, KINDS, tuple(STREAMS), "fast")
    differing = 0
    for kind in KINDS:
        x, grad, outs = [bench.card.random(bench.size, kind, i) for i in range(2)], bench.card.random(bench.size, kind, 9), []
        outs = [[bench.card.empty(bench.size, kind) for _ in range(2)] for _ in range(2)]
        for name, (direction, streams) in itertools.product(names, STREAMS.items()):
            differing += not check_elementwise(bench, name, kind, direction, "fast", trial)
            calls = [functools.partial(run_elementwise, name, direction, x[i], grad, outs[i], "fast") for i in range(2)]
            found[name, direction, kind] = bench.share(calls, streams * bench.size * KIND_BYTES[kind], repeats=5, each=2)
        del x, grad, outs
        bench.card.free()
    head = ["function", *(f"{kind} {direction}" for kind in KINDS for direction in STREAMS)]
    for name in names:
        rows.append([f"`{name}`", *(cell(found[name, direction, kind]) for kind in KINDS for direction in STREAMS)])
    for (name, direction, kind), figure in found.items():
        if not figure >= 0.99:
            slow.append(f"`{name}` {direction} {kind} {cell(figure)}")
    bars: list[tuple[str, float, str, float]] = [("results that are not the CPU's bits", float(differing), "<=", 0)]
    for kind in FAST_KINDS:
        ten = [found[name, "value", kind] for name in TEN if name in names]
        bars.append((f"{kind}, values of the ten best-known functions, the least", least(ten), ">=", 0.99))
        every = [figure for (_, _, k), figure in found.items() if k == kind]
        bars.append((f"{kind}, all functions and directions, the least", least(every), ">=", 0.99))
    text = "Shares of the copy's speed, into existing results; bits are compared with the CPU's, for 4 Mi bit patterns (halves: all)."
    text += f" Below 0.99: {', '.join(slow)}." if slow else " All are at 0.99 or above."
    yield Table("Elementwise", text, head, rows, bars)


def unaligned(bench: Bench, trial: bool) -> Iterator[Table]:
    """Views that do not begin at a multiple of 16 bytes, and odd lengths."""
    rows, figures = [], []
    for kind in ("float32", "bfloat16", "float16"):
        x, out = bench.card.random(bench.size, kind), bench.card.empty(bench.size, kind)
        wanted = bench.card.numpy(fastact.silu(x))
        views = {
            "x[1:], out": (x[1:], out[:-1], 1),
            "x, out[3:]": (x[:-3], out[3:], 0),
            "x[1:], out[1:]": (x[1:], out[1:], 1),
            "x[:-1], odd length": (x[:-1], out[:-1], 0),
        }
        for label, (given, taken, offset) in views.items():
            calls = [functools.partial(fastact.silu, given, out=taken)]
            figures.append(bench.share(calls, 2 * given.size * KIND_BYTES[kind]))
            right = wanted[offset : offset + given.size]
            bench.check(f"silu of {label}, {kind}", lambda taken=taken, right=right: same_bits(bench.card.numpy(taken), right))
            torchs = bench.peer(
                lambda given=given: [functools.partial(_torch_function("silu"), bench.card.tensor(given))],
                2 * given.size * KIND_BYTES[kind],
            )
            rows.append([label, kind, cell(figures[-1]), cell(torchs)])
        del x, out
        bench.card.free()
    bars = [("the least", least(figures), ">=", 0.99)]
    yield Table(
        "Unaligned arrays",
        "silu, whose arrays do not begin or end at a multiple of 16 bytes.",
        ["call", "", "fastact", "PyTorch"],
        rows,
        bars,
    )


def _torch_function(name: str) -> Callable[[Any], Any]:
    found = peers.function(name, "torch")
    if found is None:
        raise LookupError(name)
    return found


def against_peers(bench: Bench, trial: bool) -> Iterator[Table]:
    """The ten values beside PyTorch and CuPy's own elementwise kernels."""
    rows, bars = [], []
    wanted = {"mish": 1.35, "softplus": 1.35, "elu": 1.15}
    for kind in FAST_KINDS:
        x = [bench.card.random(bench.size, kind, i) for i in range(2)]
        outs = [bench.card.empty(bench.size, kind) for _ in range(2)]
        count = 2 * bench.size * KIND_BYTES[kind]
        for name in TEN:
            f = getattr(fastact, name)
            ours = bench.share([functools.partial(f, x[i], out=outs[i]) for i in range(2)], count)
            precise = bench.share([functools.partial(f, x[i], out=outs[i], accuracy="precise") for i in range(2)], count)
            torchs = bench.peer(
                lambda name=name, x=x: [functools.partial(_torch_function(name), bench.card.tensor(x[i])) for i in range(2)], count
            )
            kernel = math.nan
            if name == "silu" and kind != "bfloat16":
                kernel = bench.peer(
                    lambda x=x, outs=outs: [functools.partial(_cupy_silu(bench.card), x[i], outs[i]) for i in range(2)], count
                )
                bars.append(
                    (
                        f"silu {kind}, times as fast as CuPy's ElementwiseKernel",
                        ratio(ours, kernel),
                        ">=",
                        1.75 if kind == "float32" else 3.5,
                    )
                )
            if name in wanted and kind != "float32":
                bars.append((f"{name} {kind}, times as fast as PyTorch", ratio(ours, torchs), ">=", wanted[name]))
            rows.append([f"`{name}`", kind, cell(ours), cell(precise), cell(torchs), cell(kernel)])
        del x, outs
        bench.card.free()
    text = "Values into existing results (PyTorch makes fresh ones, from its pool); `precise` computes in float64."
    yield Table("Beside PyTorch and CuPy", text, ["function", "", "fastact", "precise", "PyTorch", "CuPy's ElementwiseKernel"], rows, bars)


@functools.cache
def _cupy_silu(card: Card) -> Any:
    return card.cupy.ElementwiseKernel("T x", "T y", "y = x / (T(1) + exp(-x))", "silu_beside_fastact")


# ---------------------------------------------------------------- gated


def gated(bench: Bench, trial: bool) -> Iterator[Table]:
    """swiglu, on two arrays and on halves of one."""
    lines: list[list[str]] = []
    bars: list[tuple[str, float, str, float]] = []
    for kind in ("float32", "bfloat16"):
        more, wanted = gated_of(bench, kind, 64 if trial else 8192)
        lines, bars = lines + more, bars + wanted
        bench.card.free()
    text = "Forward reads two and writes one array, backward three and two."
    yield Table("Gated", text, ["call", "fastact", "PyTorch", "torch.compile"], lines, bars)


def gated_of(bench: Bench, kind: str, width: int) -> tuple[list[list[str]], list[tuple[str, float, str, float]]]:
    """The lines and the bars of a storage type; `width` is that of both halves."""
    item, n, both = KIND_BYTES[kind], bench.size, range(2)
    a, b = ([bench.card.random(n, kind, seed + i) for i in both] for seed in (0, 10))
    grad, outs = bench.card.random(n, kind, 20), [[bench.card.empty(n, kind) for _ in both] for _ in both]
    joined = [v.reshape(-1, width) for v in a]
    halves = [o[0][: n // 2].reshape(-1, width // 2) for o in outs]
    forward = bench.share([functools.partial(fastact.swiglu, a[i], b[i], out=outs[i][0]) for i in both], 3 * n * item)
    backward = bench.share([functools.partial(fastact.swiglu.backward, grad, a[i], b[i], out=tuple(outs[i])) for i in both], 5 * n * item)
    whole = bench.share([functools.partial(fastact.swiglu, joined[i], out=halves[i]) for i in both], 1.5 * n * item)
    bench.check(f"swiglu {kind}", lambda: _near_swiglu(bench, joined[0][:4], fastact.swiglu(joined[0][:4]), kind))
    eager = eager_whole = compiled = compiled_backward = math.nan
    if torch := bench.card.torch:
        silu = torch.nn.functional.silu
        ta, tb, tj = ([bench.card.tensor(v) for v in group] for group in (a, b, joined))
        tg = bench.card.tensor(grad)
        eager = bench.peer(lambda: [lambda i=i: silu(ta[i]) * tb[i] for i in both], 3 * n * item)
        eager_whole = bench.peer(lambda: [functools.partial(_chunked, silu, tj[i]) for i in both], 1.5 * n * item)
        fused = torch.compile(lambda p, q: silu(p) * q, dynamic=False)
        compiled = bench.peer(lambda: [functools.partial(fused, ta[i], tb[i]) for i in both], 3 * n * item)
        fused_backward = torch.compile(_swiglu_backward(torch), dynamic=False)
        compiled_backward = bench.peer(lambda: [functools.partial(fused_backward, tg, ta[i], tb[i]) for i in both], 5 * n * item)
    lines = [
        [f"swiglu(a, b) {kind}", cell(forward), cell(eager), cell(compiled)],
        [f"swiglu.backward(grad, a, b) {kind}", cell(backward), "-", cell(compiled_backward)],
        [f"swiglu(x), x of [rows, {width}] {kind}", cell(whole), cell(eager_whole), "-"],
    ]
    bars = [
        (f"swiglu {kind}, all three", least([forward, backward, whole]), ">=", 0.98),
        (f"swiglu {kind}, times as fast as PyTorch", ratio(forward, eager), ">=", 1.6),
        (f"swiglu {kind}, of torch.compile's speed", ratio(forward, compiled), ">=", 0.98),
        (f"swiglu {kind} backward, of torch.compile's speed", ratio(backward, compiled_backward), ">=", 0.98),
    ]
    if kind == "bfloat16":
        bars.append((f"swiglu of [rows, {width}] {kind}, times as fast as PyTorch", ratio(whole, eager_whole), ">=", 2.7))
    return lines, bars


def _chunked(silu: Any, x: Any) -> Any:
    a, b = x.chunk(2, -1)
    return silu(a) * b


def _swiglu_backward(torch: Any) -> Callable[..., Any]:
    def backward(grad: Any, a: Any, b: Any) -> Any:
        s = torch.sigmoid(a.float())
        y = a.float() * s
        return (grad.float() * b.float() * (s + y * (1 - s))).to(a.dtype), (grad.float() * y).to(a.dtype)

    return backward


def _near_swiglu(bench: Bench, x: Array, y: Array, kind: str) -> bool:
    given, found = bench.card.numpy(x).astype(np.float64), bench.card.numpy(y).astype(np.float64)
    a, b = np.split(given, 2, axis=-1)
    return bool(np.allclose(found, a / (1 + np.exp(-a)) * b, rtol=1e-6 + HALF_SPACING[kind], atol=1e-30))


# ---------------------------------------------------------------- rows


def exact_softmax(x: np.ndarray[Any, Any], axis: int = -1) -> np.ndarray[Any, Any]:
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))


def near(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], kind: str) -> bool:
    """Within what float32's bounds and one rounding to storage allow."""
    error = np.abs(found.astype(np.float64) - wanted)
    return bool((error <= (ROW_ERROR + HALF_SPACING[kind]) * np.abs(wanted) + 1e-30 + (2**-25 if kind == "float16" else 0)).all())


LENGTHS = (8, 16, 32, 64, 256, 1001, 1024, 4096, 5001, 8192, 32768, 50257, 131072, 262144, 1 << 20)


def row_bar(n: int) -> float:
    """Of the copy, for softmax of rows of `n`."""
    return 0.90 if n % 8 else 0.97 if n <= 32768 else 0.95


def rows(bench: Bench, trial: bool) -> Iterator[Table]:
    """softmax and log_softmax, their gradients and logsumexp, along contiguous rows."""
    lines, bars, back_bars = [], [], []
    torch = bench.card.torch
    eager_back: list[float] = []
    for kind in FAST_KINDS:
        item = KIND_BYTES[kind]
        flat = [bench.card.random(bench.size, kind, i) for i in range(2)]
        out, read = [bench.card.empty(bench.size, kind) for _ in range(2)], []
        forward: dict[float, list[float]] = {}
        backward: dict[float, list[float]] = {}
        for n in LENGTHS[:7] if trial else LENGTHS:
            many = bench.size // n
            x, y = ([v[: many * n].reshape(many, n) for v in group] for group in (flat, out))
            figures = []
            for name, wanted in (("softmax", exact_softmax), ("log_softmax", lambda v: np.log(exact_softmax(v)))):
                f = getattr(fastact, name)
                figures.append(bench.share([functools.partial(f, x[i], out=y[i]) for i in range(2)], 2 * many * n * item))
                if name == "softmax":
                    bench.check(
                        f"softmax of {n} {kind}",
                        lambda x=x, y=y, wanted=wanted, kind=kind: near(
                            bench.card.numpy(y[1][-8:]), wanted(bench.card.numpy(x[1][-8:]).astype(np.float64)), kind
                        ),
                    )
            forward.setdefault(row_bar(n), []).extend(figures)
            call = fastact.softmax.backward_from_output
            back = bench.share([functools.partial(call, x[1 - i], x[i], out=y[i]) for i in range(2)], 3 * many * n * item)
            if kind != "float16":
                bar = 0.90 if n % 8 else 0.99 if kind == "bfloat16" else 0.95 if n <= 131072 else 0.93
                backward.setdefault(bar, []).append(back)
            log_sum = bench.share([functools.partial(fastact.logsumexp, x[i]) for i in range(2)], many * (n + 1) * item)
            if n >= 1024 and n % 8 == 0:
                read.append(log_sum)
            torchs = back_torch = math.nan
            if torch:
                tensors = [bench.card.tensor(v) for v in x]
                torchs = bench.peer(lambda t=tensors: [functools.partial(torch.softmax, t[i], -1) for i in range(2)], 2 * many * n * item)
                gradient = torch._softmax_backward_data
                back_torch = bench.peer(
                    lambda t=tensors, f=gradient: [functools.partial(f, t[1 - i], t[i], -1, t[i].dtype) for i in range(2)],
                    3 * many * n * item,
                )
                eager_back.append(ratio(back, back_torch))
            lines.append([str(n), kind, *map(cell, (*figures, torchs, back, back_torch, log_sum))])
        bars += [(f"softmax, log_softmax {kind}, {_which(bar)}", least(f), ">=", bar) for bar, f in forward.items()]
        back_bars += [(f"softmax backward {kind}, bar {bar}", least(f), ">=", bar) for bar, f in backward.items()]
        bars.append((f"logsumexp {kind}, rows of 1024 and more", least(read), ">=", 1.01))
        del flat, out, x, y
        bench.card.free()
    bars += back_bars
    if eager_back:
        bars.append(("softmax backward, times as fast as PyTorch, the least", least(eager_back), ">=", 1.9))
    head = ["rows of", "", "softmax", "log_softmax", "PyTorch softmax", "backward", "PyTorch backward", "logsumexp"]
    yield Table("Rows", "2^28 elements; backward from the output; logsumexp only reads.", head, lines, bars)


def _which(bar: float) -> str:
    return {0.97: "rows of up to 32768", 0.95: "longer rows", 0.90: "lengths that are no multiple of 8"}[bar]


def columns(bench: Bench, trial: bool) -> Iterator[Table]:
    """softmax along other axes."""
    lines, figures, long = [], [], []
    torch = bench.card.torch
    shapes = [(1, 16384, 16384), (64, 256, 16384), (2048, 1024, 128)] if not trial else [(2, 33, 40), (1, 64, 64)]
    for kind, shape in itertools.product(("float32", "bfloat16"), shapes):
        count = 2 * math.prod(shape) * KIND_BYTES[kind]
        x, out = [bench.card.random(shape, kind, i) for i in range(2)], [bench.card.empty(shape, kind) for _ in range(2)]
        ours = bench.share([functools.partial(fastact.softmax, x[i], axis=1, out=out[i]) for i in range(2)], count)
        back = bench.share(
            [functools.partial(fastact.softmax.backward_from_output, x[1 - i], x[i], axis=1, out=out[i]) for i in range(2)], 1.5 * count
        )
        fastact.softmax(x[0], axis=1, out=out[0])
        bench.check(
            f"softmax of {shape} along 1, {kind}",
            lambda x=x, out=out, kind=kind: near(
                bench.card.numpy(out[0][:1, :, :4].copy()),
                exact_softmax(bench.card.numpy(x[0][:1, :, :4].copy()).astype(np.float64), 1),
                kind,
            ),
        )
        torchs = math.nan
        if torch:
            tensors = [bench.card.tensor(v) for v in x]
            torchs = bench.peer(lambda t=tensors: [functools.partial(torch.softmax, t[i], 1) for i in range(2)], count)
            del tensors
        (long if shape[1] > 1024 else figures).append(ours)
        lines.append([str(shape), kind, cell(ours), cell(torchs), cell(back)])
        del x, out
        bench.card.free()
    bars = [("extents up to 1024", least(figures), ">=", 0.87)] + ([("16384", least(long), ">=", 0.67)] if long else [])
    yield Table("Other axes", "softmax along the middle axis.", ["shape", "", "softmax", "PyTorch", "backward"], lines, bars)


def extras(bench: Bench, trial: bool) -> Iterator[Table]:
    """What masks, scale and sinks add to softmax, beyond the bytes that they are."""
    lines, figures = [], []
    n = 4096 if not trial else 64
    many = bench.size // n
    for kind in ("float32", "bfloat16"):
        item = KIND_BYTES[kind]
        x = [bench.card.random((many // n or 1, n, n), kind, i) for i in range(2)]
        out = [bench.card.empty(v.shape, kind) for v in x]
        where = bench.card.asarray((np.arange(n) % 3 != 0)[None, :] | np.zeros((n, 1), bool))
        lengths = bench.card.asarray(np.arange(1, n + 1).astype(np.int64))
        count = 2 * x[0].size * item
        plain = bench.share([functools.partial(fastact.softmax, x[i], out=out[i]) for i in range(2)], count)
        cases = {
            "where, one for all": {"where": where},
            "causal": {"causal": True},
            "scale": {"scale": 0.125},
            "sink": {"sink": 0.5},
            "ragged": {"lengths": lengths},
        }
        for label, options in cases.items():
            figure = bench.share([functools.partial(fastact.softmax, x[i], out=out[i], **options) for i in range(2)], count)
            figures.append(ratio(plain, figure))
            lines.append([label, kind, cell(figure), f"{figures[-1]:.3f}"])
        del x, out
        bench.card.free()
    bars = [("time of the plain call, the most", max(figures, default=math.nan), "<=", 1.05)]
    yield Table("Masks, scale, sink", "softmax of rows of 4096.", ["", "", "share of the copy", "of the plain call's time"], lines, bars)


def sparse(bench: Bench, trial: bool) -> Iterator[Table]:
    """sparsemax and entmax15 beside the entmax package, or the same algorithm in PyTorch where that is missing."""
    lines, bars = [], []
    torch = bench.card.torch
    shape = (16384, 4096) if not trial else (64, 64)
    try:
        import entmax as package
    except ImportError:
        package = None
    for name, kind in itertools.product(("sparsemax", "entmax15"), ("float32", "bfloat16")):
        x, out = [bench.card.random(shape, kind, i) for i in range(2)], [bench.card.empty(shape, kind) for _ in range(2)]
        count = 2 * x[0].size * KIND_BYTES[kind]
        ours = bench.share([functools.partial(getattr(fastact, name), x[i], out=out[i]) for i in range(2)], count)
        theirs = math.nan
        if torch:
            call = getattr(package, name) if package else {"sparsemax": _sparsemax, "entmax15": _entmax15}[name](torch)
            tensors = [bench.card.tensor(v).float() for v in x]
            theirs = bench.peer(lambda t=tensors, call=call: [functools.partial(call, t[i], -1) for i in range(2)], count)
            if kind == "float32":
                bench.check(
                    f"{name} beside PyTorch's",
                    lambda x=x, t=tensors, call=call, name=name: bool(
                        np.abs(bench.card.numpy(getattr(fastact, name)(x[0][:64])) - call(t[0][:64], -1).cpu().numpy()).max() < 1e-5
                    ),
                )
            bars.append((f"{name} {kind}, times as fast", ratio(ours, theirs), ">=", 5))
        lines.append([f"`{name}`", kind, cell(ours), cell(theirs)])
    who = "the entmax package" if package else "its algorithm, by sorting, in PyTorch"
    yield Table(
        "sparsemax, entmax15", f"{shape[0]} rows of {shape[1]}, beside {who} in float32.", ["function", "", "fastact", who], lines, bars
    )


def _sparsemax(torch: Any) -> Callable[[Any, int], Any]:
    def call(x: Any, dim: int) -> Any:
        z = x - x.max(dim, keepdim=True)[0]
        ordered = z.sort(dim, descending=True)[0]
        k = torch.arange(1, x.shape[dim] + 1, device=x.device, dtype=x.dtype)
        sums = ordered.cumsum(dim) - 1
        support = (ordered * k > sums).sum(dim, keepdim=True)
        return (z - sums.gather(dim, support - 1) / support).clamp(min=0)

    return call


def _entmax15(torch: Any) -> Callable[[Any, int], Any]:
    def call(x: Any, dim: int) -> Any:
        z = (x - x.max(dim, keepdim=True)[0]) / 2
        ordered = z.sort(dim, descending=True)[0]
        k = torch.arange(1, x.shape[dim] + 1, device=x.device, dtype=x.dtype)
        mean, squares = ordered.cumsum(dim) / k, (ordered**2).cumsum(dim) / k
        tau = mean - ((1 - k * (squares - mean**2)) / k).clamp(min=0).sqrt()
        support = (tau <= ordered).sum(dim, keepdim=True)
        return (z - tau.gather(dim, support - 1)).clamp(min=0) ** 2

    return call


# ---------------------------------------------------------------- losses, learnable


def entropy(bench: Bench, trial: bool) -> Iterator[Table]:
    """Cross-entropy with its gradient."""
    lines, bars = [], []
    torch = bench.card.torch
    shapes = [(8192, 32000), (4096, 128256), (8192, 50257)] if not trial else [(64, 96), (32, 101)]
    for many, n in shapes:
        x = [bench.card.random((many, n), "bfloat16", i) for i in range(2)]
        gradient = [bench.card.empty((many, n), "bfloat16") for _ in range(2)]
        labels = bench.card.asarray(np.random.default_rng(0).integers(0, n, many))
        count = 2 * many * n * 2
        call = fastact.cross_entropy.value_and_grad
        ours = bench.share([functools.partial(call, x[i], labels, out=(None, gradient[i])) for i in range(2)], count)
        bench.check(f"cross_entropy of {many} x {n}", lambda x=x, labels=labels, g=gradient: _near_entropy(bench, x[0], labels, g[0]))
        spared = gradient[0]
        spared[...] = x[0]
        place = bench.share([functools.partial(call, spared, labels, out=(None, spared))], count)
        eager = compiled = math.nan
        if torch:
            tensors, tl = [bench.card.tensor(v).requires_grad_(True) for v in x], bench.card.tensor(labels)

            def step(t: Any, tl: Any = tl) -> Any:
                return torch.autograd.grad(torch.nn.functional.cross_entropy(t, tl), t)

            eager = bench.peer(lambda t=tensors, step=step: [functools.partial(step, t[i]) for i in range(2)], count)
            fused = torch.compile(torch.nn.functional.cross_entropy, dynamic=False)
            compiled = bench.peer(
                lambda t=tensors, tl=tl, fused=fused: [lambda i=i: torch.autograd.grad(fused(t[i], tl), t[i]) for i in range(2)], count
            )
            del tensors
        lines.append([f"{many} x {n}", cell(ours), cell(place), cell(eager), cell(compiled)])
        bars += [
            (f"{many} x {n}", ours, ">=", 0.90 if n % 8 else 0.97),
            (f"{many} x {n}, times as fast as PyTorch", ratio(ours, eager), ">=", 4),
            (f"{many} x {n}, times as fast as torch.compile", ratio(ours, compiled), ">=", 2),
        ]
        del x, gradient, spared
        bench.card.free()
    text = "bfloat16 logits; the loss and its gradient in one call: read once, written once."
    yield Table("Cross-entropy", text, ["logits", "fastact", "in place", "PyTorch", "torch.compile"], lines, bars)


def _near_entropy(bench: Bench, x: Array, labels: Array, gradient: Array) -> bool:
    fastact.cross_entropy.value_and_grad(x, labels, out=(None, gradient))
    some = slice(0, 8)
    wanted = exact_softmax(bench.card.numpy(x[some]).astype(np.float64))
    wanted[np.arange(8), bench.card.numpy(labels[some])] -= 1
    found = bench.card.numpy(gradient[some]).astype(np.float64)
    return bool(np.allclose(found, wanted / x.shape[0], rtol=2**-8, atol=1e-30))


def learnable(bench: Bench, trial: bool) -> Iterator[Table]:
    """Gradients with respect to x and to parameters, in one pass."""
    lines, figures = [], []
    width = 4096 if not trial else 64
    shape = (bench.size // width, width)
    rng = np.random.default_rng(1)

    def parameter(kind: str, *sizes: int) -> Array:
        from fastact.regression.suite import dtype

        return bench.card.asarray((rng.random(sizes) + 0.5).astype(dtype(kind)))

    for kind in ("float32", "bfloat16"):
        x, grad = [bench.card.random(shape, kind, i) for i in range(2)], bench.card.random(shape, kind, 5)
        cases = {
            "prelu, one slope": (fastact.prelu.backward, (parameter(kind, 1),), {}),
            "prelu, a slope a channel": (fastact.prelu.backward, (parameter(kind, width),), {}),
            "snake, a frequency a channel": (fastact.snake.backward, (parameter(kind, width),), {}),
            "dyt": (fastact.dyt.backward, (parameter(kind, 1), parameter(kind, width), parameter(kind, width)), {}),
            "pau": (fastact.pau.backward, (parameter(kind, 6), parameter(kind, 4)), {}),
        }
        for label, (call, params, options) in cases.items():
            figures.append(
                bench.share([functools.partial(call, grad, x[i], *params, **options) for i in range(2)], 3 * x[0].size * KIND_BYTES[kind])
            )
            lines.append([label, kind, cell(figures[-1])])

            def repeats(call: Any = call, params: Any = params, x: Any = x, grad: Any = grad) -> bool:
                first, second = (call(grad, x[0], *params) for _ in range(2))
                return all(same_bits(bench.card.numpy(a), bench.card.numpy(b)) for a, b in zip(first, second, strict=True))

            bench.check(f"{label} {kind}: the same call gives the same bits", repeats)
        del x, grad
        bench.card.free()
    bars = [("the least", least(figures), ">=", 0.9)]
    text = "Backward with the gradients of the parameters: two arrays read, one written, sums of all elements."
    yield Table("Learnable", text, ["call", "", "share of the copy"], lines, bars)


# ---------------------------------------------------------------- calls, start


def calls(bench: Bench, trial: bool) -> Iterator[Table]:
    """Microseconds that a call keeps the host, all in turns in one process."""
    x = bench.card.random(4096, "float32")
    out = bench.card.empty(4096, "float32")
    given: dict[str, Call] = {
        "fastact.silu(x, out=y)": functools.partial(fastact.silu, x, out=out),
        "fastact.silu(x)": functools.partial(fastact.silu, x),
    }
    if torch := bench.card.torch:
        tensor = bench.card.tensor(x)
        given["fastact.silu(tensor)"] = functools.partial(fastact.silu, tensor)
        given["fastact.silu(tensor, out=tensor)"] = functools.partial(fastact.silu, tensor, out=bench.card.tensor(out))
        given["torch.nn.functional.silu(tensor)"] = functools.partial(torch.nn.functional.silu, tensor)
        given["silu(tensor) * tensor in PyTorch"] = lambda: torch.nn.functional.silu(tensor) * tensor
    if bench.card.cupy:
        given["CuPy's ElementwiseKernel"] = functools.partial(_cupy_silu(bench.card), x)
    times: dict[str, list[float]] = {}
    for _ in range(2 if trial else 14):
        for label, call in list(given.items()):
            try:
                for _ in range(20):
                    call()
                bench.card.wait()
                start = time.perf_counter()
                for _ in range(150):
                    call()
                times.setdefault(label, []).append((time.perf_counter() - start) / 150 * 1e6)
                bench.card.wait()
            except Exception as problem:
                bench.wrong.append(f"{label}: {type(problem).__name__}: {str(problem)[:200]}")
                del given[label]
    medians = {label: statistics.median(found) for label, found in times.items()}
    peer = medians.get("torch.nn.functional.silu(tensor)", math.nan)
    wanted = {"fastact.silu(x, out=y)": 0.75, "fastact.silu(x)": 1.15, "fastact.silu(tensor)": 1.15}
    bars = [(f"{label}, of PyTorch's silu", ratio(medians.get(label, math.nan), peer), "<=", bar) for label, bar in wanted.items()]
    lines = [[f"`{label}`", f"{us:.2f}", cell(ratio(us, peer))] for label, us in medians.items()]
    yield Table("Calls", "float32, 4096 elements.", ["call", "us", "of PyTorch's silu"], lines, bars)


FIRST = """
import sys, time, {library} as library, fastact
x = library.ones(4096, dtype="float32")
{wait}
start = time.perf_counter()
fastact.silu(x)
{wait}
print(time.perf_counter() - start)
"""


def start(bench: Bench, trial: bool) -> Iterator[Table]:
    """Seconds of a process's first call: nothing cached, and its cubin cached."""
    library = "cupy" if bench.card.cupy else "numpy"
    text = FIRST.format(library=library, wait="library.cuda.runtime.deviceSynchronize()" if bench.card.cupy else "")
    found: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in range(1 if trial else 3):
        with tempfile.TemporaryDirectory() as folder:
            for which in found:
                done = subprocess.run(
                    [sys.executable, "-c", text],
                    capture_output=True,
                    text=True,
                    check=False,
                    env={**os.environ, "FASTACT_CACHE_DIR": folder},
                )
                if done.returncode:
                    bench.wrong.append(f"a first call: {done.stderr[-300:]}")
                found[which].append(float(done.stdout) if not done.returncode else math.nan)
    middle = {which: statistics.median(seconds) for which, seconds in found.items()}
    lines = [[which, f"{seconds * 1e3:.1f}"] for which, seconds in middle.items()]
    bars = [("nothing cached, seconds", middle["cold"], "<=", 0.3), ("cached, seconds", middle["warm"], "<=", 0.01)]
    yield Table("First call", "silu in float32, in a fresh process, once the device is in use.", ["cubins", "ms"], lines, bars)


SECTIONS: dict[str, Callable[[Bench, bool], Iterator[Table]]] = {
    "elementwise": elementwise,
    "peers": against_peers,
    "unaligned": unaligned,
    "gated": gated,
    "rows": rows,
    "columns": columns,
    "extras": extras,
    "sparse": sparse,
    "entropy": entropy,
    "learnable": learnable,
    "calls": calls,
    "start": start,
}


def opening(bench: Bench, seconds: float) -> list[str]:
    """Of docs/gpu.md: how, where and with what it was made."""
    return [
        "Generated: written by `python benchmarks/gpu.py --write docs/gpu.md`, which anyone with a CUDA device can run.",
        f"On {bench.card.describe()}; {versions(CuPy=_cupy_package(), PyTorch='torch', Triton='triton', NumPy='numpy')}.",
        f"The card copies 1 GiB to itself at {', '.join(f'{speed / 1e12:.3f}' for speed in bench.copies)} TB/s (before each section);"
        " figures are shares of the median of what was measured so far.",
        f"{bench.checked} results were checked, {len(bench.wrong)} complaints; the run took {seconds:.0f} s.",
        *(f"- {complaint}" for complaint in bench.wrong),
    ]


def _cupy_package() -> str:
    import importlib.metadata

    names = (d.metadata["Name"] or "" for d in importlib.metadata.distributions())
    return next((name for name in names if name.lower().startswith("cupy")), "cupy")


@click.command()
@click.option("--only", default=",".join(SECTIONS), show_default=True, help="Sections, separated by commas.")
@click.option("--trial", is_flag=True, help="Without a card: NumPy's arrays of a few elements, whose figures mean nothing.")
@click.option("--write", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the tables to this file.")
def main(only: str, trial: bool, path: Path | None) -> None:
    """Check and measure fastact on the current CUDA device."""
    if unknown := sorted({*only.split(",")} - {*SECTIONS}):
        raise click.UsageError(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    if trial and path:
        raise click.UsageError("--trial measures nothing that could be written")
    if not trial and (reason := fastact.backends()["cupy"].reason):
        raise click.ClickException(f"there is no card to measure: {reason}")
    bench, begin, tables = Bench(Host() if trial else Card()), time.perf_counter(), []
    for section in only.split(","):
        bench.measure_copy()
        for table in SECTIONS[section](bench, trial):
            tables.append(table)
            table.show()
        click.echo(f"({time.perf_counter() - begin:.0f} s)")
        if path:  # what has been measured is kept, should the rest fail
            path.write_text(page("Performance on the GPU", opening(bench, time.perf_counter() - begin), tables), encoding="utf-8")
    for complaint in bench.wrong:
        click.echo(f"WRONG: {complaint}")
    sys.exit(bool(bench.wrong))


if __name__ == "__main__":
    main()
