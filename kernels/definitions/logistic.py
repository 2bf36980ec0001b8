"""Functions made of the logistic: gates of other slopes, its logarithm, powers and differences."""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, bits, copysign, fma, from_bits, max, min, pick, primitive
from .primitives import (
    DOWN_32,
    DOWN_64,
    TINY_32,
    TINY_64,
    add,
    exact_multiply,
    exp_down,
    exp_fraction,
    expm1_down,
    log1p_unit,
    multiply,
    multiply_add,
    scale_down,
)
from .sigmoids import GONE_32, GONE_64, bell, gate, gate_bend, gate_slope, gate_slopes, logistic

LN2 = 0.6931471805599453
# gelu_tanh(x) = x sigmoid(u), u = sqrt(8 / pi) (x + 0.044715 x^3): -u log2(e) = x (BINARY_LINEAR + BINARY_CUBIC x^2), each constant with
# its low part. The linear ones end in zeros, so that the sum can be taken from them exactly.
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
QUICK_GONE_32, QUICK_GONE_64 = 70.0, 447.0


@primitive
def exp2_down(a: Any, w: Any, w_low: Any) -> Any:
    """(p, s) of `exp_down`: 2^(a (w + w_low)), the product not rounded before its whole part is gone."""
    z = fma(a, w, pick(a, DOWN_32, DOWN_64))
    k = z - pick(a, DOWN_32, DOWN_64)
    return exp_fraction(fma(a, w_low, fma(a, w, -k)) * LN2), from_bits(bits(z) << pick(a, 23, 52))


# ---------------------------------------------------------------- gates


@primitive
def gelu_tanh_exp(a: Any) -> Any:
    """(p, s) of `exp_down`: exp(-u) for u = sqrt(8 / pi) (a + 0.044715 a^3), which its tail needs to more digits than a number has."""
    square = a * a
    w = fma(pick(a, BINARY_CUBIC_32, BINARY_CUBIC_64), square, pick(a, BINARY_LINEAR_32, BINARY_LINEAR_64))
    rest = fma(pick(a, BINARY_CUBIC_LOW_32, BINARY_CUBIC_LOW_64), square, pick(a, BINARY_LINEAR_LOW_32, BINARY_LINEAR_LOW_64))
    cubic = fma(pick(a, BINARY_CUBIC_32, BINARY_CUBIC_64), fma(a, a, -square), rest)
    w_low = fma(pick(a, BINARY_CUBIC_32, BINARY_CUBIC_64), square, pick(a, BINARY_LINEAR_32, BINARY_LINEAR_64) - w) + cubic
    return exp2_down(a, w, w_low)


@activation(
    formula="x * sigmoid(2 * sqrt(2 / pi) * (x + 0.044715 * x**3))",
    derivative_formula="sigmoid(u) * (1 + x * u' * sigmoid(-u)), u = 2 * sqrt(2 / pi) * (x + 0.044715 * x^3)",
    value_range="[-0.1701, inf)",
    aliases=("gelu_approx", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"),
    cost="exp",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-0.7524614,), "second_derivative": (-1.418504, 1.418504)},
    lipschitz=1.12899306867,
    bound=3.0,
    source="Hendrycks and Gimpel (2016)",
)
def gelu_tanh(x: Any) -> Any:
    """Gaussian error linear unit, approximated with the hyperbolic tangent: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))."""
    c = max(x, pick(x, -GELU_GONE_32, -GELU_GONE_64))
    p, s = gelu_tanh_exp(min(abs(c), pick(x, GELU_GONE_32, GELU_GONE_64)))
    return gate(c, c, p, s)


@primitive
def gelu_tanh_rise(a: Any) -> Any:
    """The pair u'(a)."""
    square = a * a
    w = fma(pick(a, CUBIC_32, CUBIC_64), square, pick(a, LINEAR_32, LINEAR_64))
    low = fma(pick(a, CUBIC_32, CUBIC_64), fma(a, a, -square), fma(pick(a, CUBIC_LOW_32, CUBIC_LOW_64), square, pick(a, LINEAR_LOW_32, LINEAR_LOW_64)))
    return w, fma(pick(a, CUBIC_32, CUBIC_64), square, pick(a, LINEAR_32, LINEAR_64) - w) + low


@gelu_tanh.derivative
def _(x: Any) -> Any:
    a = min(abs(x), pick(x, GELU_GONE_32, GELU_GONE_64))
    p, s = gelu_tanh_exp(a)
    w, w_low = gelu_tanh_rise(a)
    v, v_low = exact_multiply(a, 0.0, w, w_low)
    return gate_slopes(x, v, v_low, p, s)


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
    aliases=("gelu_quick",),
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
    return gate(beta * c, c, p, s)


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
