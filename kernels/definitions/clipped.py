"""Functions of straight and parabolic pieces between two bounds: clipped lines, and what is gated by them."""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, copysign, fma, max, min, pick, primitive, sqrt
from .primitives import add, exact_divide, exact_sum
from .rectifiers import either_side

# 1/6 in float64, and as the narrower types round it.
SIXTH, SIXTH_FLOAT32, SIXTH_FLOAT16, SIXTH_BFLOAT16 = 0.16666666666666666, 0.1666666716337204, 0.1666259765625, 0.1669921875
# Beyond this a line has passed its bounds, and its product with a slope is still finite.
FAR_32, FAR_64 = 1e30, 1e300

#: What `hard_gate` clips. A parameter comes as the nearest number of the array's type: that of 1/6 would move the root away from -3.
LINE = "(x + 6 * offset) / 6 if slope in (1 / 6, 0.1666666716337204, 0.1666259765625, 0.1669921875) else slope * x + offset"


@primitive
def clip_to(x: Any, low: Any, high: Any) -> Any:
    """`x` between two bounds; NaN stays, and -0 becomes `low` where that is 0."""
    return low if x <= low else min(x, high)


@primitive
def inside_only(x: Any, low: Any, high: Any, inside: Any) -> Any:
    """`inside` strictly between two bounds, 0 outside and on them, NaN for NaN: the derivative of a clipped line."""
    return 0.0 if x >= high else either_side(x, low, 0.0, inside)


@primitive
def within_reach(x: Any) -> Any:
    """`x` with something far out instead of an infinity; NaN stays."""
    return min(max(x, pick(x, -FAR_32, -FAR_64)), pick(x, FAR_32, FAR_64))


@primitive
def line_pair(slope: Any, x: Any, offset: Any) -> Any:
    """slope * x + offset as a pair, exact enough to tell on which side of a bound it lies."""
    c = within_reach(x)
    p = slope * c
    s, low = exact_sum(p, offset)
    return s, low + fma(slope, c, -p)


# ---------------------------------------------------------------- lines


@activation(
    formula="min(6, max(0, x))",
    derivative_formula="1 if 0 < x < 6 else 0",
    value_range="[0, 6]",
    cost="move",
    limits={-inf: 0.0, inf: 6.0, -0.0: 0.0},
    integers=True,
    source="Krizhevsky (2010)",
    monotonicity="increasing",
    continuity="C0",
    kinks={"0.0": ("0.0", "1.0"), "6.0": ("1.0", "0.0")},
    slopes=("0.0", "1.0"),
    lipschitz=1.0,
)
def relu6(x: Any) -> Any:
    """The rectifier up to 6."""
    return clip_to(x, 0.0, 6.0)


@relu6.derivative
def _(x: Any) -> Any:
    return inside_only(x, 0.0, 6.0, 1.0)


@relu6.derivative_from_output
def _(y: Any) -> Any:
    return inside_only(y, 0.0, 6.0, 1.0)


@activation(
    formula="min(max_value, max(0, x))",
    derivative_formula="1 if 0 < x < max_value else 0",
    value_range="[0, max_value]",
    params={"max_value": 6.0},
    examples=((6.0,), (20.0,), (0.3,)),
    aliases=("relu_k", "bounded_relu", "brelu"),
    cost="move",
    limits={-inf: 0.0, inf: 6.0, -0.0: 0.0},
    source="Hannun et al. (2014)",
    monotonicity="increasing",
    continuity="C0",
    kinks={"0.0": ("0.0", "1.0"), "max_value": ("1.0", "0.0")},
    slopes=("0.0", "1.0"),
    lipschitz=1.0,
)
def clipped_relu(x: Any, max_value: Any) -> Any:
    """The rectifier up to `max_value`, which must be positive."""
    return clip_to(x, 0.0, max_value)


@clipped_relu.derivative
def _(x: Any, max_value: Any) -> Any:
    return inside_only(x, 0.0, max_value, 1.0)


@clipped_relu.derivative_from_output
def _(y: Any, max_value: Any) -> Any:
    return inside_only(y, 0.0, max_value, 1.0)


@activation(
    formula="min(max_val, max(min_val, x))",
    derivative_formula="1 if min_val < x < max_val else 0",
    value_range="[min_val, max_val]",
    params={"min_val": -1.0, "max_val": 1.0},
    examples=((-1.0, 1.0), (-2.5, 0.3), (0.5, 40.0)),
    aliases=("htanh",),
    cost="move",
    limits={-inf: -1.0, inf: 1.0, -0.0: -0.0},
    source="Collobert (2004)",
    monotonicity="increasing",
    continuity="C0",
    kinks={"min_val": ("0.0", "1.0"), "max_val": ("1.0", "0.0")},
    slopes=("0.0", "1.0"),
    lipschitz=1.0,
)
def hard_tanh(x: Any, min_val: Any, max_val: Any) -> Any:
    """The input between two bounds, of which `min_val` must be the lower one."""
    return clip_to(x, min_val, max_val)


@hard_tanh.derivative
def _(x: Any, min_val: Any, max_val: Any) -> Any:
    return inside_only(x, min_val, max_val, 1.0)


@hard_tanh.derivative_from_output
def _(y: Any, min_val: Any, max_val: Any) -> Any:
    return inside_only(y, min_val, max_val, 1.0)


@activation(
    formula="min(max_val, max(min_val, slope * x + offset))",
    derivative_formula="slope if min_val < slope * x + offset < max_val else 0",
    value_range="[min_val, max_val]",
    params={"slope": 1.0, "offset": 0.0, "min_val": 0.0, "max_val": 1.0},
    examples=((1.0, 0.0, 0.0, 1.0), (0.2, 0.5, 0.0, 1.0), (-3.0, 0.7, -2.0, 5.0)),
    cost="move",
    limits={-inf: 0.0, inf: 1.0, -0.0: 0.0},
    source="thinc",
    monotonicity="increasing",
    continuity="C0",
    kinks={
        "(min_val - offset) / slope": ("min(0.0, slope)", "max(0.0, slope)"),
        "(max_val - offset) / slope": ("max(0.0, slope)", "min(0.0, slope)"),
    },
    slopes=("0.0", "slope"),
    lipschitz=1.0,
)
def clipped_linear(x: Any, slope: Any, offset: Any, min_val: Any, max_val: Any) -> Any:
    """A line between two bounds, of which `min_val` must be the lower one; its slope must not be 0."""
    return clip_to(fma(slope, x, offset), min_val, max_val)


@clipped_linear.derivative
def _(x: Any, slope: Any, offset: Any, min_val: Any, max_val: Any) -> Any:
    s, low = line_pair(slope, x, offset)
    return 0.0 if (s - max_val) + low >= 0.0 else either_side((s - min_val) + low, 0.0, 0.0, slope)


@clipped_linear.derivative_from_output
def _(y: Any, slope: Any, offset: Any, min_val: Any, max_val: Any) -> Any:
    return inside_only(y, min_val, max_val, slope)


# ---------------------------------------------------------------- gates


@primitive
def exact_slope(slope: Any) -> Any:
    """1/6 for what any of the four types rounds it to, other slopes as they are."""
    s = SIXTH if slope == SIXTH_FLOAT16 else (SIXTH if slope == SIXTH_BFLOAT16 else slope)
    return SIXTH if s == SIXTH_FLOAT32 else s


@primitive
def hard_gate_line(x: Any, slope: Any, offset: Any) -> Any:
    """(s, low, unit): the line is (s + low) / unit. With a slope of 1/6 it is counted in sixths, where the slope is 1: exactly."""
    sixths = exact_slope(slope) == SIXTH
    unit = 6.0 if sixths else 1.0
    o = unit * offset
    s, low = line_pair(1.0 if sixths else slope, x, o)
    return s, low + fma(unit, offset, -o), unit


@primitive
def hard_gate_sides(x: Any, slope: Any, offset: Any) -> Any:
    """(above, below, unit): the line less its upper bound, and the line, times `unit`, with the right signs."""
    sixths = exact_slope(slope) == SIXTH
    unit = 6.0 if sixths else 1.0
    o = unit * offset
    o_low = fma(unit, offset, -o)
    u, u_low = exact_sum(o, -unit)
    c = within_reach(x)
    k = 1.0 if sixths else slope
    return fma(k, c, u) + (u_low + o_low), fma(k, c, o) + o_low, unit


@hard_gate_sides.float64
def _(x: Any, slope: Any, offset: Any) -> Any:
    s, low, unit = hard_gate_line(x, slope, offset)
    return (s - unit) + low, s + low, unit


@primitive
def hard_gate(x: Any, slope: Any, offset: Any) -> Any:
    """The line clipped to [0, 1]."""
    sixths = exact_slope(slope) == SIXTH
    unit = 6.0 if sixths else 1.0
    o = unit * offset
    s = fma(1.0 if sixths else slope, x, o) + fma(unit, offset, -o)  # all that a root leaves over is exact
    return min(max(s * (1.0 / unit), 0.0), 1.0)


@hard_gate.float64
def _(x: Any, slope: Any, offset: Any) -> Any:
    s, low, unit = hard_gate_line(x, slope, offset)
    return clip_to(exact_divide(s, low, unit, 0.0), 0.0, 1.0)


@activation(
    formula=f"min(1, max(0, {LINE}))",
    display="min(max(slope * x + offset, 0), 1)",
    derivative_formula="slope if 0 < slope * x + offset < 1 else 0",
    value_range="[0, 1]",
    params={"slope": 0.16666666666666666, "offset": 0.5},
    examples=((0.16666666666666666, 0.5), (0.2, 0.5), (0.16666666666666666, 0.3), (-1.3, 0.1)),
    cost="move",
    limits={-inf: 0.0, inf: 1.0, -0.0: 0.5},
    source="Courbariaux, Bengio and David (2015); Howard et al. (2019)",
    monotonicity="increasing",
    continuity="C0",
    kinks={
        "-offset / sixth(slope)": ("min(0.0, slope)", "max(0.0, slope)"),
        "(1.0 - offset) / sixth(slope)": ("max(0.0, slope)", "min(0.0, slope)"),
    },
    slopes=("0.0", "sixth(slope)"),
    lipschitz=0.1666666666666667,
    bound=3.0,
)
def hard_sigmoid(x: Any, slope: Any, offset: Any) -> Any:
    """A line clipped to [0, 1], by default (x + 3) / 6.

    A slope that is 1/6 rounded to one of the float types means 1/6 itself, so that the line starts at -3 and every digit next to it
    is right. The slope must not be 0.
    """
    return hard_gate(x, slope, offset)


@hard_sigmoid.derivative
def _(x: Any, slope: Any, offset: Any) -> Any:
    s, low, unit = hard_gate_line(x, slope, offset)
    return 0.0 if (s - unit) + low >= 0.0 else either_side(s + low, 0.0, 0.0, exact_slope(slope))


@hard_sigmoid.derivative_from_output
def _(y: Any, slope: Any, offset: Any) -> Any:
    return inside_only(y, 0.0, 1.0, exact_slope(slope))


@activation(
    formula=f"x * min(1, max(0, {LINE}))",
    display="x * min(max(slope * x + offset, 0), 1)",
    derivative_formula="2 * slope * x + offset if 0 < slope * x + offset < 1 else (0 if slope * x + offset <= 0 else 1)",
    value_range="[-0.375, inf)",
    params={"slope": 0.16666666666666666, "offset": 0.5},
    examples=((0.16666666666666666, 0.5), (0.2, 0.5), (0.16666666666666666, 0.3), (-1.3, 0.1)),
    aliases=("hard_swish", "hard_swish_mobilenet"),
    cost="move",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    source="Howard et al. (2019)",
    continuity="C0",
    kinks={
        "-offset / sixth(slope)": ("0.0 if slope > 0 else -offset", "-offset if slope > 0 else 0.0"),
        "(1.0 - offset) / sixth(slope)": ("2.0 - offset if slope > 0 else 1.0", "1.0 if slope > 0 else 2.0 - offset"),
    },
    lipschitz=1.5,
    bound=3.0,
)
def hard_silu(x: Any, slope: Any, offset: Any) -> Any:
    """The input times its hard_sigmoid, by default x * (x + 3) / 6 between -3 and 3.

    A slope that is 1/6 rounded to one of the float types means 1/6 itself. The slope must not be 0.
    """
    g = hard_gate(x, slope, offset)
    return x if g >= 1.0 else within_reach(x) * g


@hard_silu.derivative
def _(x: Any, slope: Any, offset: Any) -> Any:
    above, below, unit = hard_gate_sides(x, slope, offset)
    # 2 * slope * x + offset, rounded where it crosses 0 only once
    inside = fma(3.0, offset, x) / 3.0 if unit > 1.0 else fma(slope + slope, x, offset)
    return 1.0 if above >= 0.0 else (0.0 if below <= 0.0 else inside)


@activation(
    formula="x / 2 * min(2, max(0, x + 2))",
    derivative_formula="x + 1 if -2 < x < 0 else (0 if x <= -2 else 1)",
    value_range="[-0.5, inf)",
    cost="move",
    limits={-inf: -0.0, inf: inf, -0.0: -0.0},
    source="Misra; timm",
    continuity="C0",
    kinks={"-2.0": ("0.0", "-1.0")},
    lipschitz=1.0,
)
def hard_mish(x: Any) -> Any:
    """The input times a line clipped to [0, 1]: a parabola between -2 and 0."""
    return x if x >= 0.0 else (-0.0 if x <= -2.0 else x * fma(0.5, x, 1.0))


@hard_mish.derivative
def _(x: Any) -> Any:
    return 0.0 if x <= -2.0 else min(x + 1.0, 1.0)


# ---------------------------------------------------------------- sparse and square


@activation(
    formula="min(1, max(0, (x + 1) / 2))",
    derivative_formula="1/2 if -1 < x < 1 else 0",
    value_range="[0, 1]",
    cost="move",
    limits={-inf: 0.0, inf: 1.0, -0.0: 0.5},
    source="Blondel, Martins and Niculae (2020)",
    monotonicity="increasing",
    continuity="C0",
    kinks={"-1.0": ("0.0", "0.5"), "1.0": ("0.5", "0.0")},
    slopes=("0.0", "0.5"),
    lipschitz=0.5,
)
def sparse_sigmoid(x: Any) -> Any:
    """A line clipped to [0, 1]: sparsemax of two values, as the logistic is their softmax."""
    return clip_to(fma(0.5, x, 0.5), 0.0, 1.0)


@sparse_sigmoid.derivative
def _(x: Any) -> Any:
    return inside_only(x, -1.0, 1.0, 0.5)


@sparse_sigmoid.derivative_from_output
def _(y: Any) -> Any:
    return inside_only(y, 0.0, 1.0, 0.5)


@activation(
    formula="x if x >= 1 else ((x + 1) * (x + 1) / 4 if x > -1 else 0)",
    derivative_formula="sparse_sigmoid(x)",
    value_range="[0, inf)",
    cost="move",
    limits={-inf: 0.0, inf: inf, -0.0: 0.25},
    source="Blondel, Martins and Niculae (2020)",
    monotonicity="increasing",
    continuity="C1",
    lipschitz=1.0,
)
def sparse_plus(x: Any) -> Any:
    """The integral of sparse_sigmoid: a parabola between 0 and the line, as softplus is that of the logistic."""
    h, low = add(0.5 * x, 0.0, 0.5, 0.0)
    return x if x >= 1.0 else (0.0 if x <= -1.0 else fma(h, h, (h + h) * low))


@sparse_plus.derivative
def _(x: Any) -> Any:
    return sparse_sigmoid(x)


@sparse_plus.derivative_from_output
def _(y: Any) -> Any:
    return min(sqrt(y), 1.0)


@activation(
    formula="x - x * abs(x) / 4 if abs(x) < 2 else (1 if x > 0 else -1)",
    derivative_formula="max(1 - abs(x) / 2, 0)",
    value_range="[-1, 1]",
    cost="move",
    limits={-inf: -1.0, inf: 1.0, -0.0: -0.0},
    source="Wuraola and Patel (2018)",
    monotonicity="increasing",
    continuity="C1",
    lipschitz=1.0,
)
def sqnl(x: Any) -> Any:
    """Square nonlinearity: two parabolas in the shape of tanh."""
    return copysign(1.0, x) if abs(x) >= 2.0 else x * fma(-0.25, abs(x), 1.0)


@sqnl.derivative
def _(x: Any) -> Any:
    return max(fma(-0.5, abs(x), 1.0), 0.0)
