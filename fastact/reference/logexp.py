"""Functions of logarithms and exponentials; e is exp(-abs(x))."""

from __future__ import annotations

from functools import wraps

import numpy as np

from .numerics import FAR, Array, times_exp
from .oracle import Function, Oracle, oracle
from .sigmoids import logistic


def _exponential(x: Array) -> Array:
    with np.errstate(over="ignore", under="ignore"):
        return np.exp(np.asarray(x, dtype=np.float64))


def _log1mexp(x: Array) -> Array:
    # Maechler (2012): each side of ln(2) has its own accurate form
    return np.where(x < 0.6931471805599453, np.log(-np.expm1(-x)), np.log1p(-np.exp(-x)))


def _log1mexp_derivative(x: Array) -> Array:
    x = np.abs(x)  # -0 is the edge of the domain too
    e = np.exp(-x)
    return np.where(x < 0.5, 1 / np.expm1(x), e / (1 - e))


def _log1mexp_second_derivative(x: Array) -> Array:
    h = np.expm1(-x)
    return -np.exp(-x) / (h * h)


def _not_below_zero(f: Function) -> Function:
    """NaN for x < 0, -inf too."""

    @wraps(f)
    def restricted(x: Array) -> Array:
        x = np.asarray(x, dtype=np.float64)
        return np.where(x < 0, np.nan, f(x))

    return restricted


_LOG1MEXP = oracle(_log1mexp, _log1mexp_derivative, _log1mexp_second_derivative)


def _cloglog(x: Array) -> Array:
    return -np.expm1(-np.exp(x))


def _cloglog_derivative(x: Array) -> Array:
    return np.exp(x - np.exp(x))


def _cloglog_second_derivative(x: Array) -> Array:
    c = np.minimum(x, FAR / 100)
    return (0.0 - np.expm1(c)) * np.exp(c - np.exp(c))


def _gates(x: Array, e: Array) -> Array:
    """log(1 + sigmoid(x)); left of 0 over e."""
    small = np.maximum(e, 1e-300)
    return np.where(x < 0, np.log1p(small / (1 + small)) / small, np.log1p(1 / (1 + e)))


def _smish(x: Array) -> Array:
    # tanh(log(1 + s)) = s (s + 2) / (s (s + 2) + 2) with s = sigmoid(x)
    c = np.maximum(x, -FAR)
    e = np.exp(-np.abs(c))
    s = logistic(c)
    gate = (s + 2) / (s * (s + 2) + 2)  # over s
    return np.where(x < 0, times_exp(c * gate / (1 + e), c), x * (s * gate))


def _smish_derivative(x: Array) -> Array:
    # the gate's derivative is 4 (1 + s) / (s (s + 2) + 2)^2 of that of s, which is s (1 - s)
    c = np.clip(x, -FAR, FAR)
    e = np.exp(-np.abs(c))
    s = logistic(c)
    d = s * (s + 2) + 2
    slope = (s + 2) / d + 4 * c * (1 + s) * logistic(-c) / (d * d)  # over s
    return np.where(x < 0, times_exp(slope / (1 + e), c), s * slope)


def _smish_second_derivative(x: Array) -> Array:
    c = np.clip(x, -FAR, FAR)
    e = np.exp(-np.abs(c))
    s, t = logistic(c), logistic(-c)
    d = s * (s + 2) + 2
    # of the gate as a function of s: first 4 (1 + s) / d^2, second (4 d - 16 (1 + s)^2) / d^3
    bend = 4 * (1 + s) / (d * d) * (2 + c * (t - s)) + c * s * t * (4 * d - 16 * (1 + s) * (1 + s)) / (d * d * d)
    return times_exp(bend / ((1 + e) * (1 + e)), -np.abs(c))


def _logish(x: Array) -> Array:
    c = np.maximum(x, -FAR)
    gate = _gates(c, np.exp(-np.abs(c)))
    return np.where(x < 0, times_exp(c * gate, c), x * gate)


def _logish_derivative(x: Array) -> Array:
    c = np.clip(x, -FAR, FAR)
    e = np.exp(-np.abs(c))
    s = logistic(c)
    slope = _gates(c, e) + c * np.where(x < 0, 1 / (1 + e), s) * logistic(-c) / (1 + s)
    return np.where(x < 0, times_exp(slope, c), slope)


def _logish_second_derivative(x: Array) -> Array:
    # s' = s t, and the gate's derivatives are s' / (1 + s), s' (t - s - s t / (1 + s)) / (1 + s)
    c = np.clip(x, -FAR, FAR)
    e = np.exp(-np.abs(c))
    s, t = logistic(c), logistic(-c)
    bend = (2 + c * (t - s - s * t / (1 + s))) / (1 + s)
    return times_exp(bend / ((1 + e) * (1 + e)), -np.abs(c))


ORACLES = {
    "exponential": Oracle(_exponential, _exponential, _exponential),
    "log1mexp": Oracle(*(_not_below_zero(f) for f in (_LOG1MEXP.value, _LOG1MEXP.derivative, _LOG1MEXP.second_derivative) if f)),
    "cloglog": oracle(_cloglog, _cloglog_derivative, _cloglog_second_derivative),
    "smish": oracle(_smish, _smish_derivative, _smish_second_derivative),
    "logish": oracle(_logish, _logish_derivative, _logish_second_derivative),
}
