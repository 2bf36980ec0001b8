"""The logistic, the hyperbolic tangent and what is gated by them; e is exp(-abs(x))."""

from __future__ import annotations

import numpy as np

from .numerics import FAR, Array, times_exp
from .oracle import oracle


def logistic(x: Array, low: Array | float = 0.0) -> Array:
    """The logistic of ``x + low``, `low` being an unrepresentable rest of x."""
    e: Array = np.exp(-np.abs(x))
    e = e + e * np.where(x < 0, low, -low)
    return np.where(x < 0, e, 1.0) / (1 + e)


def _sigmoid_derivative(x: Array) -> Array:
    e: Array = np.exp(-np.abs(x))
    return e / ((1 + e) * (1 + e))  # sigmoid(x) * sigmoid(-x)


def _sigmoid_second(x: Array) -> Array:
    return -_sigmoid_derivative(x) * np.tanh(x / 2)


def _tanh_derivative(x: Array) -> Array:
    e: Array = np.exp(-np.abs(x))
    sech = 2 * e / (1 + e * e)
    return sech * sech


def _tanh_second_derivative(x: Array) -> Array:
    return -2 * np.tanh(x) * _tanh_derivative(x)  # by hand: a zero keeps its sign


def _sigmoid_tanh(x: Array) -> Array:
    return logistic(x) + np.tanh(x)


def _sigmoid_tanh_derivative(x: Array) -> Array:
    return _sigmoid_derivative(x) + _tanh_derivative(x)


def _sigmoid_tanh_second_derivative(x: Array) -> Array:
    return -np.tanh(x / 2) * _sigmoid_derivative(x) + _tanh_second_derivative(x)


def _silu(x: Array) -> Array:
    c = np.maximum(x, -FAR)
    h = 1 + np.exp(-np.abs(c))
    return np.where(x < 0, times_exp(c / h, c), x / h)


def _silu_derivative(x: Array) -> Array:
    # sigmoid(x) * (1 + x * sigmoid(-x))
    c = np.clip(x, -FAR, FAR)
    e = np.exp(-np.abs(c))
    h = 1 + e
    return np.where(x < 0, times_exp((h + c) / (h * h), c), (1 + c * e / h) / h)


def _silu_second(x: Array) -> Array:
    # sigmoid'(x) * (2 - x * tanh(x / 2))
    c = np.clip(x, -FAR, FAR)
    return _sigmoid_derivative(c) * (2 - c * np.tanh(c / 2))


ORACLES = {
    "sigmoid": oracle(logistic, _sigmoid_derivative, _sigmoid_second),
    "tanh": oracle(np.tanh, _tanh_derivative, _tanh_second_derivative),
    "sigmoid_tanh": oracle(_sigmoid_tanh, _sigmoid_tanh_derivative, _sigmoid_tanh_second_derivative),
    "silu": oracle(_silu, _silu_derivative, _silu_second),
}
