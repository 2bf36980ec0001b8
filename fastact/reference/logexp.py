"""Functions of logarithms and exponentials; e is exp(-abs(x))."""

from __future__ import annotations

from functools import wraps

import numpy as np

from .numerics import FAR, Array, times_exp
from .oracle import Function, Oracle, oracle
from .sigmoids import logistic


def _exponential(x: Array) -> Array:
    with np.errstate(all="ignore"):
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
        with np.errstate(invalid="ignore"):  # signalling NaNs
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


def _eis_argument(x: Array, alpha: Array, decay: Array) -> Array:
    """x, no farther left than where an exponential has vanished, if there is one."""
    return np.where(alpha + decay > 0, np.maximum(x, -1e6), x)


def _eis_parts(x: Array, alpha: Array, beta: Array, gamma: Array, delta: Array, theta: Array) -> tuple[Array, ...]:
    """softplus(x)^alpha; the terms root and delta * exp(-theta x) of the denominator, both times h = min(1, exp(theta x)); h; root."""
    e = np.exp(-np.abs(x))
    log_softplus = np.where(x < 0, np.log(_log1p_ratio(e)) + x, np.log(np.maximum(x, 0) + np.log1p(e)))
    t = np.where(delta > 0, theta * x, 0.0)
    h = np.exp(np.minimum(t, 0.0))
    root = np.hypot(np.sqrt(beta), np.sqrt(gamma) * x)
    return np.exp(alpha * log_softplus), root * h, delta * np.exp(-np.maximum(t, 0.0)), h, root


def _log1p_ratio(e: Array) -> Array:
    small = np.maximum(e, 1e-300)
    return np.log1p(small) / small


def _eis(x: Array, alpha: Array, beta: Array, gamma: Array, delta: Array, theta: Array) -> Array:
    x = _eis_argument(x, alpha, delta * theta)
    power, a, b, h, _ = _eis_parts(x, alpha, beta, gamma, delta, theta)
    return x * h / (a + b) * power


def _eis_derivative(x: Array, alpha: Array, beta: Array, gamma: Array, delta: Array, theta: Array) -> Array:
    # power' = alpha power sigmoid / softplus, and d - x d' = beta / root + delta exp(-theta x) (1 + theta x) of the denominator d
    x = _eis_argument(x, alpha, delta * theta)
    power, a, b, h, root = _eis_parts(x, alpha, beta, gamma, delta, theta)
    d = a + b
    rest = beta / root * h + b * (1 + theta * x)
    return h * power / d * (alpha * x * _softplus_rate(x) + rest / d)


def _softplus_rate(x: Array) -> Array:
    """sigmoid(x) / softplus(x)"""
    e = np.exp(-np.abs(x))
    return 1 / ((1 + e) * np.where(x < 0, _log1p_ratio(e), np.maximum(x, 0) + np.log1p(e)))


def _eis_second_derivative(x: Array, alpha: Array, beta: Array, gamma: Array, delta: Array, theta: Array) -> Array:
    # power'' g + 2 power' g' + power g'' with g = x / d, g'' = -(x d'' + 2 d' g' d) / d^2
    x = _eis_argument(x, alpha, delta * theta)
    power, a, b, h, root = _eis_parts(x, alpha, beta, gamma, delta, theta)
    d = a + b
    rate = _softplus_rate(x)
    slope = gamma * x / root
    lean = 2 * (alpha * rate - (slope * h - theta * b) / d)  # of 2 (power' / power - d' / d)
    bend = alpha * rate * (logistic(-x) + (alpha - 1) * rate)
    algebraic = beta / root * h / d * (lean - slope / root)
    exponential = b / d * ((1 + theta * x) * lean - theta * theta * x)
    # Zeros are what underflowed, or what is not there: the other part has the sign.
    straight = np.where((exponential == 0) & (gamma > 0), algebraic, np.where(algebraic == 0, exponential, algebraic + exponential))
    curved = x * bend
    return h * power / d * np.where(curved == 0, straight, straight + curved)


ORACLES = {
    "exponential": Oracle(_exponential, _exponential, _exponential),
    "log1mexp": Oracle(
        _not_below_zero(_LOG1MEXP.value),
        _not_below_zero(_LOG1MEXP.derivative),
        _not_below_zero(_LOG1MEXP.second_derivative or _LOG1MEXP.value),
    ),
    "cloglog": oracle(_cloglog, _cloglog_derivative, _cloglog_second_derivative),
    "smish": oracle(_smish, _smish_derivative, _smish_second_derivative),
    "logish": oracle(_logish, _logish_derivative, _logish_second_derivative),
    "eis": oracle(_eis, _eis_derivative, _eis_second_derivative),
}
