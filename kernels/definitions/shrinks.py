"""Shrinkage: small inputs become 0, which keeps their sign: all three are odd functions."""

from __future__ import annotations

from math import inf
from typing import Any

from .language import activation, copysign, max
from .rectifiers import either_side


@activation(
    formula="x - lambd if x > lambd else (x + lambd if x < -lambd else 0)",
    derivative_formula="1 if abs(x) > lambd else 0",
    value_range="(-inf, inf)",
    params={"lambd": 0.5},
    examples=((0.5,), (0.0,), (0.3,), (7.0,)),
    cost="move",
    limits={-inf: -inf, inf: inf, -0.0: -0.0},
    source="Donoho (1995)",
    monotonicity="increasing",
    continuity="C0",
    kinks={"-lambd": ("1.0", "0.0"), "lambd": ("0.0", "1.0")},
    slopes=("0.0", "1.0"),
    lipschitz=1.0,
    output_requires="lambd >= 0",
)
def soft_shrink(x: Any, lambd: Any) -> Any:
    """Soft thresholding: everything moves towards 0 by `lambd`, which must not be negative, and stops there."""
    return copysign(max(abs(x) - lambd, 0.0), x)


@soft_shrink.derivative
def _(x: Any, lambd: Any) -> Any:
    return either_side(abs(x), lambd, 0.0, 1.0)


@soft_shrink.derivative_from_output
def _(y: Any, lambd: Any) -> Any:
    return either_side(abs(y), 0.0, 0.0, 1.0)


@activation(
    formula="x if abs(x) > lambd else 0",
    derivative_formula="1 if abs(x) > lambd else 0",
    value_range="{0} and abs(y) > lambd",
    params={"lambd": 0.5},
    examples=((0.5,), (0.0,), (0.3,), (-1.0,)),
    cost="move",
    limits={-inf: -inf, inf: inf, -0.0: -0.0},
    source="Donoho and Johnstone (1994)",
    monotonicity="increasing",
    continuity="discontinuous",
    kinks={"-lambd": ("1.0", "0.0"), "lambd": ("0.0", "1.0")},
    slopes=("0.0", "1.0"),
)
def hard_shrink(x: Any, lambd: Any) -> Any:
    """Hard thresholding: the input where its magnitude is above `lambd`, 0 elsewhere."""
    return x if abs(x) > lambd else x * 0.0


@hard_shrink.derivative
def _(x: Any, lambd: Any) -> Any:
    return either_side(abs(x), lambd, 0.0, 1.0)


@hard_shrink.derivative_from_output
def _(y: Any, lambd: Any) -> Any:
    return either_side(abs(y), lambd, 0.0, 1.0)


@activation(
    formula="x + bias if x < -lambd else (x - bias if x > lambd else 0)",
    derivative_formula="1 if abs(x) > lambd else 0",
    value_range="(-inf, inf)",
    params={"lambd": 0.5, "bias": 0.0},
    examples=((0.5, 0.0), (1.5, 1.5), (0.0, 0.3), (0.2, -3.0)),
    cost="move",
    limits={-inf: -inf, inf: inf, -0.0: -0.0},
    source="ONNX",
    monotonicity="increasing",
    continuity="discontinuous",
    kinks={"-lambd": ("1.0", "0.0"), "lambd": ("0.0", "1.0")},
    slopes=("0.0", "1.0"),
    output_requires="(lambd >= 0) & (bias <= lambd)",
)
def shrink(x: Any, lambd: Any, bias: Any) -> Any:
    """Magnitudes above `lambd` are reduced by `bias`, the others become 0: soft_shrink where both are the same."""
    return x + bias if x < -lambd else (x - bias if x > lambd else x * 0.0)


@shrink.derivative
def _(x: Any, lambd: Any, bias: Any) -> Any:
    return either_side(abs(x), lambd, 0.0, 1.0)


@shrink.derivative_from_output
def _(y: Any, lambd: Any, bias: Any) -> Any:
    return either_side(abs(y), 0.0, 0.0, 1.0)
