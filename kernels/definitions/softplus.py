"""Softplus and mish, its gate."""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, bits, copysign, fma, from_bits, max, min, pick, primitive
from .primitives import (
    TINY_32,
    TINY_64,
    add,
    divide,
    exact_divide,
    exact_grow,
    exp_down,
    exp_down_low,
    expm1_down,
    grow,
    log1p_unit,
    multiply,
    multiply_add,
    scale_down,
)
from .sigmoids import GONE_32, GONE_64, exp_pair, logistic

# exp(-FAR) has vanished against the smallest subnormal, even divided by 1e-12 (float64: 1e-130); `exp_down` reaches as far.
FAR_32, FAR_64, FAR_WIDE = 131.0, 1060.0, 131.0


@primitive
def product_low(a: Any, b: Any, product: Any) -> Any:
    """The rounding error of -abs(a * b), to go into an exponential; 0 where that has vanished and the error may be large or NaN."""
    low = fma(-abs(a), abs(b), abs(product))
    return low if abs(product) < pick(a, FAR_32, FAR_64) else 0.0


@activation(
    formula="(max(beta * x, 0) + log1p(exp(-abs(beta * x)))) / beta",
    display="log(1 + exp(beta * x)) / beta",
    derivative_formula="sigmoid(beta * x)",
    value_range="[0, inf)",
    params={"beta": 1.0},
    examples=((1.0,), (0.5,), (3.0,), (-1.0,)),
    aliases=("soft_relu",),
    cost="erf",
    limits={-inf: 0.0, inf: inf, -0.0: 0.6931471805599453},
    monotonicity="increasing",
    lipschitz=1.0,
    bound=3.0,
    output_requires="beta != 0",
    source="Dugas et al. (2001)",
)
def softplus(x: Any, beta: Any) -> Any:
    """Smooth approximation of relu.

    For a negative `beta` it is that of min(x, 0). At beta = 0 it is infinite with the sign of `beta`, and NaN for infinite x. Its
    lower tail is right for abs(beta) of 1e-12 (float64: 1e-130) and more.
    """
    # exp(-abs(beta x)) with the product's rounding error; what x is beyond does no harm
    b = abs(beta)
    a = min(abs(x), pick(x, FAR_32, FAR_64) / b)
    z = b * a
    p, s = exp_down_low(-z, fma(-b, a, z))
    ratio = log1p_unit(p, s)
    turn = bits(beta) - bits(b)  # the sign of beta, to be given and taken
    ramp = from_bits(bits(max(from_bits(bits(x) + turn), 0.0)) + turn)
    return fma(fma(p, ratio, ratio) * s, pick(x, TINY_32, TINY_64) / beta, ramp)


@softplus.float64
def _(x: Any, beta: Any) -> Any:
    z = beta * x
    left = z < 0.0
    p, s = exp_down_low(max(-abs(z), pick(x, -FAR_32, -FAR_64)), product_low(beta, x, z))
    ratio = log1p_unit(p, s)
    small = fma(p, ratio, ratio) / beta
    scaled = (small * s) * pick(x, TINY_32, TINY_64)
    return scaled if left else x + scaled


@softplus.derivative
def _(x: Any, beta: Any) -> Any:
    z = beta * x
    p, s = exp_down_low(max(-abs(z), pick(x, GONE_32, GONE_64)), product_low(beta, x, z))
    return logistic(z, p, s)


@softplus.second_derivative
def _(x: Any, beta: Any) -> Any:
    # beta e / (1 + e)^2 with e = exp(-abs(beta x))
    z = beta * x
    p, s = exp_down_low(max(-abs(z), pick(x, GONE_32, GONE_64)), product_low(beta, x, z))
    e, e_low = exp_pair(p, s)
    d, d_low = add(1.0, 0.0, e, e_low)
    square, square_low = multiply(d, d_low, d, d_low)
    return scale_down(divide(fma(p, beta, beta), 0.0, square, square_low), s)


@softplus.derivative_from_output
def _(y: Any, beta: Any) -> Any:
    # 1 - exp(-beta y), where beta y is not negative
    return abs(expm1_down(-abs(beta * y)))


@activation(
    formula="x * tanh(softplus(x))",
    derivative_formula="tanh(softplus(x)) + x * sigmoid(x) * (1 - tanh(softplus(x))^2)",
    value_range="[-0.3089, inf)",
    cost="exp",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-1.1924312,), "second_derivative": (-2.2563764, 1.4905712)},
    lipschitz=1.08849816126,
    bound=3.0,
    source="Misra (2019)",
)
def mish(x: Any) -> Any:
    """Self-regularised non-monotonic activation."""
    # With e = exp(x) and d = e (e + 2) + 2: x e (1 - e (e + 1) / d) left of 0, scaled last; x (1 - 2 / d) right of it.
    left = x < 0.0
    c = max(x, pick(x, GONE_32, GONE_64))
    a = min(c, 20.0)  # where 1 / d has vanished
    p, s = exp_down(a)
    t = s * pick(x, TINY_32, TINY_64)
    e = fma(p, t, t)
    q = (fma(e, e, e) if left else 2.0) / fma(e, e + 2.0, 2.0)
    w = fma(p, c, c)
    y = fma(-(w if left else a), q, w if left else x)
    scaled = (y * (s if left else 1.0)) * (pick(x, TINY_32, TINY_64) if left else 1.0)
    return copysign(scaled, x)  # a difference of zeros is +0


@mish.float64
def _(x: Any) -> Any:
    # tanh(softplus(x)) = w (w + 2) / (w (w + 2) + 2) with w = exp(x); right of 0 both sides are divided by w^2.
    left = x < 0.0
    c = max(x, pick(x, GONE_32, GONE_64))
    p, s = exp_down(max(-abs(c), pick(x, GONE_32, GONE_64)))
    e, e_low = exp_pair(p, s)
    u = e if left else e + e
    u_low = e_low if left else e_low + e_low
    # tanh(softplus) is e g / d left of 0 with g = 2 + e, d = 2 + e g; right g / d with g = 1 + 2 e, d = g + 2 e^2
    g, g_low = add(2.0 if left else 1.0, 0.0, u, u_low)
    k = 2.0 if left else g
    v = g if left else e
    d = fma(u, v, k)
    d_low = fma(u, v, k - d) + (fma(u, g_low, u_low * g) if left else fma(u, e_low, fma(u_low, e, g_low)))
    w = fma(p if left else 0.0, c, c)
    w_low = fma(p if left else 0.0, c, c - w)
    w2 = w + w if left else w
    n = fma(w, u, w2)  # w g
    n_low = fma(w, u, w2 - n) + fma(w, u_low, w_low * g)
    q = exact_divide(n, n_low, d, d_low)
    scaled = (q * (s if left else 1.0)) * (pick(x, TINY_32, TINY_64) if left else 1.0)
    return x if x > pick(x, 20.0, 45.0) else scaled  # where tanh(softplus) is 1; infinity needs it


@mish.derivative
def _(x: Any) -> Any:
    a = min(max(x, pick(x, GONE_32, GONE_64)), pick(x, -GONE_32, -GONE_64))
    p, s = exp_down(-abs(a))
    e, e_low = exp_pair(p, s)
    n, n_low, d, d_low = mish_slope(a, e, e_low)
    f, f_low = exact_grow(n, n_low, p)
    left = scale_down(exact_divide(f, f_low, d, d_low), s)
    return left if x < 0.0 else 1.0 - left * e


@mish.derivative_brief
def _(x: Any) -> Any:
    # e (e + 2 + 4 x (e + 1) / d) / d for d = (e + 1)^2 + 1; written otherwise, one bfloat16 is rounded the other way than on the CPU
    a = min(max(x, GONE_32), 20.0)
    p, s = exp_down(a)
    t = s * TINY_32
    e = fma(p, t, t)
    u = e + 1.0
    d = fma(u, u, 1.0)
    r = 1.0 / d
    f = r * fma(r * (4.0 * a), u, u + 1.0)
    return scale_down(fma(p, f, f), s)


@mish.second_derivative
def _(x: Any) -> Any:
    # 4 e (4 + 8 e + 6 e^2 + 2 e^3 + x (2 + 2 e - 3 e^2 - 2 e^3)) / (2 + 2 e + e^2)^3 left of 0
    # 4 e^2 (2 + 6 e + 8 e^2 + 4 e^3 - x (2 + 3 e - 2 e^2 - 2 e^3)) / (1 + 2 e + 2 e^2)^3 right of it
    left = x < 0.0
    a = min(max(x, GONE_64), -GONE_64)
    p, s = exp_down(-abs(a))
    e, e_low = exp_pair(p, s)
    u = e if left else e + e
    f = fma(u, fma(u, fma(u, 2.0, 6.0), 8.0), 4.0) if left else fma(u, fma(u, fma(u, 0.5, 2.0), 3.0), 2.0)
    b = fma(u, fma(u, fma(u, -2.0, -3.0), 2.0), 2.0) if left else fma(u, fma(u, fma(u, 0.25, 0.5), -1.5), -2.0)
    n, n_low = grow(fma(a, b, f), 0.0, p)
    v, v_low = add(e, e_low, 2.0 if left else 1.0, 0.0)
    d, d_low = multiply_add(u, e_low if left else e_low + e_low, v, v_low, 2.0 if left else 1.0, 0.0)
    square, square_low = multiply(d, d_low, d, d_low)
    cube, cube_low = multiply(square, square_low, d, d_low)
    return scale_down(4.0 * divide(n, n_low, cube, cube_low) * (1.0 if left else e), s)


@primitive
def mish_slope(x: Any, e: Any, e_low: Any) -> Any:
    """(n, d) as pairs: mish'(x) = e n / d left of 0, 1 - e^2 n / d right of it."""
    # left: (4 (1 + x) + e (6 + 4 x + e (4 + e))) / (2 + 2 e + e^2)^2: what cancels is exact
    # right: (2 - 4 x + e (4 - 4 x + 4 e)) / (1 + 2 e + 2 e^2)^2
    left = x < 0.0
    a = fma(4.0, x, 6.0) if left else fma(-4.0, x, 4.0)
    b = fma(4.0, x, 4.0) if left else fma(-4.0, x, 2.0)
    c = fma(e, 4.0 + e if left else 4.0, a)
    n = fma(e, c, b)
    u = e if left else e + e
    k = 2.0 if left else 1.0
    w = u + k if left else e + 1.0
    d = fma(u, w, k)
    d_low = fma(u, w, k - d) + fma(e_low if left else e_low + e_low, w, u * e_low)
    square = d * d
    return n, fma(e_low, c, fma(e, c, b - n)), square, fma(d, d, -square) + (d + d) * d_low


@mish_slope.float64
def _(x: Any, e: Any, e_low: Any) -> Any:
    left = x < 0.0
    x4 = 4.0 * x
    b, b_low = add(x4 if left else -x4, 0.0, 4.0 if left else 2.0, 0.0)
    a, a_low = add(x4 if left else -x4, 0.0, 6.0 if left else 4.0, 0.0)
    f, f_low = multiply_add(e, e_low, e if left else 4.0, e_low if left else 0.0, a, a_low)
    g, g_low = multiply_add(4.0, 0.0, e if left else 0.0, e_low if left else 0.0, f, f_low)
    n, n_low = multiply_add(e, e_low, g, g_low, b, b_low)
    u = e if left else e + e
    u_low = e_low if left else e_low + e_low
    v, v_low = add(e, e_low, 2.0 if left else 1.0, 0.0)
    d, d_low = multiply_add(u, u_low, v, v_low, 2.0 if left else 1.0, 0.0)
    square, square_low = multiply(d, d_low, d, d_low)
    return n, n_low, square, square_low
