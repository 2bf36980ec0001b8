"""Lines between two bounds, and what is gated by them. On a bound the derivative is 0, as it is outside."""

from __future__ import annotations

import numpy as np

from .numerics import Array, difference, product
from .oracle import Oracle, oracle

#: 1/6 as float64, float32, float16 and bfloat16 round it: the slope that is meant to be 1/6.
SIXTHS = 1 / 6, float(np.float32(1 / 6)), float(np.float16(1 / 6)), 171 / 1024


def _line(x: Array, slope: Array, offset: Array) -> tuple[Array, Array]:
    """``slope * x + offset`` and what it leaves."""
    p, p_low = product(slope, x)
    s, low = difference(p, -offset)
    return s, low + p_low


def _gate(x: Array, slope: Array, offset: Array, twice: float = 1.0) -> tuple[Array, Array, Array]:
    """The line of hard_sigmoid, or that with twice the slope: a sum, what it leaves, and what both are to be divided by."""
    unit = np.where(np.isin(slope, SIXTHS), 6.0, 1.0)
    o, o_low = product(offset, unit)
    s, low = _line(x, twice * np.where(unit == 6, 1.0, slope), o)
    return s, low + o_low, unit


def _hard_sigmoid(x: Array, slope: Array, offset: Array) -> Array:
    s, low, unit = _gate(x, slope, offset)
    return _clip((s + low) / unit, 0.0, 1.0)


def _hard_sigmoid_derivative(x: Array, slope: Array, offset: Array) -> Array:
    s, low, unit = _gate(x, slope, offset)
    return np.where((s + low > 0) & ((s - unit) + low < 0), np.where(unit == 6, 1 / 6, slope), 0.0)


def _hard_silu_derivative(x: Array, slope: Array, offset: Array) -> Array:
    s, low, unit = _gate(x, slope, offset)
    t, t_low, _ = _gate(x, slope, offset, 2.0)
    return np.where(s + low <= 0, 0.0, np.where((s - unit) + low >= 0, 1.0, (t + t_low) / unit))


def _clipped_linear(x: Array, slope: Array, offset: Array, min_val: Array, max_val: Array) -> Array:
    s, low = _line(x, slope, offset)
    return _clip(s + low, min_val, max_val)


def _clipped_linear_derivative(x: Array, slope: Array, offset: Array, min_val: Array, max_val: Array) -> Array:
    s, low = _line(x, slope, offset)
    return np.where(((s - min_val) + low > 0) & ((s - max_val) + low < 0), slope, 0.0)


def _clip(x: Array, low: Array | float, high: Array | float) -> Array:
    return np.where(x <= low, low, np.where(x >= high, high, x))


def _inside(x: Array, low: Array | float, high: Array | float) -> Array:
    return np.where((x > low) & (x < high), 1.0, 0.0)


_INTEGER_RELU6 = Oracle(lambda x: np.clip(x, 0, 6), lambda x: ((x > 0) & (x < 6)).astype(x.dtype))

ORACLES = {
    "relu6": oracle(lambda x: _clip(x, 0.0, 6.0), lambda x: _inside(x, 0.0, 6.0), integer=_INTEGER_RELU6),
    "clipped_relu": oracle(lambda x, max_value: _clip(x, 0.0, max_value), lambda x, max_value: _inside(x, 0.0, max_value)),
    "hard_tanh": oracle(_clip, _inside),
    "clipped_linear": oracle(_clipped_linear, _clipped_linear_derivative),
    "hard_sigmoid": oracle(_hard_sigmoid, _hard_sigmoid_derivative),
    "hard_silu": oracle(lambda x, slope, offset: x * _hard_sigmoid(x, slope, offset), _hard_silu_derivative),
    "hard_mish": oracle(
        lambda x: x * (_clip(x + 2, 0.0, 2.0) / 2),
        lambda x: np.where(x <= -2, 0.0, np.minimum(x + 1, 1.0)),
    ),
    "sparse_sigmoid": oracle(lambda x: _clip((x + 1) / 2, 0.0, 1.0), lambda x: _inside(x, -1.0, 1.0) / 2),
    "sparse_plus": oracle(
        lambda x: np.where(x < 1, np.maximum((x + 1) / 2, 0.0) ** 2, x),
        lambda x: _clip((x + 1) / 2, 0.0, 1.0),
    ),
    "sqnl": oracle(
        lambda x: np.where(np.abs(x) < 2, x * (1 - np.abs(x) / 4), np.sign(x)),
        lambda x: np.maximum(1 - np.abs(x) / 2, 0.0),
    ),
}
