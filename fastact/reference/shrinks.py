"""Shrinkage: zeros have the sign of the input."""

from __future__ import annotations

import numpy as np

from .numerics import Array
from .oracle import oracle


def _slope(x: Array, lambd: Array, *bias: Array) -> Array:
    return np.where(np.abs(x) > lambd, 1.0, 0.0)


ORACLES = {
    "soft_shrink": oracle(lambda x, lambd: np.where(x > lambd, x - lambd, np.where(x < -lambd, x + lambd, x * 0)), _slope),
    "hard_shrink": oracle(lambda x, lambd: np.where(np.abs(x) > lambd, x, x * 0), _slope),
    "shrink": oracle(lambda x, lambd, bias: np.where(x > lambd, x - bias, np.where(x < -lambd, x + bias, x * 0)), _slope),
}
