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


def _tanh_exp(x: Array, alpha: Array) -> Array:
    return x * np.tanh(np.exp(np.minimum(alpha * x, 20.0)))


def _tanh_exp_derivative(x: Array, alpha: Array) -> Array:
    # w (tanh(w) / w + z sech(w)^2): products, which keep the sign of what underflows
    z = np.minimum(alpha * x, 20.0)
    w = np.exp(z)
    return w * (np.where(w < 1e-9, 1.0, np.tanh(w) / w) + z * _sech2(w))


def _tanh_exp_second_derivative(x: Array, alpha: Array) -> Array:
    z = np.minimum(alpha * x, 20.0)
    w = np.exp(z)
    return alpha * w * _sech2(w) * (2 + z * (1 - 2 * w * np.tanh(w)))


def _log_factor(x: Array, delta: Array) -> tuple[Array, Array, Array]:
    """log(delta + exp(x)), which is x for delta = 0, and its two derivatives."""
    e = np.exp(-np.abs(x))
    left = np.where(delta < 0.5, np.log(delta + e), np.log1p((delta - 1) + e))
    h = np.where(x < 0, delta + e, 1 + delta * e)
    slope = np.where(delta == 0, 1.0, np.where(x < 0, e, 1.0) / h)
    bend = np.where(delta == 0, 0.0, slope * np.where(x < 0, delta, delta * e) / h)
    return np.where(delta == 0, x, np.where(x < 0, left, x + np.log1p(delta * e))), slope, bend


def _gate(x: Array, alpha: Array, beta: Array, gamma: Array) -> tuple[Array, ...]:
    """t = tanh(v), its factor sech(v)^2, w, t / w where v = beta w, and v' and v'' over w or, with alpha, not."""
    w = np.exp(np.minimum(gamma * x, 100.0))
    v = alpha * x + beta * w
    t = np.tanh(v)
    ratio = np.where(np.abs(v) < 1e-9, beta, t / w)
    c = np.where(alpha == 0, 1.0, w)
    return t, _sech2(v), w, np.where(alpha == 0, ratio, t), alpha + beta * gamma * c, beta * gamma * gamma * c


def _sum(a: Array, b: Array, first: Array) -> Array:
    """a + b; where both have vanished with the sign of `a` or of `b`, as told."""
    return np.where(a + b != 0, a + b, np.copysign(0.0, np.where(first, a, b)))


def _tanhsoft(x: Array, alpha: Array, beta: Array, gamma: Array, delta: Array) -> Array:
    return _gate(x, alpha, beta, gamma)[0] * _log_factor(x, delta)[0]


def _tanhsoft_derivative(x: Array, alpha: Array, beta: Array, gamma: Array, delta: Array) -> Array:
    _, sech2, w, t, slope, _ = _gate(x, alpha, beta, gamma)
    y, first, _ = _log_factor(x, delta)
    return np.where(alpha == 0, w, 1.0) * _sum(slope * sech2 * y, t * first, (2 * alpha < 1) & (delta != 1))


def _tanhsoft_second_derivative(x: Array, alpha: Array, beta: Array, gamma: Array, delta: Array) -> Array:
    tanh, sech2, w, t, slope, bend = _gate(x, alpha, beta, gamma)
    y, first, second = _log_factor(x, delta)
    c = np.where(alpha == 0, w, 1.0)
    gate = sech2 * ((bend - 2 * tanh * slope * slope * c) * np.clip(y, -1e100, 1e100) + 2 * slope * first)
    leads = (delta == 0) | ((2 * alpha < 1) & np.where(x < 0, delta != 1, beta == 0))
    return c * _sum(gate, t * second, leads)


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
    "tanh_exp": oracle(_tanh_exp, _tanh_exp_derivative, _tanh_exp_second_derivative),
    "tanhsoft": oracle(_tanhsoft, _tanhsoft_derivative, _tanhsoft_second_derivative),
}
