"""Softmax in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from .numerics import Array, difference


def row_sum(a: Array, axis: int) -> Array:
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
        d, low = difference(x, np.max(x, axis=axis, keepdims=True, where=keep, initial=-np.inf))
        e = np.exp(d)
        e = np.where(keep, e + e * np.where(e > 0, low, 0.0), 0.0)
        y = np.where(keep, e / row_sum(e, axis), 0.0)
    return np.where(keep.any(axis=axis, keepdims=True), y, 0.0 if all_masked == "zero" else np.nan)


def softmax_backward_from_output(grad: Any, y: Any, axis: int = -1) -> Array:
    """The gradient with respect to x, from ``y = softmax(x)``: ``y * (grad - sum(grad * y))``."""
    grad, y = np.asarray(grad, dtype=np.float64), np.asarray(y, dtype=np.float64)
    with np.errstate(all="ignore"):
        return np.asarray(y * (grad - row_sum(grad * y, axis)))


def softmax_backward(grad: Any, x: Any, axis: int = -1, where: Any = None, all_masked: str = "zero") -> Array:
    """The gradient of `softmax` with respect to x: 0 at what is left out, whatever `grad` holds there; NaN rows stay NaN."""
    y = softmax(x, axis, where, all_masked)
    if where is None:
        return softmax_backward_from_output(grad, y, axis)
    keep = np.broadcast_to(np.asarray(where, dtype=bool), y.shape)
    dx = softmax_backward_from_output(np.where(keep, grad, 0.0), y, axis)
    return np.where(keep | np.isnan(y), dx, 0.0)
