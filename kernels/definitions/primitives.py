"""Primitives: what the activations are built from.

Every primitive is branch-free and total: any float in, a defined float out, NaN in, NaN out, subnormal results included.

**Pairs.** Next to a value stands its low part, the rounding error that the value left behind. In float64, where the bound is 2 ULP,
the pair operations carry it; in float32, where 3 ULP are allowed and every instruction shows, their bodies drop it, so that the
compiler removes the low parts and all that computed them. ``exact_*`` forms carry it in both.

**Scales.** exp(x) = (1 + p) * 2^k. Products with exp leave the factor 2^k to the very end, so that they round once where the
result is subnormal. It is kept as ``s = 2^(k + 64)`` (float64: 2^(k + 512)), a normal number for every k that matters, and the
exact constant TINY takes the rest.
"""

from __future__ import annotations

from typing import Any

from .language import bits, copysign, elementary, fma, from_bits, max, min, pick, poly, primitive

LOG2E = 1.4426950408889634
# ln 2 in two parts; the first has trailing zeros, so that its product with k is exact.
LN2_HIGH_32, LN2_LOW_32 = 0.693145751953125, 1.42860682030941723212e-06
LN2_HIGH_64, LN2_LOW_64 = 6.93147180369123816490e-01, 1.90821492927058770002e-10
LN2 = 0.6931471805599453
SQRT2, SQRT2_LOW_64 = 1.4142135623730951, -9.667293313452913e-17
# 1.5 * 2^23 (2^52): adding it to a number leaves that number's nearest integer in the low bits. Each further constant also adds
# the exponent's bias there, so that a shift alone turns the sum into the power of two.
MAGIC_32, MAGIC_64 = 12582912.0, 6755399441055744.0
POWER_32, POWER_64 = 12583039.0, 6755399441056767.0  # bias: 127, 1023
DOWN_32, DOWN_64 = 12583103.0, 6755399441057279.0  # bias + 64, bias + 512
UP_32, UP_64 = 12582975.0, 6755399441056255.0  # bias - 64, bias - 512
TINY_32, TINY_64 = 5.421010862427522e-20, 7.458340731200207e-155  # 2^-64, 2^-512
HUGE_32, HUGE_64 = 1.8446744073709552e19, 1.3407807929942597e154  # 2^64, 2^512
# Float32 computed in float64 has exponents to spare and needs no scales.
DOWN_WIDE, UP_WIDE, TINY_WIDE, HUGE_WIDE = 6755399441056767.0, 6755399441056767.0, 1.0, 1.0


# ---------------------------------------------------------------- coefficients
#
# Minimax, already rounded to the working type; `tools/coefficients.sollya` finds them. Errors are relative unless said.

# expm1(r) = r + r^2 * EXP(r), abs(r) <= 0.3476: 2^-26.1, 2^-61.5
EXP_32 = (
    0.49999997,
    0.16666542,
    0.0416675,
    0.008366731,
    0.0013865168,
)
EXP_64 = (
    0.5,
    0.16666666666666677,
    0.04166666666666658,
    0.008333333333321381,
    0.001388888888893992,
    0.00019841269886841032,
    2.48015872053104e-05,
    2.755724341450517e-06,
    2.755737975600398e-07,
    2.510933815264787e-08,
    2.0881506635060817e-09,
)
# the same for results in float32, computed in float64: 2^-34.1
EXP_WIDE = (
    0.5000000068816097,
    0.1666666585506423,
    0.041666290763524926,
    0.008333498985293168,
    0.0013944974409276156,
    0.00019790030573561498,
)
# log1p(e) = e + e^2 * LOG1P_UNIT(e), 0 <= e <= 1: 2^-27.5
LOG1P_UNIT_32 = (
    -0.4999993,
    0.3333048,
    -0.24958293,
    0.19694024,
    -0.15351717,
    0.10674694,
    -0.057609394,
    0.020176446,
    -0.0033124348,
)
# log1p(e) / e = (1 + e RATIO_TOP(e)) / (1 + e RATIO_BOTTOM(e)), 0 <= e <= 1: 2^-34.6
RATIO_TOP = (1.3268082599369297, 0.458163418654018, 0.03345725719290028)
RATIO_BOTTOM = (1.8268082553978982, 1.03823437556234, 0.19363635815169955, 0.007454459799560762)
# 2 atanh(t) = t * (2 + t^2 * ATANH(t^2)), 0 <= t <= 1/3: 2^-59.4
ATANH_64 = (
    0.6666666666666631,
    0.4000000000015567,
    0.28571428548060146,
    0.22222223956745923,
    0.18181744382217746,
    0.15386550259095969,
    0.1330109889166255,
    0.1210510995853233,
    0.08344296455488903,
    0.17010936080935088,
)
# the same for abs(t) <= 0.172, where the mantissa of a logarithm lies: 2^-28.4, 2^-59.5
LOG_32 = (0.6666669, 0.3998854, 0.29587609)
LOG_64 = (
    0.6666666666666735,
    0.39999999999409713,
    0.2857142874356461,
    0.2222219844397252,
    0.18183571495773082,
    0.1531385544552038,
    0.1479801752565447,
)
# 1 / normal_tail(a) = 2 + a (ROOT_2PI - MILLS_TOP(a) / MILLS_BOTTOM(a)), 0 <= a <= 15: 2^-25.7, wide 2^-31.8
ROOT_2PI = 2.5066282746310002
MILLS_TOP = (0.9108576, 0.55993116, 0.1578037, 0.019401228)
MILLS_BOTTOM = (1.0, 0.9146884, 0.39507383, 0.09100744, 0.009701781)
# 2 MILLS_BOTTOM(a) + a (ROOT_2PI MILLS_BOTTOM(a) - MILLS_TOP(a)), multiplied out
MILLS_WHOLE = (2.0, 3.4251475, 2.5230002, 1.0145144, 0.22812416, 0.024318758)
MILLS_TOP_WIDE = (0.910859183387448, 0.6834923444001071, 0.24631860488183127, 0.047466741531514485, 0.004210608975252229)
MILLS_BOTTOM_WIDE = (
    1.0,
    1.0503626096189502,
    0.5328688753607879,
    0.15617010651032678,
    0.026373613656734882,
    0.0021052763890473908,
)
# normal_tail(a) = t * TAIL(2 t - 1) with t = 1 / (1 + STEP a), 0 <= a <= 15: 2^-27.8, 0 <= a <= 40: 2^-57.0. The steps are those
# with which the first coefficient, the value in the middle, is all but exact in the working type.
TAIL_STEP_32, TAIL_STEP_64 = 0.43359375, 0.2890625
TAIL_MIDDLE_32 = 0.3014157
TAIL_REST_32 = (
    0.17242691,
    0.039828178,
    -0.010582404,
    -0.0053447494,
    0.0021303494,
    0.0005839587,
    -0.0005623948,
    3.962588e-05,
    9.955117e-05,
    -3.4736157e-05,
)
TAIL_MIDDLE_64 = 0.2148791414219906
TAIL_REST_64 = (
    0.16233258524634578,
    0.08932550282729318,
    0.03188548636367704,
    0.0041860163974119695,
    -0.0020256656292538997,
    -0.000842407720481786,
    0.00016997871258418146,
    0.00012880236711296418,
    -2.7458882925980927e-05,
    -1.9961828905656517e-05,
    6.950405922641659e-06,
    2.74144654184803e-06,
    -1.8743632516496863e-06,
    -1.537550329071886e-07,
    4.410013213230353e-07,
    -8.972549221651582e-08,
    -7.469137571252258e-08,
    4.498849108020444e-08,
    3.6993924375296967e-09,
    -1.1329850855493721e-08,
    2.1795740454493174e-09,
    1.3752991974643851e-09,
    -5.063876274187125e-10,
)
# erf(x) = x + x * ERF(x^2), abs(x) <= 1: 2^-29.3, 2^-56.3
ERF_32 = (
    0.12837917,
    -0.37612626,
    0.11283583,
    -0.026853692,
    0.0051880744,
    -0.0008007889,
    7.846173e-05,
)
ERF_64 = (
    0.1283791670955126,
    -0.37612638903183876,
    0.11283791670958741,
    -0.026866170645619147,
    0.005223977629091198,
    -0.0008548327189331384,
    0.00012055337767440446,
    -1.4925738251937505e-05,
    1.6463083045841479e-06,
    -1.637059564594631e-07,
    1.4786264738928297e-08,
    -1.1829509212430793e-09,
    6.68303076629848e-11,
)
# normal_tail(a) - a / sqrt(2 pi) = (SLOPE_ROOT - a) * SLOPE(2 t - 1), with the root of gelu' divided out: 2^-27.2, 2^-59.5
SLOPE_ROOT_32, SLOPE_ROOT_LOW_32 = 0.7517915368080139, -1.211444945855772e-08
SLOPE_ROOT_64, SLOPE_ROOT_LOW_64 = 0.7517915246935645, -1.4956759177009883e-17
SLOPE_STEP_32, SLOPE_STEP_64 = 0.37109375, 0.2890625
SLOPE_MIDDLE_32 = 0.48488507
SLOPE_REST_32 = (
    0.12548123,
    0.048814368,
    0.008371298,
    -0.0018772582,
    -0.0008706299,
    0.00022424165,
    8.764373e-05,
    -3.797184e-05,
)
SLOPE_MIDDLE_64, SLOPE_MIDDLE_LOW_64 = 0.47002996883814907, 7.116081161147383e-18
SLOPE_REST_64 = (
    0.1119945637348108,
    0.05805819367972628,
    0.02144394661327226,
    0.004307985906793946,
    -0.00035968844716544675,
    -0.00042873685572612346,
    -1.302498242913914e-05,
    4.874028246036527e-05,
    1.9187305411254126e-06,
    -6.9732267913487445e-06,
    3.1393611177464185e-07,
    1.1013660625969038e-06,
    -2.368359809841656e-07,
    -1.543248863148526e-07,
    8.143374395247359e-08,
    9.60498549648429e-09,
    -1.967049723372974e-08,
    3.940065542081995e-09,
    2.958525484868697e-09,
    -1.7163611924452648e-09,
    -4.121784621928586e-11,
    2.7210406916565425e-10,
    -6.486289077614571e-11,
)

# ---------------------------------------------------------------- pairs


@primitive
def exact_sum(a: Any, b: Any) -> Any:
    """a + b and its rounding error (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


@primitive
def exact_add(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    """The sum of two pairs."""
    s, low = exact_sum(a, b)
    return s, low + (a_low + b_low)


@primitive
def exact_multiply(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    """The product of two pairs."""
    s = a * b
    return s, fma(a, b, -s) + fma(a, b_low, a_low * b)


@primitive
def exact_divide(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    """The quotient of two pairs, rounded to one number: half an ULP and a little. `a` finite, `b` positive, neither huge nor tiny."""
    y = 1.0 / b
    q = a * y
    # The remainder with its sign reversed: it is +0 where `a` is -0, and taking it away leaves the -0.
    return fma(-(fma(q, b, -a) + fma(q, b_low, -a_low)), y, q)


@primitive
def exact_quotient(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    """The quotient of two pairs; `b` positive, neither huge nor tiny."""
    y = 1.0 / b
    q = a * y
    return q, y * (fma(-q, b, a) + fma(-q, b_low, a_low))


@primitive
def add(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    """The sum of two pairs."""
    return a + b, 0.0


@add.float64
def _(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    return exact_add(a, a_low, b, b_low)


@primitive
def multiply(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    """The product of two pairs."""
    return a * b, 0.0


@multiply.float64
def _(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    return exact_multiply(a, a_low, b, b_low)


@primitive
def multiply_add(a: Any, a_low: Any, b: Any, b_low: Any, c: Any, c_low: Any) -> Any:
    """a * b + c of pairs."""
    return fma(a, b, c), 0.0


@multiply_add.float64
def _(a: Any, a_low: Any, b: Any, b_low: Any, c: Any, c_low: Any) -> Any:
    p, p_low = exact_multiply(a, a_low, b, b_low)
    return exact_add(p, p_low, c, c_low)


@primitive
def divide(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    """The quotient of two pairs, rounded to one number; for float64 `a` must be finite, `b` positive, neither huge nor tiny."""
    return a / b


@divide.float64
def _(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    return exact_divide(a, a_low, b, b_low)


@primitive
def rounded(a: Any, a_low: Any) -> Any:
    """A pair as one number."""
    return a


@rounded.float64
def _(a: Any, a_low: Any) -> Any:
    return a + a_low


@primitive
def exact_grow(a: Any, a_low: Any, p: Any) -> Any:
    """The pair a * (1 + p): a product with the parts of `exp_down`."""
    s = fma(p, a, a)
    return s, fma(p, a, a - s) + fma(p, a_low, a_low)  # a - s is exact: abs(p) < 1/2


@primitive
def grow(a: Any, a_low: Any, p: Any) -> Any:
    """The pair a * (1 + p)."""
    return fma(p, a, a), 0.0


@grow.float64
def _(a: Any, a_low: Any, p: Any) -> Any:
    return exact_grow(a, a_low, p)


# ---------------------------------------------------------------- exponentials


@primitive
def exp_reduce(k: Any, x: Any) -> Any:
    """x - k log 2."""
    return fma(k, pick(x, -LN2_LOW_32, -LN2_LOW_64), fma(k, pick(x, -LN2_HIGH_32, -LN2_HIGH_64), x))


@exp_reduce.wide
def _(k: Any, x: Any) -> Any:
    return fma(k, -LN2, x)


@primitive
def exp_fraction(r: Any) -> Any:
    """expm1(r) for abs(r) <= ln(2) / 2."""
    return fma(r * r, poly(r, EXP_32, EXP_64, EXP_WIDE), r)


@primitive
def exp_split(x: Any, magic: Any) -> Any:
    """(p, s): exp(x) = (1 + p) * s * 2^-offset, the offset being what `magic` has above the bias."""
    z = fma(x, LOG2E, magic)
    return exp_fraction(exp_reduce(z - magic, x)), from_bits(bits(z) << pick(x, 23, 52))


@primitive
def exp_near(r: Any) -> Any:
    """exp(r) for abs(r) <= ln(2) / 2."""
    return fma(fma(poly(r, EXP_32, EXP_64, EXP_WIDE), r, 1.0), r, 1.0)


@primitive
def exp_parts(x: Any, magic: Any) -> Any:
    """(m, s): exp(x) = m * s * 2^-offset, the offset being what `magic` has above the bias; m is next to 1."""
    z = fma(x, LOG2E, magic)
    return exp_near(exp_reduce(z - magic, x)), from_bits(bits(z) << pick(x, 23, 52))


@primitive
def exp_up_scaled(x: Any) -> Any:
    """(m, s): exp(x) = m * s / TINY, for -40 <= x <= 131 (float32), 760 (float64)."""
    return exp_parts(x, pick(x, UP_32, UP_64))


@primitive
def exp_down_pair(x: Any) -> Any:
    """`exp_down` with p as a pair, but for the rounding of the reduced argument: exact next to 0."""
    magic = pick(x, DOWN_32, DOWN_64)
    z = fma(x, LOG2E, magic)
    k = z - magic
    r = fma(k, pick(x, -LN2_LOW_32, -LN2_LOW_64), fma(k, pick(x, -LN2_HIGH_32, -LN2_HIGH_64), x))
    square = r * r
    q = poly(r, EXP_32, EXP_64)
    p = fma(square, q, r)
    return p, fma(square, q, r - p), from_bits(bits(z) << pick(x, 23, 52))


@primitive
def exp_split_low(x: Any, low: Any, magic: Any) -> Any:
    """`exp_split` of x + low, with low the rounding error of x."""
    z = fma(x, LOG2E, magic)
    return exp_fraction(exp_reduce_low(z - magic, x, low)), from_bits(bits(z) << pick(x, 23, 52))


@primitive
def exp_reduce_low(k: Any, x: Any, low: Any) -> Any:
    """x + low - k log 2."""
    return fma(k, pick(x, -LN2_HIGH_32, -LN2_HIGH_64), x) + fma(k, pick(x, -LN2_LOW_32, -LN2_LOW_64), low)


@exp_reduce_low.wide
def _(k: Any, x: Any, low: Any) -> Any:
    return fma(k, -LN2, x)


@primitive
def exp_down(x: Any) -> Any:
    """(p, s): exp(x) = (1 + p) * s * TINY, for -131 <= x <= 44 (float32), -1060 <= x <= 350 (float64)."""
    return exp_split(x, pick(x, DOWN_32, DOWN_64))


@primitive
def exp_down_low(x: Any, low: Any) -> Any:
    """`exp_down` of x + low."""
    return exp_split_low(x, low, pick(x, DOWN_32, DOWN_64))


@primitive
def scale_down(v: Any, s: Any) -> Any:
    """v * s * TINY: the end of a product with `exp_down`, rounded once."""
    return (v * s) * pick(v, TINY_32, TINY_64)


@primitive
def exp_times_low(a: Any, high: Any, low: Any) -> Any:
    """a * exp(high + low), rounded once where it is subnormal; abs(low) is at most an ULP or two of `high`."""
    c = min(max(high, pick(a, -131.0, -1060.0)), pick(a, 89.0, 710.0))
    up = c > 0.0
    p, s = exp_split_low(c, low if c == high else 0.0, pick(a, UP_32, UP_64) if up else pick(a, DOWN_32, DOWN_64))
    return (fma(p, a, a) * s) * (pick(a, HUGE_32, HUGE_64) if up else pick(a, TINY_32, TINY_64))


@primitive
def decay_times(a: Any, x: Any) -> Any:
    """a * exp(x) for x <= 0, rounded once where it is subnormal."""
    p, s = exp_down(max(x, pick(a, -131.0, -1060.0)))
    return scale_down(fma(p, a, a), s)


@primitive
def exp_times(a: Any, x: Any) -> Any:
    """a * exp(x), rounded once where it is subnormal."""
    c = min(max(x, pick(a, -131.0, -1060.0)), pick(a, 89.0, 710.0))
    up = c > 0.0
    p, s = exp_split(c, pick(a, UP_32, UP_64) if up else pick(a, DOWN_32, DOWN_64))
    return (fma(p, a, a) * s) * (pick(a, HUGE_32, HUGE_64) if up else pick(a, TINY_32, TINY_64))


@elementary
def exp(x: Any) -> Any:
    """e^x: 0 at -inf, subnormal results rounded once, inf beyond 88.73 (float32), 709.79 (float64)."""
    c = min(max(x, pick(x, -131.0, -1060.0)), pick(x, 89.0, 710.0))
    up = c > 0.0
    p, s = exp_split(c, pick(x, UP_32, UP_64) if up else pick(x, DOWN_32, DOWN_64))
    return fma(p, s, s) * (pick(x, HUGE_32, HUGE_64) if up else pick(x, TINY_32, TINY_64))


@primitive
def expm1_pair(x: Any) -> Any:
    """e^x - 1 and its rounding error, for x <= 0; -1 where nothing else can be told."""
    p, s = exp_split(max(x, pick(x, -18.0, -40.0)), pick(x, POWER_32, POWER_64))
    c = s - 1.0  # exact: s is a power of two
    e = fma(p, s, c)
    return e, fma(p, s, c - e)


@primitive
def expm1_down(x: Any) -> Any:
    """e^x - 1 for x <= 0."""
    p, s = exp_split(max(x, pick(x, -18.0, -40.0)), pick(x, POWER_32, POWER_64))
    return fma(p, s, s - 1.0)


@elementary
def expm1(x: Any) -> Any:
    """e^x - 1: -1 at -inf, keeps -0 and every digit next to 0, inf beyond 88.73 (float32), 709.79 (float64)."""
    c = min(max(x, pick(x, -18.0, -40.0)), pick(x, 89.0, 710.0))
    # s is half the power of two, which itself would overflow next to the largest results.
    p, s = exp_split(c, pick(x, POWER_32, POWER_64) - 1.0)
    e = fma(p, s, s - 0.5)
    return x if abs(x) < pick(x, 1e-9, 1e-17) else e + e


# ---------------------------------------------------------------- logarithms


@primitive
def log1p_unit(p: Any, s: Any) -> Any:
    """log1p(e) / e for e = (1 + p) * s * TINY in [0, 1]."""
    e = scale_down(1.0 + p, s)
    return fma(e, poly(e, LOG1P_UNIT_32, LOG1P_UNIT_32), 1.0)


@log1p_unit.wide
def _(p: Any, s: Any) -> Any:
    e = scale_down(1.0 + p, s)
    return fma(poly(e, RATIO_TOP, RATIO_TOP, RATIO_TOP), e, 1.0) / fma(poly(e, RATIO_BOTTOM, RATIO_BOTTOM, RATIO_BOTTOM), e, 1.0)


@log1p_unit.float64
def _(p: Any, s: Any) -> Any:
    # log1p(e) = 2 atanh(t) with t = e / (2 + e), 0 <= t <= 1/3: divided by e, the sum 2 / (2 + e) * (1 + t^2 * ...) stays next to 1.
    m = 1.0 + p
    e = scale_down(m, s)
    e_low = scale_down(p - (m - 1.0), s)
    d, d_low = add(2.0, 0.0, e, e_low)
    y = 1.0 / d
    t = e * y
    z = t * t
    rest = fma(-y, d, 1.0) - y * d_low  # y + y * rest is the reciprocal
    tail = z * poly(z, ATANH_64, ATANH_64)  # 2 atanh(t) / t - 2
    h = y + y  # exact
    return h + fma(h, rest, y * tail)


@elementary
def log1p(x: Any) -> Any:
    """log(1 + x): keeps -0 and every digit next to 0, -inf at -1, NaN below, inf at inf."""
    u, u_low = exact_sum(1.0, x)
    # u = 2^k * m with m in [sqrt(1/2), sqrt(2))
    i = bits(u) + pick(x, 0x4AFB0D, 0x95F619980C433)
    k = from_bits((i >> pick(x, 23, 52)) + bits(pick(x, MAGIC_32, MAGIC_64))) - pick(x, POWER_32, POWER_64)
    m = from_bits((i & pick(x, 0x7FFFFF, 0xFFFFFFFFFFFFF)) + pick(x, 0x3F3504F3, 0x3FE6A09E667F3BCD))
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    half = 0.5 * f * f
    series = half - s * (half + z * poly(z, LOG_32, LOG_64))
    low = u_low / u
    result = fma(k, pick(x, LN2_HIGH_32, LN2_HIGH_64), f - (series - fma(k, pick(x, LN2_LOW_32, LN2_LOW_64), low)))
    edge = -1.0 / (1.0 + x) if x >= -1.0 else (x - x) / (x - x)  # -inf at -1, NaN below
    inner = result if x > -1.0 else edge
    finite = inner if abs(x) > pick(x, 1e-9, 1e-17) else x  # keeps -0
    return finite if x <= pick(x, 3.4028234663852886e38, 1.7976931348623157e308) else x


# ---------------------------------------------------------------- sigmoids


@elementary
def tanh(x: Any) -> Any:
    """Hyperbolic tangent: odd, -1 at -inf, 1 at inf, keeps -0."""
    a = abs(x)
    e, e_low = expm1_pair(-(a + a))
    d, d_low = add(2.0, 0.0, e, e_low)
    return copysign(divide(-e, -e_low, d, d_low), x)


# ---------------------------------------------------------------- the error function


@primitive
def normal_tail(a: Any) -> Any:
    """The pair Phi(-a) * exp(a^2 / 2), Mills' ratio over sqrt(2 pi), for 0 <= a <= 15 (float32), 40 (float64): from 1/2 down as 1/a."""
    t, t_low = tail_variable(a, TAIL_STEP_32)
    v = fma(2.0, t, -1.0)
    q = poly(v, TAIL_REST_32, TAIL_REST_32)
    p = fma(q, v, TAIL_MIDDLE_32)
    slope = fma(t, 0.75, 0.12)  # of t * TAIL(2 t - 1), roughly
    return fma(t, p, fma(t, fma(q, v, TAIL_MIDDLE_32 - p), t_low * slope)), 0.0


@normal_tail.float64
def _(a: Any) -> Any:
    t, t_low = tail_variable(a, TAIL_STEP_64)
    v = fma(2.0, t, -1.0)
    v_low = fma(2.0, t, -1.0 - v) + 2.0 * t_low
    # The last step in two parts; the slope of TAIL, roughly, takes the low part of v.
    q = poly(v, TAIL_REST_64, TAIL_REST_64)
    p = fma(q, v, TAIL_MIDDLE_64)
    p_low = fma(q, v, TAIL_MIDDLE_64 - p) + v_low * fma(fma(v, 0.0957, 0.1787), v, 0.1623)
    return multiply(t, t_low, p, p_low)


@primitive
def times_normal_tail(n: Any, a: Any) -> Any:
    """n * normal_tail(a), for results in float32."""
    # The straight line has no rounding error next to 0, the quotient next to no weight far out, and both are small between.
    quotient = poly(a, MILLS_TOP, MILLS_TOP_WIDE, MILLS_TOP_WIDE) / poly(a, MILLS_BOTTOM, MILLS_BOTTOM_WIDE, MILLS_BOTTOM_WIDE)
    return n / fma(a, ROOT_2PI, fma(-a, quotient, 2.0))


@times_normal_tail.brief
def _(n: Any, a: Any) -> Any:
    return (n * poly(a, MILLS_BOTTOM, MILLS_BOTTOM)) / poly(a, MILLS_WHOLE, MILLS_WHOLE)


@primitive
def tail_variable(a: Any, step: Any) -> Any:
    """1 / (1 + step * a) as a pair."""
    d = fma(a, step, 1.0)
    t = 1.0 / d
    return t, t * (fma(-t, d, 1.0) - t * fma(a, step, 1.0 - d))


@primitive
def slope_tail(a: Any) -> Any:
    """The pair normal_tail(a) - a / sqrt(2 pi): the derivative of gelu at -a over exp(-a^2 / 2), with its relative accuracy at the root."""
    t, _ = tail_variable(a, SLOPE_STEP_32)
    v = fma(2.0, t, -1.0)
    q = poly(v, SLOPE_REST_32, SLOPE_REST_32)
    p = fma(q, v, SLOPE_MIDDLE_32)
    r = SLOPE_ROOT_32 - a
    return fma(r, p, fma(r, fma(q, v, SLOPE_MIDDLE_32 - p), SLOPE_ROOT_LOW_32 * p)), 0.0


@slope_tail.float64
def _(a: Any) -> Any:
    t, t_low = tail_variable(a, SLOPE_STEP_64)
    v = fma(2.0, t, -1.0)
    v_low = fma(2.0, t, -1.0 - v) + 2.0 * t_low
    q = poly(v, SLOPE_REST_64, SLOPE_REST_64)
    p = fma(q, v, SLOPE_MIDDLE_64)
    p_low = (fma(q, v, SLOPE_MIDDLE_64 - p) + SLOPE_MIDDLE_LOW_64) + v_low * fma(fma(v, 0.0643, 0.1161), v, 0.1120)
    r, r_low = add(SLOPE_ROOT_64, SLOPE_ROOT_LOW_64, -a, 0.0)
    return multiply(r, r_low, p, p_low)


@primitive
def gauss(a: Any) -> Any:
    """(p, s) of `exp_down`: exp(-a^2 / 2) for 0 <= a <= 16 (float32), 46 (float64)."""
    h = -0.5 * a
    w = h * a
    return exp_down_low(w, fma(h, a, -w))


@elementary
def erfc(x: Any) -> Any:
    """Complementary error function: 2 at -inf, 0 at inf, relative accuracy down to subnormal results."""
    a = min(abs(x), pick(x, 10.5, 28.0))
    square = a * a
    p, s = exp_down_low(-square, -fma(a, a, -square))
    b, b_low = multiply(SQRT2, SQRT2_LOW_64, a, 0.0)
    r, r_low = normal_tail(b)
    slope = fma(b, r, -0.3989422804014327)  # of normal_tail: b * r - 1 / sqrt(2 pi)
    e, e_low = grow(2.0 * r, 2.0 * fma(b_low, slope, r_low), p)
    right = scale_down(rounded(e, e_low), s)
    return 2.0 - right if x < 0.0 else right


@elementary
def erf(x: Any) -> Any:
    """Error function: odd, -1 at -inf, 1 at inf, keeps -0."""
    z = x * x
    near = fma(x, poly(z, ERF_32, ERF_64), x)
    far = copysign(1.0 - erfc(abs(x)), x)
    return near if abs(x) < 1.0 else far
