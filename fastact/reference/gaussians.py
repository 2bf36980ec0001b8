"""The normal distribution, and what is gated by it."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
from scipy import special

from .numerics import Array, difference, product, times_exp
from .oracle import oracle


def _times_gauss(a: Array | float, x: Array, half: float = 0.5) -> Array:
    """``a * exp(-half * x^2)``, rounded once. The square of `h`, the leading bits of x, is exact: no rounding enters the exponent."""
    h = np.rint(x * 256) / 256
    return times_exp(a * np.exp(half * (h - x) * (h + x)), -half * h * h)


def _gelu(x: Array) -> Array:
    c = np.clip(x, -60.0, 60.0)
    return np.where(x < -1, _times_gauss(c * special.erfcx(-c / sqrt(2)) / 2, c), x * special.ndtr(x))


def _gelu_derivative(x: Array) -> Array:
    c = np.clip(x, -60.0, 60.0)
    left = _times_gauss(special.erfcx(-c / sqrt(2)) / 2 + c / sqrt(2 * pi), c)
    return np.where(x < -1, left, special.ndtr(x) + _times_gauss(c / sqrt(2 * pi), c))


def _gelu_second_derivative(x: Array) -> Array:
    c = np.clip(x, -60.0, 60.0)
    return _times_gauss((2 - c * c) / sqrt(2 * pi), c)


def _clipped_gelu(x: Array, low: Array, high: Array) -> Array:
    return np.clip(_gelu(x), low, high)


def _clipped_gelu_derivative(x: Array, low: Array, high: Array) -> Array:
    y = _gelu(x)
    return np.where((low < y) & (y < high), _gelu_derivative(x), 0.0)


def _gaussian(x: Array) -> Array:
    return _times_gauss(1.0, np.clip(x, -60.0, 60.0), 1.0)


def _gaussian_derivative(x: Array) -> Array:
    c = np.clip(x, -60.0, 60.0)
    return _times_gauss(-2 * c, c, 1.0)


def _gaussian_second_derivative(x: Array) -> Array:
    c = np.clip(x, -60.0, 60.0)
    return _times_gauss(4 * c * c - 2, c, 1.0)


def _standard(x: Array, mu: Array, sigma: Array) -> tuple[Array, Array]:
    """(x - mu) / sigma and its rounding error."""
    d, low = difference(x, mu)
    q = np.clip(d / sigma, -60.0, 60.0)
    p, p_low = product(q, sigma)
    return q, np.where(np.abs(q) < 60, ((d - p) - p_low + low) / sigma, 0.0)


def _laplace(x: Array, mu: Array, sigma: Array) -> Array:
    q, low = _standard(x, mu, sigma)
    left = _times_gauss(special.erfcx(-q / sqrt(2)) / 2 * (1 - q * low), q)
    return np.where(q < -1, left, special.ndtr(q))


def _laplace_derivative(x: Array, mu: Array, sigma: Array) -> Array:
    q, low = _standard(x, mu, sigma)
    return _times_gauss((1 - q * low) / (sigma * sqrt(2 * pi)), q)


def _laplace_second_derivative(x: Array, mu: Array, sigma: Array) -> Array:
    q, low = _standard(x, mu, sigma)
    return _times_gauss(-q * (1 - q * low) / (sigma * sigma * sqrt(2 * pi)), q)


# Left of -8 tanh(gelu(x)) is gelu(x) to any digit that counts.
def _phish(x: Array) -> Array:
    c = np.clip(x, -60.0, 60.0)
    return np.where(x < -8, _times_gauss(c * c * special.erfcx(-c / sqrt(2)) / 2, c), x * np.tanh(_gelu(x)))


def _phish_derivative(x: Array) -> Array:
    c = np.clip(x, -60.0, 60.0)
    left = _times_gauss(c * (special.erfcx(-c / sqrt(2)) + c / sqrt(2 * pi)), c)
    g = _gelu(c)
    w = np.exp(-2 * np.abs(g))
    middle = np.tanh(g) + c * _gelu_derivative(c) * 4 * w / ((1 + w) * (1 + w))
    return np.where(x < -8, left, middle)


def _phish_second_derivative(x: Array) -> Array:
    c = np.clip(x, -400.0, 400.0)
    q = np.clip(x, -60.0, 60.0)
    left = _times_gauss(special.erfcx(-q / sqrt(2)) + (4 - q * q) * q / sqrt(2 * pi), q)
    g, slope = _gelu(c), _gelu_derivative(c)
    h = 1 + np.exp(-2 * np.abs(g))
    middle = times_exp(4 / (h * h) * (2 * slope + c * (_gelu_second_derivative(c) - 2 * np.tanh(g) * slope * slope)), -2 * np.abs(g))
    return np.where(x < -8, left, middle)


ORACLES = {
    "gelu": oracle(_gelu, _gelu_derivative, _gelu_second_derivative),
    "clipped_gelu": oracle(_clipped_gelu, _clipped_gelu_derivative),
    "gaussian": oracle(_gaussian, _gaussian_derivative, _gaussian_second_derivative),
    "phish": oracle(_phish, _phish_derivative, _phish_second_derivative),
    "laplace": oracle(_laplace, _laplace_derivative, _laplace_second_derivative),
}
