"""The family of the hyperbolic tangent.

All are written in ``e = exp(-2 abs(z))``, z being x or a multiple of it: tanh(abs(z)) = (1 - e) / (1 + e). Where z is a rounded
product or quotient its rounding error goes into the exponential too.
"""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, bits, copysign, fma, from_bits, max, min, pick, poly, primitive
from .primitives import (
    DOWN_32,
    DOWN_64,
    EXP_32,
    EXP_64,
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
    add,
    divide,
    exact_add,
    exact_divide,
    exact_grow,
    exact_multiply,
    exact_sum,
    exp_down,
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

# expm1(r) = r + r^2 / 2 + r^3 / 6 + r^4 * EXP_FINE(r), abs(r) <= 0.3476, relative error of the whole: 2^-67.8
SIXTH_64, SIXTH_LOW_64 = 0.16666666666666666, 9.25185853854297e-18
EXP_FINE_64 = (
    0.04166666666666668,
    0.008333333333333325,
    0.0013888888888877384,
    0.00019841269841316885,
    2.4801587340860137e-05,
    2.7557319141160724e-06,
    2.7557258899431476e-07,
    2.505215938807698e-08,
    2.091962425249944e-09,
    1.6060240185720518e-10,
)


@primitive
def exp_down_low_pair(x: Any, low: Any) -> Any:
    """`exp_down_pair` of x + low."""
    magic = pick(x, DOWN_32, DOWN_64)
    z = fma(x, LOG2E, magic)
    k = z - magic
    r = fma(k, pick(x, -LN2_HIGH_32, -LN2_HIGH_64), x) + fma(k, pick(x, -LN2_LOW_32, -LN2_LOW_64), low)
    square = r * r
    q = poly(r, EXP_32, EXP_64)
    p = fma(square, q, r)
    return p, fma(square, q, r - p), from_bits(bits(z) << pick(x, 23, 52))


@primitive
def decay(w: Any, low: Any) -> Any:
    """(p, p_low, s): the parts of e = exp(w + low), for w <= 0."""
    return exp_down_low_pair(max(w, pick(w, -FAR_32, -FAR_64)), low)


@primitive
def one_less(p: Any, p_low: Any, s: Any) -> Any:
    """The pair 1 - e, with its relative accuracy next to 0, from the parts of e."""
    t = s * pick(p, TINY_32, TINY_64)
    c = 1.0 - t
    u = fma(-p, t, c)
    return u, fma(-p, t, c - u) - p_low * t


@primitive
def one_more(p: Any, p_low: Any, s: Any) -> Any:
    """The pair 1 + e."""
    t = s * pick(p, TINY_32, TINY_64)
    h = 1.0 + t
    d = fma(p, t, h)
    return d, fma(p, t, h - d) + ((t - (h - 1.0)) + p_low * t)


@primitive
def one_more_squared(p: Any, s: Any) -> Any:
    """The pair (1 + e)^2 = 1 + e (2 + e)."""
    e, e_low = exp_pair(p, s)
    g, g_low = add(2.0, 0.0, e, e_low)
    return multiply_add(e, e_low, g, g_low, 1.0, 0.0)


@primitive
def tanh_times(c: Any, z: Any, low: Any) -> Any:
    """c * tanh(z), where low is the rounding error of -2 * abs(z)."""
    p, p_low, s = decay(-2.0 * abs(z), low)
    u, u_low = one_less(p, p_low, s)
    d, d_low = one_more(p, p_low, s)
    n, n_low = multiply(c * copysign(1.0, z), 0.0, u, u_low)
    return divide(n, n_low, d, d_low)


@primitive
def slope_times(c: Any, c_low: Any, w: Any, low: Any) -> Any:
    """c * (1 - tanh(z)^2), where w + low is -2 * abs(z)."""
    p, _, s = decay(w, low)
    n, n_low = grow(c, c_low, p)
    d, d_low = one_more_squared(p, s)
    return scale_down(4.0 * divide(n, n_low, d, d_low), s)


@primitive
def bend_times(c: Any, w: Any, low: Any) -> Any:
    """2 c * tanh(z) * (1 - tanh(z)^2) for z >= 0, where w + low is -2 z: minus the second derivative of c * tanh."""
    p, p_low, s = decay(w, low)
    u, u_low = one_less(p, p_low, s)
    d, d_low = one_more(p, p_low, s)
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
    lipschitz=1.1496530000000001,
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
    p, p_low, s = decay(-2.0 * a, 0.0)
    u, u_low = one_less(p, p_low, s)
    d, d_low = one_more(p, p_low, s)
    n, n_low = multiply(a, 0.0, u, u_low)
    return a if a > pick(x, 20.0, 45.0) else divide(n, n_low, d, d_low)


@lisht.derivative
def _(x: Any) -> Any:
    # (1 - e^2 + 4 a e) / (1 + e)^2 with a = abs(x)
    a = min(abs(x), pick(x, -GONE_32, -GONE_64))
    p, p_low, s = decay(-2.0 * a, 0.0)
    u, u_low = one_less(p, p_low, s)
    d, d_low = one_more(p, p_low, s)
    e, e_low = exp_pair(p, s)
    b, b_low = multiply(u, u_low, d, d_low)
    n, n_low = multiply_add(4.0 * a, 0.0, e, e_low, b, b_low)
    square, square_low = one_more_squared(p, s)
    return copysign(divide(n, n_low, square, square_low), x)


@lisht.second_derivative
def _(x: Any) -> Any:
    # 8 e (1 - a + e (1 + a)) / (1 + e)^3: what cancels is exact
    a = min(abs(x), -GONE_64)
    p, p_low, s = decay(-2.0 * a, 0.0)
    d, d_low = one_more(p, p_low, s)
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
    m, m_low = multiply(a, 0.0, z, z_low)
    g, g_low = add(3.0, 0.0, z * poly(z, SHRINK_32, SHRINK_64), 0.0)
    p, p_low, s = decay(-2.0 * a, 0.0)
    d, d_low = one_more(p, p_low, s)
    e, e_low = exp_pair(p, s)
    b, b_low = add(a, 0.0, -1.0, 0.0)
    c, c_low = add(b, b_low, e, e_low)
    n, n_low = multiply_add(e, e_low, a, 0.0, c, c_low)
    q = divide(m if near else n, m_low if near else n_low, g if near else d, g_low if near else d_low)
    return copysign(a - 1.0 if a > pick(x, 20.0, 45.0) else q, x)


@tanh_shrink.derivative
def _(x: Any) -> Any:
    # With low parts in float32 too: what is squared needs them.
    p, p_low, s = decay(-2.0 * abs(x), 0.0)
    u, u_low = one_less(p, p_low, s)
    d, d_low = one_more(p, p_low, s)
    n, n_low = exact_multiply(u, u_low, u, u_low)
    square, square_low = exact_multiply(d, d_low, d, d_low)
    return exact_divide(n, n_low, square, square_low)


@tanh_shrink.second_derivative
def _(x: Any) -> Any:
    return copysign(bend_times(1.0, -2.0 * abs(x), 0.0), x)


# ---------------------------------------------------------------- gates that are exponential on the left


@primitive
def product_rest(a: Any, b: Any, product: Any) -> Any:
    """The rounding error of a * b, to go into an exponential; 0 where that has vanished and the error may be large or NaN."""
    low = fma(a, b, -product)
    return low if abs(product) < pick(a, FAR_32, FAR_64) else 0.0


@primitive
def exp_growing(z: Any, low: Any) -> Any:
    """(p, p_low, s): the parts of exp(z + low), which stays finite: large enough for its tanh to be 1."""
    return exp_down_low_pair(min(max(z, pick(z, -FAR_32, -FAR_64)), pick(z, 44.0, 100.0)), low)


@primitive
def exp_fine(z: Any, low: Any) -> Any:
    """`exp_growing` for float64 with three digits more: for what goes into another exponential."""
    c = min(max(z, -FAR_64), 100.0)
    shifted = fma(c, LOG2E, DOWN_64)
    k = shifted - DOWN_64
    b = k * LN2_LOW_64
    r, rest = exact_sum(fma(k, -LN2_HIGH_64, c), -b)
    r_low = (rest - fma(k, LN2_LOW_64, -b)) + low
    square, square_low = exact_multiply(r, r_low, r, r_low)
    third, third_low = exact_multiply(r, r_low, square, square_low)
    sixth, sixth_low = exact_multiply(third, third_low, SIXTH_64, SIXTH_LOW_64)
    a, a_low = exact_add(r, r_low, 0.5 * square, 0.5 * square_low)
    q, q_low = exact_add(a, a_low, sixth, sixth_low)
    p, p_low = exact_sum(q, fma(square * square, poly(r, EXP_FINE_64, EXP_FINE_64), q_low))
    return p, p_low, from_bits(bits(shifted) << pick(z, 23, 52))


@activation(
    formula="x * tanh(exp(min(alpha * x, 20)))",
    display="x * tanh(exp(alpha * x))",
    derivative_formula="tanh(w) + alpha * x * w * (1 - tanh(w)^2) with w = exp(alpha * x)",
    value_range="[-0.3533, inf)",
    params={"alpha": 1.0},
    examples=((1.0,), (0.5,), (2.0,), (-1.0,)),
    aliases=("tanhexp", "telu"),
    cost="erf",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    # Those of the examples, too: all are those of alpha = 1 over alpha.
    roots={
        "derivative": (-1.0788601, -2.1577201, -0.53943003, 1.0788601),
        "second_derivative": (-2.0659719, 0.69656396, -4.1319438, 1.3931279, -1.0329859, 0.34828198, 2.0659719, -0.69656396),
    },
    source="Liu and Di (2020); with alpha = 1 also TeLU, Fernandez and Mali (2024)",
    lipschitz=1.061975308717966,
)
def tanh_exp(x: Any, alpha: Any) -> Any:
    """x * tanh(exp(alpha * x)), for `alpha` other than 0."""
    z = alpha * x
    p, p_low, s = exp_growing(z, product_rest(alpha, x, z))
    w, w_rest = exp_pair(p, s)
    w_low = fma(p_low, s * pick(x, TINY_32, TINY_64), w_rest)
    q, q_low, r = decay(-2.0 * w, -2.0 * w_low)
    u, u_low = one_less(q, q_low, r)
    d, d_low = one_more(q, q_low, r)
    n, n_low = multiply(x, 0.0, u, u_low)
    # Where tanh(w) is w its scale comes last.
    tail = z < pick(x, -9.0, -19.5)
    m, m_low = grow(x if z > pick(x, -FAR_32, -FAR_64) else copysign(1.0, x), 0.0, p)
    f = divide(m if tail else n, m_low if tail else n_low, 1.0 if tail else d, 0.0 if tail else d_low)
    scaled = (f * (s if tail else 1.0)) * (pick(x, TINY_32, TINY_64) if tail else 1.0)
    return x if z > pick(x, 3.0, 3.9) else scaled  # where tanh(w) is 1; infinity needs it


@tanh_exp.derivative
def _(x: Any, alpha: Any) -> Any:
    # (1 - e^2 + 4 z w e) / (1 + e)^2 with z = alpha x, w = exp(z), e = exp(-2 w); w (1 + z) in the tail
    z = alpha * x
    low = product_rest(alpha, x, z)
    c = min(max(z, pick(x, -FAR_32, -FAR_64)), 7.0)
    p, p_low, s = exp_growing(c, low)
    w, w_rest = exp_pair(p, s)
    w_low = fma(p_low, s * pick(x, TINY_32, TINY_64), w_rest)
    q, q_low, r = decay(-2.0 * w, -2.0 * w_low)
    u, u_low = one_less(q, q_low, r)
    d, d_low = one_more(q, q_low, r)
    e, e_low = exp_pair(q, r)
    # In float32 too with low parts: next to the root the digits cancel.
    a, a_low = exact_multiply(c, low, w, w_low)
    k, k_low = exact_multiply(4.0 * a, 4.0 * a_low, e, e_low + q_low * (r * pick(x, TINY_32, TINY_64)))
    b, b_low = exact_multiply(u, u_low, d, d_low)
    n, n_low = exact_add(k, k_low, b, b_low)
    square, square_low = exact_multiply(d, d_low, d, d_low)
    tail = z < pick(x, -9.0, -19.5)
    g, g_low = add(1.0, 0.0, c, low)
    m, m_low = grow(g, g_low, p)
    f = exact_divide(m if tail else n, m_low if tail else n_low, 1.0 if tail else square, 0.0 if tail else square_low)
    return (f * (s if tail else 1.0)) * (pick(x, TINY_32, TINY_64) if tail else 1.0)


@tanh_exp.second_derivative
def _(x: Any, alpha: Any) -> Any:
    # 4 alpha w e (2 d + z (d - 2 w u)) / d^3, where one of the exponentials w and e has a scale to come last; d = 1 + e, u = 1 - e
    z = alpha * x
    low = product_rest(alpha, x, z)
    c = min(max(z, -FAR_64), 7.0)
    p, p_low, s = exp_fine(c, low)
    m = 1.0 + p
    t = s * TINY_64
    w = m * t
    w_low = ((p - (m - 1.0)) + p_low) * t
    q, q_low, r = decay(-2.0 * w, -2.0 * w_low)
    u, u_low = one_less(q, q_low, r)
    d, d_low = one_more(q, q_low, r)
    a, a_low = multiply(-2.0 * w, -2.0 * w_low, u, u_low)
    b, b_low = add(d, d_low, a, a_low)
    n, n_low = multiply_add(c, low, b, b_low, 2.0 * d, 2.0 * d_low)
    g, g_low = grow(n, n_low, q)
    h, h_low = multiply(4.0 * g, 4.0 * g_low, m, (p - (m - 1.0)) + p_low)
    f = alpha * ((h + h_low) / cube(d, d_low))
    left = c < 0.0
    return scale_down(f * (r * TINY_64 if left else t), s if left else r)


@primitive
def log_of_sum(a: Any, b: Any, b_low: Any) -> Any:
    """log(a + b) as a pair, for a + b positive and normal."""
    u, rest = exact_sum(a, b)
    # As in `log1p`: u = 2^k * m with m in [sqrt(1/2), sqrt(2))
    i = bits(u) + pick(a, 0x4AFB0D, 0x95F619980C433)
    k = from_bits((i >> pick(a, 23, 52)) + bits(pick(a, MAGIC_32, MAGIC_64))) - pick(a, POWER_32, POWER_64)
    m = from_bits((i & pick(a, 0x7FFFFF, 0xFFFFFFFFFFFFF)) + pick(a, 0x3F3504F3, 0x3FE6A09E667F3BCD))
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    half = 0.5 * f * f
    series = half - s * (half + z * poly(z, LOG_32, LOG_64))
    high, high_low = exact_sum(k * pick(a, LN2_HIGH_32, LN2_HIGH_64), f)
    low = fma(k, pick(a, LN2_LOW_32, LN2_LOW_64), (rest + b_low) / u)
    return exact_sum(high, high_low + (low - series))


@primitive
def log_terms(x: Any, delta: Any) -> Any:
    """(a, b, b_low): a + b is delta + exp(x), divided by exp(x) right of 0."""
    p, p_low, s = exp_down_pair(max(-abs(x), pick(x, -FAR_32, -FAR_64)))
    t = s * pick(x, TINY_32, TINY_64)
    e = fma(p, t, t)
    e_low = fma(p, t, t - e) + p_low * t
    b, b_low = exact_multiply(delta, 0.0, e, e_low)
    left = x < 0.0
    return delta if left else 1.0, e if left else b, e_low if left else b_low


@primitive
def log_factor(x: Any, delta: Any) -> Any:
    """The pair log(delta + exp(x))."""
    a, b, b_low = log_terms(x, delta)
    h, h_low = log_of_sum(a, b, b_low)
    y, y_low = exact_add(0.0 if x < 0.0 else x, 0.0, h, h_low)
    # Infinity has no low part.
    return x if delta == 0.0 else y, 0.0 if delta == 0.0 else (y_low if abs(x) < pick(x, 1e30, 1e300) else 0.0)


@primitive
def log_slope(x: Any, delta: Any) -> Any:
    """(n, n_low, d, d_low): exp(x) / (delta + exp(x)) as the quotient of two pairs."""
    a, b, b_low = log_terms(x, delta)
    d, d_low = exact_sum(a, b)
    left = x < 0.0
    plain = delta == 0.0
    return (
        1.0 if plain else (b if left else a),
        0.0 if plain else (b_low if left else 0.0),
        1.0 if plain else d,
        0.0 if plain else d_low + b_low,
    )


@primitive
def gate_argument(x: Any, alpha: Any, beta: Any, p: Any, p_low: Any, s: Any) -> Any:
    """(v, v_low, b, b_low): v = alpha x + beta w and, to be scaled, beta w, from the parts of w."""
    m = 1.0 + p
    b, b_low = exact_multiply(beta, 0.0, m, (p - (m - 1.0)) + p_low)
    t = s * pick(x, TINY_32, TINY_64)
    y = alpha * x
    a = 0.0 if alpha == 0.0 else min(max(y, -1e5), 1e5)
    v, v_low = exact_add(a, product_rest(alpha, x, y), b * t, b_low * t)
    return v, v_low if abs(v) < pick(x, FAR_32, FAR_64) else 0.0, b, b_low


@activation(
    formula="tanh(alpha * x + beta * exp(min(gamma * x, 50))) * log(delta + exp(x))",
    display="tanh(alpha * x + beta * exp(gamma * x)) * log(delta + exp(x))",
    derivative_formula="(alpha + beta * gamma * exp(gamma * x)) * (1 - t^2) * log(delta + exp(x)) + t * exp(x) / (delta + exp(x))"
    " with t = tanh(alpha * x + beta * exp(gamma * x))",
    value_range="[-0.2174, inf)",
    params={"alpha": 0.0, "beta": 0.6, "gamma": 1.0, "delta": 0.0},
    examples=((0.0, 0.6, 1.0, 0.0), (0.0, 1.0, 1.0, 0.0), (0.87, 0.0, 1.0, 1.0), (0.0, 0.75, 0.75, 0.0), (0.5, 0.3, 0.8, 0.5)),
    cost="erf",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    # Those of the examples, too.
    roots={
        "value": (-0.69314718, -0.42653730),
        "derivative": (-1.0308198, -1.0788601, -0.84711130, -1.3958076, -0.55651444),
        "second_derivative": (
            -2.0253361, 0.99633082, -2.0659719, 0.69656396, -1.5755632, 1.1605545, 3.8512835, -2.7183369, 1.1426730,
            -1.5423331, 1.2292252, 2.7938770,
        ),
    },
    source="Biswas, Kumar, Banerjee and Pandey (2020)",
    lipschitz=1.158058173241286,
)  # fmt: skip
def tanhsoft(x: Any, alpha: Any, beta: Any, gamma: Any, delta: Any) -> Any:
    """Tanh times a generalised softplus: tanh(alpha x + beta exp(gamma x)) log(delta + exp(x)).

    `gamma` must be positive and `delta` not negative. The bounds hold for delta = 0 and from 1e-6 to 1e6, where alpha and beta
    are not negative.
    """
    z = gamma * x
    p, p_low, s = exp_growing(z, product_rest(gamma, x, z))
    v, v_low, b, b_low = gate_argument(x, alpha, beta, p, p_low, s)
    q, q_low, r = decay(-2.0 * abs(v), -2.0 * (v_low if v > 0.0 else -v_low))
    u, u_low = one_less(q, q_low, r)
    d, d_low = one_more(q, q_low, r)
    y, y_low = log_factor(x, delta)
    # Without alpha, where tanh(v) is v, the scale comes last.
    tail = (abs(v) if alpha == 0.0 else 1.0) < pick(x, 1e-4, 4e-9)
    g = b if tail else copysign(u, v)
    g_low = b_low if tail else (u_low if v > 0.0 else -u_low)
    n, n_low = exact_multiply(g, g_low, y if z > pick(x, -FAR_32, -FAR_64) else copysign(1.0, y), y_low)
    f = exact_divide(n, n_low, 1.0 if tail else d, 0.0 if tail else d_low)
    scaled = (f * (s if tail else 1.0)) * (pick(x, TINY_32, TINY_64) if tail else 1.0)
    return copysign(1.0, v) * y if abs(v) > pick(x, 20.0, 45.0) else scaled  # where tanh(v) is 1; infinity needs it


@tanhsoft.derivative
def _(x: Any, alpha: Any, beta: Any, gamma: Any, delta: Any) -> Any:
    # 4 e v' y / d^2 + u y' / d with y the logarithm, tanh(v) = u / d = (1 - e) / (1 + e); (gamma y + y') beta w in the tail
    z = gamma * x
    p, p_low, s = exp_growing(z, product_rest(gamma, x, z))
    v, v_low, b, b_low = gate_argument(x, alpha, beta, p, p_low, s)
    t = s * pick(x, TINY_32, TINY_64)
    q, q_low, r = decay(-2.0 * abs(v), -2.0 * (v_low if v > 0.0 else -v_low))
    u, u_low = one_less(q, q_low, r)
    d, d_low = one_more(q, q_low, r)
    y, y_low = log_factor(x, delta)
    c, c_low, h, h_low = log_slope(x, delta)
    tail = (abs(v) if alpha == 0.0 else 1.0) < pick(x, 1e-4, 4e-9)
    # In float32 too with low parts: next to the root the digits cancel. Of the first term, the factor of y:
    k, k_low = exact_multiply(gamma, 0.0, b, b_low)
    a, a_low = exact_add(alpha, 0.0, k * t, k_low * t)
    j, j_low = exact_grow(4.0 * a, 4.0 * a_low + 4.0 * a * q_low, q)
    # Of the second, the factor of y':
    g, g_low = exact_multiply(copysign(u, v), u_low if v > 0.0 else -u_low, d, d_low)
    # Over the common denominator; y is kept finite, as infinity meets 0.
    bounded = min(max(y if z > pick(x, -FAR_32, -FAR_64) else copysign(1e7, y), pick(x, -1e15, -1e200)), pick(x, 1e15, 1e200))
    f, f_low = exact_multiply(bounded, y_low, h, h_low)
    scale = 1.0 if tail else r * pick(x, TINY_32, TINY_64)
    m, m_low = exact_multiply(k if tail else j, k_low if tail else j_low, f, f_low)
    o, o_low = exact_multiply(b if tail else g, b_low if tail else g_low, c, c_low)
    n, n_low = exact_add(m * scale, m_low * scale, o, o_low)
    square, square_low = exact_multiply(d, d_low, d, d_low)
    i, i_low = exact_multiply(1.0 if tail else square, 0.0 if tail else square_low, h, h_low)
    # Where both underflow, the larger has the sign.
    both = copysign(0.0, m if (abs(alpha) if y != 0.0 else 1.0) < 0.5 else o)
    scaled = (exact_divide(n, n_low, i, i_low) if n != 0.0 else both) * (s if tail else 1.0)
    return scaled * (pick(x, TINY_32, TINY_64) if tail else 1.0)


@tanhsoft.second_derivative
def _(x: Any, alpha: Any, beta: Any, gamma: Any, delta: Any) -> Any:
    # 4 e ((v'' d - 2 v'^2 u) y + 2 v' d y') / d^3 + u y'' / d; (gamma (gamma y + 2 y') + y'') beta w in the tail
    z = gamma * x
    p, p_low, s = exp_fine(z, product_rest(gamma, x, z))
    v, v_low, b, b_low = gate_argument(x, alpha, beta, p, p_low, s)
    t = s * TINY_64
    q, q_low, r = decay(-2.0 * abs(v), -2.0 * (v_low if v > 0.0 else -v_low))
    u, u_low = one_less(q, q_low, r)
    d, d_low = one_more(q, q_low, r)
    y, y_low = log_factor(x, delta)
    c, c_low, h, h_low = log_slope(x, delta)
    first = c / h
    first_low = (fma(-first, h, c) + (c_low - first * h_low)) / h
    e, m, _ = log_terms(x, delta)
    curve, curve_low = multiply(first, first_low, e if x < 0.0 else m, 0.0)
    second = divide(curve, curve_low, h, h_low)  # 0 without delta
    bounded = min(max(y if z > -FAR_64 else copysign(1e7, y), -1e150), 1e150)
    k, k_low = multiply(gamma, 0.0, b, b_low)
    a, a_low = add(alpha, 0.0, k * t, k_low * t)
    j, j_low = multiply(gamma * t, 0.0, k, k_low)
    w, w_low = multiply(j, j_low, d, d_low)
    square, square_low = multiply(a, a_low, a, a_low)
    top = copysign(u, v)
    top_low = u_low if v > 0.0 else -u_low
    f, f_low = multiply_add(square, square_low, -2.0 * top, -2.0 * top_low, w, w_low)
    g, g_low = multiply(2.0 * a, 2.0 * a_low, d, d_low)
    o, o_low = multiply(g, g_low, first, first_low)
    n, n_low = multiply_add(f, f_low, bounded, y_low, o, o_low)
    i, i_low = grow(4.0 * n, 4.0 * fma(q_low, n, n_low), q)
    dd, dd_low = multiply(d, d_low, d, d_low)
    third, third_low = multiply(dd, dd_low, d, d_low)
    bent = scale_down(exact_divide(i, i_low, third, third_low), r if abs(v) < FAR_64 else 0.0)
    total = fma(divide(top, top_low, d, d_low), second, bent)
    slow = abs(alpha) if y != 0.0 else 1.0
    both = copysign(0.0, bent if (slow if (beta if x > 0.0 else 0.0) == 0.0 else 1.0) < 0.5 else top)
    whole = bent if delta == 0.0 else (total if total != 0.0 else both)
    tail = (abs(v) if alpha == 0.0 else 1.0) < 4e-9
    return scale_down(fma(k, fma(gamma, bounded, 2.0 * first), b * second), s) if tail else whole
