"""The language that definitions are written in, and what it means in plain Python.

A definition is a pure scalar function. `lower.py` turns its text into C++ and Numba; this module makes the same text run as
ordinary Python on ``numpy.float32`` and ``numpy.float64`` scalars, with the same bits, so that it can be read, tried and tested.

The language: ``+ - * /`` and unary minus, comparisons, conditional expressions (both sides are computed: they become a select),
single-assignment locals, tuples returned and unpacked, calls to other definitions and to the functions of this module.
``min(a, b)`` and ``max(a, b)`` mean Python's own: ``max(a, b)`` is ``b if b > a else a``, so a NaN in ``a`` stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

#: Cost classes, cheapest first: the arithmetic of one element, which decides where more threads pay.
COSTS = ("move", "exp", "erf")


# ---------------------------------------------------------------- the functions a definition may call


def fma(a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once."""
    kind = type(a)
    a, b, c = float(a), float(b), float(c)
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return kind(a * b + c)
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:  # the sign of a zero sum follows IEEE, which Fraction does not know
        return kind(a * b + c) if Fraction(a) * Fraction(b) == 0 else kind(0.0)
    return _round(exact, kind)


def _round(exact: Fraction, kind: type) -> Any:
    """The nearest `kind` to an exact rational; ties to even, subnormals and overflow as IEEE."""
    bits, lowest, largest = (24, -149, 127) if kind is np.float32 else (53, -1074, 1023)
    magnitude = abs(exact)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if Fraction(2) ** exponent > magnitude:
        exponent -= 1
    unit = max(exponent - bits + 1, lowest)
    scaled = magnitude / Fraction(2) ** unit
    rounded = round(scaled)  # Python rounds half to even
    if rounded.bit_length() + unit - 1 > largest:
        return kind(math.copysign(math.inf, exact))
    return kind(math.copysign(math.ldexp(rounded, unit), exact))


def bits(x: Any) -> Any:
    """The bit pattern of a float, as a signed integer of the same width."""
    return x.view(np.int32 if x.dtype == np.float32 else np.int64)


def from_bits(i: Any) -> Any:
    """The float with the bit pattern `i`."""
    return i.view(np.float32 if i.dtype == np.int32 else np.float64)


def pick(like: Any, float32: Any, float64: Any) -> Any:
    """A constant that depends on the working type: the type of `like`. Integers stay integers."""
    chosen, kind, whole = (float32, np.float32, np.int32) if type(like) is np.float32 else (float64, np.float64, np.int64)
    return whole(chosen) if isinstance(chosen, int) else kind(chosen)


def poly(x: Any, float32: tuple[float, ...], float64: tuple[float, ...]) -> Any:
    """A polynomial in `x` by Horner's rule with fma; coefficients in ascending powers, one set for each working type."""
    kind = type(x)
    coefficients = float32 if kind is np.float32 else float64
    result = kind(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = fma(result, x, kind(c))
    return result


def copysign(magnitude: Any, sign: Any) -> Any:
    """`magnitude` with the sign of `sign`."""
    return np.copysign(magnitude, sign)


#: What `lower.py` maps to each target's intrinsics; everything else a definition calls must be a definition.
INTRINSICS = ("fma", "abs", "copysign", "sqrt", "min", "max", "bits", "from_bits", "pick", "poly")


def sqrt(x: Any) -> Any:
    """The square root, correctly rounded; NaN below zero."""
    return np.sqrt(x)


# ---------------------------------------------------------------- definitions


class Primitive:
    """A function for other definitions to call; it may have a body of its own for float64."""

    def __init__(self, body: Callable[..., Any]) -> None:
        self._bodies = {np.float32: body, np.float64: body}
        self.__name__, self.__doc__ = body.__name__, body.__doc__

    def float64(self, body: Callable[..., Any]) -> Primitive:
        """Decorator: the body used when the working type is float64."""
        self._bodies[np.float64] = body
        return self

    def __call__(self, *args: Any) -> Any:
        return self._bodies[type(args[0])](*args)


primitive = Primitive


@dataclass(eq=False)
class Definition:
    """An activation: its mathematics by role, and every fact that tests, docs and dispatch need to know."""

    name: str
    doc: str
    family: str  #: "elementwise" or "rowwise"
    params: dict[str, float]  #: defaults in declared order; None: required
    aliases: tuple[str, ...]
    cost: str
    learnable: tuple[str, ...]
    formula: str
    derivative_formula: str
    value_range: str
    limits: dict[float, float]  #: the documented value at special inputs, default parameters
    roots: dict[str, tuple[float, ...]]  #: by role, away from 0: next to these the error bound is absolute
    integers: bool  #: True: integer arrays stay integers
    source: str
    roles: dict[str, Callable[..., Any]] = field(default_factory=dict)

    def __call__(self, *args: Any) -> Any:
        return self.roles["value"](*args)

    def derivative(self, body: Callable[..., Any]) -> Definition:
        """Decorator: the derivative with respect to x."""
        self.roles["derivative"] = body
        return self

    def gradient(self, parameter: str) -> Callable[[Callable[..., Any]], Definition]:
        """Decorator: the derivative with respect to a learnable parameter."""

        def add(body: Callable[..., Any]) -> Definition:
            self.roles[f"gradient_{parameter}"] = body
            return self

        return add


#: Every activation by name, in the order of definition. Filled by the decorator.
DEFINITIONS: dict[str, Definition] = {}


def activation(
    *,
    formula: str,
    derivative_formula: str = "",
    value_range: str,
    cost: str,
    family: str = "elementwise",
    params: dict[str, float] | None = None,
    aliases: tuple[str, ...] = (),
    learnable: tuple[str, ...] = (),
    limits: dict[float, float] | None = None,
    roots: dict[str, tuple[float, ...]] | None = None,
    integers: bool = False,
    source: str = "",
) -> Callable[[Callable[..., Any]], Definition]:
    """Register the decorated function as an activation's value. All arguments must be literals: the build reads them as text."""

    def register(body: Callable[..., Any]) -> Definition:
        definition = Definition(
            body.__name__, body.__doc__ or "", family, dict(params or {}), aliases, cost, learnable, formula,
            derivative_formula, value_range, dict(limits or {}), dict(roots or {}), integers, source, {"value": body},
        )  # fmt: skip
        DEFINITIONS[definition.name] = definition
        return definition

    return register
