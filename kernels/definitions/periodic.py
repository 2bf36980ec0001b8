"""Sine and cosine and what is built from them.

The argument is x = n pi/2 + r. Next to a multiple of pi/2 the difference r is small and all of its digits come from far behind the
point, so pi/2 stands in three parts, PI_A + PI_B + PI_C, and r is a pair. What follows has its relative accuracy everywhere.

**Quarter turns.** Whatever n is, sin(x) = unit + t - rest: 0 + r - r^3/6 ... if n is even, 1 - r^2/2 + ... if it is odd, or the
negative of one. The leading part t is exact and what is taken from it small: the sum is rounded once, and little more.
"""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, bits, fma, from_bits, pick, poly, primitive
from .primitives import MAGIC_32, MAGIC_64, exact_add, exact_divide, exact_multiply, exact_sum

# pi/2, cut, not rounded: with positive parts a zero keeps its sign. x - n * PI_A is exact: a multiple of the last place of PI_A below
# 2, or of that of x. What is left of pi/2 after the third is 2^-71 (float64: 2^-160).
PI_A_32, PI_B_32, PI_C_32 = 1.570796251296997, 7.549789415861596e-08, 5.390302529957765e-15
PI_A_64, PI_B_64, PI_C_64 = 1.5707963267948966, 6.123233995736765e-17, 1.0828566739219139e-32
QUARTERS = 0.6366197723675814  # 2 / pi
# The largest arguments: up to here the rounded quotient leaves abs(r) <= 1.1 (float64: 0.87). 2^22, 2^49.
LIMIT_32, LIMIT_64 = 4194304.0, 562949953421312.0

# ---------------------------------------------------------------- coefficients
#
# Minimax, rounded to the working type. Errors are relative to the function unless said.

# sin(r) = r - r^3 * SIN(r^2): 2^-29.1, 2^-60.6
SIN_32 = (0.16666667, -0.008333358, 0.00019842629, -2.7235212e-06)
SIN_64 = (
    0.16666666666666666,
    -0.008333333333332986,
    0.00019841269840896236,
    -2.7557319050204653e-06,
    2.5052068458008274e-08,
    -1.6054472891199709e-10,
    7.418519859629098e-13,
)
# 1 - cos(r) = r^2 / 2 - r^4 * VERSIN(r^2): 2^-24.5, 2^-56.9
VERSIN_32 = (0.041666653, -0.0013886697, 2.430978e-05)
VERSIN_64 = (
    0.041666666666666664,
    -0.0013888888888885288,
    2.480158729560197e-05,
    -2.7557315743648353e-07,
    2.0875854638713503e-09,
    -1.1363495528355638e-11,
)
# What follows the terms that `exact_arcs` writes out: from r^11 / 11! and r^10 / 10!; absolute errors 2^-51, 2^-84 and 2^-46, 2^-80
SIN_TAIL_32 = (2.5052108e-08, -1.6058718e-10, 7.5900316e-13)
SIN_TAIL_64 = (
    2.505210838544172e-08,
    -1.6059043836825418e-10,
    7.647163734607043e-13,
    -2.8114580824520646e-15,
    8.221693406677699e-18,
    -2.002950331269553e-20,
)
COS_TAIL_32 = (2.755732e-07, -2.0876703e-09, 1.14066525e-11)
COS_TAIL_64 = (
    2.755731922398589e-07,
    -2.0876756987861764e-09,
    1.1470745592981034e-11,
    -4.779475867183703e-14,
    1.561718864064618e-16,
    -4.0014391559434923e-19,
)
# 1/3!, 1/5!, ... in two parts; the low parts of powers of two are 0
INVERSE_3_32, INVERSE_3_LOW_32 = 0.1666666716337204, -4.967053879312289e-09
INVERSE_5_32, INVERSE_5_LOW_32 = 0.008333333767950535, -4.34617203337595e-10
INVERSE_7_32, INVERSE_7_LOW_32 = 0.00019841270113829523, -2.725596874933456e-12
INVERSE_9_32, INVERSE_9_LOW_32 = 2.7557318844628753e-06, 3.793571224297229e-14
INVERSE_4_32, INVERSE_4_LOW_32 = 0.0416666679084301, -1.2417634698280722e-09
INVERSE_6_32, INVERSE_6_LOW_32 = 0.0013888889225199819, -3.3631094437103215e-11
INVERSE_8_32, INVERSE_8_LOW_32 = 2.4801587642286904e-05, -3.40699609366682e-13
INVERSE_3_64, INVERSE_3_LOW_64 = 0.16666666666666666, 9.25185853854297e-18
INVERSE_5_64, INVERSE_5_LOW_64 = 0.008333333333333333, 1.1564823173178714e-19
INVERSE_7_64, INVERSE_7_LOW_64 = 0.0001984126984126984, 1.7209558293420705e-22
INVERSE_9_64, INVERSE_9_LOW_64 = 2.7557319223985893e-06, -1.858393274046472e-22
INVERSE_4_64, INVERSE_4_LOW_64 = 0.041666666666666664, 2.3129646346357427e-18
INVERSE_6_64, INVERSE_6_LOW_64 = 0.001388888888888889, -5.300543954373577e-20
INVERSE_8_64, INVERSE_8_LOW_64 = 2.48015873015873e-05, 2.1511947866775882e-23
# sinc'(x) = x * SINC_FIRST(x^2), abs(x) <= 1: the rounding of -1/3
SINC_FIRST_32 = (-0.33333334, 0.033333365, -0.0011903514, 2.1654305e-05)
SINC_FIRST_64 = (
    -0.3333333333333333,
    0.03333333333333243,
    -0.0011904761904646779,
    2.204585531770483e-05,
    -2.5052092031723994e-07,
    1.9268567098937e-09,
    -1.0545329044224867e-11,
)
# sinc''(x) = SINC_SECOND(x^2), abs(x) <= 1: the same
SINC_SECOND_64 = (
    -0.3333333333333333,
    0.09999999999999933,
    -0.0059523809523737625,
    0.00015432098762015048,
    -2.254689670177854e-06,
    2.1197823493603347e-08,
    -1.3909593405359847e-10,
    6.472906474775473e-13,
)
# sin(u) / u * (2 cos(u) - sin(u) / u) = SNAKE_RATE(u^2), abs(u) <= 1/2: 2^-32.1, 2^-61.0
SNAKE_RATE_32 = (1.0, -1.0, 0.22222199, -0.022217836, 0.001244442)
SNAKE_RATE_64 = (
    1.0,
    -0.9999999999999999,
    0.22222222222221308,
    -0.022222222221947904,
    0.0012698412657792455,
    -4.703112516585461e-05,
    1.2214389176278584e-06,
    -2.3135883774980465e-08,
)

# ---------------------------------------------------------------- reduction


@primitive
def quarters(x: Any) -> Any:
    """A number whose lowest bits are those of n, the nearest integer to x / (pi/2)."""
    return fma(x, QUARTERS, pick(x, MAGIC_32, MAGIC_64))


@primitive
def turn_back(n: Any, a: Any, a_low: Any) -> Any:
    """The pair a + a_low - n * (PI_B + PI_C)."""
    p = n * pick(n, PI_B_32, PI_B_64)
    s, s_low = exact_sum(a, -p)
    rest = fma(n, pick(n, PI_C_32, PI_C_64), fma(n, pick(n, PI_B_32, PI_B_64), -p)) - (s_low + a_low)
    r = s - rest
    return r, (s - r) - rest


@primitive
def reduce(x: Any) -> Any:
    """(r, r_low, w): x = n pi/2 + r + r_low, for abs(x) <= LIMIT, with n in the lowest bits of w."""
    w = quarters(x)
    n = w - MAGIC_32
    return fma(n, -PI_C_32, fma(n, -PI_B_32, fma(n, -PI_A_32, x))), 0.0, w


@reduce.float64
def _(x: Any) -> Any:
    w = quarters(x)
    n = w - MAGIC_64
    r, r_low = turn_back(n, fma(n, -PI_A_64, x), 0.0)
    return r, r_low, w


@primitive
def reduce_product(x: Any, rest: Any) -> Any:
    """`reduce` for x - rest, where x is a product and `rest` its rounding error; in both types with r_low."""
    w = quarters(x)
    n = w - pick(x, MAGIC_32, MAGIC_64)
    a, a_low = exact_sum(fma(n, pick(x, -PI_A_32, -PI_A_64), x), -rest)
    r, r_low = turn_back(n, a, a_low)
    return r, r_low, w


@primitive
def reduce_scaled(a: Any, x: Any) -> Any:
    """`reduce` for a * x; for 0 beyond LIMIT, for NaN where x is infinite."""
    z = a * x
    within = abs(z) <= pick(x, LIMIT_32, LIMIT_64)
    return reduce_product(z if within else a * (x - x), fma(-a, x, z) if within else 0.0)


@primitive
def inside(x: Any) -> Any:
    """x up to LIMIT; beyond it 0, and NaN for infinities."""
    return x if abs(x) <= pick(x, LIMIT_32, LIMIT_64) else x - x


# ---------------------------------------------------------------- sine and cosine


@primitive
def quadrant(a: Any, b: Any, w: Any) -> Any:
    """a, b, -a or -b: what the sine is in the quadrant w, if it is `a` in the first and `b` in the second."""
    return from_bits(bits(a if (bits(w) & 1) == 0 else b) + ((bits(w) & 2) << pick(w, 30, 62)))


@primitive
def arcs(r: Any, r_low: Any) -> Any:
    """(a, v, v_rest): sin = r - a, 1 - cos = v - v_rest of r + r_low."""
    z = r * r
    v = 0.5 * z
    v_low = fma(r, r_low, 0.5 * fma(r, r, -z))
    return fma(r * z, poly(z, SIN_32, SIN_64), fma(v, r_low, -r_low)), v, fma(z * z, poly(z, VERSIN_32, VERSIN_64), -v_low)


@primitive
def wave(r: Any, r_low: Any, w: Any) -> Any:
    """(unit, t, rest): the sine of n pi/2 + r is unit + t - rest; that of a later quadrant if w is larger than it was."""
    a, v, v_rest = arcs(r, r_low)
    return quadrant(-0.0, 1.0, w), quadrant(r, -v, w), quadrant(a, -v_rest, w)


@primitive
def total(base: Any, t: Any, rest: Any) -> Any:
    """base + t - rest, for a `base` that is 0 or no smaller than t. From -0, -0 and 0 it is -0."""
    return (base + t) - rest


@total.float64
def _(base: Any, t: Any, rest: Any) -> Any:
    s = base + t
    return s - (rest - (t - (s - base)))


@primitive
def sin_reduced(r: Any, r_low: Any, w: Any) -> Any:
    """The sine of what was reduced; the cosine if w is one more."""
    unit, t, rest = wave(r, r_low, w)
    return total(unit, t, rest)


@primitive
def sin(x: Any) -> Any:
    """sin(x): 0 beyond LIMIT, NaN at infinities."""
    r, r_low, w = reduce(inside(x))
    return sin_reduced(r, r_low, w)


@primitive
def cos(x: Any) -> Any:
    """cos(x): 1 beyond LIMIT, NaN at infinities."""
    r, r_low, w = reduce(inside(x))
    return sin_reduced(r, r_low, w + 1.0)


@primitive
def term(a: Any, a_low: Any, z: Any, z_low: Any, c: Any, c_low: Any) -> Any:
    """c - a * z of pairs, where c is the larger: one step of Horner's rule."""
    p, p_low = exact_multiply(a, a_low, z, z_low)
    s = c - p
    return s, ((c - s) - p) + (c_low - p_low)


@primitive
def exact_arcs(r: Any, r_low: Any) -> Any:
    """The pairs sin, 1 - cos of r + r_low: Taylor's terms, the first ones as pairs.

    Where sums of such pairs have a root, their relative accuracy stays: in float32 everywhere, in float64 as far as the error of
    2^-80 is small against them. That ends within 1e-9 of a root that has r next to pi/4, the first ones, and elsewhere later.
    """
    z = r * r
    z_low = fma(r, r, -z) + 2.0 * r * r_low
    k, k_low = term(
        poly(z, SIN_TAIL_32, SIN_TAIL_64), 0.0, z, z_low, pick(r, INVERSE_9_32, INVERSE_9_64), pick(r, INVERSE_9_LOW_32, INVERSE_9_LOW_64)
    )
    h, h_low = term(k, k_low, z, z_low, pick(r, INVERSE_7_32, INVERSE_7_64), pick(r, INVERSE_7_LOW_32, INVERSE_7_LOW_64))
    g, g_low = term(h, h_low, z, z_low, pick(r, INVERSE_5_32, INVERSE_5_64), pick(r, INVERSE_5_LOW_32, INVERSE_5_LOW_64))
    f, f_low = term(g, g_low, z, z_low, pick(r, INVERSE_3_32, INVERSE_3_64), pick(r, INVERSE_3_LOW_32, INVERSE_3_LOW_64))
    a, a_low = exact_multiply(f, f_low, z, z_low)
    s, s_low = term(a, a_low, r, r_low, r, r_low)
    e, e_low = term(
        poly(z, COS_TAIL_32, COS_TAIL_64), 0.0, z, z_low, pick(r, INVERSE_8_32, INVERSE_8_64), pick(r, INVERSE_8_LOW_32, INVERSE_8_LOW_64)
    )
    d, d_low = term(e, e_low, z, z_low, pick(r, INVERSE_6_32, INVERSE_6_64), pick(r, INVERSE_6_LOW_32, INVERSE_6_LOW_64))
    c, c_low = term(d, d_low, z, z_low, pick(r, INVERSE_4_32, INVERSE_4_64), pick(r, INVERSE_4_LOW_32, INVERSE_4_LOW_64))
    b, b_low = term(c, c_low, z, z_low, 0.5, 0.0)
    v, v_low = exact_multiply(b, b_low, z, z_low)
    return s, s_low, v, v_low


@primitive
def exact_sin_cos(x: Any, rest: Any) -> Any:
    """The pairs sin, cos of x - rest, abs(x) <= LIMIT, in both types."""
    r, r_low, w = reduce_product(x, rest)
    s, s_low, v, v_low = exact_arcs(r, r_low)
    c, c_low = term(v, v_low, 1.0, 0.0, 1.0, 0.0)
    later = w + 1.0
    return quadrant(s, c, w), quadrant(s_low, c_low, w), quadrant(s, c, later), quadrant(s_low, c_low, later)


# ---------------------------------------------------------------- activations


@activation(
    formula="sin(omega * x)",
    derivative_formula="omega * cos(omega * x)",
    value_range="[-1, 1]",
    params={"omega": 1.0},
    examples=((1.0,), (30.0,), (-2.0,), (0.37,)),
    cost="exp",
    limits={-0.0: -0.0},
    lipschitz=1.0,
    reach={"float32": 1e5, "float64": 1e12},
    source="Sitzmann et al. (2020), as SIREN with omega = 30",
)
def sine(x: Any, omega: Any) -> Any:
    """Sine; NaN at infinities. The bounds hold for abs(omega * x) up to 2^22 (float64: 2^49); beyond it is 0."""
    r, r_low, w = reduce_scaled(omega, x)
    return sin_reduced(r, r_low, w)


@sine.derivative
def _(x: Any, omega: Any) -> Any:
    r, r_low, w = reduce_scaled(omega, x)
    return omega * sin_reduced(r, r_low, w + 1.0)


@sine.second_derivative
def _(x: Any, omega: Any) -> Any:
    r, r_low, w = reduce_scaled(omega, x)
    square = omega * omega
    # A subnormal product is rounded too early for the factors that follow.
    return -square * omega * x if abs(omega * x) < 1e-9 else -square * sin_reduced(r, r_low, w)


@activation(
    formula="cos(x)",
    derivative_formula="-sin(x)",
    value_range="[-1, 1]",
    cost="exp",
    limits={-0.0: 1.0},
    lipschitz=1.0,
    reach={"float32": 1e5, "float64": 1e12},
    source="the cosine",
)
def cosine(x: Any) -> Any:
    """Cosine; NaN at infinities. The bounds hold for abs(x) up to 2^22 (float64: 2^49); beyond it is 1."""
    return cos(x)


@cosine.derivative
def _(x: Any) -> Any:
    return -sin(x)


@cosine.second_derivative
def _(x: Any) -> Any:
    return -cos(x)


@activation(
    formula="sin(x) / x if x != 0 else 1 - x * x / 6",
    display="sin(x) / x",
    derivative_formula="(x * cos(x) - sin(x)) / x^2, 0 at 0",
    value_range="[-0.2172336, 1]",
    cost="exp",
    limits={-inf: 0.0, inf: 0.0, -0.0: 1.0},
    lipschitz=0.436181817272,
    reach={"float32": 1e5, "float64": 1e12},
    source="the cardinal sine",
)
def sinc(x: Any) -> Any:
    """Cardinal sine sin(x) / x, 1 at 0; it has no factor pi, which ``numpy.sinc`` has. Beyond 2^22 (float64: 2^49) it is 0."""
    ratio = 1.0 if x == 0.0 else sin(x) / x
    return 0.0 if abs(x) > pick(x, LIMIT_32, LIMIT_64) else ratio


@sinc.derivative
def _(x: Any) -> Any:
    z = x * x
    near = x * poly(z, SINC_FIRST_32, SINC_FIRST_64)
    s, s_low, c, c_low = exact_sin_cos(inside(x), 0.0)
    p, p_low = exact_multiply(x, 0.0, c, c_low)
    a, a_low = exact_add(p, p_low, -s, -s_low)
    far = exact_divide(a, a_low, z, fma(x, x, -z))
    return 0.0 if abs(x) > pick(x, LIMIT_32, LIMIT_64) else near if abs(x) < 1.0 else far


@sinc.second_derivative
def _(x: Any) -> Any:
    # ((2 - x^2) sin(x) - 2 x cos(x)) / x^3, even in x
    y = abs(x)
    z, z_low = exact_multiply(y, 0.0, y, 0.0)
    near = poly(z, SINC_SECOND_64, SINC_SECOND_64)
    s, s_low, c, c_low = exact_sin_cos(inside(y), 0.0)
    k, k_low = exact_add(2.0, 0.0, -z, -z_low)
    p, p_low = exact_multiply(k, k_low, s, s_low)
    q, q_low = exact_multiply(2.0 * y, 0.0, c, c_low)
    a, a_low = exact_add(p, p_low, -q, -q_low)
    d, d_low = exact_multiply(z, z_low, y, 0.0)
    far = exact_divide(a, a_low, d, d_low)
    return 0.0 if y > LIMIT_64 else near if y < 1.0 else far


@activation(
    formula="x + sin(alpha * x)**2 / alpha",
    derivative_formula="1 + sin(2 * alpha * x)",
    value_range="(-inf, inf)",
    params={"alpha": 1.0},
    learnable=("alpha",),
    examples=((1.0,), (0.5,), (-3.0,), (20.0,), (1e-3,)),
    cost="exp",
    limits={-inf: -inf, inf: inf, -0.0: -0.0},
    monotonicity="increasing",
    lipschitz=2.0,
    reach={"float32": 1e5, "float64": 1e12},
    source="Ziyin, Hartwig and Ueda (2020)",
)
def snake(x: Any, alpha: Any) -> Any:
    """Snake, x + sin(alpha x)^2 / alpha; x itself at alpha = 0.

    The bounds hold for abs(alpha * x) up to 2^21 (float64: 2^48); beyond, the value is x. For abs(alpha) of less than 1e-37
    (float64: 1e-307) the result is NaN where x is infinite; nothing else happens to a small `alpha`.
    """
    z = alpha * x
    within = abs(z) <= pick(x, LIMIT_32, LIMIT_64)
    r, r_low, w = reduce_product(z if within else 0.0, fma(-alpha, x, z) if within else 0.0)
    unit, t, rest = wave(r, r_low, w)
    h = unit + t
    h_low = (t - (h - unit)) - rest
    s = h + h_low
    q, q_low = exact_multiply(s, h_low - (s - h), s, h_low - (s - h))
    y = 1.0 / alpha
    bend = q * y
    bent = (x + bend) + (fma(-bend, alpha, q) + q_low) * y
    return x if abs(z) < pick(x, 1e-9, 1e-17) else bent


@snake.derivative
def _(x: Any, alpha: Any) -> Any:
    r, r_low, w = reduce_scaled(2.0 * alpha, x)
    unit, t, rest = wave(r, r_low, w)
    return total(1.0 + unit, t, rest)  # the sum of the integers is exact, so that next to a root the parabola t - rest is left


@snake.second_derivative
def _(x: Any, alpha: Any) -> Any:
    r, r_low, w = reduce_scaled(2.0 * alpha, x)
    return 2.0 * alpha * sin_reduced(r, r_low, w + 1.0)


@snake.gradient("alpha")
def _(x: Any, alpha: Any) -> Any:
    # sin(u) (2 u cos(u) - sin(u)) / alpha^2 with u = alpha x; next to 0 x^2 times a function of u^2
    u = alpha * x
    square = u * u
    small = x * x * poly(square, SNAKE_RATE_32, SNAKE_RATE_64)
    within = abs(u) <= pick(x, LIMIT_32, LIMIT_64)
    y = u if within else x - x
    rest = fma(-alpha, x, u) if within else 0.0
    s, s_low, c, c_low = exact_sin_cos(y, rest)
    p, p_low = exact_multiply(2.0 * y, -2.0 * rest, c, c_low)
    a, a_low = exact_add(p, p_low, -s, -s_low)
    m, m_low = exact_multiply(a, a_low, s, s_low)
    d, d_low = exact_multiply(alpha, 0.0, alpha, 0.0)
    return small if abs(u) < 0.5 else exact_divide(m, m_low, d, d_low)


@primitive
def snake_sums(grad: Any, x: Any, alpha: Any) -> Any:
    """Both gradients where alpha's is summed, in float32 only: one sine and cosine, without low parts; the exact forms cost thrice as much.

    That of x has the bits of its own definition. That of `alpha` errs by 2^-22 of 1 + abs(alpha * x), over alpha^2; next to 0 by 4 ULP.
    """
    r, r_low, w = reduce_scaled(2.0 * alpha, x)
    unit, t, rest = wave(r, r_low, w)
    v = 2.0 * alpha * x
    inner = v if abs(v) <= pick(x, LIMIT_32, LIMIT_64) else x - x
    u = alpha * x
    square = u * u
    far = (inner * total(unit, t, rest) - (1.0 - sin_reduced(r, r_low, w + 1.0))) * (0.5 / (alpha * alpha))
    near = x * x * poly(square, SNAKE_RATE_32, SNAKE_RATE_64)
    return grad * total(1.0 + unit, t, rest), grad * (near if abs(u) < 0.5 else far)


@activation(
    formula="x * cos(x)",
    derivative_formula="cos(x) - x * sin(x)",
    value_range="(-inf, inf)",
    aliases=("growing_cosine_unit",),
    cost="exp",
    limits={-0.0: -0.0},
    reach={"float32": 1e5, "float64": 1e12},
    source="Noel, Trivedi and Dutta (2021)",
)
def gcu(x: Any) -> Any:
    """Growing cosine unit; NaN at infinities. The bounds hold for abs(x) up to 2^22 (float64: 2^49); beyond it is x."""
    return x * cos(x)


@gcu.derivative
def _(x: Any) -> Any:
    y = inside(x)
    s, s_low, c, c_low = exact_sin_cos(y, 0.0)
    p, p_low = exact_multiply(y, 0.0, s, s_low)
    a, a_low = exact_add(c, c_low, -p, -p_low)
    return a + a_low


@gcu.second_derivative
def _(x: Any) -> Any:
    y = inside(x)
    s, s_low, c, c_low = exact_sin_cos(y, 0.0)
    p, p_low = exact_multiply(-y, 0.0, c, c_low)
    a, a_low = exact_add(p, p_low, -2.0 * s, -2.0 * s_low)
    return -3.0 * x if abs(x) < 1e-9 else a + a_low
