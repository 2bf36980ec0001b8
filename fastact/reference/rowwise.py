"""Row-wise functions in float64: softmax and its kin, hardmax, sparsemax, entmax, with all their gradients.

Each takes what stands along `axis` and holds on to the rounding error of its argument, `low`, where the caller knows it. What has one
number a row (`sink`, `alpha`, lse) has the shape of x with `axis` of length 1, or broadcasts to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import noise
from .numerics import Array, difference

Mask = npt.NDArray[np.bool_]

#: Halvings of an interval: enough to tell neighbouring float64 numbers apart.
HALVINGS = 64
#: Newton's steps that polish a threshold which sorting has found to some digits; its convergence is quadratic.
POLISH = 3


def row_sum(a: Array, axis: int) -> Array:
    """The sum along `axis`, kept as an axis of one; pairwise whatever the layout."""
    total: Array = np.expand_dims(np.ascontiguousarray(np.moveaxis(a, axis, -1)).sum(axis=-1), axis)
    return total


def gumbel(start: int, shape: tuple[int, ...]) -> Array:
    """Standard Gumbel noise, ``-log(-log(u))``, in C order of the element's index, from a seed that is mixed (`noise.mixed`).

    `noise.drawn` gives multiples k of 2^-24 from 0 on; u is the middle of the interval that starts there, ``(2 k + 1) * 2^-25``, so
    that neither logarithm is of 0 or 1. Kernels in float32: for 2 k + 1 below 2^24 it is exact in float32 and -log(u) is
    ``-log((2 k + 1) * 2^-25)``; else 1 - u is exact and it is ``-log1p(-(2^25 - (2 k + 1)) * 2^-25)``.
    """
    u = noise.drawn(start, shape, np) + 2.0**-25
    # 1 - u is exact, so no digit is lost next to 1
    return np.asarray(-np.log(np.where(u < 0.5, -np.log(u), -np.log1p(-(1.0 - u)))))


def kept(x: Array, where: Any) -> Mask:
    """`where` in x's shape; True where there is none."""
    return np.broadcast_to(np.asarray(True if where is None else where, dtype=bool), x.shape)


def _finish(y: Array, keep: Mask, axis: int, all_masked: str, out: float) -> Array:
    """`out` for what is left out; rows with nothing left in are `out` or NaN as a whole."""
    y = np.where(keep, y, out)
    return y if all_masked == "zero" else np.where(keep.any(axis=axis, keepdims=True), y, np.nan)


class Terms(NamedTuple):
    """What softmax, log_softmax and logsumexp are made of."""

    largest: Array  #: a number a row
    d: Array  #: ``x - largest``, and what its rounding left:
    low: Array
    e: Array  #: ``exp(d + low)``, 0 where left out
    rest: Array  #: the sum of `e` without the largest, by which ``log(sum)`` is ``log1p(rest)``
    total: Array  #: the sum of `e`; in both the sink's own term
    keep: Mask


def terms(x: Any, axis: int = -1, where: Any = None, low: Any = 0.0, sink: Any = None) -> Terms:
    """The terms of ``exp(x + low)`` along `axis`, after the largest is taken out. To be called where NumPy's warnings are off."""
    x = np.asarray(x, dtype=np.float64)
    keep = kept(x, where)
    largest = np.max(x, axis=axis, keepdims=True, where=keep, initial=-np.inf)
    if sink is not None:
        largest = np.where(np.isnan(largest), largest, np.maximum(largest, sink))
    d, rounding = difference(x, largest)
    rounding = rounding + np.where(np.isfinite(d), low, 0.0)
    e = np.exp(d)
    e = np.where(keep, e + e * np.where(e > 0, np.expm1(rounding), 0.0), 0.0)
    first = keep & (d == 0)
    first &= np.cumsum(first, axis=axis) == 1
    total, rest = row_sum(e, axis), row_sum(np.where(first, np.expm1(rounding), e), axis)
    if sink is not None:
        with_sink = np.exp(sink - largest)
        total = total + with_sink
        rest = rest + np.where(first.any(axis=axis, keepdims=True), with_sink, np.expm1(sink - largest))
    return Terms(largest, d, rounding, e, rest, total, keep)


def softmax(x: Any, axis: int = -1, where: Any = None, all_masked: str = "zero", *, low: Any = 0.0, sink: Any = None) -> Array:
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
    low
        To be added to `x`: the rounding error of what it was computed from.
    sink
        One logit more in the sum.

    Returns
    -------
    ndarray
        NaN along rows that hold NaN or inf, or nothing but -inf, among what is left in.
    """
    with np.errstate(all="ignore"):
        t = terms(x, axis, where, low, sink)
        return _finish(t.e / t.total, t.keep, axis, all_masked, 0.0)


def log_softmax(x: Any, axis: int = -1, where: Any = None, all_masked: str = "zero", *, low: Any = 0.0, sink: Any = None) -> Array:
    """The logarithm of `softmax`, with its arguments; -inf for what is left out."""
    with np.errstate(all="ignore"):
        t = terms(x, axis, where, low, sink)
        return _finish((t.d - np.log1p(t.rest)) + t.low, t.keep, axis, all_masked, -np.inf)


def logsumexp(x: Any, axis: int = -1, where: Any = None, all_masked: str = "zero", *, low: Any = 0.0, sink: Any = None) -> Array:
    """``log(sum(exp(x)))`` along `axis`, which is kept, with the arguments of `softmax`; -inf of nothing, inf where there is one."""
    with np.errstate(all="ignore"):
        t = terms(x, axis, where, low, sink)
        lse = np.where(np.isinf(t.largest), t.largest, t.largest + np.log1p(t.rest))
        return lse if all_masked == "zero" else np.where(t.keep.any(axis=axis, keepdims=True), lse, np.nan)


def softmax_backward_from_output(grad: Any, y: Any, axis: int = -1) -> Array:
    """The gradient with respect to x, from ``y = softmax(x)``: ``y * (grad - sum(grad * y))``."""
    grad, y = np.asarray(grad, dtype=np.float64), np.asarray(y, dtype=np.float64)
    with np.errstate(all="ignore"):
        return np.asarray(y * (grad - row_sum(grad * y, axis)))


def softmax_backward(grad: Any, x: Any, axis: int = -1, where: Any = None, all_masked: str = "zero") -> Array:
    """The gradient of `softmax` with respect to x: 0 at what is left out, whatever `grad` holds there; NaN rows stay NaN."""
    return gradients("softmax", grad, x, axis, where, all_masked).x


def log_softmax_backward_from_output(grad: Any, y: Any, axis: int = -1) -> Array:
    """The gradient with respect to x, from ``y = log_softmax(x)``; where y is -inf it is 0, whatever `grad` holds there."""
    grad, y = np.asarray(grad, dtype=np.float64), np.asarray(y, dtype=np.float64)
    with np.errstate(all="ignore"):
        there = y != -np.inf
        return np.where(there, grad - np.exp(y) * row_sum(np.where(there, grad, 0.0), axis), 0.0)


def hardmax(x: Any, axis: int = -1, where: Any = None, all_masked: str = "zero", *, low: Any = 0.0) -> Array:
    """1 at the first of the largest, 0 elsewhere; NaN along rows that hold NaN. Arguments as of `softmax`."""
    x = np.asarray(x, dtype=np.float64)
    keep = kept(x, where)
    largest = np.max(x, axis=axis, keepdims=True, where=keep, initial=-np.inf)
    most = keep & (x == largest)
    # of those that are the largest after rounding, those that are it before
    low = np.broadcast_to(low, x.shape)
    most &= low == np.max(low, axis=axis, keepdims=True, where=most, initial=-np.inf)
    y = np.where(most & (np.cumsum(most, axis=axis) == 1), 1.0, 0.0)
    return _finish(np.where(np.isnan(largest), np.nan, y), keep, axis, all_masked, 0.0)


# ---------------------------------------------------------------- projections with zeros


def _below_largest(x: Any, axis: int, where: Any, low: Any) -> tuple[Array, Mask, Array]:
    """x less the largest of its row, what is kept, and rows without a result: with NaN, inf, or nothing but -inf. Left out: -inf."""
    x = np.asarray(x, dtype=np.float64)
    keep = kept(x, where)
    largest = np.max(x, axis=axis, keepdims=True, where=keep, initial=-np.inf)
    d, rounding = difference(x, largest)
    low = np.where(np.isfinite(d), low, 0.0)
    top = np.max(np.where(keep & (d == 0), low, -np.inf), axis=axis, keepdims=True, initial=-np.inf)
    d = np.where(keep, d + (rounding + (low - np.where(np.isfinite(top), top, 0.0))), -np.inf)
    return np.minimum(d, 0.0), keep, ~np.isfinite(largest) & keep.any(axis=axis, keepdims=True)


def _counted(n: int, ndim: int, axis: int) -> Array:
    """1, 2, ... n along `axis`."""
    return np.arange(1.0, n + 1).reshape([-1 if i == axis % ndim else 1 for i in range(ndim)])


def sparsemax(x: Any, axis: int = -1, where: Any = None, all_masked: str = "zero", *, low: Any = 0.0) -> Array:
    """The Euclidean projection on the simplex, by sorting (Martins and Astudillo 2016, algorithm 1). Arguments as of `softmax`."""
    with np.errstate(all="ignore"):
        d, keep, bad = _below_largest(x, axis, where, low)
        d = np.maximum(d, -1.0)  # what is 1 below the largest is 0 in the result
        if d.shape[axis] == 0:
            return d
        down = -np.sort(-d, axis=axis)
        inside = 1.0 + _counted(d.shape[axis], d.ndim, axis) * down > np.cumsum(down, axis=axis)
        count = inside.sum(axis=axis, keepdims=True)
        tau = (row_sum(np.where(inside, down, 0.0), axis) - 1.0) / count
        y = np.maximum(d - tau, 0.0)
        return _finish(np.where(bad, np.nan, y), keep, axis, all_masked, 0.0)


def entmax15(x: Any, axis: int = -1, where: Any = None, all_masked: str = "zero", *, low: Any = 0.0) -> Array:
    """1.5-entmax, by sorting (Peters, Niculae and Martins 2019, algorithm 2). Arguments as of `softmax`."""
    with np.errstate(all="ignore"):
        d, keep, bad = _below_largest(x, axis, where, low)
        d = np.maximum(d / 2, -1.0)  # what is 2 below the largest is 0 in the result
        if d.shape[axis] == 0:
            return d
        down = -np.sort(-d, axis=axis)
        rho = _counted(d.shape[axis], d.ndim, axis)
        mean, mean_square = np.cumsum(down, axis=axis) / rho, np.cumsum(down * down, axis=axis) / rho
        delta = (1.0 - rho * (mean_square - mean * mean)) / rho
        taus = mean - np.sqrt(np.maximum(delta, 0.0))
        count = np.maximum((taus <= down).sum(axis=axis, keepdims=True), 1)
        tau = np.take_along_axis(taus, count - 1, axis=axis)
        # The variance has lost digits where many are left in; the sum has not.
        for _ in range(POLISH):
            r = np.maximum(d - tau, 0.0)
            tau = tau + (row_sum(r * r, axis) - 1.0) / (2.0 * row_sum(r, axis))
        r = np.maximum(d - tau, 0.0)
        return _finish(np.where(bad, np.nan, r * r), keep, axis, all_masked, 0.0)


def entmax(x: Any, alpha: Any = 1.5, axis: int = -1, where: Any = None, all_masked: str = "zero", *, low: Any = 0.0) -> Array:
    """alpha-entmax, by bisection (Blondel, Martins and Niculae 2019), to all digits; alpha = 1 is softmax, its limit.

    ``y = max(1 + (alpha - 1) (x - t), 0) ^ (1 / (alpha - 1))``, which is what is published with another name for the threshold: this one
    stays between 0 and log(n) below the largest, however near to 1 alpha is. Arguments as of `softmax`.
    """
    with np.errstate(all="ignore"):
        d, keep, bad = _below_largest(x, axis, where, low)
        a = np.asarray(alpha, dtype=np.float64) - 1.0
        n = max(d.shape[axis], 1)
        d = np.where(np.isnan(d), 0.0, d)

        def powers(t: Array) -> Array:
            w = np.maximum(a * (d - t), -1.0)
            return np.exp(np.where(a == 0, d - t, np.log1p(w) / np.where(a == 0, 1.0, a)))

        below = np.zeros_like(np.max(d, axis=axis, keepdims=True, initial=0.0)) + 0.0 * a
        above = below + np.where(a == 0, np.log(n), -np.expm1(-a * np.log(n)) / np.where(a == 0, 1.0, a))
        for _ in range(HALVINGS):
            t = (below + above) / 2
            more = row_sum(powers(t), axis) >= 1.0
            below, above = np.where(more, t, below), np.where(more, above, t)
        y = powers(below)
        return _finish(np.where(bad, np.nan, y / row_sum(y, axis)), keep, axis, all_masked, 0.0)


def _slope(w: Array) -> Array:
    """``(w / (1 + w) - log1p(w)) / w^2`` for w > -1, by its series where that cancels: -1/2 + 2/3 w - 3/4 w^2 + ..."""
    series = np.zeros_like(w)
    for k in range(20, 1, -1):
        series = series * w + (-1) ** (k + 1) * (k - 1) / k
    return np.where(np.abs(w) < 0.1, series, (w / (1.0 + w) - np.log1p(w)) / (w * w))


def entmax_backward_from_output(grad: Any, y: Any, alpha: Any = 1.5, axis: int = -1) -> tuple[Array, Array]:
    """The gradients with respect to x and to alpha (a number a row), from ``y = entmax(x, alpha)``; sparsemax and entmax15 are 2 and 1.5.

    With p = y, ``g = p^(2 - alpha)`` on the support and ``q = g / sum(g)``, dx is ``g * (grad - sum(q * grad))`` (Peters et al. 2019).
    dalpha is ``sum(grad * (h - q * sum(h)))`` with ``h = (g w - (alpha - 1) p log p) / (alpha - 1)^2`` and ``w = p^(alpha - 1) - 1``. That
    is the published ``(p - q) / (alpha - 1)^2 - (p log p - q sum(p log p)) / (alpha - 1)`` (Correia, Niculae and Martins 2019) without
    its cancellation next to alpha = 1, where h becomes ``-p log(p)^2 / 2``.
    """
    grad, y = np.asarray(grad, dtype=np.float64), np.asarray(y, dtype=np.float64)
    a = np.asarray(alpha, dtype=np.float64) - 1.0
    with np.errstate(all="ignore"):
        there = y != 0  # NaN stays
        grad = np.where(there, grad, 0.0)
        log = np.log(np.where(there, y, 1.0))
        g = np.where(there, np.exp((1.0 - a) * log), 0.0)
        total = row_sum(g, axis)
        q = g / np.where(total == 0, 1.0, total)
        dx = g * (grad - row_sum(q * grad, axis))
        # w = a u, with u = x - t of the formula above; u = log(p) where a = 0
        u = np.where(a == 0, log, np.expm1(a * log) / np.where(a == 0, 1.0, a))
        h = np.where(there, y * u * u * _slope(np.where(a == 0, 0.0, a * u)), 0.0)
        dalpha = row_sum(grad * (h - q * row_sum(h, axis)), axis)
    return dx, dalpha


# ---------------------------------------------------------------- programs, as backends run them

#: Row programs that give an array like x.
VALUES: dict[str, Callable[..., Array]] = {
    "softmax": softmax, "log_softmax": log_softmax, "hardmax": hardmax, "sparsemax": sparsemax, "entmax15": entmax15, "entmax": entmax,
}  # fmt: skip
#: What alpha is in the ones that do not take it.
ALPHAS = {"sparsemax": 2.0, "entmax15": 1.5}


class Gradients(NamedTuple):
    """With respect to x, and, a number a row, to the sink and to alpha."""

    x: Array
    sink: Array | None = None
    alpha: Array | None = None


def value(program: str, x: Any, axis: int = -1, where: Any = None, all_masked: str = "zero", **options: Any) -> Array:
    """The value of a row program; options are those of its function: `low`, `sink`, `alpha`."""
    return VALUES[program](x, axis=axis, where=where, all_masked=all_masked, **options)


def gradients(
    program: str,
    grad: Any,
    x: Any,
    axis: int = -1,
    where: Any = None,
    all_masked: str = "zero",
    *,
    row_grad: Any = None,
    low: Any = 0.0,
    sink: Any = None,
    alpha: Any = None,
) -> Gradients:
    """The gradients of a row program: 0 at what is left out, whatever `grad` holds there; NaN rows stay NaN.

    Parameters
    ----------
    grad
        Gradient with respect to the result; None: zero.
    row_grad
        Of softmax and log_softmax: gradient with respect to lse, a number a row, to be added; None: zero.
    """
    x = np.asarray(x, dtype=np.float64)
    keep = kept(x, where)
    g = np.zeros_like(x) if grad is None else np.where(keep, grad, 0.0)
    dsink = dalpha = None
    with np.errstate(all="ignore"):
        if program in ("softmax", "log_softmax"):
            y = softmax(x, axis, where, all_masked, low=low, sink=sink)
            along = row_sum(g * y if program == "softmax" else g, axis)
            # what the gradients of the outputs tell lse, of which every term has its share
            told = -along if row_grad is None else row_grad - along
            dx = y * (g + told) if program == "softmax" else g + y * told
            if sink is not None:
                dsink = np.exp(sink - logsumexp(x, axis, where, all_masked, low=low, sink=sink)) * told
        elif program == "hardmax":
            dx = np.zeros_like(x)
        else:
            options = {"alpha": alpha} if program == "entmax" else {}
            y = value(program, x, axis, where, all_masked, low=low, **options)
            dx, dalpha = entmax_backward_from_output(g, y, ALPHAS.get(program, alpha), axis)
        return Gradients(_finish(dx, keep, axis, all_masked, 0.0), dsink, dalpha if program == "entmax" else None)


def gradients_from_output(program: str, grad: Any, y: Any, axis: int = -1, *, alpha: Any = None) -> Gradients:
    """The gradients of a row program from its output."""
    if program == "softmax":
        return Gradients(softmax_backward_from_output(grad, y, axis))
    if program == "log_softmax":
        return Gradients(log_softmax_backward_from_output(grad, y, axis))
    if program == "hardmax":
        return Gradients(np.zeros_like(np.asarray(y, dtype=np.float64)))
    dx, dalpha = entmax_backward_from_output(grad, y, ALPHAS.get(program, alpha), axis)
    return Gradients(dx, alpha=dalpha if program == "entmax" else None)
