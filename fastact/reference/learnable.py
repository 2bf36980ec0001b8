"""Functions of learned parameters."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from . import jets
from .numerics import FAR, Array, product, times_exp
from .oracle import oracle
from .periodic import GONE, _long
from .sigmoids import logistic

# ---------------------------------------------------------------- straight pieces


def _srelu(x: Array, tr: Array, ar: Array, tl: Array, al: Array) -> Any:
    return np.where(x >= tr, _line(x, tr, ar), np.where(x <= tl, _line(x, tl, al), x))


def _line(x: Any, t: Array, a: Array) -> Any:
    """t + a (x - t), in the digits of a longer type: the terms may cancel."""
    long = np.longdouble
    return (t + long(a) * (x.astype(long) - t)).astype(np.float64)


def _plu(x: Array, alpha: Array, c: Array) -> Any:
    return np.where(np.abs(x) < c, x, np.copysign(1.0, x) * _line(np.abs(x), c, alpha))


# ---------------------------------------------------------------- exponential pieces


def _pelu_exp(a: Any, x: Array, beta: Array) -> Any:
    """a exp(x / beta) for x <= 0, with what the division left."""
    c = np.maximum(np.minimum(x, 0.0), -FAR * np.abs(beta))
    z = c / beta
    back, back_low = product(z, beta)
    return times_exp(a * (1 + ((c - back) - back_low) / beta), z)


def _xielu_curve(x: Array, eps: Array) -> Any:
    """expm1(min(x, eps)) - x for x <= 0: a series where the two cancel."""
    c = np.minimum(np.minimum(x, 0.0), eps)
    total = np.zeros_like(c)
    for k in range(18, 1, -1):
        total = (total + 1.0) * c / k  # c^(k-1)/k! + ..., a factor c short
    series = total * c
    return np.where(c > -0.5, series + (c - x), np.expm1(c) - x)


def _xielu(x: Array, p: Array, n: Array, beta: Array, eps: Array) -> Any:
    right = (jets.softplus(p) * x + beta) * x
    return np.where(x > 0, right, (beta + jets.softplus(n)) * _xielu_curve(x, eps) + beta * x)


def _xielu_derivative(x: Array, p: Array, n: Array, beta: Array, eps: Array) -> Any:
    left = np.where(x <= eps, (beta + jets.softplus(n)) * np.expm1(np.minimum(x, 0.0)) + beta, -jets.softplus(n))
    return np.where(x > 0, 2 * jets.softplus(p) * x + beta, left)


# ---------------------------------------------------------------- gates


def _finite(x: Array) -> Any:
    """x as far out as it matters where a factor has vanished."""
    return np.clip(x, -1e300, 1e300)


def _argument(x: Array, p1: Array, p2: Array, beta: Array) -> tuple[Any, Any]:
    """beta (p1 - p2) x, bounded, and its rounding error."""
    long = np.longdouble
    exact = long(beta) * (long(p1) - long(p2)) * x.astype(long)
    z = np.clip(exact, -FAR, FAR).astype(np.float64)
    return z, np.where(np.abs(exact) < FAR, (exact - z).astype(np.float64), 0.0)


def _acon(x: Array, p1: Array, p2: Array, beta: Array) -> Any:
    z, low = _argument(x, p1, p2, beta)
    return x * (p1 * logistic(z, low) + p2 * logistic(-z, -low))


def _share(z: Any, low: Any) -> Any:
    """The derivative of z sigmoid(z), in the digits of a longer type: it has a root."""
    exact = np.longdouble(z) + low
    e = np.exp(-np.abs(exact))
    return (np.where(exact < 0, e * (1 + e + exact), 1 + e + exact * e) / (1 + e) ** 2).astype(np.float64)


def _acon_derivative(x: Array, p1: Array, p2: Array, beta: Array) -> Any:
    z, low = _argument(x, p1, p2, beta)
    first, second = p1 * _share(z, low), p2 * _share(-z, -low)
    return np.where(p2 == 0, first, np.where(p1 == 0, second, first + second))


def _plus(a: Any, b: Any) -> Any:
    """a + b, where a zero changes nothing, not even the sign of what has underflowed."""
    return np.where(np.asarray(b) == 0, a, np.where(np.asarray(a) == 0, b, a + b))


def _acon_second(x: Array, p1: Array, p2: Array, beta: Array) -> Any:
    z, low = _argument(x, p1, p2, beta)
    return beta * (p1 - p2) ** 2 * logistic(z, low) * logistic(-z, -low) * (2 - z * np.tanh(z / 2))


def _acon_p1(x: Array, p1: Array, p2: Array, beta: Array) -> Any:
    return x * _share(*_argument(x, p1, p2, beta))


def _acon_p2(x: Array, p1: Array, p2: Array, beta: Array) -> Any:
    z, low = _argument(x, p1, p2, beta)
    return x * _share(-z, -low)


def _acon_beta(x: Array, p1: Array, p2: Array, beta: Array) -> Any:
    z, low = _argument(x, p1, p2, beta)
    c = (p1 - p2) * _finite(x)
    return c * (c * (logistic(z, low) * logistic(-z, -low)))


def _switched(formula: Any) -> Any:
    """`formula` of beta as one of z, with beta = sigmoid(z) in the digits of a longer type."""

    def of_z(x: Array, p1: Array, p2: Array, z: Array) -> Any:
        return formula(x, p1, p2, 1 / (1 + np.exp(-np.longdouble(z))))

    return of_z


# ---------------------------------------------------------------- a wave


def _snake_beta(x: Any, alpha: Any, beta: Any) -> Any:
    bend = np.sin(alpha * x) ** 2 / beta
    return np.where((bend == 0) | (np.abs(alpha * x) > GONE), x, x + bend)


_WAVE = oracle(
    _long(_snake_beta),
    _long(lambda x, alpha, beta: (beta - alpha + alpha * (np.sin(alpha * x) + np.cos(alpha * x)) ** 2) / beta),
    _long(lambda x, alpha, beta: 2 * alpha * alpha / beta * np.cos(2 * alpha * x)),
    oscillates=True,
    alpha=_long(lambda x, alpha, beta: x / beta * np.sin(2 * alpha * x)),
    beta=_long(lambda x, alpha, beta: -((np.sin(alpha * x) / beta) ** 2)),
)

# ---------------------------------------------------------------- in place of a normalisation


def _tanh_slope(x: Array, alpha: Array) -> Any:
    """1 - tanh(alpha x)^2."""
    z, low = product(alpha, np.clip(x, -FAR / np.abs(alpha), FAR / np.abs(alpha)))
    e = np.exp(-2 * np.abs(z)) * (1 - 2 * np.sign(z) * low)
    return 4 * e / (1 + e) ** 2


def _shifted(x: Array, alpha: Array, shift: Array) -> Any:
    return _plus(np.longdouble(alpha) * x.astype(np.longdouble), np.longdouble(shift))


def _erf_slope(x: Array, alpha: Array, shift: Array) -> Any:
    """The derivative of erf at alpha x + shift, in the digits of a longer type."""
    u = _shifted(x, alpha, shift)
    return (np.exp(-(np.clip(u, -100, 100) ** 2)) * (2 / np.sqrt(np.longdouble("3.141592653589793238462643383")))).astype(np.float64)


def _erf_of(x: Array, alpha: Array, shift: Array) -> Any:
    u = _shifted(x, alpha, shift)
    high = u.astype(np.float64)
    return _plus(jets.erf(high), _erf_slope(x, alpha, shift) * np.where(np.abs(high) < 100, (u - high).astype(np.float64), 0.0))


# ---------------------------------------------------------------- rational functions


def _polynomial(x: Any, coefficients: Any, order: int = 0) -> Any:
    """A polynomial, or its derivative for order 1; coefficients in ascending powers."""
    total = np.zeros_like(x)
    for k, c in reversed(list(enumerate(coefficients))[order:]):
        total = total * x + c * float(math.perm(k, order))
    return total


def _pau(denominator: Any) -> Any:
    """The oracle of P / Q from denominator(x, b, order): Q and its derivatives, then, for order -1, by coefficient, what db_j has beside
    -P / Q^2. In a longer type: its range takes all powers, its digits what cancels."""

    def long(formula: Any) -> Any:
        def of(x: Array, *c: Array) -> Any:
            wide = [np.asarray(v, np.longdouble) for v in c]
            return formula(x.astype(np.longdouble), wide[:6], [np.longdouble(0), *wide[6:]])

        return of

    def value(x: Any, a: Any, b: Any) -> Any:
        return _polynomial(x, a) / denominator(x, b, 0)

    def slope(x: Any, a: Any, b: Any) -> Any:
        p, q = _polynomial(x, a), denominator(x, b, 0)
        return (_polynomial(x, a, 1) * q - p * denominator(x, b, 1)) / q / q

    gradients = {f"a{i}": long(lambda x, a, b, i=i: x**i / denominator(x, b, 0)) for i in range(6)} | {
        f"b{j}": long(lambda x, a, b, j=j: -value(x, a, b) * denominator(x, b, -j) / denominator(x, b, 0)) for j in range(1, 5)
    }
    return oracle(long(value), long(slope), **gradients)


def _magnitudes(x: Any, b: Any, order: int) -> Any:
    if order < 0:
        return np.sign(b[-order]) * np.abs(x) ** -order
    found = _polynomial(np.abs(x), [np.abs(c) for c in b], order)
    return found * np.sign(x) if order else 1 + found


def _magnitude(one: Any) -> Any:
    def of(x: Any, b: Any, order: int) -> Any:
        total = _polynomial(x, b)
        if order < 0:
            return np.sign(total) * x**-order
        return np.sign(total) * _polynomial(x, b, order) + (0 if order else one)

    return of


def _as_it_is(x: Any, b: Any, order: int) -> Any:
    return x**-order if order < 0 else _polynomial(x, b, order) + (0 if order else 1)


ORACLES = {
    "pau_a": _pau(_magnitudes),
    "pau_b": _pau(_magnitude(1)),
    "pau_c": _pau(_magnitude(0.1)),
    "pau_nonsafe": _pau(_as_it_is),
    "srelu": oracle(
        _srelu,
        lambda x, tr, ar, tl, al: np.where(x >= tr, ar, np.where(x <= tl, al, 1.0)),
        t_right=lambda x, tr, ar, tl, al: np.where(x >= tr, 1 - ar, 0.0),
        a_right=lambda x, tr, ar, tl, al: np.where(x >= tr, x - tr, 0.0),
        t_left=lambda x, tr, ar, tl, al: np.where((x <= tl) & ~(x >= tr), 1 - al, 0.0),
        a_left=lambda x, tr, ar, tl, al: np.where((x <= tl) & ~(x >= tr), x - tl, 0.0),
    ),
    "plu": oracle(
        _plu,
        lambda x, alpha, c: np.where(np.abs(x) < c, 1.0, alpha),
        alpha=lambda x, alpha, c: np.where(np.abs(x) < c, 0.0, np.copysign(np.abs(x) - c, x)),
        c=lambda x, alpha, c: np.where(np.abs(x) < c, 0.0, np.sign(x) * (1 - alpha)),
    ),
    "pelu": oracle(
        lambda x, alpha, beta: np.where(x >= -1e-17 * beta, alpha / beta * x, alpha * np.expm1(np.minimum(x, 0.0) / beta)),
        lambda x, alpha, beta: _pelu_exp(alpha / beta, x, beta),
        alpha=lambda x, alpha, beta: np.where(x >= -1e-17 * beta, x / beta, np.expm1(np.minimum(x, 0.0) / beta)),
        beta=lambda x, alpha, beta: np.where(
            x >= 0, -(alpha / beta) * (x / beta), _pelu_exp(-(alpha / beta) * (np.maximum(x, -FAR * beta) / beta), x, beta)
        ),
    ),
    "xielu": oracle(
        _xielu,
        _xielu_derivative,
        alpha_p=lambda x, p, n, beta, eps: np.where(x > 0, x * x * jets.sigmoid(p), 0.0),
        alpha_n=lambda x, p, n, beta, eps: np.where(x > 0, 0.0, _xielu_curve(x, eps) * jets.sigmoid(n)),
    ),
    "acon_c": oracle(_acon, _acon_derivative, _acon_second, p1=_acon_p1, p2=_acon_p2, beta=_acon_beta),
    "meta_acon": oracle(
        *map(_switched, (_acon, _acon_derivative, _acon_second)),
        p1=_switched(_acon_p1),
        p2=_switched(_acon_p2),
        z=lambda x, p1, p2, z: _switched(_acon_beta)(x, p1, p2, z) * (jets.sigmoid(z) * jets.sigmoid(-z)),
    ),
    # The value has limits at infinity, the derivatives have none.
    "snake_beta": replace(_WAVE, value=oracle(_long(_snake_beta), _long(_snake_beta)).value),
    "dyt": oracle(
        lambda x, alpha, gamma, beta: _plus(gamma * np.tanh(alpha * x), beta),
        lambda x, alpha, gamma, beta: gamma * alpha * _tanh_slope(x, alpha),
        lambda x, alpha, gamma, beta: -2 * gamma * alpha**2 * _tanh_slope(x, alpha) * np.tanh(alpha * x),
        alpha=lambda x, alpha, gamma, beta: gamma * _finite(x) * _tanh_slope(x, alpha),
        gamma=lambda x, alpha, gamma, beta: np.tanh(alpha * x),
        beta=lambda x, alpha, gamma, beta: np.ones_like(x),
    ),
    "derf": oracle(
        lambda x, alpha, shift, gamma, beta: _plus(gamma * _erf_of(x, alpha, shift), beta),
        lambda x, alpha, shift, gamma, beta: gamma * alpha * _erf_slope(x, alpha, shift),
        lambda x, alpha, shift, gamma, beta: (
            -2 * gamma * alpha**2 * _finite(_shifted(x, alpha, shift).astype(np.float64)) * _erf_slope(x, alpha, shift)
        ),
        alpha=lambda x, alpha, shift, gamma, beta: gamma * _finite(x) * _erf_slope(x, alpha, shift),
        shift=lambda x, alpha, shift, gamma, beta: gamma * _erf_slope(x, alpha, shift),
        gamma=lambda x, alpha, shift, gamma, beta: _erf_of(x, alpha, shift),
        beta=lambda x, alpha, shift, gamma, beta: np.ones_like(x),
    ),
    "dyisru": oracle(
        lambda x, c, gamma, beta: _plus(gamma * (x / np.hypot(np.sqrt(c), x)), beta),
        lambda x, c, gamma, beta: gamma * c / np.hypot(np.sqrt(c), x) ** 3,
        lambda x, c, gamma, beta: -3 * gamma * c * (x / np.hypot(np.sqrt(c), x)) / np.hypot(np.sqrt(c), x) ** 4,
        c=lambda x, c, gamma, beta: -gamma / 2 * (x / np.hypot(np.sqrt(c), x)) / np.hypot(np.sqrt(c), x) ** 2,
        gamma=lambda x, c, gamma, beta: x / np.hypot(np.sqrt(c), x),
        beta=lambda x, c, gamma, beta: np.ones_like(x),
    ),
}
