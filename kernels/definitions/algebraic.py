"""Algebraic functions: divide_fars and square roots of polynomials, and the arctangent, whose derivatives are such.

No square overflows: beyond ``FAR`` a 1 that is added to x^2 no longer shows, and the root of the sum is abs(x) itself.
"""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, copysign, fma, max, min, pick, poly, primitive, sqrt
from .primitives import add, divide, exact_add, exact_divide, exact_multiply, exact_sum, multiply_add, rounded

FAR_32, FAR_64 = 1073741824.0, 1152921504606846976.0  # 2^30, 2^60
LARGEST_32, LARGEST_64 = 3.4028234663852886e38, 1.7976931348623157e308
SMALLEST_32, SMALLEST_64 = 1.1754943508222875e-38, 2.2250738585072014e-308  # normal numbers
# a^2 + b is a^2 where (a * BESIDE)^2 is not less than b.
BESIDE_32, BESIDE_64 = 3.0517578125e-05, 9.313225746154785e-10  # 2^-15, 2^-30
TINY_32, THIRD_TINY_32 = 5.421010862427522e-20, 1.262177448353619e-29  # 2^-64, 2^-96
LONG_32, LONG_64 = 1e30, 1e200  # stand for infinity where a parameter that may be 0 multiplies the square
HUGE_POWER = 8.452712498170644e270  # 2^900: 1 over its root, cubed, has vanished

HALF_PI, HALF_PI_LOW = 1.5707963267948966, 6.123233995736766e-17
QUARTER_PI, QUARTER_PI_LOW = 0.7853981633974483, 3.061616997868383e-17
# atan(t) = t + t^3 * ATAN(t^2), abs(t) <= tan(pi / 8): 2^-28.6, 2^-57.4
ATAN_32 = (
    -0.3333333,
    0.19999512,
    -0.14263394,
    0.10739626,
    -0.06441785,
)
ATAN_64 = (
    -0.3333333333333333,
    0.19999999999996138,
    -0.14285714284749496,
    0.1111111102029971,
    -0.0909090474498531,
    0.07692186484954519,
    -0.06664551980415653,
    0.05858462467615463,
    -0.050869317651242855,
    0.039270753567619256,
    -0.01922098597028631,
)

# ---------------------------------------------------------------- roots and reciprocals


@primitive
def exact_square_plus(a: Any, b: Any) -> Any:
    """The pair a^2 + b."""
    p = a * a
    s, low = exact_sum(p, b)
    return s, low + fma(a, a, -p)


@primitive
def square_plus(a: Any, b: Any) -> Any:
    """The pair a^2 + b."""
    return fma(a, a, b), 0.0


@square_plus.float64
def _(a: Any, b: Any) -> Any:
    return exact_square_plus(a, b)


@primitive
def exact_root(v: Any, v_low: Any) -> Any:
    """The square root of a positive pair."""
    h = sqrt(v)
    return h, (fma(-h, h, v) + v_low) * (0.5 / h)


@primitive
def root(v: Any, v_low: Any) -> Any:
    """The square root of a positive pair."""
    return sqrt(v), 0.0


@root.float64
def _(v: Any, v_low: Any) -> Any:
    return exact_root(v, v_low)


@primitive
def divide_far(a: Any, b: Any, b_low: Any) -> Any:
    """a / (b + b_low) for positive `b`, which may be infinite; a low part only where it is not huge."""
    return a / b


@divide_far.float64
def _(a: Any, b: Any, b_low: Any) -> Any:
    return exact_divide(a, 0.0, b, b_low) if b < 1e300 else a * (1.0 / b)


@primitive
def times_inverse(y: Any, a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    """The divide_far of two pairs from y = 1 / b, where the caller needs that too."""
    return a * y


@times_inverse.float64
def _(y: Any, a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    return exact_divide(a, a_low, b, b_low)


@primitive
def inverse(b: Any, b_low: Any) -> Any:
    """(y, e): 1 / (b + b_low) = y * (1 + e), for positive `b`, which may be infinite."""
    return 1.0 / b, 0.0


@inverse.float64
def _(b: Any, b_low: Any) -> Any:
    y = 1.0 / b
    return y, fma(-y, b, 1.0) - y * b_low if b < 1e300 else 0.0


@primitive
def inverse_root(v: Any, v_low: Any) -> Any:
    """(r, e): 1 / sqrt(v + v_low) = r * (1 + e), for positive `v`, neither huge nor tiny."""
    h = sqrt(v)
    r = 1.0 / h
    return r, fma(-r, h, 1.0) - (fma(-h, h, v) + v_low) * (0.5 * r * r)


@primitive
def grown(q: Any, e: Any) -> Any:
    """q * (1 + e), with `e` a rounding error."""
    return q


@grown.float64
def _(q: Any, e: Any) -> Any:
    return fma(q, e, q)


@primitive
def inverse_norm(a: Any, b: Any) -> Any:
    """(r, e): 1 / sqrt(a^2 + b) = r * (1 + e) for any `a` that is not negative; e only where r^3 has not vanished."""
    t = a * pick(a, BESIDE_32, BESIDE_64)
    v, v_low = square_plus(a, b)
    h = a if t * t >= b else sqrt(v)
    r = 1.0 / h
    e = fma(-r, h, 1.0) - (0.0 if t * t >= b else (fma(-h, h, v) + v_low) * (0.5 * r * r))
    return r, e if a < 1e300 else 0.0


# ---------------------------------------------------------------- softsign


@activation(
    formula="x / (1 + abs(x))",
    derivative_formula="1 / (1 + abs(x))^2",
    value_range="[-1, 1]",
    aliases=("soft_sign",),
    cost="move",
    limits={-inf: -1.0, inf: 1.0, -0.0: -0.0},
    source="Elliott (1993); Turian, Bergstra and Bengio (2009)",
    monotonicity="increasing",
    continuity="C1",
    lipschitz=1.0,
    bound=3.0,
)
def softsign(x: Any) -> Any:
    """Sigmoid that approaches its limits as 1 / x."""
    a = min(abs(x), pick(x, FAR_32, FAR_64))
    return copysign(a / (1.0 + a), x)


@softsign.derivative
def _(x: Any) -> Any:
    d, d_low = add(1.0, 0.0, abs(x), 0.0)
    y, e = inverse(d, d_low)
    return grown(y * y, e + e)


@softsign.derivative_from_output
def _(y: Any) -> Any:
    t = max(1.0 - abs(y), 0.0)
    return t * t


# ---------------------------------------------------------------- squareplus


@activation(
    formula="(x + sqrt(x * x + b)) / 2",
    derivative_formula="(1 + x / sqrt(x^2 + b)) / 2",
    value_range="[0, inf)",
    params={"b": 4.0},
    examples=((4.0,), (1.0,), (0.01,), (1000.0,)),
    cost="move",
    limits={-inf: 0.0, inf: inf, -0.0: 1.0},
    source="Barron (2021)",
    monotonicity="increasing",
    lipschitz=1.0,
    bound=3.0,
    output_requires="b > 0",
)
def squareplus(x: Any, b: Any) -> Any:
    """Algebraic approximation of relu, which it is for b = 0; any other `b` is 1e-30 or more (float64: 1e-290)."""
    # Left of 0, where the sum cancels, b / 2 / (sqrt(x^2 + b) - x), which far out is b / (4 abs(x)).
    a = abs(x)
    t = a * pick(x, BESIDE_32, BESIDE_64)
    far = t * t >= b
    v, v_low = square_plus(a, b)
    h, h_low = root(v, v_low)
    w, w_low = add(h, h_low, a, 0.0)
    left = divide_far(0.25 * b if far else 0.5 * b, a if far else w, 0.0 if far else w_low)
    right = a if far else 0.5 * rounded(w, w_low)
    return left if x < 0.0 else right


@squareplus.derivative
def _(x: Any, b: Any) -> Any:
    # Left of 0 b / 2 / (v + a h) with a = abs(x), v = h^2 = x^2 + b, which far out is b / (4 a^2); one less it right.
    a = abs(x)
    t = a * pick(x, BESIDE_32, BESIDE_64)
    far = t * t >= b
    v, v_low = square_plus(a, b)
    h, h_low = root(v, v_low)
    d, d_low = multiply_add(a, 0.0, h, h_low, v, v_low)
    divisor = max(a, pick(x, SMALLEST_32, SMALLEST_64)) if far else d
    y = 1.0 / divisor
    left = ((0.25 * b) * y) * y if far else times_inverse(y, 0.5 * b, 0.0, d, d_low)
    return left if x < 0.0 else 1.0 - left


@squareplus.second_derivative
def _(x: Any, b: Any) -> Any:
    r, e = inverse_norm(abs(x), b)
    return grown(0.5 * b * r, 3.0 * e) * r * r


@squareplus.derivative_from_output
def _(y: Any, b: Any) -> Any:
    # y^2 / (y^2 + b / 4), without squares; at infinity the largest number stands for it
    c = min(y, pick(y, LARGEST_32, LARGEST_64))
    return c / (c + 0.25 * b / c)


# ---------------------------------------------------------------- dish


@primitive
def exact_difference(a: Any, b: Any, b_low: Any) -> Any:
    """The pair a - (b + b_low), its high part with all that there is."""
    s, low = exact_sum(a, -b)
    d = s + (low - b_low)
    return d, (s - d) + (low - b_low)


@activation(
    formula="x * (x / sqrt(1 + x * x) + 1) / 2",
    derivative_formula="(1 + t * (2 - t^2)) / 2 with t = x / sqrt(1 + x^2)",
    value_range="[-0.1502, inf)",
    cost="move",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    roots={"derivative": (-0.7861514,), "second_derivative": (-1.4142136, 1.4142136)},
    source="thinc",
    lipschitz=1.0443310540,
)
def dish(x: Any) -> Any:
    """Algebraic approximation of silu."""
    # With a = abs(x) and h = sqrt(1 + a^2): x (1 + a / h) / 2 right of 0; left, where that cancels, -a / (2 h (h + a)), which far
    # out is -1 / (4 a).
    left = x < 0.0
    a = abs(x)
    far = a > pick(x, FAR_32, FAR_64)
    c = min(a, pick(x, FAR_32, FAR_64))
    v, v_low = square_plus(c, 1.0)
    h, h_low = root(v, v_low)
    d, d_low = multiply_add(c, 0.0, h, h_low, v, v_low)
    n = 0.25 if far else c
    m = a if far else d + d
    m_low = 0.0 if far else d_low + d_low
    q = divide_far(n if left else c, m if left else h, m_low if left else h_low)
    half = 0.5 * x
    return -q if left else fma(half, q, half)


@dish.derivative
def _(x: Any) -> Any:
    # Left of 0 (1 - a h) / (2 v (v + a h)) with v = h^2 = 1 + a^2, which far out is -1 / (4 a^2); one less it right. In float32 too
    # with low parts: a few roundings of the denominator and the difference are too many.
    a = abs(x)
    far = a > pick(x, FAR_32, FAR_64)
    c = min(a, pick(x, FAR_32, FAR_64))
    v, v_low = exact_square_plus(c, 1.0)
    h, h_low = exact_root(v, v_low)
    p, p_low = exact_multiply(c, 0.0, h, h_low)
    n, n_low = exact_difference(1.0, p, p_low)
    w, w_low = exact_add(v, v_low, p, p_low)
    d, d_low = exact_multiply(v, v_low, w, w_low)
    divisor = a if far else d
    y = 1.0 / divisor
    left = -((0.25 * y) * y) if far else 0.5 * exact_divide(n, n_low, d, d_low)
    return left if x < 0.0 else 1.0 - left


@dish.second_derivative
def _(x: Any) -> Any:
    # (1 - x^2 / 2) r^5 = r^3 (3 r^2 - 1) / 2 with r = 1 / sqrt(1 + x^2)
    r, e = inverse_norm(abs(x), 1.0)
    k = fma(r + r, r, fma(r, r, -1.0))
    k_low = 6.0 * r * r * e
    return grown(0.5 * (k + k_low) * r, 3.0 * e) * r * r


# ---------------------------------------------------------------- inverse square roots


@primitive
def isru_square(x: Any, alpha: Any) -> Any:
    """The pair 1 + alpha * x^2; a number whose square is infinite stands for infinity, so that it is right for alpha = 0."""
    c = min(abs(x), LONG_32)
    return fma(alpha * c, c, 1.0), 0.0


@isru_square.float64
def _(x: Any, alpha: Any) -> Any:
    c = min(abs(x), LONG_64)
    z = alpha * c
    p = z * c
    s, low = exact_sum(1.0, p)
    return s, low + fma(fma(alpha, c, -z), c, fma(z, c, -p))


@primitive
def over_root(a: Any, v: Any, v_low: Any) -> Any:
    """a / sqrt(v + v_low)."""
    return a / sqrt(v)


@over_root.float64
def _(a: Any, v: Any, v_low: Any) -> Any:
    r, e = inverse_root(v, v_low)
    q = a * r
    return q + fma(q, e, fma(a, r, -q))


@primitive
def isru_slope(x: Any, alpha: Any) -> Any:
    """The derivative of isru: 1 / sqrt(1 + alpha x^2)^3."""
    # v = 2^-64 (1 + alpha x^2), so that its power 3/2 overflows no earlier than its inverse underflows
    c = min(abs(x), 1e21)
    z = alpha * c
    d = c * TINY_32
    p = z * d
    v, low = exact_sum(TINY_32, p)
    v_low = low + fma(fma(alpha, c, -z), d, fma(z, d, -p))
    h = sqrt(v)
    return 1.0 / fma(v, h, 1.5 * v_low * h) * THIRD_TINY_32


@isru_slope.float64
def _(x: Any, alpha: Any) -> Any:
    v, v_low = isru_square(x, alpha)
    r, e = inverse_root(v, v_low)
    q = r * r
    low = fma(3.0 * e, q, fma(r, r, -q)) if v < HUGE_POWER else 0.0
    return fma(q, r, low * r)


@primitive
def isru_curve(x: Any, alpha: Any) -> Any:
    """The second derivative of isru: -3 alpha x / sqrt(1 + alpha x^2)^5."""
    v, v_low = isru_square(x, alpha)
    r, e = inverse_root(v, v_low)
    q = r * r
    rest = fma(5.0, e, 2.0 * v * fma(r, r, -q)) if v < HUGE_POWER else 0.0  # relative errors of r^5 and of the two q
    c = max(min(x, LONG_64), -LONG_64)
    k = -3.0 * alpha
    n = k * c
    n_low = fma(k, c, -n) + fma(-3.0, alpha, -k) * c
    return (n - fma(-n, rest, -n_low)) * r * q * q


@activation(
    formula="x / sqrt(1 + alpha * x * x)",
    derivative_formula="1 / sqrt(1 + alpha * x^2)^3",
    value_range="[-1 / sqrt(alpha), 1 / sqrt(alpha)]",
    params={"alpha": 1.0},
    examples=((1.0,), (0.1,), (3.0,), (1e-6,)),
    cost="move",
    limits={-inf: -1.0, inf: 1.0, -0.0: -0.0},
    source="Carlile, Delamarter, Kinney, Marti and Whitney (2017)",
    monotonicity="increasing",
    lipschitz=1.0,
)
def isru(x: Any, alpha: Any) -> Any:
    """Inverse square root unit; `alpha` must not be negative."""
    a = abs(x)
    v, v_low = isru_square(x, alpha)
    edge = 1.0 / sqrt(alpha)
    inner = over_root(a, v, v_low) if a <= pick(x, LARGEST_32, LARGEST_64) else a  # infinity for alpha = 0
    return copysign(edge if v > pick(x, FAR_32, FAR_64) * pick(x, FAR_32, FAR_64) else inner, x)


@isru.derivative
def _(x: Any, alpha: Any) -> Any:
    return isru_slope(x, alpha)


@isru.second_derivative
def _(x: Any, alpha: Any) -> Any:
    return isru_curve(x, alpha)


@activation(
    formula="x if x >= 0 else x / sqrt(1 + alpha * x * x)",
    derivative_formula="1 if x >= 0 else 1 / sqrt(1 + alpha * x^2)^3",
    value_range="[-1 / sqrt(alpha), inf)",
    params={"alpha": 1.0},
    examples=((1.0,), (0.1,), (3.0,)),
    cost="move",
    limits={-inf: -1.0, inf: inf, -0.0: -0.0},
    source="Carlile, Delamarter, Kinney, Marti and Whitney (2017)",
    monotonicity="increasing",
    continuity="C2",
    lipschitz=1.0,
)
def isrlu(x: Any, alpha: Any) -> Any:
    """Inverse square root linear unit; `alpha` must not be negative."""
    return x if x >= 0.0 else isru(x, alpha)


@isrlu.derivative
def _(x: Any, alpha: Any) -> Any:
    return 1.0 if x >= 0.0 else isru_slope(x, alpha)


@isrlu.second_derivative
def _(x: Any, alpha: Any) -> Any:
    return 0.0 if x >= 0.0 else isru_curve(x, alpha)


# ---------------------------------------------------------------- bent identity


@primitive
def bent_root(x: Any) -> Any:
    """(c, h, h_low): 2 sqrt(1 + c^2), where c is x as far out as it matters."""
    c = max(min(x, pick(x, FAR_32, FAR_64)), pick(x, -FAR_32, -FAR_64))
    v, v_low = square_plus(c, 1.0)
    h, h_low = root(v, v_low)
    return c, h + h, h_low + h_low


@activation(
    formula="(sqrt(x * x + 1) - 1) / 2 + x",
    derivative_formula="x / (2 * sqrt(x^2 + 1)) + 1",
    value_range="(-inf, inf)",
    cost="move",
    limits={-inf: -inf, inf: inf, -0.0: -0.0},
    source="a hyperbola between the slopes 1/2 and 3/2",
    monotonicity="increasing",
    lipschitz=1.5,
)
def bent_identity(x: Any) -> Any:
    """Bent identity: slope 1/2 far left, 3/2 far right."""
    # x (2 h + 2 + x) / (2 h + 2) with h = sqrt(x^2 + 1)
    c, h, h_low = bent_root(x)
    d, d_low = add(h, h_low, 2.0, 0.0)
    n, n_low = add(d, d_low, c, 0.0)
    return x * divide(n, n_low, d, d_low)


@bent_identity.derivative
def _(x: Any) -> Any:
    c, h, h_low = bent_root(x)
    n, n_low = add(h, h_low, c, 0.0)
    return divide(n, n_low, h, h_low)


@bent_identity.second_derivative
def _(x: Any) -> Any:
    r, e = inverse_norm(abs(x), 1.0)
    return grown(0.5 * r, 3.0 * e) * r * r


# ---------------------------------------------------------------- arctangent


@primitive
def atan_reduced(a: Any) -> Any:
    """(n, d): atan(a) = atan(n / d) + what `atan` adds, with n / d in +-tan(pi / 8), for a >= 0."""
    n = -1.0 if a > 2.414213562373095 else (a - 1.0 if a > 0.4142135623730951 else a)
    d = a if a > 2.414213562373095 else (a + 1.0 if a > 0.4142135623730951 else 1.0)
    return n, d


@primitive
def atan(x: Any) -> Any:
    """The arctangent: odd, -pi/2 at -inf, pi/2 at inf, keeps -0."""
    a = abs(x)
    n, d = atan_reduced(a)
    t = n / d
    z = t * t
    series = fma(t * z, poly(z, ATAN_32, ATAN_64), t)
    start = HALF_PI if a > 2.414213562373095 else (QUARTER_PI if a > 0.4142135623730951 else 0.0)
    return copysign(start + series, x)


@atan.float64
def _(x: Any) -> Any:
    a = min(abs(x), FAR_64)
    n, d = atan_reduced(a)
    middle = a > 0.4142135623730951
    far = a > 2.414213562373095
    # what the differences and sums with 1 left behind
    n_low = 0.0 if far else (a - (n + 1.0) if middle else 0.0)
    d_low = 0.0 if far else (exact_low(a, d) if middle else 0.0)
    y = 1.0 / d
    t = n * y
    t_low = y * ((fma(-t, d, n) + n_low) - t * d_low)
    z = t * t
    s, s_low = exact_sum(HALF_PI if far else (QUARTER_PI if middle else 0.0), t)
    low = s_low + (HALF_PI_LOW if far else (QUARTER_PI_LOW if middle else 0.0))
    return copysign(s + fma(t * z, poly(z, ATAN_32, ATAN_64), low + t_low), x)


@primitive
def exact_low(a: Any, s: Any) -> Any:
    """The rounding error of s = a + 1."""
    t = s - a
    return (a - (s - t)) + (1.0 - t)


@activation(
    formula="atan(x)",
    derivative_formula="1 / (1 + x^2)",
    value_range="[-pi / 2, pi / 2]",
    aliases=("atan",),
    cost="exp",
    limits={-inf: -1.5707963267948966, inf: 1.5707963267948966, -0.0: -0.0},
    source="the arctangent",
    monotonicity="increasing",
    lipschitz=1.0,
)
def arctan(x: Any) -> Any:
    """Arctangent."""
    return atan(x)


@primitive
def cauchy(a: Any) -> Any:
    """(y, e): y * (1 + e) is 1 / (1 + a^2), beyond FAR it is 1 / a."""
    far = a > pick(a, FAR_32, FAR_64)
    v, v_low = square_plus(a, 1.0)
    y, e = inverse(a if far else v, 0.0 if far else v_low)
    return y, e


@arctan.derivative
def _(x: Any) -> Any:
    a = abs(x)
    y, e = cauchy(a)
    return grown(y * y, e + e) if a > pick(x, FAR_32, FAR_64) else grown(y, e)


@arctan.second_derivative
def _(x: Any) -> Any:
    a = abs(x)
    y, e = cauchy(a)
    far = a > FAR_64
    return grown(-2.0 * (copysign(y, x) if far else x), (3.0 if far else 2.0) * e) * y * y
