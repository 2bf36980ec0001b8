"""The family of the hyperbolic tangent."""

from __future__ import annotations

import numpy as np

from .numerics import Array, product
from .oracle import oracle


def _sech2(x: Array, low: Array | float = 0.0) -> Array:
    """1 - tanh(x + low)^2."""
    e = np.exp(-2 * np.abs(x)) * (1 - 2 * np.sign(x) * low)
    return 4 * e / ((1 + e) * (1 + e))


def _bend(x: Array, low: Array | float = 0.0) -> Array:
    """The second derivative of tanh."""
    return -2 * np.tanh(x) * _sech2(x, low)


def _softcap(x: Array, cap: Array) -> Array:
    z = x / cap
    return np.where(np.abs(z) < 1e-8, x, cap * np.tanh(z))


def _quotient(x: Array, cap: Array) -> tuple[Array, Array]:
    z = x / cap
    back, low = product(z, cap)
    rest = ((x - back) - low) / cap
    return z, np.where(np.abs(z) < 1000, rest, 0.0)


def _stanh(x: Array, scale_a: Array, scale_b: Array) -> Array:
    return scale_b * np.tanh(scale_a * x)


def _lisht_derivative(x: Array) -> Array:
    return np.tanh(x) + np.clip(x, -1000, 1000) * _sech2(x)


def _lisht_second_derivative(x: Array) -> Array:
    # 2 sech(x)^2 (1 - x tanh(x))
    return 2 * _sech2(x) * (1 - np.clip(x, -1000, 1000) * np.tanh(x))


def _logcosh(x: Array) -> Array:
    # cosh(x)^2 = 1 + sinh(x)^2
    a = np.abs(x)
    s = np.sinh(np.minimum(a, 1.0))
    return np.where(a < 1, np.log1p(s * s) / 2, a - np.log(2.0) + np.log1p(np.exp(-2 * a)))


def _side(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, 1.0, alpha)


#: The Taylor series of (x - tanh(x)) / x^3 in x^2.
_SHRINK = (1 / 3, -2 / 15, 17 / 315, -62 / 2835, 1382 / 155925, -21844 / 6081075, 929569 / 638512875, -6404582 / 10854718875)


def _tanh_shrink(x: Array) -> Array:
    z = np.minimum(x * x, 1.0)
    return np.where(np.abs(x) < 0.1, x * z * np.polynomial.polynomial.polyval(z, _SHRINK), x - np.tanh(x))


ORACLES = {
    "softcap": oracle(
        _softcap,
        lambda x, cap: _sech2(*_quotient(x, cap)),
        lambda x, cap: _bend(*_quotient(x, cap)) / cap,
    ),
    "stanh": oracle(
        _stanh,
        lambda x, scale_a, scale_b: scale_a * scale_b * _sech2(*product(scale_a, x)),
        lambda x, scale_a, scale_b: scale_a * scale_a * scale_b * _bend(*product(scale_a, x)),
    ),
    "lisht": oracle(lambda x: x * np.tanh(x), _lisht_derivative, _lisht_second_derivative),
    "logcosh": oracle(_logcosh, np.tanh, _sech2),
    "penalized_tanh": oracle(lambda x, alpha: _side(x, alpha) * np.tanh(x), lambda x, alpha: _side(x, alpha) * _sech2(x)),
    "tanh_shrink": oracle(_tanh_shrink, lambda x: np.tanh(x) ** 2, lambda x: -_bend(x)),
}
