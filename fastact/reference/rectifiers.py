"""Rectifiers."""

from __future__ import annotations

import numpy as np

from .numerics import FAR, Array, product, times_exp
from .oracle import Oracle, oracle


def _zero(x: Array, *params: Array) -> Array:
    return np.zeros_like(x)


def _one(x: Array, *params: Array) -> Array:
    return np.ones_like(x)


def _relu(x: Array) -> Array:
    return np.where(x <= 0, x.dtype.type(0), x)


def _relu_derivative(x: Array) -> Array:
    return np.where(x > 0, x.dtype.type(1), np.where(x <= 0, x.dtype.type(0), x))


def _star_relu(x: Array, scale: Array, bias: Array) -> Array:
    square, square_low = product(x, x)
    scaled, scaled_low = product(scale, square)
    return np.where(x > 0, (scaled + bias) + (scaled_low + scale * square_low), bias)


def _leaky_relu(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, x, alpha * x)


def _leaky_relu_derivative(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, 1.0, alpha)


def _prelu_gradient(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, 0.0, x)


def _threshold(x: Array, threshold: Array, value: Array | float) -> Array:
    return np.where(x > threshold, x, value)


def _threshold_derivative(x: Array, threshold: Array, *value: Array) -> Array:
    return np.where(x > threshold, 1.0, 0.0)


def _elu(x: Array, alpha: Array) -> Array:
    return np.where(x >= 0, x, alpha * np.expm1(x))  # 0 at 0, however large alpha is


def _elu_derivative(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, 1.0, times_exp(alpha, np.minimum(x, 0.0)))


def _celu(x: Array, alpha: Array) -> Array:
    return np.where(x >= -1e-17 * alpha, x, alpha * np.expm1(x / alpha))  # the quotient may be subnormal


def _celu_derivative(x: Array, alpha: Array) -> Array:
    c = np.minimum(x, 0.0)
    z = c / alpha
    back, back_low = product(z, alpha)
    rest = np.where(z > -FAR, ((c - back) - back_low) / alpha, 0.0)  # what the division left
    return times_exp(1 + rest, z)


ORACLES = {
    "identity": oracle(lambda x: x, _one, _zero, integer=Oracle(lambda x: x, _one, _zero)),
    "relu": oracle(_relu, _relu_derivative, integer=Oracle(_relu, _relu_derivative)),
    "relu_squared": oracle(lambda x: _relu(x) ** 2, lambda x: 2 * _relu(x)),
    "star_relu": oracle(_star_relu, lambda x, scale, bias: np.where(x > 0, 2 * scale * x, 0.0)),
    "leaky_relu": oracle(_leaky_relu, _leaky_relu_derivative),
    "prelu": oracle(_leaky_relu, _leaky_relu_derivative, alpha=_prelu_gradient),
    "rrelu": oracle(
        lambda x, lower, upper: _leaky_relu(x, (lower + upper) / 2),
        lambda x, lower, upper: _leaky_relu_derivative(x, (lower + upper) / 2),
    ),
    "threshold": oracle(_threshold, _threshold_derivative),
    "thresholded_relu": oracle(lambda x, threshold: _threshold(x, threshold, 0.0), _threshold_derivative),
    "step": oracle(lambda x, threshold: np.where(x < threshold, 0.0, 1.0), _zero),
    "elu": oracle(_elu, _elu_derivative),
    "selu": oracle(
        lambda x, alpha, scale: scale * _elu(x, alpha),
        lambda x, alpha, scale: np.where(x > 0, scale, times_exp(scale * alpha, np.minimum(x, 0.0))),
    ),
    "celu": oracle(_celu, _celu_derivative),
}
