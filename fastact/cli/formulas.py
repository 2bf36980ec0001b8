"""The activations as textbooks have them, in plain NumPy: what fastact is compared with.

They compute in the type of their input and are as accurate as their formula: most lose digits in a tail, softplus overflows early.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import pi, sqrt
from typing import Any

import numpy as np
from scipy.special import erf

from ..reference import REFERENCE

#: NumPy's and SciPy's results have no better type than this.
Array = Any
Function = Callable[..., Array]
#: What a parameter without a default is given, and begins with where it is learned.
SLOPE = 0.25


@dataclass(frozen=True)
class Formula:
    """One activation: functions of ``(x, *params)``."""

    value: Function
    derivative: Function
    gradients: Mapping[str, Function] = field(default_factory=dict)  #: by learnable parameter
    plain: bool = True  #: False: the oracle stands in, which computes in float64


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _sigmoid_derivative(x: Array) -> Array:
    s = _sigmoid(x)
    return s * (1 - s)


def _tanh_derivative(x: Array) -> Array:
    return 1 - np.tanh(x) ** 2


def _silu_derivative(x: Array) -> Array:
    s = _sigmoid(x)
    return s * (1 + x * (1 - s))


def _gelu(x: Array) -> Array:
    return 0.5 * x * (1 + erf(x / sqrt(2)))


def _gelu_derivative(x: Array) -> Array:
    return 0.5 * (1 + erf(x / sqrt(2))) + x * np.exp(-x * x / 2) / sqrt(2 * pi)


def _softplus(x: Array, beta: Any) -> Array:
    return np.log1p(np.exp(beta * x)) / beta


def _softplus_derivative(x: Array, beta: Any) -> Array:
    return _sigmoid(beta * x)


def _mish(x: Array) -> Array:
    return x * np.tanh(np.log1p(np.exp(x)))


def _mish_derivative(x: Array) -> Array:
    t = np.tanh(np.log1p(np.exp(x)))
    return t + x * _sigmoid(x) * (1 - t * t)


def _leaky_relu(x: Array, alpha: Any) -> Array:
    return np.where(x > 0, x, alpha * x)


def _slope(x: Array, alpha: Any) -> Array:
    return np.where(x > 0, x.dtype.type(1), np.asarray(alpha, x.dtype))


def _elu(x: Array, alpha: Any) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(x))


def _elu_derivative(x: Array, alpha: Any) -> Array:
    return np.where(x > 0, x.dtype.type(1), alpha * np.exp(x))


FORMULAS = {
    "relu": Formula(lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(x.dtype)),
    "leaky_relu": Formula(_leaky_relu, _slope),
    "sigmoid": Formula(_sigmoid, _sigmoid_derivative),
    "tanh": Formula(np.tanh, _tanh_derivative),
    "sigmoid_tanh": Formula(lambda x: _sigmoid(x) + np.tanh(x), lambda x: _sigmoid_derivative(x) + _tanh_derivative(x)),
    "silu": Formula(lambda x: x * _sigmoid(x), _silu_derivative),
    "gelu": Formula(_gelu, _gelu_derivative),
    "softplus": Formula(_softplus, _softplus_derivative),
    "elu": Formula(_elu, _elu_derivative),
    "mish": Formula(_mish, _mish_derivative),
    "prelu": Formula(_leaky_relu, _slope, {"alpha": lambda x, alpha: np.minimum(x, 0)}),
}


def formula(name: str) -> Formula:
    """The formula of an elementwise activation; where there is none, the oracle, rounded to the type of its input."""
    if name in FORMULAS:
        return FORMULAS[name]
    reference = REFERENCE[name]

    def rounded(function: Function) -> Function:
        return lambda x, *params: function(x, *params).astype(x.dtype)

    gradients = {p: rounded(f) for p, f in reference.gradients.items()}
    return Formula(rounded(reference.value), rounded(reference.derivative), gradients, plain=False)


def softmax(x: Array) -> Array:
    """The softmax of each row."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward(grad: Array, x: Array) -> Array:
    """Its gradient."""
    y = softmax(x)
    return y * (grad - (grad * y).sum(axis=-1, keepdims=True))
