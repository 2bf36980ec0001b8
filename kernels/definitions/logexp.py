"""Functions of logarithms and exponentials: exponential, log1mexp, cloglog, and the gates smish and logish."""

from __future__ import annotations

from math import inf, nan
from typing import Any

from .language import activation, bits, fma, from_bits, max, min, pick, poly, primitive, sqrt
from .primitives import (
    ATANH_64,
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
    divide,
    exact_add,
    exact_divide,
    exact_grow,
    exact_multiply,
    exact_quotient,
    exact_sum,
    exp_down,
    exp_down_low,
    exp_fraction,
    expm1_down,
    grow,
    multiply,
    scale_down,
)
from .primitives import exp as exp_primitive
from .sigmoids import GONE_32, GONE_64, exp_pair
from .softplus import FAR_32, FAR_64, product_low

# expm1(r) = r + r^2 / 2 + r^3 / 6 + r^4 * EXP_REST(r), abs(r) <= 0.3476: 2^-24.4, 2^-54.0 of EXP_REST, 2^-35, 2^-64 of the whole
SIXTH_32, SIXTH_LOW_32 = 0.1666666716337204, -4.967053731282552e-09
SIXTH_64, SIXTH_LOW_64 = 0.16666666666666666, 9.25185853854297e-18
EXP_REST_32 = (0.041666668, 0.008333321, 0.0013888476, 0.0001988295, 2.5104793e-05)
EXP_REST_64 = (
    0.041666666666666664,
    0.008333333333333331,
    0.0013888888888889694,
    0.0001984126984128909,
    2.4801587307881864e-05,
    2.7557319172425066e-06,
    2.755729307970793e-07,
    2.505215248935278e-08,
    2.0907559717938433e-09,
    1.6056942282701622e-10,
)
# What keeps the parts of a second derivative from being subnormal: 2^400
LIFT = 2.5822498780869086e120
# 2 atanh(t) = t * (2 + t^2 * ATANH(t^2)), 0 <= t <= 1/3: 2^-31.7
ATANH_32 = (0.6666667, 0.39999542, 0.2859779, 0.2164059, 0.23490646)


# ---------------------------------------------------------------- exponentials and logarithms as pairs


@primitive
def exp_exact(x: Any) -> Any:
    """(m, m_low, t): exp(x) = (m + m_low) * t, nearly as exact as a pair can be, for -80 <= x <= 80 (float64: 700)."""
    z = fma(x, LOG2E, pick(x, POWER_32, POWER_64))
    k = z - pick(x, POWER_32, POWER_64)
    high = fma(k, pick(x, -LN2_HIGH_32, -LN2_HIGH_64), x)
    r = fma(k, pick(x, -LN2_LOW_32, -LN2_LOW_64), high)
    r_low = fma(k, pick(x, -LN2_LOW_32, -LN2_LOW_64), high - r)
    # b = 1/6 + r * rest, c = 1/2 + r b, p = r + r^2 c: the last steps in two parts; what cancels is exact
    rest = poly(r, EXP_REST_32, EXP_REST_64)
    sixth = pick(x, SIXTH_32, SIXTH_64)
    b = fma(r, rest, sixth)
    b_low = fma(r, rest, sixth - b) + pick(x, SIXTH_LOW_32, SIXTH_LOW_64)
    c = fma(r, b, 0.5)
    c_low = fma(r, b, 0.5 - c) + r * b_low
    square = r * r
    h = square * c
    h_low = fma(square, c, -h) + fma(square, c_low, fma(r, r, -square) * c)
    p = r + h
    m = 1.0 + p
    low = ((r - p) + h) + fma(m, r_low, h_low)
    return m, (p - (m - 1.0)) + low, from_bits(bits(z) << pick(x, 23, 52))


@primitive
def log_split(a: Any, a_low: Any) -> Any:
    """(k, f, low): log(a + a_low) = k * ln(2) + f + low for positive normal a, with abs(f) < 0.35."""
    # a = 2^k * m with m in [sqrt(1/2), sqrt(2))
    i = bits(a) + pick(a, 0x4AFB0D, 0x95F619980C433)
    k = from_bits((i >> pick(a, 23, 52)) + bits(pick(a, MAGIC_32, MAGIC_64))) - pick(a, POWER_32, POWER_64)
    m = from_bits((i & pick(a, 0x7FFFFF, 0xFFFFFFFFFFFFF)) + pick(a, 0x3F3504F3, 0x3FE6A09E667F3BCD))
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    half = 0.5 * f * f
    rest = half - s * (half + z * poly(z, LOG_32, LOG_64)) - a_low / a
    log_m = f - rest
    return k, log_m, (f - log_m) - rest


@primitive
def atanh_unit(v: Any, d: Any, d_low: Any) -> Any:
    """The pair 2 atanh(v / d) / v for 0 <= v <= 1 and v / d <= 1/3."""
    y = 1.0 / d
    t = v * y
    z = t * t
    h = y + y  # exact
    rest = fma(-y, d, 1.0) - y * d_low  # y + y * rest is the reciprocal
    low = fma(h, rest, y * (z * poly(z, ATANH_32, ATANH_64)))
    u = h + low
    return u, (h - u) + low


@primitive
def horner(e: Any, e_low: Any, b: Any, b_low: Any, c: Any) -> Any:
    """The pair c + e * b for a small whole number c > 0 and e, b >= 0: a step of Horner's rule in which nothing cancels."""
    r = fma(e, b, c)
    return r, fma(e, b, c - r) + fma(e, b_low, e_low * b)  # c - r is exact


# ---------------------------------------------------------------- exponential


@activation(
    formula="exp(x)",
    derivative_formula="exp(x)",
    value_range="[0, inf]",
    cost="exp",
    limits={-inf: 0.0, inf: inf, -0.0: 1.0},
    monotonicity="increasing",
    source="the exponential function",
)
def exponential(x: Any) -> Any:
    """Exponential function."""
    return exp_primitive(x)


@exponential.derivative
def _(x: Any) -> Any:
    return exp_primitive(x)


@exponential.second_derivative
def _(x: Any) -> Any:
    return exp_primitive(x)


@exponential.derivative_from_output
def _(y: Any) -> Any:
    return y


# ---------------------------------------------------------------- log1mexp


@primitive
def one_less_exp(x: Any) -> Any:
    """(u, u_low, p, s): 1 - exp(-x) as a pair, exact next to 0 and next to 1, and the parts of exp(-x), for x >= 0."""
    p, s = exp_down(max(-x, pick(x, GONE_32, GONE_64)))
    t = s * pick(x, TINY_32, TINY_64)
    c = 1.0 - t
    u = fma(-p, t, c)
    return u, fma(-p, t, c - u) + ((1.0 - c) - t), p, s


@activation(
    formula="log(1 - exp(-x)) if x > 0 else (sqrt(x) if x < 0 else -1e999 * (1 - x) ** 2)",
    display="log(1 - exp(-x))",
    derivative_formula="1 / expm1(x)",
    value_range="[-inf, -0]",
    cost="erf",
    limits={-inf: nan, inf: -0.0, -0.0: -inf},
    monotonicity="increasing",
    source="Maechler (2012)",
)
def log1mexp(x: Any) -> Any:
    """Logarithm of 1 - exp(-x): of the complement of a probability with the logarithm -x. NaN for x < 0, -inf at 0."""
    u, u_low, _p, _s = one_less_exp(x)
    small = u < pick(x, 1e-30, 1e-290)
    scale = pick(x, HUGE_32, HUGE_64) if small else 1.0
    j, f, low = log_split(u * scale, u_low * scale)
    k = j - (pick(x, 64.0, 512.0) if small else 0.0)
    result = fma(k, pick(x, LN2_HIGH_32, LN2_HIGH_64), f) + fma(k, pick(x, LN2_LOW_32, LN2_LOW_64), low)
    edge = -1.0 / abs(x) if x >= 0.0 else (x - x) / (x - x)
    return -abs(result) if x > 0.0 else edge


@log1mexp.derivative
def _(x: Any) -> Any:
    u, u_low, p, s = one_less_exp(x)
    m = 1.0 + p
    far = scale_down(divide(m, p - (m - 1.0), u, u_low), s)
    edge = 1.0 / abs(x) if x >= 0.0 else (x - x) / (x - x)  # the quotient of 1 and a subnormal would not be finite
    return far if x > pick(x, 1e-12, 1e-20) else edge


@log1mexp.second_derivative
def _(x: Any) -> Any:
    # -e / (1 - e)^2
    u, u_low, p, s = one_less_exp(x)
    m = 1.0 + p
    far = scale_down(-(divide(m, p - (m - 1.0), u, u_low) / u), s)
    inverse = 1.0 / x
    edge = -(inverse * inverse) if x >= 0.0 else (x - x) / (x - x)
    return far if x > 1e-20 else edge


# ---------------------------------------------------------------- cloglog


@activation(
    formula="-expm1(-exp(min(x, 50)))",
    display="1 - exp(-exp(x))",
    derivative_formula="exp(x - exp(x))",
    value_range="[0, 1]",
    cost="erf",
    limits={-inf: 0.0, inf: 1.0, -0.0: 0.6321205588285577},
    monotonicity="increasing",
    lipschitz=0.36787944118,
    source="the inverse of the complementary log-log link, Fisher (1922)",
)
def cloglog(x: Any) -> Any:
    """Complementary log-log: 1 - exp(-exp(x))."""
    p, s = exp_down(min(max(x, pick(x, GONE_32, GONE_64)), 5.0))
    return abs(expm1_down(-scale_down(1.0 + p, s)))


@primitive
def cloglog_slope(x: Any) -> Any:
    """(p, s) of `exp_down` for exp(x - w) with w = exp(x), and 1 - w."""
    # On the right w is large, and the rounding error that it would have as one number would be many of the result.
    a = min(max(x, pick(x, GONE_32, GONE_64)), pick(x, 4.75, 6.75))
    m, m_low, t = exp_exact(max(a, pick(x, -80.0, -700.0)))
    w = m * t
    h, h_low = exact_sum(a, -w)
    p, s = exp_down_low(h, h_low - m_low * t)
    return p, s, fma(-m, t, 1.0) - m_low * t


@cloglog.derivative
def _(x: Any) -> Any:
    p, s, _v = cloglog_slope(x)
    return scale_down(1.0 + p, s)


@cloglog.second_derivative
def _(x: Any) -> Any:
    # (1 - w) exp(x - w); next to 0 expm1 keeps the digits
    p, s, v = cloglog_slope(x)
    return scale_down(fma(p, v, v), s)


# ---------------------------------------------------------------- smish


@primitive
def smish_parts(x: Any, e: Any, e_low: Any) -> Any:
    """d as a pair: 2 + 6 e + 5 e^2 left of 0, 5 + 6 e + 2 e^2 right of it."""
    left = x < 0.0
    u, u_low = horner(e, e_low, 5.0 if left else 2.0, 0.0, 6.0)
    return horner(e, e_low, u, u_low, 2.0 if left else 5.0)


@activation(
    formula="x * tanh(log(1 + sigmoid(x)))",
    derivative_formula="tanh(u) + x * (1 - tanh(u)^2) * sigmoid(x) * sigmoid(-x) / (1 + sigmoid(x)), u = log(1 + sigmoid(x))",
    value_range="[-0.2500, inf)",
    cost="exp",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-1.3945193,), "second_derivative": (-2.5511003, 2.2154215)},
    lipschitz=0.63688422289,
    source="Wang, Ren and Wang (2022)",
)
def smish(x: Any) -> Any:
    """Smooth, self-regularised non-monotonic activation; 0.6 x for large x."""
    # With e = exp(-abs(x)) the gate is e (2 + 3 e) / (2 + 6 e + 5 e^2) left of 0, (3 + 2 e) / (5 + 6 e + 2 e^2) right of it.
    left = x < 0.0
    c = max(x, pick(x, GONE_32, GONE_64))
    p, s = exp_down(max(-abs(c), pick(x, GONE_32, GONE_64)))
    e, e_low = exp_pair(p, s)
    g, g_low = horner(e, e_low, 3.0 if left else 2.0, 0.0, 2.0 if left else 3.0)
    d, d_low = smish_parts(x, e, e_low)
    w = fma(p, c, c) if left else c
    return (exact_divide(g, g_low, d, d_low) * w * (s if left else 1.0)) * (pick(x, TINY_32, TINY_64) if left else 1.0)


@smish.derivative
def _(x: Any) -> Any:
    # (4 (1 + x) + (18 + 12 x) e + (28 + 8 x) e^2 + 15 e^3) e / d^2 left of 0; right of it the same numbers from behind, without e
    left = x < 0.0
    a = min(max(x, pick(x, GONE_32, GONE_64)), pick(x, -GONE_32, -GONE_64))
    p, s = exp_down(-abs(a))
    e, e_low = exp_pair(p, s)
    a4 = 4.0 * a
    b1 = fma(12.0, a, 18.0)
    b2 = fma(8.0, a, 28.0)
    c = fma(e, fma(e, 15.0 if left else a4 + 4.0, b2 if left else b1), b1 if left else b2)
    b, b_low = exact_add(a4 if left else 0.0, 0.0, 4.0 if left else 15.0, 0.0)
    h, h_low = exact_multiply(e, e_low, c, 0.0)
    n, n_low = exact_add(b, b_low, h, h_low)
    f, f_low = exact_grow(n, n_low, p if left else 0.0)
    d, d_low = smish_parts(x, e, e_low)
    square, square_low = exact_multiply(d, d_low, d, d_low)
    q = exact_divide(f, f_low, square, square_low)
    return (q * (s if left else 1.0)) * (pick(x, TINY_32, TINY_64) if left else 1.0)


@smish.second_derivative
def _(x: Any) -> Any:
    # 4 e (4 + 24 e + 54 e^2 + 54 e^3 + 20 e^4 + x (2 + 6 e - 3 e^2 - 18 e^3 - 10 e^4)) / d^3 left of 0; right of it from behind
    left = x < 0.0
    a = min(max(x, GONE_64), -GONE_64)
    p, s = exp_down(-abs(a))
    e, e_low = exp_pair(p, s)
    f = fma(e, fma(e, fma(e, fma(e, 20.0 if left else 4.0, 54.0 if left else 24.0), 54.0), 24.0 if left else 54.0), 4.0 if left else 20.0)
    b = fma(e, fma(e, fma(e, fma(e, -10.0 if left else 2.0, -18.0 if left else 6.0), -3.0), 6.0 if left else -18.0), 2.0 if left else -10.0)
    n, n_low = grow(fma(a, b, f), 0.0, p)
    d, d_low = smish_parts(x, e, e_low)
    square, square_low = multiply(d, d_low, d, d_low)
    cube, cube_low = multiply(square, square_low, d, d_low)
    return scale_down(4.0 * divide(n, n_low, cube, cube_low), s)


# ---------------------------------------------------------------- logish


@activation(
    formula="x * log(1 + sigmoid(x))",
    derivative_formula="log(1 + sigmoid(x)) + x * sigmoid(x) * sigmoid(-x) / (1 + sigmoid(x))",
    value_range="[-0.2528, inf)",
    cost="erf",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-1.3724541,), "second_derivative": (-2.5334481, 2.3167585)},
    lipschitz=0.74631118042,
    source="Zhu et al. (2021)",
)
def logish(x: Any) -> Any:
    """Non-monotonic activation gated by a logarithm; x ln 2 for large x."""
    # The gate is 2 atanh(t) with t = e / (2 + 3 e) left of 0, 1 / (3 + 2 e) right of it, e = exp(-abs(x)).
    left = x < 0.0
    c = max(x, pick(x, GONE_32, GONE_64))
    p, s = exp_down(max(-abs(c), pick(x, GONE_32, GONE_64)))
    gate, _gate_low = logish_gate(x, p, s)
    w = fma(p, c, c) if left else c
    return (gate * w * (s if left else 1.0)) * (pick(x, TINY_32, TINY_64) if left else 1.0)


@primitive
def logish_gate(x: Any, p: Any, s: Any) -> Any:
    """The pair log(1 + sigmoid(x)), left of 0 over e = exp(x)."""
    left = x < 0.0
    e, e_low = exp_pair(p, s)
    d, d_low = horner(e, e_low, 3.0 if left else 2.0, 0.0, 2.0 if left else 3.0)
    return atanh_unit(e if left else 1.0, d, d_low)


@primitive
def logish_parts(x: Any, e: Any, e_low: Any) -> Any:
    """d as a pair: (1 + e) (1 + 2 e) left of 0, (1 + e) (2 + e) right of it."""
    left = x < 0.0
    u, u_low = horner(e, e_low, 2.0 if left else 1.0, 0.0, 3.0)
    return horner(e, e_low, u, u_low, 1.0 if left else 2.0)


@logish.derivative
def _(x: Any) -> Any:
    # gate + x e / d; left of 0 both over e
    left = x < 0.0
    a = min(max(x, pick(x, GONE_32, GONE_64)), pick(x, -GONE_32, -GONE_64))
    p, s = exp_down(-abs(a))
    e, e_low = exp_pair(p, s)
    gate, gate_low = logish_gate(x, p, s)
    d, d_low = logish_parts(x, e, e_low)
    v, v_low = exact_multiply(a, 0.0, 1.0 if left else e, 0.0 if left else e_low)
    h, h_low = exact_multiply(gate, gate_low, d, d_low)
    n, n_low = exact_add(h, h_low, v, v_low)
    f, f_low = exact_grow(n, n_low, p if left else 0.0)
    q = exact_divide(f, f_low, d, d_low)
    return (q * (s if left else 1.0)) * (pick(x, TINY_32, TINY_64) if left else 1.0)


@logish.second_derivative
def _(x: Any) -> Any:
    # e (2 d + x (1 - 2 e^2)) / d^2 left of 0, e (2 d + x (e^2 - 2)) / d^2 right of it
    left = x < 0.0
    a = min(max(x, GONE_64), -GONE_64)
    p, s = exp_down(-abs(a))
    e, e_low = exp_pair(p, s)
    d, d_low = logish_parts(x, e, e_low)
    b = fma(e * e, -2.0 if left else 1.0, 1.0 if left else -2.0)
    n, n_low = grow(fma(a, b, d + d), 0.0, p)
    square, square_low = multiply(d, d_low, d, d_low)
    return scale_down(divide(n, n_low, square, square_low), s)


# ---------------------------------------------------------------- eis


@primitive
def join(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    """The sum of two pairs; `a` where `b` is 0, with the sign that it has if it is 0 too."""
    s, s_low = exact_add(a, a_low, b, b_low)
    return a if b == 0.0 else s, a_low if b == 0.0 else s_low


@primitive
def scale_twice(v: Any, n: Any) -> Any:
    """v * 2^n for whole n, in two steps: rounded once where it is subnormal, infinite only where it must be."""
    c = min(max(n, pick(v, -252.0, -2044.0)), pick(v, 252.0, 2044.0))
    z = fma(c, 0.5, pick(v, POWER_32, POWER_64))
    rest = (c - (z - pick(v, POWER_32, POWER_64))) + pick(v, POWER_32, POWER_64)
    return (v * from_bits(bits(z) << pick(v, 23, 52))) * from_bits(bits(rest) << pick(v, 23, 52))


@primitive
def softplus_parts(x: Any) -> Any:
    """(e, T) as pairs: e = exp(-abs(x)); softplus(x) = e T left of 0, T right of it."""
    p, s = exp_down(max(-abs(x), pick(x, GONE_32, GONE_64)))
    e, e_low = exp_pair(p, s)
    d, d_low = exact_add(2.0, 0.0, e, e_low)
    unit, unit_low = atanh_unit(e, d, d_low)
    h, h_low = exact_multiply(e, e_low, unit, unit_low)
    y, y_low = exact_add(x, 0.0, h, h_low)
    left = x < 0.0
    return e, e_low, unit if left else y, unit_low if left else y_low


@primitive
def softplus_power(x: Any, alpha: Any, y: Any, y_low: Any) -> Any:
    """(m, m_low, n): softplus(x)^alpha = (m + m_low) * 2^n from T = y + y_low of `softplus_parts`.

    T = 2^k exp(f). What is large, alpha x left of 0 and alpha k right of it, meets the whole number n and leaves an exact rest.
    """
    left = x < 0.0
    k, f, f_low = log_split(y, y_low)
    product = alpha * x
    z = max(-abs(product), pick(x, -FAR_32, -FAR_64)) if left else 0.0
    z_low = product_low(alpha, x, product) if left else 0.0
    g = alpha * f
    n = (fma(z + g, LOG2E, alpha * k) + pick(x, MAGIC_32, MAGIC_64)) - pick(x, MAGIC_32, MAGIC_64)
    j = fma(alpha, k, 0.0 if left else -n)
    i = n if left else 0.0
    a = fma(i, pick(x, -LN2_HIGH_32, -LN2_HIGH_64), z)
    t = fma(i, pick(x, -LN2_LOW_32, -LN2_LOW_64), z_low)
    h = fma(j, pick(x, LN2_HIGH_32, LN2_HIGH_64), g)
    h_low = fma(j, pick(x, LN2_HIGH_32, LN2_HIGH_64), g - h) + fma(j, pick(x, LN2_LOW_32, LN2_LOW_64), fma(alpha, f, -g) + alpha * f_low)
    b, b_low = exact_sum(a, t)
    v, v_low = exact_add(b, b_low, h, h_low)
    r = v + v_low
    p = exp_fraction(r)
    m = 1.0 + p
    return m, fma(m, (v - r) + v_low, p - (m - 1.0)), n


@primitive
def eis_argument(x: Any, alpha: Any, decay: Any) -> Any:
    """x, finite; no farther left than where an exponential vanishes, if there is one, so that its factors stay finite."""
    most = pick(x, 3.4028234663852886e38, 1.7976931348623157e308)
    return min(max(x, pick(x, -1e10, -1e100) if alpha + decay > 0.0 else -most), most)


@primitive
def eis_scale(x: Any, gamma: Any) -> Any:
    """The power of two with which x^2 does not overflow, and its exponent."""
    far = abs(x) if gamma > 0.0 else 0.0
    big = far > pick(x, 1e15, 1e150)
    return pick(x, 8.271806125530277e-25, 2.409919865102884e-181) if big else 1.0, pick(x, -80.0, -600.0) if big else 0.0


@primitive
def eis_rate(x: Any, delta: Any, theta: Any) -> Any:
    """theta * x as a pair; 0 where delta is, and no farther than where exp vanishes."""
    rate = theta if delta > 0.0 else 0.0
    product = rate * x
    low = product_low(rate, x, product)
    return min(max(product, pick(x, -131.0, -1000.0)), pick(x, 131.0, 1000.0)), low if product < 0.0 else -low


@primitive
def eis_square(x: Any, beta: Any, gamma: Any) -> Any:
    """beta + gamma x^2 as a pair; x and beta have been scaled."""
    g, g_low = exact_multiply(gamma, 0.0, x, 0.0)
    h, h_low = exact_multiply(g, g_low, x, 0.0)
    return exact_add(beta, 0.0, h, h_low)


@primitive
def eis_decay(t: Any, t_low: Any) -> Any:
    """(p, s) of `exp_down` for exp(-abs(t))."""
    return exp_down_low(-abs(t), t_low if t < 0.0 else -t_low)


@primitive
def eis_terms(q: Any, q_low: Any, delta: Any, t: Any, p: Any, s: Any) -> Any:
    """The terms of the denominator, sqrt(q) and delta * exp(-t), as pairs, both times exp(t) where that is less than 1.

    (p, s) are the parts of exp(-abs(t)).
    """
    root = sqrt(q)
    root_low = (fma(-root, root, q) + q_low) / (root + root)
    e, e_low = exp_pair(p, s)
    down = t < 0.0
    a, a_low = exact_multiply(root, root_low, e if down else 1.0, e_low if down else 0.0)
    b, b_low = exact_multiply(delta, 0.0, 1.0 if down else e, 0.0 if down else e_low)
    return a, a_low, b, b_low


@primitive
def eis_end(x: Any, a: Any, a_low: Any, b: Any, b_low: Any, n: Any, t: Any, p: Any, s: Any, degree: Any) -> Any:
    """a / b * 2^n, times exp(t) where that is less than 1, with the limit at infinity of what grows like x^degree."""
    down = t < 0.0
    f, f_low = exact_grow(a, a_low, p if down else 0.0)
    v = exact_divide(f, f_low, b, b_low) * (s if down else 1.0)
    scaled = scale_twice(v, n) * (pick(x, TINY_32, TINY_64) if down else 1.0)
    edge = x if degree > 0.0 else (1.0 if degree == 0.0 else 0.0)
    return scaled * edge if x > pick(x, 3.4028234663852886e38, 1.7976931348623157e308) else scaled


@activation(
    formula="x * exp(alpha * log(softplus(x))) / (sqrt(beta + gamma * x * x) + delta * exp(-theta * x))",
    derivative_formula="eis(x) * (1 / x + alpha * sigmoid(x) / softplus(x) - d' / d), d the denominator",
    value_range="[-0.2322, inf)",
    params={"alpha": 1.0, "beta": 1.0, "gamma": 1.0, "delta": 0.0, "theta": 0.0},
    examples=(
        (1.0, 1.0, 1.0, 0.0, 0.0),
        (0.0, 1.0, 0.0, 0.68, 1.7),
        (0.0, 1.0, 1.0, 0.0, 0.0),
        (2.0, 4.0, 0.25, 0.5, 0.5),
        (0.5, 0.25, 1.0, 0.0, 0.0),
    ),
    cost="erf",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    # those of all the examples
    roots={
        "derivative": (-0.7617481, -0.8074616, -0.5678044, -0.7468151),
        "second_derivative": (
            *(-1.4374454, 0.7166847, 1.4860428, 4.8998379),
            *(-1.488514, 1.3496563, -1.1165757, -1.5345368, 0.0604078),
        ),
    },
    lipschitz=1.0117976047,
    source="Biswas, Kumar, Banerjee and Pandey (2020)",
)
def eis(x: Any, alpha: Any, beta: Any, gamma: Any, delta: Any, theta: Any) -> Any:
    """x * softplus(x)^alpha over sqrt(beta + gamma x^2) + delta exp(-theta x): exponential, inverse square root and softplus combined.

    The defaults are the paper's EIS-2, EIS-3 is (0, 1, 0, delta, theta). `beta` positive, the others not negative, `alpha` up to 4.
    """
    c = eis_argument(x, alpha, delta * theta)
    _e, _e_low, y, y_low = softplus_parts(c)
    m, m_low, n = softplus_power(c, alpha, y, y_low)
    unit, _k = eis_scale(c, gamma)
    t, t_low = eis_rate(c, delta, theta)
    p, s = eis_decay(t, t_low)
    q, q_low = eis_square(c * unit, beta * unit * unit, gamma)
    a, a_low, b, b_low = eis_terms(q, q_low, delta * unit, t, p, s)
    d, d_low = exact_add(a, a_low, b, b_low)
    f, f_low = exact_multiply(c * unit, 0.0, m, m_low)
    return eis_end(x, f, f_low, d, d_low, n, t, p, s, alpha + (1.0 if gamma == 0.0 else 0.0))


@eis.derivative
def _(x: Any, alpha: Any, beta: Any, gamma: Any, delta: Any, theta: Any) -> Any:
    # softplus^alpha / d * (alpha x r + u beta / Q + v (1 + theta x)), where r = sigmoid / softplus, Q = beta + gamma x^2,
    # d is the denominator, and its terms are shares of it: u = sqrt(Q) / d, v = delta exp(-theta x) / d
    c = eis_argument(x, alpha, delta * theta)
    e, e_low, y, y_low = softplus_parts(c)
    m, m_low, n = softplus_power(c, alpha, y, y_low)
    unit, k = eis_scale(c, gamma)
    t, t_low = eis_rate(c, delta, theta)
    p, s = eis_decay(t, t_low)
    q, q_low = eis_square(c * unit, beta * unit * unit, gamma)
    a, a_low, b, b_low = eis_terms(q, q_low, delta * unit, t, p, s)
    d, d_low = exact_add(a, a_low, b, b_low)
    u, u_low = exact_quotient(a, a_low, d, d_low)
    v, v_low = exact_quotient(b, b_low, d, d_low)
    o, o_low = exact_add(1.0, 0.0, e, e_low)
    h, h_low = exact_multiply(o, o_low, y, y_low)  # 1 / r
    xr, xr_low = exact_quotient(c, 0.0, h, h_low)
    i, i_low = exact_quotient(beta * unit * unit, 0.0, q, q_low)
    iu, iu_low = exact_multiply(i, i_low, u, u_low)
    t1, t1_low = exact_add(1.0, 0.0, t, t_low)
    vt, vt_low = exact_multiply(v, v_low, t1, t1_low)
    flat, flat_low = exact_add(iu, iu_low, vt, vt_low)
    axr, axr_low = exact_multiply(alpha, 0.0, xr, xr_low)
    whole, whole_low = exact_add(axr, axr_low, flat, flat_low)
    f, f_low = exact_multiply(m, m_low, whole, whole_low)
    return eis_end(x, f, f_low, d, d_low, n + k, t, p, s, alpha - (0.0 if gamma == 0.0 else 1.0))


@eis.second_derivative
def _(x: Any, alpha: Any, beta: Any, gamma: Any, delta: Any, theta: Any) -> Any:
    # Further with z = gamma x / Q and w = z u - theta v = d' / d: softplus^alpha / d times
    # alpha x r (sigmoid(-x) + (alpha - 1) r) + u beta / Q (2 (alpha r - w) - z) + v (2 (1 + theta x) (alpha r - w) - theta^2 x)
    c = eis_argument(x, alpha, delta * theta)
    left = c < 0.0
    e, e_low, y, y_low = softplus_parts(c)
    m, m_low, n = softplus_power(c, alpha, y, y_low)
    unit, k = eis_scale(c, gamma)
    t, t_low = eis_rate(c, delta, theta)
    p, s = eis_decay(t, t_low)
    rate = theta if delta > 0.0 else 0.0
    q, q_low = eis_square(c * unit, beta * unit * unit, gamma)
    a, a_low, b, b_low = eis_terms(q, q_low, delta * unit, t, p, s)
    d, d_low = exact_add(a, a_low, b, b_low)
    u, u_low = exact_quotient(a, a_low, d, d_low)
    # v is kept times LIFT: exp(-theta x) may vanish before its product with theta^2 x does
    h, h_low = exp_pair(p, s * LIFT)
    b1, b1_low = exact_multiply(delta * unit, 0.0, LIFT if t < 0.0 else h, 0.0 if t < 0.0 else h_low)
    v, v_low = exact_quotient(b1, b1_low, d, d_low)
    # r, z and w are divided by the unit: so they are not subnormal
    o, o_low = exact_add(1.0, 0.0, e, e_low)
    g, g_low = exact_multiply(o, o_low, y * unit, y_low * unit)
    r, r_low = exact_quotient(1.0, 0.0, g, g_low)
    ar, ar_low = exact_multiply(alpha, 0.0, r, r_low)
    gx, gx_low = exact_multiply(gamma, 0.0, c * unit, 0.0)
    z, z_low = exact_quotient(gx, gx_low, q, q_low)
    zu, zu_low = exact_multiply(z, z_low, u, u_low)
    tv, tv_low = exact_multiply(rate / LIFT, 0.0, v, v_low)
    w, w_low = exact_add(zu, zu_low, -tv, -tv_low)
    aw, aw_low = exact_add(ar + ar, ar_low + ar_low, -2.0 * w, -2.0 * w_low)
    az, az_low = exact_add(aw, aw_low, -z, -z_low)
    i, i_low = exact_quotient(beta * unit * unit * LIFT, 0.0, q, q_low)
    iu, iu_low = exact_multiply(i, i_low, u, u_low)
    iz, iz_low = exact_multiply(iu, iu_low, az, az_low)
    t1, t1_low = exact_add(1.0, 0.0, t, t_low)
    at, at_low = exact_multiply(t1, t1_low, aw, aw_low)
    tt, tt_low = exact_multiply(rate, 0.0, t, t_low)
    tw, tw_low = exact_add(at, at_low, -tt, -tt_low)
    vt, vt_low = exact_multiply(v, v_low, tw, tw_low)
    flat, flat_low = join(iz, iz_low, vt, vt_low)
    f, f_low = exact_quotient(1.0 if left else e, 0.0 if left else e_low, o, o_low)  # sigmoid(-x)
    br, br_low = exact_multiply(alpha - 1.0, 0.0, r, r_low)
    fr, fr_low = exact_add(f / unit, f_low / unit, br, br_low)
    bend, bend_low = exact_multiply(fr, fr_low, ar, ar_low)
    curve, curve_low = exact_multiply(bend * LIFT, bend_low * LIFT, c * unit, 0.0)
    whole, whole_low = join(flat, flat_low, curve, curve_low)
    j, j_low = exact_multiply(m, m_low, whole, whole_low)
    # Some of 2^n goes before the division by d, which is as large.
    z1 = fma(min(max(n, -900.0), 900.0), 0.5, POWER_64)
    some = from_bits(bits(z1) << 52)
    rest = n - (z1 - POWER_64) + (k + k) - 400.0
    return eis_end(x, j * some, j_low * some, d, d_low, rest, t, p, s, alpha - (1.0 if gamma == 0.0 else 2.0))
