"""``fastact demo``: a small classifier of handwritten digits, trained in NumPy with fastact's activations and gradients."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import mean, median
from time import perf_counter
from typing import Any

import click
import numpy as np

from .. import registry
from ..activation import ACTIVATIONS, Activation, count_calls
from ..dispatch import use_backend
from . import formulas, options
from .formulas import SLOPE
from .text import seconds, table

Array = np.ndarray[Any, Any]
#: A hidden layer's activation: ``value(x, *params)``, and ``backward(grad, x, *params)`` giving dx and the parameters' gradients.
Function = Callable[..., Array]
Backward = Callable[..., tuple[Array, ...]]

CHOICES = [
    name
    for name, function in ACTIVATIONS.items()
    if isinstance(function, Activation) and all(d is not None or p in function.learnable for p, d in function.definition.params.items())
]
#: What "all" runs: the functions that most models are made of.
KNOWN = [name for name in CHOICES if ACTIVATIONS[name].definition.bound < 4.0]
BACKENDS = [name for name in registry.REGISTRY if name != "cupy"]
LAYERS = (64, 128, 64, 10)
BATCH = 32
RATE = 2e-3


class Functions:
    """What a network computes its activations with, and the seconds spent in it."""

    def __init__(self, value: Function, backward: Backward, softmax: Function) -> None:
        self.spent = {"activation": 0.0, "softmax": 0.0}
        self.value, self.backward = self._timed(value, "activation"), self._timed(backward, "activation")
        self.softmax = self._timed(softmax, "softmax")

    def _timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            begun = perf_counter()
            result = function(*args)
            self.spent[part] += perf_counter() - begun
            return result

        return run


def by_fastact(name: str) -> Functions:
    """fastact's functions."""
    activation = ACTIVATIONS[name]
    backward = activation.backward if activation.learnable else lambda grad, x: (activation.backward(grad, x),)
    return Functions(activation, backward, ACTIVATIONS["softmax"])


def by_formulas(name: str) -> Functions:
    """The same by plain NumPy."""
    plain = formulas.formula(name)
    defaults = tuple(p for p in ACTIVATIONS[name].definition.params.values() if p is not None)

    def backward(grad: Array, x: Array, *params: Array) -> tuple[Array, ...]:
        params = params or defaults
        return grad * plain.derivative(x, *params), *((grad * g(x, *params)).sum(axis=0) for g in plain.gradients.values())

    return Functions(lambda x, *params: plain.value(x, *(params or defaults)), backward, formulas.softmax)


class Network:
    """A classifier: dense layers, an activation between them, softmax at the end; trained by Adam on the cross-entropy.

    The parameters of a learnable activation are trained along, one value a unit.
    """

    def __init__(self, functions: Functions, begin: tuple[float, ...], rng: np.random.Generator, dtype: str) -> None:
        self.functions = functions
        #: For each layer its weights (He et al. 2015), its bias, and, hidden layers, the activation's parameters.
        self.layers = [[rng.standard_normal(pair).astype(dtype) * sqrt(2 / pair[0]), np.zeros(pair[1], dtype)] for pair in pairwise(LAYERS)]
        for layer in self.layers[:-1]:
            layer += [np.full_like(layer[1], p) for p in begin]
        self.moments = [[(np.zeros_like(p), np.zeros_like(p)) for p in layer] for layer in self.layers]
        self.steps = 0

    def forward(self, x: Array) -> tuple[Array, list[tuple[Array, Array]]]:
        """Probabilities, and for each layer its input and what its activation was given."""
        seen = []
        for weights, bias, *params in self.layers:
            z = x @ weights + bias
            seen.append((x, z))
            x = self.functions.value(z, *params) if len(seen) < len(self.layers) else self.functions.softmax(z)
        return x, seen

    def step(self, x: Array, labels: Array) -> float:
        """Learn from one batch; returns its mean loss."""
        p, seen = self.forward(x)
        rows = np.arange(len(x))
        loss = -np.log(np.maximum(p[rows, labels], np.finfo(p.dtype).tiny)).mean()
        grad = p.copy()  # softmax and cross-entropy together: p - 1 at the label
        grad[rows, labels] -= 1
        grad /= len(x)
        self.steps += 1
        for (before, z), layer, moments in reversed(list(zip(seen, self.layers, self.moments, strict=True))):
            slopes: tuple[Array, ...] = ()
            if layer is not self.layers[-1]:
                grad, *slopes = self.functions.backward(grad, z, *layer[2:])
            gradients = before.T @ grad, grad.sum(axis=0), *slopes
            grad = grad @ layer[0].T
            for parameter, gradient, (m, v) in zip(layer, gradients, moments, strict=True):
                self._adam(parameter, gradient, m, v)
        return float(loss)

    def _adam(self, parameter: Array, gradient: Array, m: Array, v: Array) -> None:
        """Kingma and Ba (2015)."""
        m += 0.1 * (gradient - m)
        v += 0.001 * (gradient * gradient - v)
        parameter -= RATE * (m / (1 - 0.9**self.steps)) / (np.sqrt(v / (1 - 0.999**self.steps)) + 1e-8)

    def epoch(self, x: Array, labels: Array, rng: np.random.Generator) -> float:
        """Learn from every example once; returns the mean loss."""
        order = rng.permutation(len(x))
        losses = [self.step(x[batch], labels[batch]) for batch in np.array_split(order, len(x) // BATCH)]
        return mean(losses)

    def accuracy(self, x: Array, labels: Array) -> float:
        """The share that it gets right."""
        return float((self.forward(x)[0].argmax(axis=1) == labels).mean())


@dataclass(frozen=True)
class Digits:
    """1,797 handwritten digits of 8 x 8 pixels, a quarter of them, the same always, kept for the test."""

    train: tuple[Array, Array]
    test: tuple[Array, Array]


def digits(dtype: str) -> Digits:
    """Load them.

    Raises
    ------
    click.ClickException
        Without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise click.ClickException(f"the digits come with scikit-learn, which is missing ({error}): pip install 'fastact[demo]'") from None
    pixels, labels = load_digits(return_X_y=True)
    x, test_x, y, test_y = train_test_split((pixels / 16).astype(dtype), labels, test_size=0.25, stratify=labels, random_state=0)
    return Digits((x, y), (test_x, test_y))


class Race:
    """A network that trains against the clock."""

    def __init__(self, name: str, functions: Functions, data: Digits, dtype: str, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.functions, self.data = functions, data
        self.network = Network(functions, _begin(name), self.rng, dtype)
        #: Seconds of each epoch: of all, and of the activation and softmax in it.
        self.times: list[dict[str, float]] = []

    def epoch(self) -> float:
        """Train an epoch, noting how long it took; returns its loss."""
        self.functions.spent.update(activation=0.0, softmax=0.0)
        begun = perf_counter()
        with np.errstate(all="ignore"):
            loss = self.network.epoch(*self.data.train, self.rng)
        self.times.append({"epoch": perf_counter() - begun, **self.functions.spent})
        return loss

    def accuracy(self) -> float:
        """On the digits kept for the test."""
        with np.errstate(all="ignore"):
            return self.network.accuracy(*self.data.test)


def _begin(name: str) -> tuple[float, ...]:
    """Where the learnable parameters of an activation begin."""
    definition = ACTIVATIONS[name].definition
    return tuple(SLOPE if definition.params[p] is None else definition.params[p] for p in definition.learnable)


@dataclass(frozen=True)
class Outcome:
    """What came of one activation, by fastact and by plain formulas; seconds are medians over the epochs."""

    name: str
    accuracy: tuple[float, float]
    calls: dict[str, int]
    seconds: dict[str, tuple[float, float]]

    def row(self) -> list[str]:
        """The outcome as a row under `HEAD`."""
        served = ", ".join(f"{backend} {count}" for backend, count in self.calls.items())
        times = [cell for part in ("epoch", "activation") for cell in _compared(*self.seconds[part])]
        return [self.name, served, *(f"{a:.3f}" for a in self.accuracy), *times]


def _compared(ours: float, plain: float) -> list[str]:
    return [seconds(ours), seconds(plain), f"{plain / ours:.2f}"]


HEAD = ["activation", "calls", "accuracy", "plain", "epoch", "plain", "x", "activation", "plain", "x"]


def train(
    name: str, data: Digits, epochs: int, backend: str | None, dtype: str, seed: int, report: Callable[[str, float], None]
) -> Outcome:
    """Train by fastact, counting calls, then race fresh networks, an epoch each in turn: counting would cost time.

    `report` is called after every epoch of either with what it was and its loss.
    """
    with use_backend(backend) if backend else nullcontext():
        first = Race(name, by_fastact(name), data, dtype, seed)
        with count_calls() as calls:
            for _ in range(epochs):
                report("training", first.epoch())
            accuracy = first.accuracy()
        ours, plain = (Race(name, functions, data, dtype, seed) for functions in (by_fastact(name), by_formulas(name)))
        for _ in range(epochs):
            plain.epoch()
            report("racing", ours.epoch())
    times = {part: (median(e[part] for e in ours.times), median(e[part] for e in plain.times)) for part in ours.times[0]}
    return Outcome(name, (accuracy, plain.accuracy()), calls, times)


@click.command()
@click.option("--activation", "-a", type=click.Choice([*CHOICES, "all"]), default="gelu", help="Of the hidden layers.")
@click.option("--epochs", type=click.IntRange(min=1), default=20)
@click.option("--backend", type=click.Choice(BACKENDS), callback=options.there, help="Automatic if not given.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32")
@click.option("--seed", type=int, default=0, help="Of weights and batches.")
def demo(activation: str, epochs: int, backend: str | None, dtype: str, seed: int) -> None:
    """Train a classifier of handwritten digits, forward and backward through fastact.

    Real data, scikit-learn's 1,797 digits; a network of 64-128-64-10 units in NumPy, Adam, softmax and cross-entropy. Prints
    the accuracy on digits not trained on, who served the calls, and the time against the same network on plain NumPy formulas.
    """
    from tqdm import tqdm

    data = digits(dtype)
    names = KNOWN if activation == "all" else [activation]
    outcomes = []
    with tqdm(total=2 * epochs * len(names), unit="epoch", leave=False, disable=None) as bar:
        for name in names:

            def report(stage: str, loss: float, name: str = name) -> None:
                bar.set_description(f"{name}, {stage}", refresh=False)
                bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
                bar.update()

            outcomes.append(train(name, data, epochs, backend, dtype, seed, report))
    layers = "-".join(map(str, LAYERS))
    click.echo(f"{layers} units, {dtype}, {epochs} epochs; {len(data.train[1])} digits to train, {len(data.test[1])} to test")
    if activation == "all":
        click.echo("epoch: its median time, and the hidden activation's part; plain: by NumPy formulas; x: how many times as fast\n")
        click.echo(table(HEAD, [o.row() for o in outcomes], left=2))
        return
    (o,) = outcomes
    served = ", ".join(f"{backend} served {count} calls" for backend, count in o.calls.items())
    click.echo(f"{o.name}: test accuracy {o.accuracy[0]:.4f}; by plain NumPy formulas {o.accuracy[1]:.4f}")
    click.echo(served)
    for part, pair in o.seconds.items():
        ours, plain, faster = _compared(*pair)
        click.echo(f"{part:10} {ours:>8}, by plain NumPy formulas {plain:>8}: {faster} times as fast")
    if not formulas.formula(o.name).plain:
        click.echo(f"(there is no plain formula of {o.name}: fastact's own NumPy reference stood in)")
