"""Rectifiers: two pieces that meet where the input changes sign or passes a threshold; the exponential linear units."""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, fma, min, pick, primitive, sqrt
from .primitives import decay_times, exp_times_low, expm1_down


@primitive
def either_side(x: Any, edge: Any, left: Any, right: Any) -> Any:
    """`right` above `edge`, `left` at and below it, NaN for NaN: the derivative of two straight pieces."""
    return right if x > edge else (left if x <= edge else x)


@activation(
    formula="x",
    derivative_formula="1",
    value_range="(-inf, inf)",
    aliases=("linear",),
    cost="move",
    limits={-inf: -inf, inf: inf, -0.0: -0.0},
    integers=True,
    source="the identity",
    monotonicity="increasing",
    lipschitz=1.0,
)
def identity(x: Any) -> Any:
    """The input as it is."""
    return x


@identity.derivative
def _(x: Any) -> Any:
    return 1.0 if x == x else x  # NaN is not equal to itself


@identity.second_derivative
def _(x: Any) -> Any:
    return 0.0 if x == x else x


@identity.derivative_from_output
def _(y: Any) -> Any:
    return 1.0 if y == y else y


@activation(
    formula="x if x > 0 else 0",
    derivative_formula="1 if x > 0 else 0",
    value_range="[0, inf)",
    cost="move",
    limits={-inf: 0.0, inf: inf, -0.0: 0.0},
    integers=True,
    source="Fukushima (1969); Nair and Hinton (2010)",
    monotonicity="increasing",
    continuity="C0",
    kinks={"0.0": ("0.0", "1.0")},
    slopes=("0.0", "1.0"),
    lipschitz=1.0,
    bound=3.0,
)
def relu(x: Any) -> Any:
    """Rectified linear unit."""
    return 0.0 if x <= 0.0 else x  # a NaN fails the comparison and passes; -0 gives +0


@relu.derivative
def _(x: Any) -> Any:
    return either_side(x, 0.0, 0.0, 1.0)


@relu.derivative_from_output
def _(y: Any) -> Any:
    return either_side(y, 0.0, 0.0, 1.0)


@activation(
    formula="x * x if x > 0 else 0",
    derivative_formula="2 * x if x > 0 else 0",
    value_range="[0, inf)",
    aliases=("relu2", "squared_relu"),
    cost="move",
    limits={-inf: 0.0, inf: inf, -0.0: 0.0},
    source="So et al. (2021)",
    monotonicity="increasing",
    continuity="C1",
)
def relu_squared(x: Any) -> Any:
    """The square of relu."""
    r = relu(x)
    return r * r


@relu_squared.derivative
def _(x: Any) -> Any:
    r = relu(x)
    return r + r


@relu_squared.derivative_from_output
def _(y: Any) -> Any:
    return 2.0 * sqrt(y)  # as good as y itself: it is 0 or inf for an x whose square has left the format


@activation(
    formula="scale * x * x + bias if x > 0 else bias",
    derivative_formula="2 * scale * x if x > 0 else 0",
    value_range="[bias, inf)",
    params={"scale": 0.8944271909999159, "bias": -0.4472135954999579},  # 2 / sqrt(5), -1 / sqrt(5)
    examples=((0.8944271909999159, -0.4472135954999579), (-0.5, 0.25), (3.0, 0.0), (1.0, -7.3)),
    cost="move",
    limits={-inf: -0.4472135954999579, inf: inf, -0.0: -0.4472135954999579},
    source="Yu et al. (2022)",
    monotonicity="increasing",
    continuity="C1",
)
def star_relu(x: Any, scale: Any, bias: Any) -> Any:
    """The square of relu, scaled and shifted: mean 0 and variance 1 for normally distributed inputs."""
    r = relu(x)
    slope = scale * r
    # What this product left behind matters where `bias` cancels the square, far from overflow.
    rest = fma(scale, r, -slope) * r if r < pick(x, 1e18, 1e150) else 0.0
    return fma(slope, r, bias) + rest


@star_relu.derivative
def _(x: Any, scale: Any, bias: Any) -> Any:
    return 0.0 if x <= 0.0 else (scale + scale) * x


@activation(
    formula="x if x > 0 else alpha * x",
    derivative_formula="1 if x > 0 else alpha",
    value_range="(-inf, inf)",
    params={"alpha": 0.01},
    examples=((0.01,), (-0.5,), (2.0,)),
    aliases=("lrelu",),
    cost="move",
    limits={-inf: -inf, inf: inf, -0.0: -0.0},
    source="Maas, Hannun and Ng (2013)",
    monotonicity="increasing",
    continuity="C0",
    kinks={"0.0": ("alpha", "1.0")},
    slopes=("alpha", "1.0"),
    lipschitz=1.0,
    bound=3.0,
    output_requires="alpha >= 0",
)
def leaky_relu(x: Any, alpha: Any) -> Any:
    """Leaky rectified linear unit."""
    return x if x > 0.0 else alpha * x


@leaky_relu.derivative
def _(x: Any, alpha: Any) -> Any:
    return either_side(x, 0.0, alpha, 1.0)


@leaky_relu.derivative_from_output
def _(y: Any, alpha: Any) -> Any:
    return either_side(y, 0.0, alpha, 1.0)


@activation(
    formula="x if x > 0 else alpha * x",
    derivative_formula="1 if x > 0 else alpha",
    value_range="(-inf, inf)",
    params={"alpha": None},
    examples=((0.25,), (-0.5,), (3.0,)),
    learnable=("alpha",),
    cost="move",
    limits={-inf: -inf, inf: inf, -0.0: -0.0},
    source="He, Zhang, Ren and Sun (2015)",
    monotonicity="increasing",
    continuity="C0",
    kinks={"0.0": ("alpha", "1.0")},
    slopes=("alpha", "1.0"),
    lipschitz=1.0,
    bound=3.0,
)
def prelu(x: Any, alpha: Any) -> Any:
    """Parametric rectified linear unit: a leaky_relu whose slope is learned."""
    return leaky_relu(x, alpha)


@prelu.derivative
def _(x: Any, alpha: Any) -> Any:
    return either_side(x, 0.0, alpha, 1.0)


@prelu.gradient("alpha")
def _(x: Any, alpha: Any) -> Any:
    return 0.0 if x > 0.0 else x


@activation(
    formula="x if x > 0 else (lower + upper) / 2 * x",
    derivative_formula="1 if x > 0 else (lower + upper) / 2",
    value_range="(-inf, inf)",
    params={"lower": 0.125, "upper": 0.3333333333333333},
    examples=((0.125, 0.3333333333333333), (-1.0, 0.3), (0.7, 4.0)),
    cost="move",
    limits={-inf: -inf, inf: inf, -0.0: -0.0},
    randomized="leaky_relu",
    source="Xu, Wang, Chen and Li (2015)",
    monotonicity="increasing",
    continuity="C0",
    kinks={"0.0": ("(lower + upper) / 2", "1.0")},
    slopes=("(lower + upper) / 2", "1.0"),
    lipschitz=1.0,
    output_requires="lower + upper >= 0",
)
def rrelu(x: Any, lower: Any, upper: Any) -> Any:
    """Randomised leaky rectified linear unit in its form for evaluation: the slope is the mean of its bounds."""
    return leaky_relu(x, 0.5 * (lower + upper))


@rrelu.derivative
def _(x: Any, lower: Any, upper: Any) -> Any:
    return either_side(x, 0.0, 0.5 * (lower + upper), 1.0)


@rrelu.derivative_from_output
def _(y: Any, lower: Any, upper: Any) -> Any:
    return either_side(y, 0.0, 0.5 * (lower + upper), 1.0)


@activation(
    formula="x if x > threshold else value",
    derivative_formula="1 if x > threshold else 0",
    value_range="{value} and (threshold, inf)",
    params={"threshold": None, "value": None},
    examples=((0.1, 20.0), (-1.5, -2.0), (0.0, 0.0), (3.0, 0.5)),
    cost="move",
    limits={-inf: 20.0, inf: inf, -0.0: 20.0},
    source="PyTorch",
    continuity="discontinuous",
    kinks={"threshold": ("0.0", "1.0")},
    slopes=("0.0", "1.0"),
    output_requires="value <= threshold",
)
def threshold(x: Any, threshold: Any, value: Any) -> Any:
    """The input where it is above a threshold, a fixed value elsewhere."""
    return value if x <= threshold else x


@threshold.derivative
def _(x: Any, threshold: Any, value: Any) -> Any:
    return either_side(x, threshold, 0.0, 1.0)


@threshold.derivative_from_output
def _(y: Any, threshold: Any, value: Any) -> Any:
    return either_side(y, threshold, 0.0, 1.0)


@activation(
    formula="x if x > threshold else 0",
    derivative_formula="1 if x > threshold else 0",
    value_range="{0} and (threshold, inf)",
    params={"threshold": 1.0},
    examples=((1.0,), (-0.5,), (0.0,), (30.0,)),
    aliases=("trelu",),
    cost="move",
    limits={-inf: 0.0, inf: inf, -0.0: 0.0},
    source="Konda, Memisevic and Krueger (2015)",
    monotonicity="increasing",
    continuity="discontinuous",
    kinks={"threshold": ("0.0", "1.0")},
    slopes=("0.0", "1.0"),
    output_requires="threshold >= 0",
)
def thresholded_relu(x: Any, threshold: Any) -> Any:
    """The input where it is above a threshold, 0 elsewhere."""
    return 0.0 if x <= threshold else x


@thresholded_relu.derivative
def _(x: Any, threshold: Any) -> Any:
    return either_side(x, threshold, 0.0, 1.0)


@thresholded_relu.derivative_from_output
def _(y: Any, threshold: Any) -> Any:
    return either_side(y, threshold, 0.0, 1.0)


@activation(
    formula="1 if x >= threshold else 0",
    derivative_formula="0",
    value_range="{0, 1}",
    params={"threshold": 0.0},
    examples=((0.0,), (-2.5,), (1.0,)),
    aliases=("heaviside", "unit_step", "binary_step"),
    cost="move",
    limits={-inf: 0.0, inf: 1.0, -0.0: 1.0},
    source="McCulloch and Pitts (1943)",
    monotonicity="increasing",
    continuity="discontinuous",
)
def step(x: Any, threshold: Any) -> Any:
    """1 from a threshold on, 0 below it; its derivative is 0 everywhere."""
    return 1.0 if x >= threshold else (0.0 if x < threshold else x)


@step.derivative
def _(x: Any, threshold: Any) -> Any:
    return 0.0 if x == x else x  # NaN is not equal to itself


# ---------------------------------------------------------------- exponential linear units


@activation(
    formula="x if x > 0 else alpha * expm1(x)",
    derivative_formula="1 if x > 0 else alpha * exp(x)",
    value_range="[-alpha, inf)",
    params={"alpha": 1.0},
    examples=((1.0,), (0.5,), (2.0,), (-0.3,)),
    cost="exp",
    limits={-inf: -1.0, inf: inf, -0.0: -0.0},
    source="Clevert, Unterthiner and Hochreiter (2016)",
    monotonicity="increasing",
    continuity="C1",
    kinks={"0.0": ("alpha", "1.0")},
    lipschitz=1.0,
    bound=3.0,
    output_requires="alpha >= 0",
)
def elu(x: Any, alpha: Any) -> Any:
    """Exponential linear unit."""
    return x if x >= 0.0 else alpha * expm1_down(min(x, 0.0))


@elu.derivative
def _(x: Any, alpha: Any) -> Any:
    return 1.0 if x > 0.0 else decay_times(alpha, min(x, 0.0))


@elu.derivative_from_output
def _(y: Any, alpha: Any) -> Any:
    return 1.0 if y > 0.0 else y + alpha


@activation(
    formula="scale * (x if x > 0 else alpha * expm1(x))",
    derivative_formula="scale if x > 0 else scale * alpha * exp(x)",
    value_range="[-scale * alpha, inf)",
    params={"alpha": 1.6732632423543772, "scale": 1.0507009873554805},
    examples=((1.6732632423543772, 1.0507009873554805), (-0.7, 3.0), (1.9, -0.1)),
    cost="exp",
    limits={-inf: -1.7580993408473766, inf: inf, -0.0: -0.0},
    source="Klambauer, Unterthiner, Mayr and Hochreiter (2017)",
    monotonicity="increasing",
    continuity="C0",
    kinks={"0.0": ("scale * alpha", "scale")},
    lipschitz=1.7580993408473769,
    bound=3.0,
    output_requires="(alpha >= 0) & (scale >= 0)",
)
def selu(x: Any, alpha: Any, scale: Any) -> Any:
    """Scaled exponential linear unit: mean 0 and variance 1 are a fixed point of deep networks of it."""
    return scale * x if x >= 0.0 else (scale * alpha) * expm1_down(min(x, 0.0))


@selu.derivative
def _(x: Any, alpha: Any, scale: Any) -> Any:
    return scale if x > 0.0 else decay_times(scale * alpha, min(x, 0.0))


@selu.derivative_from_output
def _(y: Any, alpha: Any, scale: Any) -> Any:
    return scale if y > 0.0 else fma(scale, alpha, y)


@activation(
    formula="x if x > 0 else alpha * expm1(x / alpha)",
    derivative_formula="1 if x > 0 else exp(x / alpha)",
    value_range="[-alpha, inf)",
    params={"alpha": 1.0},
    examples=((1.0,), (0.3,), (1.7,), (20.0,)),
    cost="exp",
    limits={-inf: -1.0, inf: inf, -0.0: -0.0},
    source="Barron (2017)",
    monotonicity="increasing",
    continuity="C1",
    lipschitz=1.0,
    output_requires="alpha > 0",
)
def celu(x: Any, alpha: Any) -> Any:
    """Exponential linear unit with a continuous derivative for every `alpha`, which must be positive."""
    z = min(x, 0.0) / alpha
    # Next to 0 the quotient may be subnormal, and the result is x.
    return x if z > pick(x, -1e-9, -1e-17) else alpha * expm1_down(z)


@celu.derivative
def _(x: Any, alpha: Any) -> Any:
    c = min(x, 0.0)
    z = c / alpha
    return exp_times_low(1.0, z, -fma(z, alpha, -c) / alpha)  # the exponential multiplies what the division leaves


@celu.derivative_from_output
def _(y: Any, alpha: Any) -> Any:
    return 1.0 if y > 0.0 else 1.0 + y / alpha
