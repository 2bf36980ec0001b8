"""Second-order Taylor arithmetic: a formula written with these functions gives its first and second derivative too.

A `Jet` holds a value and its derivatives with respect to one variable, as NumPy arrays, or as numbers of any other kind, mpmath's say,
with a table of functions for them. Where the functions meet plain numbers and arrays they are NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi as PI
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import special

#: The functions of NumPy arrays.
NUMPY = SimpleNamespace(
    exp=np.exp,
    expm1=np.expm1,
    log=np.log,
    log1p=np.log1p,
    sqrt=np.sqrt,
    tanh=np.tanh,
    sin=np.sin,
    cos=np.cos,
    atan=np.arctan,
    erf=special.erf,
    erfc=special.erfc,
    Phi=special.ndtr,
    where=np.where,
    abs=np.abs,
    pi=PI,
)


class Jet:
    """A value and its derivatives ``c``, with the functions ``m`` of its numbers. A formula's other arguments may be plain."""

    __array_ufunc__ = None  # NumPy's operators leave it to ours
    __slots__ = ("c", "m")

    def __init__(self, c: tuple[Any, ...], m: Any = NUMPY) -> None:
        self.c, self.m = c, m

    def _lift(self, other: Any) -> tuple[Any, ...]:
        return other.c if isinstance(other, Jet) else (other, *(0 * self.c[0] for _ in self.c[1:]))

    def _with(self, *c: Any) -> Jet:
        return Jet(tuple(c), self.m)

    def __add__(self, other: Any) -> Jet:
        return self._with(*(a + b for a, b in zip(self.c, self._lift(other), strict=True)))

    def __radd__(self, other: Any) -> Jet:
        return self + other

    def __neg__(self) -> Jet:
        return self._with(*(-a for a in self.c))

    def __sub__(self, other: Any) -> Jet:
        return self._with(*(a - b for a, b in zip(self.c, self._lift(other), strict=True)))

    def __rsub__(self, other: Any) -> Jet:
        return self._with(*(b - a for a, b in zip(self.c, self._lift(other), strict=True)))

    def __mul__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return self._with(*(a * other for a in self.c))
        a, b = self.c, other.c
        parts = [a[0] * b[0]]
        if len(a) > 1:
            parts.append(a[1] * b[0] + a[0] * b[1])
        if len(a) > 2:
            parts.append(a[2] * b[0] + 2 * a[1] * b[1] + a[0] * b[2])
        return self._with(*parts)

    def __rmul__(self, other: Any) -> Jet:
        return self * other

    def __truediv__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return self._with(*(a / other for a in self.c))
        a, b = self.c, other.c
        q = [a[0] / b[0]]
        if len(a) > 1:
            q.append((a[1] - q[0] * b[1]) / b[0])
        if len(a) > 2:
            q.append((a[2] - 2 * q[1] * b[1] - q[0] * b[2]) / b[0])
        return self._with(*q)

    def __rtruediv__(self, other: Any) -> Jet:
        return self._with(*self._lift(other)) / self

    def __pow__(self, power: Any) -> Jet:
        """A constant power; of positive numbers if it is not a whole number."""
        v = self.c[0]
        return self._chain(lambda: v**power, lambda: power * v ** (power - 1), lambda: power * (power - 1) * v ** (power - 2))

    def __abs__(self) -> Jet:
        sign = self.m.where(self.c[0] < 0, -1, 1)
        return self._with(*(a * sign for a in self.c))

    def _chain(self, *outer: Callable[[], Any]) -> Jet:
        """f(self), from f and its derivatives at the value."""
        parts = [outer[0]()]
        if len(self.c) > 1:
            first = outer[1]()
            parts.append(first * self.c[1])
        if len(self.c) > 2:
            parts.append(outer[2]() * self.c[1] * self.c[1] + first * self.c[2])
        return self._with(*parts)

    def __lt__(self, other: Any) -> Any:
        return self.c[0] < (other.c[0] if isinstance(other, Jet) else other)

    def __le__(self, other: Any) -> Any:
        return self.c[0] <= (other.c[0] if isinstance(other, Jet) else other)

    def __gt__(self, other: Any) -> Any:
        return self.c[0] > (other.c[0] if isinstance(other, Jet) else other)

    def __ge__(self, other: Any) -> Any:
        return self.c[0] >= (other.c[0] if isinstance(other, Jet) else other)

    def __eq__(self, other: object) -> Any:
        return self.c[0] == (other.c[0] if isinstance(other, Jet) else other)

    __hash__ = None  # type: ignore[assignment]


def variable(x: Any, order: int, m: Any = NUMPY) -> Jet:
    """The variable itself: x, 1, 0."""
    one = 0 * x + 1
    return Jet((x, one, 0 * x)[: order + 1], m)


def where(condition: Any, a: Any, b: Any) -> Any:
    """`a` where the condition holds, else `b`."""
    jet = a if isinstance(a, Jet) else b
    if not isinstance(jet, Jet):
        return np.where(condition, a, b)
    return Jet(tuple(jet.m.where(condition, p, q) for p, q in zip(jet._lift(a), jet._lift(b), strict=True)), jet.m)


def minimum(a: Any, b: Any) -> Any:
    """The smaller of two; `b` where they are equal."""
    return where(a < b, a, b)


def maximum(a: Any, b: Any) -> Any:
    """The larger of two; `b` where they are equal."""
    return where(a > b, a, b)


def _function(f: Callable[..., Any], *derivatives: Callable[..., Any]) -> Callable[[Any], Any]:
    """A function of one argument from (m, v) -> value and, given the value as third argument, its derivatives."""

    def function(x: Any) -> Any:
        if not isinstance(x, Jet):
            return f(NUMPY, x)
        v = x.c[0]
        value = f(x.m, v)
        return x._chain(lambda: value, *(lambda d=d: d(x.m, v, value) for d in derivatives))

    return function


def _bell(m: Any, v: Any, scale: int = 1) -> Any:
    """The logistic's derivative, without cancellation."""
    e = m.exp(-m.abs(v) * scale)
    return e / ((1 + e) * (1 + e))


def _logistic(m: Any, v: Any) -> Any:
    e = m.exp(-m.abs(v))
    return m.where(v < 0, e, 1) / (1 + e)


def _density(m: Any, v: Any) -> Any:
    return m.exp(-v * v / 2) / m.sqrt(2 * m.pi)


exp = _function(lambda m, v: m.exp(v), lambda m, v, f: f, lambda m, v, f: f)
expm1 = _function(lambda m, v: m.expm1(v), lambda m, v, f: m.exp(v), lambda m, v, f: m.exp(v))
log = _function(lambda m, v: m.log(v), lambda m, v, f: 1 / v, lambda m, v, f: -1 / (v * v))
log1p = _function(lambda m, v: m.log1p(v), lambda m, v, f: 1 / (1 + v), lambda m, v, f: -1 / ((1 + v) * (1 + v)))
sqrt = _function(lambda m, v: m.sqrt(v), lambda m, v, f: 1 / (2 * f), lambda m, v, f: -1 / (4 * v * f))
tanh = _function(lambda m, v: m.tanh(v), lambda m, v, f: 4 * _bell(m, v, 2), lambda m, v, f: -8 * f * _bell(m, v, 2))
sin = _function(lambda m, v: m.sin(v), lambda m, v, f: m.cos(v), lambda m, v, f: -f)
cos = _function(lambda m, v: m.cos(v), lambda m, v, f: -m.sin(v), lambda m, v, f: -f)
atan = _function(lambda m, v: m.atan(v), lambda m, v, f: 1 / (1 + v * v), lambda m, v, f: -2 * v / ((1 + v * v) * (1 + v * v)))
sigmoid = _function(_logistic, lambda m, v, f: _bell(m, v), lambda m, v, f: -_bell(m, v) * m.tanh(v / 2))
softplus = _function(
    lambda m, v: m.where(v > 0, v, 0) + m.log1p(m.exp(-m.abs(v))), lambda m, v, f: _logistic(m, v), lambda m, v, f: _bell(m, v)
)
phi = _function(_density, lambda m, v, f: -v * f, lambda m, v, f: (v * v - 1) * f)
Phi = _function(lambda m, v: m.Phi(v), lambda m, v, f: _density(m, v), lambda m, v, f: -v * _density(m, v))
erf = _function(
    lambda m, v: m.erf(v),
    lambda m, v, f: 2 * m.exp(-v * v) / m.sqrt(m.pi),
    lambda m, v, f: -4 * v * m.exp(-v * v) / m.sqrt(m.pi),
)
erfc = _function(
    lambda m, v: m.erfc(v),
    lambda m, v, f: -2 * m.exp(-v * v) / m.sqrt(m.pi),
    lambda m, v, f: 4 * v * m.exp(-v * v) / m.sqrt(m.pi),
)
