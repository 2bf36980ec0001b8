"""The normal distribution, and functions gated by it."""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, copysign, fma, max, min, pick, poly, primitive
from .primitives import (
    POWER_32,
    POWER_64,
    TINY_32,
    TINY_64,
    add,
    divide,
    exact_add,
    exact_grow,
    exact_multiply,
    exact_sum,
    exp_down_low,
    exp_split_low,
    gauss,
    grow,
    multiply,
    multiply_add,
    normal_tail,
    rounded,
    scale_down,
    slope_tail,
    times_normal_tail,
)

# 1 / sqrt(2 pi)
DENSITY_32, DENSITY_LOW_32 = 0.3989422917366028, -1.133517010526318e-08
DENSITY_64, DENSITY_LOW_64 = 0.3989422804014327, -2.49232720227773e-17
# tanh(y) = y + y^3 * TANH(y^2), abs(y) <= 0.17: 2^-32.4, 2^-58.1
TANH_32 = (-0.33333322, 0.13331197, -0.05273999)
TANH_64 = (
    -0.3333333333333266,
    0.1333333333287961,
    -0.053968252950240443,
    0.021869383446305457,
    -0.008857741847711273,
    0.0034502744519885925,
)


@primitive
def less_product(x: Any, a: Any, e: Any, e_low: Any) -> Any:
    """x - a * e, for x not negative, a = x where x is not large, and 0 < e <= 1/2; -0 for -0."""
    return fma(-a, e, x)


@less_product.float64
def _(x: Any, a: Any, e: Any, e_low: Any) -> Any:
    y = fma(-a, e, x)
    excess = fma(a, e, y - x) + a * e_low  # taken away, not its negative added: -0 - 0 is -0
    return x if x > 39.0 else y - excess  # y - x would be NaN at infinity


@primitive
def gelu_slope(x: Any) -> Any:
    """The derivative of gelu."""
    # With h = R(a) - a / sqrt(2 pi) and a = abs(x): exp(-a^2 / 2) h left of 0, one less it right.
    left = x < 0.0
    a = min(abs(x), pick(x, 15.0, 39.5))
    p, s = gauss(a)
    h, h_low = slope_tail(a)
    e, e_low = grow(h, h_low, p)
    t = s * pick(x, TINY_32, TINY_64)
    return scale_down(rounded(e, e_low), s) if left else 1.0 - e * t


@activation(
    formula="x * Phi(x)",
    derivative_formula="Phi(x) + x * phi(x)",
    value_range="[-0.1700, inf)",
    aliases=("gelu_erf",),
    cost="erf",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-0.7517916,), "second_derivative": (-1.4142136, 1.4142136)},
    lipschitz=1.12890414519,
    bound=3.0,
    source="Hendrycks and Gimpel (2016)",
)
def gelu(x: Any) -> Any:
    """Gaussian error linear unit, exact."""
    # x less, or left of 0 just less, abs(x) Phi(-abs(x))
    a = min(abs(x), 15.0)
    p, s = gauss(a)
    return fma(times_normal_tail(fma(p, a, a) * s, a), pick(x, -TINY_32, -TINY_64), max(x, 0.0))


@gelu.float64
def _(x: Any) -> Any:
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
    return gelu_slope(x)


@gelu.second_derivative
def _(x: Any) -> Any:
    # phi(x) (2 - x^2), whose second factor is rounded once
    a = min(abs(x), 39.5)
    p, s = gauss(a)
    n = DENSITY_64 * fma(-a, a, 2.0)
    return scale_down(fma(p, n, n), s)


@activation(
    formula="min(max(x * Phi(x), min_val), max_val)",
    derivative_formula="gelu'(x) if min_val < gelu(x) < max_val else 0",
    value_range="[max(min_val, -0.1700), max_val]",
    params={"min_val": -10.0, "max_val": 10.0},
    examples=((-10.0, 10.0), (-0.11, 12.0), (-3.0, 9.0)),
    aliases=("gelu_10",),
    cost="erf",
    limits={-inf: -0.0, inf: 10.0, -0.0: -0.0},
    roots={"derivative": (-0.7517916,)},
    continuity="C0",
    lipschitz=1.12890414519,
    source="transformers (Hugging Face), for quantisation",
)
def clipped_gelu(x: Any, min_val: Any, max_val: Any) -> Any:
    """Exact gelu, clipped to [min_val, max_val].

    Where gelu meets a limit its derivative jumps to 0: for `max_val` of 9 and more that is at x = max_val.
    """
    return min(max(gelu(x), min_val), max_val)


@clipped_gelu.derivative
def _(x: Any, min_val: Any, max_val: Any) -> Any:
    y = gelu(x)
    return 0.0 if y <= min_val else (0.0 if y >= max_val else gelu_slope(x))


@activation(
    formula="exp(-x * x)",
    derivative_formula="-2 * x * exp(-x^2)",
    value_range="[0, 1]",
    cost="exp",
    limits={-inf: 0.0, inf: 0.0, -0.0: 1.0},
    roots={"second_derivative": (-0.7071068, 0.7071068)},
    lipschitz=0.857763884961,
    source="the Gaussian of radial basis functions, Broomhead and Lowe (1988)",
)
def gaussian(x: Any) -> Any:
    """Gaussian bell, exp(-x^2)."""
    p, s = exp_minus_square(min(abs(x), pick(x, 10.5, 28.0)))
    return scale_down(1.0 + p, s)


@primitive
def exp_minus_square(a: Any) -> Any:
    """(p, s) of `exp_down`: exp(-a^2) for abs(a) <= 11 (float32), 32 (float64)."""
    square = a * a
    return exp_down_low(-square, -fma(a, a, -square))


@gaussian.derivative
def _(x: Any) -> Any:
    a = min(max(x, pick(x, -10.5, -28.0)), pick(x, 10.5, 28.0))
    p, s = exp_minus_square(a)
    n = -2.0 * a
    return scale_down(fma(p, n, n), s)


@gaussian.second_derivative
def _(x: Any) -> Any:
    a = min(abs(x), 28.0)
    p, s = exp_minus_square(a)
    n = 2.0 * fma(a + a, a, -1.0)  # rounded once
    return scale_down(fma(p, n, n), s)


@primitive
def standardized(x: Any, mu: Any, sigma: Any, far: Any) -> Any:
    """(x - mu) / sigma as a pair, within -far .. far."""
    d, d_low = exact_sum(x, -mu)
    q = d / sigma
    low = (fma(-q, sigma, d) + d_low) / sigma
    return min(max(q, -far), far), low if abs(q) < far else 0.0


@primitive
def gauss_low(a: Any, low: Any) -> Any:
    """`gauss` of a + low, of either sign."""
    square = a * a
    return exp_down_low(-0.5 * square, -fma(a, low, 0.5 * fma(a, a, -square)))


@activation(
    formula="Phi((x - mu) / sigma)",
    derivative_formula="exp(-((x - mu) / sigma)^2 / 2) / (sigma * sqrt(2 * pi))",
    value_range="[0, 1]",
    params={"mu": 0.707107, "sigma": 0.282095},
    examples=((0.707107, 0.282095), (-1.3, 2.5), (0.1, 0.01), (1000.0, 30.0)),
    cost="erf",
    limits={-inf: 0.0, inf: 1.0},
    monotonicity="increasing",
    lipschitz=1.41421251849,
    source="Ma et al., Mega (2022)",
)
def laplace(x: Any, mu: Any, sigma: Any) -> Any:
    """Normal distribution function with mean `mu` and standard deviation `sigma`; the defaults approximate the squared relu.

    `sigma` is positive; the derivative's tails are right for 1e-10 (float64: 1e-130) and more.
    """
    # exp amplifies the rounding errors of x - mu and of the quotient: they are carried.
    t, low = standardized(x, mu, sigma, pick(x, 15.0, 39.5))
    left = t < 0.0
    a = abs(t)
    a_low = -low if left else low
    p, s = gauss_low(a, a_low)
    r, r_low = normal_tail(a)
    slope = fma(a, r, -DENSITY_64)  # of normal_tail
    e, e_low = grow(r, fma(a_low, slope, r_low), p)
    tail = scale_down(rounded(e, e_low), s)
    return tail if left else 1.0 - tail


@laplace.derivative
def _(x: Any, mu: Any, sigma: Any) -> Any:
    t, low = standardized(x, mu, sigma, pick(x, 16.0, 46.0))
    p, s = gauss_low(t, low)
    e, e_low = grow(DENSITY_64, DENSITY_LOW_64, p)
    return scale_down(divide(e, e_low, sigma, 0.0), s)


@laplace.second_derivative
def _(x: Any, mu: Any, sigma: Any) -> Any:
    t, low = standardized(x, mu, sigma, 46.0)
    p, s = gauss_low(t, low)
    e, e_low = grow(-t, -low, p)
    n, n_low = multiply(e, e_low, DENSITY_64, DENSITY_LOW_64)
    d, d_low = multiply(sigma, 0.0, sigma, 0.0)
    return scale_down(divide(n, n_low, d, d_low), s)


@primitive
def exp_minus_twice(g: Any, g_low: Any) -> Any:
    """exp(-2 g) - 1 and exp(-2 g) as pairs, for g not negative."""
    p, s = exp_split_low(-2.0 * g, -2.0 * g_low, pick(g, POWER_32, POWER_64))
    c = s - 1.0
    e = fma(p, s, c)
    w = fma(p, s, s)
    return e, fma(p, s, c - e), w, fma(p, s, s - w)


@activation(
    formula="x * tanh(x * Phi(x))",
    derivative_formula="tanh(gelu(x)) + x * gelu'(x) * (1 - tanh(gelu(x))^2)",
    value_range="[0, inf)",
    cost="erf",
    limits={-inf: 0.0, inf: inf, -0.0: 0.0},
    roots={"derivative": (-1.1954312,), "second_derivative": (-1.8836660, -0.4704126, 1.2018444)},
    lipschitz=1.298306673306,
    source="Naveen (2022)",
)
def phish(x: Any) -> Any:
    """x * tanh(gelu(x))."""
    a = min(abs(x), pick(x, 15.0, 39.5))
    p, s = gauss(a)
    r, r_low = normal_tail(a)
    e, e_low = exact_grow(r, r_low, p)
    m, m_low = exact_multiply(a, 0.0, e, e_low)
    t = s * pick(x, TINY_32, TINY_64)
    # Left of 0, gelu = -m t is small: a (m t) tanh(m t) / (m t), scaled last.
    square = (m * t) * (m * t)
    n, n_low = multiply(a, 0.0, m, m_low)
    f, f_low = grow(n, n_low, square * poly(square, TANH_32, TANH_64))
    # right, gelu = a - m t
    g, g_low = exact_add(a, 0.0, -m * t, -m_low * t)
    d, d_low, _w, _w_low = exp_minus_twice(g, g_low)
    k, k_low = multiply(a, 0.0, abs(d), -d_low)
    h, h_low = add(2.0, 0.0, d, d_low)
    right = divide(k, k_low, h, h_low)
    return scale_down(rounded(f, f_low), s) if x < 0.0 else (x if x > pick(x, 14.0, 39.0) else right)


@phish.derivative
def _(x: Any) -> Any:
    # With a = abs(x), R = normal_tail(a), y = a R exp(-a^2 / 2) and h = R - a / sqrt(2 pi), the factor of gelu'. In float32 too low parts
    # are carried where terms cancel.
    a = min(abs(x), pick(x, 15.0, 39.5))
    p, s = gauss(a)
    t = s * pick(x, TINY_32, TINY_64)
    r, r_low = normal_tail(a)
    e, e_low = exact_grow(r, r_low, p)
    m, m_low = exact_multiply(a, 0.0, e, e_low)
    y = m * t
    z, z_low = exact_multiply(-a, 0.0, pick(x, DENSITY_32, DENSITY_64), pick(x, DENSITY_LOW_32, DENSITY_LOW_64))
    h, h_low = exact_add(z, z_low, r, r_low)
    # left: -a exp(-a^2 / 2) (R T + (1 - (y T)^2) h) with T = tanh(y) / y = 1 + u
    square = y * y
    u = square * poly(square, TANH_32, TANH_64)
    b, b_low = exact_grow(r, r_low, u)
    c, c_low = exact_grow(h, h_low, -square * fma(u, u + 2.0, 1.0))
    k, k_low = exact_add(b, b_low, c, c_low)
    v, v_low = exact_multiply(-a, 0.0, k, k_low)
    f, f_low = exact_grow(v, v_low, p)
    # right: ((1 - w^2) + 4 a w gelu') / (1 + w)^2 with w = exp(-2 gelu)
    g, g_low = exact_add(a, 0.0, -y, -m_low * t)
    d, d_low, w, w_low = exp_minus_twice(g, g_low)
    i, i_low = grow(h, h_low, p)
    j, j_low = add(1.0, 0.0, -i * t, -i_low * t)
    o, o_low = add(2.0, 0.0, d, d_low)
    n, n_low = multiply(-d, -d_low, o, o_low)
    q, q_low = multiply(4.0 * a, 0.0, j, j_low)
    top, top_low = multiply_add(q, q_low, w, w_low, n, n_low)
    bottom, bottom_low = multiply(o, o_low, o, o_low)
    right = copysign(divide(top, top_low, bottom, bottom_low), x)
    return scale_down(f + f_low, s) if x < 0.0 else right


@phish.second_derivative
def _(x: Any) -> Any:
    # (1 - T^2) (2 g' + x (g'' - 2 T g'^2)) with g = gelu, T = tanh(g) and 1 - T^2 = 4 w / (1 + w)^2, w = exp(-2 abs(g)).
    # Left of 0 g' and g'' are divided by exp(-a^2 / 2), which is the scale there; right it is w.
    left = x < 0.0
    b = min(abs(x), 500.0)
    a = min(b, 39.5)
    p, s = gauss(a)
    t = s * TINY_64
    e, e_low = grow(t, 0.0, p)
    r, r_low = normal_tail(a)
    i, i_low = multiply(e, e_low, r, r_low)
    y, y_low = multiply(a, 0.0, i, i_low)
    g, g_low = add(0.0 if left else b, 0.0, y if left else -y, y_low if left else -y_low)
    u, v = exp_down_low(-2.0 * g, -2.0 * g_low)
    m = 1.0 + u
    w = scale_down(m, v)
    w_low = scale_down(u - (m - 1.0), v)
    z, z_low = add(1.0, 0.0, w, w_low)
    q, q_low = add(1.0, 0.0, -divide(2.0 * w, 2.0 * w_low, z, z_low), 0.0)  # T
    h, h_low = multiply_add(-a, 0.0, DENSITY_64, DENSITY_LOW_64, r, r_low)
    d, d_low = multiply(e, e_low, h, h_low)
    j, j_low = add(1.0, 0.0, -d, -d_low)
    slope = h if left else j
    slope_low = h_low if left else j_low
    square, square_low = multiply(slope, slope_low, slope, slope_low)
    fall, fall_low = multiply(q, q_low, square, square_low)
    bend, bend_low = multiply(DENSITY_64, DENSITY_LOW_64, 1.0 if left else e, 0.0 if left else e_low)
    c, c_low = multiply(bend, bend_low, fma(-a, a, 2.0), 0.0)
    f, f_low = multiply_add(2.0 * e if left else -2.0, 2.0 * e_low if left else 0.0, fall, fall_low, c, c_low)
    k, k_low = multiply_add(-b if left else b, 0.0, f, f_low, 2.0 * slope, 2.0 * slope_low)
    n, n_low = grow(k, k_low, p if left else u)
    return scale_down(4.0 * rounded(n, n_low) / (z * z) * (w if left else 1.0), s if left else v)
