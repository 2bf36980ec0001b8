"""Functions of a whole row. Their loops are written by hand for each target; the scalar terms they are made of stand here."""

from __future__ import annotations

from functools import reduce
from math import fsum, inf
from typing import Any

from .language import abs, activation, bits, fma, from_bits, max, pick, poly, primitive
from .primitives import (
    LN2_HIGH_32,
    LN2_HIGH_64,
    LN2_LOW_32,
    LN2_LOW_64,
    LOG_32,
    LOG_64,
    MAGIC_32,
    MAGIC_64,
    POWER_32,
    POWER_64,
    TINY_32,
    TINY_64,
    exact_sum,
    exp,
    exp_down_low,
)


@primitive
def softmax_term(x: Any, largest: Any) -> Any:
    """exp(x - largest) for x <= largest, the rounding error of the difference included; NaN if both are infinite."""
    d, low = exact_sum(x, -largest)
    c = max(d, pick(x, -110.0, -760.0))
    p, s = exp_down_low(c, low if c == d else 0.0)
    return fma(p, s, s) * pick(x, TINY_32, TINY_64)


@primitive
def log_softmax_term(x: Any, largest: Any, log_total: Any, log_low: Any) -> Any:
    """x - largest - (log_total + log_low), the rounding error of the difference included; nothing cancels, as both are negative."""
    d, low = exact_sum(x, -largest)
    y = d - log_total
    return y + ((low - log_low) + ((d - y) - log_total) if abs(d) <= pick(x, 3.4e38, 1.7e308) else 0.0)


@primitive
def log_positive(u: Any) -> Any:
    """log(u) for normal u > 0, within 2 ULP where it is not next to 1 (as `log1p`, without its edges)."""
    i = bits(u) + pick(u, 0x4AFB0D, 0x95F619980C433)
    k = from_bits((i >> pick(u, 23, 52)) + bits(pick(u, MAGIC_32, MAGIC_64))) - pick(u, POWER_32, POWER_64)
    m = from_bits((i & pick(u, 0x7FFFFF, 0xFFFFFFFFFFFFF)) + pick(u, 0x3F3504F3, 0x3FE6A09E667F3BCD))
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    half = 0.5 * f * f
    series = half - s * (half + z * poly(z, LOG_32, LOG_64))
    return fma(k, pick(u, LN2_HIGH_32, LN2_HIGH_64), f - (series - k * pick(u, LN2_LOW_32, LN2_LOW_64)))


@primitive
def power_unit(u: Any, power: Any) -> Any:
    """u ** power for 0 < u <= 1."""
    return exp(power * log_positive(max(u, pick(u, 1e-37, 1e-307))))


@activation(
    formula="exp(x - max(x)) / sum(exp(x - max(x)))",
    derivative_formula="dx = y * (grad - sum(grad * y))",
    value_range="[0, 1]",
    family="rowwise",
    cost="exp",
    source="Bridle (1990)",
)
def softmax(x: Any) -> Any:
    """Normalised exponentials of each row; here of one, a sequence of NumPy floats."""
    largest = reduce(max, x, -inf)  # passes over NaN, whose own term then makes the sum one
    terms = [softmax_term(v, largest) for v in x]
    total = fsum(terms)
    return [term / total for term in terms]
