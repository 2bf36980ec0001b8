"""Functions of a whole row. The scalar terms they are made of stand here; what is done with a row, in ``rows/programs.hpp``."""

from __future__ import annotations

from functools import reduce
from math import fsum, inf, log
from typing import Any

from .language import activation, bits, fma, from_bits, max, pick, poly, primitive
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
    exp_split,
    expm1,
    log1p,
)


@primitive
def softmax_term(x: Any, largest: Any) -> Any:
    """exp(x - largest) for x <= largest, the rounding error of the difference included; NaN if both are infinite."""
    d, low = exact_sum(x, -largest)
    c = max(d, pick(x, -110.0, -760.0))
    p, s = exp_down_low(c, low if c == d else 0.0)
    return fma(p, s, s) * pick(x, TINY_32, TINY_64)


@primitive
def shifted_exp(x: Any, lowest: Any, shift: Any) -> Any:
    """exp(x) * 2^(c - K) with shift = DOWN - K, in float32 for abs(x) < 2^17; what is below `lowest` counts as that.

    The power of two is shifted by a whole number instead of subtracting the largest element from x: nothing is rounded.
    """
    p, s = exp_split(max(x, lowest), shift)
    return fma(p, s, s)


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
def entmax_term(d: Any, t: Any, a: Any) -> Any:
    """(1 + a (d - t))^(1 / a), 0 where the base is not positive; exp(d - t) for a = 0."""
    e = d - t
    return exp(e if a == 0.0 else log1p(max(a * e, -1.0)) / a)


#: (w / (1 + w) - log1p(w)) / w^2 next to 0: -1/2 + 2/3 w - 3/4 w^2 ...
SLOPE = (
    -0.5, 0.6666666666666666, -0.75, 0.8, -0.8333333333333334, 0.8571428571428571,
    -0.875, 0.8888888888888888, -0.9, 0.9090909090909091, -0.9166666666666666, 0.9230769230769231,
)  # fmt: skip


@primitive
def entmax_slopes(y: Any, a: Any) -> Any:
    """(g, h) with g = y^(1 - a) and h = (g w - a y log(y)) / a^2, w = y^a - 1, for y >= 0; both 0 at 0.

    Next to w = 0, where h cancels, it is y u^2 times the series, u = w / a, whose limit for a = 0 is log(y).
    """
    p = max(y, pick(y, 1e-37, 1e-307))
    log_p = log_positive(p)
    g = exp((1.0 - a) * log_p)
    w = expm1(a * log_p)
    u = log_p if a == 0.0 else w / a
    near = y * (u * u) * poly(w, SLOPE, SLOPE)
    far = (g * w - a * y * log_p) / (a * a)
    return y if y == 0.0 else g, y if y == 0.0 else (near if abs(w) < 0.03125 else far)


# ---------------------------------------------------------------- the functions, here of one row, a sequence of NumPy floats

# What a row does with these is in rows/programs.hpp.


@activation(
    formula="exp(x - max(x)) / sum(exp(x - max(x)))",
    derivative_formula="dx = y * (grad - sum(grad * y))",
    value_range="[0, 1]",
    family="rowwise",
    cost="exp",
    source="Bridle (1990)",
)
def softmax(x: Any) -> Any:
    """Normalised exponentials of each row."""
    largest = reduce(max, x, -inf)  # passes over NaN, whose own term then makes the sum one
    terms = [softmax_term(v, largest) for v in x]
    total = fsum(terms)
    return [term / total for term in terms]


@activation(
    formula="x - max(x) - log(sum(exp(x - max(x))))",
    derivative_formula="dx = grad - exp(y) * sum(grad)",
    value_range="[-inf, 0]",
    family="rowwise",
    cost="exp",
    source="logarithm of softmax",
)
def log_softmax(x: Any) -> Any:
    """The logarithm of softmax, accurate where softmax itself is 1 or underflows."""
    largest = reduce(max, x, -inf)
    total = log(fsum(softmax_term(v, largest) for v in x))
    return [(v - largest) - total for v in x]


@activation(
    formula="exp(min(x) - x) / sum(exp(min(x) - x))",
    derivative_formula="dx = -y * (grad - sum(grad * y))",
    value_range="[0, 1]",
    family="rowwise",
    cost="exp",
    source="softmax of -x",
)
def softmin(x: Any) -> Any:
    """Softmax of -x: the smallest elements get the largest shares."""
    return softmax([-v for v in x])


@activation(
    formula="max(x) + log(sum(exp(x - max(x))))",
    derivative_formula="dx = grad * softmax(x)",
    value_range="[-inf, inf]",
    family="rowwise",
    cost="exp",
    source="a smooth maximum",
)
def logsumexp(x: Any) -> Any:
    """The logarithm of the sum of exponentials: one number a row."""
    largest = reduce(max, x, -inf)
    return largest + log(fsum(softmax_term(v, largest) for v in x))


@activation(
    formula="1 at the first of the largest elements, 0 elsewhere",
    derivative_formula="dx = 0",
    value_range="{0, 1}",
    family="rowwise",
    cost="move",
    source="ONNX, Hardmax",
)
def hardmax(x: Any) -> Any:
    """One-hot vector of the largest element, the first of several."""
    place = list(x).index(reduce(max, x, -inf))
    return [1.0 if i == place else 0.0 for i in range(len(x))]


@activation(
    formula="softmax((x + gumbel) / temperature), gumbel = -log(-log(u)), u uniform in (0, 1)",
    derivative_formula="dx = y * (grad - sum(grad * y)) / temperature",
    value_range="[0, 1]",
    family="rowwise",
    cost="erf",
    source="Jang, Gu and Poole (2017); Maddison, Mnih and Teh (2017)",
)
def gumbel_softmax(x: Any) -> Any:
    """A relaxed sample of the category that softmax gives the probabilities of; here without its noise."""
    return softmax(x)


@activation(
    formula="max(x - tau, 0), with tau such that the row sums to 1",
    derivative_formula="dx = grad - mean of grad where y > 0, there; 0 elsewhere",
    value_range="[0, 1]",
    family="rowwise",
    cost="move",
    source="Martins and Astudillo (2016)",
)
def sparsemax(x: Any) -> Any:
    """The point of the simplex nearest to the row: small elements become exactly 0."""
    x = sorted(x, reverse=True)
    count = [k for k in range(1, len(x) + 1) if 1 + k * x[k - 1] > fsum(x[:k])][-1]
    tau = (fsum(x[:count]) - 1) / count
    return [max(v - tau, 0.0) for v in x]


@activation(
    formula="max(x / 2 - tau, 0)^2, with tau such that the row sums to 1",
    derivative_formula="dx = s * (grad - sum(s * grad) / sum(s)), s = sqrt(y)",
    value_range="[0, 1]",
    family="rowwise",
    cost="move",
    source="Peters, Niculae and Martins (2019)",
)
def entmax15(x: Any) -> Any:
    """Half-way between softmax and sparsemax: entmax with alpha 1.5."""
    return entmax(x, 1.5)


@activation(
    formula="max((alpha - 1) * x - tau, 0)^(1 / (alpha - 1)), with tau such that the row sums to 1",
    derivative_formula="dx = s * (grad - sum(s * grad) / sum(s)), s = y^(2 - alpha)",
    value_range="[0, 1]",
    params={"alpha": 1.5},
    learnable=("alpha",),
    family="rowwise",
    cost="erf",
    source="Blondel, Martins and Niculae (2019); Correia, Niculae and Martins (2019)",
)
def entmax(x: Any, alpha: Any) -> Any:
    """The family from softmax (alpha 1) over entmax15 (1.5) to sparsemax (2) and beyond; alpha at least 1, computed in float64."""
    largest, low, high = reduce(max, x, -inf), 0.0, log(len(x))
    for _ in range(60):
        t = (low + high) / 2
        low, high = (t, high) if fsum(entmax_term(v - largest, t, alpha - 1) for v in x) >= 1 else (low, t)
    return [entmax_term(v - largest, low, alpha - 1) for v in x]
