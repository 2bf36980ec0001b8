"""Rectifiers: piecewise linear, exact or rounded once, and the exponential linear unit."""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, min, primitive
from .primitives import exp_times, expm1_down


@activation(
    formula="max(x, 0)",
    derivative_formula="1 if x > 0 else 0",
    value_range="[0, inf)",
    cost="move",
    limits={-inf: 0.0, inf: inf, -0.0: 0.0},
    integers=True,
    source="Fukushima (1969); Nair and Hinton (2010)",
)
def relu(x: Any) -> Any:
    """Rectified linear unit."""
    return 0.0 if x <= 0.0 else x  # a NaN fails the comparison and passes; -0 gives +0


@relu.derivative
def _(x: Any) -> Any:
    return 1.0 if x > 0.0 else (0.0 if x <= 0.0 else x)


@activation(
    formula="x if x > 0 else alpha * x",
    derivative_formula="1 if x > 0 else alpha",
    value_range="(-inf, inf)",
    params={"alpha": 0.01},
    examples=((0.01,), (-0.5,), (2.0,)),
    cost="move",
    limits={-inf: -inf, inf: inf, -0.0: -0.0},
    source="Maas, Hannun and Ng (2013)",
)
def leaky_relu(x: Any, alpha: Any) -> Any:
    """Leaky rectified linear unit."""
    return x if x > 0.0 else alpha * x


@primitive
def slope(x: Any, alpha: Any) -> Any:
    """1 right of zero, `alpha` at and left of it, NaN for NaN."""
    return 1.0 if x > 0.0 else (alpha if x <= 0.0 else x)


@leaky_relu.derivative
def _(x: Any, alpha: Any) -> Any:
    return slope(x, alpha)


@activation(
    formula="x if x > 0 else alpha * x",
    derivative_formula="1 if x > 0 else alpha",
    value_range="(-inf, inf)",
    params={"alpha": None},
    examples=((0.25,), (-0.5,)),
    learnable=("alpha",),
    cost="move",
    limits={-inf: -inf, inf: inf, -0.0: -0.0},
    source="He, Zhang, Ren and Sun (2015)",
)
def prelu(x: Any, alpha: Any) -> Any:
    """Parametric rectified linear unit: a leaky_relu whose slope is learned."""
    return leaky_relu(x, alpha)


@prelu.derivative
def _(x: Any, alpha: Any) -> Any:
    return slope(x, alpha)


@prelu.gradient("alpha")
def _(x: Any, alpha: Any) -> Any:
    return 0.0 if x > 0.0 else x


@activation(
    formula="x if x > 0 else alpha * expm1(x)",
    derivative_formula="1 if x > 0 else alpha * exp(x)",
    value_range="[-alpha, inf)",
    params={"alpha": 1.0},
    examples=((1.0,), (0.5,), (2.0,)),
    cost="exp",
    limits={-inf: -1.0, inf: inf, -0.0: -0.0},
    source="Clevert, Unterthiner and Hochreiter (2016)",
)
def elu(x: Any, alpha: Any) -> Any:
    """Exponential linear unit."""
    return x if x >= 0.0 else alpha * expm1_down(min(x, 0.0))


@elu.derivative
def _(x: Any, alpha: Any) -> Any:
    return 1.0 if x > 0.0 else exp_times(alpha, min(x, 0.0))
