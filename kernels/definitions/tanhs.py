"""The family of the hyperbolic tangent.

All are written in ``e = exp(-2 abs(z))``, z being x or a multiple of it: tanh(abs(z)) = (1 - e) / (1 + e). Where z is a rounded
product or quotient its rounding error goes into the exponential too.
"""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, copysign, fma, max, min, pick, poly, primitive
from .primitives import (
    LN2_HIGH_32,
    LN2_HIGH_64,
    LN2_LOW_32,
    LN2_LOW_64,
    TINY_32,
    TINY_64,
    add,
    divide,
    exact_divide,
    exact_multiply,
    exp_down,
    exp_down_low,
    exp_down_pair,
    grow,
    log1p_unit,
    multiply,
    multiply_add,
    scale_down,
)
from .primitives import tanh as tanh_primitive
from .sigmoids import GONE_32, GONE_64, bell, exp_pair
from .softplus import FAR_32, FAR_64, product_low

# log(cosh(x)) = x^2 / 2 + x^4 * LOGCOSH(x^2), abs(x) <= 0.7, relative error of the whole: 2^-28.7, 2^-56.4
LOGCOSH_32 = (
    -0.083333224,
    0.022219015,
    -0.0067150407,
    0.002053229,
    -0.00046230483,
)
LOGCOSH_64 = (
    -0.08333333333333144,
    0.022222222221996327,
    -0.00674603173663846,
    0.0021869486583437586,
    -0.000738600594124163,
    0.00025656244627399026,
    -9.089798792901582e-05,
    3.246722993349343e-05,
    -1.1240667352174899e-05,
    3.319525956272783e-06,
    -5.89306339061825e-07,
)
# x^3 / (x - tanh(x)) = 3 + x^2 * SHRINK(x^2), abs(x) <= 1.25, relative error of the whole: 2^-28.3, 2^-57.4
SHRINK_32 = (
    1.1999998,
    -0.0057130596,
    0.00025149822,
    -1.0208451e-05,
)
SHRINK_64 = (
    1.1999999999999986,
    -0.005714285714248472,
    0.0002539682536242669,
    -1.2203667796623704e-05,
    5.987623721764793e-07,
    -2.955907346871899e-08,
    1.4570576572696677e-09,
    -6.908990044018155e-11,
    2.480877409401481e-12,
)


@primitive
def decay(w: Any, low: Any) -> Any:
    """(p, s) of `exp_down` for exp(w + low), w <= 0."""
    return exp_down_low(max(w, pick(w, GONE_32, GONE_64)), low)


@primitive
def one_less(p: Any, s: Any) -> Any:
    """The pair 1 - e, with its relative accuracy next to 0, from the parts of e."""
    t = s * pick(p, TINY_32, TINY_64)
    c = 1.0 - t
    u = fma(-p, t, c)
    return u, fma(-p, t, c - u)


@primitive
def one_more(p: Any, s: Any) -> Any:
    """The pair 1 + e."""
    t = s * pick(p, TINY_32, TINY_64)
    h = 1.0 + t
    d = fma(p, t, h)
    return d, fma(p, t, h - d) + (t - (h - 1.0))


@primitive
def one_more_squared(p: Any, s: Any) -> Any:
    """The pair (1 + e)^2 = 1 + e (2 + e)."""
    e, e_low = exp_pair(p, s)
    g, g_low = add(2.0, 0.0, e, e_low)
    return multiply_add(e, e_low, g, g_low, 1.0, 0.0)


@primitive
def tanh_times(c: Any, z: Any, low: Any) -> Any:
    """c * tanh(z), where low is the rounding error of -2 * abs(z)."""
    p, s = decay(-2.0 * abs(z), low)
    u, u_low = one_less(p, s)
    d, d_low = one_more(p, s)
    n, n_low = multiply(c * copysign(1.0, z), 0.0, u, u_low)
    return divide(n, n_low, d, d_low)


@primitive
def slope_times(c: Any, c_low: Any, w: Any, low: Any) -> Any:
    """c * (1 - tanh(z)^2), where w + low is -2 * abs(z)."""
    p, s = decay(w, low)
    n, n_low = grow(c, c_low, p)
    d, d_low = one_more_squared(p, s)
    return scale_down(4.0 * divide(n, n_low, d, d_low), s)


@primitive
def bend_times(c: Any, w: Any, low: Any) -> Any:
    """2 c * tanh(z) * (1 - tanh(z)^2) for z >= 0, where w + low is -2 z: minus the second derivative of c * tanh."""
    p, s = decay(w, low)
    u, u_low = one_less(p, s)
    d, d_low = one_more(p, s)
    n = (8.0 * c) * (u + fma(p, u, u_low))
    return scale_down(n / cube(d, d_low), s)


@primitive
def cube(d: Any, d_low: Any) -> Any:
    """The cube of a pair, as one number."""
    square = d * d
    return fma(square, d, fma(3.0 * square, d_low, fma(d, d, -square) * d))


@primitive
def quotient_low(x: Any, cap: Any, y: Any, z: Any) -> Any:
    """The rounding error of -abs(z), for z = x * y, y = 1 / cap; 0 where exp(-abs(z)) has vanished."""
    low = fma(abs(z), abs(cap), -abs(x)) * abs(y)
    return low if abs(z) < pick(x, FAR_32, FAR_64) else 0.0


@activation(
    formula="cap * tanh(x / cap)",
    derivative_formula="1 - tanh(x / cap)^2",
    value_range="[-cap, cap]",
    params={"cap": None},
    examples=((30.0,), (50.0,), (1.0,), (0.3,), (-2.0,)),
    aliases=("soft_cap", "tanh_softcap"),
    cost="exp",
    limits={-inf: -30.0, inf: 30.0, -0.0: -0.0},
    source="Bello et al. (2016); logit soft-capping in Gemma 2 (2024)",
    monotonicity="increasing",
    lipschitz=1.0,
    output_requires="cap != 0",
)
def softcap(x: Any, cap: Any) -> Any:
    """Soft cap: the identity next to 0, bent so that it never exceeds `cap`, which must not be 0."""
    y = 1.0 / cap
    z = x * y
    capped = tanh_times(cap, z, 2.0 * quotient_low(x, cap, y, z))
    return x if abs(z) < pick(x, 1e-4, 1e-9) else capped  # z may be subnormal


@softcap.derivative
def _(x: Any, cap: Any) -> Any:
    y = 1.0 / cap
    z = x * y
    return slope_times(1.0, 0.0, -2.0 * abs(z), 2.0 * quotient_low(x, cap, y, z))


@softcap.second_derivative
def _(x: Any, cap: Any) -> Any:
    y = 1.0 / cap
    z = x * y
    bend = bend_times(abs(y), -2.0 * abs(z), 2.0 * quotient_low(x, cap, y, z))
    return -2.0 * (y * y) * x if abs(z) < 1e-9 else copysign(bend, -x)


@softcap.derivative_from_output
def _(y: Any, cap: Any) -> Any:
    return ((cap - y) / cap) * ((cap + y) / cap)


@activation(
    formula="scale_b * tanh(scale_a * x)",
    derivative_formula="scale_a * scale_b * (1 - tanh(scale_a * x)^2)",
    value_range="[-scale_b, scale_b]",
    params={"scale_a": 0.67, "scale_b": 1.7159},
    examples=((0.67, 1.7159), (2.0 / 3.0, 1.7159), (-0.5, 3.0), (5.0, 0.1)),
    cost="exp",
    limits={-inf: -1.7159, inf: 1.7159, -0.0: -0.0},
    source="LeCun, Bottou, Orr and Mueller (1998)",
    monotonicity="increasing",
    lipschitz=1.149653,
    output_requires="scale_b != 0",
)
def stanh(x: Any, scale_a: Any, scale_b: Any) -> Any:
    """Scaled hyperbolic tangent."""
    z = scale_a * x
    scaled = tanh_times(scale_b, z, 2.0 * product_low(scale_a, x, z))
    return (scale_a * scale_b) * x if abs(z) < pick(x, 1e-4, 1e-9) else scaled


@stanh.derivative
def _(x: Any, scale_a: Any, scale_b: Any) -> Any:
    z = scale_a * x
    c, c_low = multiply(scale_a, 0.0, scale_b, 0.0)
    return slope_times(c, c_low, -2.0 * abs(z), 2.0 * product_low(scale_a, x, z))


@stanh.second_derivative
def _(x: Any, scale_a: Any, scale_b: Any) -> Any:
    z = scale_a * x
    c = (scale_a * scale_a) * scale_b
    bend = bend_times(c, -2.0 * abs(z), 2.0 * product_low(scale_a, x, z)) * copysign(1.0, -z)
    return (-2.0 * c * scale_a) * x if abs(z) < 1e-9 else bend


@stanh.derivative_from_output
def _(y: Any, scale_a: Any, scale_b: Any) -> Any:
    return scale_a * ((scale_b - y) / scale_b) * (scale_b + y)


@activation(
    formula="x * tanh(x)",
    derivative_formula="tanh(x) + x * (1 - tanh(x)^2)",
    value_range="[0, inf)",
    cost="exp",
    limits={-inf: inf, inf: inf, -0.0: 0.0},
    roots={"second_derivative": (-1.1996786, 1.1996786)},
    source="Roy et al. (2019)",
    lipschitz=1.1996786402577339,
)
def lisht(x: Any) -> Any:
    """Linearly scaled hyperbolic tangent."""
    a = abs(x)
    p, s = decay(-2.0 * a, 0.0)
    u, u_low = one_less(p, s)
    d, d_low = one_more(p, s)
    n, n_low = multiply(a, 0.0, u, u_low)
    return a if a > pick(x, 20.0, 45.0) else divide(n, n_low, d, d_low)


@lisht.derivative
def _(x: Any) -> Any:
    # (1 - e^2 + 4 a e) / (1 + e)^2 with a = abs(x)
    a = min(abs(x), pick(x, -GONE_32, -GONE_64))
    p, s = decay(-2.0 * a, 0.0)
    u, u_low = one_less(p, s)
    d, d_low = one_more(p, s)
    e, e_low = exp_pair(p, s)
    b, b_low = multiply(u, u_low, d, d_low)
    n, n_low = multiply_add(4.0 * a, 0.0, e, e_low, b, b_low)
    square, square_low = one_more_squared(p, s)
    return copysign(divide(n, n_low, square, square_low), x)


@lisht.second_derivative
def _(x: Any) -> Any:
    # 8 e (1 - a + e (1 + a)) / (1 + e)^3: what cancels is exact
    a = min(abs(x), -GONE_64)
    p, s = decay(-2.0 * a, 0.0)
    d, d_low = one_more(p, s)
    e, _ = exp_pair(p, s)
    n = 8.0 * fma(e, 1.0 + a, 1.0 - a)
    return scale_down(fma(p, n, n) / cube(d, d_low), s)


@activation(
    formula="log((exp(x) + exp(-x)) / 2)",
    derivative_formula="tanh(x)",
    value_range="[0, inf)",
    aliases=("log_cosh",),
    cost="erf",
    limits={-inf: inf, inf: inf, -0.0: 0.0},
    source="the antiderivative of tanh",
    lipschitz=1.0,
)
def logcosh(x: Any) -> Any:
    """Logarithm of the hyperbolic cosine."""
    # abs(x) - log(2) + log1p(e) does not cancel from log(2) on; below stands a series.
    a = abs(x)
    z, z_low = multiply(x, 0.0, x, 0.0)
    near = fma(0.5, z, fma(z * z, poly(z, LOGCOSH_32, LOGCOSH_64), 0.5 * z_low))
    p, s = exp_down(max(-2.0 * a, pick(x, GONE_32, GONE_64)))
    ratio = log1p_unit(p, s)
    rest = scale_down(fma(p, ratio, ratio), s)
    far = (a - pick(x, LN2_HIGH_32, LN2_HIGH_64)) + (rest - pick(x, LN2_LOW_32, LN2_LOW_64))
    return near if a < 0.7 else far


@logcosh.derivative
def _(x: Any) -> Any:
    return tanh_primitive(x)


@logcosh.second_derivative
def _(x: Any) -> Any:
    q, s = bell(-2.0 * abs(x))
    return scale_down(4.0 * q, s)


@activation(
    formula="tanh(x) if x > 0 else alpha * tanh(x)",
    derivative_formula="(1 if x > 0 else alpha) * (1 - tanh(x)^2)",
    value_range="[-alpha, 1]",
    params={"alpha": 0.25},
    examples=((0.25,), (0.0,), (-0.5,), (3.0,)),
    cost="exp",
    limits={-inf: -0.25, inf: 1.0, -0.0: -0.0},
    source="Xu, Huang and Li (2016)",
    monotonicity="increasing",
    continuity="C0",
    kinks={"0": ("alpha", "1")},
    lipschitz=1.0,
    output_requires="alpha > 0",
)
def penalized_tanh(x: Any, alpha: Any) -> Any:
    """Hyperbolic tangent, `alpha` times as large for negative inputs."""
    return tanh_times(1.0 if x > 0.0 else alpha, x, 0.0)


@penalized_tanh.derivative
def _(x: Any, alpha: Any) -> Any:
    return slope_times(1.0 if x > 0.0 else alpha, 0.0, -2.0 * abs(x), 0.0)


@penalized_tanh.derivative_from_output
def _(y: Any, alpha: Any) -> Any:
    return (1.0 - y) * (1.0 + y) if y > 0.0 else ((alpha - y) / alpha) * (alpha + y)


@activation(
    formula="x - tanh(x)",
    derivative_formula="tanh(x)^2",
    value_range="(-inf, inf)",
    aliases=("tanhshrink",),
    cost="exp",
    limits={-inf: -inf, inf: inf, -0.0: -0.0},
    source="Torch",
    monotonicity="increasing",
    lipschitz=1.0,
    bound=3.0,
)
def tanh_shrink(x: Any) -> Any:
    """What tanh takes off: x - tanh(x)."""
    # (a - 1 + e (a + 1)) / (1 + e) with a = abs(x) does not cancel much from 1.25 on; below, a^3 over a series.
    a = abs(x)
    near = a < 1.25
    z, z_low = multiply(a, 0.0, a, 0.0)
    cube, cube_low = multiply(a, 0.0, z, z_low)
    g, g_low = add(3.0, 0.0, z * poly(z, SHRINK_32, SHRINK_64), 0.0)
    p, s = decay(-2.0 * a, 0.0)
    d, d_low = one_more(p, s)
    e, e_low = exp_pair(p, s)
    b, b_low = add(a, 0.0, -1.0, 0.0)
    c, c_low = add(a, 0.0, 1.0, 0.0)
    n, n_low = multiply_add(e, e_low, c, c_low, b, b_low)
    q = divide(cube if near else n, cube_low if near else n_low, g if near else d, g_low if near else d_low)
    return copysign(a - 1.0 if a > pick(x, 20.0, 45.0) else q, x)


@tanh_shrink.derivative
def _(x: Any) -> Any:
    p, p_low, s = exp_down_pair(max(-2.0 * abs(x), pick(x, GONE_32, GONE_64)))
    u, u_low = one_less(p, s)
    d, d_low = one_more(p, s)
    v_low = u_low - p_low * (s * pick(x, TINY_32, TINY_64))
    # With low parts in float32 too: what is squared needs them.
    n, n_low = exact_multiply(u, v_low, u, v_low)
    square, square_low = exact_multiply(d, d_low, d, d_low)
    return exact_divide(n, n_low, square, square_low)


@tanh_shrink.second_derivative
def _(x: Any) -> Any:
    return copysign(bend_times(1.0, -2.0 * abs(x), 0.0), x)
