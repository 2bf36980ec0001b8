"""Lines between two bounds, and what is gated by them. On a bound the derivative is 0, as it is outside."""

from __future__ import annotations

import numpy as np

from .numerics import Array, product
from .oracle import Oracle, oracle

#: 1/6 as float64, float32, float16 and bfloat16 round it: the slope that is meant to be 1/6.
SIXTHS = 1 / 6, float(np.float32(1 / 6)), float(np.float16(1 / 6)), 171 / 1024


def _line(x: Array, slope: Array, offset: Array) -> Array:
    """``slope * x + offset`` with the digits that cancel."""
    p, low = product(slope, x)
    return (p + offset) + low


def _gate(x: Array, slope: Array, offset: Array, doubled: float = 1.0) -> Array:
    """The line of hard_sigmoid, or that with twice the slope."""
    o, o_low = product(offset, np.float64(6.0))
    sixths = ((doubled * x + o) + o_low) / 6
    return np.where(np.isin(slope, SIXTHS), sixths, _line(x, doubled * slope, offset))


def _hard_sigmoid_derivative(x: Array, slope: Array, offset: Array) -> Array:
    z = _gate(x, slope, offset)
    return np.where((z > 0) & (z < 1), np.where(np.isin(slope, SIXTHS), 1 / 6, slope), 0.0)


def _hard_silu_derivative(x: Array, slope: Array, offset: Array) -> Array:
    z = _gate(x, slope, offset)
    return np.where(z <= 0, 0.0, np.where(z >= 1, 1.0, _gate(x, slope, offset, 2.0)))


def _clip(x: Array, low: Array | float, high: Array | float) -> Array:
    return np.minimum(np.maximum(x, low), high)


def _inside(x: Array, low: Array | float, high: Array | float) -> Array:
    return np.where((x > low) & (x < high), 1.0, 0.0)


_INTEGER_RELU6 = Oracle(lambda x: np.clip(x, 0, 6), lambda x: ((x > 0) & (x < 6)).astype(x.dtype))

ORACLES = {
    "relu6": oracle(lambda x: _clip(x, 0.0, 6.0), lambda x: _inside(x, 0.0, 6.0), integer=_INTEGER_RELU6),
    "clipped_relu": oracle(lambda x, max_value: _clip(x, 0.0, max_value), lambda x, max_value: _inside(x, 0.0, max_value)),
    "hard_tanh": oracle(_clip, _inside),
    "clipped_linear": oracle(
        lambda x, slope, offset, min_val, max_val: _clip(_line(x, slope, offset), min_val, max_val),
        lambda x, slope, offset, min_val, max_val: np.where(_inside(_line(x, slope, offset), min_val, max_val) > 0, slope, 0.0),
    ),
    "hard_sigmoid": oracle(lambda x, slope, offset: _clip(_gate(x, slope, offset), 0.0, 1.0), _hard_sigmoid_derivative),
    "hard_silu": oracle(lambda x, slope, offset: x * _clip(_gate(x, slope, offset), 0.0, 1.0), _hard_silu_derivative),
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
