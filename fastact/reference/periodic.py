"""Sine and cosine, in extended precision: next to roots the terms of their derivatives cancel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import factorial
from typing import Any

import numpy as np

from .oracle import oracle

Long = Any  # an array of np.longdouble
#: Beyond this the cardinal sine and its derivatives count as 0, without a sign of their own.
GONE = 1e50


def _long(formula: Callable[..., Long]) -> Callable[..., Any]:
    """`formula` on arrays of np.longdouble; there the product of two float32 parameters and inputs is exact."""
    return lambda *args: formula(*(np.asarray(a, dtype=np.longdouble) for a in args))


def _sinc(order: int, far: Callable[[Long], Long]) -> Callable[..., Any]:
    """A derivative of the cardinal sine: `far` from 0, next to it the series of (-1)^k x^(2 k) / (2 k + 1)!, term by term."""

    def formula(x: Long) -> Long:
        z = x * x
        near = sum(
            (-1) ** k * _falling(2 * k, order) * z ** (k - (order + 1) // 2) / factorial(2 * k + 1) for k in range((order + 1) // 2, 13)
        )
        near = x ** (order % 2) * near
        return np.where(np.abs(x) > GONE, 0.0, np.where(np.abs(x) < 1, near, far(x)))

    return _long(formula)


def _falling(n: int, order: int) -> int:
    return factorial(n) // factorial(n - order)


def _snake(x: Long, alpha: Long) -> Long:
    bend = np.sin(alpha * x) ** 2 / alpha
    return np.where((bend == 0) | (alpha == 0), x, np.where(np.abs(alpha * x) > GONE, x, x + bend))


def _snake_gradient(x: Long, alpha: Long) -> Long:
    u = alpha * x
    return np.where(u == 0, x * x, np.sin(u) / alpha * ((2 * u * np.cos(u) - np.sin(u)) / alpha))


_SNAKE = oracle(
    _long(_snake),
    _long(lambda x, alpha: (np.sin(alpha * x) + np.cos(alpha * x)) ** 2),  # 1 + sin(2 alpha x)
    _long(lambda x, alpha: 2 * alpha * np.cos(2 * alpha * x)),
    oscillates=True,
    alpha=_long(_snake_gradient),
)

ORACLES = {
    "sine": oracle(
        _long(lambda x, omega: np.sin(omega * x)),
        _long(lambda x, omega: omega * np.cos(omega * x)),
        _long(lambda x, omega: -omega * omega * np.sin(omega * x)),
        oscillates=True,
    ),
    "cosine": oracle(_long(np.cos), _long(lambda x: -np.sin(x)), _long(lambda x: -np.cos(x)), oscillates=True),
    "sinc": oracle(
        _sinc(0, lambda x: np.sin(x) / x),
        _sinc(1, lambda x: (x * np.cos(x) - np.sin(x)) / x**2),
        _sinc(2, lambda x: ((2 - x * x) * np.sin(x) - 2 * x * np.cos(x)) / x**3),
    ),
    # The value of snake has limits at infinity, its derivatives have none.
    "snake": replace(_SNAKE, value=oracle(_long(_snake), _long(_snake)).value),
    "gcu": oracle(
        _long(lambda x: x * np.cos(x)),
        _long(lambda x: np.cos(x) - x * np.sin(x)),
        _long(lambda x: -2 * np.sin(x) - x * np.cos(x)),
        oscillates=True,
    ),
}
