"""The oracle: every activation in float64, textbook formulas with NumPy and SciPy; it imports no kernel and no definition.

The kernels are judged by it, and it is judged by mpmath (``tests/test_reference.py``): it is within 8 ULP, mostly 3, in all of
float64, down to subnormal results, except next to a root of the function, where the error is at most 2^-52.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from math import pi, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]
Function = Callable[..., Array]

#: A finite stand-in for infinity where ``inf * 0`` would be NaN: exp(-FAR) is 0 with any factor that stands beside it.
FAR = 2000.0


@dataclass(frozen=True)
class Reference:
    """One activation: functions of ``(x, *params)`` on float64 arrays, parameters broadcast to `x`.

    Attributes
    ----------
    value, derivative
        The function and its derivative with respect to x.
    gradients
        By parameter: the derivative with respect to it.
    integer
        The same for integer arrays, keeping their dtype; None where the function leaves the integers.
    """

    value: Function
    derivative: Function
    gradients: dict[str, Function] = field(default_factory=dict)
    integer: Reference | None = None


def _float64(function: Callable[..., Any]) -> Function:
    """`function` with its arguments made float64 arrays, and no floating-point warnings."""

    @wraps(function)
    def quiet(*args: Any) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(function(*(np.asarray(a, dtype=np.float64) for a in args)))

    return quiet


def _reference(value: Function, derivative: Function, integer: Reference | None = None, **gradients: Function) -> Reference:
    return Reference(_float64(value), _float64(derivative), {k: _float64(f) for k, f in gradients.items()}, integer)


def _product(a: Array, b: Array) -> tuple[Array, Array]:
    """``a * b`` and its rounding error (Dekker 1971); 0 for that beyond FAR, where exp has its limit anyway."""

    def halves(v: Array) -> tuple[Array, Array]:
        c = 134217729.0 * v
        high = c - (c - v)
        return high, v - high

    (ah, al), (bh, bl), p = halves(a), halves(b), a * b
    low = al * bl - (((p - ah * bh) - al * bh) - ah * bl)
    return p, np.where(np.isfinite(low) & (np.abs(p) < FAR), low, 0.0)


def _difference(a: Array, b: Array) -> tuple[Array, Array]:
    """``a - b`` and its rounding error (Knuth 1969), 0 where there is none to tell."""
    d = a - b
    t = d - a
    low = (a - (d - t)) - (b + t)
    return d, np.where(np.isfinite(low), low, 0.0)


def _times_exp(a: Array, x: Array) -> Array:
    """``a * exp(x)`` for x <= 0, rounded once where it is subnormal."""
    t = np.exp(x / 2)
    return np.where(x > -700, a * np.exp(x), a * t * t)


# ---------------------------------------------------------------- rectifiers


def _relu(x: Array) -> Array:
    return np.where(x <= 0, x.dtype.type(0), x)


def _relu_derivative(x: Array) -> Array:
    return np.where(x > 0, x.dtype.type(1), np.where(x <= 0, x.dtype.type(0), x))


def _leaky_relu(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, x, alpha * x)


def _leaky_relu_derivative(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, 1.0, np.where(x <= 0, alpha, x))


def _prelu_gradient(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, 0.0, x)


def _elu(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(x))


def _elu_derivative(x: Array, alpha: Array) -> Array:
    return np.where(x > 0, 1.0, _times_exp(alpha, np.minimum(x, 0.0)))


# ---------------------------------------------------------------- the logistic and what is gated by it; e is exp(-abs(x))


def _sigmoid(x: Array, low: Array | float = 0.0) -> Array:
    """The logistic of ``x + low``, `low` being an unrepresentable rest of x."""
    e: Array = np.exp(-np.abs(x))
    e = e + e * np.where(x < 0, low, -low)
    return np.where(x < 0, e, 1.0) / (1 + e)


def _sigmoid_derivative(x: Array) -> Array:
    e: Array = np.exp(-np.abs(x))
    return e / ((1 + e) * (1 + e))  # sigmoid(x) * sigmoid(-x)


def _tanh_derivative(x: Array) -> Array:
    e: Array = np.exp(-np.abs(x))
    sech = 2 * e / (1 + e * e)
    return sech * sech


def _sigmoid_tanh(x: Array) -> Array:
    return _sigmoid(x) + np.tanh(x)


def _sigmoid_tanh_derivative(x: Array) -> Array:
    return _sigmoid_derivative(x) + _tanh_derivative(x)


def _silu(x: Array) -> Array:
    c = np.maximum(x, -FAR)
    h = 1 + np.exp(-np.abs(c))
    return np.where(x < 0, _times_exp(c / h, c), x / h)


def _silu_derivative(x: Array) -> Array:
    # sigmoid(x) * (1 + x * sigmoid(-x))
    c = np.clip(x, -FAR, FAR)
    e = np.exp(-np.abs(c))
    h = 1 + e
    return np.where(x < 0, _times_exp((h + c) / (h * h), c), (1 + c * e / h) / h)


# ---------------------------------------------------------------- softplus and mish


def _softplus(x: Array, beta: Array) -> Array:
    z, low = _product(beta, x)
    high = -np.abs(z)
    low = np.where(z < 0, low, -low)
    e = np.exp(high)
    e = e + e * low
    ratio = np.where(e < 1e-20, 1 + low, np.log1p(e) / e * (1 + low))  # log1p(e) = ratio * exp(high)
    tail = _times_exp(ratio / beta, high)
    return np.where(z < 0, tail, x + tail)


def _softplus_derivative(x: Array, beta: Array) -> Array:
    return _sigmoid(*_product(beta, x))


def _mish(x: Array) -> Array:
    # tanh(log(1 + w)) = n / (n + 2) with w = exp(x), n = w (w + 2); right of 0 in 1 / w
    c = np.maximum(x, -FAR)
    e = np.exp(-np.abs(c))
    return np.where(x < 0, _times_exp(c * (e + 2) / (e * (e + 2) + 2), c), x * ((1 + 2 * e) / (1 + 2 * e + 2 * e * e)))


def _mish_derivative(x: Array) -> Array:
    # n / (n + 2) + 4 x w (1 + w) / (n + 2)^2
    c = np.clip(x, -FAR, FAR)
    e = np.exp(-np.abs(c))
    d = e * (e + 2) + 2
    left = _times_exp(((e + 2) * d + 4 * c * (1 + e)) / (d * d), c)
    d = 1 + 2 * e + 2 * e * e
    return np.where(x < 0, left, (1 + 2 * e) / d + 4 * c * e * e * (1 + e) / (d * d))


# ---------------------------------------------------------------- the normal distribution


def _times_gauss(a: Array | float, x: Array) -> Array:
    """``a * exp(-x^2 / 2)``, rounded once. The square of `h`, the leading bits of x, is exact: no rounding enters the exponent."""
    h = np.rint(x * 256) / 256
    return _times_exp(a * np.exp((h - x) * (h + x) / 2), -h * h / 2)


def _gelu(x: Array) -> Array:
    c = np.clip(x, -60.0, 60.0)
    return np.where(x < -1, _times_gauss(c * special.erfcx(-c / sqrt(2)) / 2, c), x * special.ndtr(x))


def _gelu_derivative(x: Array) -> Array:
    c = np.clip(x, -60.0, 60.0)
    left = _times_gauss(special.erfcx(-c / sqrt(2)) / 2 + c / sqrt(2 * pi), c)
    return np.where(x < -1, left, special.ndtr(x) + _times_gauss(c / sqrt(2 * pi), c))


_INTEGER_RELU = Reference(_relu, _relu_derivative)

#: By name, in the order of the definitions.
REFERENCE: dict[str, Reference] = {
    "relu": _reference(_relu, _relu_derivative, _INTEGER_RELU),
    "leaky_relu": _reference(_leaky_relu, _leaky_relu_derivative),
    "sigmoid": _reference(_sigmoid, _sigmoid_derivative),
    "tanh": _reference(np.tanh, _tanh_derivative),
    "sigmoid_tanh": _reference(_sigmoid_tanh, _sigmoid_tanh_derivative),
    "silu": _reference(_silu, _silu_derivative),
    "gelu": _reference(_gelu, _gelu_derivative),
    "softplus": _reference(_softplus, _softplus_derivative),
    "elu": _reference(_elu, _elu_derivative),
    "mish": _reference(_mish, _mish_derivative),
    "prelu": _reference(_leaky_relu, _leaky_relu_derivative, alpha=_prelu_gradient),
}


# ---------------------------------------------------------------- rows


def _sum(a: Array, axis: int) -> Array:
    """The sum along `axis`, kept as an axis of one; pairwise whatever the layout."""
    total: Array = np.expand_dims(np.ascontiguousarray(np.moveaxis(a, axis, -1)).sum(axis=-1), axis)
    return total


def softmax(x: Any, axis: int = -1, where: Any = None, all_masked: str = "zero") -> Array:
    """Normalised exponentials along `axis`.

    Parameters
    ----------
    x
        Taken as float64.
    axis
        The axis that sums to one.
    where
        Boolean, broadcast to `x`: False leaves an element out; its result is 0.
    all_masked
        What a row with nothing left in gives: ``"zero"`` or ``"nan"``.

    Returns
    -------
    ndarray
        NaN along rows that hold NaN or inf, or nothing but -inf, among what is left in.
    """
    x = np.asarray(x, dtype=np.float64)
    keep = np.broadcast_to(np.asarray(True if where is None else where, dtype=bool), x.shape)
    with np.errstate(all="ignore"):
        d, low = _difference(x, np.max(x, axis=axis, keepdims=True, where=keep, initial=-np.inf))
        e = np.exp(d)
        e = np.where(keep, e + e * np.where(e > 0, low, 0.0), 0.0)
        y = np.where(keep, e / _sum(e, axis), 0.0)
    return np.where(keep.any(axis=axis, keepdims=True), y, 0.0 if all_masked == "zero" else np.nan)


def softmax_backward_from_output(grad: Any, y: Any, axis: int = -1) -> Array:
    """The gradient with respect to x, from ``y = softmax(x)``: ``y * (grad - sum(grad * y))``."""
    grad, y = np.asarray(grad, dtype=np.float64), np.asarray(y, dtype=np.float64)
    with np.errstate(all="ignore"):
        return np.asarray(y * (grad - _sum(grad * y, axis)))


def softmax_backward(grad: Any, x: Any, axis: int = -1, where: Any = None, all_masked: str = "zero") -> Array:
    """The gradient of `softmax` with respect to x: 0 at what is left out, whatever `grad` holds there; NaN rows stay NaN."""
    y = softmax(x, axis, where, all_masked)
    if where is None:
        return softmax_backward_from_output(grad, y, axis)
    keep = np.broadcast_to(np.asarray(where, dtype=bool), y.shape)
    dx = softmax_backward_from_output(np.where(keep, grad, 0.0), y, axis)
    return np.where(keep | np.isnan(y), dx, 0.0)
