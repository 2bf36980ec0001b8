"""Softplus and mish, its gate."""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, fma, pick, primitive
from .primitives import HUGE_32, HUGE_64, TINY_32, TINY_64, add, divide, exp_down, exp_down_low, log1p_unit, multiply, scale_down
from .sigmoids import GONE_32, GONE_64, exp_pair, logistic


@primitive
def product_low(a: Any, b: Any, product: Any) -> Any:
    """The rounding error of a * b, 0 where the product is infinite or NaN."""
    low = fma(a, b, -product)
    return low if abs(product) < pick(a, 1e38, 1e300) else 0.0


@activation(
    formula="log(1 + exp(beta * x)) / beta",
    derivative_formula="sigmoid(beta * x)",
    value_range="[0, inf)",
    params={"beta": 1.0},
    aliases=("soft_relu",),
    cost="erf",
    limits={-inf: 0.0, inf: inf, -0.0: 0.6931471805599453},
    source="Dugas et al. (2001)",
)
def softplus(x: Any, beta: Any) -> Any:
    """Smooth approximation of relu."""
    z = beta * x
    low = product_low(beta, x, z)
    left = z < 0.0
    p, s = exp_down_low(max(-abs(z), pick(x, -131.0, -1060.0)), low if left else -low)
    ratio = log1p_unit(p, s)
    small = fma(p, ratio, ratio) / beta
    scaled = (small * s) * pick(x, TINY_32, TINY_64)
    return scaled if left else x + scaled


@softplus.derivative
def _(x: Any, beta: Any) -> Any:
    z = beta * x
    return logistic(z, product_low(beta, x, z))


@primitive
def mish_parts(x: Any, e: Any, e_low: Any) -> Any:
    """(g, d) as pairs: left of 0 tanh(softplus) = e g / d with g = e + 2, d = e g + 2; right g / d with g = 1 + 2 e, d = g + 2 e^2."""
    left = x < 0.0
    u = e if left else e + e
    u_low = e_low if left else e_low + e_low
    g, g_low = add(2.0 if left else 1.0, 0.0, u, u_low)
    h, h_low = multiply(u, u_low, g if left else e, g_low if left else e_low)
    d, d_low = add(2.0 if left else g, 0.0 if left else g_low, h, h_low)
    return g, g_low, d, d_low


@activation(
    formula="x * tanh(softplus(x))",
    derivative_formula="tanh(softplus(x)) + x * sigmoid(x) * (1 - tanh(softplus(x))^2)",
    value_range="[-0.3089, inf)",
    cost="exp",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-1.1924344,)},
    source="Misra (2019)",
)
def mish(x: Any) -> Any:
    """Self-regularised non-monotonic activation."""
    # tanh(softplus(x)) = w (w + 2) / (w (w + 2) + 2) with w = exp(x); right of 0 both sides are divided by w^2.
    left = x < 0.0
    c = max(x, pick(x, GONE_32, GONE_64))
    p, s = exp_down(max(-abs(c), pick(x, GONE_32, GONE_64)))
    e, e_low = exp_pair(p, s)
    g, g_low, d, d_low = mish_parts(x, e, e_low)
    w = fma(p, c, c)
    n, n_low = multiply(w if left else c, fma(p, c, c - w) if left else 0.0, g, g_low)
    q = divide(n, n_low, d, d_low)
    return (q * (s if left else 1.0)) * (pick(x, TINY_32, TINY_64) if left else 1.0)


@mish.derivative
def _(x: Any) -> Any:
    # left: e (g d + 4 x (1 + e)) / d^2, right: (g d + 4 x e^2 (1 + e)) / d^2
    left = x < 0.0
    c = min(max(x, pick(x, GONE_32, GONE_64)), pick(x, -GONE_32, -GONE_64))
    p, s = exp_down(-abs(c))
    e, e_low = exp_pair(p, s)
    g, g_low, d, d_low = mish_parts(x, e, e_low)
    h, h_low = add(1.0, 0.0, e, e_low)
    square, square_low = multiply(e, e_low, e, e_low)
    a, a_low = multiply(4.0 * c, 0.0, h, h_low)
    b, b_low = multiply(a, a_low, 1.0 if left else square, 0.0 if left else square_low)
    gd, gd_low = multiply(g, g_low, d, d_low)
    f, f_low = add(gd, gd_low, b, b_low)
    m = 1.0 + p if left else 1.0
    n, n_low = multiply(m, p - (m - 1.0) if left else 0.0, f, f_low)
    dd, dd_low = multiply(d, d_low, d, d_low)
    return scale_down(divide(n, n_low, dd, dd_low), s if left else pick(x, HUGE_32, HUGE_64))
