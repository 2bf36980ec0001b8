"""What the textbook formulas need beyond NumPy: rounding errors of products and differences, products that underflow late."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: A finite stand-in for infinity where ``inf * 0`` would be NaN: exp(-FAR) is 0 with any factor that stands beside it.
FAR = 2000.0


def product(a: Array, b: Array, far: float = FAR) -> tuple[Array, Array]:
    """``a * b`` and its rounding error (Dekker 1971); 0 for that beyond `far`, where exp has its limit anyway."""

    def halves(v: Array) -> tuple[Array, Array]:
        c = 134217729.0 * v
        high = c - (c - v)
        return high, v - high

    (ah, al), (bh, bl), p = halves(a), halves(b), a * b
    low = al * bl - (((p - ah * bh) - al * bh) - ah * bl)
    return p, np.where(np.isfinite(low) & (np.abs(p) < far), low, 0.0)


def difference(a: Array, b: Array) -> tuple[Array, Array]:
    """``a - b`` and its rounding error (Knuth 1969), 0 where there is none to tell."""
    d = a - b
    t = d - a
    low = (a - (d - t)) - (b + t)
    return d, np.where(np.isfinite(low), low, 0.0)


def total(a: Array, b: Array) -> tuple[Array, Array]:
    """``a + b`` and its rounding error, 0 where there is none to tell."""
    return difference(a, -b)


def times_exp(a: Array, x: Array) -> Array:
    """``a * exp(x)`` for x <= 0, rounded once where it is subnormal."""
    t = np.exp(x / 2)
    return np.where(x > -700, a * np.exp(x), a * t * t)
