"""What is gated by the normal distribution."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
from scipy import special

from . import jets
from .numerics import Array, times_exp
from .oracle import oracle


def _times_gauss(a: Array | float, x: Array) -> Array:
    """``a * exp(-x^2 / 2)``, rounded once. The square of `h`, the leading bits of x, is exact: no rounding enters the exponent."""
    h = np.rint(x * 256) / 256
    return times_exp(a * np.exp((h - x) * (h + x) / 2), -h * h / 2)


def _gelu(x: Array) -> Array:
    c = np.clip(x, -60.0, 60.0)
    return np.where(x < -1, _times_gauss(c * special.erfcx(-c / sqrt(2)) / 2, c), x * special.ndtr(x))


def _gelu_derivative(x: Array) -> Array:
    c = np.clip(x, -60.0, 60.0)
    left = _times_gauss(special.erfcx(-c / sqrt(2)) / 2 + c / sqrt(2 * pi), c)
    return np.where(x < -1, left, special.ndtr(x) + _times_gauss(c / sqrt(2 * pi), c))


ORACLES = {
    "gelu": oracle(_gelu, _gelu_derivative, jet=lambda x: x * jets.Phi(x)),
}
