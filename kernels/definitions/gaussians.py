"""Functions gated by the normal distribution."""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, fma, max, min, pick, primitive
from .primitives import TINY_32, TINY_64, gauss, grow, multiply, normal_tail, rounded, scale_down, slope_tail


@primitive
def less_product(x: Any, a: Any, e: Any, e_low: Any) -> Any:
    """x - a * e, for x not negative, a = x where x is not large, and 0 < e <= 1/2; -0 for -0."""
    return fma(-a, e, x)


@less_product.float64
def _(x: Any, a: Any, e: Any, e_low: Any) -> Any:
    y = fma(-a, e, x)
    excess = fma(a, e, y - x) + a * e_low  # taken away, not its negative added: -0 - 0 is -0
    return x if x > 39.0 else y - excess  # y - x would be NaN at infinity


@activation(
    formula="x * Phi(x)",
    derivative_formula="Phi(x) + x * phi(x)",
    value_range="[-0.1700, inf)",
    cost="erf",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-0.7517916,)},
    source="Hendrycks and Gimpel (2016)",
)
def gelu(x: Any) -> Any:
    """Gaussian error linear unit, exact."""
    # Left of 0, x exp(-x^2 / 2) R(-x), scaled last so that it keeps its digits to the end; right, x - x exp(-x^2 / 2) R(x).
    left = x < 0.0
    c = max(x, pick(x, -15.0, -39.5))
    a = min(abs(c), pick(x, 15.0, 39.5))
    p, s = gauss(a)
    r, r_low = normal_tail(a)
    e, e_low = grow(r, r_low, p)
    tail, tail_low = multiply(c * s, 0.0, e, e_low)
    t = s * pick(x, TINY_32, TINY_64)
    return rounded(tail, tail_low) * pick(x, TINY_32, TINY_64) if left else less_product(x, a, e * t, e_low * t)


@gelu.derivative
def _(x: Any) -> Any:
    # With h = R(a) - a / sqrt(2 pi) and a = abs(x): exp(-a^2 / 2) h left of 0, one less it right.
    left = x < 0.0
    a = min(abs(x), pick(x, 15.0, 39.5))
    p, s = gauss(a)
    h, h_low = slope_tail(a)
    e, e_low = grow(h, h_low, p)
    t = s * pick(x, TINY_32, TINY_64)
    return scale_down(rounded(e, e_low), s) if left else 1.0 - e * t
