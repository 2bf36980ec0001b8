"""Sigmoids: the logistic function, the hyperbolic tangent and the functions gated by the logistic.

All are written in ``e = exp(-abs(x))``, which never overflows, as one quotient whose scale comes last.
"""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, fma, pick, primitive
from .primitives import HUGE_32, HUGE_64, TINY_32, TINY_64, add, divide, exp_down, exp_down_low, multiply, scale_down
from .primitives import tanh as tanh_primitive

# Where exp(x) has vanished even against the smallest subnormal, with room for a factor x.
GONE_32, GONE_64 = -120.0, -760.0

# The root of 2 e^3 + e^2 - 1 and the quadratic that is left when it is divided out: 2 e^2 + (1 + 2 root) e + root (1 + 2 root).
ROOT_32, ROOT_LOW_32 = 0.6572980880737305, 1.8064645522075056e-08
ROOT_64, ROOT_LOW_64 = 0.657298106138376, -3.5128051753375937e-17
SLOPE, SLOPE_LOW = 2.314596212276752, -7.025610350675187e-17
CONSTANT, CONSTANT_LOW = 1.5213797068045676, -7.945311066828837e-18


@primitive
def exp_pair(p: Any, s: Any) -> Any:
    """exp as a pair from its `exp_down` parts, where a subnormal result may lose digits."""
    t = s * pick(p, TINY_32, TINY_64)
    m = 1.0 + p
    return m * t, (p - (m - 1.0)) * t


@primitive
def logistic(x: Any, low: Any) -> Any:
    """1 / (1 + exp(-(x + low))), with low the rounding error of x."""
    left = x < 0.0
    p, s = exp_down_low(max(-abs(x), pick(x, GONE_32, GONE_64)), low if left else -low)
    e, e_low = exp_pair(p, s)
    d, d_low = add(1.0, 0.0, e, e_low)
    m = 1.0 + p
    q = divide(m if left else 1.0, (p - (m - 1.0)) if left else 0.0, d, d_low)
    return scale_down(q, s if left else pick(x, HUGE_32, HUGE_64))


@primitive
def bell(x: Any) -> Any:
    """(q, s): q * s * TINY = exp(x) / (1 + exp(x))^2 for x <= 0: the logistic's derivative, even in x."""
    p, s = exp_down(max(x, pick(x, GONE_32, GONE_64)))
    e, e_low = exp_pair(p, s)
    h, h_low = add(1.0, 0.0, e, e_low)
    d, d_low = multiply(h, h_low, h, h_low)
    m = 1.0 + p
    return divide(m, p - (m - 1.0), d, d_low), s


@activation(
    formula="1 / (1 + exp(-x))",
    derivative_formula="sigmoid(x) * sigmoid(-x)",
    value_range="[0, 1]",
    aliases=("logistic", "expit"),
    cost="exp",
    limits={-inf: 0.0, inf: 1.0, -0.0: 0.5},
    source="the logistic function, Verhulst (1838)",
)
def sigmoid(x: Any) -> Any:
    """Logistic sigmoid."""
    left = x < 0.0
    p, s = exp_down(max(-abs(x), pick(x, GONE_32, GONE_64)))
    e, e_low = exp_pair(p, s)
    d, d_low = add(1.0, 0.0, e, e_low)
    m = 1.0 + p
    q = divide(m if left else 1.0, (p - (m - 1.0)) if left else 0.0, d, d_low)
    return scale_down(q, s if left else pick(x, HUGE_32, HUGE_64))


@sigmoid.derivative
def _(x: Any) -> Any:
    q, s = bell(-abs(x))
    return scale_down(q, s)


@activation(
    formula="(exp(x) - exp(-x)) / (exp(x) + exp(-x))",
    derivative_formula="1 - tanh(x)^2",
    value_range="[-1, 1]",
    cost="exp",
    limits={-inf: -1.0, inf: 1.0, -0.0: -0.0},
    source="the hyperbolic tangent",
)
def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return tanh_primitive(x)


@tanh.derivative
def _(x: Any) -> Any:
    q, s = bell(-2.0 * abs(x))
    return scale_down(4.0 * q, s)


@activation(
    formula="sigmoid(x) + tanh(x)",
    derivative_formula="sigmoid'(x) + tanh'(x)",
    value_range="[-1, 2]",
    cost="exp",
    limits={-inf: -1.0, inf: 2.0, -0.0: 0.5},
    roots={"value": (-0.4196195,)},
    source="the sum of the two",
)
def sigmoid_tanh(x: Any) -> Any:
    """Sum of the logistic sigmoid and the hyperbolic tangent."""
    # Right of 0: (2 + e - e^3) / ((1 + e) (1 + e^2)); left of it (2 e^3 + e^2 - 1) over the same, whose root is divided out.
    left = x < 0.0
    p, s = exp_down(max(-abs(x), pick(x, GONE_32, GONE_64)))
    e, e_low = exp_pair(p, s)
    square, square_low = multiply(e, e_low, e, e_low)
    h, h_low = add(1.0, 0.0, e, e_low)
    k, k_low = add(1.0, 0.0, square, square_low)
    d, d_low = multiply(h, h_low, k, k_low)
    # left: e - root times 2 e^2 + (1 + 2 root) e + root (1 + 2 root)
    a, a_low = add(e, e_low, pick(x, -ROOT_32, -ROOT_64), pick(x, -ROOT_LOW_32, -ROOT_LOW_64))
    b, b_low = multiply(e, e_low, SLOPE, SLOPE_LOW)
    c, c_low = add(b, b_low, CONSTANT, CONSTANT_LOW)
    f, f_low = add(c, c_low, square + square, square_low + square_low)
    # right: 1 - e^2 times e, plus 2
    g, g_low = add(1.0, 0.0, -square, -square_low)
    n, n_low = multiply(a if left else e, a_low if left else e_low, f if left else g, f_low if left else g_low)
    m, m_low = add(0.0 if left else 2.0, 0.0, n, n_low)
    return divide(m, m_low, d, d_low)


@sigmoid_tanh.derivative
def _(x: Any) -> Any:
    # e (k^2 + 4 e h^2) / (h k)^2 with h = 1 + e, k = 1 + e^2; even in x
    p, s = exp_down(max(-abs(x), pick(x, GONE_32, GONE_64)))
    e, e_low = exp_pair(p, s)
    square, square_low = multiply(e, e_low, e, e_low)
    h, h_low = add(1.0, 0.0, e, e_low)
    k, k_low = add(1.0, 0.0, square, square_low)
    hk, hk_low = multiply(h, h_low, k, k_low)
    d, d_low = multiply(hk, hk_low, hk, hk_low)
    kk, kk_low = multiply(k, k_low, k, k_low)
    hh, hh_low = multiply(h, h_low, h, h_low)
    b, b_low = multiply(4.0 * e, 4.0 * e_low, hh, hh_low)
    c, c_low = add(kk, kk_low, b, b_low)
    m = 1.0 + p
    n, n_low = multiply(m, p - (m - 1.0), c, c_low)
    return scale_down(divide(n, n_low, d, d_low), s)


@activation(
    formula="x * sigmoid(x)",
    derivative_formula="sigmoid(x) * (1 + x * sigmoid(-x))",
    value_range="[-0.2785, inf)",
    aliases=("swish",),
    cost="exp",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-1.2784645,)},
    source="Elfwing, Uchibe and Doya (2017); Ramachandran, Zoph and Le (2017)",
)
def silu(x: Any) -> Any:
    """Sigmoid linear unit."""
    left = x < 0.0
    c = max(x, pick(x, GONE_32, GONE_64))
    p, s = exp_down(max(-abs(c), pick(x, GONE_32, GONE_64)))
    e, e_low = exp_pair(p, s)
    d, d_low = add(1.0, 0.0, e, e_low)
    n = fma(p, c, c)
    q = divide(n if left else c, fma(p, c, c - n) if left else 0.0, d, d_low)
    return (q * (s if left else 1.0)) * (pick(x, TINY_32, TINY_64) if left else 1.0)


@silu.derivative
def _(x: Any) -> Any:
    # left: e (h + x) / h^2, right: (h + x e) / h^2, with h = 1 + e
    left = x < 0.0
    c = min(max(x, pick(x, GONE_32, GONE_64)), pick(x, -GONE_32, -GONE_64))
    p, s = exp_down(-abs(c))
    e, e_low = exp_pair(p, s)
    h, h_low = add(1.0, 0.0, e, e_low)
    d, d_low = multiply(h, h_low, h, h_low)
    a, a_low = multiply(c, 0.0, 1.0 if left else e, 0.0 if left else e_low)
    b, b_low = add(h, h_low, a, a_low)
    m = 1.0 + p if left else 1.0
    n, n_low = multiply(m, p - (m - 1.0) if left else 0.0, b, b_low)
    return scale_down(divide(n, n_low, d, d_low), s if left else pick(x, HUGE_32, HUGE_64))
