"""Rectifiers."""

from __future__ import annotations

import numpy as np

from .jets import exp, expm1, where
from .numerics import Array, times_exp
from .oracle import Oracle, oracle


def _relu(x: Array) -> Array:
    return np.where(x <= 0, x.dtype.type(0), x)


def _relu_derivative(x: Array) -> Array:
    return np.where(x > 0, x.dtype.type(1), np.where(x <= 0, x.dtype.type(0), x))


def _leaky_relu(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, x, alpha * x)


def _leaky_relu_derivative(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, 1.0, np.where(x <= 0, alpha, x))


def _prelu_gradient(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, 0.0, x)


def _elu(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(x))


def _elu_derivative(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, 1.0, times_exp(alpha, np.minimum(x, 0.0)))


_INTEGER_RELU = Oracle(_relu, _relu_derivative)

ORACLES = {
    "relu": oracle(_relu, _relu_derivative, integer=_INTEGER_RELU),
    "leaky_relu": oracle(_leaky_relu, _leaky_relu_derivative),
    "elu": oracle(_elu, _elu_derivative),
    "prelu": oracle(_leaky_relu, _leaky_relu_derivative, alpha=_prelu_gradient),
}
