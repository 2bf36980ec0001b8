"""Sigmoids: the logistic function, the hyperbolic tangent and the functions gated by the logistic.

All are written in ``e = exp(-abs(x))``, which never overflows, as one quotient whose scale comes last.
"""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, copysign, fma, max, min, pick, primitive
from .primitives import (
    HUGE_32,
    HUGE_64,
    TINY_32,
    TINY_64,
    UP_32,
    UP_64,
    add,
    divide,
    exact_add,
    exact_divide,
    exact_multiply,
    exp_down,
    exp_down_pair,
    exp_split,
    exp_up_scaled,
    expm1_down,
    grow,
    multiply,
    multiply_add,
    scale_down,
)
from .primitives import tanh as tanh_primitive

# Where exp(x) has vanished even against the smallest subnormal, with room for a factor x.
GONE_32, GONE_64, GONE_WIDE = -120.0, -760.0, -120.0

# The root of 2 e^3 + e^2 - 1 and the quadratic that is left when it is divided out: 2 e^2 + (1 + 2 root) e + root (1 + 2 root).
ROOT_32, ROOT_LOW_32 = 0.6572980880737305, 1.8064645522075056e-08
ROOT_64, ROOT_LOW_64 = 0.657298106138376, -3.5128051753375937e-17
SLOPE_32, SLOPE_LOW_32 = 2.314596176147461, 3.612929104415011e-08
SLOPE_64, SLOPE_LOW_64 = 2.314596212276752, -7.025610350675187e-17
CONSTANT_32, CONSTANT_LOW_32 = 1.5213797092437744, -2.439206844458419e-09
CONSTANT_64, CONSTANT_LOW_64 = 1.5213797068045676, -7.945311066828837e-18


@primitive
def exp_pair(p: Any, s: Any) -> Any:
    """exp as a pair from its `exp_down` parts, where a subnormal result may lose digits."""
    t = s * pick(p, TINY_32, TINY_64)
    m = 1.0 + p
    return m * t, (p - (m - 1.0)) * t


@primitive
def logistic(x: Any, p: Any, s: Any) -> Any:
    """1 / (1 + exp(-x)), from the parts of exp(-abs(x))."""
    left = x < 0.0
    e, e_low = exp_pair(p, s)
    d, d_low = add(1.0, 0.0, e, e_low)
    m = 1.0 + p
    q = divide(m if left else 1.0, (p - (m - 1.0)) if left else 0.0, d, d_low)
    return scale_down(q, s if left else pick(x, HUGE_32, HUGE_64))


@primitive
def bell_fraction(c: Any, p: Any, s: Any) -> Any:
    """q with q * s * TINY = c e / (1 + e)^2, from the parts of e = exp(-abs(x)): c times the logistic's derivative."""
    n, n_low = grow(c, 0.0, p)
    e, e_low = exp_pair(p, s)
    g, g_low = add(2.0, 0.0, e, e_low)
    d, d_low = multiply_add(e, e_low, g, g_low, 1.0, 0.0)
    return divide(n, n_low, d, d_low)


@primitive
def bell(x: Any) -> Any:
    """(q, s): q * s * TINY = exp(x) / (1 + exp(x))^2 for x <= 0: the logistic's derivative, even in x."""
    p, s = exp_down(max(x, pick(x, GONE_32, GONE_64)))
    return bell_fraction(1.0, p, s), s


@activation(
    formula="1 / (1 + exp(-x))",
    derivative_formula="sigmoid(x) * sigmoid(-x)",
    value_range="[0, 1]",
    aliases=("logistic", "expit"),
    cost="exp",
    limits={-inf: 0.0, inf: 1.0, -0.0: 0.5},
    monotonicity="increasing",
    lipschitz=0.25,
    bound=3.0,
    source="the logistic function, Verhulst (1838)",
)
def sigmoid(x: Any) -> Any:
    """Logistic sigmoid."""
    # The scale of the exponential stands in both parts of the quotient, whose only rounding is the result's.
    m, s = exp_up_scaled(-min(max(x, pick(x, GONE_32, GONE_64)), 40.0))
    return pick(x, TINY_32, TINY_64) / fma(m, s, pick(x, TINY_32, TINY_64))


@sigmoid.float64
def _(x: Any) -> Any:
    p, s = exp_down(max(-abs(x), pick(x, GONE_32, GONE_64)))
    return logistic(x, p, s)


@sigmoid.derivative
def _(x: Any) -> Any:
    q, s = bell(-abs(x))
    return scale_down(q, s)


@sigmoid.second_derivative
def _(x: Any) -> Any:
    # e (e - 1) / (1 + e)^3, odd in x
    a = min(abs(x), -GONE_64)
    p, s = exp_down(-a)
    e, e_low = exp_pair(p, s)
    n, n_low = grow(-expm1_down(-a), 0.0, p)
    d, d_low = add(1.0, 0.0, e, e_low)
    square, square_low = multiply(d, d_low, d, d_low)
    cube, cube_low = multiply(square, square_low, d, d_low)
    return copysign(scale_down(exact_divide(n, n_low, cube, cube_low), s), -x)


@sigmoid.derivative_from_output
def _(y: Any) -> Any:
    return y * (1.0 - y)


@activation(
    formula="(exp(x) - exp(-x)) / (exp(x) + exp(-x))",
    derivative_formula="1 - tanh(x)^2",
    value_range="[-1, 1]",
    cost="exp",
    limits={-inf: -1.0, inf: 1.0, -0.0: -0.0},
    source="the hyperbolic tangent",
    monotonicity="increasing",
    lipschitz=1.0,
    bound=3.0,
)
def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return tanh_primitive(x)


@tanh.derivative
def _(x: Any) -> Any:
    q, s = bell(-2.0 * abs(x))
    return scale_down(4.0 * q, s)


@tanh.second_derivative
def _(x: Any) -> Any:
    # -8 e (1 - e) / (1 + e)^3 with e = exp(-2 abs(x))
    p, s = exp_down(max(-2.0 * abs(x), GONE_64))
    t = s * TINY_64
    u = fma(-p, t, 1.0 - t)
    h = 1.0 + t
    d = fma(p, t, h)
    d_low = fma(p, t, h - d)
    q = 8.0 * fma(p, u, u) / fma(3.0 * d * d, d_low, d * d * d)
    return copysign(scale_down(q, s), -x)


@tanh.derivative_from_output
def _(y: Any) -> Any:
    return (1.0 - y) * (1.0 + y)


@activation(
    formula="sigmoid(x) + tanh(x)",
    derivative_formula="sigmoid'(x) + tanh'(x)",
    value_range="[-1, 2]",
    cost="exp",
    limits={-inf: -1.0, inf: 2.0, -0.0: 0.5},
    roots={"value": (-0.4196195,)},
    source="the sum of the two",
    monotonicity="increasing",
    lipschitz=1.25,
    bound=3.0,
)
def sigmoid_tanh(x: Any) -> Any:
    """Sum of the logistic sigmoid and the hyperbolic tangent."""
    # Right of 0: (2 + e - e^3) / ((1 + e) (1 + e^2)); left of it (2 e^3 + e^2 - 1) over the same, whose root is divided out. In
    # float32 too with low parts: next to the root half of the digits cancel.
    left = x < 0.0
    p, p_low, s = exp_down_pair(max(-abs(x), pick(x, GONE_32, GONE_64)))
    t = s * pick(x, TINY_32, TINY_64)
    e = fma(p, t, t)
    e_low = fma(p, t, t - e) + p_low * t
    square, square_low = exact_multiply(e, e_low, e, e_low)
    h, h_low = exact_add(1.0, 0.0, e, e_low)
    k, k_low = exact_add(1.0, 0.0, square, square_low)
    d, d_low = exact_multiply(h, h_low, k, k_low)
    # left: e - root times 2 e^2 + (1 + 2 root) e + root (1 + 2 root)
    a, a_low = exact_add(e, e_low, pick(x, -ROOT_32, -ROOT_64), pick(x, -ROOT_LOW_32, -ROOT_LOW_64))
    b, b_low = exact_multiply(e, e_low, pick(x, SLOPE_32, SLOPE_64), pick(x, SLOPE_LOW_32, SLOPE_LOW_64))
    c, c_low = exact_add(b, b_low, pick(x, CONSTANT_32, CONSTANT_64), pick(x, CONSTANT_LOW_32, CONSTANT_LOW_64))
    f, f_low = exact_add(c, c_low, square + square, square_low + square_low)
    # right: 1 - e^2 times e, plus 2
    g, g_low = exact_add(1.0, 0.0, -square, -square_low)
    n, n_low = exact_multiply(a if left else e, a_low if left else e_low, f if left else g, f_low if left else g_low)
    m, m_low = exact_add(0.0 if left else 2.0, 0.0, n, n_low)
    return exact_divide(m, m_low, d, d_low)


@sigmoid_tanh.derivative
def _(x: Any) -> Any:
    # e (1 / (1 + e)^2 + 4 e / (1 + e^2)^2), even in x
    p, s = exp_down(max(-abs(x), pick(x, GONE_32, GONE_64)))
    e, e_low = exp_pair(p, s)
    return scale_down(sigmoid_tanh_slope(e, e_low, p), s)


@sigmoid_tanh.second_derivative
def _(x: Any) -> Any:
    # -e (1 - e) (1 / (1 + e)^3 + 8 e (1 + e) / (1 + e^2)^3), odd in x
    p, s = exp_down(max(-abs(x), GONE_64))
    t = s * TINY_64
    e = fma(p, t, t)
    e_low = fma(p, t, t - e)
    u = fma(-p, t, 1.0 - t)
    h = 1.0 + e
    k = fma(e, e, 1.0)
    # The reciprocals, and the relative errors they were left with.
    a = 1.0 / h
    b = 1.0 / k
    a_rest = fma(-a, h, 1.0) - a * ((e - (h - 1.0)) + e_low)
    b_rest = fma(-b, k, 1.0) - b * (fma(e, e, 1.0 - k) + 2.0 * e * e_low)
    cube = a * a * a
    c = 8.0 * h * (b * b * b)
    q = cube + fma(c, e, fma(3.0 * cube, a_rest, c * fma(3.0 * e, b_rest, e_low)))
    return copysign(scale_down(fma(p, u, u) * q, s), -x)


@primitive
def sigmoid_tanh_slope(e: Any, e_low: Any, p: Any) -> Any:
    """(1 + p) * (1 / (1 + e)^2 + 4 e / (1 + e^2)^2)."""
    square = e * e
    d = fma(e, e + 2.0, 1.0)
    a = 1.0 / d
    b = e / fma(square, fma(square, 0.25, 0.5), 0.25)
    # a + b rounded is good enough for the product with p; to the sum itself, the remainder of the first division returns.
    return a + fma(a, fma(-a, d, 1.0), fma(p, a + b, b))


@sigmoid_tanh_slope.float64
def _(e: Any, e_low: Any, p: Any) -> Any:
    square, square_low = multiply(e, e_low, e, e_low)
    h, h_low = add(1.0, 0.0, e, e_low)
    k, k_low = add(1.0, 0.0, square, square_low)
    hk, hk_low = multiply(h, h_low, k, k_low)
    d, d_low = multiply(hk, hk_low, hk, hk_low)
    kk, kk_low = multiply(k, k_low, k, k_low)
    hh, hh_low = multiply(h, h_low, h, h_low)
    b, b_low = multiply(4.0 * e, 4.0 * e_low, hh, hh_low)
    n, n_low = add(kk, kk_low, b, b_low)
    f, f_low = grow(n, n_low, p)
    return exact_divide(f, f_low, d, d_low)


@primitive
def divide_large(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    """`divide` for any `a`, infinity too."""
    return a / b


@divide_large.float64
def _(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    q = exact_divide(a, a_low, b, b_low)
    return q if abs(a) <= 1.7976931348623157e308 else a


@primitive
def gate(c: Any, u: Any, p: Any, s: Any) -> Any:
    """c / (1 + exp(-u)) from the parts of exp(-abs(u)); c may be infinite only where u > 0."""
    left = u < 0.0
    e, e_low = exp_pair(p, s)
    d, d_low = add(1.0, 0.0, e, e_low)
    n = fma(p, c, c)
    q = divide_large(n if left else c, fma(p, c, c - n) if left else 0.0, d, d_low)
    return (q * (s if left else 1.0)) * (pick(c, TINY_32, TINY_64) if left else 1.0)


@primitive
def gate_quick(x: Any, c: Any, m: Any, s: Any) -> Any:
    """x / (1 + exp(-u)) for results in float32, from the parts of exp(-u) / TINY; c is x, or where the result has vanished a number."""
    quotient = (c / fma(m, s, pick(x, TINY_32, TINY_64))) * pick(x, TINY_32, TINY_64)
    return min(quotient, abs(x))  # which it exceeds where the scale made it infinite


@primitive
def less_pair(a: Any, b: Any, b_low: Any) -> Any:
    """The pair a - (b + b_low)."""
    return (a - b) - b_low, 0.0


@less_pair.float64
def _(a: Any, b: Any, b_low: Any) -> Any:
    return exact_add(a, 0.0, -b, -b_low)


@primitive
def gate_slope(v: Any, v_low: Any, p: Any, s: Any) -> Any:
    """q with q * s * TINY = e (1 + e - v) / (1 + e)^2, from the parts of e = exp(-abs(u)).

    With v = x u'(x) that is the derivative of x / (1 + exp(-u(x))) for an odd u and x < 0; right of 0 it is one less the same.
    """
    t = s * pick(v, TINY_32, TINY_64)
    e, e_low = exp_pair(p, s)
    # 1 + t - v is exact where v = x is about to cancel it; what is added to it is small.
    b, b_low = less_pair(1.0 + t, v, v_low)
    f, f_low = multiply_add(p, 0.0, t, 0.0, b, b_low)
    n, n_low = grow(f, f_low, p)
    h = 1.0 + e
    h_low = (e - (h - 1.0)) + e_low
    d = h * h
    return exact_divide(n, n_low, d, fma(h, h, -d) + (h + h) * h_low)


@primitive
def gate_slopes(x: Any, v: Any, v_low: Any, p: Any, s: Any) -> Any:
    """The derivative of x / (1 + exp(-u(x))) for an odd u, with v = x u'(x), from the parts of exp(-abs(u))."""
    q = gate_slope(v, v_low, p, s)
    return scale_down(q, s) if x < 0.0 else 1.0 - q * (s * pick(x, TINY_32, TINY_64))


@primitive
def gate_slopes_quick(x: Any, v: Any, v_low: Any, p: Any, s: Any) -> Any:
    """`gate_slopes` with one rounding more in each part: up to 3.6 ULP in float32."""
    t = s * pick(x, TINY_32, TINY_64)
    e = fma(p, t, t)
    f = fma(p, t, ((1.0 + t) - v) - v_low)  # the difference is exact where v = x is about to cancel it
    q = fma(p, f, f) / fma(e, e + 2.0, 1.0)
    return scale_down(q, s) if x < 0.0 else 1.0 - q * t


@gate_slopes_quick.float64
def _(x: Any, v: Any, v_low: Any, p: Any, s: Any) -> Any:
    return gate_slopes(x, v, v_low, p, s)


@primitive
def gate_bend(a: Any, a_low: Any, b: Any, b_low: Any, p: Any, s: Any) -> Any:
    """e ((1 + e) a - (1 - e) b) / (1 + e)^3 from the parts of e: s'(u) (a - b tanh(u / 2)); in float64."""
    e, e_low = exp_pair(p, s)
    d, d_low = add(1.0, 0.0, e, e_low)
    # a - b + e (a + b)
    m, m_low = add(a, a_low, -b, -b_low)
    w, w_low = add(a, a_low, b, b_low)
    f, f_low = multiply_add(e, e_low, w, w_low, m, m_low)
    n, n_low = grow(f, f_low, p)
    square, square_low = multiply(d, d_low, d, d_low)
    cube, cube_low = multiply(square, square_low, d, d_low)
    return scale_down(exact_divide(n, n_low, cube, cube_low), s)


@activation(
    formula="x * sigmoid(x)",
    derivative_formula="sigmoid(x) * (1 + x * sigmoid(-x))",
    value_range="[-0.2785, inf)",
    aliases=("swish", "swish1"),
    cost="exp",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-1.2784645,), "second_derivative": (-2.3993573, 2.3993573)},
    lipschitz=1.09983932013,
    bound=3.0,
    source="Elfwing, Uchibe and Doya (2017); Ramachandran, Zoph and Le (2017)",
)
def silu(x: Any) -> Any:
    """Sigmoid linear unit."""
    c = max(x, pick(x, GONE_32, GONE_64))
    m, s = exp_up_scaled(-min(c, 40.0))
    return gate_quick(x, c, m, s)


@silu.float64
def _(x: Any) -> Any:
    c = max(x, pick(x, GONE_32, GONE_64))
    p, s = exp_down(max(-abs(c), pick(x, GONE_32, GONE_64)))
    return gate(c, c, p, s)


@silu.derivative
def _(x: Any) -> Any:
    a = min(abs(x), pick(x, -GONE_32, -GONE_64))
    p, s = exp_down(-a)
    return gate_slopes_quick(x, a, 0.0, p, s)


@primitive
def silu_gate(x: Any) -> Any:
    """silu and its derivative as factors of products (`cpu/pipeline.hpp`), in float32 only: one exponential, one division.

    Value within 3 ULP. Derivative within 5 ULP, or 2^-24 next to its root; the exact form costs twice as much.
    """
    c = min(max(x, -131.0), 42.0)  # from 42 on it is x itself
    p, s = exp_split(-c, pick(x, UP_32, UP_64))
    e = fma(p, s, s)  # exp(-x) and 1 + exp(-x), both times TINY
    r = 1.0 / (e + pick(x, TINY_32, TINY_64))
    value = (c * r) * pick(x, TINY_32, TINY_64)
    slope = (r * fma(c, e * r, 1.0)) * pick(x, TINY_32, TINY_64)
    return x if x > 42.0 else value, slope


@silu.second_derivative
def _(x: Any) -> Any:
    # s'(x) (2 - x tanh(x / 2)), even in x
    a = min(abs(x), -GONE_64)
    p, s = exp_down(-a)
    return gate_bend(2.0, 0.0, a, 0.0, p, s)
