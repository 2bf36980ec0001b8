"""Logarithms: log(1 + x^2), log(1 + beta x), and the soft exponential, which runs from a logarithm to an exponential.

A logarithm is taken of ``(u + u_low) * 2^n``: the low part keeps the digits of what is added to 1, the power of two takes in
squares and products that would overflow.
"""

from __future__ import annotations

from math import inf
from typing import Any

from .algebraic import cauchy, divide_far, grown
from .language import activation, bits, copysign, fma, from_bits, max, min, pick, poly, primitive
from .primitives import (
    ATANH_64,
    DOWN_32,
    DOWN_64,
    EXP_32,
    EXP_64,
    HUGE_32,
    HUGE_64,
    LN2_HIGH_32,
    LN2_HIGH_64,
    LN2_LOW_32,
    LN2_LOW_64,
    LOG2E,
    LOG_32,
    LOG_64,
    MAGIC_32,
    MAGIC_64,
    POWER_32,
    POWER_64,
    TINY_32,
    TINY_64,
    UP_32,
    UP_64,
    divide,
    exact_add,
    exact_divide,
    exact_grow,
    exact_multiply,
    exact_sum,
    rounded,
)

FAR_32, FAR_64 = 1073741824.0, 1152921504606846976.0  # 2^30, 2^60: beyond, x^2 is 1 + x^2
FAR = 1152921504606846976.0  # beyond, z is 1 + z, and far from overflow
SCALE_32, SCALE_64 = 8.470329472543003e-22, 2.778448436856347e-163  # 2^-70, 2^-540
LARGEST_32, LARGEST_64 = 3.4028234663852886e38, 1.7976931348623157e308

# (z e^z - expm1(z)) / z^2 = 1/2 + z * GROWTH(z), abs(z) <= 1: 2^-27.1, 2^-57.5
GROWTH_32 = (
    0.33333334,
    0.12500001,
    0.033333298,
    0.0069443337,
    0.0011903616,
    0.00017381221,
    2.2434464e-05,
    2.3958542e-06,
)
GROWTH_64 = (
    0.3333333333333333,
    0.125,
    0.03333333333333401,
    0.006944444444444407,
    0.0011904761904689516,
    0.00017361111111171887,
    2.2045855413279076e-05,
    2.4801587266626114e-06,
    2.505210012378138e-07,
    2.296444227241684e-08,
    1.927192774961646e-09,
    1.4910612073173327e-10,
    1.0634476461409942e-11,
    7.264967605886302e-13,
    6.427500166281782e-14,
)
# 2 atanh(t) = t * (2 + t^2 * ATANH(t^2)), abs(t) <= 1/3: 2^-26.0
ATANH_32 = (
    0.6666664,
    0.40007704,
    0.2823362,
    0.26868346,
)

# ---------------------------------------------------------------- logarithms of pairs


@primitive
def log_pair(u: Any, u_low: Any, n: Any) -> Any:
    """The pair log((u + u_low) * 2^n) for positive, normal, finite `u`, abs(u_low) not more than its last place."""
    # u = 2^k * m with m in [sqrt(1/2), sqrt(2)), as in log1p
    i = bits(u) + pick(u, 0x4AFB0D, 0x95F619980C433)
    k = (from_bits((i >> pick(u, 23, 52)) + bits(pick(u, MAGIC_32, MAGIC_64))) - pick(u, POWER_32, POWER_64)) + n
    f = from_bits((i & pick(u, 0x7FFFFF, 0xFFFFFFFFFFFFF)) + pick(u, 0x3F3504F3, 0x3FE6A09E667F3BCD)) - 1.0
    s = f / (2.0 + f)
    z = s * s
    half = 0.5 * f * f
    series = half - s * (half + z * poly(z, LOG_32, LOG_64))
    rest = series - fma(k, pick(u, LN2_LOW_32, LN2_LOW_64), u_low / u)
    y = f - rest
    c = k * pick(u, LN2_HIGH_32, LN2_HIGH_64)  # exact
    high = c + y
    return high, (y - (high - c)) + ((f - y) - rest)


@primitive
def log_ends(u: Any, y: Any) -> Any:
    """`y`, but where `u`, that it is a logarithm of, is 0: -inf, infinite: inf, less than 0 or NaN: NaN."""
    inner = y if u <= pick(u, LARGEST_32, LARGEST_64) else u
    return inner if u > 0.0 else (-1.0 / u if u == 0.0 else (u - u) / (u - u))


@primitive
def one_plus_product(a: Any, t: Any, t_low: Any) -> Any:
    """(u, u_low, n): 1 + a * (t + t_low) = (u + u_low) * 2^n; u alone where it is infinite."""
    far = a * t > FAR
    c = t * pick(t, TINY_32, TINY_64) if far else t
    p = a * c
    s, s_low = exact_sum(0.0 if far else 1.0, p)
    low = s_low + (fma(a, c, -p) + (0.0 if far else a * t_low))
    u = s + low if s <= pick(t, LARGEST_32, LARGEST_64) else s  # next to -1 low may be no less than s
    return u, (s - u) + low, pick(t, 64.0, 512.0) if far else 0.0


@primitive
def over_sum(a: Any, u: Any, u_low: Any, n: Any) -> Any:
    """a / ((u + u_low) * 2^n) from the parts of `one_plus_product`: 0 for infinite u, NaN for negative u."""
    return log_domain(u, a / u) * (pick(u, TINY_32, TINY_64) if n > 0.0 else 1.0)


@over_sum.float64
def _(a: Any, u: Any, u_low: Any, n: Any) -> Any:
    q = exact_divide(a, 0.0, u, u_low) if u < 1e300 else a * (1.0 / u)
    return log_domain(u, q if u > 0.0 else a * (1.0 / u)) * (TINY_64 if n > 0.0 else 1.0)


@primitive
def log_domain(u: Any, q: Any) -> Any:
    """`q` where log(u) is defined, infinity included, else NaN."""
    return q if u >= 0.0 else (u - u) / (u - u)


# ---------------------------------------------------------------- seagull


@activation(
    formula="log1p(x * x)",
    derivative_formula="2 * x / (1 + x^2)",
    value_range="[0, inf)",
    cost="exp",
    limits={-inf: inf, inf: inf, -0.0: 0.0},
    roots={"second_derivative": (-1.0, 1.0)},
    source="Gao and Zhang (2020)",
    lipschitz=1.0,
)
def seagull(x: Any) -> Any:
    """Logarithm of 1 + x^2, an even function."""
    a = abs(x)
    far = a > pick(x, FAR_32, FAR_64)
    c = a * pick(x, SCALE_32, SCALE_64) if far else a
    p = c * c
    u, low = exact_sum(0.0 if far else 1.0, p)
    y, y_low = log_pair(u, low + fma(c, c, -p), pick(x, 140.0, 1080.0) if far else 0.0)
    return rounded(y, y_low) if a <= pick(x, LARGEST_32, LARGEST_64) else a


@seagull.derivative
def _(x: Any) -> Any:
    # beyond FAR 2 / x
    a = abs(x)
    far = a > pick(x, FAR_32, FAR_64)
    p = a * a
    s, low = exact_sum(1.0, p)
    n = 2.0 if far else a + a
    return copysign(divide_far(n, a if far else s, 0.0 if far else low + fma(a, a, -p)), x)


@seagull.second_derivative
def _(x: Any) -> Any:
    # 2 (1 - x^2) / (1 + x^2)^2, beyond FAR -2 / x^2
    a = abs(x)
    y, e = cauchy(a)
    n = -2.0 if a > FAR_64 else 2.0 * fma(-a, a, 1.0)
    return grown(n * y, e + e) * y


# ---------------------------------------------------------------- natural logarithm rectifier


@activation(
    formula="log1p(beta * x) if x > 0 else 0",
    derivative_formula="beta / (1 + beta * x) if x > 0 else 0",
    value_range="[0, inf)",
    params={"beta": 1.0},
    examples=((1.0,), (0.3,), (5.0,), (1000.0,)),
    cost="exp",
    limits={-inf: 0.0, inf: inf, -0.0: 0.0},
    source="Liu and others (2019)",
    monotonicity="increasing",
    continuity="C0",
    kinks={"0": ("0", "beta")},
    lipschitz=1.0,
)
def nlrelu(x: Any, beta: Any) -> Any:
    """Natural logarithm of a rectified linear unit; `beta` is positive."""
    u, u_low, n = one_plus_product(beta, max(x, 0.0), 0.0)
    y, y_low = log_pair(u, u_low, n)
    return log_ends(u, rounded(y, y_low))


@nlrelu.derivative
def _(x: Any, beta: Any) -> Any:
    u, u_low, n = one_plus_product(beta, x, 0.0)
    return over_sum(beta, u, u_low, n) if x > 0.0 else (0.0 if x <= 0.0 else x)


# ---------------------------------------------------------------- soft exponential


@primitive
def exp_low(x: Any, low: Any, magic: Any) -> Any:
    """(p, p_low, s): exp(x + low) = (1 + p + p_low) * s * 2^-offset, the offset as in `exp_split`."""
    z = fma(x, LOG2E, magic)
    k = z - magic
    first = fma(k, pick(x, -LN2_HIGH_32, -LN2_HIGH_64), x)
    second = fma(k, pick(x, -LN2_LOW_32, -LN2_LOW_64), low)
    r = first + second
    square = r * r
    q = poly(r, EXP_32, EXP_64)
    p = fma(square, q, r)
    return p, fma(square, q, r - p) + ((first - r) + second), from_bits(bits(z) << pick(x, 23, 52))


@primitive
def exp_product(alpha: Any, x: Any) -> Any:
    """(p, p_low, s, scale): exp(alpha x) = (1 + p + p_low) * s * scale, overflow left to the scale."""
    z = alpha * x
    c = min(max(z, pick(x, -131.0, -1060.0)), pick(x, 115.0, 800.0))
    up = c > 0.0
    p, p_low, s = exp_low(c, fma(alpha, x, -z) if c == z else 0.0, pick(x, UP_32, UP_64) if up else pick(x, DOWN_32, DOWN_64))
    return p, p_low, s, pick(x, HUGE_32, HUGE_64) if up else pick(x, TINY_32, TINY_64)


@primitive
def soft_exponential_right(x: Any, alpha: Any) -> Any:
    """(exp(alpha x) + (alpha^2 - 1)) / alpha, for positive alpha."""
    p, p_low, s, scale = exp_product(alpha, x)
    one = pick(x, TINY_32, TINY_64) if scale > 1.0 else pick(x, HUGE_32, HUGE_64)  # in units of the scale
    square = alpha * alpha
    m, m_low = exact_sum(square, -1.0)
    d, d_low = exact_sum(s, m * one)
    e, e_low = exact_sum(d, p * s)
    low = ((d_low + e_low) + (m_low + fma(alpha, alpha, -square)) * one) + p_low * s
    n = e + low
    return divide(n, (e - n) + low, alpha, 0.0) * scale


@activation(
    formula="-2 * log(sqrt(1 - alpha * (x + alpha))) / alpha if alpha < 0 else "
    "(expm1(alpha * x) / alpha + alpha if alpha > 0 else x + alpha * (1 + x * x / 2))",
    display="-log(1 - alpha * (x + alpha)) / alpha if alpha < 0 else x if alpha == 0 else expm1(alpha * x) / alpha + alpha",
    derivative_formula="1 / (1 - alpha * (x + alpha)) if alpha < 0 else exp(alpha * x)",
    value_range="(-inf, inf)",
    params={"alpha": 0.0},
    examples=((0.0,), (0.5,), (-0.5,), (1.0,), (-2.0,), (2.0,), (0.25,), (0.001,), (-0.001,)),
    learnable=("alpha",),
    cost="erf",
    limits={-inf: -inf, inf: inf, -0.0: -0.0},
    roots={"value": (-0.5753641449, -0.2581540846, -0.0010000005)},
    source="Godfrey and Gashler (2015)",
    monotonicity="increasing",
    lipschitz=1.0,
)
def soft_exponential(x: Any, alpha: Any) -> Any:
    """Soft exponential: a logarithm for negative alpha, x for 0, an exponential for positive alpha.

    For a negative `alpha` it is NaN where 1 - alpha * (x + alpha) is. For abs(alpha) below 1e-15 (float64: 1e-150), but for 0, the
    squares in it underflow. For a positive `alpha` other than 1 its root lies left of 0: log1p(-alpha^2) / alpha.
    """
    t, t_low = exact_sum(x, alpha)
    u, u_low, n = one_plus_product(-alpha, t, t_low)
    y, y_low = log_pair(u, u_low, n)
    left = log_ends(u, divide(y, y_low, -alpha, 0.0))
    return soft_exponential_right(x, alpha) if alpha > 0.0 else (left if alpha < 0.0 else x)


@soft_exponential.derivative
def _(x: Any, alpha: Any) -> Any:
    t, t_low = exact_sum(x, alpha)
    u, u_low, n = one_plus_product(-alpha, t, t_low)
    left = over_sum(1.0, u, u_low, n)
    p, _, s, scale = exp_product(alpha, x)
    right = fma(p, s, s) * scale
    return right if alpha > 0.0 else (left if alpha < 0.0 else (1.0 if x == x else x))


@soft_exponential.second_derivative
def _(x: Any, alpha: Any) -> Any:
    t, t_low = exact_sum(x, alpha)
    u, u_low, n = one_plus_product(-alpha, t, t_low)
    q = over_sum(1.0, u, u_low, n)
    p, _, s, scale = exp_product(alpha, x)
    right = fma(p, alpha, alpha) * s * scale
    return right if alpha > 0.0 else ((alpha * q) * q if alpha < 0.0 else (0.0 if x == x else x))


@primitive
def soft_exponential_gradient_right(x: Any, alpha: Any) -> Any:
    """(z e^z - expm1(z)) / alpha^2 + 1 with z = alpha x, for positive alpha."""
    z = alpha * x
    z_low = fma(alpha, x, -z)
    # next to 0 x^2 (1/2 + z GROWTH(z)) + 1
    q = poly(z, GROWTH_32, GROWTH_64)
    g = fma(z, q, 0.5)
    xx = x * x
    near, near_low = exact_multiply(xx, fma(x, x, -xx), g, fma(z, q, 0.5 - g) + z_low * q)
    # elsewhere ((z - 1) e^z + 1) / alpha^2 + 1
    c = min(max(z, pick(x, -30.0, -50.0)), pick(x, 100.0, 800.0))
    c_low = z_low if c == z else 0.0
    p, p_low, s = exp_low(c, c_low, pick(x, UP_32, UP_64))
    e, e_low = exact_grow(s, p_low * s, p)
    d, d_low = exact_sum(c, -1.0)
    product, product_low = exact_multiply(e, e_low, d, d_low + c_low)
    n, n_low = exact_add(product, product_low, pick(x, TINY_32, TINY_64), 0.0)
    square = alpha * alpha
    m = n + n_low
    far = divide(m, (n - m) + n_low, square, fma(alpha, alpha, -square)) + pick(x, TINY_32, TINY_64)
    return far * pick(x, HUGE_32, HUGE_64) if abs(z) > 1.0 else near + 1.0 + near_low


@primitive
def atanh_series(z: Any) -> Any:
    """(2 atanh(t) / t - 2) / t^2 with z = t^2, for abs(t) <= 1/3."""
    return poly(z, ATANH_32, ATANH_64)


@primitive
def soft_exponential_gradient_left(x: Any, alpha: Any) -> Any:
    """(log1p(w) - w / (1 + w)) / alpha^2 + 1 / (1 + w) with w = -alpha (x + alpha), for negative alpha."""
    t, t_low = exact_sum(x, alpha)
    u, u_low, n = one_plus_product(-alpha, t, t_low)
    y = 1.0 / u
    y_low = y * (fma(-y, u, 1.0) - y * u_low)
    # next to w = 0, with v = w / (2 + w): v^2 (1 + 1 / (1 + w) + v ATANH(v^2)); v / alpha is (x + alpha) / (2 + w), but for the sign
    h, h_low = exact_add(u, u_low, 1.0, 0.0)
    r = 1.0 / h
    b = t * r
    b_low = r * ((fma(-b, h, t) + t_low) - b * h_low)
    v = -alpha * b
    z = v * v
    k, k_low = exact_sum(1.0, v * atanh_series(z))
    m, m_low = exact_add(y, y_low, k, k_low)
    bb, bb_low = exact_multiply(b, b_low, b, b_low)
    near, near_low = exact_multiply(bb, bb_low, m, m_low)
    # elsewhere log(u) - 1 + 1 / u
    f, f_low = log_pair(u, u_low, n)
    inverse = y * (pick(x, TINY_32, TINY_64) if n > 0.0 else 1.0)
    inverse_low = 0.0 if n > 0.0 else y_low
    d, d_low = exact_sum(inverse, -1.0)
    g, g_low = exact_add(f, f_low, d, d_low + inverse_low)
    square = alpha * alpha
    c = g + g_low
    far = divide(c, (g - c) + g_low, square, fma(alpha, alpha, -square))
    beside = abs(-alpha * t - 0.25) > 0.75
    total, total_low = exact_sum(far if beside else near, inverse)
    return log_ends(u, total + (total_low + (inverse_low if beside else near_low + inverse_low)))


@soft_exponential.gradient("alpha")
def _(x: Any, alpha: Any) -> Any:
    right = soft_exponential_gradient_right(x, alpha)
    left = soft_exponential_gradient_left(x, alpha)
    return right if alpha > 0.0 else (left if alpha < 0.0 else fma(0.5 * x, x, 1.0))
