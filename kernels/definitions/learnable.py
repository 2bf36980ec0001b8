"""Functions whose parameters are learned: each has its gradient with respect to x and to every learnable parameter.

Where a gradient is a product with a factor that may be huge and one that has vanished, the vanishing one's scale comes last.
"""

from __future__ import annotations

from math import inf
from typing import Any

from .algebraic import exact_root, exact_square_plus, inverse_root
from .erfs import SLOPE_32, SLOPE_64, SLOPE_LOW_32, SLOPE_LOW_64, exp_down_full, exp_down_pairs
from .language import activation, bits, copysign, fma, from_bits, max, min, pick, poly, primitive
from .logistic import made_finite, power_log
from .periodic import LIMIT_32, LIMIT_64, exact_arcs, quadrant, reduce_product, reduce_scaled, sin_reduced, wave
from .primitives import (
    DOWN_32,
    DOWN_64,
    EXP_32,
    EXP_64,
    LN2_HIGH_32,
    LN2_LOW_32,
    LOG2E,
    TINY_32,
    TINY_64,
    erf,
    exact_add,
    exact_divide,
    exact_grow,
    exact_multiply,
    exact_quotient,
    exact_sum,
    exp,
    exp_down,
    exp_down_low,
    exp_split,
    exp_times_low,
    expm1_down,
    grow,
    multiply,
    scale_down,
)
from .sigmoids import GONE_32, GONE_64, gate_bend, logistic
from .softplus import FAR_32, FAR_64, product_low
from .tanhs import bend_times, decay, one_less, one_more, slope_times, tanh_times

BEYOND_32, BEYOND_64 = 1e30, 1e300  # where only the leading terms are left
# 1 / 2!, 1 / 3!, ...: exp's series in float32, to more digits than float32 has
FACTORIALS = (0.5, 0.16666667, 0.041666668, 0.008333334, 0.0013888889, 0.00019841270, 2.4801588e-05)

# ---------------------------------------------------------------- straight pieces


@primitive
def line(x: Any, t: Any, a: Any) -> Any:
    """t + a * (x - t)."""
    d, low = exact_sum(x, -t)
    far = t if a == 0.0 else a * x
    return far if abs(x) > pick(x, BEYOND_32, BEYOND_64) else fma(a, low, fma(a, d, t))


@primitive
def from_on(x: Any, t: Any, v: Any) -> Any:
    """v where x >= t, 0 below, NaN for NaN."""
    return v if x >= t else (0.0 if x < t else x)


@primitive
def up_to(x: Any, t: Any, v: Any) -> Any:
    """v where x <= t, 0 above, NaN for NaN."""
    return v if x <= t else (0.0 if x > t else x)


@activation(
    formula="t_right + a_right * (x - t_right) if x >= t_right else t_left + a_left * (x - t_left) if x <= t_left else x",
    derivative_formula="a_right if x >= t_right else a_left if x <= t_left else 1",
    value_range="(-inf, inf)",
    params={"t_right": None, "a_right": None, "t_left": None, "a_left": None},
    examples=((1.0, 0.5, -1.0, 0.2), (0.4, 2.0, 0.0, 0.0), (3.0, -0.3, -0.7, 1.5), (1.7, 0.0, -20.0, -0.1)),
    learnable=("t_right", "a_right", "t_left", "a_left"),
    aliases=("s_shaped_relu",),
    cost="move",
    limits={-inf: -inf, inf: inf, -0.0: -0.0},
    source="Jin et al. (2016)",
    monotonicity="increasing",
    continuity="C0",
    kinks={"t_right": ("1.0", "a_right"), "t_left": ("a_left", "1.0")},
    lipschitz=1.0,
)
def srelu(x: Any, t_right: Any, a_right: Any, t_left: Any, a_left: Any) -> Any:
    """S-shaped rectified linear unit: the identity between two thresholds, a slope of its own beyond each; the right side comes first."""
    left = line(x, t_left, a_left) if x <= t_left else x
    return line(x, t_right, a_right) if x >= t_right else left


@srelu.derivative
def _(x: Any, t_right: Any, a_right: Any, t_left: Any, a_left: Any) -> Any:
    return a_right if x >= t_right else (a_left if x <= t_left else (1.0 if x == x else x))


@srelu.gradient("t_right")
def _(x: Any, t_right: Any, a_right: Any, t_left: Any, a_left: Any) -> Any:
    return from_on(x, t_right, 1.0 - a_right)


@srelu.gradient("a_right")
def _(x: Any, t_right: Any, a_right: Any, t_left: Any, a_left: Any) -> Any:
    return from_on(x, t_right, x - t_right)


@srelu.gradient("t_left")
def _(x: Any, t_right: Any, a_right: Any, t_left: Any, a_left: Any) -> Any:
    return 0.0 if x >= t_right else up_to(x, t_left, 1.0 - a_left)


@srelu.gradient("a_left")
def _(x: Any, t_right: Any, a_right: Any, t_left: Any, a_left: Any) -> Any:
    return 0.0 if x >= t_right else up_to(x, t_left, x - t_left)


@activation(
    formula="max(alpha * (x + c) - c, min(alpha * (x - c) + c, x))",
    derivative_formula="1 if abs(x) < c else alpha",
    value_range="(-inf, inf)",
    params={"alpha": 0.1, "c": 1.0},
    examples=((0.1, 1.0), (0.5, 0.3), (0.0, 2.0), (0.9, 30.0)),
    learnable=("alpha", "c"),
    cost="move",
    limits={-inf: -inf, inf: inf, -0.0: -0.0},
    slopes=("1.0", "alpha"),
    source="Nicolae (2018)",
    monotonicity="increasing",
    continuity="C0",
    kinks={"c": ("1.0", "alpha"), "-c": ("alpha", "1.0")},
    lipschitz=1.0,
)
def plu(x: Any, alpha: Any, c: Any) -> Any:
    """Piecewise linear unit: the identity from -c to c, slope `alpha` beyond; `alpha` from 0 to 1, `c` positive."""
    beyond = line(abs(x), c, alpha)
    return x if abs(x) < c else (beyond if x > 0.0 else -beyond)


@plu.derivative
def _(x: Any, alpha: Any, c: Any) -> Any:
    return 1.0 if abs(x) < c else (alpha if abs(x) >= c else x)


@plu.gradient("alpha")
def _(x: Any, alpha: Any, c: Any) -> Any:
    return 0.0 if abs(x) < c else copysign(abs(x) - c, x)


@plu.gradient("c")
def _(x: Any, alpha: Any, c: Any) -> Any:
    rest = 1.0 - alpha
    return 0.0 if abs(x) < c else (rest if x > 0.0 else (-rest if x < 0.0 else x))


# ---------------------------------------------------------------- exponential pieces


@activation(
    formula="alpha / beta * x if x >= 0 else alpha * expm1(x / beta)",
    derivative_formula="alpha / beta if x >= 0 else alpha / beta * exp(x / beta)",
    value_range="[-alpha, inf)",
    params={"alpha": 1.0, "beta": 1.0},
    examples=((1.0, 1.0), (2.0, 0.5), (0.3, 1.7), (-0.7, 20.0)),
    learnable=("alpha", "beta"),
    aliases=("parametric_elu",),
    cost="exp",
    limits={-inf: -1.0, inf: inf, -0.0: -0.0},
    source="Trottier, Giguere and Chaib-draa (2017)",
    monotonicity="increasing",
    continuity="C1",
    lipschitz=1.0,
)
def pelu(x: Any, alpha: Any, beta: Any) -> Any:
    """Parametric exponential linear unit: elu of a learned scale and a learned rate of decay; `beta` must be positive."""
    z = min(x, 0.0) / beta
    # Next to 0 the quotient may be subnormal, and the curve is its tangent.
    return (alpha / beta) * x if z > pick(x, -1e-9, -1e-17) else alpha * expm1_down(z)


@primitive
def quotient_rest(x: Any, beta: Any, z: Any) -> Any:
    """What the division z = x / beta left behind; 0 where its exponential has vanished."""
    return -fma(z, beta, -x) / beta if abs(z) < pick(x, FAR_32, FAR_64) else 0.0


@pelu.derivative
def _(x: Any, alpha: Any, beta: Any) -> Any:
    c = min(x, 0.0)
    z = c / beta
    return exp_times_low(alpha / beta, z, quotient_rest(c, beta, z))


@pelu.gradient("alpha")
def _(x: Any, alpha: Any, beta: Any) -> Any:
    z = x / beta
    return z if z > pick(x, -1e-9, -1e-17) else expm1_down(min(z, 0.0))


@pelu.gradient("beta")
def _(x: Any, alpha: Any, beta: Any) -> Any:
    # -alpha x / beta^2, times exp(x / beta) left of 0
    z = max(x, pick(x, -FAR_32, -FAR_64) * beta) / beta
    rest = quotient_rest(x, beta, z)
    n, n_low = exact_multiply(alpha, 0.0, z, rest)
    q = exact_divide(-n, -n_low, beta, 0.0) if abs(n) < pick(x, BEYOND_32, BEYOND_64) else -n / beta
    return q if z >= 0.0 else exp_times_low(q, z, rest)


@primitive
def softplus_pair(v: Any) -> Any:
    """log(1 + exp(v)) as a pair."""
    p, s = exp_down(max(-abs(v), pick(v, GONE_32, GONE_64)))
    return power_log(-1.0, p, s, -v, 0.0)


@primitive
def logistic_of(v: Any) -> Any:
    """1 / (1 + exp(-v))."""
    p, s = exp_down(max(-abs(v), pick(v, GONE_32, GONE_64)))
    return logistic(v, p, s)


@primitive
def expm1_full(x: Any) -> Any:
    """expm1(x) for x <= 0 as a pair, but for the error of its polynomial."""
    p, p_low, s = exp_down_full(max(x, pick(x, -18.0, -40.0)), 0.0)
    u, u_low = one_less(p, p_low, s)
    return -u, -u_low


@primitive
def xielu_curve(x: Any, eps: Any) -> Any:
    """The pair expm1(min(x, eps)) - x for x <= 0."""
    y = max(x, pick(x, -BEYOND_32, -BEYOND_64))
    c = min(y, eps)
    # next to 0, with expm1(h) = h + t: 2 t + (h + t)^2 for h = c / 2
    h = 0.5 * c
    hh, hh_low = exact_multiply(h, 0.0, h, 0.0)
    t, t_low = exact_multiply(hh, hh_low, poly(h, EXP_32, EXP_64), 0.0)
    e, e_low = exact_add(h, 0.0, t, t_low)
    ee, ee_low = exact_multiply(e, e_low, e, e_low)
    r, r_low = exact_add(t + t, t_low + t_low, ee, ee_low)
    rest, rest_low = exact_sum(c, -y)
    near, near_low = exact_add(r, r_low, rest, rest_low)
    m, m_low = expm1_full(c)
    far, far_low = exact_sum(m, -y)
    return near if c > -0.69 else far, near_low if c > -0.69 else far_low + m_low


@activation(
    formula="softplus(alpha_p) * x * x + beta * x if x > 0 else (beta + softplus(alpha_n)) * (expm1(min(x, eps)) - x) + beta * x",
    derivative_formula="2 * softplus(alpha_p) * x + beta if x > 0 else "
    "(beta + softplus(alpha_n)) * expm1(x) + beta if x <= eps else -softplus(alpha_n)",
    value_range="[-0.2058, inf)",
    params={"alpha_p": 0.2033876552, "alpha_n": -1.0502256129, "beta": 0.5, "eps": -1e-6},  # softplus: 0.8, 0.3
    examples=((0.2033876552, -1.0502256129, 0.5, -1e-6), (-2.0, 3.0, 0.5, -1e-6), (1.5, -0.4, 0.25, -0.01)),
    learnable=("alpha_p", "alpha_n"),
    cost="exp",
    limits={-inf: inf, inf: inf, -0.0: -7.999995999780632e-07},
    source="Huang and Schlag (2024), as in Apertus",
    # for each of the examples
    roots={
        "value": (-2.4324842771, -0.311839658, -0.8544143497),
        "derivative": (-0.9808292531, -0.1518712753, -0.3969724446),
        "gradient_alpha_n": (-9.999995000001667e-07, -0.009950166250831947),
    },
    continuity="discontinuous",
)
def xielu(x: Any, alpha_p: Any, alpha_n: Any, beta: Any, eps: Any) -> Any:
    """Integral of an extended elu: a parabola right of 0, an exponential left of it.

    `alpha_p` and `alpha_n` are what softplus makes positive; `beta` and `eps` are not learned. From `eps` to 0 the exponential stands
    still, so that at 0 there is a step of about eps.
    """
    a, a_low = softplus_pair(alpha_p)
    k, k_low = softplus_pair(alpha_n)
    b, b_low = exact_add(k, k_low, beta, 0.0)
    d, d_low = xielu_curve(min(x, 0.0), eps)
    n, n_low = exact_multiply(b, b_low, d, d_low)
    c, c_low = exact_multiply(beta, 0.0, min(max(x, pick(x, -BEYOND_32, -BEYOND_64)), 0.0), 0.0)
    m, m_low = exact_add(n, n_low, c, c_low)
    left = m + m_low if x > pick(x, -BEYOND_32, -BEYOND_64) else -k * x
    return fma(a, x, fma(a_low, made_finite(x), beta)) * x if x > 0.0 else left


@xielu.derivative
def _(x: Any, alpha_p: Any, alpha_n: Any, beta: Any, eps: Any) -> Any:
    a, a_low = softplus_pair(alpha_p)
    k, k_low = softplus_pair(alpha_n)
    b, b_low = exact_add(k, k_low, beta, 0.0)
    m, m_low = expm1_full(min(x, 0.0))
    n, n_low = exact_multiply(b, b_low, m, m_low)
    d, d_low = exact_add(n, n_low, beta, 0.0)
    left = d + d_low if x <= eps else -(k + k_low)
    return fma(2.0 * a, x, fma(2.0 * a_low, made_finite(x), beta)) if x > 0.0 else (left if x <= 0.0 else x)


@xielu.gradient("alpha_p")
def _(x: Any, alpha_p: Any, alpha_n: Any, beta: Any, eps: Any) -> Any:
    return (logistic_of(alpha_p) * x) * x if x > 0.0 else (0.0 if x <= 0.0 else x)


@xielu.gradient("alpha_n")
def _(x: Any, alpha_p: Any, alpha_n: Any, beta: Any, eps: Any) -> Any:
    d, d_low = xielu_curve(min(x, 0.0), eps)
    curve = (d + d_low) if x > pick(x, -BEYOND_32, -BEYOND_64) else -x
    return 0.0 if x > 0.0 else logistic_of(alpha_n) * curve


# ---------------------------------------------------------------- gates


@primitive
def acon_exp(x: Any, b: Any, b_low: Any, d: Any, d_low: Any) -> Any:
    """(z, a, a_low, p, p_low, s): z = b d x of pairs b and d, abs(z) as a pair, bounded, and the parts of exp(-abs(z))."""
    k, k_low = exact_multiply(b, b_low, d, d_low)
    c = made_finite(x)
    z = k * c
    a = min(abs(z), pick(x, FAR_32, FAR_64))
    low = fma(k, c, -z) + k_low * c
    a_low = (low if z > 0.0 else -low) if a == abs(z) else 0.0
    p, p_low, s = exp_down_full(-a, -a_low)
    return z, a, a_low, p, p_low, s


@primitive
def parts_pair(p: Any, p_low: Any, s: Any) -> Any:
    """exp as a pair from its parts."""
    t = s * pick(p, TINY_32, TINY_64)
    e = fma(p, t, t)
    return e, fma(p, t, t - e) + p_low * t


@primitive
def grown_by(a: Any, a_low: Any, p: Any, p_low: Any) -> Any:
    """The pair a * (1 + p)."""
    n, n_low = exact_grow(a, a_low, p)
    return n, fma(a, p_low, n_low)


@primitive
def gate_share(x: Any, left: Any, a: Any, a_low: Any, p: Any, p_low: Any, s: Any) -> Any:
    """x times the derivative of v * sigmoid(v) at v = -a where left < 0, else at v = a, from the parts of exp(-a); scaled last."""
    behind = left < 0.0
    e, e_low = parts_pair(p, p_low, s)
    g, g_low = exact_add(1.0, 0.0, e, e_low)
    # e (1 + e - a) or 1 + e + a e, over (1 + e)^2
    v, v_low = exact_multiply(a, a_low, 1.0 if behind else e, 0.0 if behind else e_low)
    m, m_low = exact_add(g, g_low, -v if behind else v, -v_low if behind else v_low)
    n, n_low = grown_by(m, m_low, p if behind else 0.0, p_low if behind else 0.0)
    d, d_low = exact_multiply(g, g_low, g, g_low)
    q = exact_divide(n, n_low, d, d_low)
    gone = a >= pick(x, FAR_32, FAR_64)
    hidden = q * copysign(1.0, x) if gone else q * x
    return scale_down(hidden, s) if behind else q * x


@primitive
def acon_value(x: Any, p1: Any, p2: Any, b: Any, b_low: Any) -> Any:
    """(p1 sigmoid(z) + p2 sigmoid(-z)) x with z = (b + b_low) (p1 - p2) x."""
    d, d_low = exact_sum(p1, -p2)
    z, a, _a_low, p, p_low, s = acon_exp(x, b, b_low, d, d_low)
    first = p2 if z < 0.0 else p1
    second = p1 if z < 0.0 else p2
    # Where the first is 0 the exponential is a factor of all, and its scale comes last.
    alone = first == 0.0
    e, e_low = parts_pair(p, p_low, s)
    g, g_low = exact_add(1.0, 0.0, e, e_low)
    v, v_low = exact_multiply(second, 0.0, e, e_low)
    m, m_low = exact_add(first, 0.0, v, v_low)
    u, u_low = grown_by(second, 0.0, p, p_low)
    q = exact_divide(u if alone else m, u_low if alone else m_low, g, g_low)
    c = copysign(1.0, x) if a >= pick(x, FAR_32, FAR_64) else x
    return scale_down(q * c, s) if alone else q * x


@primitive
def acon_slope(x: Any, p1: Any, p2: Any, b: Any, b_low: Any) -> Any:
    """The derivative of `acon_value` with respect to x."""
    d, d_low = exact_sum(p1, -p2)
    z, a, a_low, p, p_low, s = acon_exp(x, b, b_low, d, d_low)
    behind = z < 0.0
    first = p2 if behind else p1
    second = p1 if behind else p2
    alone = first == 0.0
    # ((first + second e) (1 + e) + (first - second) a e) / (1 + e)^2
    e, e_low = parts_pair(p, p_low, s)
    g, g_low = exact_add(1.0, 0.0, e, e_low)
    v, v_low = exact_multiply(second, 0.0, e, e_low)
    m, m_low = exact_add(first, 0.0, v, v_low)
    f, f_low = exact_multiply(second if alone else m, 0.0 if alone else m_low, g, g_low)
    h, h_low = exact_multiply(-d if behind else d, -d_low if behind else d_low, a, a_low)
    w, w_low = exact_multiply(h, h_low, 1.0 if alone else e, 0.0 if alone else e_low)
    n, n_low = exact_add(f, f_low, w, w_low)
    t, t_low = grown_by(n, n_low, p if alone else 0.0, p_low if alone else 0.0)
    k, k_low = exact_multiply(g, g_low, g, g_low)
    q = exact_divide(t, t_low, k, k_low)
    return scale_down(q, s) if alone else q


@primitive
def acon_curve(x: Any, p1: Any, p2: Any, b: Any, b_low: Any) -> Any:
    """The second derivative of `acon_value`: b d^2 s'(z) (2 - z tanh(z / 2)); in float64."""
    d, d_low = exact_sum(p1, -p2)
    _, a, a_low, p, _p_low, s = acon_exp(x, b, b_low, d, d_low)
    square, square_low = exact_multiply(d, d_low, d, d_low)
    k, k_low = exact_multiply(square, square_low, b, b_low)
    h, h_low = exact_multiply(k, k_low, a, a_low)
    return gate_bend(k + k, k_low + k_low, h, h_low, p, s)


@primitive
def acon_rate(x: Any, p1: Any, p2: Any, b: Any, b_low: Any, w: Any, w_low: Any) -> Any:
    """w ((p1 - p2) x)^2 s'(z): the derivative of `acon_value` with respect to b, times a pair w."""
    d, d_low = exact_sum(p1, -p2)
    _, a, _a_low, p, p_low, s = acon_exp(x, b, b_low, d, d_low)
    gone = a >= pick(x, FAR_32, FAR_64)
    y = 0.0 if gone else x
    c, c_low = exact_multiply(d, d_low, y, 0.0)
    # The scale comes last where the result may be subnormal, earlier where the square may overflow.
    near = abs(c) < pick(x, 4e9, 1e77)
    n, n_low = grown_by(w, w_low, p, p_low)
    e, e_low = parts_pair(p, p_low, s)
    g, g_low = exact_add(1.0, 0.0, e, e_low)
    k, k_low = exact_multiply(g, g_low, g, g_low)
    q = (exact_divide(n, n_low, k, k_low) * c) * (s if near else scale_down(1.0, s))
    scaled = fma(q, c, q * (c_low + c_low))
    return abs(scaled * (pick(x, TINY_32, TINY_64) if near else 1.0)) if x == x else x  # also of a zero


@activation(
    formula="(p1 - p2) * x * sigmoid(beta * (p1 - p2) * x) + p2 * x",
    derivative_formula="(p1 - p2) * sigmoid(z) * (1 + z * sigmoid(-z)) + p2, z = beta * (p1 - p2) * x",
    value_range="[-0.0101, inf)",
    params={"p1": None, "p2": None, "beta": 1.0},
    examples=((1.2, -0.8, 1.0), (1.0, 0.0, 1.0), (0.0, 0.7, 3.0), (0.5, 0.25, -2.0), (-1.5, 0.3, 0.1)),
    learnable=("p1", "p2", "beta"),
    aliases=("aconc",),
    cost="exp",
    limits={-inf: inf, inf: inf, -0.0: -0.0},
    # for each of the examples
    roots={
        "value": (-0.2027325541, 8.941321736),
        "derivative": (-0.1006761671, -1.278464543, -0.6087926394, 4.031428989),
        "second_derivative": (
            -1.19967864,
            1.19967864,
            -2.399357281,
            2.399357281,
            -1.142551086,
            1.142551086,
            -4.798714561,
            4.798714561,
            -13.32976267,
            13.32976267,
        ),
        "gradient_p1": (-0.6392322714, -1.278464543, 0.6087926394, 2.556929086, 7.102580793),
        "gradient_p2": (0.6392322714, 1.278464543, -0.6087926394, -2.556929086, -7.102580793),
    },
    lipschitz=1.39967864026,
    source="Ma, Zhang, Liu and Sun (2021)",
)
def acon_c(x: Any, p1: Any, p2: Any, beta: Any) -> Any:
    """ACON-C: a smooth maximum of p1 x and p2 x, the sharper the larger `beta`; swish_beta for p1 = 1, p2 = 0."""
    return acon_value(x, p1, p2, beta, 0.0)


@acon_c.derivative
def _(x: Any, p1: Any, p2: Any, beta: Any) -> Any:
    return acon_slope(x, p1, p2, beta, 0.0)


@acon_c.second_derivative
def _(x: Any, p1: Any, p2: Any, beta: Any) -> Any:
    return acon_curve(x, p1, p2, beta, 0.0)


@acon_c.gradient("p1")
def _(x: Any, p1: Any, p2: Any, beta: Any) -> Any:
    d, d_low = exact_sum(p1, -p2)
    z, a, a_low, p, p_low, s = acon_exp(x, beta, 0.0, d, d_low)
    return gate_share(x, z, a, a_low, p, p_low, s)


@acon_c.gradient("p2")
def _(x: Any, p1: Any, p2: Any, beta: Any) -> Any:
    d, d_low = exact_sum(p1, -p2)
    z, a, a_low, p, p_low, s = acon_exp(x, beta, 0.0, d, d_low)
    return gate_share(x, -z, a, a_low, p, p_low, s)


@acon_c.gradient("beta")
def _(x: Any, p1: Any, p2: Any, beta: Any) -> Any:
    return acon_rate(x, p1, p2, beta, 0.0, 1.0, 0.0)


@primitive
def exp_finest(x: Any) -> Any:
    """(p, p_low, s) of `exp_down` with more digits than a number has: for an exponential that goes into another's argument."""
    z = fma(x, LOG2E, DOWN_32)
    k = z - DOWN_32
    c = fma(k, -LN2_HIGH_32, x)
    d = k * -LN2_LOW_32
    r = c + d
    rr, rr_low = exact_multiply(r, d - (r - c), r, d - (r - c))
    q, q_low = exact_multiply(rr, rr_low, poly(r, FACTORIALS, FACTORIALS), 0.0)
    p, p_low = exact_sum(r, q)
    return p, p_low + (q_low + (d - (r - c))), from_bits(bits(z) << 23)


@exp_finest.float64
def _(x: Any) -> Any:
    return exp_down_pairs(x, 0.0)


@primitive
def logistic_pair(v: Any) -> Any:
    """1 / (1 + exp(-v)) and its derivative as pairs, for abs(v) up to 80 (float64: 600)."""
    p, p_low, s = exp_finest(max(-abs(v), pick(v, -80.0, -600.0)))
    e, e_low = parts_pair(p, p_low, s)
    g, g_low = exact_add(1.0, 0.0, e, e_low)
    q, q_low = exact_quotient(e if v < 0.0 else 1.0, e_low if v < 0.0 else 0.0, g, g_low)
    r, r_low = exact_quotient(1.0 if v < 0.0 else e, 0.0 if v < 0.0 else e_low, g, g_low)
    w, w_low = exact_multiply(q, q_low, r, r_low)
    return q, q_low, w, w_low


@activation(
    formula="(p1 - p2) * x * sigmoid(sigmoid(z) * (p1 - p2) * x) + p2 * x",
    derivative_formula="(p1 - p2) * sigmoid(u) * (1 + u * sigmoid(-u)) + p2, u = sigmoid(z) * (p1 - p2) * x",
    value_range="[-0.0201, inf)",
    params={"p1": None, "p2": None, "z": None},
    examples=((1.2, -0.8, 0.0), (1.0, 0.25, 2.0), (-0.5, 0.7, -3.0)),
    learnable=("p1", "p2", "z"),
    aliases=("meta_aconc",),
    cost="exp",
    limits={-inf: inf, inf: inf, -0.0: -0.0},
    # for each of the examples
    roots={
        "value": (-0.4054651081, -5.912248141),
        "derivative": (-0.2013523342, -2.942238325),
        "second_derivative": (-2.399357281, 2.399357281, -3.63209997, 3.63209997, -42.15978044, 42.15978044),
        "gradient_p1": (-1.278464543, -1.935314538, 22.46425943),
        "gradient_p2": (1.278464543, 1.935314538, -22.46425943),
    },
    lipschitz=1.39967864026,
    source="Ma, Zhang, Liu and Sun (2021)",
)
def meta_acon(x: Any, p1: Any, p2: Any, z: Any) -> Any:
    """The elementwise part of meta-ACON: acon_c with beta = sigmoid(z), where a small network gives `z` for each channel."""
    b, b_low, _w, _w_low = logistic_pair(z)
    return acon_value(x, p1, p2, b, b_low)


@meta_acon.derivative
def _(x: Any, p1: Any, p2: Any, z: Any) -> Any:
    b, b_low, _w, _w_low = logistic_pair(z)
    return acon_slope(x, p1, p2, b, b_low)


@meta_acon.second_derivative
def _(x: Any, p1: Any, p2: Any, z: Any) -> Any:
    b, b_low, _w, _w_low = logistic_pair(z)
    return acon_curve(x, p1, p2, b, b_low)


@meta_acon.gradient("p1")
def _(x: Any, p1: Any, p2: Any, z: Any) -> Any:
    b, b_low, _w, _w_low = logistic_pair(z)
    d, d_low = exact_sum(p1, -p2)
    u, a, a_low, p, p_low, s = acon_exp(x, b, b_low, d, d_low)
    return gate_share(x, u, a, a_low, p, p_low, s)


@meta_acon.gradient("p2")
def _(x: Any, p1: Any, p2: Any, z: Any) -> Any:
    b, b_low, _w, _w_low = logistic_pair(z)
    d, d_low = exact_sum(p1, -p2)
    u, a, a_low, p, p_low, s = acon_exp(x, b, b_low, d, d_low)
    return gate_share(x, -u, a, a_low, p, p_low, s)


@meta_acon.gradient("z")
def _(x: Any, p1: Any, p2: Any, z: Any) -> Any:
    b, b_low, w, w_low = logistic_pair(z)
    return acon_rate(x, p1, p2, b, b_low, w, w_low)


# ---------------------------------------------------------------- a wave


@activation(
    formula="x + sin(alpha * x)**2 / beta",
    derivative_formula="1 + alpha / beta * sin(2 * alpha * x)",
    value_range="(-inf, inf)",
    params={"alpha": 1.0, "beta": 1.0},
    examples=((1.0, 1.0), (0.5, 2.0), (-3.0, 2.0), (2.0, -0.5)),
    learnable=("alpha", "beta"),
    cost="exp",
    limits={-inf: -inf, inf: inf, -0.0: -0.0},
    monotonicity="increasing",
    lipschitz=2.0,
    # for each of the examples
    roots={"value": (-0.4967673192, -0.2856418788, 0.1277561638, 1.142380695)},
    reach={"float32": 1e5, "float64": 1e12},
    source="Lee et al., BigVGAN (2023)",
)
def snake_beta(x: Any, alpha: Any, beta: Any) -> Any:
    """Snake whose wave has a height of its own, x + sin(alpha x)^2 / beta; `beta` must not be 0.

    The bounds hold for abs(alpha * x) up to 2^21 (float64: 2^48); beyond, the value is x.
    """
    z = alpha * x
    within = abs(z) <= pick(x, LIMIT_32, LIMIT_64)
    r, r_low, w = reduce_product(z if within else 0.0, fma(-alpha, x, z) if within else 0.0)
    unit, t, rest = wave(r, r_low, w)
    h = unit + t
    h_low = (t - (h - unit)) - rest
    s = h + h_low
    q, q_low = exact_multiply(s, h_low - (s - h), s, h_low - (s - h))
    y = 1.0 / beta
    bend = q * y
    bent = (x + bend) + (fma(-bend, beta, q) + q_low) * y
    return x if abs(z) < pick(x, 1e-15, 1e-30) else bent


@snake_beta.derivative
def _(x: Any, alpha: Any, beta: Any) -> Any:
    # 1 + k sin(2 alpha x), k = alpha / beta: the integers and k first, so that next to a root nothing is lost
    z = 2.0 * alpha * x
    within = abs(z) <= pick(x, LIMIT_32, LIMIT_64)
    r, r_low, w = reduce_product(z if within else alpha * (x - x), fma(-2.0 * alpha, x, z) if within else 0.0)
    s, s_low, v, v_low = exact_arcs(r, r_low)
    k, k_low = exact_quotient(alpha, 0.0, beta, 0.0)
    unit = quadrant(0.0, 1.0, w)
    c, c_low = exact_add(1.0, 0.0, unit * k, unit * k_low)
    m, m_low = exact_multiply(quadrant(s, -v, w), quadrant(s_low, -v_low, w), k, k_low)
    n, n_low = exact_add(c, c_low, m, m_low)
    return n + n_low


@snake_beta.second_derivative
def _(x: Any, alpha: Any, beta: Any) -> Any:
    r, r_low, w = reduce_scaled(2.0 * alpha, x)
    return 2.0 * alpha * (alpha / beta) * sin_reduced(r, r_low, w + 1.0)


@snake_beta.gradient("alpha")
def _(x: Any, alpha: Any, beta: Any) -> Any:
    r, r_low, w = reduce_scaled(2.0 * alpha, x)
    return (x / beta) * sin_reduced(r, r_low, w)


@snake_beta.gradient("beta")
def _(x: Any, alpha: Any, beta: Any) -> Any:
    r, r_low, w = reduce_scaled(alpha, x)
    unit, t, rest = wave(r, r_low, w)
    h = unit + t
    h_low = (t - (h - unit)) - rest
    v = h + h_low
    q, q_low = exact_quotient(v, h_low - (v - h), beta, 0.0)
    return -fma(q, q, (q + q) * q_low)


# ---------------------------------------------------------------- in place of a normalisation


@activation(
    formula="gamma * tanh(alpha * x) + beta",
    derivative_formula="gamma * alpha * (1 - tanh(alpha * x)^2)",
    value_range="[beta - abs(gamma), beta + abs(gamma)]",
    params={"alpha": 0.5, "gamma": 1.0, "beta": 0.0},
    examples=((0.5, 1.0, 0.0), (0.8, 2.0, -0.3), (-1.5, 0.7, 0.1), (3.0, -0.2, 5.0)),
    learnable=("alpha", "gamma", "beta"),
    aliases=("dynamic_tanh",),
    cost="exp",
    limits={-inf: -1.0, inf: 1.0, -0.0: -0.0},
    # atanh(-beta / gamma) / alpha for each of the examples
    roots={"value": (0.1889250, 0.0958943)},
    monotonicity="increasing",
    lipschitz=0.5,
    source="Zhu, Chen, He, LeCun and Liu (2025)",
)
def dyt(x: Any, alpha: Any, gamma: Any, beta: Any) -> Any:
    """Dynamic tanh, which takes the place of a normalisation layer; `alpha` must not be 0."""
    z = alpha * x
    p, p_low, s = decay(-2.0 * abs(z), 2.0 * product_low(alpha, x, z))
    u, u_low = one_less(p, p_low, s)
    d, d_low = one_more(p, p_low, s)
    n, n_low = exact_multiply(copysign(1.0, z) * gamma, 0.0, u, u_low)
    k, k_low = exact_multiply(beta, 0.0, d, d_low)
    m, m_low = exact_add(n, n_low, k, k_low)
    near = (gamma * alpha) * x if beta == 0.0 else fma(gamma * alpha, x, beta)
    return near if abs(z) < pick(x, 1e-5, 1e-9) else exact_divide(m, m_low, d, d_low)


@primitive
def bounded(x: Any, z: Any) -> Any:
    """x where exp(-abs(z)) is still there, else its sign."""
    return x if abs(z) < pick(x, FAR_32, FAR_64) else copysign(1.0, x)


@dyt.derivative
def _(x: Any, alpha: Any, gamma: Any, beta: Any) -> Any:
    z = alpha * x
    c, c_low = exact_multiply(alpha, 0.0, gamma, 0.0)
    return slope_times(c, c_low, -2.0 * abs(z), 2.0 * product_low(alpha, x, z))


@dyt.second_derivative
def _(x: Any, alpha: Any, gamma: Any, beta: Any) -> Any:
    z = alpha * x
    c = (alpha * alpha) * gamma
    bend = bend_times(c, -2.0 * abs(z), 2.0 * product_low(alpha, x, z)) * copysign(1.0, -z)
    return (-2.0 * c * alpha) * x if abs(z) < 1e-9 else bend


@dyt.gradient("alpha")
def _(x: Any, alpha: Any, gamma: Any, beta: Any) -> Any:
    z = alpha * x
    c, c_low = exact_multiply(gamma, 0.0, bounded(x, z), 0.0)
    far = slope_times(c, c_low, -2.0 * abs(z), 2.0 * product_low(alpha, x, z))
    return gamma * x if abs(z) < pick(x, 1e-5, 1e-9) else copysign(far, c)


@dyt.gradient("gamma")
def _(x: Any, alpha: Any, gamma: Any, beta: Any) -> Any:
    z = alpha * x
    return z if abs(z) < pick(x, 1e-4, 1e-9) else tanh_times(1.0, z, 2.0 * product_low(alpha, x, z))


@dyt.gradient("beta")
def _(x: Any, alpha: Any, gamma: Any, beta: Any) -> Any:
    return 1.0 if x == x else x


@primitive
def dyt_half_sums(grad: Any, x: Any, alpha: Any, gamma: Any, beta: Any) -> Any:
    """All gradients for halves where those of the parameters are summed: float32 without low parts, one exponential, one division."""
    z = alpha * x
    p, w = exp_split(max(-2.0 * abs(z), pick(x, -131.0, -1060.0)), pick(x, DOWN_32, DOWN_64))
    e = fma(p, w, w) * pick(x, TINY_32, TINY_64)
    y = 1.0 / (1.0 + e)
    slope = 4.0 * (e * y) * y
    scaled = grad * gamma
    gone = 1.0 if x == x else x
    return scaled * alpha * slope, scaled * (bounded(x, z) * slope), grad * copysign((1.0 - e) * y, z), grad * gone


@primitive
def shifted(x: Any, alpha: Any, shift: Any) -> Any:
    """The pair alpha x + shift; without a low part where erf has saturated."""
    c = made_finite(x)
    p = alpha * c
    u, low = exact_sum(p, shift)
    low_of_both = low + fma(alpha, c, -p)
    total = u + low_of_both
    near = abs(p) < 1e5
    high = total if near else p
    # a sum with 0 would lose the sign of a zero
    return p if shift == 0.0 else high, (fma(alpha, c, -p) if shift == 0.0 else (u - total) + low_of_both) if near else 0.0


@primitive
def erf_of(u: Any, u_low: Any) -> Any:
    """erf(u + u_low)."""
    return erf(u)


@erf_of.float64
def _(u: Any, u_low: Any) -> Any:
    return copysign(fma(SLOPE_64 * exp(-(u * u)), u_low, erf(u)), u)


@primitive
def bell_of(c: Any, c_low: Any, u: Any, u_low: Any) -> Any:
    """(c + c_low) * 2 / sqrt(pi) * exp(-(u + u_low)^2)."""
    a = min(abs(u), pick(u, 11.0, 32.0))
    low = (u_low if u > 0.0 else -u_low) if a == abs(u) else 0.0
    square = a * a
    p, s = exp_down_low(-square, -(fma(a, a, -square) + (a + a) * low))
    k, k_low = multiply(c, c_low, pick(u, SLOPE_32, SLOPE_64), pick(u, SLOPE_LOW_32, SLOPE_LOW_64))
    n, n_low = grow(k, k_low, p)
    return scale_down(n + n_low, s)


@activation(
    formula="gamma * erf(alpha * x + shift) + beta",
    derivative_formula="gamma * alpha * 2 / sqrt(pi) * exp(-(alpha * x + shift)^2)",
    value_range="[beta - abs(gamma), beta + abs(gamma)]",
    params={"alpha": 0.5, "shift": 0.0, "gamma": 1.0, "beta": 0.0},
    examples=((0.5, 0.0, 1.0, 0.0), (0.8, 0.3, 2.0, 0.0), (-1.5, -0.2, 0.7, 0.1), (3.0, 1.0, -0.2, 5.0)),
    learnable=("alpha", "shift", "gamma", "beta"),
    aliases=("dynamic_erf",),
    cost="erf",
    limits={-inf: -1.0, inf: 1.0, -0.0: -0.0},
    # for each of the examples
    roots={"value": (-0.375, -0.0487229), "gradient_gamma": (-0.375, -0.1333333, -0.3333333)},
    monotonicity="increasing",
    lipschitz=0.5641895835478,
    source="Chen et al. (2025)",
)
def derf(x: Any, alpha: Any, shift: Any, gamma: Any, beta: Any) -> Any:
    """Dynamic erf, which takes the place of a normalisation layer; `alpha` must not be 0."""
    u, u_low = shifted(x, alpha, shift)
    e = erf_of(u, u_low)
    return gamma * e if beta == 0.0 else fma(gamma, e, beta)


@derf.derivative
def _(x: Any, alpha: Any, shift: Any, gamma: Any, beta: Any) -> Any:
    u, u_low = shifted(x, alpha, shift)
    c, c_low = multiply(gamma, 0.0, alpha, 0.0)
    return bell_of(c, c_low, u, u_low)


@derf.second_derivative
def _(x: Any, alpha: Any, shift: Any, gamma: Any, beta: Any) -> Any:
    u, u_low = shifted(x, alpha, shift)
    k, k_low = multiply(gamma, 0.0, alpha, 0.0)
    c, c_low = multiply(k, k_low, alpha, 0.0)
    gone = abs(u) > 32.0
    n, n_low = multiply(c, c_low, copysign(2.0, -u) if gone else -2.0 * u, 0.0 if gone else -2.0 * u_low)
    return copysign(bell_of(n, n_low, u, u_low), -gamma * u)


@derf.gradient("alpha")
def _(x: Any, alpha: Any, shift: Any, gamma: Any, beta: Any) -> Any:
    u, u_low = shifted(x, alpha, shift)
    c, c_low = multiply(gamma, 0.0, bounded(x, u), 0.0)
    return copysign(bell_of(c, c_low, u, u_low), c)


@derf.gradient("shift")
def _(x: Any, alpha: Any, shift: Any, gamma: Any, beta: Any) -> Any:
    u, u_low = shifted(x, alpha, shift)
    return bell_of(gamma, 0.0, u, u_low)


@derf.gradient("gamma")
def _(x: Any, alpha: Any, shift: Any, gamma: Any, beta: Any) -> Any:
    u, u_low = shifted(x, alpha, shift)
    return erf_of(u, u_low)


@derf.gradient("beta")
def _(x: Any, alpha: Any, shift: Any, gamma: Any, beta: Any) -> Any:
    return 1.0 if x == x else x


@primitive
def isru_root(x: Any, c: Any) -> Any:
    """(a, r, r_low): x made finite and the pair 1 / sqrt(c + x^2), which far out is 1 / abs(x)."""
    a = made_finite(x)
    y = abs(a)
    far = y > pick(x, 1e15, 1e40)
    near = 1.0 if far else y
    v, v_low = exact_square_plus(near, c)
    q, e = inverse_root(v, v_low)
    r = 1.0 / y if far else q
    return a, r, r * (fma(-r, y, 1.0) if far else e)


@primitive
def isru_ratio(k: Any, x: Any, c: Any, beta: Any) -> Any:
    """k x / sqrt(c + x^2) + beta."""
    a = min(max(x, pick(x, -1e12, -1e24)), pick(x, 1e12, 1e24))  # beyond, the ratio is 1
    v, v_low = exact_square_plus(a, c)
    h, h_low = exact_root(v, v_low)
    q, q_low = exact_quotient(k, 0.0, h, h_low)
    return copysign(q * a, k * x) if q_low * a + beta == 0.0 else fma(q, a, fma(q_low, a, beta))


@activation(
    formula="gamma * x / sqrt(c + x * x) + beta",
    derivative_formula="gamma * c / sqrt(c + x^2)^3",
    value_range="[beta - abs(gamma), beta + abs(gamma)]",
    params={"c": 1.0, "gamma": 1.0, "beta": 0.0},
    examples=((1.0, 1.0, 0.0), (0.1, 2.0, -0.3), (30.0, -0.7, 0.1), (4.0, 0.2, 5.0)),
    learnable=("c", "gamma", "beta"),
    aliases=("dynamic_isru",),
    cost="move",
    limits={-inf: -1.0, inf: 1.0, -0.0: -0.0},
    # sqrt(c) b / sqrt(gamma^2 - b^2) with b = -beta, for each of the examples
    roots={"value": (0.0479761, 0.7905694)},
    monotonicity="increasing",
    lipschitz=1.0,
    source="Stollenwerk (2025)",
)
def dyisru(x: Any, c: Any, gamma: Any, beta: Any) -> Any:
    """Dynamic inverse square root unit, which takes the place of a normalisation layer; `c` must be positive."""
    return isru_ratio(gamma, x, c, beta)


@dyisru.derivative
def _(x: Any, c: Any, gamma: Any, beta: Any) -> Any:
    _, r, r_low = isru_root(x, c)
    k, k_low = exact_multiply(gamma, 0.0, c, 0.0)
    q, q_low = exact_multiply(k, k_low, r, r_low)
    w, w_low = exact_multiply(q, q_low, r, r_low)
    return copysign(fma(w, r, fma(w, r_low, w_low * r)), gamma)


@dyisru.second_derivative
def _(x: Any, c: Any, gamma: Any, beta: Any) -> Any:
    a, r, r_low = isru_root(x, c)
    k, k_low = exact_multiply(-3.0 * gamma, 0.0, c, 0.0)
    small = abs(a) < 1e-3  # then it may be subnormal, and comes last
    t, t_low = exact_multiply(r, r_low, 1.0 if small else a, 0.0)
    q, q_low = exact_multiply(r, r_low, r, r_low)
    u, u_low = exact_multiply(k, k_low, t, t_low)
    v, v_low = exact_multiply(u, u_low, q, q_low)
    return copysign(fma(v, q, fma(v, q_low, v_low * q)) * (a if small else 1.0), -gamma * x)


@dyisru.gradient("c")
def _(x: Any, c: Any, gamma: Any, beta: Any) -> Any:
    a, r, r_low = isru_root(x, c)
    small = abs(a) < 1e-3  # then it may be subnormal, and comes last
    t, t_low = exact_multiply(r, r_low, 1.0 if small else a, 0.0)
    q, q_low = exact_multiply(t, t_low, -0.5 * gamma, 0.0)
    w, w_low = exact_multiply(q, q_low, r, r_low)
    return copysign(fma(w, r, fma(w, r_low, w_low * r)) * (a if small else 1.0), -gamma * x)


@dyisru.gradient("gamma")
def _(x: Any, c: Any, gamma: Any, beta: Any) -> Any:
    return copysign(isru_ratio(1.0, x, c, 0.0), x)


@dyisru.gradient("beta")
def _(x: Any, c: Any, gamma: Any, beta: Any) -> Any:
    return 1.0 if x == x else x


# ---------------------------------------------------------------- rational functions
#
# P(x) / Q(x) of degrees 5 and 4, with error-free Horner steps: where P imitates a rectifier nearly all of it cancels. So that no power
# overflows, far out x = m g with a power of two g = 1 / s, and P = g^5 (a5 m^5 + a4 s m^4 + ...), Q = g^4 (b4 m^4 + b3 s m^3 + ...): all
# scaled coefficients are exact, f(x) = g f~(m), and the derivative of f is that of f~.

FAR_OUT_32, FAR_OUT_64 = 16384.0, 1180591620717411303424.0  # 2^14, 2^70: eighth powers (float64: also twelfth) stay finite
EXPONENT_32, EXPONENT_64 = 0x7F800000, 0x7FF0000000000000
MANTISSA_32, MANTISSA_64 = 0x7FFFFF, 0xFFFFFFFFFFFFF
ONE_32, ONE_64 = 0x3F800000, 0x3FF0000000000000


@primitive
def rational_scale(x: Any, a5: Any, b4: Any) -> Any:
    """(m, s, g): x = m * g, s = 1 / g, with g = 1 up to FAR_OUT and where a leading coefficient is 0."""
    far = 0.0 if a5 == 0.0 else (0.0 if b4 == 0.0 else abs(x))
    scaled = far > pick(x, FAR_OUT_32, FAR_OUT_64)
    g = from_bits(bits(far) & pick(x, EXPONENT_32, EXPONENT_64)) if scaled else 1.0
    m = from_bits((bits(far) & pick(x, MANTISSA_32, MANTISSA_64)) + pick(x, ONE_32, ONE_64))
    return copysign(m, x) if scaled else x, 1.0 / g, g


@primitive
def horner_step(r: Any, r_low: Any, m: Any, c: Any, c_low: Any) -> Any:
    """(r + r_low) * m + (c + c_low)."""
    p = r * m
    q, q_low = exact_sum(p, c)
    return q, q_low + (fma(r, m, -p) + fma(r_low, m, c_low))


@primitive
def numerator(m: Any, s: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any) -> Any:
    """The pairs P and P' at m, of the scaled coefficients."""
    ss = s * s
    r4, r4_low = horner_step(a5, 0.0, m, a4 * s, 0.0)
    r3, r3_low = horner_step(r4, r4_low, m, a3 * ss, 0.0)
    r2, r2_low = horner_step(r3, r3_low, m, a2 * (ss * s), 0.0)
    r1, r1_low = horner_step(r2, r2_low, m, a1 * (ss * ss), 0.0)
    r0, r0_low = horner_step(r1, r1_low, m, a0 * (ss * ss * s), 0.0)
    d3, d3_low = horner_step(a5, 0.0, m, r4, r4_low)
    d2, d2_low = horner_step(d3, d3_low, m, r3, r3_low)
    d1, d1_low = horner_step(d2, d2_low, m, r2, r2_low)
    d0, d0_low = horner_step(d1, d1_low, m, r1, r1_low)
    return r0, r0_low, d0, d0_low


@primitive
def denominator(u: Any, s: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """The pairs S and S' at u for S = b1 u + b2 u^2 + b3 u^3 + b4 u^4, of the scaled coefficients, and the sign of S."""
    ss = s * s
    r3, r3_low = horner_step(b4, 0.0, u, b3 * s, 0.0)
    r2, r2_low = horner_step(r3, r3_low, u, b2 * ss, 0.0)
    r1, r1_low = horner_step(r2, r2_low, u, b1 * (ss * s), 0.0)
    r0, r0_low = exact_multiply(r1, r1_low, u, 0.0)
    d2, d2_low = horner_step(b4, 0.0, u, r3, r3_low)
    d1, d1_low = horner_step(d2, d2_low, u, r2, r2_low)
    d0, d0_low = horner_step(d1, d1_low, u, r1, r1_low)
    return r0, r0_low, d0, d0_low, sign_of(sign_of(u) * sign_of(r1))


@primitive
def sign_of(v: Any) -> Any:
    """1, -1 or, at 0, 0."""
    return 1.0 if v > 0.0 else (-1.0 if v < 0.0 else 0.0)


@primitive
def safe_absolute(m: Any, s: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """The pairs Q and Q' with Q = 1 + abs(b1 x) + abs(b2 x^2) + abs(b3 x^3) + abs(b4 x^4)."""
    v, v_low, d, d_low, _sign = denominator(abs(m), s, abs(b1), abs(b2), abs(b3), abs(b4))
    q, q_low = exact_add((s * s) * (s * s), 0.0, v, v_low)
    side = sign_of(m)
    return q, q_low, side * d, side * d_low


@primitive
def safe_sum(m: Any, s: Any, one: Any, one_low: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """The pairs Q and Q' with Q = one + abs(b1 x + b2 x^2 + b3 x^3 + b4 x^4), and the sign of that sum."""
    v, v_low, d, d_low, sign = denominator(m, s, b1, b2, b3, b4)
    ssss = (s * s) * (s * s)
    q, q_low = exact_add(one * ssss, one_low * ssss, sign * v, sign * v_low)
    return q if v == v else v, q_low, sign * d, sign * d_low, sign


@primitive
def unsafe(m: Any, s: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """The pairs Q and Q' with Q = 1 + b1 x + b2 x^2 + b3 x^3 + b4 x^4."""
    v, v_low, d, d_low, _sign = denominator(m, s, b1, b2, b3, b4)
    q, q_low = exact_add((s * s) * (s * s), 0.0, v, v_low)
    return q, q_low, d, d_low


@primitive
def rational_slope(p: Any, p_low: Any, dp: Any, dp_low: Any, q: Any, q_low: Any, dq: Any, dq_low: Any) -> Any:
    """(P' Q - P Q') / Q^2."""
    a, a_low = exact_multiply(dp, dp_low, q, q_low)
    b, b_low = exact_multiply(p, p_low, dq, dq_low)
    n, n_low = exact_add(a, a_low, -b, -b_low)
    d, d_low = exact_multiply(q, q_low, q, q_low)
    return exact_divide(n, n_low, d, d_low)


@primitive
def settled(a: Any, a_low: Any) -> Any:
    """A pair as one number; a zero keeps its sign."""
    return copysign(a + a_low, a)


@primitive
def rational_gradients(m: Any, s: Any, g: Any, p: Any, p_low: Any, q: Any, q_low: Any, u: Any) -> Any:
    """x^i / Q for i from 0 to 5, then -P u^j / Q^2 for j from 1 to 4, where u is m or abs(m); the powers one by one, scales last."""
    t0, t0_low = exact_quotient(1.0, 0.0, q, q_low)
    t1, t1_low = exact_multiply(t0, t0_low, m, 0.0)
    t2, t2_low = exact_multiply(t1, t1_low, m, 0.0)
    t3, t3_low = exact_multiply(t2, t2_low, m, 0.0)
    t4, t4_low = exact_multiply(t3, t3_low, m, 0.0)
    t5, t5_low = exact_multiply(t4, t4_low, m, 0.0)
    f, f_low = exact_multiply(-p, -p_low, t0, t0_low)
    w0, w0_low = exact_quotient(f, f_low, q, q_low)
    w1, w1_low = exact_multiply(w0, w0_low, u, 0.0)
    w2, w2_low = exact_multiply(w1, w1_low, u, 0.0)
    w3, w3_low = exact_multiply(w2, w2_low, u, 0.0)
    w4, w4_low = exact_multiply(w3, w3_low, u, 0.0)
    return (
        settled(t0, t0_low) * s * s * s * s,
        settled(t1, t1_low) * s * s * s,
        settled(t2, t2_low) * s * s,
        settled(t3, t3_low) * s,
        settled(t4, t4_low),
        settled(t5, t5_low) * g,
        settled(w1, w1_low) * s * s,
        settled(w2, w2_low) * s,
        settled(w3, w3_low),
        settled(w4, w4_low) * g,
    )


@primitive
def rational_terms(m: Any, s: Any, g: Any, p: Any, q: Any, u: Any) -> Any:
    """`rational_gradients` where they are summed: without low parts, within 8 ULP."""
    t0 = 1.0 / q
    t1 = t0 * m
    t2 = t1 * m
    t3 = t2 * m
    t4 = t3 * m
    w1 = (-p * t0) * t0 * u
    w2 = w1 * u
    w3 = w2 * u
    w4 = w3 * u
    ss = s * s
    return t0 * ss * ss, t1 * ss * s, t2 * ss, t3 * s, t4, t4 * m * g, w1 * ss, w2 * s, w3, w4 * g


@primitive
def half_place(x: Any) -> Any:
    """x up to 2^22, whose powers are numbers in float32; P / Q is a straight line beyond, but not where a5 or b4 is 0."""
    return min(max(x, -4194304.0), 4194304.0)


@primitive
def half_sign(v: Any) -> Any:
    """`sign_of` for halves, without a condition: the compiler would make a loop for each sign of a coefficient."""
    return min(max(v * 8.507059173023462e37 * 8.507059173023462e37, -1.0), 1.0)


@primitive
def half_sum(u: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """S = b1 u + b2 u^2 + b3 u^3 + b4 u^4, and S'."""
    r3 = fma(b4, u, b3)
    r2 = fma(r3, u, b2)
    r1 = fma(r2, u, b1)
    return r1 * u, fma(fma(fma(b4, u, r3), u, r2), u, r1)


@primitive
def half_gradients(
    grad: Any, x: Any, m: Any, q: Any, dq: Any, u: Any, far_u: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any
) -> Any:
    """Times `grad`: the slope of P / Q, x^i / Q for i from 0 to 5, -P u^j / Q^2 for j from 1 to 4; without low parts, for halves."""
    r4 = fma(a5, m, a4)
    r3 = fma(r4, m, a3)
    r2 = fma(r3, m, a2)
    r1 = fma(r2, m, a1)
    y = 1.0 / q
    f = -(fma(r1, m, a0) * y)
    slope = fma(f, dq, fma(fma(fma(fma(a5, m, r4), m, r3), m, r2), m, r1))
    t0 = grad * y
    t1 = t0 * m
    t2 = t1 * m
    t3 = t2 * m
    t4 = t3 * m
    w1 = t0 * f * u
    w2 = w1 * u
    w3 = w2 * u
    return t0 * slope, t0, t1, t2, t3, t4, t4 * x, w1, w2, w3, w3 * far_u


@activation(
    formula="(a0 + x * (a1 + x * (a2 + x * (a3 + x * (a4 + x * a5))))) / "
    "(1 + abs(b1 * x) + abs(b2 * x**2) + abs(b3 * x**3) + abs(b4 * x**4))",
    display="P(x) / Q(x), P = a0 + a1 * x + ... + a5 * x^5, Q = 1 + abs(b1 * x) + abs(b2 * x**2) + abs(b3 * x**3) + abs(b4 * x**4)",
    derivative_formula="(P' * Q - P * Q') / Q^2",
    value_range="(-inf, inf)",
    params={
        "a0": 0.029804,
        "a1": 0.618383,
        "a2": 2.3223,
        "a3": 3.049177,
        "a4": 1.483367,
        "a5": 0.250557,
        "b1": 1.14151,
        "b2": 4.389122,
        "b3": 0.870302,
        "b4": 0.346543,
    },
    examples=((-0.3, 0.7, 0.5, -0.2, 0.1, 0.05, 0.4, -0.6, 0.2, 0.3),),
    learnable=("a0", "a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3", "b4"),
    cost="exp",
    limits={-inf: -inf, inf: inf, -0.0: 0.029804},
    # for each of the examples
    roots={
        "value": (-0.7236058002, -0.4486688913, -0.06114186291, -3.563425704, -1.194415635, 0.3505631068),
        "derivative": (-2.189348441, -1.539617572, -0.5745335152, -0.1793107555, -2.070060565, -0.3039253073),
    },
    continuity="C0",
    kinks={"0.0": ("a1 + a0 * abs(b1)", "a1 - a0 * abs(b1)")},
    lipschitz=1.03512924783,
    source="Molina, Schramowski and Kersting (2020), version A",
)
def pau_a(x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """Pade activation unit: a rational function whose coefficients are learned; its denominator is the sum of magnitudes.

    The defaults approximate leaky_relu. Where `a5` or `b4` is 0, it may be NaN beyond 1e7 (float64: 1e60).
    """
    m, s, g = rational_scale(x, a5, b4)
    p, p_low, _dp, _dp_low = numerator(m, s, a0, a1, a2, a3, a4, a5)
    q, q_low, _dq, _dq_low = safe_absolute(m, s, b1, b2, b3, b4)
    return exact_divide(p, p_low, q, q_low) * g


@pau_a.derivative
def _(x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    m, s, _g = rational_scale(x, a5, b4)
    p, p_low, dp, dp_low = numerator(m, s, a0, a1, a2, a3, a4, a5)
    q, q_low, dq, dq_low = safe_absolute(m, s, b1, b2, b3, b4)
    return rational_slope(p, p_low, dp, dp_low, q, q_low, dq, dq_low)


@pau_a.gradients
def _(x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    m, s, g = rational_scale(x, a5, b4)
    p, p_low, _dp, _dp_low = numerator(m, s, a0, a1, a2, a3, a4, a5)
    q, q_low, _dq, _dq_low = safe_absolute(m, s, b1, b2, b3, b4)
    ga0, ga1, ga2, ga3, ga4, ga5, h1, h2, h3, h4 = rational_gradients(m, s, g, p, p_low, q, q_low, abs(m))
    return ga0, ga1, ga2, ga3, ga4, ga5, sign_of(b1) * h1, sign_of(b2) * h2, sign_of(b3) * h3, sign_of(b4) * h4


@primitive
def pau_a_sums(grad: Any, x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """All gradients where those of the coefficients are summed, in float32 only; that of x has the bits of its own definition."""
    m, s, g = rational_scale(x, a5, b4)
    p, p_low, dp, dp_low = numerator(m, s, a0, a1, a2, a3, a4, a5)
    q, q_low, dq, dq_low = safe_absolute(m, s, b1, b2, b3, b4)
    t0, t1, t2, t3, t4, t5, h1, h2, h3, h4 = rational_terms(m, s, g, p + p_low, q + q_low, abs(m))
    dx = grad * rational_slope(p, p_low, dp, dp_low, q, q_low, dq, dq_low)
    return (
        dx,
        grad * t0,
        grad * t1,
        grad * t2,
        grad * t3,
        grad * t4,
        grad * t5,
        grad * (sign_of(b1) * h1),
        grad * (sign_of(b2) * h2),
        grad * (sign_of(b3) * h3),
        grad * (sign_of(b4) * h4),
    )


@primitive
def pau_a_half_sums(grad: Any, x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """All gradients for halves where those of the coefficients are summed."""
    m = half_place(x)
    v, dv = half_sum(abs(m), abs(b1), abs(b2), abs(b3), abs(b4))
    dx, t0, t1, t2, t3, t4, t5, h1, h2, h3, h4 = half_gradients(
        grad, x, m, 1.0 + v, half_sign(m) * dv, abs(m), abs(x), a0, a1, a2, a3, a4, a5
    )
    return dx, t0, t1, t2, t3, t4, t5, half_sign(b1) * h1, half_sign(b2) * h2, half_sign(b3) * h3, half_sign(b4) * h4


@activation(
    formula="(a0 + x * (a1 + x * (a2 + x * (a3 + x * (a4 + x * a5))))) / (1 + abs(x * (b1 + x * (b2 + x * (b3 + x * b4)))))",
    display="P(x) / Q(x), P = a0 + a1 * x + ... + a5 * x^5, Q = 1 + abs(b1 * x + b2 * x^2 + b3 * x^3 + b4 * x^4)",
    derivative_formula="(P' * Q - P * Q') / Q^2",
    value_range="(-inf, inf)",
    params={
        "a0": 0.033572,
        "a1": 0.505,
        "a2": 1.652675,
        "a3": 2.008123,
        "a4": 0.930576,
        "a5": 0.152133,
        "b1": 0.0,
        "b2": 3.976481,
        "b3": 0.0,
        "b4": 0.301253,
    },
    examples=((-0.3, 0.7, 0.5, -0.2, 0.1, 0.05, 0.4, -0.6, 0.2, 0.3),),
    learnable=("a0", "a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3", "b4"),
    cost="exp",
    limits={-inf: -inf, inf: inf, -0.0: 0.033572},
    # for each of the examples
    roots={
        "value": (-0.674030574, -0.5746012848, -0.0904143496, -3.563425704, -1.194415635, 0.3505631068),
        "derivative": (-2.182839242, -1.640099737, -0.6229578548, -0.2253111229, -0.3166993761, 1.523247811, 2.540346944),
    },
    continuity="C1",
    kinks={"0.0": ("a1 + a0 * abs(b1)", "a1 - a0 * abs(b1)")},
    lipschitz=1.06923573418,
    source="Molina, Schramowski and Kersting (2020), version B",
)
def pau_b(x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """Pade activation unit: a rational function whose coefficients are learned; its denominator is the magnitude of the sum.

    The defaults approximate leaky_relu. Where `a5` or `b4` is 0, it may be NaN beyond 1e7 (float64: 1e60).
    """
    m, s, g = rational_scale(x, a5, b4)
    p, p_low, _dp, _dp_low = numerator(m, s, a0, a1, a2, a3, a4, a5)
    q, q_low, _dq, _dq_low, _sign = safe_sum(m, s, 1.0, 0.0, b1, b2, b3, b4)
    return exact_divide(p, p_low, q, q_low) * g


@pau_b.derivative
def _(x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    m, s, _g = rational_scale(x, a5, b4)
    p, p_low, dp, dp_low = numerator(m, s, a0, a1, a2, a3, a4, a5)
    q, q_low, dq, dq_low, _sign = safe_sum(m, s, 1.0, 0.0, b1, b2, b3, b4)
    return rational_slope(p, p_low, dp, dp_low, q, q_low, dq, dq_low)


@pau_b.gradients
def _(x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    m, s, g = rational_scale(x, a5, b4)
    p, p_low, _dp, _dp_low = numerator(m, s, a0, a1, a2, a3, a4, a5)
    q, q_low, _dq, _dq_low, sign = safe_sum(m, s, 1.0, 0.0, b1, b2, b3, b4)
    ga0, ga1, ga2, ga3, ga4, ga5, h1, h2, h3, h4 = rational_gradients(m, s, g, p, p_low, q, q_low, m)
    return ga0, ga1, ga2, ga3, ga4, ga5, sign * h1, sign * h2, sign * h3, sign * h4


@primitive
def pau_b_sums(grad: Any, x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """All gradients where those of the coefficients are summed, in float32 only; that of x has the bits of its own definition."""
    m, s, g = rational_scale(x, a5, b4)
    p, p_low, dp, dp_low = numerator(m, s, a0, a1, a2, a3, a4, a5)
    q, q_low, dq, dq_low, sign = safe_sum(m, s, 1.0, 0.0, b1, b2, b3, b4)
    t0, t1, t2, t3, t4, t5, h1, h2, h3, h4 = rational_terms(m, s, g, p + p_low, q + q_low, m)
    dx = grad * rational_slope(p, p_low, dp, dp_low, q, q_low, dq, dq_low)
    return (
        dx,
        grad * t0,
        grad * t1,
        grad * t2,
        grad * t3,
        grad * t4,
        grad * t5,
        grad * (sign * h1),
        grad * (sign * h2),
        grad * (sign * h3),
        grad * (sign * h4),
    )


@primitive
def pau_b_half_sums(grad: Any, x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """All gradients for halves where those of the coefficients are summed."""
    m = half_place(x)
    v, dv = half_sum(m, b1, b2, b3, b4)
    sign = half_sign(v)
    dx, t0, t1, t2, t3, t4, t5, h1, h2, h3, h4 = half_gradients(grad, x, m, 1.0 + abs(v), sign * dv, m, x, a0, a1, a2, a3, a4, a5)
    return dx, t0, t1, t2, t3, t4, t5, sign * h1, sign * h2, sign * h3, sign * h4


@activation(
    formula="(a0 + x * (a1 + x * (a2 + x * (a3 + x * (a4 + x * a5))))) / (0.1 + abs(x * (b1 + x * (b2 + x * (b3 + x * b4)))))",
    display="P(x) / Q(x), P = a0 + a1 * x + ... + a5 * x^5, Q = 0.1 + abs(b1 * x + b2 * x^2 + b3 * x^3 + b4 * x^4)",
    derivative_formula="(P' * Q - P * Q') / Q^2",
    value_range="(-inf, inf)",
    params={
        "a0": 0.0033572,
        "a1": 0.0505,
        "a2": 0.1652675,
        "a3": 0.2008123,
        "a4": 0.0930576,
        "a5": 0.0152133,
        "b1": 0.0,
        "b2": 0.3976481,
        "b3": 0.0,
        "b4": 0.0301253,
    },
    examples=((-0.3, 0.7, 0.5, -0.2, 0.1, 0.05, 0.4, -0.6, 0.2, 0.3),),
    learnable=("a0", "a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3", "b4"),
    cost="exp",
    limits={-inf: -inf, inf: inf, -0.0: 0.033572},
    # for each of the examples
    roots={
        "value": (-0.674030574, -0.5746012848, -0.0904143496, -3.563425704, -1.194415635, 0.3505631068),
        "derivative": (-2.182839242, -1.640099737, -0.6229578548, -0.2253111229, 0.9210075758, 2.845716127),
    },
    continuity="C1",
    kinks={"0.0": ("(a1 + a0 * abs(b1) / 0.1) / 0.1", "(a1 - a0 * abs(b1) / 0.1) / 0.1")},
    lipschitz=1.06923573418,
    source="Molina, Schramowski and Kersting (2020), version C",
)
def pau_c(x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """Pade activation unit: a rational function whose coefficients are learned; its denominator is a magnitude, plus 0.1.

    The defaults approximate leaky_relu. Where `a5` or `b4` is 0, it may be NaN beyond 1e7 (float64: 1e60).
    """
    m, s, g = rational_scale(x, a5, b4)
    p, p_low, _dp, _dp_low = numerator(m, s, a0, a1, a2, a3, a4, a5)
    q, q_low, _dq, _dq_low, _sign = safe_sum(m, s, 0.1, pick(x, -1.4901161193847656e-09, 0.0), b1, b2, b3, b4)
    return exact_divide(p, p_low, q, q_low) * g


@pau_c.derivative
def _(x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    m, s, _g = rational_scale(x, a5, b4)
    p, p_low, dp, dp_low = numerator(m, s, a0, a1, a2, a3, a4, a5)
    q, q_low, dq, dq_low, _sign = safe_sum(m, s, 0.1, pick(x, -1.4901161193847656e-09, 0.0), b1, b2, b3, b4)
    return rational_slope(p, p_low, dp, dp_low, q, q_low, dq, dq_low)


@pau_c.gradients
def _(x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    m, s, g = rational_scale(x, a5, b4)
    p, p_low, _dp, _dp_low = numerator(m, s, a0, a1, a2, a3, a4, a5)
    q, q_low, _dq, _dq_low, sign = safe_sum(m, s, 0.1, pick(x, -1.4901161193847656e-09, 0.0), b1, b2, b3, b4)
    ga0, ga1, ga2, ga3, ga4, ga5, h1, h2, h3, h4 = rational_gradients(m, s, g, p, p_low, q, q_low, m)
    return ga0, ga1, ga2, ga3, ga4, ga5, sign * h1, sign * h2, sign * h3, sign * h4


@primitive
def pau_c_sums(grad: Any, x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """All gradients where those of the coefficients are summed, in float32 only; that of x has the bits of its own definition."""
    m, s, g = rational_scale(x, a5, b4)
    p, p_low, dp, dp_low = numerator(m, s, a0, a1, a2, a3, a4, a5)
    q, q_low, dq, dq_low, sign = safe_sum(m, s, 0.1, pick(x, -1.4901161193847656e-09, 0.0), b1, b2, b3, b4)
    t0, t1, t2, t3, t4, t5, h1, h2, h3, h4 = rational_terms(m, s, g, p + p_low, q + q_low, m)
    dx = grad * rational_slope(p, p_low, dp, dp_low, q, q_low, dq, dq_low)
    return (
        dx,
        grad * t0,
        grad * t1,
        grad * t2,
        grad * t3,
        grad * t4,
        grad * t5,
        grad * (sign * h1),
        grad * (sign * h2),
        grad * (sign * h3),
        grad * (sign * h4),
    )


@primitive
def pau_c_half_sums(grad: Any, x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """All gradients for halves where those of the coefficients are summed."""
    m = half_place(x)
    v, dv = half_sum(m, b1, b2, b3, b4)
    sign = half_sign(v)
    dx, t0, t1, t2, t3, t4, t5, h1, h2, h3, h4 = half_gradients(grad, x, m, 0.1 + abs(v), sign * dv, m, x, a0, a1, a2, a3, a4, a5)
    return dx, t0, t1, t2, t3, t4, t5, sign * h1, sign * h2, sign * h3, sign * h4


@activation(
    formula="(a0 + x * (a1 + x * (a2 + x * (a3 + x * (a4 + x * a5))))) / (1 + x * (b1 + x * (b2 + x * (b3 + x * b4))))",
    display="P(x) / Q(x), P = a0 + a1 * x + ... + a5 * x^5, Q = 1 + b1 * x + b2 * x^2 + b3 * x^3 + b4 * x^4",
    derivative_formula="(P' * Q - P * Q') / Q^2",
    value_range="(-inf, inf)",
    params={
        "a0": 0.033572,
        "a1": 0.505,
        "a2": 1.652675,
        "a3": 2.008123,
        "a4": 0.930576,
        "a5": 0.152133,
        "b1": 0.0,
        "b2": 3.976481,
        "b3": 0.0,
        "b4": 0.301253,
    },
    examples=((-0.3, 0.7, 0.5, -0.2, 0.1, 0.05, 0.1, 0.6, -0.1, 0.3),),
    learnable=("a0", "a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3", "b4"),
    cost="exp",
    limits={-inf: -inf, inf: inf, -0.0: 0.033572},
    # for each of the examples
    roots={
        "value": (-0.674030574, -0.5746012848, -0.0904143496, -3.563425704, -1.194415635, 0.3505631068),
        "derivative": (-2.182839242, -1.640099737, -0.6229578548, -0.2253111229, -2.0200262, -0.3822573734),
    },
    continuity="C1",  # smooth between its poles; the second derivative is not offered, it cancels far out
    lipschitz=1.06923573418,
    source="Molina, Schramowski and Kersting (2020), without its safe form",
)
def pau_nonsafe(x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """Pade activation unit: a rational function whose coefficients are learned; with poles where Q has roots.

    The defaults approximate leaky_relu. Where `a5` or `b4` is 0, it may be NaN beyond 1e7 (float64: 1e60).
    """
    m, s, g = rational_scale(x, a5, b4)
    p, p_low, _dp, _dp_low = numerator(m, s, a0, a1, a2, a3, a4, a5)
    q, q_low, _dq, _dq_low = unsafe(m, s, b1, b2, b3, b4)
    return exact_divide(p, p_low, q, q_low) * g


@pau_nonsafe.derivative
def _(x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    m, s, _g = rational_scale(x, a5, b4)
    p, p_low, dp, dp_low = numerator(m, s, a0, a1, a2, a3, a4, a5)
    q, q_low, dq, dq_low = unsafe(m, s, b1, b2, b3, b4)
    return rational_slope(p, p_low, dp, dp_low, q, q_low, dq, dq_low)


@pau_nonsafe.gradients
def _(x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    m, s, g = rational_scale(x, a5, b4)
    p, p_low, _dp, _dp_low = numerator(m, s, a0, a1, a2, a3, a4, a5)
    q, q_low, _dq, _dq_low = unsafe(m, s, b1, b2, b3, b4)
    ga0, ga1, ga2, ga3, ga4, ga5, h1, h2, h3, h4 = rational_gradients(m, s, g, p, p_low, q, q_low, m)
    return ga0, ga1, ga2, ga3, ga4, ga5, h1, h2, h3, h4


@primitive
def pau_nonsafe_sums(grad: Any, x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """All gradients where those of the coefficients are summed, in float32 only; that of x has the bits of its own definition."""
    m, s, g = rational_scale(x, a5, b4)
    p, p_low, dp, dp_low = numerator(m, s, a0, a1, a2, a3, a4, a5)
    q, q_low, dq, dq_low = unsafe(m, s, b1, b2, b3, b4)
    t0, t1, t2, t3, t4, t5, h1, h2, h3, h4 = rational_terms(m, s, g, p + p_low, q + q_low, m)
    dx = grad * rational_slope(p, p_low, dp, dp_low, q, q_low, dq, dq_low)
    return dx, grad * t0, grad * t1, grad * t2, grad * t3, grad * t4, grad * t5, grad * h1, grad * h2, grad * h3, grad * h4


@primitive
def pau_nonsafe_half_sums(
    grad: Any, x: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, b1: Any, b2: Any, b3: Any, b4: Any
) -> Any:
    """All gradients for halves where those of the coefficients are summed."""
    m = half_place(x)
    v, dv = half_sum(m, b1, b2, b3, b4)
    dx, t0, t1, t2, t3, t4, t5, h1, h2, h3, h4 = half_gradients(grad, x, m, 1.0 + v, dv, m, x, a0, a1, a2, a3, a4, a5)
    return dx, t0, t1, t2, t3, t4, t5, h1, h2, h3, h4
