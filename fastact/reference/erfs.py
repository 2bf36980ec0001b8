"""What is gated by the error function."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
from scipy import special

from .numerics import Array, product, times_exp
from .oracle import oracle
from .sigmoids import logistic

# u and its derivatives are kept over exp(min(z, 0)), which comes last: the tail left of 0 then rounds once.


#: The parameters with which pserf is serf.
ONE = np.asarray(1.0)


def _ratio(u: Array) -> Array:
    """erf(u) / u."""
    small = np.abs(u) < 1e-150
    return np.where(small, 2 / sqrt(pi), special.erf(u) / np.where(small, 1.0, u))


def _value(x: Array, v: Array, tail: Array) -> Array:
    """x * erf(u), u = v * exp(tail)."""
    return times_exp(x * v * _ratio(v * np.exp(tail)), tail)


def _derivative(x: Array, v: Array, w: Array, tail: Array) -> Array:
    """erf(u) + x * 2 / sqrt(pi) * exp(-u^2) * u', u' = w * exp(tail)."""
    u = v * np.exp(tail)
    return times_exp(v * _ratio(u) + x * w * (2 / sqrt(pi)) * np.exp(-u * u), tail)


def _second_derivative(x: Array, v: Array, w: Array, y: Array, tail: Array) -> Array:
    """2 / sqrt(pi) * exp(-u^2) * u' * (2 + x * (y - 2 u u')), u'' = y u'."""
    u, slope = v * np.exp(tail), w * np.exp(tail)
    return times_exp(2 / sqrt(pi) * w * (2 + x * (y - 2 * u * slope)), tail - u * u)


def _softplus(x: Array, gamma: Array, delta: Array) -> tuple[Array, Array, Array, Array]:
    """(x kept within reach, gamma * softplus(z) over exp(min(z, 0)), sigmoid(z) over the same, z = delta * x."""
    x = np.clip(x, -5000.0 / np.abs(delta), 5000.0 / np.abs(delta))
    z, low = product(delta, x)
    e = np.exp(-np.abs(z))
    log = np.where(e < 1e-20, 1.0, np.log1p(e) / np.where(e > 0, e, 1.0))
    v = gamma * np.where(z < 0, log * (1 + low), z + (log * e + low))
    w = gamma * delta * np.where(z < 0, 1 + low, 1.0) / (1 + e)
    return x, v, w, np.minimum(z, 0.0)


def _pserf(x: Array, gamma: Array, delta: Array) -> Array:
    c, v, _, tail = _softplus(x, gamma, delta)
    return np.where(delta * x > 5000, np.copysign(1.0, gamma) * x, _value(c, v, tail))


def _pserf_derivative(x: Array, gamma: Array, delta: Array) -> Array:
    return _derivative(*_softplus(x, gamma, delta))


def _pserf_second_derivative(x: Array, gamma: Array, delta: Array) -> Array:
    c, v, w, tail = _softplus(x, gamma, delta)
    return _second_derivative(c, v, w, delta * logistic(-delta * c), tail)


def _serf(x: Array) -> Array:
    return _pserf(x, ONE, ONE)


def _serf_derivative(x: Array) -> Array:
    return _pserf_derivative(x, ONE, ONE)


def _serf_second_derivative(x: Array) -> Array:
    return _pserf_second_derivative(x, ONE, ONE)


def _exponential(x: Array, alpha: Array, beta: Array) -> tuple[Array, Array, Array]:
    """(x kept within reach, alpha * exp(z) over exp(min(z, 0)), min(z, 0)), z = beta * x."""
    z, low = product(beta, x)
    return np.clip(x, -1e100, 1e100), alpha * np.exp(np.clip(z, 0.0, 20.0)) * (1 + low), np.minimum(z, 0.0)


def _erf_act(x: Array, alpha: Array, beta: Array) -> Array:
    return np.where(beta * x > 20, np.copysign(1.0, alpha) * x, _value(*_exponential(x, alpha, beta)))


def _erf_act_derivative(x: Array, alpha: Array, beta: Array) -> Array:
    c, v, tail = _exponential(x, alpha, beta)
    return _derivative(c, v, beta * v, tail)


def _erf_act_second_derivative(x: Array, alpha: Array, beta: Array) -> Array:
    c, v, tail = _exponential(x, alpha, beta)
    return _second_derivative(c, v, beta * v, beta, tail)


ORACLES = {
    "serf": oracle(_serf, _serf_derivative, _serf_second_derivative),
    "pserf": oracle(_pserf, _pserf_derivative, _pserf_second_derivative),
    "erf_act": oracle(_erf_act, _erf_act_derivative, _erf_act_second_derivative),
}
