"""What is made of the logistic: gates of other slopes, its logarithm, powers and differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import jets
from .numerics import Array, product
from .oracle import Oracle, oracle
from .sigmoids import logistic


def _bell(x: Array) -> Array:
    """The derivative of the logistic."""
    e: Array = np.exp(-np.abs(x))
    return e / ((1 + e) * (1 + e))


def _gate(inner: Callable[..., tuple[Any, Any, Any, Any]], far: float, **gradients: Any) -> Oracle:
    """x times the logistic of u, from inner(x, *params) = (u, the rounding error of u, u', u''); u is large beyond `far`.

    The factor that vanishes stands outside, so that zeros get their signs.
    """

    def value(x: Array, *params: Array) -> Array:
        u, low, _, _ = inner(np.clip(x, -far, far), *params)
        return x * logistic(u, low)

    def derivative(x: Array, *params: Array) -> Array:
        c = np.clip(x, -far, far)
        u, low, slope, _ = inner(c, *params)
        return logistic(u, low) * (1 + c * slope * logistic(-u, -low))

    def second(x: Array, *params: Array) -> Array:
        c = np.clip(x, -far, far)
        u, low, slope, bend = inner(c, *params)
        return logistic(u, low) * logistic(-u, -low) * (2 * slope + c * bend - c * slope * slope * np.tanh(u / 2))

    return oracle(value, derivative, second, **gradients)


def _gelu_tanh(x: Array) -> tuple[Any, Any, Any, Any]:
    a, b = 2 * np.sqrt(2 / np.pi), 2 * np.sqrt(2 / np.pi) * 0.044715
    return x * (a + b * x * x), 0.0, a + 3 * b * x * x, 6 * b * x


def _quick_gelu(x: Array) -> tuple[Any, Any, Any, Any]:
    return *product(np.asarray(1.702), x), 1.702, 0.0


def _e_swish(role: str) -> Callable[[Array, Array], Array]:
    silu = _gate(lambda x: (x, 0.0, 1.0, 0.0), 2000.0)
    return lambda x, beta: beta * getattr(silu, role)(x)


def _log_sigmoid(x: Array) -> Array:
    return np.minimum(x, -0.0) - np.log1p(np.exp(-np.abs(x)))


ORACLES = {
    "gelu_tanh": _gate(_gelu_tanh, 50.0),
    "quick_gelu": _gate(_quick_gelu, 2000.0),
    "e_swish": oracle(_e_swish("value"), _e_swish("derivative"), _e_swish("second_derivative")),
    "log_sigmoid": oracle(_log_sigmoid, lambda x: logistic(-x), lambda x: -_bell(x)),
}
