"""Functions of a whole row. Their loops are written by hand for each target; the scalar terms they are made of stand here."""

from __future__ import annotations

from functools import reduce
from math import fsum, inf
from typing import Any

from .language import activation, fma, max, pick, primitive
from .primitives import TINY_32, TINY_64, exact_sum, exp_down_low


@primitive
def softmax_term(x: Any, largest: Any) -> Any:
    """exp(x - largest) for x <= largest, the rounding error of the difference included; NaN if both are infinite."""
    d, low = exact_sum(x, -largest)
    c = max(d, pick(x, -110.0, -760.0))
    p, s = exp_down_low(c, low if c == d else 0.0)
    return fma(p, s, s) * pick(x, TINY_32, TINY_64)


@activation(
    formula="exp(x - max(x)) / sum(exp(x - max(x)))",
    derivative_formula="dx = y * (grad - sum(grad * y))",
    value_range="[0, 1]",
    family="rowwise",
    cost="exp",
    source="Bridle (1990)",
)
def softmax(x: Any) -> Any:
    """Normalised exponentials of each row; here of one, a sequence of NumPy floats."""
    largest = reduce(max, x, -inf)  # passes over NaN, whose own term then makes the sum one
    terms = [softmax_term(v, largest) for v in x]
    total = fsum(terms)
    return [term / total for term in terms]
