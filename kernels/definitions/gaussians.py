"""Functions gated by the normal distribution."""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, fma, pick
from .primitives import TINY_32, TINY_64, add, gauss, multiply, normal_tail, rounded, scale_down


@activation(
    formula="x * Phi(x) = x / 2 * erfc(-x / sqrt(2))",
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
    m = 1.0 + p
    e, e_low = multiply(m, p - (m - 1.0), r, r_low)
    tail, tail_low = multiply(c, 0.0, e, e_low)
    t = s * pick(x, TINY_32, TINY_64)
    return scale_down(rounded(tail, tail_low), s) if left else x * rounded(1.0 - e * t, 0.0)


@gelu.derivative
def _(x: Any) -> Any:
    # With h = R(a) - a / sqrt(2 pi) and a = abs(x): exp(-a^2 / 2) h left of 0, one less it right.
    left = x < 0.0
    a = min(abs(x), pick(x, 15.0, 39.5))
    p, s = gauss(a)
    r, r_low = normal_tail(a)
    b, b_low = multiply(a, 0.0, -0.3989422804014327, 2.49232720227773e-17)
    h, h_low = add(r, r_low, b, b_low)
    m = 1.0 + p
    e, e_low = multiply(m, p - (m - 1.0), h, h_low)
    t = s * pick(x, TINY_32, TINY_64)
    return scale_down(rounded(e, e_low), s) if left else 1.0 - e * t
