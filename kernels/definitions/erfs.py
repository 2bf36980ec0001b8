"""Functions gated by the error function of a softplus or an exponential: x * erf(u), u of the sign of a parameter.

With v and its scale s, u = v * s * TINY. Where u is small, x * erf(u) = x * v * (erf(u) / u), whose scale comes last; elsewhere it is
x * (1 - erfc(u)).
"""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, bits, copysign, fma, from_bits, max, min, pick, poly, primitive
from .primitives import (
    ATANH_64,
    DOWN_32,
    DOWN_64,
    ERF_32,
    ERF_64,
    EXP_32,
    EXP_64,
    HUGE_32,
    HUGE_64,
    LN2_HIGH_32,
    LN2_HIGH_64,
    LN2_LOW_32,
    LN2_LOW_64,
    LOG1P_UNIT_32,
    LOG2E,
    SQRT2,
    SQRT2_LOW_64,
    TINY_32,
    TINY_64,
    add,
    exact_add,
    exact_grow,
    exact_multiply,
    exact_quotient,
    exp_down_low,
    grow,
    multiply,
    multiply_add,
    normal_tail,
    rounded,
    scale_down,
)

# exp(-FAR) has vanished against the smallest subnormal, even divided by 1e-12 (float64: 1e-130); `exp_down` reaches as far.
FAR_32, FAR_64 = 131.0, 1060.0
# Where erfc has vanished against the smallest subnormal, with room for a factor.
GONE_32, GONE_64 = 10.5, 28.0
# 2 / sqrt(pi)
SLOPE_32, SLOPE_LOW_32 = 1.128379225730896, -5.863538342219759e-08
SLOPE_64, SLOPE_LOW_64 = 1.1283791670955126, 1.533545961316588e-17
# EXP_64 from its second and its third coefficient on
EXP_SECOND_64 = 0.16666666666666677
EXP_REST_64 = (
    0.04166666666666658,
    0.008333333333321381,
    0.001388888888893992,
    0.00019841269886841032,
    2.48015872053104e-05,
    2.755724341450517e-06,
    2.755737975600398e-07,
    2.510933815264787e-08,
    2.0881506635060817e-09,
)


# In the primitives that lead to u, low parts are carried in float32 too: derivatives need them left of their root, and what a value does
# not use the compiler removes.


@primitive
def log1p_ratio(p: Any, s: Any) -> Any:
    """`log1p_unit` as a pair: log1p(e) / e for e = (1 + p) * s * TINY in [0, 1]."""
    e = scale_down(1.0 + p, s)
    q = poly(e, LOG1P_UNIT_32, LOG1P_UNIT_32)
    r = fma(e, q, 1.0)
    return r, fma(e, q, 1.0 - r)


@log1p_ratio.float64
def _(p: Any, s: Any) -> Any:
    m = 1.0 + p
    e = scale_down(m, s)
    e_low = scale_down(p - (m - 1.0), s)
    d, d_low = add(2.0, 0.0, e, e_low)
    y = 1.0 / d
    t = e * y
    z = t * t
    rest = fma(-y, d, 1.0) - y * d_low
    h = y + y
    more = fma(h, rest, y * (z * poly(z, ATANH_64, ATANH_64)))
    r = h + more
    return r, more - (r - h)


@primitive
def within(x: Any, z: Any) -> Any:
    """x; where exp(z) has vanished a number of its sign that does no harm."""
    return x if z > pick(x, -FAR_32, -FAR_64) else copysign(1e6, x)


@primitive
def exp_down_total(z: Any, z_low: Any) -> Any:
    """`exp_down_low` of -abs(z + z_low), for any z."""
    a = -abs(z)
    c = max(a, pick(z, -FAR_32, -FAR_64))
    return exp_down_low(c, (z_low if z < 0.0 else -z_low) if c == a else 0.0)


@primitive
def softplus_scaled(z: Any, z_low: Any, p: Any, s: Any) -> Any:
    """(v, v_low, scale): softplus(z + z_low) = v * scale * TINY, from the parts of exp(-abs(z))."""
    left = z < 0.0
    t = s * pick(z, TINY_32, TINY_64)
    r, r_low = log1p_ratio(p, s)
    m, m_low = exact_grow(r, r_low, p)
    y, y_low = exact_add(z, z_low, m * t, m_low * t)
    return m if left else y, m_low if left else y_low, s if left else pick(z, HUGE_32, HUGE_64)


@primitive
def sigmoid_scaled(z: Any, p: Any, s: Any) -> Any:
    """The logistic as a pair in the scale of `softplus_scaled`."""
    e, e_low = exact_grow(s * pick(p, TINY_32, TINY_64), 0.0, p)
    d, d_low = exact_add(1.0, 0.0, e, e_low)
    m = 1.0 + p
    left = z < 0.0
    return exact_quotient(m if left else 1.0, p - (m - 1.0) if left else 0.0, d, d_low)


@primitive
def clipped(v: Any, v_low: Any, s: Any) -> Any:
    """u = v * s * TINY as a pair; GONE beyond it."""
    t = s * pick(v, TINY_32, TINY_64)
    u = min(v * t, pick(v, GONE_32, GONE_64))
    return u, v_low * t if u < pick(v, GONE_32, GONE_64) else 0.0


@primitive
def grow_full(a: Any, a_low: Any, p: Any, p_low: Any) -> Any:
    """The pair a * (1 + p + p_low), in float32 too."""
    s, low = exact_grow(a, a_low, p)
    return s, fma(p_low, a, low)


@primitive
def exp_down_full(x: Any, low: Any) -> Any:
    """(p, p_low, s): `exp_down_low` with all but the error of its polynomial."""
    magic = pick(x, DOWN_32, DOWN_64)
    z = fma(x, LOG2E, magic)
    k = z - magic
    c = fma(k, pick(x, -LN2_HIGH_32, -LN2_HIGH_64), x)
    d = fma(k, pick(x, -LN2_LOW_32, -LN2_LOW_64), low)
    r = c + d
    q = r * r * poly(r, EXP_32, EXP_64)
    p = r + q
    return p, (q - (p - r)) + (d - (r - c)), from_bits(bits(z) << pick(x, 23, 52))


@primitive
def exp_down_pairs(x: Any, low: Any) -> Any:
    """`exp_down_full` in float64 with 62 bits of exp: for an exponential that is itself an exponent."""
    z = fma(x, LOG2E, DOWN_64)
    k = z - DOWN_64
    c = fma(k, -LN2_HIGH_64, x)
    d = fma(k, -LN2_LOW_64, low)
    r = c + d
    r_low = d - (r - c)
    f, f_low = multiply_add(r, 0.0, poly(r, EXP_REST_64, EXP_REST_64), 0.0, EXP_SECOND_64, 0.0)
    g, g_low = multiply_add(r, 0.0, f, f_low, 0.5, 0.0)
    square, square_low = multiply(r, 0.0, r, 0.0)
    p, p_low = multiply_add(square, square_low, g, g_low, r, 0.0)
    return p, p_low + fma(r_low, p, r_low), from_bits(bits(z) << pick(x, 23, 52))


@primitive
def exp_minus_square_low(u: Any, u_low: Any) -> Any:
    """`exp_down_full` of -(u + u_low)^2."""
    square = u * u
    return exp_down_full(-square, -fma(u + u, u_low, fma(u, u, -square)))


@primitive
def erfcx(u: Any, u_low: Any) -> Any:
    """erfc(u) * exp(u^2) as a pair."""
    b, b_low = multiply(SQRT2, SQRT2_LOW_64, u, u_low)
    r, r_low = normal_tail(b)
    slope = fma(b, r, -0.3989422804014327)  # of normal_tail
    return r + r, 2.0 * fma(b_low, slope, r_low)


@primitive
def times_erf(x: Any, v: Any, v_low: Any, s: Any) -> Any:
    """x * erf(u) for u = v * s * TINY, not negative."""
    u, u_low = clipped(v, v_low, s)
    square = u * u
    f, f_low = grow(v, v_low, poly(square, ERF_32, ERF_64))
    p, p_low, scale = exp_minus_square_low(u, u_low)
    r, r_low = erfcx(u, u_low)
    e, e_low = grow_full(r, r_low, p, p_low)
    return scale_down(x * rounded(f, f_low), s) if u < 1.0 else x * (1.0 - scale_down(rounded(e, e_low), scale))


@primitive
def times_erf_slope(x: Any, v: Any, v_low: Any, s: Any, w: Any, w_low: Any) -> Any:
    """Its derivative erf(u) + x * 2 / sqrt(pi) * exp(-u^2) * u' for u' = w * s * TINY."""
    u, u_low = clipped(v, v_low, s)
    c = x if u < pick(x, GONE_32, GONE_64) else copysign(1.0, x)
    p, p_low, scale = exp_minus_square_low(u, u_low)
    y, y_low = exact_multiply(c, 0.0, w, w_low)
    k, k_low = exact_multiply(y, y_low, pick(x, SLOPE_32, SLOPE_64), pick(x, SLOPE_LOW_32, SLOPE_LOW_64))
    # near: v erf(u) / u + x w 2 / sqrt(pi) exp(-u^2)
    square = u * u
    t = scale * pick(x, TINY_32, TINY_64)
    e, e_low = grow_full(k, k_low, p, p_low)
    f, f_low = exact_grow(v, v_low, poly(square, ERF_32, ERF_64))
    n, n_low = exact_add(f, f_low, e * t, e_low * t)
    # far: 1 - exp(-u^2) (erfcx(u) - x u' 2 / sqrt(pi))
    q = s * pick(x, TINY_32, TINY_64)
    r, r_low = erfcx(u, u_low)
    d, d_low = exact_add(r, r_low, -k * q, -k_low * q)
    h, h_low = grow_full(d, d_low, p, p_low)
    m, m_low = exact_add(1.0, 0.0, -h * t, -h_low * t)
    return scale_down(n + n_low, s) if u < 1.0 else m + m_low


@primitive
def times_erf_curve(x: Any, v: Any, v_low: Any, s: Any, w: Any, w_low: Any, y: Any, y_low: Any) -> Any:
    """Its second derivative 2 / sqrt(pi) * exp(-u^2) * u' * (2 + x * (y - 2 u u')) for u'' = y * u'."""
    u, u_low = clipped(v, v_low, s)
    # Where exp(-u^2) has vanished, numbers of the same signs that do no harm.
    inside = u < GONE_64
    c = x if inside else copysign(1.0, x)
    d = w if inside else copysign(1e4, w)
    d_low = w_low if inside else 0.0
    t = s * TINY_64 if inside else 1.0
    p, p_low, scale = exp_minus_square_low(u, u_low)
    m, m_low = multiply(u, u_low, d * t, d_low * t)
    a, a_low = add(y, y_low, -2.0 * m, -2.0 * m_low)
    b, b_low = multiply_add(c, 0.0, a, a_low, 2.0, 0.0)
    k, k_low = multiply(d, d_low, SLOPE_64, SLOPE_LOW_64)
    n, n_low = multiply(b, b_low, k, k_low)
    f, f_low = grow_full(n, n_low, p, p_low)
    # One of the two scales is harmless and goes in first.
    near = u < 1.0
    return scale_down(rounded(f, f_low) * (scale * TINY_64 if near else t), s if near else scale)


@primitive
def gated(x: Any, gamma: Any, delta: Any) -> Any:
    """x * erf(u), u = gamma * softplus(delta * x), for gamma not negative."""
    z = delta * x
    z_low = fma(delta, x, -z)
    p, s = exp_down_total(z, z_low)
    y, y_low, scale = softplus_scaled(z, z_low, p, s)
    v, v_low = exact_multiply(gamma, 0.0, y, y_low)
    return times_erf(within(x, z), v, v_low, scale)


@primitive
def gated_slope(x: Any, gamma: Any, delta: Any) -> Any:
    """The derivative of `gated`."""
    z = delta * x
    z_low = fma(delta, x, -z)
    p, s = exp_down_total(z, z_low)
    y, y_low, scale = softplus_scaled(z, z_low, p, s)
    v, v_low = exact_multiply(gamma, 0.0, y, y_low)
    d, d_low = sigmoid_scaled(z, p, s)
    g, g_low = exact_multiply(gamma, 0.0, delta, 0.0)
    w, w_low = exact_multiply(g, g_low, d, d_low)
    return times_erf_slope(within(x, z), v, v_low, scale, w, w_low)


@primitive
def gated_curve(x: Any, gamma: Any, delta: Any) -> Any:
    """The second derivative of `gated`, in float64."""
    z = delta * x
    z_low = fma(delta, x, -z)
    p, s = exp_down_total(z, z_low)
    y, y_low, scale = softplus_scaled(z, z_low, p, s)
    v, v_low = exact_multiply(gamma, 0.0, y, y_low)
    d, d_low = sigmoid_scaled(z, p, s)
    g, g_low = exact_multiply(gamma, 0.0, delta, 0.0)
    w, w_low = exact_multiply(g, g_low, d, d_low)
    # u'' = delta * sigmoid(-z) * u'
    e, e_low = sigmoid_scaled(-z, p, s)
    t = s * TINY_64 if z > 0.0 else 1.0
    f, f_low = exact_multiply(delta, 0.0, e * t, e_low * t)
    return times_erf_curve(within(x, z), v, v_low, scale, w, w_low, f, f_low)


@activation(
    formula="x * erf(softplus(x))",
    derivative_formula="erf(softplus(x)) + x * 2 / sqrt(pi) * exp(-softplus(x)^2) * sigmoid(x)",
    value_range="[-0.3485, inf)",
    cost="erf",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-1.1930600,), "second_derivative": (-2.2564975, 1.0960460)},
    lipschitz=1.086125444152,
    source="Nag, Bhattacharyya, Mukherjee and Kundu (2021)",
)
def serf(x: Any) -> Any:
    """Log-softplus error activation, x * erf(softplus(x))."""
    return gated(x, 1.0, 1.0)


@serf.derivative
def _(x: Any) -> Any:
    return gated_slope(x, 1.0, 1.0)


@serf.second_derivative
def _(x: Any) -> Any:
    return gated_curve(x, 1.0, 1.0)


@activation(
    formula="x * erf(gamma * softplus(delta * x))",
    derivative_formula="erf(u) + x * 2 / sqrt(pi) * exp(-u^2) * gamma * delta * sigmoid(delta * x), u = gamma * softplus(delta * x)",
    value_range="[-0.5061, inf)",
    params={"gamma": 1.25, "delta": 0.85},
    examples=((1.25, 0.85), (0.9, 1.1), (-1.5, 0.7), (2.0, 1.2)),
    cost="erf",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-1.4329476,), "second_derivative": (-2.6783555, 1.0027563)},
    lipschitz=1.053564414058,
    source="Biswas et al. (2021)",
)
def pserf(x: Any, gamma: Any, delta: Any) -> Any:
    """Parametric serf, x * erf(gamma * softplus(delta * x)).

    For abs(gamma) and abs(delta) of 0.1 to 3; beyond, the bounds hold but for the derivative next to its root.
    """
    y = gated(x, abs(gamma), delta)
    return -y if gamma < 0.0 else y


@pserf.derivative
def _(x: Any, gamma: Any, delta: Any) -> Any:
    y = gated_slope(x, abs(gamma), delta)
    return -y if gamma < 0.0 else y


@pserf.second_derivative
def _(x: Any, gamma: Any, delta: Any) -> Any:
    y = gated_curve(x, abs(gamma), delta)
    return -y if gamma < 0.0 else y


@primitive
def exp_scaled(z: Any, z_low: Any, factor: Any) -> Any:
    """(v, v_low, s): factor * exp(z + z_low) = v * s * TINY, factor not negative; at the upper end no more than the largest u asks for."""
    c = min(max(z, pick(z, -FAR_32, -FAR_64)), pick(z, 44.0, 350.0))
    p, p_low, s = exp_down_full(c, z_low if c == z else 0.0)
    v, v_low = grow_full(factor, 0.0, p, p_low)
    return v, v_low, s


@activation(
    formula="x * erf(alpha * exp(beta * x)) if beta * x < 1000 else x * alpha / abs(alpha)",
    display="x * erf(alpha * exp(beta * x))",
    derivative_formula="erf(u) + x * 2 / sqrt(pi) * exp(-u^2) * beta * u, u = alpha * exp(beta * x)",
    value_range="[-0.2053, inf)",
    params={"alpha": 0.5, "beta": 1.0},
    examples=((0.5, 1.0), (0.75, 0.75), (-0.4, 1.3), (2.0, 0.9)),
    cost="erf",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-1.0218728,), "second_derivative": (-2.0178315, 0.9229576)},
    lipschitz=1.193854814667,
    source="Biswas, Kumar, Banerjee and Pandey, ErfAct (2021)",
)
def erf_act(x: Any, alpha: Any, beta: Any) -> Any:
    """ErfAct, x * erf(alpha * exp(beta * x)).

    For abs(alpha) and abs(beta) of 1e-3 to 1e3.
    """
    z = beta * x
    v, v_low, s = exp_scaled(z, fma(beta, x, -z), abs(alpha))
    y = times_erf(within(x, z), v, v_low, s)
    return -y if alpha < 0.0 else y


@erf_act.derivative
def _(x: Any, alpha: Any, beta: Any) -> Any:
    z = beta * x
    v, v_low, s = exp_scaled(z, fma(beta, x, -z), abs(alpha))
    w, w_low = exact_multiply(v, v_low, beta, 0.0)
    y = times_erf_slope(within(x, z), v, v_low, s, w, w_low)
    return -y if alpha < 0.0 else y


@erf_act.second_derivative
def _(x: Any, alpha: Any, beta: Any) -> Any:
    z = beta * x
    c = min(max(z, -FAR_64), 350.0)
    p, p_low, s = exp_down_pairs(c, fma(beta, x, -z) if c == z else 0.0)
    v, v_low = grow_full(abs(alpha), 0.0, p, p_low)
    w, w_low = exact_multiply(v, v_low, beta, 0.0)
    y = times_erf_curve(within(x, z), v, v_low, s, w, w_low, beta, 0.0)
    return -y if alpha < 0.0 else y
