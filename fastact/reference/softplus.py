"""Softplus and mish."""

from __future__ import annotations

import numpy as np

from . import jets
from .numerics import FAR, Array, product, times_exp
from .oracle import oracle
from .sigmoids import logistic


def _softplus(x: Array, beta: Array) -> Array:
    z, low = product(beta, x)
    high = -np.abs(z)
    low = np.where(z < 0, low, -low)
    e = np.exp(high)
    e = e + e * low
    ratio = np.where(e < 1e-20, 1 + low, np.log1p(e) / e * (1 + low))  # log1p(e) = ratio * exp(high)
    tail = times_exp(ratio / beta, high)
    return np.where(z < 0, tail, x + tail)


def _softplus_derivative(x: Array, beta: Array) -> Array:
    return logistic(*product(beta, x))


def _mish(x: Array) -> Array:
    # tanh(log(1 + w)) = n / (n + 2) with w = exp(x), n = w (w + 2); right of 0 in 1 / w
    c = np.maximum(x, -FAR)
    e = np.exp(-np.abs(c))
    return np.where(x < 0, times_exp(c * (e + 2) / (e * (e + 2) + 2), c), x * ((1 + 2 * e) / (1 + 2 * e + 2 * e * e)))


def _mish_derivative(x: Array) -> Array:
    # n / (n + 2) + 4 x w (1 + w) / (n + 2)^2
    c = np.clip(x, -FAR, FAR)
    e = np.exp(-np.abs(c))
    d = e * (e + 2) + 2
    left = times_exp(((e + 2) * d + 4 * c * (1 + e)) / (d * d), c)
    d = 1 + 2 * e + 2 * e * e
    return np.where(x < 0, left, (1 + 2 * e) / d + 4 * c * e * e * (1 + e) / (d * d))


def _mish_second_derivative(x: Array) -> Array:
    # (1 - t^2) (2 s + x (s (1 - s) - 2 t s^2)) with t = tanh(softplus(x)), s = sigmoid(x)
    c = np.clip(x, -FAR, FAR)
    e = np.exp(-np.abs(c))
    t = np.where(x < 0, e * (e + 2) / (e * (e + 2) + 2), (1 + 2 * e) / (1 + 2 * e + 2 * e * e))
    rest = 2 + c * (logistic(-c) - 2 * t * logistic(c))  # over s
    right = 2 * e / (1 + 2 * e + 2 * e * e)  # 1 - t^2 = (right (1 + e))^2, and s (1 + e) = 1
    return np.where(x < 0, times_exp((1 - t * t) / (1 + e) * rest, c), right * right * (1 + e) * rest)


ORACLES = {
    "softplus": oracle(_softplus, _softplus_derivative, jet=lambda x, beta: jets.softplus(beta * x) / beta),
    "mish": oracle(_mish, _mish_derivative, _mish_second_derivative),
}
