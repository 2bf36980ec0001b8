"""One row-wise call, as every backend takes it: `Rows`. Everything in it has been checked, and lies as kernels want it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class Spread(NamedTuple):
    """An array broadcast over ``[outer][n][inner]``, not copied: element (o, r, c) is ``data[outer[o] + r * step + inner[c]]``."""

    data: Any  #: one-dimensional and contiguous
    outer: Any  #: int64
    step: int
    inner: Any  #: int64


@dataclass
class Rows:
    """A row-wise call: ``z = scale * x + bias_scale * (bias + noise)`` along n, what is left out aside, goes through a row program.

    Arrays are of x's library. There are ``outer * inner`` rows, numbered ``o * inner + c``; numbers a row are float64 (or int64).
    Where a result is None it is not wanted.
    """

    #: "softmax", "log_softmax", "hardmax", "sparsemax", "entmax15", "entmax", "cross_entropy" or "multi_margin".
    program: str
    #: "value", "backward" (from x), "backward_from_output" (x is the output); of losses "value_and_grad".
    direction: str
    kind: str  #: how elements are stored
    wide: bool  #: compute in float64
    x: Any  #: ``[outer, n, inner]``, contiguous
    out: Any = None  #: like x: the result, or the gradient with respect to x (of losses, with `row_scale`); it may be x or grad
    grad: Any = None  #: like x
    row_grad: Any = None  #: a number a row: gradient with respect to lse; added to that of grad, either may be None

    scale: float = 1.0
    bias_scale: float = 1.0
    bias: Spread | None = None  #: stored like x
    where: Spread | None = None  #: bytes; 0 leaves an element out
    limits: Any = None  #: a number a row: elements from there on are left out
    masked_nan: bool = False  #: a row with nothing left in gives NaN, not 0
    sink: Any = None  #: one number, or a number a row: a logit more in the sum
    alpha: Any = None  #: one number, or a number a row: of entmax
    noise: int | None = None  #: seed, mixed, of the Gumbel noise, drawn by the element's place in x
    hard: bool = False  #: softmax: the result is the one-hot vector of the largest; its gradient stays softmax's

    lse: Any = None  #: result, a number a row: log(sum(exp(z)))
    dbias: Any = None  #: result, float64, like ``bias.data``
    dsink: Any = None  #: result, a number a row
    dalpha: Any = None  #: result, a number a row

    labels: Any = None  #: a number a row: the class
    soft: Any = None  #: like x: probabilities of the classes, instead of labels
    weight: Any = None  #: float64, n numbers: of the classes
    smoothing: float = 0.0
    z_loss: float = 0.0  #: times lse ** 2 is added to the loss
    ignore: int | None = None  #: rows with this label have no loss and no gradient
    margin: float = 1.0  #: of multi_margin
    power: int = 1
    row_scale: float = 1.0  #: what the gradient of a loss is multiplied by
    loss: Any = None  #: result, a number a row
