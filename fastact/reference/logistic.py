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


def _swish_beta(x: Array, beta: Array) -> tuple[Any, Any, Any, Any]:
    return *product(beta, x), beta, 0.0


def _swish_beta_gradient(x: Array, beta: Array) -> Array:
    z, low = product(beta, x)
    return x * (x * (logistic(z, low) * logistic(-z, -low)))


def _e_swish(role: str) -> Callable[[Array, Array], Array]:
    silu = _gate(lambda x: (x, 0.0, 1.0, 0.0), 2000.0)
    return lambda x, beta: beta * getattr(silu, role)(x)


def _log_sigmoid(x: Array) -> Array:
    return np.minimum(x, -0.0) - np.log1p(np.exp(-np.abs(x)))


def _elish_derivative(x: Array) -> Array:
    silu = _gate(lambda x: (x, 0.0, 1.0, 0.0), 2000.0).derivative(x)
    return np.where(x < 0, logistic(x) * (np.exp(x) + np.expm1(x) * logistic(-x)), silu)


def _hard_elish(x: Array) -> Array:
    return np.where(x < 0, np.expm1(x), x) * np.clip((x + 1) / 2, 0.0, 1.0)


def _hard_elish_derivative(x: Array) -> Array:
    inside = np.where(x < 0, (np.expm1(x) * (x + 2) + (x + 1)) / 2, x + 0.5)
    return np.where(x <= -1, 0.0, np.where(x >= 1, 1.0, inside))


def _situ_derivative(x: Array, beta: Array) -> Array:
    z = x / beta
    return logistic(x) * (4 * _bell(2 * z) + beta * np.tanh(z) * logistic(-x))


def _situ_second(x: Array, beta: Array) -> Array:
    z = x / beta
    t, slope, opposite = np.tanh(z), 4 * _bell(2 * z), logistic(-x)
    return logistic(x) * (-2 * t * slope / beta + opposite * (2 * slope - beta * t * np.tanh(x / 2)))


def _below_half(x: Array, alpha: Array) -> tuple[Array, Array, Array]:
    """abs(alpha), w = exp(abs(alpha) x) left of 1/2 and at 1 - x right of it, and 1 - exp(-abs(alpha))."""
    b = np.abs(alpha)
    z, low = product(b, np.where(x < 0.5, x, 1 - x))
    w = np.exp(z)
    rounding = np.where(x < 0.5, 0.0, (1 - (1 - x)) - x)
    return b, w + w * (low + b * rounding), -np.expm1(-b)


def _soft_clipping(x: Array, alpha: Array) -> Array:
    b, w, rest = _below_half(x, alpha)
    low = np.log1p(w * rest / (1 + w * np.exp(-b))) / b
    return np.where(np.where(alpha < 0, 0.5 - x, x - 0.5) < 0, low, 1 - low)


def _soft_clipping_derivative(x: Array, alpha: Array) -> Array:
    b, w, rest = _below_half(x, alpha)
    return np.sign(alpha) * (w * rest / ((1 + w) * (1 + w * np.exp(-b))))


def _soft_clipping_second(x: Array, alpha: Array) -> Array:
    b, w, _ = _below_half(x, alpha)
    z = x - 0.5
    return -_soft_clipping_derivative(x, alpha) * b * np.copysign(-np.expm1(-2 * b * np.abs(z)), z) / ((1 + w) * (1 + w * np.exp(-b)))


def _aria2(x: Array, alpha: Array, beta: Array) -> Array:
    result: Array = np.exp(-alpha * jets.softplus(-beta * x))
    return result


def _aria2_derivative(x: Array, alpha: Array, beta: Array) -> Array:
    return alpha * beta * logistic(-beta * x) * _aria2(x, alpha, beta)


def _aria2_second(x: Array, alpha: Array, beta: Array) -> Array:
    # alpha * sigmoid(-z) - sigmoid(z), where they cancel as well
    z = beta * x
    return beta * _aria2_derivative(x, alpha, beta) * ((alpha - 1) * logistic(-z) - np.tanh(z / 2))


ORACLES = {
    "gelu_tanh": _gate(_gelu_tanh, 50.0),
    "quick_gelu": _gate(_quick_gelu, 2000.0),
    "e_swish": oracle(_e_swish("value"), _e_swish("derivative"), _e_swish("second_derivative")),
    "swish_beta": _gate(_swish_beta, 1e150, beta=_swish_beta_gradient),
    "elish": oracle(lambda x: np.where(x < 0, np.expm1(x), x) * logistic(x), _elish_derivative),
    "hard_elish": oracle(_hard_elish, _hard_elish_derivative),
    "situ": oracle(lambda x, beta: beta * np.tanh(x / beta) * logistic(x), _situ_derivative, _situ_second),
    "soft_clipping": oracle(_soft_clipping, _soft_clipping_derivative, _soft_clipping_second),
    "aria2": oracle(_aria2, _aria2_derivative, _aria2_second),
    "log_sigmoid": oracle(_log_sigmoid, lambda x: logistic(-x), lambda x: -_bell(x)),
}
