"""Functions made of the logistic: gates of other slopes, its logarithm, powers and differences."""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, bits, copysign, fma, from_bits, max, min, pick, poly, primitive
from .primitives import (
    ATANH_64,
    DOWN_32,
    DOWN_64,
    TINY_32,
    TINY_64,
    UP_32,
    UP_64,
    add,
    exact_add,
    exact_divide,
    exact_grow,
    exact_multiply,
    exact_sum,
    exp_down,
    exp_down_low,
    exp_down_pair,
    exp_fraction,
    exp_times_low,
    expm1_down,
    grow,
    log1p,
    log1p_unit,
    multiply,
    multiply_add,
    scale_down,
)
from .sigmoids import (
    GONE_32,
    GONE_64,
    bell,
    bell_fraction,
    exp_pair,
    gate,
    gate_bend,
    gate_quick,
    gate_slope,
    gate_slopes,
    gate_slopes_quick,
    logistic,
)
from .softplus import FAR_32, FAR_64, product_low

LN2 = 0.6931471805599453
# gelu_tanh(x) = x sigmoid(u), u = sqrt(8 / pi) (x + 0.044715 x^3): -u log2(e) = x (BINARY_LINEAR + BINARY_CUBIC x^2), each constant with
# its low part. The linear ones end in zeros, so that what they are part of can be taken from them exactly.
BINARY_LINEAR_32, BINARY_LINEAR_LOW_32 = -2.3022079467773438, -2.513669699055754e-07
BINARY_LINEAR_64, BINARY_LINEAR_LOW_64 = -2.302208198144328, 2.977296208542741e-15
BINARY_CUBIC_32, BINARY_CUBIC_LOW_32 = -0.10294324159622192, 2.016198541454628e-09
BINARY_CUBIC_64, BINARY_CUBIC_LOW_64 = -0.10294323958002348, -2.843912529053798e-18
# u'(x) = LINEAR + CUBIC x^2, likewise
LINEAR_32, LINEAR_LOW_32 = 1.5957698822021484, -7.605964356116601e-07
LINEAR_64, LINEAR_LOW_64 = 1.595769121605727, 3.675065195634423e-15
CUBIC_32, CUBIC_LOW_32 = 0.21406444907188416, -2.540834209696641e-10
CUBIC_64, CUBIC_LOW_64 = 0.21406444881780073, 1.5122146425849084e-18
# -1.702 log2(e), in two parts
QUICK_32, QUICK_LOW_32 = -2.4554669857025146, 2.6109498563187117e-08
QUICK_64, QUICK_LOW_64 = -2.4554669595930156, -1.6659629599124333e-17
# Where the exponentials of gelu_tanh have vanished even against the smallest subnormal, with room for a factor.
GELU_GONE_32, GELU_GONE_64 = 11.0, 22.0
QUICK_GONE_32, QUICK_GONE_64, QUICK_GONE_WIDE = 70.0, 447.0, 70.0
# 2 atanh(t) = t * (2 + t^2 * ATANH(t^2)), 0 <= t <= 1/3: the error of t^3 * ATANH is below 2^-30
ATANH_32 = (
    0.6666667,
    0.3999954,
    0.28597805,
    0.21640232,
    0.23492694,
)
# 2^f = 1 + f * EXP2(f), abs(f) <= 1/2: 2^-28.3, wide 2^-34.3
EXP2_32 = (
    0.6931472,
    0.24022648,
    0.055503596,
    0.009618503,
    0.0013390997,
    0.00015327803,
)
EXP2_WIDE = (
    0.6931471807056907,
    0.24022651068776177,
    0.05550410362986133,
    0.009618037769422615,
    0.0013333936567969473,
    0.00015466882393069654,
    1.5196041464222616e-05,
)
FAR_AWAY = 1e20  # beyond any exponent, yet its products are finite
LARGEST_32, LARGEST_64 = 3.4028234663852886e38, 1.7976931348623157e308


@primitive
def exp2_down(a: Any, w: Any, w_low: Any) -> Any:
    """(p, s) of `exp_down`: 2^(a (w + w_low)), the product not rounded before its whole part is gone."""
    z = fma(a, w, pick(a, DOWN_32, DOWN_64))
    k = z - pick(a, DOWN_32, DOWN_64)
    return exp_fraction(fma(a, w_low, fma(a, w, -k)) * LN2), from_bits(bits(z) << pick(a, 23, 52))


# ---------------------------------------------------------------- gates


@primitive
def exp2_parts(a: Any, w: Any, w_low: Any, magic: Any) -> Any:
    """(m, s) of `exp_parts`: 2^(a (w + w_low)), for results in float32."""
    z = fma(a, w, magic)
    f = fma(a, w_low, fma(a, w, magic - z))
    return fma(poly(f, EXP2_32, EXP2_WIDE, EXP2_WIDE), f, 1.0), from_bits(bits(z) << pick(a, 23, 52))


@primitive
def gelu_tanh_power(a: Any) -> Any:
    """(w, w_low): exp(-u) = 2^(a (w + w_low)) for u = sqrt(8 / pi) (a + 0.044715 a^3); its tail needs more digits than a number has."""
    square = a * a
    w = fma(pick(a, BINARY_CUBIC_32, BINARY_CUBIC_64), square, pick(a, BINARY_LINEAR_32, BINARY_LINEAR_64))
    rest = fma(pick(a, BINARY_CUBIC_LOW_32, BINARY_CUBIC_LOW_64), square, pick(a, BINARY_LINEAR_LOW_32, BINARY_LINEAR_LOW_64))
    cubic = fma(pick(a, BINARY_CUBIC_32, BINARY_CUBIC_64), fma(a, a, -square), rest)
    return w, fma(pick(a, BINARY_CUBIC_32, BINARY_CUBIC_64), square, pick(a, BINARY_LINEAR_32, BINARY_LINEAR_64) - w) + cubic


@gelu_tanh_power.wide
def _(a: Any) -> Any:
    return fma(BINARY_CUBIC_64, a * a, BINARY_LINEAR_64), 0.0


@primitive
def gelu_tanh_exp(a: Any) -> Any:
    """(p, s) of `exp_down`: exp(-u)."""
    w, w_low = gelu_tanh_power(a)
    return exp2_down(a, w, w_low)


@activation(
    formula="x * sigmoid(2 * sqrt(2 / pi) * (x + 0.044715 * x**3))",
    derivative_formula="sigmoid(u) * (1 + x * u' * sigmoid(-u)), u = 2 * sqrt(2 / pi) * (x + 0.044715 * x^3)",
    value_range="[-0.1701, inf)",
    aliases=("gelu_approx", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "fast_gelu"),
    cost="exp",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-0.7524614,), "second_derivative": (-1.418504, 1.418504)},
    lipschitz=1.12899306867,
    bound=3.0,
    source="Hendrycks and Gimpel (2016)",
)
def gelu_tanh(x: Any) -> Any:
    """Gaussian error linear unit, approximated with the hyperbolic tangent: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))."""
    c = max(x, -GELU_GONE_32)
    a = min(c, 6.0)  # from where on the logistic is 1
    w, w_low = gelu_tanh_power(a)
    m, s = exp2_parts(a, w, w_low, pick(x, UP_32, UP_64))
    return gate_quick(x, c, m, s)


@gelu_tanh.float64
def _(x: Any) -> Any:
    c = max(x, pick(x, -GELU_GONE_32, -GELU_GONE_64))
    p, s = gelu_tanh_exp(min(abs(c), pick(x, GELU_GONE_32, GELU_GONE_64)))
    return gate(c, c, p, s)


@primitive
def gelu_tanh_rise(a: Any) -> Any:
    """The pair u'(a)."""
    square = a * a
    w = fma(pick(a, CUBIC_32, CUBIC_64), square, pick(a, LINEAR_32, LINEAR_64))
    low = fma(
        pick(a, CUBIC_32, CUBIC_64),
        fma(a, a, -square),
        fma(pick(a, CUBIC_LOW_32, CUBIC_LOW_64), square, pick(a, LINEAR_LOW_32, LINEAR_LOW_64)),
    )
    return w, fma(pick(a, CUBIC_32, CUBIC_64), square, pick(a, LINEAR_32, LINEAR_64) - w) + low


@gelu_tanh.derivative
def _(x: Any) -> Any:
    a = min(abs(x), pick(x, GELU_GONE_32, GELU_GONE_64))
    p, s = gelu_tanh_exp(a)
    w, w_low = gelu_tanh_rise(a)
    v = a * w
    v_low = fma(a, w_low, fma(a, w, -v))
    return gate_slopes_quick(x, v, v_low, p, s)


@gelu_tanh.second_derivative
def _(x: Any) -> Any:
    # s'(u) (2 u' + x u'' - x u'^2 tanh(u / 2)), even in x; 2 u' + x u'' is 4 u'(x) - 2 u'(0)
    a = min(abs(x), GELU_GONE_64)
    p, s = gelu_tanh_exp(a)
    w, w_low = gelu_tanh_rise(a)
    v, v_low = multiply(a, 0.0, w, w_low)
    b, b_low = multiply(v, v_low, w, w_low)
    c, c_low = add(4.0 * w, 4.0 * w_low, -2.0 * LINEAR_64, -2.0 * LINEAR_LOW_64)
    return gate_bend(c, c_low, b, b_low, p, s)


@activation(
    formula="x * sigmoid(1.702 * x)",
    derivative_formula="sigmoid(z) * (1 + z * sigmoid(-z)), z = 1.702 * x",
    value_range="[-0.1637, inf)",
    aliases=("gelu_quick", "qgelu", "gelu_sigmoid"),
    cost="exp",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-0.7511542,), "second_derivative": (-1.4097281, 1.4097281)},
    lipschitz=1.09983932013,
    bound=3.0,
    source="Hendrycks and Gimpel (2016)",
)
def quick_gelu(x: Any) -> Any:
    """Gaussian error linear unit, approximated with the logistic: x sigmoid(1.702 x)."""
    c = max(x, pick(x, -QUICK_GONE_32, -QUICK_GONE_64))
    p, s = quick_exp(min(abs(c), pick(x, QUICK_GONE_32, QUICK_GONE_64)))
    return gate(c, c, p, s)


@primitive
def quick_exp(a: Any) -> Any:
    """(p, s) of `exp_down`: exp(-1.702 a)."""
    return exp2_down(a, pick(a, QUICK_32, QUICK_64), pick(a, QUICK_LOW_32, QUICK_LOW_64))


@quick_gelu.derivative
def _(x: Any) -> Any:
    a = min(abs(x), pick(x, QUICK_GONE_32, QUICK_GONE_64))
    p, s = quick_exp(a)
    v, v_low = multiply(a, 0.0, 1.702, 0.0)
    return gate_slopes(x, v, v_low, p, s)


@quick_gelu.second_derivative
def _(x: Any) -> Any:
    # 1.702 silu''(1.702 x)
    a = min(abs(x), QUICK_GONE_64)
    p, s = quick_exp(a)
    return gate_bend(2.0 * 1.702, 0.0, 1.702 * 1.702 * a, 0.0, p, s)


@activation(
    formula="beta * x * sigmoid(x)",
    derivative_formula="beta * sigmoid(x) * (1 + x * sigmoid(-x))",
    value_range="[-0.4832, inf)",
    params={"beta": 1.735},
    examples=((1.735,), (1.0,), (-2.5,), (0.25,)),
    cost="exp",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-1.2784645,), "second_derivative": (-2.3993573, 2.3993573)},
    lipschitz=1.90822122043,
    source="Alcaide (2018)",
)
def e_swish(x: Any, beta: Any) -> Any:
    """Sigmoid linear unit times a constant."""
    c = max(x, pick(x, GONE_32, GONE_64))
    p, s = exp_down(max(-abs(c), pick(x, GONE_32, GONE_64)))
    n = beta * c
    return copysign(gate(n, c, p, s), n)  # where n has underflowed its sign remains


@e_swish.derivative
def _(x: Any, beta: Any) -> Any:
    a = min(abs(x), pick(x, -GONE_32, -GONE_64))
    p, s = exp_down(-a)
    q = gate_slope(a, 0.0, p, s)
    return scale_down(beta * q, s) if x < 0.0 else beta * (1.0 - q * (s * pick(x, TINY_32, TINY_64)))


@e_swish.second_derivative
def _(x: Any, beta: Any) -> Any:
    a = min(abs(x), -GONE_64)
    p, s = exp_down(-a)
    b, b_low = multiply(beta, 0.0, a, 0.0)
    return gate_bend(beta + beta, 0.0, b, b_low, p, s)


@primitive
def exp_of_product(x: Any, beta: Any) -> Any:
    """z = beta * x, its rounding error towards -abs(z), and (p, s) of `exp_down` of -abs(z); x finite."""
    z = beta * x
    low = product_low(beta, x, z)
    p, s = exp_down_low(max(-abs(z), pick(x, -FAR_32, -FAR_64)), low)
    return z, low, p, s


@primitive
def made_finite(x: Any) -> Any:
    """x, or the largest number for an infinity."""
    return min(max(x, pick(x, -LARGEST_32, -LARGEST_64)), pick(x, LARGEST_32, LARGEST_64))


@activation(
    formula="x * sigmoid(beta * x)",
    derivative_formula="sigmoid(z) * (1 + z * sigmoid(-z)), z = beta * x",
    value_range="[-0.2785, inf)",
    params={"beta": 1.0},
    examples=((1.0,), (0.5,), (-2.0,), (0.0,), (20.0,)),
    learnable=("beta",),
    cost="exp",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    # for each of the examples
    roots={
        "derivative": (-1.2784645, -2.5569291, 0.6392323, -0.0639232),
        "second_derivative": (-2.3993573, 2.3993573, -4.7987146, 4.7987146, -1.1996786, 1.1996786, -0.1199679, 0.1199679),
    },
    lipschitz=1.09983932013,
    source="Ramachandran, Zoph and Le (2017)",
)
def swish_beta(x: Any, beta: Any) -> Any:
    """Sigmoid linear unit of a learnable slope; half of x at beta = 0.

    Its vanishing tail is right for abs(beta) of 1e-9 (float64: 1e-130) and more, that of the gradient for 2e-4 (1e-65).
    """
    z, _, p, s = exp_of_product(made_finite(x), beta)
    # Where the exponential has vanished, only the sign counts.
    c = x if z > pick(x, -FAR_32, -FAR_64) else copysign(1.0, x)
    return gate(c, z, p, s)


@swish_beta.derivative
def _(x: Any, beta: Any) -> Any:
    z, low, p, s = exp_of_product(made_finite(x), beta)
    return gate_slopes(z, min(abs(z), pick(x, FAR_32, FAR_64)), -low, p, s)


@swish_beta.second_derivative
def _(x: Any, beta: Any) -> Any:
    z, low, p, s = exp_of_product(made_finite(x), beta)
    b, b_low = multiply(beta, 0.0, min(abs(z), FAR_64), -low)
    return gate_bend(beta + beta, 0.0, b, b_low, p, s)


@swish_beta.gradient("beta")
def _(x: Any, beta: Any) -> Any:
    # x^2 s(z) s(-z)
    c = made_finite(x)
    z, _, p, s = exp_of_product(c, beta)
    # The scale comes last where the result may be subnormal, earlier where the square may overflow.
    near = abs(c) < pick(x, 4e9, 1e77)
    scaled = (bell_fraction(c, p, s) * (s if near else s * pick(x, TINY_32, TINY_64))) * c
    return 0.0 if abs(z) > pick(x, FAR_32, FAR_64) else scaled * (pick(x, TINY_32, TINY_64) if near else 1.0)


@activation(
    formula="-softplus(-x)",
    derivative_formula="sigmoid(-x)",
    value_range="(-inf, 0]",
    aliases=("logsigmoid", "log_expit"),
    cost="erf",
    limits={-inf: -inf, inf: -0.0, -0.0: -0.6931471805599453},
    monotonicity="increasing",
    lipschitz=1.0,
    bound=3.0,
    source="the logarithm of the logistic function",
)
def log_sigmoid(x: Any) -> Any:
    """Logarithm of the logistic sigmoid."""
    p, s = exp_down(max(-abs(x), pick(x, GONE_32, GONE_64)))
    ratio = log1p_unit(p, s)
    tail = scale_down(fma(p, ratio, ratio), s)
    return (x if x < 0.0 else -0.0) - tail


@log_sigmoid.derivative
def _(x: Any) -> Any:
    p, s = exp_down(max(-abs(x), pick(x, GONE_32, GONE_64)))
    return logistic(-x, p, s)


@log_sigmoid.second_derivative
def _(x: Any) -> Any:
    q, s = bell(-abs(x))
    return -scale_down(q, s)


@log_sigmoid.derivative_from_output
def _(y: Any) -> Any:
    return abs(expm1_down(min(y, 0.0)))  # at -0 it is +0


# ---------------------------------------------------------------- gates with another left side


@activation(
    formula="x * sigmoid(x) if x >= 0 else expm1(x) * sigmoid(x)",
    derivative_formula="sigmoid(x) * (1 + x * sigmoid(-x)) if x >= 0 else sigmoid(x) * (exp(x) + expm1(x) * sigmoid(-x))",
    value_range="[-0.1716, inf)",
    cost="exp",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-0.8813736,)},
    continuity="C1",
    lipschitz=1.09983932013,
    source="Basirat and Roth (2018)",
)
def elish(x: Any) -> Any:
    """Exponential linear sigmoid squashing: silu, but e^x - 1 in place of x left of 0."""
    p, s = exp_down(max(-abs(x), pick(x, GONE_32, GONE_64)))
    t = s * pick(x, TINY_32, TINY_64)
    return gate(fma(p, t, t - 1.0) if x < 0.0 else x, x, p, s)


@elish.derivative
def _(x: Any) -> Any:
    # left of 0, e (e^2 + 2 e - 1) / (1 + e)^2
    a = min(abs(x), pick(x, -GONE_32, -GONE_64))
    p, s = exp_down(-a)
    e, e_low = exp_pair(p, s)
    h, h_low = exact_add(1.0, 0.0, e, e_low)
    w, w_low = exact_multiply(e, e_low, h, h_low)
    v, v_low = exact_add(2.0, 0.0, -w, -w_low)
    return gate_slopes(x, v if x < 0.0 else a, v_low if x < 0.0 else 0.0, p, s)


@activation(
    formula="-0.0 if x <= -1 else expm1(x) * (x + 1) / 2 if x < 0 else x * (x + 1) / 2 if x < 1 else x",
    derivative_formula="0 if x <= -1 else (exp(x) * (x + 2) - 1) / 2 if x < 0 else x + 1 / 2 if x < 1 else 1",
    value_range="[-0.0997, inf)",
    cost="exp",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-0.4428544,)},
    continuity="C0",
    kinks={"-1": ("0", "expm1(-1) / 2"), "1": ("3 / 2", "1")},
    lipschitz=1.5,
    source="Basirat and Roth (2018)",
)
def hard_elish(x: Any) -> Any:
    """Elish with the hard sigmoid clip((x + 1) / 2, 0, 1) in place of the logistic."""
    h = 0.5 * (x + 1.0)
    inside = (expm1_down(x) if x < 0.0 else x) * h
    return -0.0 if x <= -1.0 else (inside if x < 1.0 else x)


@hard_elish.derivative
def _(x: Any) -> Any:
    # (e^x (x + 2) - 1) / 2 = (m (x + 2) + x + 1) / 2 with m = e^x - 1; half of the digits cancel next to the root
    p, p_low, s = exp_down_pair(max(x, -2.0))
    t = s * pick(x, TINY_32, TINY_64)
    m = fma(p, t, t - 1.0)
    a, a_low = exact_add(x, 0.0, 2.0, 0.0)
    b, b_low = exact_add(x, 0.0, 1.0, 0.0)
    c, c_low = exact_multiply(m, fma(p, t, (t - 1.0) - m) + p_low * t, a, a_low)
    left, left_low = exact_add(b, b_low, c, c_low)
    inside = 0.5 * (left + left_low) if x < 0.0 else x + 0.5
    return 0.0 if x <= -1.0 else (inside if x < 1.0 else (1.0 if x >= 1.0 else x))


# ---------------------------------------------------------------- a gate that saturates


@primitive
def situ_parts(x: Any, b: Any) -> Any:
    """(p, s) of `exp_down` for h = exp(-2 abs(x) / b), b > 0, with 1 - h as a pair."""
    a = made_finite(abs(x))
    z = a / b
    y = -2.0 * z
    c = max(y, pick(x, GONE_32, GONE_64))
    p, s = exp_down_low(c, fma(z, b, -a) * (2.0 / b) if c == y else 0.0)
    t = s * pick(x, TINY_32, TINY_64)
    m = 1.0 - t
    u = fma(-p, t, m)
    return p, s, u, fma(-p, t, m - u)


@activation(
    formula="beta * tanh(x / beta) * sigmoid(x)",
    derivative_formula="(1 - t^2) * sigmoid(x) + beta * t * sigmoid(x) * sigmoid(-x), t = tanh(x / beta)",
    value_range="[-0.2785, abs(beta)]",
    params={"beta": None},
    examples=((4.0,), (1.0,), (-2.0,), (0.5,), (30.0,)),
    aliases=("situ_gate",),
    cost="erf",
    limits={-inf: -0.0, inf: 4.0, -0.0: -0.0},
    # for each of the examples
    roots={
        "derivative": (-1.2187557, -0.8813736, -1.0986123, -0.6283857, -1.277257),
        "second_derivative": (
            -2.2788989,
            1.4900829,
            -1.6148909,
            0.4031997,
            -2.0288784,
            0.9302661,
            -1.1716353,
            0.1193318,
            -2.397096,
            2.343339,
        ),
    },
    lipschitz=0.92638976867,
    source="TransformerEngine",
)
def situ(x: Any, beta: Any) -> Any:
    """Silu whose linear part saturates at abs(beta); limits and bounds are those of beta = 4."""
    b = abs(beta)
    p, s = exp_down(max(-abs(x), pick(x, GONE_32, GONE_64)))
    ph, sh, u, u_low = situ_parts(x, b)
    e, e_low = exp_pair(p, s)
    h, h_low = exp_pair(ph, sh)
    # b (1 - h) / (1 + h) is abs(x) where it is small
    near = abs(x) < b * pick(x, 1e-9, 1e-17)
    c, c_low = exact_multiply(b, 0.0, u, u_low)
    n, n_low = exact_grow(abs(x) + abs(x) if near else c, 0.0 if near else c_low, p if x < 0.0 else 0.0)
    g, g_low = exact_add(1.0, 0.0, e, e_low)
    k, k_low = exact_add(1.0, 0.0, h, h_low)
    d, d_low = exact_multiply(g, g_low, k, k_low)
    q = exact_divide(n, n_low, d, d_low)
    scaled = (q * (s if x < 0.0 else 1.0)) * (pick(x, TINY_32, TINY_64) if x < 0.0 else 1.0)
    return copysign(scaled, x)


@primitive
def situ_sum(x: Any, a: Any, a_low: Any, ph: Any, sh: Any, b: Any, b_low: Any, p: Any, s: Any, d: Any, d_low: Any) -> Any:
    """(h a + e b) / d right of 0, (h a + b) e / d left of it, from the parts of h and e; scaled last."""
    left = x < 0.0
    f, f_low = exact_grow(a, a_low, ph)
    g, g_low = exact_grow(b, b_low, 0.0 if left else p)
    t = sh * pick(x, TINY_32, TINY_64) if left else sh
    k = 1.0 if left else s
    m, m_low = exact_add(f * t, f_low * t, g * k, g_low * k)
    n, n_low = exact_grow(m, m_low, p if left else 0.0)
    return scale_down(exact_divide(n, n_low, d, d_low), s if left else 1.0)


@situ.derivative
def _(x: Any, beta: Any) -> Any:
    # (4 h (1 + e) + b (1 - h^2) e) / ((1 + h) (1 + e))^2 right of 0, e (4 h (1 + e) - b (1 - h^2)) over the same left of it
    b = abs(beta)
    p, s = exp_down(max(-abs(x), pick(x, GONE_32, GONE_64)))
    ph, sh, u, u_low = situ_parts(x, b)
    e, e_low = exp_pair(p, s)
    h, h_low = exp_pair(ph, sh)
    g, g_low = exact_add(1.0, 0.0, e, e_low)
    k, k_low = exact_add(1.0, 0.0, h, h_low)
    w, w_low = exact_multiply(u, u_low, k, k_low)
    c, c_low = exact_multiply(-b if x < 0.0 else b, 0.0, w, w_low)
    r, r_low = exact_multiply(g, g_low, k, k_low)
    d, d_low = exact_multiply(r, r_low, r, r_low)
    return situ_sum(x, 4.0 * g, 4.0 * g_low, ph, sh, c, c_low, p, s, d, d_low)


@situ.second_derivative
def _(x: Any, beta: Any) -> Any:
    # With g = 1 + e, k = 1 + h, u = 1 - h over (g k)^3: -8 h u / b g^2 + e (8 h k g - b u k^2 (1 - e)) right of 0;
    # left of it the first term's sign is the other and all is multiplied by e.
    b = abs(beta)
    p, s = exp_down(max(-abs(x), pick(x, GONE_32, GONE_64)))
    ph, sh, u, u_low = situ_parts(x, b)
    e, e_low = exp_pair(p, s)
    h, h_low = exp_pair(ph, sh)
    g, g_low = add(1.0, 0.0, e, e_low)
    k, k_low = add(1.0, 0.0, h, h_low)
    r, r_low = multiply(g, g_low, k, k_low)
    rr, rr_low = multiply(r, r_low, r, r_low)
    d, d_low = multiply(rr, rr_low, r, r_low)
    # the terms with h: g (8 k {e | 1} -+ 8 u / b g), where right of 0 the one with e is small
    v = u / b
    v_low = fma(-v, b, u) / b + u_low / b
    gv, gv_low = multiply(g, g_low, v, v_low)
    kk, kk_low = multiply(k, k_low, 1.0 if x < 0.0 else e, 0.0 if x < 0.0 else e_low)
    m, m_low = add(kk, kk_low, gv if x < 0.0 else -gv, gv_low if x < 0.0 else -gv_low)
    a, a_low = multiply(8.0 * g, 8.0 * g_low, m, m_low)
    # and the others
    i, i_low = add(1.0, 0.0, -e, -e_low)
    uk, uk_low = multiply(u, u_low, k, k_low)
    ki, ki_low = multiply(k, k_low, i, i_low)
    c, c_low = multiply(uk, uk_low, ki, ki_low)
    o, o_low = multiply(-b, 0.0, c, c_low)
    return situ_sum(x, a, a_low, ph, sh, o, o_low, p, s, d, d_low)


# ---------------------------------------------------------------- a difference of logarithms


@primitive
def clipping_exp(x: Any, alpha: Any) -> Any:
    """(p, s) of `exp_down` for w = exp(b x), b = abs(alpha), where x is left of 1/2; right of it 1 - x takes its place."""
    b = abs(alpha)
    y = made_finite(x)
    right, right_low = exact_sum(1.0, -y)
    a = y if y < 0.5 else right
    c = max(b * a, pick(x, GONE_32, GONE_64))
    low = fma(b, a, -c) + b * (0.0 if y < 0.5 else right_low)
    return exp_down_low(c, low if b * a == c else 0.0)


@primitive
def clipping_rest(alpha: Any) -> Any:
    """1 - q as a pair and q, for q = exp(-abs(alpha))."""
    p, p_low, s = exp_down_pair(max(-abs(alpha), pick(alpha, GONE_32, GONE_64)))
    t = s * pick(alpha, TINY_32, TINY_64)
    m = 1.0 - t
    u = fma(-p, t, m)
    return u, fma(-p, t, m - u) - p_low * t, fma(p, t, t)


@primitive
def quotient_pair(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    """The quotient of two pairs; `a` finite, `b` positive, neither huge nor tiny."""
    y = 1.0 / b
    q = a * y
    return q, (fma(-q, b, a) + fma(-q, b_low, a_low)) * y


@activation(
    formula="log((1 + exp(alpha * x)) / (1 + exp(alpha * (x - 1)))) / alpha",
    derivative_formula="sigmoid(alpha * x) - sigmoid(alpha * (x - 1))",
    value_range="[0, 1]",
    params={"alpha": 0.5},
    examples=((0.5,), (1.0,), (-3.0,), (20.0,), (0.01,)),
    cost="erf",
    limits={-inf: 0.0, inf: 1.0, -0.0: 0.43814039275967736},
    monotonicity="increasing",
    roots={"second_derivative": (0.5,)},
    lipschitz=0.12435300177160,
    source="Klimek and Perelstein (2020)",
)
def soft_clipping(x: Any, alpha: Any) -> Any:
    """Smooth clip of x to 0 and 1, the sharper the larger `alpha`; of 1 - x for a negative one. abs(alpha) up to 80 (float64: 690)."""
    # log1p(y) / b left of 1/2 with y = w (1 - q) / (1 + w q), w = exp(b x), q = exp(-b); one less the same at 1 - x right of it
    b = abs(alpha)
    p, s = clipping_exp(x, alpha)
    u, u_low, k = clipping_rest(alpha)
    w, w_low = exp_pair(p, s)
    n, n_low = exact_grow(u, u_low, p)
    d, d_low = multiply_add(w, w_low, k, 0.0, 1.0, 0.0)
    q, q_low = quotient_pair(n, n_low, d, d_low)
    y = scale_down(q, s)
    y_low = scale_down(q_low, s)
    r = scale_down((q + q_low) / b, s) if y < pick(x, 1e-9, 1e-17) else exact_divide(log1p(y), y_low / (1.0 + y), b, 0.0)
    return r if alpha * (x - 0.5) < 0.0 else 1.0 - r


@soft_clipping.derivative
def _(x: Any, alpha: Any) -> Any:
    q, s = clipping_slope(x, alpha)
    return copysign(scale_down(q, s), alpha)


@primitive
def clipping_slope(x: Any, alpha: Any) -> Any:
    """(q, s) with q * s * TINY = w (1 - q) / ((1 + w) (1 + w q)): the derivative's magnitude, even about 1/2."""
    p, s = clipping_exp(x, alpha)
    u, u_low, k = clipping_rest(alpha)
    w, w_low = exp_pair(p, s)
    n, n_low = exact_grow(u, u_low, p)
    g, g_low = add(1.0, 0.0, w, w_low)
    h, h_low = multiply_add(w, w_low, k, 0.0, 1.0, 0.0)
    d, d_low = multiply(g, g_low, h, h_low)
    return exact_divide(n, n_low, d, d_low), s


@soft_clipping.second_derivative
def _(x: Any, alpha: Any) -> Any:
    # The derivative times alpha (1 - w^2 q) / ((1 + w) (1 + w q)), odd about 1/2
    p, s = clipping_exp(x, alpha)
    u, u_low, k = clipping_rest(alpha)
    w, w_low = exp_pair(p, s)
    z = made_finite(alpha * (x - 0.5))
    m, m_low = multiply(-expm1_down(-2.0 * abs(z)), 0.0, u, u_low)
    n, n_low = grow(m, m_low, p)
    g, g_low = add(1.0, 0.0, w, w_low)
    h, h_low = multiply_add(w, w_low, k, 0.0, 1.0, 0.0)
    e, e_low = multiply(g, g_low, h, h_low)
    d, d_low = multiply(e, e_low, e, e_low)
    return copysign(scale_down(abs(alpha) * exact_divide(n, n_low, d, d_low), s), -z)


# ---------------------------------------------------------------- a power


@primitive
def log1p_pair(e: Any, e_low: Any) -> Any:
    """log(1 + e) as a pair, for 0 <= e <= 1."""
    # 2 atanh(t) with t = e / (2 + e)
    d, d_low = exact_add(2.0, 0.0, e, e_low)
    t, t_low = quotient_pair(e, e_low, d, d_low)
    z = t * t
    c = t * z * poly(z, ATANH_32, ATANH_64)
    h = t + t  # exact
    r = h + c
    return r, (c - (r - h)) + (t_low + t_low)


@primitive
def power_exp(x: Any, beta: Any) -> Any:
    """(p, s) of `exp_down` for e = exp(-abs(z)) with z = beta x, and z as a pair."""
    y = min(max(x, -FAR_AWAY), FAR_AWAY)
    z = beta * y
    low = fma(beta, y, -z)
    c = max(-abs(z), pick(x, GONE_32, GONE_64))
    p, s = exp_down_low(c, (low if z < 0.0 else -low) if c == -abs(z) else 0.0)
    return p, s, z, low


@primitive
def power_log(alpha: Any, p: Any, s: Any, z: Any, z_low: Any) -> Any:
    """alpha log(sigmoid(z)) as a pair, from what `power_exp` gives."""
    e, e_low = exp_pair(p, s)
    r, r_low = log1p_pair(e, e_low)
    total, total_low = exact_add(z if z < 0.0 else 0.0, z_low if z < 0.0 else 0.0, -r, -r_low)
    return exact_multiply(alpha, 0.0, total, total_low)


@activation(
    formula="exp(-alpha * softplus(-beta * x))",
    derivative_formula="alpha * beta * sigmoid(-beta * x) * (1 + exp(-beta * x))^-alpha",
    value_range="[0, 1]",
    params={"alpha": 1.0, "beta": 0.5},
    examples=((1.0, 0.5), (1.5, 0.5), (0.25, -2.0), (4.0, 1.0)),
    cost="erf",
    limits={-inf: 0.0, inf: 1.0, -0.0: 0.5},
    monotonicity="increasing",
    # ln(alpha) / beta for each of the examples
    roots={"second_derivative": (0.8109302, 0.6931472, 1.3862944)},
    lipschitz=0.125,
    source="Patwardhan, Ingalhalikar and Walambe (2018)",
)
def aria2(x: Any, alpha: Any, beta: Any) -> Any:
    """Adaptive Richard's curve weighted activation: a power of a logistic, (1 + exp(-beta x))^-alpha.

    The bounds hold for abs(alpha) up to 5 (float32: 10); beyond, errors grow with it.
    """
    p, s, z, z_low = power_exp(x, beta)
    power, power_low = power_log(alpha, p, s, z, z_low)
    return exp_times_low(1.0, power, power_low)


@primitive
def power_slope(a: Any, alpha: Any, p: Any, s: Any, z: Any, z_low: Any) -> Any:
    """a (1 + exp(-z))^-alpha min(exp(-z), 1), all powers in one exponential."""
    power, power_low = power_log(alpha, p, s, z, z_low)
    high, low = exact_add(power, power_low, -z if z > 0.0 else 0.0, -z_low if z > 0.0 else 0.0)
    return exp_times_low(a, high, low)


@aria2.derivative
def _(x: Any, alpha: Any, beta: Any) -> Any:
    # alpha beta sigmoid(-z) (1 + exp(-z))^-alpha
    p, s, z, z_low = power_exp(x, beta)
    e, e_low = exp_pair(p, s)
    d, d_low = exact_add(1.0, 0.0, e, e_low)
    c, c_low = exact_multiply(alpha, 0.0, beta, 0.0)
    return power_slope(exact_divide(c, c_low, d, d_low), alpha, p, s, z, z_low)


@aria2.second_derivative
def _(x: Any, alpha: Any, beta: Any) -> Any:
    # beta f' (alpha - e) / (1 + e) left of 0, beta f' (alpha e - 1) / (1 + e) right of it, with m = e - 1 for e
    p, s, z, z_low = power_exp(x, beta)
    e, e_low = exp_pair(p, s)
    d, d_low = add(1.0, 0.0, e, e_low)
    square, square_low = multiply(d, d_low, d, d_low)
    t = s * TINY_64
    m = fma(p, t, t - 1.0)
    c, c_low = add(alpha, 0.0, -1.0, 0.0)
    f, f_low = multiply_add(-1.0 if z < 0.0 else alpha, 0.0, m, fma(p, t, (t - 1.0) - m), c, c_low)
    b, b_low = multiply(alpha, 0.0, beta, 0.0)
    g, g_low = multiply(b, b_low, beta, 0.0)
    n, n_low = multiply(f, f_low, g, g_low)
    return power_slope(exact_divide(n, n_low, square, square_low), alpha, p, s, z, z_low)
