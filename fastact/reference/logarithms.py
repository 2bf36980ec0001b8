"""Logarithms of 1 and more, and the soft exponential."""

from __future__ import annotations

from math import factorial

import numpy as np

from .numerics import Array, difference, product
from .oracle import Function, Oracle, oracle


def _seagull(x: Array) -> Array:
    return np.where(np.abs(x) < 1, np.log1p(x * x), 2 * np.log(np.hypot(x, 1)))


def _seagull_derivative(x: Array) -> Array:
    r = 1 / np.hypot(x, 1)
    return 2 * (x * r) * r


def _seagull_second(x: Array) -> Array:
    r = 1 / np.hypot(x, 1)
    return 2 * (r - x * r) * (r + x * r) * r * r


def _nlrelu(x: Array, beta: Array) -> Array:
    z = beta * np.maximum(x, 0.0)
    return np.where(z > 1e20, np.log(beta) + np.log(x), np.log1p(z))


def _nlrelu_derivative(x: Array, beta: Array) -> Array:
    return np.where(x > 0, 1 / (1 / beta + x), 0.0)


def _argument(x: Array, alpha: Array) -> tuple[Array, Array, Array, Array]:
    """(w, its rest, 1 + w, its rest) with w = -alpha * (x + alpha): next to w = -1 the rests are all that there is."""
    t, t_low = difference(x, -alpha)
    w, w_low = product(-alpha, t)
    w_low = w_low - alpha * t_low
    u, u_low = difference(w, np.asarray(-1.0))
    return w, w_low, u, u_low + w_low


def _log_argument(x: Array, alpha: Array) -> Array:
    """log(1 - alpha * (x + alpha))"""
    w, w_low, u, u_low = _argument(x, alpha)
    far = np.where(u > 1e300, np.log(-alpha) + np.log(x), np.log(u + u_low))
    return np.where(np.abs(w) < 0.5, np.log1p(w) + w_low / (1 + w), far)


def _exponential(x: Array, alpha: Array, factor: Array | float = 1.0) -> Array:
    """factor * exp(alpha * x), infinite no earlier than it must be."""
    z, z_low = product(alpha, x)
    half = np.exp(z / 2)
    return np.where(np.abs(z) < 700, factor * np.exp(z) * (1 + z_low), factor * half * (1 + z_low) * half)


def _soft_exponential(x: Array, alpha: Array) -> Array:
    left = -_log_argument(x, alpha) / alpha
    # far left e^z is small against the constant, but for alpha = 1; far right the constant
    z, z_low = product(alpha, x)
    middle = (np.expm1(z) + z_low * np.exp(z) + alpha * alpha) / alpha
    right = np.where(
        z < -0.5, (_exponential(x, alpha) + (alpha - 1) * (alpha + 1)) / alpha, np.where(z < 40, middle, _exponential(x, alpha, 1 / alpha))
    )
    return np.where(alpha < 0, left, np.where(alpha > 0, right, x))


def _soft_exponential_derivative(x: Array, alpha: Array) -> Array:
    _, _, u, u_low = _argument(x, alpha)
    left = np.where(u > 1e300, -1 / alpha / x, np.where(u + u_low < 0, np.nan, 1 / (u + u_low)))
    return np.where(alpha < 0, left, _exponential(x, alpha))


def _soft_exponential_second(x: Array, alpha: Array) -> Array:
    slope = _soft_exponential_derivative(x, alpha)
    return np.where(alpha < 0, alpha * slope * slope, _exponential(x, alpha, alpha))


def _power_series(coefficients: list[float], z: Array) -> Array:
    return np.asarray(np.polynomial.polynomial.polyval(np.clip(z, -2, 2), coefficients))


def _soft_exponential_gradient(x: Array, alpha: Array) -> Array:
    # left: (log(1 + w) - w / (1 + w)) / alpha^2 + 1 / (1 + w); w^2 / alpha^2 is (x + alpha)^2
    w = _argument(x, alpha)[0]
    slope, log = _soft_exponential_derivative(x, alpha), _log_argument(x, alpha)
    series = (x + alpha) * (x + alpha) * _power_series([(-1) ** n * (n + 1) / (n + 2) for n in range(80)], w)
    left = np.where(np.abs(w) < 0.6, series, (log - 1 + slope) / alpha / alpha) + slope
    # right: (z e^z - expm1(z)) / alpha^2 + 1
    z = alpha * x
    series = x * x * _power_series([(n + 1) / factorial(n + 2) for n in range(26)], z)
    c = np.maximum(x, -100.0 / np.abs(alpha))
    grown = np.where(z > 40, _exponential(x, alpha, (z - 1) / alpha / alpha), (_exponential(c, alpha, alpha * c - 1) + 1) / alpha / alpha)
    right = np.where(np.abs(z) < 1.2, series, grown) + 1
    return np.where(alpha < 0, left, np.where(alpha > 0, right, x * x / 2 + 1))


def _with_ends(found: Oracle) -> Oracle:
    """The same, at infinity what it is at 1e300 where that is infinite or NaN already."""

    def ended(total: Function) -> Function:
        def function(x: Array, alpha: Array) -> Array:
            with np.errstate(invalid="ignore"):  # signalling NaNs
                wide = np.asarray(x, dtype=np.float64)
            far = total(np.copysign(1e300, wide), alpha)
            return np.where(np.isinf(wide) & ~np.isfinite(far), far, total(wide, alpha))

        return function

    assert found.second_derivative
    gradients = {name: ended(gradient) for name, gradient in found.gradients.items()}
    return Oracle(ended(found.value), ended(found.derivative), ended(found.second_derivative), gradients)


ORACLES = {
    "seagull": oracle(_seagull, _seagull_derivative, _seagull_second),
    "nlrelu": oracle(_nlrelu, _nlrelu_derivative),
    "soft_exponential": _with_ends(
        oracle(_soft_exponential, _soft_exponential_derivative, _soft_exponential_second, alpha=_soft_exponential_gradient)
    ),
}
