"""``fastact bench``: fastact against NumPy, SciPy and PyTorch, in one run and in turn."""

from __future__ import annotations

import importlib.util
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import click
import numpy as np

from .. import registry
from ..activation import ACTIVATIONS, Activation
from ..dispatch import backends
from ..machine import cores, processor
from . import formulas, options
from .formulas import SLOPE
from .info import versions
from .text import table

Array = np.ndarray[Any, Any]
#: A call to be timed; it returns when its work is done.
Call = Callable[[], Any]

FILE = click.Path(dir_okay=False, writable=True, path_type=Path)
DIRECTIONS = ("value", "derivative", "backward")
#: The length of rows, for row-wise functions.
ROW = 1024
#: A sample lasts this long at least, in seconds, and there are so many at least.
SAMPLE, ROUNDS = 1e-3, 5
PLAIN, TORCH = "NumPy/SciPy", "PyTorch"
#: Of the bars; fastact's own are blue.
COLOURS = {PLAIN: "#b8b8b8", TORCH: "#dd8452"}


@dataclass(frozen=True)
class Task:
    """What is timed: an activation in one direction on given arrays."""

    name: str
    direction: str
    x: Array
    grad: Array

    @property
    def elementwise(self) -> bool:
        """Whether the activation is."""
        return isinstance(ACTIVATIONS[self.name], Activation)

    @property
    def params(self) -> dict[str, float]:
        """The parameters, where one has no default."""
        definition = ACTIVATIONS[self.name].definition
        return dict(zip(definition.params, definition.examples[0], strict=True)) if None in definition.params.values() else {}

    @property
    def bytes(self) -> int:
        """What must pass through memory: every array once."""
        return self.x.nbytes * (3 if self.direction == "backward" else 2)


@dataclass(frozen=True)
class Row:
    """One function, one contestant: nanoseconds an element, the shortest and the median of all samples."""

    name: str
    contestant: str
    ns: float
    median_ns: float
    gb_per_s: float
    times_numpy: float | None  #: how many times faster than NumPy and SciPy
    times_torch: float | None


def by_fastact(task: Task, backend: str | None) -> Call:
    """fastact; for the cupy backend the arrays are on the GPU."""
    function = ACTIVATIONS[task.name]
    function = function if task.direction == "value" else getattr(function, task.direction)
    arrays: list[Any] = [task.grad, task.x] if task.direction == "backward" else [task.x]
    arguments = [*arrays, *task.params.values()]
    if backend is None:
        return lambda: function(*arguments)
    if backend != "cupy":
        return lambda: function(*arguments, backend=backend)
    import cupy

    arguments = [*map(cupy.asarray, arrays), *task.params.values()]
    stream = cupy.cuda.get_current_stream()

    def call() -> Any:
        result = function(*arguments)
        stream.synchronize()
        return result

    return call


def by_formula(task: Task) -> Call:
    """The formula in NumPy and SciPy."""
    x, grad = task.x, task.grad
    if not task.elementwise:
        forms: dict[str, Call] = {"value": lambda: formulas.softmax(x), "backward": lambda: formulas.softmax_backward(grad, x)}
        return forms[task.direction]
    formula = formulas.formula(task.name)
    if not formula.plain:
        raise LookupError("has no formula for it")
    params = [SLOPE if p is None else p for p in ACTIVATIONS[task.name].definition.params.values()]
    if task.direction != "backward":
        function = getattr(formula, task.direction)
        return lambda: function(x, *params)
    return lambda: (grad * formula.derivative(x, *params), *((grad * g(x, *params)).sum() for g in formula.gradients.values()))


def by_torch(task: Task) -> Call:
    """PyTorch's function of the same name; gradients by its autograd, without the forward pass."""
    import torch

    names = (task.name, *ACTIVATIONS[task.name].definition.aliases)
    places = (torch, torch.nn.functional)
    function = next((getattr(place, name) for place in places for name in names if hasattr(place, name)), None)
    if function is None:
        raise LookupError("has no such function")

    def tensor(a: Array) -> Any:
        return torch.from_numpy(a) if a.dtype != "bfloat16" else torch.from_numpy(a.astype(np.float32)).to(torch.bfloat16)

    x, grad = tensor(task.x), tensor(task.grad)
    rest = [tensor(np.full(1, p, task.x.dtype)) for p in task.params.values()] if task.elementwise else [-1]
    if task.direction == "value":
        return lambda: function(x, *rest)
    leaves = [t.requires_grad_() for t in (x, *rest) if isinstance(t, torch.Tensor)]
    y = function(x, *rest)
    if task.direction == "derivative":
        leaves, grad = leaves[:1], torch.ones_like(y)
    return lambda: torch.autograd.grad(y, leaves, grad, retain_graph=True)


def _numbers(result: Any) -> Array:
    """The first array of a result, in float64, whatever library it is from."""
    result = result[0] if isinstance(result, tuple) else result
    result = result.detach().double().numpy() if hasattr(result, "detach") else result
    return np.asarray(result.get() if hasattr(result, "get") else result).astype(np.float64)


def contestants(task: Task, chosen: Sequence[str | None]) -> Iterator[tuple[str, Call | str]]:
    """Who takes part: name and call, or name and why not. Each is called once, which compiles, and must give what fastact gives."""
    makers: dict[str, Callable[[], Call]] = {"fastact" if b is None else f"fastact {b}": partial(by_fastact, task, b) for b in chosen}
    makers[PLAIN] = partial(by_formula, task)
    if importlib.util.find_spec("torch"):
        makers[TORCH] = partial(by_torch, task)
    expected = _numbers(by_fastact(task, None)())
    for name, make in makers.items():
        try:
            call = make()
            alike = np.allclose(_numbers(call()), expected, rtol=0.05, atol=0.05)
        except (LookupError, TypeError, NotImplementedError) as error:
            yield name, str(error)
        else:
            yield name, call if alike else "computes something else by this name"


def race(calls: dict[str, Call], seconds: float) -> dict[str, list[float]]:
    """Seconds of a call, sample by sample, for about so many seconds in all.

    Every round has an order of its own: threads that one contestant leaves spinning slow down whoever comes next.
    """
    rng, loops = random.Random(0), {}
    for name, call in calls.items():
        begun = perf_counter()
        call()
        loops[name] = max(1, round(SAMPLE / (perf_counter() - begun)))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    end, done = perf_counter() + seconds, 0
    while done < ROUNDS or perf_counter() < end:
        for name in rng.sample(list(calls), len(calls)):
            call, begun = calls[name], perf_counter()
            for _ in range(loops[name]):
                call()
            samples[name].append((perf_counter() - begun) / loops[name])
        done += 1
    return samples


def rows(task: Task, samples: dict[str, list[float]]) -> Iterator[Row]:
    """What the samples come to."""
    best = {name: min(times) for name, times in samples.items()}

    def ratio(name: str, to: str) -> float | None:
        return best[to] / best[name] if to in best else None

    for name, times in samples.items():
        ns, median_ns = (1e9 * t / task.x.size for t in (best[name], median(times)))
        yield Row(task.name, name, ns, median_ns, task.bytes / best[name] / 1e9, ratio(name, PLAIN), ratio(name, TORCH))


def draw(found: Sequence[Row], title: str, path: Path) -> None:
    """A bar chart: a panel for each function, a bar for each contestant."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row.name for row in found))
    everyone = list(dict.fromkeys(row.contestant for row in found))
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(4.2 * columns + 0.6, lines * (0.9 + 0.28 * len(everyone)) + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{title}. Shorter is faster", fontsize="medium")
    for axes in (panels := figure.subplots(lines, columns, squeeze=False).flat)[len(names) :]:
        axes.set_visible(False)
    for name, axes in zip(names, panels, strict=False):
        timed = {row.contestant: row.ns for row in found if row.name == name}
        colours = [COLOURS.get(who, "#1f6f8b") for who in timed]
        bars = axes.barh(list(timed), list(timed.values()), color=colours)
        axes.bar_label(bars, [f"{ns:.3g}" for ns in timed.values()], padding=3)
        axes.set_title(name, loc="left", fontweight="bold", fontsize="medium")
        axes.set_xlim(0, 1.18 * max(timed.values()))
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("ns per element", fontsize="small")
    figure.savefig(path, dpi=120)


def _dtype(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        try:
            import ml_dtypes  # noqa: F401
        except ImportError:
            raise click.ClickException("bfloat16 needs ml_dtypes: pip install 'fastact[bfloat16]'") from None
    return np.dtype(name)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(ACTIVATIONS)), metavar="[NAME]...")
@click.option("--size", type=click.IntRange(min=1), default=1 << 20, help="Elements of the array.")
@click.option("--dtype", type=click.Choice(["float16", "bfloat16", "float32", "float64"]), default="float32")
@click.option("--direction", type=click.Choice(DIRECTIONS), default="value")
@click.option(
    "--backend", "chosen", type=click.Choice(list(registry.REGISTRY)), multiple=True, callback=options.there,
    help="Only this one; may be repeated. Else: automatic choice, and every backend there is but numpy, the reference.",
)  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=0), default=1.0, help="For each function.")
@click.option("--plot", type=FILE, callback=options.new_file, metavar="FILE.png", help="Save a bar chart here.")
@click.option("--json", "numbers", type=FILE, callback=options.new_file, metavar="FILE.json", help="Save the numbers here.")
def bench(
    names: tuple[str, ...],
    size: int,
    dtype: str,
    direction: str,
    chosen: tuple[str, ...],
    seconds: float,
    plot: Path | None,
    numbers: Path | None,
) -> None:
    """Compare fastact's speed with NumPy and SciPy formulas, and with PyTorch if it is installed.

    All contestants run in turn in one run, each call as users write it, y = f(x). NAME: the activations, all of them by default.
    """
    from tqdm import tqdm

    there = [None, *(name for name, b in backends().items() if b.available and name != "numpy")]
    rng = np.random.default_rng(0)
    flat = [rng.standard_normal(size).astype(_dtype(dtype)) for _ in range(2)]
    found: list[Row] = []
    left_out: dict[str, list[str]] = {}
    with tqdm(names or list(ACTIVATIONS), unit="function", leave=False, disable=None) as bar, np.errstate(all="ignore"):
        for name in bar:
            bar.set_description(name)
            row = ROW if size % ROW == 0 else size
            task = Task(name, direction, *(a if isinstance(ACTIVATIONS[name], Activation) else a.reshape(-1, row) for a in flat))
            if not hasattr(ACTIVATIONS[name], direction) and direction != "value":
                left_out.setdefault(f"no {direction}", []).append(name)
                continue
            calls: dict[str, Call] = {}
            for who, call in contestants(task, chosen or there):
                if isinstance(call, str):
                    left_out.setdefault(f"{who} {call}", []).append(name)
                else:
                    calls[who] = call
            found += rows(task, race(calls, seconds))
    title = f"{direction}, {size} elements of {dtype}; {processor()}, {cores()} cores"
    click.echo(f"{title}\nmin, median: ns per element of the fastest and the median sample; x: how many times as fast\n")
    head = ["function", "", "min", "median", "GB/s", f"x {PLAIN}", f"x {TORCH}"]
    click.echo(table(head, [_cells(row) for row in found], left=2))
    for why, functions in left_out.items():
        click.echo(f"left out: {why} ({', '.join(functions)})")
    if numbers:
        facts = {"processor": processor(), "cores": cores(), "versions": versions(), "size": size, "dtype": dtype, "direction": direction}
        numbers.write_text(json.dumps({**facts, "rows": [asdict(row) for row in found]}, indent=1) + "\n")
    if plot:
        draw(found, title, plot)
        click.echo(f"plot saved in {plot}")


def _cells(row: Row) -> list[str]:
    ratios = ["" if r is None else f"{r:.2f}" for r in (row.times_numpy, row.times_torch)]
    return [row.name, row.contestant, f"{row.ns:.3f}", f"{row.median_ns:.3f}", f"{row.gb_per_s:.1f}", *ratios]
