"""Pipelines on CUDA: what `fastact.kernels.cpu.compiled.Pipeline` is for NumPy arrays, with the same methods, for CuPy arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .stages import FLAT, Factor, Stage, passes, product, product_backward, working_type

NUMBER = (int, float, np.generic)


class Pipeline:
    """Activations with what stands before and after them, in one pass over memory.

    Arrays have any strides and broadcast to `shape`; numbers stand for constant arrays. They must not overlap what is written, unless
    element for element. First say what there is, then `run()`, and ask for `sums()`.

    Parameters
    ----------
    backend : CupyBackend
        Runs it.
    mode : str
        "forward", "backward", "loss", "with_mask" or "from_mask".
    kind : str
        How elements are stored.
    wide : bool
        Compute in float64.
    shape : tuple of int
        Of the result.
    """

    def __init__(self, backend: Any, mode: str, kind: str, wide: bool, shape: tuple[int, ...]) -> None:
        self._backend, self._mode, self._kind, self._wide, self._shape = backend, mode, kind, wide, tuple(shape)
        self._factors: list[Factor] = []
        self._names: list[str] = []  # of the activations, "" for the identity
        self._arrays: dict[str, Any] = {}
        self._numbers: dict[str, float] = {}
        self._gives: dict[str, Any] = {}  # by what is written
        self._asked: list[tuple[str, tuple[int, ...]]] = []  # sums: of what, and their shape
        self._found: dict[int, Any] = {}
        self._seed = self._threshold = 0
        self._dropout = False
        self._bits: Any = None

    def _put(self, name: str, value: Any) -> bool:
        if value is not None:
            (self._numbers if isinstance(value, NUMBER) else self._arrays)[name] = value
        return value is not None

    def factor(
        self,
        name: str | None,
        x: Any,
        params: Sequence[Any] = (),
        bias: Any = None,
        dx: Any = None,
        low: float = -math.inf,
        high: float = math.inf,
        offset: float = 0.0,
        bias_shape: tuple[int, ...] | None = None,
        param_shapes: Sequence[tuple[int, ...]] = (),
    ) -> None:
        """The next factor: activation `name` (None: the identity) of x + bias within [low, high], and `offset` added.

        `dx` is written in backward. Gradients are summed for a bias of `bias_shape`, and for the learnable parameters, in their order,
        of `param_shapes`.
        """
        own = "ab"[len(self._factors)]
        self._put(own, x)
        biased, clamped = self._put(f"{own}_bias", bias), low > -math.inf or high < math.inf
        if clamped:
            self._numbers |= {f"{own}_low": low, f"{own}_high": high}
        if offset != 0.0:
            self._numbers[f"{own}_offset"] = offset
        called = [f"{own}_p{i}" for i in range(len(params))]
        learned: tuple[str, ...] = ()
        if name is not None:
            for place, value in zip(called, params, strict=True):
                self._put(place, value)
            activation = self._backend.program.activations[name]
            learned = tuple(called[activation.params.index(p)] for p in activation.learnable)
        self._factors.append(Factor(own, name or "", tuple(called), learned, biased, clamped, offset != 0.0))
        if dx is not None:
            self._gives[own] = dx
        if bias_shape is not None:
            self._asked.append((f"{own}_bias", tuple(bias_shape)))
        self._asked += [(p, tuple(shape)) for p, shape in zip(learned, param_shapes, strict=False)]

    def product(self, out: Any = None, grad: Any = None, weight: Any = None, weight_shape: tuple[int, ...] | None = None) -> None:
        """What stands after the factors; `out` is written in forward. Gradients are summed for a weight of `weight_shape`."""
        self._put("grad", grad)
        self._put("weight", weight)
        if out is not None:
            self._gives["out"] = out
        if weight_shape is not None:
            self._asked.append(("weight", tuple(weight_shape)))

    def drop(self, seed: int, threshold: int, scale: float) -> None:
        """Dropout: kept, and multiplied by `scale`, is where the random number of an element's index, 24 bits, is below `threshold`."""
        self._dropout, self._seed, self._threshold = True, seed, threshold
        self._numbers["keep_scale"] = scale

    def loss(self, target: Any, scale: float = 1.0, total: bool = True) -> None:
        """Of mode "loss": factor and product said x, dx, weight, grad, and `out` for the single losses; `total`: sum them all.

        dx = slope * weight * grad * scale.
        """
        self._put("target", target)
        self._numbers["scale"] = scale
        if total:
            self._asked.append(("total", ()))

    def mask(self, bits: Any, low: float, high: float) -> None:
        """Of the modes with masks: the packed bits, and the slopes for bits of 0 and of 1. Arrays must be contiguous."""
        self._bits, self._slopes = bits, (low, high)

    def ready(self) -> bool:
        """True: arrays may lie as they like."""
        return True

    def sums(self) -> list[Any]:
        """What was summed, in the order in which it was asked for: arrays of float64."""
        return [self._found[i] for i in range(len(self._asked))]

    # ---------------------------------------------------------------- running

    def run(self) -> None:
        """Run it, on the device that the arrays are on, which is current."""
        if self._mode in ("with_mask", "from_mask"):
            self._run_mask()
            return
        lines, terms, functions = self._text()
        written = {"forward": {"out": "out"}, "backward": {"a": "a_dx", "b": "b_dx"}, "loss": {"out": "losses", "a": "a_dx"}}[self._mode]
        gives = {written[what]: array for what, array in self._gives.items()}
        results = tuple((written[what], terms[what]) for what in self._gives)

        # What is stored is stored last, for it may lie where operands do.
        groups: list[Any] = passes([kept_axes(shape, self._shape) for _, shape in self._asked]) or [(None, [], [])]
        for kept, asked, over_all in groups:
            last = kept == groups[-1][0]
            sums, wholes = (tuple(terms[self._asked[i][0]] for i in some) for some in (asked, over_all))
            stage = Stage(
                functions, tuple(self._arrays), tuple(self._numbers), "\n".join(lines), results if last else (), sums, wholes, "float64",
                self._dropout,
            )  # fmt: skip
            found = self._backend.run_stage(
                stage,
                self._kind,
                self._wide,
                self._arrays | (gives if last else {}),
                self._numbers,
                kept,
                lead="a",
                shape=self._shape,
                seed=self._seed,
                threshold=self._threshold,
            )
            for i, total in zip([*asked, *over_all], found, strict=True):
                self._found[i] = total.reshape(self._asked[i][1])

    def _text(self) -> tuple[list[str], dict[str, str], tuple[str, ...]]:
        """Statements, what is what after them, and the lowered functions that they call."""
        weighted, factors = "weight" in self._arrays or "weight" in self._numbers, self._factors
        if len(factors) == 2 and not self._wide and self._kind != "float64":  # as cpu/pipeline.hpp: cheaper in float32
            there = self._backend.program.functions
            factors = [replace(f, gate=f"{f.function}_gate") if f"{f.function}_gate" in there else f for f in factors]
        named = [f for f in factors if f.function]
        if self._mode == "forward":
            lines, out = product(factors, weighted, self._dropout)
            return lines, {"out": out}, tuple(f.gate or f"{f.function}_value" for f in named)
        if self._mode == "backward":
            lines, terms = product_backward(factors, weighted, self._dropout)
            both = [f"{f.function}_{d}" for f in named for d in ("value", "backward" if f.learned else "value_and_derivative")]
            both += [f.gate for f in named if f.gate]
            return lines, terms, (*both, *(f"{f.function}_backward" for f in named if len(factors) == 1))
        (a,) = factors
        role, weight = "value_and_derivative" if "a" in self._gives else "value", " * weight" * weighted
        lines = [f"const auto r = defs::{a.function}_{role}({', '.join(['a', 'target', *a.params])});"]
        if role == "value":
            return [*lines, f"const F loss = r{weight};"], {"out": "loss", "total": "loss"}, (f"{a.function}_value",)
        given = " * grad" if "grad" in self._arrays or "grad" in self._numbers else ""
        lines += [f"const F loss = r.a{weight};", f"const F slope = r.b{weight}{given};"]
        return lines, {"out": "loss", "total": "loss", "a": "slope * scale"}, (f"{a.function}_{role}",)

    def _run_mask(self) -> None:
        (a,) = self._factors if self._factors else (Factor("a"),)
        forward = self._mode == "with_mask"
        given = self._arrays["a"] if forward else self._arrays["grad"]
        result = self._gives["out"] if forward else self._gives["a"]
        params = {p: self._numbers[p] for p in a.params}
        self._backend.run_mask(a.function if forward else "", params, self._kind, self._wide, given, result, self._bits, *self._slopes)


def kept_axes(own: Sequence[int], shape: Sequence[int]) -> tuple[bool, ...]:
    """For each axis of `shape` whether what has the shape `own`, which broadcasts to it, has an extent along it; not where that is 1."""
    full = (1,) * (len(shape) - len(own)) + tuple(own)
    return tuple(extent == whole != 1 for extent, whole in zip(full, shape, strict=True))


def mask_entry(function: str, params: Sequence[str], kind: str, wide: bool, vectors: bool = True, in_place: bool = False) -> str:
    """The entry point `mask`: with a function, its value and the packed bits of its slope; without, the gradient from the bits.

    `vectors`: all arrays begin at a multiple of sixteen bytes; `in_place`: the result is what is read.
    """
    real = working_type(kind, wide)
    numbers = "".join(f", {real} {p}" for p in params)
    call = f"defs::{function}_value_and_derivative({', '.join(['x', *params])})"
    form = f"{kind.upper()}, F, {str(vectors).lower()}, {str(not in_place).lower()}"
    how = f"with_mask<{form}>(given, out, bits, low, high, n, [=](F x) {{ return {call}; }});"
    if not function:
        how = f"from_mask<{form}>(given, out, bits, low, high, n);"
    takes = f"const void *given, void *out, unsigned char *bits, {real} low, {real} high, long long n{numbers}"
    head = f'extern "C" __global__ void __launch_bounds__({FLAT})'
    return f"namespace fastact {{\n{head} mask({takes}) {{\n    using F = {real};\n    {how}\n}}\n}}"
