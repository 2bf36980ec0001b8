"""Quotients and roots of polynomials, and the arctangent; no square is formed that could overflow."""

from __future__ import annotations

import numpy as np

from .numerics import Array
from .oracle import oracle


def _norm(x: Array, b: Array | float = 1.0) -> Array:
    return np.asarray(np.hypot(x, np.sqrt(b)))


def _softsign(x: Array) -> Array:
    return x / (1 + np.abs(x))


def _softsign_derivative(x: Array) -> Array:
    s = 1 / (1 + np.abs(x))
    return s * s


def _squareplus(x: Array, b: Array) -> Array:
    right = 0.5 * _norm(x, b) + 0.5 * np.abs(x)
    return np.where(x < 0, b / 4 / right, right)


def _squareplus_derivative(x: Array, b: Array) -> Array:
    return _squareplus(x, b) / _norm(x, b)


def _squareplus_second(x: Array, b: Array) -> Array:
    h = _norm(x, b)
    return b / 2 / h / h / h


def _dish(x: Array) -> Array:
    # the gate is (1 - t) / 2 left of 0 with t = abs(x) / h, and 1 - t = 1 / (h (h + abs(x)))
    h, a = _norm(x), np.abs(x)
    return np.where(x < 0, x / h / 4 / (h / 2 + a / 2), x * (1 + a / h) / 2)


def _dish_derivative(x: Array) -> Array:
    # (1 - t) (1 - t - t^2) / 2 left of 0
    h, a = _norm(x), np.abs(x)
    t = a / h
    left = (1 - t - t * t) / h / (h + a) / 2
    return np.where(x < 0, left, 1 - left)


def _dish_second(x: Array) -> Array:
    r = 1 / _norm(x)
    return (3 * r * r - 1) / 2 * r * r * r


def _isru(x: Array, alpha: Array) -> Array:
    scale = np.sqrt(alpha)
    return np.where(np.abs(x) < 1, x / _norm(scale * x), np.copysign(1 / np.hypot(1 / x, scale), x))


def _isru_derivative(x: Array, alpha: Array) -> Array:
    q = 1 / (1 + alpha * x * x)  # 0 where the square is infinite: so is its root, cubed
    return np.sqrt(q) * q


def _isru_second(x: Array, alpha: Array) -> Array:
    q = 1 / (1 + alpha * x * x)
    return -3 * alpha * _isru(x, alpha) * q * q


def _isrlu(x: Array, alpha: Array) -> Array:
    return np.where(x >= 0, x, _isru(x, alpha))


def _isrlu_derivative(x: Array, alpha: Array) -> Array:
    return np.where(x >= 0, 1.0, _isru_derivative(x, alpha))


def _isrlu_second(x: Array, alpha: Array) -> Array:
    return np.where(x >= 0, 0.0, _isru_second(x, alpha))


def _bent_identity(x: Array) -> Array:
    return x * (1 + x / (_norm(x) + 1) / 2)


def _bent_identity_derivative(x: Array) -> Array:
    return 1 + x / _norm(x) / 2


def _bent_identity_second(x: Array) -> Array:
    h = _norm(x)
    return 0.5 / h / h / h


def _arctan_derivative(x: Array) -> Array:
    r = 1 / _norm(x)
    return r * r


def _arctan_second(x: Array) -> Array:
    r = 1 / _norm(x)
    return -2 * (x * r) * r * r * r


ORACLES = {
    "softsign": oracle(_softsign, _softsign_derivative),
    "squareplus": oracle(_squareplus, _squareplus_derivative, _squareplus_second),
    "dish": oracle(_dish, _dish_derivative, _dish_second),
    "isru": oracle(_isru, _isru_derivative, _isru_second),
    "isrlu": oracle(_isrlu, _isrlu_derivative, _isrlu_second),
    "bent_identity": oracle(_bent_identity, _bent_identity_derivative, _bent_identity_second),
    "arctan": oracle(np.arctan, _arctan_derivative, _arctan_second),
}
