"""A call of a product of factors, as every backend takes it: what gated functions, bias and activation, and dropout come down to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Factor:
    """``function(clamp(x + bias)) + offset``. Arrays have the product's dtype and broadcast to its shape; so do numbers."""

    name: str | None  #: of a definition; None: the identity
    x: Any
    params: Sequence[Any] = ()  #: numbers or arrays
    bias: Any = None
    low: float = -math.inf  #: x + bias is clamped to what lies between; slopes at the edges are those inside
    high: float = math.inf
    offset: float = 0.0
    dx: Any = None  #: result of backward, like x
    bias_shape: tuple[int, ...] | None = None  #: of the gradient of `bias`; None: not wanted
    param_shapes: Sequence[tuple[int, ...]] = ()  #: of the gradients of the learnable parameters, in their order; empty: not wanted


@dataclass
class Product:
    """``out = product of the factors * weight``, some of it dropped; or the gradients of all that, from `grad`.

    Everything is checked, and of `shape`, which is not empty, or broadcasts to it. Results overlap nothing, unless element for element.
    The gradients of biases, parameters and the weight are sums, in float64.
    """

    direction: str  #: "forward" or "backward"
    kind: str  #: how elements are stored
    wide: bool  #: compute in float64
    shape: tuple[int, ...]
    factors: list[Factor]  #: one or two
    out: Any = None  #: result of forward
    grad: Any = None
    weight: Any = None
    weight_shape: tuple[int, ...] | None = None  #: of the gradient of `weight`; None: not wanted
    seed: int | None = (
        None  #: dropout: the element of index i in C order is kept where number i of `noise.uniform(seed)` is less than `keep`
    )
    keep: float = 1.0  #: ... and multiplied by 1 / keep
    first: int = 0  #: the index of the first element
    sums: list[Any] = field(default_factory=list)  #: results: of each factor bias and parameters, then the weight, where they are wanted
